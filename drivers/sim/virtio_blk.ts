/**
 * Our virtio-blk device (VirtIO 1.2, 5.2) over any BlockDevice as its disk. Framing is free, as the specification asks:
 * the header is the first 16 readable bytes, the status the last writable one, however the chain is cut.
 *
 * - process(queue)    takes available chains to the disk; what the disk completes at once is used at once
 * - step()            completes what the disk has finished since
 * - resize(sectors)   the disk's capacity as shown to the driver, with a configuration change interrupt
 *
 * Wrong framing (no status byte, no whole header, no whole range) needs a reset; a request that is well framed and cannot
 * be done ends with IOERR or UNSUPP. The used length is all that is writable: what a failed read leaves is zeroed.
 */
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EOPNOTSUPP } from "../../kernel/abi/errno.ts";
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import { DeviceChain } from "../virtio/device_chain.ts";
import type { GuestMemory } from "../virtio/device_chain.ts";
import {
  BLK_CONFIG_BYTES,
  BLK_HEADER_BYTES,
  BLK_ID_BYTES,
  BLK_SEGMENT_BYTES,
  BLK_UNMAP,
  BlkConfig,
  BlkFeature,
  BlkStatus,
  BlkType,
  VIRTIO_ID_BLOCK,
} from "../virtio/blk_format.ts";
import type { Stepped } from "./bus.ts";
import { VirtioDevice } from "./virtio_device.ts";
import type { DeviceModel } from "./virtio_device.ts";

export interface VirtioBlkDeviceOptions {
  readonly queues: number;
  readonly queueSize: number;
  /** Features not offered. */
  readonly without: bigint;
  readonly readOnly: boolean;
  readonly serial: string;
  /** In order, several chains are handed back by one used entry where that is allowed. */
  readonly batchInOrder: boolean;
  /** A notification only marks the queue; step() does the work. */
  readonly deferred: boolean;
}

const DEFAULTS: VirtioBlkDeviceOptions = {
  queues: 1,
  queueSize: 256,
  without: 0n,
  readOnly: false,
  serial: "orrery-sim",
  batchInOrder: true,
  deferred: false,
};

const SEG_MAX = 126;
const RANGE_SECTORS_MAX = 2 ** 22;

/** A request at the disk and the chain it came by. */
interface InFlight extends BlockRequest {
  readonly queue: number;
  readonly chain: DeviceChain;
  /** Reset since: the chain must not be touched any more. */
  isDropped: boolean;
  isDone: boolean;
  /** A read whose data has to be copied into the chain. */
  readonly isScattered: boolean;
}

export class VirtioBlkDevice implements DeviceModel, Stepped {
  readonly deviceId = VIRTIO_ID_BLOCK;
  readonly features: bigint;
  readonly queueMax: readonly number[];
  readonly configBytes = BLK_CONFIG_BYTES;
  readonly virtio: VirtioDevice;
  readonly #options: VirtioBlkDeviceOptions;
  readonly #memory: GuestMemory;
  readonly #disk: BlockDevice;
  readonly #config = new DataView(new ArrayBuffer(BLK_CONFIG_BYTES));
  readonly #header = new DataView(new ArrayBuffer(BLK_HEADER_BYTES));
  readonly #range = new DataView(new ArrayBuffer(BLK_SEGMENT_BYTES));
  readonly #status = new Uint8Array(1);
  readonly #spare: DeviceChain[] = [];
  /** Requests the disk has not taken yet, oldest first. */
  #waiting: InFlight[] = [];
  /** By queue: in flight, in the order they came (in-order devices use them in that order). */
  readonly #flights: InFlight[][];
  readonly #kicked: boolean[];
  #sectors: number;
  #isInOrder = false;
  #isWriteBack = true;

