/**
 * What to do when a migratetype's own lists are empty: take from another type, and how much of its pageblock with it.
 * Linux 6.1's rules (mm/page_alloc.c: __rmqueue_fallback, steal_suitable_fallback, boost_watermark, and the
 * HighAtomic reserve), by their names. The caller holds the zone lock.
 *
 * - rmqueue(buddy, order, type, flags)   own lists, else steal and try again; -1 when no list has a fitting block
 * - reserveHighatomic, unreserveHighatomic   keep a few pageblocks for atomic requests of higher order
 */
import type { Buddy } from "./buddy.ts";
import { Alloc } from "./gfp.ts";
import { FALLBACKS, Migrate } from "./migratetype.ts";
import { ZONE, refreshMark } from "./zone.ts";

/** vm.watermark_boost_factor, ten-thousandths of the high watermark. */
const BOOST_FACTOR = 15_000;

/** What a theft did, for the trace point mm_page_alloc_extfrag: overwritten by each. */
export interface Theft {
  pfn: number;
  order: number;
  from: number;
  /** 1: the pageblock changed its owner. */
  ownership: number;
}

const canSteal = (order: number, type: number, pageblockOrder: number): boolean =>
  order >= pageblockOrder >> 1 || type === Migrate.Reclaimable || type === Migrate.Unmovable;

/** First fallback type with a free block of this order, or -1. */
function fallbackType(buddy: Buddy, order: number, type: number): number {
  for (let attempt = 0; attempt < 2; attempt++) {
    const other = FALLBACKS[type * 2 + attempt]!;
    if ((buddy.words[ZONE.mask + other]! & (1 << order)) !== 0) return other;
  }
  return -1;
}

/** True when the zone's watermark was raised. */
function boostWatermark(buddy: Buddy): boolean {
  const { words } = buddy;
  const block = 1 << buddy.pageblockOrder;
  // On small machines the boost alone could run the zone out of memory.
  if (block * 4 > words[ZONE.managed]!) return false;
  const most = Math.floor((words[ZONE.high]! * BOOST_FACTOR) / 10_000);
  if (most === 0) return false;
  words[ZONE.boost] = Math.min(words[ZONE.boost]! + block, Math.max(block, most));
  refreshMark(words);
  return true;
}

function stealSuitable(buddy: Buddy, pfn: number, order: number, type: number, flags: number, whole: boolean): number {
  const { words, blockType, pageblockOrder } = buddy;
  const block = pfn >>> pageblockOrder;
  const old = blockType[block]!;
  const single = (): number => {
    buddy.relist(pfn, type);
    return blockType[block] === type ? 1 : 0;
  };
  if (old === Migrate.HighAtomic) return single();
  if (order >= pageblockOrder) {
    for (let at = 0; at < 1 << (order - pageblockOrder); at++) blockType[block + at] = type;
    return single();
  }
  if (boostWatermark(buddy) && (flags & Alloc.Kswapd) !== 0) words[ZONE.boosted] = 1;
  if (!whole) return single();
  const free = buddy.moveBlock(pfn, type);
  if (free === 0) return single();
  const size = 1 << pageblockOrder;
  const unmovableHeld = old === Migrate.Movable ? size - free - buddy.movable : 0;
  const alike = type === Migrate.Movable ? buddy.movable : unmovableHeld;
  if (free + alike >= size >> 1) blockType[block] = type;
  return blockType[block] === type ? 1 : 0;
}

/** True when a block was moved to one of `type`'s lists: take again. */
function rmqueueFallback(buddy: Buddy, order: number, type: number, flags: number, theft: Theft): boolean {
  const least = (flags & Alloc.NoFragment) !== 0 ? buddy.pageblockOrder : order;
  for (let size = buddy.orderMax; size >= least; size--) {
    let from = fallbackType(buddy, size, type);
    if (from === -1) continue;
    const whole = canSteal(size, type, buddy.pageblockOrder);
    let taken = size;
    // Movable pages that land in a foreign pageblock can leave it again: rather split the smallest block.
    if (!whole && type === Migrate.Movable && size > order)
      for (taken = order; ; taken++) {
        from = fallbackType(buddy, taken, type);
        if (from !== -1) break;
      }
    const steals = taken === size ? whole : canSteal(taken, type, buddy.pageblockOrder);
    const pfn = buddy.next[buddy.lists + ((from << 4) | taken)]!;
    theft.pfn = pfn;
    theft.order = taken;
    theft.from = from;
    theft.ownership = stealSuitable(buddy, pfn, taken, type, flags, steals);
    return true;
  }
  return false;
}

export function rmqueue(buddy: Buddy, order: number, type: number, flags: number, theft: Theft): number {
  theft.pfn = -1;
  const own = buddy.take(order, type);
  if (own !== -1 || !rmqueueFallback(buddy, order, type, flags, theft)) return own;
  return buddy.take(order, type);
}

/** Keeps the pageblock of an atomic request that was just served, up to 1 % of the zone. */
export function reserveHighatomic(buddy: Buddy, pfn: number): void {
  const { words, blockType, pageblockOrder } = buddy;
  const size = 1 << pageblockOrder;
  if (words[ZONE.highatomic]! >= Math.floor(words[ZONE.managed]! / 100) + size) return;
  const block = pfn >>> pageblockOrder;
  if (blockType[block] === Migrate.HighAtomic) return;
  words[ZONE.highatomic]! += size;
  refreshMark(words);
  blockType[block] = Migrate.HighAtomic;
  buddy.moveBlock(pfn, Migrate.HighAtomic);
}

/** Gives one HighAtomic pageblock with free memory to `type`. `force` may take the last. True when frames were freed up. */
export function unreserveHighatomic(buddy: Buddy, type: number, force: boolean): boolean {
  const { words, blockType, pageblockOrder } = buddy;
  const size = 1 << pageblockOrder;
  if (!force && words[ZONE.highatomic]! <= size) return false;
  for (let order = 0; order <= buddy.orderMax; order++) {
    if ((words[ZONE.mask + Migrate.HighAtomic]! & (1 << order)) === 0) continue;
    const pfn = buddy.next[buddy.lists + ((Migrate.HighAtomic << 4) | order)]!;
    const block = pfn >>> pageblockOrder;
    if (blockType[block] === Migrate.HighAtomic) words[ZONE.highatomic]! -= Math.min(size, words[ZONE.highatomic]!);
    refreshMark(words);
    blockType[block] = type;
    return buddy.moveBlock(pfn, type) > 0;
  }
  return false;
}
