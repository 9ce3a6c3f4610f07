/**
 * The buddy system of one zone: free blocks of 1 << order frames, one list for each migratetype and order.
 *
 * - insert, remove, relist                 one block on, off, or to the tail of another list
 * - take(order, type)                      smallest block that fits from the type's own lists, split; -1 when none
 * - put(pfn, order, type, tail)            gives a block back, merged with its free buddies
 * - carve(pfn, order)                      that very block out of whatever free block holds it; false when none does
 * - moveBlock(pfn, type)                   all free blocks of a pageblock to another type's lists
 * - blocks(order), blocksOf(type, order)   counts
 *
 * The caller holds the zone lock, and keeps `free` (in batches) and the state of what it took.
 * Invariants (mm/check.ts): a free block is on the list its state byte names; no two free buddies of one order below
 * the largest are left unmerged, except across the border of a HighAtomic block; masks and counts agree with the lists.
 */
import type { Memmap } from "./memmap.ts";
import { Kind } from "./memmap.ts";
import {
  INT32,
  buddyOf,
  headOf,
  listOf,
  lowestBit,
  mergedOf,
  mismatch,
  orderOf,
  typeOf,
  upperHalf,
} from "./buddy_math.ts";
import { MIGRATE_TYPES, Migrate, PCP_TYPES } from "./migratetype.ts";
import { ZONE } from "./zone.ts";

const FREE_BIT = Kind.Free << 6;

export class Buddy {
  readonly words: Int32Array;
  readonly next: Int32Array;
  readonly prev: Int32Array;
  readonly state: Uint8Array;
  readonly blockType: Uint8Array;
  readonly orderMax: number;
  readonly pageblockOrder: number;
  /** Sentinel of list 0; list n's is `lists + n`. */
  readonly lists: number;
  /** Pages found movable by the last moveBlock: its second result, without an allocation. */
  movable = 0;

  constructor(map: Memmap, zone: number, words: Int32Array, zoneLists: number) {
    this.words = words;
    this.next = map.next;
    this.prev = map.prev;
    this.state = map.state;
    this.blockType = map.blockType;
    this.orderMax = map.shape.orderMax;
    this.pageblockOrder = map.shape.pageblockOrder;
    this.lists = map.zoneLists + zone * zoneLists;
  }

  insert(pfn: number, type: number, order: number, tail: boolean): void {
    const { next, prev, words } = this;
    const list = (type << 4) | order;
    const head = this.lists + list;
    if (tail) {
      const last = prev[head]!;
      next[pfn] = head;
      prev[pfn] = last;
      next[last] = pfn;
      prev[head] = pfn;
    } else {
      const first = next[head]!;
      next[pfn] = first;
      prev[pfn] = head;
      prev[first] = pfn;
      next[head] = pfn;
    }
    this.state[pfn] = FREE_BIT | list;
    words[ZONE.count + list]!++;
    words[ZONE.mask + type]! |= 1 << order;
  }

  /** Takes a free block off its list; its state byte becomes Tail. */
  remove(pfn: number): void {
    const { next, prev, words } = this;
    const list = listOf(INT32, this.state[pfn]!);
    const after = next[pfn]!;
    const before = prev[pfn]!;
    next[before] = after;
    prev[after] = before;
    this.state[pfn] = 0;
    words[ZONE.count + list]!--;
    if (after === before) words[ZONE.mask + (list >> 4)]! &= ~(1 << (list & 15));
  }

  relist(pfn: number, type: number): void {
    const order = orderOf(INT32, this.state[pfn]!);
    this.remove(pfn);
    this.insert(pfn, type, order, true);
  }

  take(order: number, type: number): number {
    const fitting = this.words[ZONE.mask + type]! >>> order;
    if (fitting === 0) return -1;
    let from = order + 31 - Math.clz32(lowestBit(INT32, fitting));
    const pfn = this.next[this.lists + ((type << 4) | from)]!;
    this.remove(pfn);
    while (from > order) {
      from--;
      this.insert(upperHalf(INT32, pfn, from), type, from, false);
    }
    return pfn;
  }

  put(pfn: number, order: number, type: number, tail: boolean): void {
    const { state, orderMax } = this;
    let head = pfn;
    let size = order;
    state[pfn] = 0;
    while (size < orderMax) {
      const buddy = buddyOf(INT32, head, size);
      if (mismatch(INT32, state[buddy]!, Kind.Free, size) !== 0) break;
      if (size >= this.pageblockOrder && !this.#mayMerge(type, buddy)) break;
      this.remove(buddy);
      head = mergedOf(INT32, head, size);
      size++;
    }
    this.insert(head, type, size, tail || this.#mergeLikely(head, size));
  }

  carve(pfn: number, order: number): boolean {
    let size = order;
    while (size <= this.orderMax && mismatch(INT32, this.state[headOf(INT32, pfn, size)]!, Kind.Free, size) !== 0)
      size++;
    if (size > this.orderMax) return false;
    let head = headOf(INT32, pfn, size);
    const type = typeOf(INT32, this.state[head]!);
    this.remove(head);
    while (size > order) {
      size--;
      const upper = upperHalf(INT32, head, size);
      if (pfn < upper) this.insert(upper, type, size, false);
      else {
        this.insert(head, type, size, false);
        head = upper;
      }
    }
    return true;
  }

  /** Blocks of a type without fallbacks stay apart from the others, or their pageblocks would be mixed. */
  #mayMerge(type: number, buddy: number): boolean {
    const other = this.blockType[buddy >>> this.pageblockOrder]!;
    return type === other || (type < PCP_TYPES && other < PCP_TYPES);
  }

  /** The next larger buddy is free: this block's own buddy may soon follow, so it goes where it is taken last. */
  #mergeLikely(head: number, size: number): boolean {
    if (size >= this.orderMax - 1) return false;
    const above = mergedOf(INT32, head, size);
    return mismatch(INT32, this.state[buddyOf(INT32, above, size + 1)]!, Kind.Free, size + 1) === 0;
  }

  /** Returns the frames moved; `movable` is then the number of allocated movable frames seen. */
  moveBlock(pfn: number, type: number): number {
    const start = (pfn >>> this.pageblockOrder) << this.pageblockOrder;
    const end = start + (1 << this.pageblockOrder);
    this.movable = 0;
    if (start < this.words[ZONE.start]! || end > this.words[ZONE.end]!) return 0;
    let moved = 0;
    for (let at = start; at < end;) {
      const state = this.state[at]!;
      const order = orderOf(INT32, state);
      const kind = state >> 6;
      if (kind === Kind.Free) {
        this.relist(at, type);
        moved += 1 << order;
      } else if (kind === Kind.Allocated && ((state >> 4) & 3) === Migrate.Movable) this.movable += 1 << order;
      at += kind === Kind.Tail ? 1 : 1 << order;
    }
    return moved;
  }

  blocksOf(type: number, order: number): number {
    return this.words[ZONE.count + ((type << 4) | order)]!;
  }

  blocks(order: number): number {
    let sum = 0;
    for (let type = 0; type < MIGRATE_TYPES; type++) sum += this.blocksOf(type, order);
    return sum;
  }
}