  constructor(memory: GuestMemory, disk: BlockDevice, options: Partial<VirtioBlkDeviceOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
    this.#memory = memory;
    this.#disk = disk;
    this.#sectors = disk.limits.sectors;
    this.features = this.#offer();
    this.queueMax = Array.from({ length: this.#options.queues }, () => this.#options.queueSize);
    this.#flights = this.queueMax.map(() => []);
    this.#kicked = this.queueMax.map(() => false);
    this.#fillConfig();
    this.virtio = new VirtioDevice(memory, this);
  }

  #offer(): bigint {
    const { limits } = this.#disk;
    let offer = VirtioFeature.IndirectDesc | VirtioFeature.EventIdx | VirtioFeature.Version1;
    offer |= VirtioFeature.RingPacked | VirtioFeature.InOrder | VirtioFeature.RingReset;
    offer |= BlkFeature.SegMax | BlkFeature.BlkSize | BlkFeature.Topology | BlkFeature.Flush | BlkFeature.ConfigWce;
    if (this.#options.queues > 1) offer |= BlkFeature.Mq;
    if (this.#options.readOnly) offer |= BlkFeature.ReadOnly;
    if (limits.discard) offer |= BlkFeature.Discard;
    if (limits.writeZeroes) offer |= BlkFeature.WriteZeroes;
    offer &= ~this.#options.without;
    // A cache mode means something only where there is a flush (5.2.5.2).
    if ((offer & BlkFeature.Flush) === 0n) offer &= ~BlkFeature.ConfigWce;
    return offer;
  }

  #fillConfig(): void {
    const config = this.#config;
    config.setBigUint64(BlkConfig.Capacity, BigInt(this.#sectors), true);
    config.setUint32(BlkConfig.SegMax, SEG_MAX, true);
    config.setUint32(BlkConfig.BlkSize, this.#disk.limits.logicalBlockSize, true);
    config.setUint8(BlkConfig.Writeback, this.#isWriteBack ? 1 : 0);
    config.setUint16(BlkConfig.NumQueues, this.#options.queues, true);
    config.setUint32(BlkConfig.MaxDiscardSectors, RANGE_SECTORS_MAX, true);
    config.setUint32(BlkConfig.MaxDiscardSeg, 1, true);
    config.setUint32(BlkConfig.DiscardAlignment, this.#disk.limits.logicalBlockSize / SECTOR_SIZE, true);
    config.setUint32(BlkConfig.MaxWriteZeroesSectors, RANGE_SECTORS_MAX, true);
    config.setUint32(BlkConfig.MaxWriteZeroesSeg, 1, true);
    config.setUint8(BlkConfig.WriteZeroesMayUnmap, 1);
  }

  configRead(offset: number, width: number): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--)
      value = value * 256 + (offset + i < BLK_CONFIG_BYTES ? this.#config.getUint8(offset + i) : 0);
    return value;
  }

  /** Only the write-cache mode can be written, and only when negotiated (5.2.5.2). */
  configWrite(offset: number, width: number, value: number): void {
    if (offset !== BlkConfig.Writeback || width !== 1) return;
    if ((this.virtio.features & BlkFeature.ConfigWce) === 0n) return;
    this.#isWriteBack = (value & 1) === 1;
    this.#config.setUint8(BlkConfig.Writeback, this.#isWriteBack ? 1 : 0);
  }

  agree(features: bigint): void {
    this.#isInOrder = (features & VirtioFeature.InOrder) !== 0n;
    // A driver that cannot flush gets write-through, and is shown it (5.2.5.2, 5.2.6.2).
    if ((features & BlkFeature.Flush) === 0n) this.#isWriteBack = false;
    this.#fillConfig();
  }

  reset(): void {
    this.#isWriteBack = true;
    this.#fillConfig();
  }

  dropQueue(queue: number): void {
    const flights = this.#flights[queue]!;
    for (const flight of flights) flight.isDropped = true;
    flights.length = 0;
    this.#waiting = this.#waiting.filter((flight) => !flight.isDropped);
    this.#kicked[queue] = false;
  }

  resize(sectors: number): void {
    this.#sectors = sectors;
    this.#fillConfig();
    this.virtio.configChanged();
  }

  get nextAtNs(): number {
    const disk = this.#disk as BlockDevice & { readonly nextAtNs?: number };
    if (this.virtio.isRunning && this.#kicked.includes(true)) return 0;
    return disk.nextAtNs ?? Infinity;
  }

  process(queue: number): void {
    this.#kicked[queue] = true;
    if (!this.#options.deferred) this.step();
  }

  step(): void {
    this.#complete();
    for (const [queue, isKicked] of this.#kicked.entries()) {
      if (!isKicked || !this.virtio.isRunning) continue;
      this.#kicked[queue] = false;
      this.#drain(queue);
    }
    for (const [queue, { ring }] of this.virtio.queues.entries())
      if (ring?.publish() === true) this.virtio.irq?.queueUsed(queue);
  }

  /** Takes every available chain of a queue; asks for a notification before it stops looking. */
  #drain(queue: number): void {
    const ring = this.virtio.queues[queue]!.ring!;
    ring.disableNotify();
    for (;;) {
      const chain = this.#spare.pop() ?? new DeviceChain();
      if (ring.pop(chain)) {
        this.#start(queue, chain);
        if (this.virtio.fault !== undefined) return;
        continue;
      }
      this.#spare.push(chain);
      if (ring.broken !== undefined) {
        this.virtio.needsReset(ring.broken);
        return;
      }
      this.#submit();
      this.#complete();
      if (ring.enableNotify()) return;
      ring.disableNotify();
    }
  }

  #start(queue: number, chain: DeviceChain): void {
    const { dma } = this.#memory;
    if (chain.out === 0 || chain.in === 0) {
      this.virtio.needsReset("a request without a header or a status");
      return;
    }
    if (chain.readOut(dma, 0, bytesOf(this.#header)) < BLK_HEADER_BYTES) {
      this.virtio.needsReset("a request whose header is too short");
      return;
    }
    const type = this.#header.getUint32(0, true);
    const sector = this.#header.getUint32(8, true) + this.#header.getUint32(12, true) * 2 ** 32;
    const dataIn = chain.inBytes - 1;
    const dataOut = chain.outBytes - BLK_HEADER_BYTES;
    switch (type) {
      case BlkType.In:
        this.#transfer(queue, chain, BlockOp.Read, sector, dataIn);
        return;
      case BlkType.Out:
        this.#transfer(queue, chain, BlockOp.Write, sector, dataOut);
        return;
      case BlkType.Flush:
        this.#launch(queue, chain, BlockOp.Flush, 0, 0, undefined, false);
        return;
      case BlkType.GetId:
        chain.writeIn(dma, 0, this.#serial().subarray(0, Math.min(dataIn, BLK_ID_BYTES)));
        this.#finishNow(queue, chain, BlkStatus.Ok);
        return;
      case BlkType.Discard:
      case BlkType.WriteZeroes:
        this.#rangeRequest(queue, chain, type);
        return;
      default:
        this.#finishNow(queue, chain, BlkStatus.Unsupported);
    }
  }

  #serial(): Uint8Array {
    const serial = new Uint8Array(BLK_ID_BYTES);
    for (let i = 0; i < Math.min(this.#options.serial.length, BLK_ID_BYTES); i++)
      serial[i] = this.#options.serial.charCodeAt(i);
    return serial;
  }

  #inRange(sector: number, sectors: number): boolean {
    const unit = this.#disk.limits.logicalBlockSize / SECTOR_SIZE;
    if (!Number.isInteger(sectors) || sector % unit !== 0 || sectors % unit !== 0) return false;
    return sector + sectors <= this.#sectors;
  }

  #transfer(queue: number, chain: DeviceChain, op: BlockOp, sector: number, bytes: number): void {
    const isRead = op === BlockOp.Read;
    const isAllowed = isRead || !this.#options.readOnly;
    if (!isAllowed || !this.#inRange(sector, bytes / SECTOR_SIZE)) {
      this.#fail(queue, chain, BlkStatus.IoErr);
      return;
    }
    if (bytes === 0) {
      this.#finishNow(queue, chain, BlkStatus.Ok);
      return;
    }
    const { dma } = this.#memory;
    const whole = chain.view(dma, isRead, isRead ? 0 : BLK_HEADER_BYTES, bytes);
    const data = whole ?? new Uint8Array(bytes);
    if (whole === undefined && !isRead) chain.readOut(dma, BLK_HEADER_BYTES, data);
    this.#launch(queue, chain, op, sector, bytes / SECTOR_SIZE, data, isRead && whole === undefined);
  }

  #rangeRequest(queue: number, chain: DeviceChain, type: number): void {
    const bytes = chain.readOut(this.#memory.dma, BLK_HEADER_BYTES, bytesOf(this.#range));
    if (bytes < BLK_SEGMENT_BYTES) {
      this.virtio.needsReset("a range that is too short");
      return;
    }
    const sector = this.#range.getUint32(0, true) + this.#range.getUint32(4, true) * 2 ** 32;
    const sectors = this.#range.getUint32(8, true);
    const flags = this.#range.getUint32(12, true);
    const isDiscard = type === BlkType.Discard;
    const feature = isDiscard ? BlkFeature.Discard : BlkFeature.WriteZeroes;
    // Unknown flags, and unmap on a discard, are unsupported (5.2.6.2).
    const known = isDiscard ? 0 : BLK_UNMAP;
    if ((this.features & feature) === 0n || (flags & ~known) !== 0) {
      this.#finishNow(queue, chain, BlkStatus.Unsupported);
      return;
    }
    if (this.#options.readOnly || sectors > RANGE_SECTORS_MAX || !this.#inRange(sector, sectors)) {
      this.#fail(queue, chain, BlkStatus.IoErr);
      return;
    }
    if (sectors === 0) {
      this.#finishNow(queue, chain, BlkStatus.Ok);
      return;
    }
    const op = isDiscard ? BlockOp.Discard : BlockOp.WriteZeroes;
    this.#launch(queue, chain, op, sector, sectors, undefined, false);
  }

  #launch(
    queue: number,
    chain: DeviceChain,
    op: BlockOp,
    sector: number,
    sectors: number,
    data: Uint8Array | undefined,
    isScattered: boolean,
  ): void {
    this.#waiting.push(this.#flight(queue, chain, op, sector, sectors, data, isScattered));
  }

  #flight(
    queue: number,
    chain: DeviceChain,
    op: BlockOp,
    sector: number,
    sectors: number,
    data: Uint8Array | undefined,
    isScattered: boolean,
  ): InFlight {
    const isWrite = op === BlockOp.Write || op === BlockOp.WriteZeroes;
    const flags = isWrite && !this.#isWriteBack ? REQ_FUA : 0;
    const request = { op, flags, sector, sectors, data, task: 0, result: undefined };
    const flight: InFlight = { ...request, queue, chain, isDropped: false, isDone: false, isScattered };
    this.#flights[queue]!.push(flight);
    return flight;
  }

  #submit(): void {
    if (this.#waiting.length === 0) return;
    const taken = this.#disk.submit(this.#waiting);
    this.#waiting = this.#waiting.slice(taken);
  }

  /** Ends a request that never reaches the disk; in order it still waits for those before it. */
  #finishNow(queue: number, chain: DeviceChain, status: number): void {
    if (!this.#isInOrder) {
      this.#use(queue, chain, status);
      return;
    }
    const flight = this.#flight(queue, chain, BlockOp.Flush, 0, 0, undefined, false);
    flight.result = status;
    flight.isDone = true;
    this.#useInOrder(queue);
  }

  #fail(queue: number, chain: DeviceChain, status: number): void {
    if (chain.inBytes > 1) this.#zero(chain);
    this.#finishNow(queue, chain, status);
  }

  #zero(chain: DeviceChain): void {
    const zeroes = new Uint8Array(Math.min(chain.inBytes - 1, 65_536));
    for (let at = 0; at < chain.inBytes - 1; at += zeroes.length)
      chain.writeIn(this.#memory.dma, at, zeroes.subarray(0, Math.min(zeroes.length, chain.inBytes - 1 - at)));
  }

  /** Takes over what the disk has ended. */
  #complete(): void {
    for (;;) {
      const ended = this.#disk.poll() as readonly InFlight[];
      for (const flight of ended) {
        if (flight.isDropped) continue;
        const status =
          flight.result === 0 ? BlkStatus.Ok : flight.result === EOPNOTSUPP ? BlkStatus.Unsupported : BlkStatus.IoErr;
        if (flight.op === BlockOp.Read) {
          if (status !== BlkStatus.Ok) this.#zero(flight.chain);
          else if (flight.isScattered) flight.chain.writeIn(this.#memory.dma, 0, flight.data!);
        }
        flight.result = status;
        flight.isDone = true;
        if (this.#isInOrder) this.#useInOrder(flight.queue);
        else {
          const flights = this.#flights[flight.queue]!;
          const at = flights.indexOf(flight);
          flights[at] = flights.at(-1)!;
          flights.pop();
          this.#use(flight.queue, flight.chain, status);
        }
      }
      if (this.#waiting.length === 0 || ended.length === 0) return;
      this.#submit();
    }
  }

  #writeStatus(chain: DeviceChain, status: number): void {
    this.#status[0] = status;
    chain.writeIn(this.#memory.dma, chain.inBytes - 1, this.#status);
  }

  #use(queue: number, chain: DeviceChain, status: number): void {
    this.#writeStatus(chain, status);
    this.virtio.queues[queue]!.ring!.push(chain.id, chain.descs, chain.inBytes, 1);
    this.#spare.push(chain);
  }

  /** Hands back the longest run of done requests, as one batch or one by one. */
  #useInOrder(queue: number): void {
    const flights = this.#flights[queue]!;
    const ring = this.virtio.queues[queue]!.ring!;
    let done = 0;
    let descs = 0;
    while (flights[done]?.isDone === true) {
      const { chain, result } = flights[done]!;
      this.#writeStatus(chain, result!);
      descs += chain.descs;
      if (!this.#options.batchInOrder) ring.push(chain.id, chain.descs, chain.inBytes, 1);
      this.#spare.push(chain);
      done++;
    }
    if (done === 0) return;
    const last = flights[done - 1]!.chain;
    if (this.#options.batchInOrder) ring.push(last.id, descs, last.inBytes, done);
    flights.splice(0, done);
  }
}

const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
