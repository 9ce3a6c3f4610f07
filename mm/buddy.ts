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
 * The hot four, insert, remove, take and put, are in buddy_lists.ts. The caller holds the zone lock, and keeps `free` (in batches) and the state of what it took.
 * Invariants (mm/check.ts): a free block is on the list its state byte names; no two free buddies of one order below
 * the largest are left unmerged, except across the border of a HighAtomic block; masks and counts agree with the lists.
 */
import type { BuddyLists } from "./buddy_lists.ts";
import { INT32, headOf, mismatch, orderOf, typeOf, upperHalf } from "./buddy_math.ts";
import { Kind, type Memmap, ZONE_LISTS } from "./memmap.ts";
import { MIGRATE_TYPES, Migrate } from "./migratetype.ts";
import { ZONE } from "./zone.ts";

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
  private readonly zone: number;
  private readonly hot: BuddyLists;

  constructor(map: Memmap, zone: number, hot: BuddyLists) {
    const at = map.zonesAt + zone * ZONE.words;
    this.zone = zone;
    this.hot = hot;
    this.words = map.words.subarray(at, at + ZONE.words);
    this.next = map.next;
    this.prev = map.prev;
    this.state = map.state;
    this.blockType = map.blockType;
    this.orderMax = map.shape.orderMax;
    this.pageblockOrder = map.shape.pageblockOrder;
    this.lists = map.zoneLists + zone * ZONE_LISTS;
  }

  insert(pfn: number, type: number, order: number, tail: boolean): void {
    this.hot.insert(this.zone, pfn, type, order, tail);
  }

  /** Takes a free block off its list; its state byte becomes Tail. */
  remove(pfn: number): void {
    this.hot.remove(this.zone, pfn);
  }

  take(order: number, type: number): number {
    return this.hot.take(this.zone, order, type);
  }

  put(pfn: number, order: number, type: number, tail: boolean): void {
    this.hot.put(this.zone, pfn, order, type, tail);
  }

  relist(pfn: number, type: number): void {
    const order = orderOf(INT32, this.state[pfn]!);
    this.remove(pfn);
    this.insert(pfn, type, order, true);
  }

  carve(pfn: number, order: number): boolean {
    let size = order;
    while (size <= this.orderMax && mismatch(INT32, this.state[headOf(INT32, pfn, size)]!, Kind.Free << 6, size) !== 0)
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
