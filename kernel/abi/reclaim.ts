/**
 * Faces through which the page allocator gets memory back from those who hold it.
 *
 * - Shrinker      a cache that can drop objects (Linux: struct shrinker): page cache, dentries, a demo's clean pages
 * - MovablePages  the holder of movable pages: compaction asks it to move its references (Linux: movable_operations)
 * - OomVictims    the tasks that may be killed, with what badness counts
 * - TaskStalls    told when a task starts and stops waiting for memory (pressure stall information)
 */
import type { Pfn } from "./units.ts";

export interface Shrinker {
  readonly name: string;
  /** Objects that could be dropped now. */
  count(): number;
  /** Tries to drop up to `pages`; returns pages really given back to the page allocator. */
  scan(pages: number): number;
}

export interface MovablePages {
  /** Copies block `from` to `to` (1 << order frames) and repoints every reference. False: busy, leave it where it is. */
  migrate(from: Pfn, to: Pfn, order: number): boolean;
}

export interface OomVictims {
  /** Rows 0..rows()-1; a dead row has no pages. */
  rows(): number;
  rssPages(row: number): number;
  swapPages(row: number): number;
  /** Pages that hold its page tables. */
  pageTablePages(row: number): number;
  /** -1000 (never) .. 1000 (first), as /proc/PID/oom_score_adj. */
  scoreAdj(row: number): number;
  /** Kills it and frees its memory (Linux: SIGKILL, then the OOM reaper). Returns pages given back. */
  kill(row: number): number;
}

export interface TaskStalls {
  memstallEnter(cpu: number): void;
  memstallLeave(cpu: number): void;
}
