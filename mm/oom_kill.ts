/**
 * The out-of-memory killer (Linux 6.1: mm/oom_kill.c): who holds most, shifted by what its user says of it.
 *
 * - badness(victims, row, totalPages)   pages held + oom_score_adj thousandths of memory; -Infinity: never
 * - oomScore(...)                       /proc/PID/oom_score: 0..2000 scaled as Linux does
 * - selectVictim(victims, totalPages)   worst row, or -1
 */
import type { OomVictims } from "../kernel/abi/reclaim.ts";

const ADJ_NEVER = -1000;

export function badness(victims: OomVictims, row: number, totalPages: number): number {
  const adj = victims.scoreAdj(row);
  if (adj === ADJ_NEVER) return -Infinity;
  const held = victims.rssPages(row) + victims.swapPages(row) + victims.pageTablePages(row);
  return held === 0 ? -Infinity : held + adj * Math.floor(totalPages / 1000);
}

export function oomScore(victims: OomVictims, row: number, totalPages: number): number {
  const points = badness(victims, row, totalPages);
  return points === -Infinity ? 0 : Math.trunc(((1000 + Math.trunc((points * 1000) / totalPages)) * 2) / 3);
}

/** Of equals the later: it is the younger as a rule. */
export function selectVictim(victims: OomVictims, totalPages: number): number {
  let chosen = -1;
  let worst = -Infinity;
  for (let row = 0; row < victims.rows(); row++) {
    const points = badness(victims, row, totalPages);
    if (points === -Infinity || points < worst) continue;
    worst = points;
    chosen = row;
  }
  return chosen;
}
