/**
 * Per-CPU page lists of one zone (Linux 6.1: struct per_cpu_pages). Blocks of order 0..3 and of a pageblock are taken
 * from and given to the CPU's own lists with plain loads and stores; the zone lock is taken once a batch.
 *
 * - setLimits(managed, low)           batch and high by Linux's rules
 * - alloc(cpu, order, type, flags)    a block, or -1: the zone has none
 * - free(cpu, pfn, order, type)       `type` is that of its pageblock
 * - drain(cpu)                        all back to the zone: only by the CPU itself, or while it stands still
 * - request(cpu), serve(cpu)          ask another CPU to drain; it does at its next refill, bulk free or tick
 *
 *   words of a CPU (a cache line): count, high, batch, free factor, request; frames allocated and freed since the
 *   counters of /proc/vmstat were last brought up to date (at each refill and bulk free, so that they cannot wrap)
 *   list 3 * order + type for orders 0..3, 12 + type for a whole pageblock
 *
 * A CPU's words and lists are its own; only `request` is written by others (atomically).
 */
import type { EventSink } from "../kernel/abi/machine.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import { MmEv } from "../kernel/abi/events.ts";
import type { Buddy } from "./buddy.ts";
import { Kind, PCP_LISTS, type Memmap } from "./memmap.ts";
import { Migrate, PCP_TYPES } from "./migratetype.ts";
import { type Theft, rmqueue } from "./steal.ts";
import { VM, VM_STRIDE } from "./vmstat.ts";
import { ZONE } from "./zone.ts";

/** Orders above are served by the zone directly (Linux: PAGE_ALLOC_COSTLY_ORDER). */
export const COSTLY_ORDER = 3;
export const HUGE_LISTS = (COSTLY_ORDER + 1) * PCP_TYPES;
const LISTS = HUGE_LISTS + PCP_TYPES;
const BATCH_FRAMES_MAX = 256;

export const PCP = {
  count: 0,
  high: 1,
  batch: 2,
  freeFactor: 3,
  request: 4,
  allocs: 5,
  frees: 6,
  words: PCP_LISTS,
} as const;

/** Linux's zone_batchsize: about a quarter of a thousandth of the zone, just below a power of two; at least one. */
export function batchSize(managed: number): number {
  const quarter = Math.max(1, Math.min(managed >>> 10, BATCH_FRAMES_MAX) >>> 2);
  const power = 1 << (31 - Math.clz32(quarter + (quarter >>> 1)));
  return Math.max(1, power - 1);
}

/** Linux's zone_highsize: the low watermark shared among the CPUs, at least four batches. */
export const highSize = (low: number, cpus: number, batch: number): number =>
  Math.max(Math.floor(low / cpus), batch << 2);

export class Pcp {
  readonly words: Int32Array;
  readonly locks: LockOps;
  trace: EventSink | null = null;
  private readonly buddy: Buddy;
  private readonly cpus: number;
  private readonly zone: number;
  private readonly zones: number;
  private readonly lists: number;
  private readonly theft: Theft = { pfn: -1, order: 0, from: 0, ownership: 0 };

  private readonly counters: Float64Array;
  private readonly pgalloc: number;

  constructor(map: Memmap, buddy: Buddy, zone: number, locks: LockOps, pgalloc: number) {
    this.counters = map.counters;
    this.pgalloc = pgalloc;
    this.words = map.words.subarray(map.cpusAt, map.cpusAt + map.shape.cpus * map.shape.zones * PCP.words);
    this.locks = locks;
    this.buddy = buddy;
    this.cpus = map.shape.cpus;
    this.zone = zone;
    this.zones = map.shape.zones;
    this.lists = map.pcpLists;
  }

