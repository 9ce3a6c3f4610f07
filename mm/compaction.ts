/**
 * Memory compaction: movable pages leave a pageblock so that it becomes one free block (Linux: mm/compaction.c).
 *
 * Two scanners walk over the zone's pageblocks until they meet: the migrate scanner looks for pages to move, the free
 * scanner for room to put them. Linux walks by address; here the blocks are first ordered by how much they hold, so
 * that the migrate scanner empties the emptiest and the free scanner fills the fullest: the same blocks are won with
 * fewer moves. `Order.Address` walks as Linux does. Blocks with a page that cannot be moved are never emptied.
 *
 * - direct(cpu, order, highest, full)   for an allocation that waits; true: a fitting block is there
 * - wake(order), step(cpu, budget)      kcompactd: a piece of work of at most `budget` frames; returns frames moved
 * - score(), proactiveness              proactive work starts when 100 * unusable(9) passes the high mark
 * - run(cpu, zone, order, order)        one whole pass, for experiments
 *
 * After a failure, requests of that order or higher are put off for 2, 4, .. 64 times (deferral).
 * State (positions, orders, deferral) is one buffer; a step leaves nothing half done.
 */
import type { MovablePages } from "../kernel/abi/reclaim.ts";
import type { Pfn } from "../kernel/abi/units.ts";
import { MmEv } from "../kernel/abi/events.ts";
import type { Buddy } from "./buddy.ts";
import { Kind, stateByte } from "./memmap.ts";
import { MIGRATE_TYPES, Migrate } from "./migratetype.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { VM, VM_STRIDE } from "./vmstat.ts";
import { ZONE } from "./zone.ts";

export const Order = { Occupancy: 0, Address: 1 } as const;
export type Order = (typeof Order)[keyof typeof Order];
export const CompactResult = { Deferred: 0, Complete: 1, Success: 2, Continue: 3 } as const;

const DEFER_SHIFT_MAX = 6;
const STEP_MAX = 2 ** 31 - 1;
/** A zone's words: the scanners' places in the block order, deferral, what the pass is for. */
const WORD = {
  migrate: 0,
  free: 1,
  active: 2,
  wanted: 3,
  considered: 4,
  shift: 5,
  failedOrder: 6,
  moved: 7,
  failed: 8,
  before: 9,
  direct: 10,
  /** Where in its block the free scanner stands. */
  freeAt: 11,
  words: 12,
} as const;
const PROACTIVE = -1;
/** Linux's. */
const PROACTIVENESS = 20;
const PINNED = 0x8000;

export class Compaction {
  order: Order = Order.Occupancy;
  readonly #mm: PageAlloc;
  readonly #pages: MovablePages;
  readonly #words: Int32Array;
  /** [place] pageblock, per zone one after another; and [pageblock] frames held, PINNED when one cannot move. */
  readonly #blocks: Int32Array;
  readonly #held: Int32Array;
  readonly #blockOrder: number;
  /** Its word. */
  readonly #proactiveness: number;

