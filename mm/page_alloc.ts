/**
 * The page allocator: blocks of 1 << order frames from the zones of one machine (Linux 6.1: mm/page_alloc.c).
 *
 * - alloc(cpu, gfp, order, owner)   first frame of a block, or ENOMEM
 * - free(cpu, pfn, order)           panics, before anything is changed, on a double, wild, misaligned or other-order free
 * - drainAll(cpu)                   per-CPU lists back to the zones: own at once, others' by a kick
 * - tick(cpu)                       serves a drain request: called by the CPU's timer tick and when it idles
 * - carve(pfn, order, ...)          takes one particular free block (boot reservations, replay, compaction's target)
 *
 * All state is one buffer, the memory map's. Another worker makes its own PageAlloc over it; nothing else is kept. Below the low watermark kswapd is woken; what happens
 * when memory is short is in page_alloc_slow.ts, through `hooks`.
 */
import type { EventSink } from "../kernel/abi/machine.ts";
import type { Errno, Pfn } from "../kernel/abi/units.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import { MmEv } from "../kernel/abi/events.ts";
import { ENOMEM } from "../kernel/abi/errno.ts";
import { assert } from "../kernel/lib/assert.ts";
import { Buddy } from "./buddy.ts";
import { buddyLists } from "./buddy_lists.ts";
import { Alloc, GFP, mobilityOf } from "./gfp.ts";
import { Kind, Memmap, ORDER_MAX, PAGEBLOCK_ORDER, stateByte } from "./memmap.ts";
import { Migrate } from "./migratetype.ts";
import { COSTLY_ORDER, Pcp } from "./pcp.ts";
import { type PageFast, pageFast } from "./page_fast.ts";
import { type SlowHooks, allocSlow, noHooks } from "./page_alloc_slow.ts";
import { type Theft, reserveHighatomic, rmqueue } from "./steal.ts";
import { VM } from "./vmstat.ts";
import { watermarkOk } from "./watermark.ts";
import { ZONE, type ZoneSpec, setMarks, setupWatermarks } from "./zone.ts";

const PGALLOC = { DMA: VM.pgalloc_dma, DMA32: VM.pgalloc_dma32, Normal: VM.pgalloc_normal } as const;

/** Owner of what was taken at boot. */
export const OWNER_BOOT = -1;

export interface PageAllocConfig {
  readonly zones: readonly ZoneSpec[];
  readonly cpus: number;
  /** Ranges [start, end) that are no memory for us: firmware, the kernel's image. In ascending order. */
  readonly reserved?: readonly (readonly [start: number, end: number])[];
  /** Group pages by mobility (Linux turns it off only on very small machines). */
  readonly grouping?: boolean;
  /** Transparent huge pages are on: khugepaged raises the watermarks. */
  readonly hugePages?: boolean;
  readonly orderMax?: number;
  readonly pageblockOrder?: number;
  readonly locks: LockOps;
}

export class PageAlloc {
  readonly config: PageAllocConfig;
  readonly map: Memmap;
  readonly zones: readonly Buddy[];
  readonly pcps: readonly Pcp[];
  readonly counters: Float64Array;
  readonly grouping: boolean;
  hooks: SlowHooks = noHooks;
  /** Clears a block for __GFP_ZERO; whoever owns RAM sets it. */
  zero: ((pfn: Pfn, order: number) => void) | null = null;
  /** Makes another CPU look at its requests: an interrupt in lockstep (it serves at once), nothing in parallel. */
  kick: (cpu: number) => void = (cpu) => this.tick(cpu);
  private sink: EventSink | null = null;
  readonly alloc: PageFast["alloc"];
  readonly free: PageFast["free"];
  private readonly fast: PageFast;
  /** Highest zone a request may use, by its two zone bits (gfp & 5); -1: none. */
  private readonly highest = new Int8Array(8);
  private readonly firstFlags: Int32Array;
  private readonly starts: Int32Array;
  private readonly theft: Theft = { pfn: -1, order: 0, from: 0, ownership: 0 };

