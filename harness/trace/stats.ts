/**
 * What a scheduler did to each task of a trace, exactly: the same figures for a recording of a real kernel and for a run
 * of ours. Definitions, which agree with the reference figures of the recorded Linux runs in every task:
 *
 *   window        [from, to], see window.ts
 *   cpuSeconds    time on any CPU within the window; a stretch that crosses an edge counts by its part within
 *   share         cpuSeconds / window length: one CPU is 1
 *   slice         one stretch from the switch that puts the task on a CPU to the switch that takes it off. Any switch
 *                 ends it, one to a kernel thread that returns at once too. Counted when it lies wholly in the window
 *   wake          from sched_waking to the switch that puts the task on a CPU, counted when both are in the window
 *                 (walk.ts says which of several wakings); being forked is no wake
 *   P50, P90 ...  nearest rank: the smallest value with at least that part of all values at or below it
 *
 * - taskStats(log, window, tasks, specs?)   one row a task, in the order given; null where there is no slice or wake
 * - otherShare(log, window, tasks)          CPU time of all other tasks but idle / window length
 * - nearestRank(sorted, part)
 */
import { Ev } from "../../kernel/abi/events.ts";
import { NS_PER_MS, NS_PER_SEC } from "../../kernel/abi/units.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { parseSpecs, specText } from "../../sched/index.ts";
import { forEachStretch, forEachWake } from "./walk.ts";
import { within } from "./window.ts";
import type { TraceWindow } from "./window.ts";

export interface TaskStats {
  readonly task: number;
  readonly name: string;
  /** `nice:burst_us:sleep_us`: the task's name if it says so (ours do), else `?` for what a trace does not tell. */
  readonly spec: string;
  readonly cpuSeconds: number;
  readonly share: number;
  readonly slices: number;
  readonly sliceMeanMs: number | null;
  readonly sliceP50Ms: number | null;
  readonly sliceP90Ms: number | null;
  readonly wakeups: number;
  readonly wakeMeanMs: number | null;
  readonly wakeP50Ms: number | null;
  readonly wakeP99Ms: number | null;
  readonly wakeMaxMs: number | null;
}

/** Smallest of the sorted values with at least `part` (0 < part <= 1) of them at or below it; null of none. */
export function nearestRank(sorted: readonly number[], part: number): number | null {
  // Without the slack 0.07 * 100 would be rank 8: the product is a hair above 7.
  const rank = Math.ceil(sorted.length * part - 1e-9);
  return sorted[Math.max(rank, 1) - 1] ?? null;
}

export const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;

interface Gathered {
  cpuNs: number;
  readonly sliceMs: number[];
  readonly wakeMs: number[];
}

export function taskStats(
  log: EventLog,
  window: TraceWindow,
  tasks: readonly number[],
  specs?: readonly string[],
): TaskStats[] {
  const byTask = new Map(tasks.map((task): [number, Gathered] => [task, { cpuNs: 0, sliceMs: [], wakeMs: [] }]));
  const { fromNs, toNs } = window;
  forEachStretch(log, (task, _cpu, onNs, offNs) => {
    const of = byTask.get(task);
    if (of === undefined) return;
    of.cpuNs += within(window, onNs, offNs);
    if (onNs >= fromNs && offNs <= toNs) of.sliceMs.push((offNs - onNs) / NS_PER_MS);
  });
  forEachWake(log, (task, wakingNs, runningNs) => {
    if (wakingNs >= fromNs && runningNs <= toNs) byTask.get(task)?.wakeMs.push((runningNs - wakingNs) / NS_PER_MS);
  });
  const nices = niceOf(log, window);
  return tasks.map((task, index): TaskStats => {
    const { cpuNs, sliceMs, wakeMs } = byTask.get(task)!;
    sliceMs.sort((x, y) => x - y);
    wakeMs.sort((x, y) => x - y);
    return {
      task,
      name: log.nameOf(task),
      spec: specs?.[index] ?? specOf(log.nameOf(task), nices.get(task)),
      cpuSeconds: cpuNs / NS_PER_SEC,
      share: cpuNs / (toNs - fromNs),
      slices: sliceMs.length,
      sliceMeanMs: mean(sliceMs),
      sliceP50Ms: nearestRank(sliceMs, 0.5),
      sliceP90Ms: nearestRank(sliceMs, 0.9),
      wakeups: wakeMs.length,
      wakeMeanMs: mean(wakeMs),
      wakeP50Ms: nearestRank(wakeMs, 0.5),
      wakeP99Ms: nearestRank(wakeMs, 0.99),
      wakeMaxMs: wakeMs.at(-1) ?? null,
    };
  });
}

function specOf(name: string, nice: number | undefined): string {
  const parsed = parseSpecs(name);
  return "error" in parsed || parsed.length !== 1 ? `${nice ?? "?"}:?:?` : specText(parsed[0]!);
}

export function otherShare(log: EventLog, window: TraceWindow, tasks: readonly number[]): number {
  const own = new Set([0, ...tasks]);
  let otherNs = 0;
  forEachStretch(log, (task, _cpu, onNs, offNs) => {
    if (!own.has(task)) otherNs += within(window, onNs, offNs);
  });
  return otherNs / (window.toNs - window.fromNs);
}

/** Last nice value each task shows up to the window's end (of a real-time task below -20). */
export function niceOf(log: EventLog, window: TraceWindow): Map<number, number> {
  const nices = new Map<number, number>();
  for (let row = 0; row < log.count && log.timeAt(row) <= window.toNs; row++) {
    if (log.typeAt(row) !== Ev.SchedSwitch) continue;
    const pair = log.dAt(row);
    nices.set(log.aAt(row), (pair << 16) >> 24).set(log.bAt(row), (pair << 24) >> 24);
  }
  return nices;
}
