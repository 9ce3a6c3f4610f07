/**
 * Rebuilds a guest's free memory from what is known of it before a trace: the counts of /proc/pagetypeinfo, and which
 * frames the trace shows to have been free (first seen allocated) or in use (first seen freed).
 *
 * Counts by zone, order and migratetype and the number of pageblocks of each type are met exactly where they can be;
 * where a block of a kind finds no place the shortfall is counted. Addresses of blocks the trace never touches are a
 * guess: aligned, in a pageblock of their type, never beside a free buddy (it would have merged).
 */
import type { Pfn } from "../../kernel/abi/units.ts";
import { futexLocks } from "../../kernel/lib/lock_ops.ts";
import { Migrate, OWNER_BOOT, PAGEBLOCK_ORDER, PageAlloc, type ZoneBlocks, type ZoneSpec } from "../../mm/index.ts";
import { UserError } from "../cli/exit.ts";
import type { KmemEvent } from "./kmem_trace.ts";

const DMA_END = 4096;
const UNSEEN = 0;
const SEEN_FREE = 1;
const SEEN_USED = 2;
/** Types that have a say; HighAtomic and Isolate blocks are taken for Unmovable ones. */
const TYPES = [Migrate.Unmovable, Migrate.Movable, Migrate.Reclaimable] as const;

export interface Rebuilt {
  readonly mm: PageAlloc;
  /** Blocks for which no place was found, by order. */
  readonly shortfall: number[];
}

export const guestZones = (frames: number): ZoneSpec[] =>
  frames <= DMA_END
    ? [{ name: "DMA32", start: 0, end: frames }]
    : [
        { name: "DMA", start: 0, end: DMA_END },
        { name: "DMA32", start: DMA_END, end: frames },
      ];

/** What the trace says of each frame at its start, and the migratetypes asked for in each pageblock. */
class Evidence {
  readonly first: Uint8Array;
  readonly usedOrder: Int8Array;
  readonly votes: Int32Array;

  constructor(events: readonly KmemEvent[], frames: number) {
    this.first = new Uint8Array(frames);
    this.usedOrder = new Int8Array(frames).fill(-1);
    this.votes = new Int32Array((frames >>> PAGEBLOCK_ORDER) * TYPES.length + TYPES.length);
    for (const event of events) {
      if (event.kind !== "page_alloc" && event.kind !== "page_free") continue;
      const { pfn, order, kind } = event;
      if (pfn + 2 ** order > frames)
        throw new UserError(`The trace has frame 0x${pfn.toString(16)}, beyond the memory; give more with --memory`);
      const isNew = this.first[pfn] === UNSEEN;
      for (let frame = pfn; frame < pfn + 2 ** order; frame++)
        if (this.first[frame] === UNSEEN) this.first[frame] = kind === "page_alloc" ? SEEN_FREE : SEEN_USED;
      if (isNew && kind === "page_free") this.usedOrder[pfn] = order;
      if (kind === "page_alloc" && event.type < TYPES.length)
        this.votes[(pfn >>> PAGEBLOCK_ORDER) * TYPES.length + event.type]!++;
    }
  }
}

/** Types of a zone's pageblocks: -1 while still open. */
function voteTypes(zone: ZoneBlocks, spec: ZoneSpec, evidence: Evidence, types: Int8Array): number[] {
  const quota = TYPES.map((type) => zone.pageblocks[type] ?? 0);
  for (const [type, count] of zone.pageblocks.entries()) if (type >= TYPES.length) quota[0]! += count;
  const first = spec.start >>> PAGEBLOCK_ORDER;
  const last = spec.end >>> PAGEBLOCK_ORDER;
  const claims: { block: number; type: number; votes: number }[] = [];
  for (let block = first; block < last; block++)
    for (const type of TYPES) {
      const votes = evidence.votes[block * TYPES.length + type]!;
      if (votes > 0) claims.push({ block, type, votes });
    }
  for (const { block, type } of claims.sort((a, b) => b.votes - a.votes || a.block - b.block))
    if (types[block] === -1 && quota[type]! > 0) {
      types[block] = type;
      quota[type]!--;
    }
  return quota;
}

class Placer {
  /** 1 + order at the head of each chosen free block; chosen marks every frame of one. */
  readonly heads: Uint8Array;
  readonly #chosen: Uint8Array;
  readonly #evidence: Evidence;
  readonly #types: Int8Array;

  constructor(evidence: Evidence, types: Int8Array) {
    this.heads = new Uint8Array(evidence.first.length + 1);
    this.#chosen = new Uint8Array(evidence.first.length);
    this.#evidence = evidence;
    this.#types = types;
  }