  constructor(config: PageAllocConfig, shared?: SharedArrayBuffer) {
    const specs = config.zones;
    this.config = config;
    this.grouping = config.grouping ?? true;
    const shape = {
      frames: specs.at(-1)!.end,
      zones: specs.length,
      cpus: config.cpus,
      orderMax: config.orderMax ?? ORDER_MAX,
      pageblockOrder: config.pageblockOrder ?? PAGEBLOCK_ORDER,
    };
    this.map = new Memmap(shape, shared);
    this.counters = this.map.counters;
    const lists = buddyLists(this.map);
    this.zones = specs.map((_, zone) => new Buddy(this.map, zone, lists));
    this.pcps = specs.map(({ name }, zone) => new Pcp(this.map, this.zones[zone]!, zone, config.locks, PGALLOC[name]));
    const last = specs.length - 1;
    this.fast = pageFast(this.map, specs[last]!.start, this.grouping, {
      alloc: (cpu, gfp, order, owner) => this.allocGeneral(cpu, gfp, order, owner),
      free: (cpu, pfn, order, type) => this.freeGeneral(cpu, pfn, order, type),
    });
    this.alloc = this.fast.alloc;
    this.free = this.fast.free;
    this.starts = Int32Array.from(specs, (spec) => spec.start);
    const upTo = (names: readonly string[]): number => specs.findLastIndex((spec) => names.includes(spec.name));
    this.highest.fill(last);
    this.highest[GFP.__GFP_DMA] = upTo(["DMA"]);
    this.highest[GFP.__GFP_DMA32] = upTo(["DMA", "DMA32"]);
    // Only from a Normal zone is there another zone to be asked rather than mixing a pageblock.
    this.firstFlags = Int32Array.from(
      specs,
      (spec) => Alloc.WmarkLow | (spec.name === "Normal" ? Alloc.NoFragment : 0),
    );
    if (shared === undefined) this.boot();
  }

  /** All state. */
  get buffer(): SharedArrayBuffer {
    return this.map.buffer;
  }

  get trace(): EventSink | null {
    return this.sink;
  }

  set trace(sink: EventSink | null) {
    this.sink = sink;
    this.fast.trace(sink !== null);
    for (const pcp of this.pcps) pcp.trace = sink;
  }

  private allocGeneral(cpu: number, gfp: number, order: number, owner: number): Pfn | Errno {
    const mobility = mobilityOf(gfp);
    const highest = this.highest[gfp & 5]!;
    if (highest < 0 || order > this.map.shape.orderMax) return ENOMEM;
    const flags = this.firstFlags[highest]! | (gfp & GFP.__GFP_KSWAPD_RECLAIM);
    let pfn = this.fromFreelist(cpu, gfp, order, flags, highest);
    if (pfn === -1) {
      pfn = allocSlow(this, cpu, gfp, order, highest);
      if (pfn === -1) return ENOMEM;
    }
    this.map.state[pfn] = (Kind.Allocated << 6) | (mobility << 4) | order;
    this.map.owner[pfn] = owner;
    if ((gfp & GFP.__GFP_ZERO) !== 0 && this.zero !== null) this.zero(pfn as Pfn, order);
    if (this.sink !== null) this.sink(MmEv.PageAlloc, cpu, pfn, order, mobility, gfp);
    return pfn as Pfn;
  }

  private freeGeneral(cpu: number, pfn: Pfn, order: number, type: number): void {
    if (this.sink !== null) this.sink(MmEv.PageFree, cpu, pfn, order, this.map.owner[pfn]!, 0);
    const zone = this.zoneOf(pfn);
    const pcp = this.pcps[zone]!;
    if (order <= COSTLY_ORDER || order === this.map.shape.pageblockOrder) pcp.free(cpu, pfn, order, type);
    else {
      const buddy = this.zones[zone]!;
      const { locks } = this.config;
      locks.lock(buddy.words, ZONE.lock);
      buddy.put(pfn, order, type, false);
      buddy.words[ZONE.free]! += 1 << order;
      locks.unlock(buddy.words, ZONE.lock);
      pcp.account(cpu, 0, 1 << order);
    }
  }

