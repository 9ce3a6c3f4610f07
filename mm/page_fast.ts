/**
 * The page allocator's fast path: single pages from the last zone, while the watermark holds and the CPU has a block on
 * its own list (or room for one). Kept small: the compiler puts it into its callers as a whole. Plain loads and stores on the CPU's own words; whatever is unusual goes to `slow`.
 *
 * Closes over the memory map's arrays, for the reason given in mm/buddy_lists.ts.
 */
import type { Errno, Pfn } from "../kernel/abi/units.ts";
import { badFree } from "./bad_free.ts";
import { INT32, mismatch } from "./buddy_math.ts";
import { GFP } from "./gfp.ts";
import { Kind, type Memmap } from "./memmap.ts";
import { PCP_TYPES } from "./migratetype.ts";
import { PCP } from "./pcp.ts";
import { ZONE } from "./zone.ts";

export interface PageFast {
  readonly alloc: (cpu: number, gfp: number, order: number, owner: number) => Pfn | Errno;
  /** Panics, before anything is changed, on a free that is wrong. */
  readonly free: (cpu: number, pfn: Pfn, order: number) => void;
  /** While events are traced everything takes the slow way, which emits them. */
  readonly trace: (on: boolean) => void;
}

export interface PageSlow {
  alloc(cpu: number, gfp: number, order: number, owner: number): Pfn | Errno;
  free(cpu: number, pfn: Pfn, order: number, type: number): void;
}

/** Another zone than the last, or a block to be cleared. */
const UNUSUAL = GFP.__GFP_DMA | GFP.__GFP_DMA32 | GFP.__GFP_ZERO;
/** The mobility bits of a request; one to the left they are the state byte's migratetype. */
const MOBILITY = GFP.__GFP_MOVABLE | GFP.__GFP_RECLAIMABLE;
const ALLOCATED = Kind.Allocated << 6;
const ON_CPU = Kind.Pcp << 6;

export function pageFast(map: Memmap, zoneStart: number, grouping: boolean, slow: PageSlow): PageFast {
  const { words, bytes, prevAt, ownerAt, stateAt, typeAt } = map;
  const { frames, zones, pageblockOrder } = map.shape;
  const last = zones - 1;
  const zone = map.zonesAt + last * ZONE.words;
  const freeAt = zone + ZONE.free;
  const markAt = zone + ZONE.fastMark;
  const reclaimAt = zone + ZONE.reclaim;
  /** CPU 0's words and list heads in the last zone; another CPU's lie `stride` further on. */
  const lists = map.pcpLists + last * PCP.words;
  const own = map.cpusAt + last * PCP.words;
  const countAt = own + PCP.count;
  const highAt = own + PCP.high;
  const factorAt = own + PCP.freeFactor;
  const allocsAt = own + PCP.allocs;
  const freesAt = own + PCP.frees;
  const stride = zones * PCP.words;
  /** Without grouping every request is Unmovable. */
  const typeMask = grouping ? 3 : 0;
  /** The order served here; none while events are traced. */
  let served = 0;

  function alloc(cpu: number, gfp: number, order: number, owner: number): Pfn | Errno {
    if (order === served && (gfp & UNUSUAL) === 0 && words[freeAt]! > words[markAt]!) {
      const away = cpu * stride;
      const list = lists + away + ((gfp >> 3) & typeMask);
      const pfn = words[list]!;
      if (pfn !== list) {
        const after = words[pfn]!;
        words[list] = after;
        words[prevAt + after] = list;
        words[countAt + away]!--;
        words[factorAt + away]! >>= 1;
        words[allocsAt + away]!++;
        words[ownerAt + pfn] = owner;
        bytes[stateAt + pfn] = ALLOCATED | ((gfp & MOBILITY) << 1);
        return pfn as Pfn;
      }
    }
    return slow.alloc(cpu, gfp, order, owner);
  }

  function free(cpu: number, pfn: Pfn, order: number): void {
    // Before the array is asked: frame -5 must not be another part of the buffer.
    if (pfn >>> 0 !== pfn || pfn >= frames || mismatch(INT32, bytes[stateAt + pfn]!, ALLOCATED, order) !== 0)
      badFree(map, pfn, order);
    const away = cpu * stride;
    const type = bytes[typeAt + (pfn >>> pageblockOrder)]!;
    const count = words[countAt + away]! + 1;
    if (
      order === served &&
      pfn >= zoneStart &&
      count < words[highAt + away]! &&
      words[reclaimAt] === 0 &&
      type < PCP_TYPES
    ) {
      const list = lists + away + type;
      const first = words[list]!;
      bytes[stateAt + pfn] = ON_CPU | (type << 4);
      words[pfn] = first;
      words[prevAt + pfn] = list;
      words[prevAt + first] = pfn;
      words[list] = pfn;
      words[countAt + away] = count;
      words[freesAt + away]!++;
    } else slow.free(cpu, pfn, order, type);
  }

  return {
    alloc,
    free,
    trace: (on) => {
      served = on ? -1 : 0;
    },
  };
}
