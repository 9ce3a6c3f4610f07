/**
 * The memory of one virtio-blk queue beside its ring: a slot for each request in flight, and a bounce buffer each.
 *
 *   slot, 64 bytes:  header 16 (type, reserved, sector) | segment 16 (discard, write zeroes) | status at 32
 *
 * The device writes only the status; it is set to NO_STATUS before the request is posted and read once after.
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { BLK_HEADER_BYTES, BLK_SEGMENT_BYTES } from "./blk_format.ts";
import { RingMemory } from "./ring_memory.ts";

const SLOT_BYTES = 64;
const SEGMENT_AT = BLK_HEADER_BYTES;
const STATUS_AT = BLK_HEADER_BYTES + BLK_SEGMENT_BYTES;
/** No device status has this value: it says that none was written. */
export const NO_STATUS = 0xff;

export class BlkSlots {
  readonly count: number;
  readonly #memory: RingMemory;
  readonly #dma: Dma;
  readonly #data: PhysAddr;
  readonly #dataBytes: number;
  readonly #free: Uint16Array;
  #freeCount = 0;

  constructor(dma: Dma, count: number, dataBytes: number) {
    this.count = count;
    this.#dma = dma;
    this.#memory = new RingMemory(dma, count * SLOT_BYTES, 64);
    this.#data = dma.alloc(count * dataBytes, 4096);
    this.#dataBytes = dataBytes;
    this.#free = new Uint16Array(count);
    this.reset();
  }

  reset(): void {
    this.#freeCount = this.count;
    for (let i = 0; i < this.count; i++) this.#free[i] = this.count - 1 - i;
  }

  /** A free slot, or -1. */
  take(): number {
    return this.#freeCount === 0 ? -1 : this.#free[--this.#freeCount]!;
  }

  give(slot: number): void {
    this.#free[this.#freeCount++] = slot;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  setHeader(slot: number, type: number, sector: number): void {
    const word = (slot * SLOT_BYTES) >> 2;
    const { u32 } = this.#memory;
    u32[word] = type;
    u32[word + 1] = 0;
    u32[word + 2] = sector;
    u32[word + 3] = Math.floor(sector / 2 ** 32);
    u32[word + (STATUS_AT >> 2)] = NO_STATUS;
  }

  setSegment(slot: number, sector: number, sectors: number, flags: number): void {
    const word = (slot * SLOT_BYTES + SEGMENT_AT) >> 2;
    const { u32 } = this.#memory;
    u32[word] = sector;
    u32[word + 1] = Math.floor(sector / 2 ** 32);
    u32[word + 2] = sectors;
    u32[word + 3] = flags;
  }

  /** Makes header, segment and status visible to the device. */
  push(slot: number): void {
    this.#memory.push(slot * SLOT_BYTES, STATUS_AT + 4);
  }

  /** Brings in what the device wrote since; before the first status() of a poll. */
  pull(): void {
    this.#memory.pull(0, this.count * SLOT_BYTES);
  }

  status(slot: number): number {
    return this.#memory.u32[(slot * SLOT_BYTES + STATUS_AT) >> 2]! & 0xff;
  }

  headerAddr(slot: number): PhysAddr {
    return this.#memory.addr(slot * SLOT_BYTES);
  }

  segmentAddr(slot: number): PhysAddr {
    return this.#memory.addr(slot * SLOT_BYTES + SEGMENT_AT);
  }

  statusAddr(slot: number): PhysAddr {
    return this.#memory.addr(slot * SLOT_BYTES + STATUS_AT);
  }

  dataAddr(slot: number): PhysAddr {
    return (this.#data + slot * this.#dataBytes) as PhysAddr;
  }

  free(): void {
    this.#memory.free();
    this.#dma.free(this.#data);
  }
}
