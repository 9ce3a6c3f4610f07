/**
 * virtio-blk driver (VirtIO 1.2, 5.2) over any transport and either ring format, as a BlockDevice.
 *
 * - probeVirtioBlk(dma, transport, options)   negotiates and starts; EIO or ENOSYS when the device will not do
 * - submit, poll, limits                      the BlockDevice face; submitTo chooses the queue
 * - wait(timeoutNs)        sleeps on the interrupt; true: a completion or a configuration change may be there. Used
 *                          buffers that wait to be polled come first: the configuration is looked at when there are none
 * - refresh()              takes over a changed configuration (resize) and sees NEEDS_RESET
 * - readId, setWriteCache, resetQueue, restart, close
 *
 * The device is not trusted. Completions are matched against private tables, the status byte is read once and counts
 * only when the device wrote it, a read must be reported at full length, data is copied by our own length. A device
 * that breaks its ring's rules is Broken: what is in flight ends with EIO, and nothing more is taken until restart().
 *
 * VirtIO has no FUA: such a write is followed by a flush, PREFLUSH preceded by one, in the same slot.
 */
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import type { Dma } from "../../kernel/abi/bus.ts";
import { EIO, ENOSYS, EOPNOTSUPP, ETIMEDOUT } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { CHAIN_SEGMENTS_MAX, VirtioFeature, VirtioStatus } from "../../kernel/abi/virtio.ts";
import type { Chain, VirtQueue, VirtioTransport } from "../../kernel/abi/virtio.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { checkRequest } from "../block/request.ts";
import { readBlkConfig } from "./blk_config.ts";
import type { BlkSettings } from "./blk_config.ts";
import {
  BLK_HEADER_BYTES,
  BLK_ID_BYTES,
  BLK_SEGMENT_BYTES,
  BlkConfig,
  BlkFeature,
  BlkStatus,
  BlkType,
  VIRTIO_ID_BLOCK,
} from "./blk_format.ts";
import { BlkSlots, NO_STATUS } from "./blk_slots.ts";
import { PackedRing } from "./ring_packed.ts";
import { SplitRing } from "./ring_split.ts";

export interface VirtioBlkOptions {
  /** Queues wanted; the device may have fewer. */
  readonly queues: number;
  /** Entries of a ring wanted. */
  readonly queueSize: number;
  /** Largest request, bytes: each slot has a bounce buffer of it. */
  readonly dataBytes: number;
  /** A request's data is cut into descriptors of at most this. */
  readonly segmentBytes: number;
  readonly packed: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
}

export const VIRTIO_BLK_DEFAULTS: VirtioBlkOptions = {
  queues: 1,
  queueSize: 128,
  dataBytes: 65_536,
  segmentBytes: 65_536,
  packed: false,
  indirect: true,
  eventIdx: true,
  inOrder: false,
};

/** Steps of a request in its slot. */
const Step = { PreFlush: 0, Main: 1, PostFlush: 2 } as const;
type Step = (typeof Step)[keyof typeof Step];

const TYPES: Readonly<Record<BlockOp, number>> = {
  [BlockOp.Read]: BlkType.In,
  [BlockOp.Write]: BlkType.Out,
  [BlockOp.Flush]: BlkType.Flush,
  [BlockOp.Discard]: BlkType.Discard,
  [BlockOp.WriteZeroes]: BlkType.WriteZeroes,
};

/** readId() is a request of no BlockOp: it is marked by this task's row, which no task has. */
const ID_TASK = -1;
const WAIT_NS = 10e6;
/** First turn of each queue whose interrupt is waited for. */
const WAIT_SLICE_NS = 5_000;

interface Queue {
  readonly ring: VirtQueue;
  readonly slots: BlkSlots;
  /** By slot: the request in flight, its step, and whether its data is where the caller has it. */
  readonly requests: (BlockRequest | undefined)[];
  readonly steps: Uint8Array;
  readonly inPlace: Uint8Array;
  /** Slots whose next step found no room in the ring; posted before anything new. */
  readonly stalled: number[];
}