  constructor(mm: PageAlloc, pages: MovablePages, shared?: SharedArrayBuffer) {
    this.#mm = mm;
    this.#pages = pages;
    this.#blockOrder = mm.map.shape.pageblockOrder;
    const blocks = (mm.map.shape.frames >>> this.#blockOrder) + 1;
    const words = mm.zones.length * WORD.words + 1;
    const buffer = shared ?? new SharedArrayBuffer((words + blocks * 2) * 4);
    this.#words = new Int32Array(buffer, 0, words);
    this.#proactiveness = words - 1;
    this.#blocks = new Int32Array(buffer, words * 4, blocks);
    this.#held = new Int32Array(buffer, (words + blocks) * 4, blocks);
    if (shared !== undefined) return;
    this.proactiveness = PROACTIVENESS;
    for (let zone = 0; zone < mm.zones.length; zone++) this.#set(zone, WORD.failedOrder, mm.map.shape.orderMax + 1);
  }

  buffer(): SharedArrayBuffer {
    return this.#words.buffer as SharedArrayBuffer;
  }

  /** vm.compaction_proactiveness: 0 (off) .. 100. */
  get proactiveness(): number {
    return this.#words[this.#proactiveness]!;
  }

  set proactiveness(value: number) {
    this.#words[this.#proactiveness] = value;
  }

  /** wake() was called, and no step has looked since. */
  get asked(): boolean {
    return this.#mm.zones.some((_, zone) => this.#get(zone, WORD.wanted) > 0);
  }

  /** 0..100: share of free memory that is in no free pageblock, zones weighted by size. */
  score(): number {
    const present = this.#mm.zones.reduce((sum, { words }) => sum + words[ZONE.present]!, 0);
    let score = 0;
    for (const buddy of this.#mm.zones)
      score += Math.floor((this.#zoneScore(buddy) * buddy.words[ZONE.present]!) / (present + 1));
    return score;
  }

  direct(cpu: number, order: number, highest: number, full: boolean): boolean {
    let made = false;
    for (let zone = highest; zone >= 0 && !made; zone--) {
      if (!full && this.#deferred(zone, order)) continue;
      this.#begin(cpu, zone, order);
      this.#advance(cpu, zone, STEP_MAX);
      made = this.#hasBlock(this.#mm.zones[zone]!, order);
      if (made) this.#deferReset(zone, order);
      else if (full) this.#defer(zone, order);
    }
    return made;
  }

  wake(order: number): void {
    for (let zone = 0; zone < this.#mm.zones.length; zone++)
      this.#set(zone, WORD.wanted, Math.max(order, this.#get(zone, WORD.wanted)));
  }

  step(cpu: number, budget: number): number {
    let moved = 0;
    for (let zone = 0; zone < this.#mm.zones.length && moved < budget; zone++) {
      if (this.#get(zone, WORD.active) === 0) {
        if (!this.#start(cpu, zone)) continue;
      } else this.#mm.drainAll(cpu);
      moved += this.#advance(cpu, zone, budget - moved);
    }
    return moved;
  }

  run(cpu: number, zone: number, order: number): number {
    this.#begin(cpu, zone, order);
    return this.#advance(cpu, zone, STEP_MAX);
  }

  #get(zone: number, word: number): number {
    return this.#words[zone * WORD.words + word]!;
  }

  #set(zone: number, word: number, value: number): void {
    this.#words[zone * WORD.words + word] = value;
  }

  /** Starts a pass of kcompactd if there is a reason for one. */
  #start(cpu: number, zone: number): boolean {
    const wanted = this.#get(zone, WORD.wanted);
    const mm = this.#mm;
    const buddy = mm.zones[zone]!;
    if (wanted > 0) {
      this.#set(zone, WORD.wanted, 0);
      if (this.#hasBlock(buddy, wanted) || this.#deferred(zone, wanted)) return false;
      mm.counters[cpu * VM_STRIDE + VM.compact_daemon_wake]!++;
      this.#begin(cpu, zone, wanted);
    } else {
      if (this.proactiveness === 0 || this.#zoneScore(buddy) <= this.#mark() + 10) return false;
      if (this.#deferred(zone, this.#blockOrder)) return false;
      mm.counters[cpu * VM_STRIDE + VM.compact_daemon_wake]!++;
      this.#begin(cpu, zone, PROACTIVE);
    }
    this.#set(zone, WORD.direct, 0);
    return true;
  }

  /** Proactive work stops at this score and starts 10 above. */
  #mark(): number {
    return Math.max(100 - this.proactiveness, 5);
  }

  #zoneScore(buddy: Buddy): number {
    const free = buddy.words[ZONE.free]!;
    if (free === 0) return 0;
    let usable = 0;
    for (let order = this.#blockOrder; order <= buddy.orderMax; order++) usable += buddy.blocks(order) * 2 ** order;
    return Math.floor(((free - usable) * 100) / free);
  }

  #hasBlock(buddy: Buddy, order: number): boolean {
    for (let type = 0; type < MIGRATE_TYPES - 1; type++)
      if (buddy.words[ZONE.mask + type]! >>> order !== 0) return true;
    return false;
  }

  #deferred(zone: number, order: number): boolean {
    if (order < this.#get(zone, WORD.failedOrder)) return false;
    const limit = 1 << this.#get(zone, WORD.shift);
    const considered = Math.min(limit, this.#get(zone, WORD.considered) + 1);
    this.#set(zone, WORD.considered, considered);
    return considered < limit;
  }

  #defer(zone: number, order: number): void {
    this.#set(zone, WORD.considered, 0);
    this.#set(zone, WORD.shift, Math.min(DEFER_SHIFT_MAX, this.#get(zone, WORD.shift) + 1));
    this.#set(zone, WORD.failedOrder, Math.min(order, this.#get(zone, WORD.failedOrder)));
  }

  #deferReset(zone: number, order: number): void {
    this.#set(zone, WORD.considered, 0);
    this.#set(zone, WORD.shift, 0);
    this.#set(zone, WORD.failedOrder, Math.max(order + 1, this.#get(zone, WORD.failedOrder)));
  }

  /** Counts what each block holds and puts the blocks in order. */
  #begin(cpu: number, zone: number, order: number): void {
    const mm = this.#mm;
    mm.drainAll(cpu);
    const { words } = mm.zones[zone]!;
    const size = 1 << this.#blockOrder;
    const first = words[ZONE.start]! >>> this.#blockOrder;
    const count = Math.floor(words[ZONE.end]! / size) - first;
    const buckets = new Int32Array(size + 2);
    for (let block = first; block < first + count; block++) {
      const held = this.#census(block);
      this.#held[block] = held;
      if (this.order === Order.Occupancy) buckets[Math.min(held, size) + 1]!++;
    }
    for (let bucket = 1; bucket < buckets.length; bucket++) buckets[bucket]! += buckets[bucket - 1]!;
    for (let block = first; block < first + count; block++) {
      const place = this.order === Order.Occupancy ? buckets[Math.min(this.#held[block]!, size)]!++ : block - first;
      this.#blocks[first + place] = block;
    }
    this.#set(zone, WORD.migrate, first);
    this.#set(zone, WORD.free, first + count - 1);
    this.#set(zone, WORD.active, order === PROACTIVE ? PROACTIVE : order + 1);
    this.#set(zone, WORD.freeAt, 0);
    this.#set(zone, WORD.moved, 0);
    this.#set(zone, WORD.failed, 0);
    this.#set(zone, WORD.before, this.#zoneScore(mm.zones[zone]!));
    this.#set(zone, WORD.direct, 1);
    mm.trace?.(MmEv.CompactionBegin, cpu, zone, this.#get(zone, WORD.migrate), this.#get(zone, WORD.free), order);
  }

  /** Frames a block holds; PINNED added when it cannot be emptied. */
  #census(block: number): number {
    const { state } = this.#mm.map;
    const end = (block + 1) << this.#blockOrder;
    let held = 0;
    for (let at = block << this.#blockOrder; at < end;) {
      const byte = state[at]!;
      const kind = byte >> 6;
      const frames = kind === Kind.Tail ? 1 : 1 << (byte & 15);
      const movable = kind === Kind.Allocated && ((byte >> 4) & 3) === Migrate.Movable;
      if (kind !== Kind.Free) held = (held + frames) | (movable && frames < 1 << this.#blockOrder ? 0 : PINNED);
      at += frames;
    }
    return held;
  }

  /** Moves at most about `budget` frames (always whole blocks of pages); ends the pass when there is nothing to win. */
  #advance(cpu: number, zone: number, budget: number): number {
    const row = cpu * VM_STRIDE;
    const { counters } = this.#mm;
    const daemon = this.#get(zone, WORD.direct) === 0;
    let moved = 0;
    while (moved < budget) {
      const result = this.#finished(zone);
      if (result !== CompactResult.Continue) {
        this.#end(cpu, zone, result);
        break;
      }
      const place = this.#get(zone, WORD.migrate);
      const block = this.#blocks[place]!;
      const held = this.#census(block);
      counters[row + VM.compact_migrate_scanned]! += 1 << this.#blockOrder;
      if (daemon) counters[row + VM.compact_daemon_migrate_scanned]! += 1 << this.#blockOrder;
      const done =
        held === 0 || (held & PINNED) !== 0 || !this.#worthwhile(zone, held)
          ? 0
          : this.#evacuate(cpu, zone, block, budget - moved);
      moved += Math.abs(done);
      // A negative count: the budget ended within the block, go on with it next time.
      if (done >= 0) this.#set(zone, WORD.migrate, place + 1);
    }
    this.#set(zone, WORD.moved, this.#get(zone, WORD.moved) + moved);
    return moved;
  }

  /** By occupancy: emptying a block into blocks that hold less would only change places. */
  #worthwhile(zone: number, held: number): boolean {
    if (this.order === Order.Address) return true;
    const room = this.#blocks[this.#get(zone, WORD.free)]!;
    return held <= (this.#held[room]! & ~PINNED) || (this.#held[room]! & PINNED) !== 0;
  }

  #finished(zone: number): number {
    if (this.#get(zone, WORD.migrate) >= this.#get(zone, WORD.free)) return CompactResult.Complete;
    const active = this.#get(zone, WORD.active);
    const buddy = this.#mm.zones[zone]!;
    const enough = active === PROACTIVE ? this.#zoneScore(buddy) <= this.#mark() : this.#hasBlock(buddy, active - 1);
    return enough ? CompactResult.Success : CompactResult.Continue;
  }

  #end(cpu: number, zone: number, result: number): void {
    const active = this.#get(zone, WORD.active);
    this.#set(zone, WORD.active, 0);
    const order = active === PROACTIVE ? this.#blockOrder : active - 1;
    if (this.#get(zone, WORD.direct) === 0) {
      const better = this.#zoneScore(this.#mm.zones[zone]!) < this.#get(zone, WORD.before);
      if (result === CompactResult.Success || (active === PROACTIVE && better)) this.#deferReset(zone, order);
      else this.#defer(zone, order);
    }
    const trace = this.#mm.trace;
    if (trace !== null)
      trace(MmEv.CompactionEnd, cpu, zone, this.#get(zone, WORD.moved), this.#get(zone, WORD.failed), result);
  }

  /** Moves the block's pages out. Frames moved; negative when the budget ended first. */
  #evacuate(cpu: number, zone: number, block: number, budget: number): number {
    const mm = this.#mm;
    const { state } = mm.map;
    const end = (block + 1) << this.#blockOrder;
    let moved = 0;
    for (let at = block << this.#blockOrder; at < end;) {
      const byte = state[at]!;
      const order = byte & 15;
      if (byte >> 6 === Kind.Allocated) {
        if (moved >= budget) return -moved;
        const to = this.#isolateFree(cpu, zone, order);
        if (to === -1) return moved;
        if (!this.#move(cpu, zone, at, to, order)) {
          this.#set(zone, WORD.failed, this.#get(zone, WORD.failed) + (1 << order));
          return moved;
        }
        moved += 1 << order;
      }
      at += byte >> 6 === Kind.Tail ? 1 : 1 << (state[at]! >> 6 === Kind.Allocated ? order : state[at]! & 15);
    }
    return moved;
  }

  /** A free block for a page of `order`, from where the free scanner stands; -1 when the scanners have met. */
  #isolateFree(cpu: number, zone: number, order: number): number {
    const mm = this.#mm;
    const { state, owner } = mm.map;
    const counter = this.#get(zone, WORD.direct) === 0 ? VM.compact_daemon_free_scanned : VM.compact_free_scanned;
    for (;;) {
      const place = this.#get(zone, WORD.free);
      if (place <= this.#get(zone, WORD.migrate)) return -1;
      const block = this.#blocks[place]!;
      // Only movable blocks take pages in, and a free block of that size is what we work for.
      const start = block << this.#blockOrder;
      const end = start + (1 << this.#blockOrder);
      const suits = mm.map.blockType[block] === Migrate.Movable || !mm.grouping;
      let at = suits ? Math.max(start, this.#get(zone, WORD.freeAt)) : end;
      while (at < end) {
        const byte = state[at]!;
        const kind = byte >> 6;
        const size = byte & 15;
        if (kind === Kind.Free && size >= this.#blockOrder) break;
        mm.counters[cpu * VM_STRIDE + counter]! += 1;
        if (kind === Kind.Free && size >= order && mm.carve(at as Pfn, order, Migrate.Movable, owner[at]!)) {
          mm.counters[cpu * VM_STRIDE + VM.compact_isolated]! += 1 << order;
          this.#set(zone, WORD.freeAt, at);
          return at;
        }
        at += kind === Kind.Tail ? 1 : 1 << size;
      }
      this.#set(zone, WORD.free, place - 1);
      this.#set(zone, WORD.freeAt, 0);
    }
  }

  #move(cpu: number, zone: number, from: number, to: number, order: number): boolean {
    const mm = this.#mm;
    const { map } = mm;
    const row = cpu * VM_STRIDE;
    // Before the move: after it the frame may already be given back, and be another's.
    map.owner[to] = map.owner[from]!;
    const done = this.#pages.migrate(from as Pfn, to as Pfn, order);
    // Straight to the zone's lists, and to be taken last: what was emptied shall stay empty.
    this.#release(zone, done ? from : to, order);
    mm.counters[row + (done ? VM.pgmigrate_success : VM.pgmigrate_fail)]! += 1 << order;
    return done;
  }

  #release(zone: number, pfn: number, order: number): void {
    const mm = this.#mm;
    const buddy = mm.zones[zone]!;
    const { locks } = mm.config;
    locks.lock(buddy.words, ZONE.lock);
    mm.map.state[pfn] = stateByte(Kind.Allocated, Migrate.Movable, order);
    buddy.put(pfn, order, buddy.blockType[pfn >>> this.#blockOrder]!, true);
    buddy.words[ZONE.free]! += 1 << order;
    locks.unlock(buddy.words, ZONE.lock);
  }
}
