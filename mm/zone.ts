/**
 * A zone's words, and the watermark formulas (Linux 6.1: mm/page_alloc.c, mm/khugepaged.c).
 *
 *   line 0   lock (alone in its cache line: spinning on it must not slow the holder)
 *   line 1   free, managed, present, start, end, min, low, high, boost, boosted, highatomic, reclaim, fastMark,
 *            minKb, scale
 *   line 2   mask of non-empty orders a migratetype (4), lowmem reserve by the request's highest zone (3)
 *   line 4+  count of blocks a free list: [migratetype << 4 | order]
 *
 * `free` counts frames on the zone's lists only: those on per-CPU lists are not in it, as in Linux.
 * All words are written by the holder of the lock; readers may read plainly to guess.
 */
import { MIGRATE_TYPES } from "./migratetype.ts";
import { ZONE_WORDS } from "./memmap.ts";

export const ZONE = {
  lock: 0,
  free: 16,
  managed: 17,
  present: 18,
  start: 19,
  end: 20,
  min: 21,
  low: 22,
  high: 23,
  /** Raised after a pageblock was stolen, so that kswapd makes room before the next theft. */
  boost: 24,
  /** 1: kswapd is to be woken for the boost. */
  boosted: 25,
  /** Frames in HighAtomic blocks. */
  highatomic: 26,
  /** 1: kswapd works on the zone; per-CPU lists are kept short. */
  reclaim: 27,
  /** low + boost + highatomic: what the fast path compares `free` with. Kept by refreshMark. */
  fastMark: 28,
  /** What the marks were made of: vm.min_free_kbytes and vm.watermark_scale_factor, the same in all zones. */
  minKb: 29,
  scale: 30,
  mask: 32,
  reserve: 32 + MIGRATE_TYPES,
  count: 64,
  words: ZONE_WORDS,
} as const;

/** After low, boost or highatomic changed, under the zone lock. */
export function refreshMark(words: Int32Array): void {
  words[ZONE.fastMark] = words[ZONE.low]! + words[ZONE.boost]! + words[ZONE.highatomic]!;
}

export interface ZoneSpec {
  readonly name: "DMA" | "DMA32" | "Normal";
  /** First frame, aligned to the largest block. */
  readonly start: number;
  /** Frame behind the last. */
  readonly end: number;
}

const FRAME_KB = 4;
const MIN_FREE_KB_MIN = 128;
const MIN_FREE_KB_MAX = 262_144;
/** vm.watermark_scale_factor at boot: in ten-thousandths of the zone. */
const WATERMARK_SCALE = 10;
const LOWMEM_RATIO = { DMA: 256, DMA32: 256, Normal: 32 } as const;

/** vm.min_free_kbytes at boot, from the low memory in KiB. */
export const minFreeKbytes = (lowmemKb: number): number =>
  Math.min(MIN_FREE_KB_MAX, Math.max(MIN_FREE_KB_MIN, Math.floor(Math.sqrt(lowmemKb * 16))));

/** What khugepaged raises it to where transparent huge pages are on: 11 pageblocks a zone, at most 5 % of low memory. */
export function hugePageMinFreeKbytes(minKb: number, zones: number, lowmemFrames: number, blockFrames: number): number {
  const wanted = Math.min(blockFrames * zones * 2 + blockFrames * zones * 9, Math.floor(lowmemFrames / 20));
  return Math.max(minKb, wanted * FRAME_KB);
}

export interface Watermarks {
  readonly min: number;
  readonly low: number;
  readonly high: number;
}

/** Watermarks of one zone, frames. */
export function watermarks(minKb: number, managed: number, lowmemFrames: number, scale = WATERMARK_SCALE): Watermarks {
  const min = Math.floor((Math.floor(minKb / FRAME_KB) * managed) / lowmemFrames);
  const gap = Math.max(min >>> 2, Math.floor((managed * scale) / 10_000));
  return { min, low: min + gap, high: min + 2 * gap };
}

/** Frames of `zone` kept from requests that could have had a higher zone, up to zone `highest`. */
export function lowmemReserve(specs: readonly ZoneSpec[], managed: readonly number[], zone: number, highest: number) {
  let above = 0;
  for (let other = zone + 1; other <= highest; other++) above += managed[other]!;
  return Math.floor(above / LOWMEM_RATIO[specs[zone]!.name]);
}

/** Sets a zone's watermarks, under its lock. A boost is over. */
export function setMarks(words: Int32Array, lowmemFrames: number, minKb: number, scale: number): void {
  const marks = watermarks(minKb, words[ZONE.managed]!, lowmemFrames, scale);
  words[ZONE.min] = marks.min;
  words[ZONE.low] = marks.low;
  words[ZONE.high] = marks.high;
  words[ZONE.boost] = 0;
  words[ZONE.minKb] = minKb;
  words[ZONE.scale] = scale;
  refreshMark(words);
}

/** Sets watermarks and reserves of all zones from their managed counts (Linux: init_per_zone_wmark_min). */
export function setupWatermarks(
  zones: readonly Int32Array[],
  specs: readonly ZoneSpec[],
  blockFrames: number,
  hugePages: boolean,
): void {
  const managed = zones.map((words) => words[ZONE.managed]!);
  const lowmem = managed.reduce((sum, frames) => sum + frames, 0);
  const set = (minKb: number): void => {
    for (const words of zones) setMarks(words, lowmem, minKb, WATERMARK_SCALE);
  };
  const boot = minFreeKbytes(lowmem * FRAME_KB);
  set(boot);
  if (hugePages) {
    // khugepaged starts later: what counts as low memory then lies above the high watermarks set at boot.
    let above = 0;
    for (const words of zones) above += Math.max(0, words[ZONE.managed]! - words[ZONE.high]!);
    set(hugePageMinFreeKbytes(boot, zones.length, above, blockFrames));
  }
  for (const [zone, words] of zones.entries())
    for (let highest = 0; highest < zones.length; highest++)
      words[ZONE.reserve + highest] = highest > zone ? lowmemReserve(specs, managed, zone, highest) : 0;
}