  zoneOf(pfn: number): number {
    let zone = this.starts.length - 1;
    while (zone > 0 && pfn < this.starts[zone]!) zone--;
    return zone;
  }

  /** One walk over the zones, highest first (Linux: get_page_from_freelist). -1: none has it above its mark. */
  fromFreelist(cpu: number, gfp: number, order: number, flags: number, highest: number): number {
    for (let zone = highest; zone >= 0; zone--) {
      const { words } = this.zones[zone]!;
      if ((flags & Alloc.NoWatermarks) === 0 && !this.aboveMark(cpu, words, gfp, order, flags, highest, zone)) continue;
      const pfn = this.fromZone(cpu, zone, gfp, order, flags);
      if (pfn !== -1) return pfn;
    }
    // Rather mix a pageblock than fail.
    return (flags & Alloc.NoFragment) === 0
      ? -1
      : this.fromFreelist(cpu, gfp, order, flags & ~Alloc.NoFragment, highest);
  }

  drainAll(cpu: number): void {
    for (let other = 0; other < this.config.cpus; other++) {
      for (const pcp of this.pcps) pcp.request(other);
      if (other === cpu) this.tick(cpu);
      else this.kick(other);
    }
  }

  tick(cpu: number): void {
    for (const pcp of this.pcps) pcp.serve(cpu);
  }

  /** True when the whole block was free on the zone's lists; it is then allocated to `owner`. */
  carve(pfn: Pfn, order: number, mobility: number, owner: number): boolean {
    const buddy = this.zones[this.zoneOf(pfn)]!;
    const { locks } = this.config;
    locks.lock(buddy.words, ZONE.lock);
    const done = buddy.carve(pfn, order);
    if (done) {
      buddy.words[ZONE.free]! -= 1 << order;
      this.map.state[pfn] = stateByte(Kind.Allocated, mobility, order);
      this.map.owner[pfn] = owner;
    }
    locks.unlock(buddy.words, ZONE.lock);
    return done;
  }

  private aboveMark(
    cpu: number,
    words: Int32Array,
    gfp: number,
    order: number,
    flags: number,
    highest: number,
    zone: number,
  ): boolean {
    const which = flags & Alloc.WmarkMask;
    const base = words[ZONE.min + which]!;
    const mark = base + words[ZONE.boost]!;
    const free = words[ZONE.free]!;
    let ok =
      order === 0 && free - words[ZONE.highatomic]! > mark + words[ZONE.reserve + highest]!
        ? true
        : watermarkOk(words, order, mark, highest, flags);
    // The boost is a wish of kswapd's: an urgent single page may ignore it.
    if (!ok && order === 0 && (gfp & GFP.__GFP_HIGH) !== 0 && which === Alloc.WmarkMin && mark !== base)
      ok = watermarkOk(words, order, base, highest, flags);
    if (this.sink !== null) this.sink(MmEv.Watermark, cpu, zone, free, mark, ok ? 1 : 0);
    return ok;
  }

  private fromZone(cpu: number, zone: number, gfp: number, order: number, flags: number): number {
    const type = this.grouping ? mobilityOf(gfp) : Migrate.Unmovable;
    const buddy = this.zones[zone]!;
    let pfn = -1;
    if (order <= COSTLY_ORDER || order === this.map.shape.pageblockOrder)
      pfn = this.pcps[zone]!.alloc(cpu, order, type, flags);
    if (pfn === -1) pfn = this.fromBuddy(cpu, zone, order, type, flags);
    if ((flags & Alloc.Kswapd) !== 0 && buddy.words[ZONE.boosted] !== 0) {
      buddy.words[ZONE.boosted] = 0;
      this.hooks.wakeKswapd(cpu, zone, 0);
    }
    return pfn;
  }

