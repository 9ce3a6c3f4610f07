/**
 * Replays a real guest's page and slab events through our allocators and compares the end states.
 *
 * - replayTrace(options)   one arm: the events against a rebuilt (or empty) memory
 * - distanceTo(zones, linux)  blocks by which two states differ, per order and per order and migratetype
 *
 * Our frames differ from the guest's: an event's frame is translated through a table from its allocation to its free.
 * A frame that is freed without having been seen allocated is freed where it stands. Page events hold the guest's slab
 * pages already; so slab events run on a slab allocator with a memory of its own of the same size, empty at the start.
 */
import type { PhysAddr, Pfn } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { futexLocks } from "../../kernel/lib/lock_ops.ts";
import {
  GFP,
  Kmalloc,
  PageAlloc,
  type SlabRow,
  Slub,
  ZONE,
  type ZoneBlocks,
  checkPageAlloc,
  fragmentationIndex,
  slabRows,
  unusableIndex,
  zonesOf,
} from "../../mm/index.ts";
import type { KmemEvent } from "./kmem_trace.ts";
import { guestZones, rebuild } from "./rebuild.ts";

export interface ReplayOptions {
  readonly events: readonly KmemEvent[];
  readonly frames: number;
  readonly before: readonly ZoneBlocks[] | undefined;
  readonly grouping: boolean;
}

export interface Distance {
  /** |ours - Linux's| free blocks, by order. */
  readonly perOrder: number[];
  /** [migratetype][order]; three types. */
  readonly perType: number[][];
  readonly blocks: number;
  /** The same in frames: a block of order k counts 2^k. */
  readonly frames: number;
}

export interface ReplayResult {
  readonly events: number;
  readonly pageEvents: number;
  readonly slabEvents: number;
  readonly failures: number;
  /** Freed without having been seen allocated, and not where the rebuilt memory has such a block. */
  readonly unknownFrees: number;
  /** Objects freed that were allocated before the trace. */
  readonly unknownObjects: number;
  readonly orderHistogram: number[];
  readonly start: ZoneBlocks[];
  readonly end: ZoneBlocks[];
  readonly shortfall: number[];
  readonly unusable: number[];
  readonly fragmentation: number[];
  /** unusable(9) and fragmentation(9) of the last zone, at up to 65 points of the trace. */
  readonly series: { readonly event: number; readonly unusable9: number; readonly fragmentation9: number }[];
  readonly peakFrames: number;
  readonly checks: number;
  readonly slabs: SlabRow[];
}

const SERIES_POINTS = 64;
const CHECK_EVERY = 512;
const ORDERS = Array.from({ length: 11 }, (_, order) => order);

class Replay {
  readonly mm: PageAlloc;
  readonly histogram = ORDERS.map(() => 0);
  failures = 0;
  unknownFrees = 0;
  unknownObjects = 0;
  readonly #pages = new Map<number, { pfn: Pfn; order: number }>();
  readonly #objects = new Map<string, { addr: PhysAddr; cache: number }>();
  readonly #caches = new Map<number, number>();
  readonly #kmalloc: Kmalloc | undefined;
  readonly slub: Slub | undefined;

  constructor(mm: PageAlloc, slabs: boolean) {
    this.mm = mm;
    if (!slabs) return;
    const { frames } = mm.map.shape;
    const pages = new PageAlloc({ zones: guestZones(frames), cpus: 1, locks: futexLocks });
    this.slub = new Slub(pages, new SharedArrayBuffer(frames * PAGE_SIZE), futexLocks);
    this.#kmalloc = new Kmalloc(this.slub);
  }

  take(event: KmemEvent): void {
    if (event.kind === "page_alloc") this.#pageAlloc(event);
    else if (event.kind === "page_free") this.#pageFree(event.pfn, event.order);
    else if (event.kind === "slab_alloc") this.#slabAlloc(event);
    else if (event.kind === "slab_free") this.#slabFree(event.ptr);
  }