export function probeVirtioBlk(
  dma: Dma,
  transport: VirtioTransport,
  options: Partial<VirtioBlkOptions> = {},
): VirtioBlk | Errno {
  if (transport.deviceId !== VIRTIO_ID_BLOCK) return ENOSYS;
  const driver = new VirtioBlk(dma, transport, { ...VIRTIO_BLK_DEFAULTS, ...options });
  const started = driver.restart();
  if (started === 0) return driver;
  driver.close(VirtioStatus.Failed);
  return started;
}

export class VirtioBlk implements BlockDevice {
  limits: BlockLimits;
  /** Features both sides agreed on. */
  features = 0n;
  /** Why nothing is taken any more; undefined: the device is up. */
  broken: string | undefined = "not started";

  readonly #dma: Dma;
  readonly #transport: VirtioTransport;
  readonly #options: VirtioBlkOptions;
  #queues: Queue[] = [];
  #settings: BlkSettings | undefined;
  /** Status bits set so far: never read back. */
  #status = 0;
  #nextQueue = 0;
  #ended: BlockRequest[] = [];
  readonly #chain: Chain = {
    addr: new Float64Array(CHAIN_SEGMENTS_MAX),
    bytes: new Uint32Array(CHAIN_SEGMENTS_MAX),
    out: 0,
    in: 0,
  };

  constructor(dma: Dma, transport: VirtioTransport, options: VirtioBlkOptions) {
    assert(options.segmentBytes >= SECTOR_SIZE, "VirtioBlk: a segment holds a sector");
    assert(options.dataBytes % SECTOR_SIZE === 0, "VirtioBlk: a request is whole sectors");
    this.#dma = dma;
    this.#transport = transport;
    this.#options = options;
    this.limits = {
      sectors: 0,
      logicalBlockSize: 512,
      queueDepth: 0,
      sectorsMax: 0,
      writeCache: false,
      discard: false,
      writeZeroes: false,
    };
  }

  get queueCount(): number {
    return this.#queues.length;
  }

  /** Resets the device, ends what was in flight with EIO, and starts again from negotiation (3.1.1). */
  restart(): 0 | Errno {
    this.#cancelAll();
    this.#freeQueues();
    this.broken = "not started";
    const transport = this.#transport;
    this.#status = 0;
    if (!transport.setStatus(0)) return this.#fail("the device does not reset");
    this.#addStatus(VirtioStatus.Acknowledge);
    this.#addStatus(VirtioStatus.Driver);
    const offered = transport.features();
    if ((offered & VirtioFeature.Version1) === 0n) return this.#fail("the device is not VirtIO 1");
    this.features = offered & this.#wanted();
    // 5.2.5.1: the write-cache mode is of use only where there is a flush.
    if ((this.features & BlkFeature.Flush) === 0n) this.features &= ~BlkFeature.ConfigWce;
    transport.accept(this.features);
    this.#addStatus(VirtioStatus.FeaturesOk);
    if ((transport.status() & VirtioStatus.FeaturesOk) === 0) return this.#fail("the device refused the features");
    const settings = readBlkConfig(transport, this.features);
    if (typeof settings === "number") return this.#fail("the configuration makes no sense");
    this.#settings = settings;
    const queues = Math.min(this.#options.queues, settings.queues);
    for (let queue = 0; queue < queues; queue++)
      if (!this.#startQueue(queue)) return this.#fail("a queue cannot be set up");
    this.#setLimits(settings);
    this.#addStatus(VirtioStatus.DriverOk);
    this.broken = undefined;
    return 0;
  }

  #wanted(): bigint {
    const { packed, indirect, eventIdx, inOrder } = this.#options;
    let wanted = VirtioFeature.Version1 | VirtioFeature.RingReset;
    wanted |= BlkFeature.SizeMax | BlkFeature.SegMax | BlkFeature.BlkSize | BlkFeature.ReadOnly | BlkFeature.Flush;
    wanted |= BlkFeature.ConfigWce | BlkFeature.Mq | BlkFeature.Discard | BlkFeature.WriteZeroes;
    if (packed) wanted |= VirtioFeature.RingPacked;
    if (indirect) wanted |= VirtioFeature.IndirectDesc;
    if (eventIdx) wanted |= VirtioFeature.EventIdx;
    if (inOrder) wanted |= VirtioFeature.InOrder;
    return wanted;
  }

  #fail(reason: string): Errno {
    this.broken = reason;
    this.#addStatus(VirtioStatus.Failed);
    return EIO;
  }

  #addStatus(bit: number): void {
    this.#status |= bit;
    this.#transport.setStatus(this.#status);
  }

  #startQueue(index: number): boolean {
    const max = this.#transport.queueMax(index);
    const isPacked = (this.features & VirtioFeature.RingPacked) !== 0n;
    let size = Math.min(max, this.#options.queueSize);
    if (!isPacked) size = 2 ** Math.floor(Math.log2(Math.max(size, 1)));
    if (max === 0 || size < 2) return false;
    const Ring = isPacked ? PackedRing : SplitRing;
    const ring = new Ring(this.#dma, size, this.features, this.#segmentsMax(size));
    const slots = new BlkSlots(this.#dma, size, this.#options.dataBytes);
    const requests: (BlockRequest | undefined)[] = Array.from({ length: size }, () => undefined);
    const steps = new Uint8Array(size);
    const inPlace = new Uint8Array(size);
    this.#queues.push({ ring, slots, requests, steps, inPlace, stalled: [] });
    return this.#transport.setupQueue(index, size, ring.desc, ring.driver, ring.device);
  }

  /** Data segments of the largest request, plus header and status. */
  #segmentsMax(ringSize: number): number {
    const { sizeMax, segMax } = this.#settings!;
    const perSegment = this.#segmentBytes();
    const wanted = Math.ceil(this.#options.dataBytes / perSegment);
    const allowed = sizeMax === 0xffffffff && segMax === 1 ? wanted : segMax;
    return Math.min(wanted, allowed, CHAIN_SEGMENTS_MAX - 2, Math.max(ringSize - 2, 1)) + 2;
  }

  #segmentBytes(): number {
    const bytes = Math.min(this.#options.segmentBytes, this.#settings!.sizeMax);
    return bytes - (bytes % SECTOR_SIZE);
  }

  #setLimits(settings: BlkSettings): void {
    const depths = this.#queues.map((queue) => queue.ring.size);
    const data = (this.#segmentsMax(Math.min(...depths)) - 2) * this.#segmentBytes();
    const unit = settings.logicalBlockSize / SECTOR_SIZE;
    const sectorsMax = Math.floor(Math.min(data, this.#options.dataBytes) / SECTOR_SIZE);
    this.limits = {
      sectors: settings.sectors,
      logicalBlockSize: settings.logicalBlockSize,
      queueDepth: depths.reduce((sum, depth) => sum + this.#requestsIn(depth), 0),
      sectorsMax: sectorsMax - (sectorsMax % unit),
      writeCache: settings.writeback && (this.features & BlkFeature.Flush) !== 0n,
      discard: settings.discardSectors > 0,
      writeZeroes: settings.writeZeroesSectors > 0,
    };
  }

  /** Requests of the largest kind that a ring holds: an indirect chain takes one descriptor. */
  #requestsIn(ringSize: number): number {
    if ((this.features & VirtioFeature.IndirectDesc) !== 0n) return ringSize;
    return Math.max(Math.floor(ringSize / this.#segmentsMax(ringSize)), 1);
  }

  submit(batch: readonly BlockRequest[]): number {
    if (this.#queues.length === 0) return this.#refuse(batch);
    const queue = this.#nextQueue;
    this.#nextQueue = queue + 1 === this.#queues.length ? 0 : queue + 1;
    return this.submitTo(queue, batch);
  }

  /** As submit, on one queue: all that fit are made visible with one publication and at most one notification. */
  submitTo(index: number, batch: readonly BlockRequest[]): number {
    if (this.broken !== undefined) return this.#refuse(batch);
    const queue = this.#queues[index]!;
    let taken = 0;
    this.#postStalled(queue);
    for (const request of batch) {
      if (queue.stalled.length > 0 || !this.#accept(queue, request)) break;
      taken++;
    }
    if (queue.ring.publish()) this.#transport.notify(index);
    return taken;
  }

  #refuse(batch: readonly BlockRequest[]): number {
    for (const request of batch) this.#end(request, EIO);
    return batch.length;
  }

  /** Puts one request into the ring, or ends it at once; false: no room. */
  #accept(queue: Queue, request: BlockRequest): boolean {
    request.result = undefined;
    const verdict = request.task === ID_TASK ? 0 : this.#check(request);
    if (verdict !== 0 || (request.op === BlockOp.Flush && !this.limits.writeCache)) {
      this.#end(request, verdict);
      return true;
    }
    const slot = queue.slots.take();
    if (slot < 0) return false;
    queue.requests[slot] = request;
    const isWrite = request.op === BlockOp.Write && this.limits.writeCache;
    const step = isWrite && (request.flags & REQ_PREFLUSH) !== 0 ? Step.PreFlush : Step.Main;
    queue.steps[slot] = step;
    if (this.#post(queue, slot, request, step)) return true;
    queue.requests[slot] = undefined;
    queue.slots.give(slot);
    return false;
  }

  #check(request: BlockRequest): 0 | Errno {
    const verdict = checkRequest(this.limits, request);
    if (verdict !== 0) return verdict;
    const isWrite = request.op !== BlockOp.Read && request.op !== BlockOp.Flush;
    if (isWrite && (this.features & BlkFeature.ReadOnly) !== 0n) return EIO;
    const settings = this.#settings!;
    if (request.op === BlockOp.Discard && request.sectors > settings.discardSectors) return EOPNOTSUPP;
    if (request.op === BlockOp.WriteZeroes && request.sectors > settings.writeZeroesSectors) return EOPNOTSUPP;
    return 0;
  }

  #post(queue: Queue, slot: number, request: BlockRequest, step: Step): boolean {
    const chain = this.#chain;
    const { slots } = queue;
    const isFlush = step !== Step.Main || request.op === BlockOp.Flush;
    const isId = request.task === ID_TASK;
    const type = isFlush ? BlkType.Flush : isId ? BlkType.GetId : TYPES[request.op];
    const isRange = type === BlkType.Discard || type === BlkType.WriteZeroes;
    chain.addr[0] = slots.headerAddr(slot);
    chain.bytes[0] = BLK_HEADER_BYTES;
    chain.out = 1;
    chain.in = 0;
    let segments = 1;
    if (isRange) {
      chain.addr[segments] = slots.segmentAddr(slot);
      chain.bytes[segments++] = BLK_SEGMENT_BYTES;
      chain.out++;
    } else if (!isFlush) {
      segments = this.#dataSegments(queue, slot, request);
      if (type === BlkType.Out) chain.out += segments - 1;
      else chain.in += segments - 1;
    }
    chain.addr[segments] = slots.statusAddr(slot);
    chain.bytes[segments] = 1;
    chain.in++;
    if (!queue.ring.add(chain, slot)) return false;
    slots.setHeader(slot, type, isRange || isFlush || isId ? 0 : request.sector);
    if (isRange) slots.setSegment(slot, request.sector, request.sectors, 0);
    slots.push(slot);
    // The chain is not visible before publish(), so the data may follow it.
    if (type === BlkType.Out && queue.inPlace[slot] === 0) this.#dma.write(slots.dataAddr(slot), request.data!);
    return true;
  }

  /** Data as segments from index 1; returns the index after the last. */
  #dataSegments(queue: Queue, slot: number, request: BlockRequest): number {
    const chain = this.#chain;
    const data = request.data!;
    const direct = this.#dma.addrOf?.(data);
    queue.inPlace[slot] = direct === undefined ? 0 : 1;
    const base = direct ?? queue.slots.dataAddr(slot);
    const step = this.#segmentBytes();
    let segment = 1;
    for (let at = 0; at < data.length; at += step) {
      chain.addr[segment] = base + at;
      chain.bytes[segment++] = Math.min(step, data.length - at);
    }
    return segment;
  }

  #postStalled(queue: Queue): void {
    while (queue.stalled.length > 0) {
      const slot = queue.stalled[0]!;
      if (!this.#post(queue, slot, queue.requests[slot]!, queue.steps[slot] as Step)) return;
      queue.stalled.shift();
    }
  }

  poll(): readonly BlockRequest[] {
    for (let index = 0; index < this.#queues.length && this.broken === undefined; index++) this.#pollQueue(index);
    const ended = this.#ended;
    if (ended.length > 0) this.#ended = [];
    return ended;
  }

  #pollQueue(index: number): void {
    const queue = this.#queues[index]!;
    const { ring, slots } = queue;
    if (ring.inFlight === 0) return;
    let slot = ring.take();
    if (slot >= 0) slots.pull();
    // At most what was in flight: a device cannot keep us here.
    for (; slot >= 0; slot = ring.take()) this.#complete(queue, slot, ring.usedBytes);
    if (ring.broken !== undefined) {
      this.#break(ring.broken);
      return;
    }
    this.#postStalled(queue);
    if (ring.publish()) this.#transport.notify(index);
  }

  #complete(queue: Queue, slot: number, usedBytes: number): void {
    const request = queue.requests[slot]!;
    let status = queue.slots.status(slot);
    // take() may have found more than was there at the pull: this slot's status has come since.
    if (status === NO_STATUS) {
      queue.slots.pull();
      status = queue.slots.status(slot);
    }
    const step = queue.steps[slot]!;
    let result: number = status === BlkStatus.Ok ? 0 : status === BlkStatus.Unsupported ? EOPNOTSUPP : EIO;
    if (result === 0 && step !== Step.PostFlush) {
      if (step === Step.PreFlush) {
        this.#again(queue, slot, Step.Main);
        return;
      }
      if (request.op === BlockOp.Read) result = this.#finishRead(queue, slot, request, usedBytes);
      else if (request.op === BlockOp.Write && (request.flags & REQ_FUA) !== 0 && this.limits.writeCache) {
        this.#again(queue, slot, Step.PostFlush);
        return;
      }
    }
    queue.requests[slot] = undefined;
    queue.slots.give(slot);
    this.#end(request, result);
  }

  #again(queue: Queue, slot: number, step: Step): void {
    queue.steps[slot] = step;
    queue.stalled.push(slot);
  }

  /** A read that the device says it left short would show bytes of an older one: it is an error. */
  #finishRead(queue: Queue, slot: number, request: BlockRequest, usedBytes: number): number {
    const data = request.data!;
    if (request.task === ID_TASK) {
      this.#dma.read(queue.slots.dataAddr(slot), data.subarray(0, Math.min(usedBytes, BLK_ID_BYTES)));
      return 0;
    }
    if (usedBytes < data.length + 1) return EIO;
    if (queue.inPlace[slot] === 0) this.#dma.read(queue.slots.dataAddr(slot), data);
    return 0;
  }

  #end(request: BlockRequest, result: number): void {
    request.result = result;
    this.#ended.push(request);
  }

  #break(reason: string): void {
    this.broken = reason;
    // Reset first: a device that still ran could write into buffers that are handed back here.
    this.#status = 0;
    this.#transport.setStatus(0);
    this.#addStatus(VirtioStatus.Failed);
    this.#cancelAll();
  }

  #cancelAll(): void {
    for (const queue of this.#queues) this.#cancel(queue);
  }

  #cancel(queue: Queue): void {
    for (const [slot, request] of queue.requests.entries()) {
      if (request === undefined) continue;
      queue.requests[slot] = undefined;
      this.#end(request, EIO);
    }
    queue.stalled.length = 0;
    queue.slots.reset();
  }

  #freeQueues(): void {
    for (const queue of this.#queues) {
      queue.ring.free();
      queue.slots.free();
    }
    this.#queues = [];
  }

  /** Sleeps until a queue's interrupt comes, unless used buffers are there already. `more`: coalesce that many. */
  wait(timeoutNs: number, more = 1): boolean {
    if (this.#ended.length > 0 || this.broken !== undefined) return true;
    const busy: number[] = [];
    for (const [index, queue] of this.#queues.entries()) {
      if (queue.ring.inFlight === 0) continue;
      busy.push(index);
      if (!queue.ring.enableIrq(more)) return true;
    }
    const isIdle = busy.length === 0;
    let came = this.#waitAny(isIdle ? [0] : busy, timeoutNs);
    for (const queue of this.#queues) queue.ring.disableIrq();
    if (this.#transport.configChanged()) {
      this.refresh();
      came = true;
    }
    return came || isIdle;
  }

  /**
   * Waits for the first interrupt of several queues. A line is waited for alone, so they take turns, in slices that
   * double: whichever comes is seen after at most one and a half times (and a few microseconds) what it took.
   */
  #waitAny(queues: readonly number[], timeoutNs: number): boolean {
    let leftNs = timeoutNs;
    for (let sliceNs = queues.length === 1 ? timeoutNs : WAIT_SLICE_NS; ; sliceNs *= 2) {
      for (const queue of queues) {
        const ns = Math.min(sliceNs, leftNs);
        if (this.#transport.waitIrq(queue, ns)) return true;
        leftNs -= ns;
      }
      if (leftNs <= 0) return false;
    }
  }

  /** Reads status and configuration again. A device that needs a reset is Broken until restart(). */
  refresh(): 0 | Errno {
    if (this.broken !== undefined) return EIO;
    if ((this.#transport.status() & VirtioStatus.NeedsReset) !== 0) {
      this.#break("the device needs a reset");
      return EIO;
    }
    const settings = readBlkConfig(this.#transport, this.features);
    if (typeof settings === "number") {
      this.#break("the configuration makes no sense");
      return settings;
    }
    const old = this.#settings!;
    // Only these may change while the device runs; the rest is fixed at negotiation.
    this.#settings = { ...old, sectors: settings.sectors, writeback: settings.writeback };
    this.#setLimits(this.#settings);
    return 0;
  }

  /** The device's serial, up to 20 bytes; waits for it. Nothing else may be in flight on queue 0. */
  readId(timeoutNs = 1e9): string | Errno {
    const request: BlockRequest = {
      op: BlockOp.Read,
      flags: 0,
      sector: 0,
      sectors: 0,
      data: new Uint8Array(BLK_ID_BYTES),
      task: ID_TASK,
      result: undefined,
    };
    this.submitTo(0, [request]);
    const others: BlockRequest[] = [];
    for (let waited = 0; waited < timeoutNs; waited += WAIT_NS) {
      for (const ended of this.poll()) if (ended !== request) others.push(ended);
      if (request.result !== undefined) break;
      this.wait(WAIT_NS);
    }
    this.#ended.push(...others);
    if (request.result === undefined) return ETIMEDOUT;
    if (request.result !== 0) return request.result as Errno;
    const text = Array.from(request.data!, (byte) => String.fromCharCode(byte)).join("");
    return text.split("\0")[0]!;
  }

  /** Turns the volatile write cache on or off (VIRTIO_BLK_F_CONFIG_WCE). */
  setWriteCache(on: boolean): 0 | Errno {
    if ((this.features & BlkFeature.ConfigWce) === 0n) return EOPNOTSUPP;
    this.#transport.setConfig(BlkConfig.Writeback, 1, on ? 1 : 0);
    const refreshed = this.refresh();
    if (refreshed !== 0) return refreshed;
    return this.limits.writeCache === on ? 0 : EIO;
  }

  /** Resets one queue and sets it up again (VIRTIO_F_RING_RESET); what was in flight on it ends with EIO. */
  resetQueue(index: number): 0 | Errno {
    if ((this.features & VirtioFeature.RingReset) === 0n) return EOPNOTSUPP;
    const queue = this.#queues[index];
    if (queue === undefined || this.broken !== undefined) return EIO;
    if (!this.#transport.resetQueue(index)) {
      this.#break("a queue does not reset");
      return EIO;
    }
    this.#cancel(queue);
    queue.ring.reset();
    const { desc, driver, device, size } = queue.ring;
    if (this.#transport.setupQueue(index, size, desc, driver, device)) return 0;
    this.#break("a queue cannot be set up again");
    return EIO;
  }

  /** Stops the device and gives the memory back; `status` is what the device is left with. */
  close(status = 0): void {
    this.#transport.setStatus(0);
    if (status !== 0) this.#transport.setStatus(status);
    this.#cancelAll();
    this.#freeQueues();
    this.broken = "closed";
  }
}