  private fromBuddy(cpu: number, zone: number, order: number, type: number, flags: number): number {
    const buddy = this.zones[zone]!;
    const { locks } = this.config;
    const theft = this.theft;
    locks.lock(buddy.words, ZONE.lock);
    theft.pfn = -1;
    let pfn = -1;
    if (order > 0 && (flags & Alloc.Harder) !== 0) pfn = buddy.take(order, Migrate.HighAtomic);
    if (pfn === -1) pfn = rmqueue(buddy, order, type, flags, theft);
    if (pfn === -1 && (flags & Alloc.Oom) !== 0) pfn = buddy.take(order, Migrate.HighAtomic);
    if (pfn !== -1) {
      buddy.words[ZONE.free]! -= 1 << order;
      // Before the lock is dropped: a neighbour's merge must not take the block for free or a hole.
      this.map.state[pfn] = stateByte(Kind.Allocated, type, order);
      if (order > 0 && (flags & Alloc.Harder) !== 0 && this.grouping) reserveHighatomic(buddy, pfn);
    }
    locks.unlock(buddy.words, ZONE.lock);
    if (pfn !== -1) this.pcps[zone]!.account(cpu, 1 << order, 0);
    if (pfn !== -1 && this.sink !== null) {
      this.pcps[zone]!.traceTheft(cpu, theft, order, type);
      this.sink(MmEv.PageAllocZoneLocked, cpu, pfn, order, type, 0);
    }
    return pfn;
  }

  private boot(): void {
    const reserved = this.config.reserved ?? [];
    this.map.blockType.fill(this.grouping ? Migrate.Movable : Migrate.Unmovable);
    for (const [zone, spec] of this.config.zones.entries()) {
      const buddy = this.zones[zone]!;
      assert(spec.start % (1 << buddy.orderMax) === 0, "PageAlloc: a zone starts at a multiple of the largest block");
      assert(spec.start < spec.end, "PageAlloc: an empty zone");
      buddy.words[ZONE.start] = spec.start;
      buddy.words[ZONE.end] = spec.end;
      buddy.words[ZONE.present] = spec.end - spec.start;
      let at = spec.start;
      for (const [from, to] of [...reserved, [spec.end, spec.end] as const]) {
        if (to <= at) continue;
        this.release(buddy, at, Math.min(from, spec.end));
        at = Math.max(at, to);
      }
      buddy.words[ZONE.managed] = buddy.words[ZONE.free]!;
    }
    const words = this.zones.map((buddy) => buddy.words);
    setupWatermarks(words, this.config.zones, 1 << this.map.shape.pageblockOrder, this.config.hugePages ?? false);
    for (const [zone, pcp] of this.pcps.entries()) pcp.setLimits(words[zone]![ZONE.managed]!, words[zone]![ZONE.low]!);
  }

  /** vm.min_free_kbytes and vm.watermark_scale_factor, of all zones. */
  setWatermarks(minKb: number, scale: number): void {
    const { locks } = this.config;
    const lowmem = this.zones.reduce((sum, { words }) => sum + words[ZONE.managed]!, 0);
    for (const { words } of this.zones) {
      locks.lock(words, ZONE.lock);
      setMarks(words, lowmem, minKb, scale);
      locks.unlock(words, ZONE.lock);
    }
  }

  /** Gives [start, end) to the zone in the largest aligned blocks, lowest address first. */
  private release(buddy: Buddy, start: number, end: number): void {
    for (let at = start; at < end;) {
      let order = at === 0 ? buddy.orderMax : Math.min(buddy.orderMax, 31 - Math.clz32(at & -at));
      while (at + (1 << order) > end) order--;
      buddy.put(at, order, buddy.blockType[at >>> buddy.pageblockOrder]!, true);
      buddy.words[ZONE.free]! += 1 << order;
      at += 1 << order;
    }
  }
}
