/**
 * A driver without manners: it lays out one split queue by hand on any (Dma, VirtioTransport), so that every byte can be
 * wrong. The same code drives our device and QEMU's, and says what came of it.
 *
 *   area: descriptors | available | used | (1 KiB) tables | (4 KiB) header, range, status | data 16 KiB | guard 4 KiB
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";

export const RAW_SIZE = 16;
export const DATA_BYTES = 16_384;
const AVAIL_AT = 0x400;
const USED_AT = 0x800;
const TABLE_AT = 0x1000;
const CONTROL_AT = 0xa000;
const DATA_AT = 0xb000;
const GUARD_AT = DATA_AT + DATA_BYTES;
const GUARD_BYTES = 4096;
const AREA_BYTES = GUARD_AT + GUARD_BYTES;
export const TABLE_ENTRIES_MAX = (CONTROL_AT - TABLE_AT) / 16;
const GUARD_PAGE = new Uint8Array(GUARD_BYTES).fill(0x5a);
const NO_STATUS = 0xff;

export interface RawSegment {
  addr: number;
  bytes: number;
  flags: number;
  next: number;
}

/** What a device made of a case. */
export interface Outcome {
  readonly needsReset: boolean;
  /** Entries in the used ring. */
  readonly used: number;
  /** Length in the first of them; -1: none. */
  readonly usedBytes: number;
  /** The status byte; 255: not written. */
  readonly status: number;
}

export class RawDriver {
  readonly dma: Dma;
  readonly transport: VirtioTransport;
  readonly base: PhysAddr;
  /** Staged bytes of the area up to the data; written at kick(). */
  readonly bytes = new Uint8Array(DATA_AT);
  readonly view = new DataView(this.bytes.buffer);
  readonly #data = new Uint8Array(DATA_BYTES);

  constructor(dma: Dma, transport: VirtioTransport) {
    this.dma = dma;
    this.transport = transport;
    this.base = dma.alloc(AREA_BYTES, 4096);
    this.setGuard();
  }

  setGuard(): void {
    this.dma.write((this.base + GUARD_AT) as PhysAddr, GUARD_PAGE);
  }

  readonly descAddr = (): number => this.base;
  readonly tableAddr = (): number => this.base + TABLE_AT;
  readonly headerAddr = (): number => this.base + CONTROL_AT;
  readonly rangeAddr = (): number => this.base + CONTROL_AT + 64;
  readonly statusAddr = (): number => this.base + CONTROL_AT + 128;
  readonly dataAddr = (): number => this.base + DATA_AT;
  readonly usedAddr = (): number => this.base + USED_AT;

  /** From reset to DRIVER_OK, with the queue set up; the features are what is accepted beside version 1. */
  start(features: bigint): boolean {
    const { transport } = this;
    this.bytes.fill(0);
    if (!transport.setStatus(0)) return false;
    transport.setStatus(1);
    transport.setStatus(3);
    transport.accept((transport.features() & features) | VirtioFeature.Version1);
    transport.setStatus(11);
    if ((transport.status() & 8) === 0) return false;
    this.dma.write(this.base, this.bytes);
    const at = (offset: number): PhysAddr => (this.base + offset) as PhysAddr;
    if (!transport.setupQueue(0, RAW_SIZE, at(0), at(AVAIL_AT), at(USED_AT))) return false;
    transport.setStatus(15);
    this.view.setUint8(CONTROL_AT + 128, NO_STATUS);
    return true;
  }

  setHeader(type: number, sector: bigint): void {
    this.view.setUint32(CONTROL_AT, type >>> 0, true);
    this.view.setBigUint64(CONTROL_AT + 8, sector, true);
  }

  setRange(sector: bigint, sectors: number, flags: number): void {
    this.view.setBigUint64(CONTROL_AT + 64, sector, true);
    this.view.setUint32(CONTROL_AT + 72, sectors >>> 0, true);
    this.view.setUint32(CONTROL_AT + 76, flags >>> 0, true);
  }

  #write(at: number, segment: RawSegment): void {
    this.view.setBigUint64(at, BigInt(segment.addr), true);
    this.view.setUint32(at + 8, segment.bytes, true);
    this.view.setUint16(at + 12, segment.flags, true);
    this.view.setUint16(at + 14, segment.next, true);
  }

  setDesc(index: number, segment: RawSegment): void {
    this.#write(16 * index, segment);
  }

  setTable(index: number, segment: RawSegment): void {
    this.#write(TABLE_AT + 16 * index, segment);
  }

  setAvail(slot: number, head: number): void {
    this.view.setUint16(AVAIL_AT + 4 + 2 * slot, head, true);
  }

  setAvailIdx(idx: number): void {
    this.view.setUint16(AVAIL_AT + 2, idx, true);
  }

  /** Shows everything to the device and notifies it. */
  kick(fill: number): void {
    this.dma.write((this.base + TABLE_AT) as PhysAddr, this.bytes.subarray(TABLE_AT, DATA_AT));
    this.dma.write((this.base + DATA_AT) as PhysAddr, this.#data.fill(fill));
    // The rings last: a device that runs beside us may look at any time, as after a late notification of the last case.
    this.dma.write(this.base, this.bytes.subarray(0, USED_AT));
    this.transport.notify(0);
  }

  outcome(): Outcome {
    const used = new Uint8Array(16);
    this.dma.read((this.base + USED_AT) as PhysAddr, used);
    const status = new Uint8Array(1);
    this.dma.read(this.statusAddr() as PhysAddr, status);
    const words = new DataView(used.buffer);
    const count = words.getUint16(2, true);
    return {
      needsReset: (this.transport.status() & 64) !== 0,
      used: count,
      usedBytes: count === 0 ? -1 : words.getUint32(8, true),
      status: status[0]!,
    };
  }

  readData(): Uint8Array {
    this.dma.read(this.dataAddr() as PhysAddr, this.#data);
    return this.#data;
  }

  guardIsWhole(): boolean {
    const guard = new Uint8Array(GUARD_BYTES);
    this.dma.read((this.base + GUARD_AT) as PhysAddr, guard);
    return Buffer.compare(guard, GUARD_PAGE) === 0;
  }
}