  setLimits(managed: number, low: number): void {
    const batch = batchSize(managed);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const at = this.at(cpu);
      this.words[at + PCP.batch] = batch;
      this.words[at + PCP.high] = highSize(low, this.cpus, batch);
    }
  }

  /** Index of a CPU's words; its lists' sentinels lie at the same distance from theirs. */
  at(cpu: number): number {
    return (cpu * this.zones + this.zone) * PCP.words;
  }

  alloc(cpu: number, order: number, type: number, flags: number): number {
    const { words } = this;
    const { next, prev } = this.buddy;
    const at = this.at(cpu);
    words[at + PCP.freeFactor]! >>= 1;
    const list = order <= COSTLY_ORDER ? order * PCP_TYPES + type : HUGE_LISTS + type;
    const head = this.lists + at + list;
    let pfn = next[head]!;
    if (pfn === head) {
      this.refill(cpu, head, order, type, flags);
      pfn = next[head]!;
      if (pfn === head) return -1;
    }
    const after = next[pfn]!;
    next[head] = after;
    prev[after] = head;
    words[at + PCP.count]! -= 1 << order;
    words[at + PCP.allocs]! += 1 << order;
    return pfn;
  }

  free(cpu: number, pfn: number, order: number, type: number): void {
    const { words } = this;
    const { next, prev, state } = this.buddy;
    const at = this.at(cpu);
    const column = type < PCP_TYPES ? type : Migrate.Movable;
    const list = order <= COSTLY_ORDER ? order * PCP_TYPES + column : HUGE_LISTS + column;
    const head = this.lists + at + list;
    const first = next[head]!;
    state[pfn] = (Kind.Pcp << 6) | (type << 4) | order;
    next[pfn] = first;
    prev[pfn] = head;
    prev[first] = pfn;
    next[head] = pfn;
    const count = words[at + PCP.count]! + (1 << order);
    words[at + PCP.count] = count;
    words[at + PCP.frees]! += 1 << order;
    const factor = words[at + PCP.freeFactor]!;
    // Higher orders that only come and never go would hold what compaction needs: give them all back.
    if ((factor !== 0 && order > 0 && order <= COSTLY_ORDER) || count >= words[at + PCP.high]!)
      this.overfull(cpu, order, list);
  }

  drain(cpu: number): void {
    const { words } = this;
    const at = this.at(cpu);
    if (words[at + PCP.request] !== 0) Atomics.store(words, at + PCP.request, 0);
    this.account(cpu, 0, 0);
    const count = words[at + PCP.count]!;
    if (count > 0) this.bulkFree(cpu, count, 0);
  }

  request(cpu: number): void {
    Atomics.store(this.words, this.at(cpu) + PCP.request, 1);
  }

  serve(cpu: number): void {
    if (this.words[this.at(cpu) + PCP.request] !== 0) this.drain(cpu);
  }

  /** Frames the zone served or took without the lists. */
  account(cpu: number, allocated: number, freed: number): void {
    const at = this.at(cpu);
    const row = cpu * VM_STRIDE;
    this.counters[row + this.pgalloc]! += this.words[at + PCP.allocs]! + allocated;
    this.counters[row + VM.pgfree]! += this.words[at + PCP.frees]! + freed;
    this.words[at + PCP.allocs] = 0;
    this.words[at + PCP.frees] = 0;
  }

  private refill(cpu: number, head: number, order: number, type: number, flags: number): void {
    this.serve(cpu);
    this.account(cpu, 0, 0);
    const { words } = this;
    const { next, prev, state } = this.buddy;
    const zone = this.buddy.words;
    const at = this.at(cpu);
    const batch = words[at + PCP.batch]!;
    const wanted = batch > 1 ? Math.max(batch >> order, 2) : batch;
    let got = 0;
    this.locks.lock(zone, ZONE.lock);
    for (; got < wanted; got++) {
      const fitting = zone[ZONE.mask + type]! >>> order;
      const pfn = rmqueue(this.buddy, order, type, flags, this.theft);
      if (pfn === -1) break;
      state[pfn] = (Kind.Pcp << 6) | (type << 4) | order;
      const last = prev[head]!;
      next[pfn] = head;
      prev[pfn] = last;
      next[last] = pfn;
      prev[head] = pfn;
      if (this.trace !== null) {
        this.traceTheft(cpu, this.theft, order, type);
        const from = this.theft.pfn === pfn ? this.theft.order : order + 31 - Math.clz32(fitting & -fitting);
        if (fitting !== 0 || this.theft.pfn === pfn) this.traceSplit(cpu, pfn, order, from);
        this.trace(MmEv.PageAllocZoneLocked, cpu, pfn, order, type, 1);
      }
    }
    zone[ZONE.free]! -= got << order;
    this.locks.unlock(zone, ZONE.lock);
    words[at + PCP.count]! += got << order;
  }

  traceTheft(cpu: number, theft: Theft, order: number, type: number): void {
    if (theft.pfn === -1 || this.trace === null) return;
    this.trace(
      MmEv.PageAllocExtfrag,
      cpu,
      theft.pfn,
      (order << 8) | theft.order,
      (type << 8) | theft.from,
      theft.ownership,
    );
  }

  private traceSplit(cpu: number, pfn: number, order: number, from: number): void {
    if (from > order && this.trace !== null) this.trace(MmEv.BuddySplit, cpu, pfn, order, from, 0);
  }

  private overfull(cpu: number, order: number, list: number): void {
    const { words } = this;
    const at = this.at(cpu);
    this.serve(cpu);
    const count = words[at + PCP.count]!;
    const batch = words[at + PCP.batch]!;
    const factor = words[at + PCP.freeFactor]!;
    const all = factor !== 0 && order > 0 && order <= COSTLY_ORDER;
    const short = this.buddy.words[ZONE.reclaim] !== 0;
    const high = all ? 0 : Math.min(words[at + PCP.high]!, short ? batch << 2 : words[at + PCP.high]!);
    if (count < high) return;
    this.bulkFree(cpu, all ? count : this.toFree(at, high, batch), list);
  }

  /** Frees twice as many each time nothing was allocated in between; leaves at least a batch. */
  private toFree(at: number, high: number, batch: number): number {
    if (high < batch) return 1;
    const factor = this.words[at + PCP.freeFactor]!;
    const most = high - batch;
    const wanted = batch << factor;
    if (wanted < most) this.words[at + PCP.freeFactor] = factor + 1;
    return Math.max(batch, Math.min(wanted, most));
  }

  private bulkFree(cpu: number, frames: number, fromList: number): void {
    this.account(cpu, 0, 0);
    const { words } = this;
    const { next, prev, state } = this.buddy;
    const zone = this.buddy.words;
    const at = this.at(cpu);
    let left = Math.min(words[at + PCP.count]!, frames);
    let given = 0;
    let list = fromList;
    this.locks.lock(zone, ZONE.lock);
    while (left > 0) {
      const head = this.lists + at + list;
      const order = list < HUGE_LISTS ? Math.floor(list / PCP_TYPES) : this.buddy.pageblockOrder;
      while (left > 0 && prev[head] !== head) {
        const pfn = prev[head]!;
        const before = prev[pfn]!;
        prev[head] = before;
        next[before] = head;
        const type = (state[pfn]! >> 4) & 3;
        this.buddy.put(pfn, order, type, false);
        left -= 1 << order;
        given += 1 << order;
        if (this.trace !== null) this.trace(MmEv.PagePcpuDrain, cpu, pfn, order, type, 0);
      }
      list = list + 1 === LISTS ? 0 : list + 1;
    }
    zone[ZONE.free]! += given;
    this.locks.unlock(zone, ZONE.lock);
    words[at + PCP.count]! -= given;
  }
}
