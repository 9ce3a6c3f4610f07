/**
 * The free lists themselves: the hot half of mm/buddy.ts, as functions of numbers over the memory map.
 *
 * They are made once for a memory map and close over its arrays. That is for speed: in a process with one machine the
 * compiler then takes arrays and offsets for constants, and the same code runs five times faster than with the arrays
 * as an object's fields. With several machines in a process it is as fast as fields are.
 *
 * `zone` is the zone's number. What each does, and who may call it, is said in mm/buddy.ts.
 */
import { INT32, buddyOf, listOf, lowestBit, mergedOf, mismatch, upperHalf } from "./buddy_math.ts";
import { Kind, type Memmap, ZONE_LISTS } from "./memmap.ts";
import { PCP_TYPES } from "./migratetype.ts";
import { ZONE } from "./zone.ts";

const FREE_BIT = Kind.Free << 6;

export interface BuddyLists {
  insert(zone: number, pfn: number, type: number, order: number, tail: boolean): void;
  remove(zone: number, pfn: number): void;
  take(zone: number, order: number, type: number): number;
  put(zone: number, pfn: number, order: number, type: number, tail: boolean): void;
}

export function buddyLists(map: Memmap): BuddyLists {
  const { words, bytes, prevAt, stateAt, typeAt, zoneLists } = map;
  const { orderMax, pageblockOrder } = map.shape;
  const countAt = map.zonesAt + ZONE.count;
  const maskAt = map.zonesAt + ZONE.mask;
  // An imported constant is looked up in its module each time; a local one is a constant of the code.
  const zoneWords = ZONE.words;
  const zoneListCount = ZONE_LISTS;

  function insert(zone: number, pfn: number, type: number, order: number, tail: boolean): void {
    const list = (type << 4) | order;
    const head = zoneLists + zone * zoneListCount + list;
    if (tail) {
      const last = words[prevAt + head]!;
      words[pfn] = head;
      words[prevAt + pfn] = last;
      words[last] = pfn;
      words[prevAt + head] = pfn;
    } else {
      const first = words[head]!;
      words[pfn] = first;
      words[prevAt + pfn] = head;
      words[prevAt + first] = pfn;
      words[head] = pfn;
    }
    bytes[stateAt + pfn] = FREE_BIT | list;
    words[countAt + zone * zoneWords + list]!++;
    words[maskAt + zone * zoneWords + type]! |= 1 << order;
  }

  function remove(zone: number, pfn: number): void {
    const list = listOf(INT32, bytes[stateAt + pfn]!);
    const after = words[pfn]!;
    const before = words[prevAt + pfn]!;
    words[before] = after;
    words[prevAt + after] = before;
    bytes[stateAt + pfn] = 0;
    words[countAt + zone * zoneWords + list]!--;
    if (after === before) words[maskAt + zone * zoneWords + (list >> 4)]! &= ~(1 << (list & 15));
  }

  function take(zone: number, order: number, type: number): number {
    const fitting = words[maskAt + zone * zoneWords + type]! >>> order;
    if (fitting === 0) return -1;
    let from = order + 31 - Math.clz32(lowestBit(INT32, fitting));
    const pfn = words[zoneLists + zone * zoneListCount + ((type << 4) | from)]!;
    remove(zone, pfn);
    while (from > order) {
      from--;
      insert(zone, upperHalf(INT32, pfn, from), type, from, false);
    }
    return pfn;
  }

  const isFree = (pfn: number, order: number): boolean => mismatch(INT32, bytes[stateAt + pfn]!, FREE_BIT, order) === 0;

  /** Blocks of a type without fallbacks stay apart from the others, or their pageblocks would be mixed. */
  function mayMerge(type: number, buddy: number): boolean {
    const other = bytes[typeAt + (buddy >>> pageblockOrder)]!;
    return type === other || (type < PCP_TYPES && other < PCP_TYPES);
  }

  /** The next larger buddy is free: this block's own buddy may soon follow, so it goes where it is taken last. */
  function mergeLikely(head: number, size: number): boolean {
    if (size >= orderMax - 1) return false;
    const above = mergedOf(INT32, head, size);
    return isFree(buddyOf(INT32, above, size + 1), size + 1);
  }

  function put(zone: number, pfn: number, order: number, type: number, tail: boolean): void {
    let head = pfn;
    let size = order;
    bytes[stateAt + pfn] = 0;
    while (size < orderMax) {
      const buddy = buddyOf(INT32, head, size);
      if (!isFree(buddy, size)) break;
      if (size >= pageblockOrder && !mayMerge(type, buddy)) break;
      remove(zone, buddy);
      head = mergedOf(INT32, head, size);
      size++;
    }
    insert(zone, head, type, size, tail || mergeLikely(head, size));
  }

  return { insert, remove, take, put };
}