  #pageAlloc(event: KmemEvent & { kind: "page_alloc" }): void {
    // A failed allocation of the guest's is recorded with frame 0.
    if (event.pfn === 0) return;
    this.histogram[event.order]!++;
    const mobile = GFP.__GFP_MOVABLE | GFP.__GFP_RECLAIMABLE;
    const gfp = (event.gfp & ~mobile & ~GFP.__GFP_ZERO) | (event.type < 3 ? event.type << 3 : 0);
    const pfn = this.mm.alloc(0, gfp, event.order, 1);
    if (isErr(pfn)) this.failures++;
    else this.#pages.set(event.pfn, { pfn, order: event.order });
  }

  #pageFree(pfn: number, order: number): void {
    const ours = this.#pages.get(pfn);
    if (ours !== undefined) {
      this.#pages.delete(pfn);
      this.mm.free(0, ours.pfn, ours.order);
      return;
    }
    const { state, owner } = this.mm.map;
    const stands = owner[pfn] === -1 && (state[pfn]! & 0xcf) === (0x40 | order);
    if (stands) this.mm.free(0, pfn as Pfn, order);
    else this.unknownFrees++;
  }

  #slabAlloc(event: KmemEvent & { kind: "slab_alloc" }): void {
    const slub = this.slub!;
    let cache = 0;
    if (!event.kmalloc) {
      cache = this.#caches.get(event.cacheBytes) ?? slub.createCache(`size-${event.cacheBytes}`, event.cacheBytes);
      this.#caches.set(event.cacheBytes, cache);
    }
    const gfp = event.gfp & ~GFP.__GFP_ZERO;
    const addr = event.kmalloc
      ? this.#kmalloc!.kmalloc(0, Math.max(1, event.bytes), gfp, 1)
      : slub.alloc(0, cache, gfp, 1);
    if (isErr(addr)) this.failures++;
    else this.#objects.set(event.ptr, { addr, cache });
  }

  #slabFree(ptr: string): void {
    if (/^0+$/.test(ptr)) return;
    const object = this.#objects.get(ptr);
    this.#objects.delete(ptr);
    if (object === undefined) this.unknownObjects++;
    else if (object.cache === 0) this.#kmalloc!.kfree(0, object.addr, 1);
    else this.slub!.free(0, object.cache, object.addr, 1);
  }
}

export function replayTrace(options: ReplayOptions): ReplayResult {
  const { events, frames, before, grouping } = options;
  const slabs = events.some((event) => event.kind === "slab_alloc");
  const { mm, shortfall } =
    before === undefined
      ? {
          mm: new PageAlloc({ zones: guestZones(frames), cpus: 1, grouping, locks: futexLocks }),
          shortfall: ORDERS.map(() => 0),
        }
      : rebuild(events, before, frames, grouping);
  const replay = new Replay(mm, slabs);
  const start = zonesOf(mm);
  const series: ReplayResult["series"] = [];
  const managed = mm.zones.reduce((sum, { words }) => sum + words[ZONE.managed]!, 0);
  const every = Math.max(1, Math.ceil(events.length / SERIES_POINTS));
  let peakFrames = 0;
  let checks = 0;
  for (const [index, event] of events.entries()) {
    replay.take(event);
    const free = mm.zones.reduce((sum, { words }) => sum + words[ZONE.free]!, 0);
    peakFrames = Math.max(peakFrames, managed - free);
    if ((index + 1) % CHECK_EVERY === 0 || index === events.length - 1) {
      checkPageAlloc(mm);
      if (replay.slub !== undefined) {
        replay.slub.check();
        checkPageAlloc(replay.slub.pages);
      }
      checks++;
    }
    if (index % every === 0 || index === events.length - 1) {
      const counts = zonesOf(mm).at(-1)!.free;
      series.push({
        event: index,
        unusable9: unusableIndex(counts, 9) / 1000,
        fragmentation9: fragmentationIndex(counts, 9),
      });
    }
  }
  const end = zonesOf(mm);
  const counts = end.at(-1)!.free;
  return {
    events: events.length,
    pageEvents: events.filter((event) => event.kind.startsWith("page")).length,
    slabEvents: events.filter((event) => event.kind.startsWith("slab")).length,
    failures: replay.failures,
    unknownFrees: replay.unknownFrees,
    unknownObjects: replay.unknownObjects,
    orderHistogram: replay.histogram,
    start,
    end,
    shortfall,
    unusable: ORDERS.map((order) => unusableIndex(counts, order) / 1000),
    fragmentation: ORDERS.map((order) => fragmentationIndex(counts, order)),
    series,
    peakFrames,
    checks,
    slabs: replay.slub === undefined ? [] : slabRows(replay.slub),
  };
}

const countOf = (from: readonly ZoneBlocks[], name: string, type: number, order: number): number =>
  from.find((zone) => zone.name === name)?.byType[type]?.[order] ?? 0;

const totalOf = (from: readonly ZoneBlocks[], name: string, order: number): number =>
  from.find((zone) => zone.name === name)?.free[order] ?? 0;

/** Zones are matched by name; one that only one side has counts in full. */
export function distanceTo(zones: readonly ZoneBlocks[], linux: readonly ZoneBlocks[]): Distance {
  const names = [...new Set([...zones, ...linux].map((zone) => zone.name))];
  const sum = (differ: (name: string) => number): number => names.reduce((all, name) => all + differ(name), 0);
  const perOrder = ORDERS.map((order) =>
    sum((name) => Math.abs(totalOf(zones, name, order) - totalOf(linux, name, order))),
  );
  const perType = [0, 1, 2].map((type) =>
    ORDERS.map((order) =>
      sum((name) => Math.abs(countOf(zones, name, type, order) - countOf(linux, name, type, order))),
    ),
  );
  return {
    perOrder,
    perType,
    blocks: perOrder.reduce((all, blocks) => all + blocks, 0),
    frames: perOrder.reduce((all, blocks, order) => all + blocks * 2 ** order, 0),
  };
}