  /** Puts `wanted` blocks of an order and type into a zone; returns how many found no place. */
  place(spec: ZoneSpec, order: number, type: number, wanted: number, quota: number[]): number {
    const size = 1 << order;
    const places: { head: number; seen: number }[] = [];
    if (wanted > 0)
      for (let head = spec.start; head + size <= spec.end; head += size) {
        const seen = this.#suits(head, order, type, quota[type]!);
        if (seen >= 0) places.push({ head, seen });
      }
    // Small blocks where the trace took frames from; the large ones it left alone.
    const sign = order >= PAGEBLOCK_ORDER ? 1 : -1;
    places.sort((a, b) => sign * (a.seen - b.seen) || a.head - b.head);
    let placed = 0;
    for (const { head } of places) {
      if (placed === wanted) break;
      if (this.#suits(head, order, type, quota[type]!) < 0) continue;
      this.#chosen.fill(1, head, head + size);
      this.heads[head] = order + 1;
      this.#claim(head, size, type, quota);
      placed++;
    }
    return wanted - placed;
  }

  /** Frames seen free in the block, or -1 when it cannot be a free block of this order and type. */
  #suits(head: number, order: number, type: number, quota: number): number {
    const size = 1 << order;
    if (order < 10 && this.heads[head ^ size] === order + 1) return -1;
    let open = 0;
    for (let block = head >>> PAGEBLOCK_ORDER; block <= (head + size - 1) >>> PAGEBLOCK_ORDER; block++) {
      if (this.#types[block] === -1) open++;
      else if (this.#types[block] !== type) return -1;
    }
    if (open > quota) return -1;
    let seen = 0;
    for (let frame = head; frame < head + size; frame++) {
      if (this.#chosen[frame] === 1 || this.#evidence.first[frame] === SEEN_USED) return -1;
      seen += this.#evidence.first[frame] === SEEN_FREE ? 1 : 0;
    }
    return seen;
  }

  #claim(head: number, size: number, type: number, quota: number[]): void {
    for (let block = head >>> PAGEBLOCK_ORDER; block <= (head + size - 1) >>> PAGEBLOCK_ORDER; block++)
      if (this.#types[block] === -1) {
        this.#types[block] = type;
        quota[type]!--;
      }
  }

  covers(frame: number): boolean {
    return this.#chosen[frame] === 1;
  }
}

export function rebuild(
  events: readonly KmemEvent[],
  before: readonly ZoneBlocks[],
  frames: number,
  grouping: boolean,
): Rebuilt {
  const specs = guestZones(frames);
  const evidence = new Evidence(events, frames);
  const types = new Int8Array((frames >>> PAGEBLOCK_ORDER) + 1).fill(-1);
  const placer = new Placer(evidence, types);
  const shortfall = Array.from({ length: 11 }, () => 0);
  for (const spec of specs) {
    const zone = before.find((one) => one.name === spec.name);
    if (zone === undefined) throw new UserError(`The state before the trace has no zone ${spec.name}`);
    const quota = voteTypes(zone, spec, evidence, types);
    for (let order = 10; order >= 0; order--)
      for (const type of TYPES)
        shortfall[order]! += placer.place(spec, order, type, zone.byType[type]![order] ?? 0, quota);
    for (let block = spec.start >>> PAGEBLOCK_ORDER; block < spec.end >>> PAGEBLOCK_ORDER; block++) {
      if (types[block] !== -1) continue;
      const type = TYPES.find((one) => quota[one]! > 0) ?? Migrate.Movable;
      quota[type]!--;
      types[block] = type;
    }
  }
  const mm = new PageAlloc({ zones: specs, cpus: 1, grouping, locks: futexLocks });
  fillUsed(mm, placer, evidence, types);
  return { mm, shortfall };
}

/** Everything that is not a chosen free block is taken; then free blocks go to their types' lists. */
function fillUsed(mm: PageAlloc, placer: Placer, evidence: Evidence, types: Int8Array): void {
  const { frames } = mm.map.shape;
  for (let pfn = 0; pfn < frames;) {
    if (placer.covers(pfn)) {
      pfn++;
      continue;
    }
    const order = Math.max(0, evidence.usedOrder[pfn]!);
    mm.carve(pfn as Pfn, order, Math.max(0, types[pfn >>> PAGEBLOCK_ORDER]!), OWNER_BOOT);
    pfn += 1 << order;
  }
  if (!mm.grouping) return;
  for (let block = 0; block < frames >>> PAGEBLOCK_ORDER; block++) mm.map.blockType[block] = types[block]!;
  for (let pfn = 0; pfn < frames; pfn++)
    if (placer.heads[pfn]! > 0) mm.zones[mm.zoneOf(pfn)]!.relist(pfn, types[pfn >>> PAGEBLOCK_ORDER]!);
}
