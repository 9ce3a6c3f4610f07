/**
 * A trace as what its switches mean: who was on which CPU from when to when, and which waking led to which run. The
 * statistics, the imports and the exports see a log through these walks.
 *
 * - firstOnCpu(log)             the task each CPU ran before its first switch (idle when there is none)
 * - forEachStretch(log, f)      every stretch of a task, idle (0) too, on a CPU, in order of its end
 * - forEachWake(log, f)         every waking that ends in running, in order of running
 * - isRunnable(left)            whether a TaskLeft means preempted or yielding, not blocked
 */
import { Ev, TaskLeft } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";

export const isRunnable = (left: number): boolean => left === TaskLeft.Runnable || left === TaskLeft.Preempted;

/** What an open end's `left` is: the trace ends while the task is on the CPU. */
export const STILL_ON_CPU = -1;

export function firstOnCpu(log: EventLog): Int32Array {
  const first = new Int32Array(log.cpus).fill(-1);
  for (let row = 0, missing = log.cpus; row < log.count && missing > 0; row++) {
    const cpu = log.cpuAt(row);
    if (log.typeAt(row) !== Ev.SchedSwitch || first[cpu] !== -1) continue;
    first[cpu] = log.aAt(row);
    missing--;
  }
  return first.map((task) => Math.max(task, 0));
}

/**
 * `fromNs` is -Infinity when the task was there before the CPU's first switch, `toNs` Infinity when it was still there
 * after the last: how long the stretch was is not known.
 */
export type OnStretch = (task: number, cpu: number, fromNs: number, toNs: number, left: number) => void;

export function forEachStretch(log: EventLog, onStretch: OnStretch): void {
  const sinceNs = new Float64Array(log.cpus).fill(Number.NEGATIVE_INFINITY);
  const running = firstOnCpu(log);
  for (let row = 0; row < log.count; row++) {
    if (log.typeAt(row) !== Ev.SchedSwitch) continue;
    const cpu = log.cpuAt(row);
    const at = log.timeAt(row);
    onStretch(log.aAt(row), cpu, sinceNs[cpu]!, at, log.cAt(row));
    sinceNs[cpu] = at;
    running[cpu] = log.bAt(row);
  }
  for (let cpu = 0; cpu < log.cpus; cpu++)
    onStretch(running[cpu]!, cpu, sinceNs[cpu]!, Number.POSITIVE_INFINITY, STILL_ON_CPU);
}

export type OnWake = (task: number, wakingNs: number, runningNs: number) => void;

/**
 * Of several wakings before a run the first counts. A waking of a task that is still on a CPU (it was about to sleep)
 * counts only if the task then leaves blocked and nobody wakes it again.
 */
export function forEachWake(log: EventLog, onWake: OnWake): void {
  const onCpu = new Set<number>(firstOnCpu(log));
  const waking = new Map<number, number>();
  const wokenOnCpu = new Map<number, number>();
  for (let row = 0; row < log.count; row++) {
    const type = log.typeAt(row);
    const a = log.aAt(row);
    const at = log.timeAt(row);
    if (type === Ev.SchedWaking) {
      const pending = onCpu.has(a) ? wokenOnCpu : waking;
      if (!pending.has(a)) pending.set(a, at);
    } else if (type === Ev.SchedSwitch) {
      const next = log.bAt(row);
      if (isRunnable(log.cAt(row))) wokenOnCpu.delete(a);
      onCpu.delete(a);
      const since = waking.get(next) ?? wokenOnCpu.get(next);
      if (since !== undefined && next !== 0) onWake(next, since, at);
      waking.delete(next);
      wokenOnCpu.delete(next);
      onCpu.add(next);
    }
  }
}
