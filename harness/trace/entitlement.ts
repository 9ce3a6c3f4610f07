/**
 * What a perfectly fair machine would have given: the CPU time each task is entitled to while it is runnable, by weight
 * among all that are runnable at that instant, no task more than one CPU (generalized processor sharing, Parekh and
 * Gallager 1993, with the cap that a task runs on one CPU at a time).
 *
 * - entitledNs(log, window)       CPU time due to each task but idle within the window
 * - fairRates(weights, cpus)      the rates at one instant; sums to min(cpus, tasks)
 * - jainIndex(values)             (sum x)^2 / (n sum x^2), Jain, Chiu and Hawe 1984: 1 is equal, 1/n is one takes all
 *
 * A task is runnable from a waking (or its first sight) until a switch takes it off its CPU blocked. Its weight is Linux's
 * for its nice value; a real-time task counts as nice -20.
 */
import { Ev } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { NICE_MIN, loadWeightOf } from "../../sched/index.ts";
import { firstOnCpu, isRunnable } from "./walk.ts";
import type { TraceWindow } from "./window.ts";
import { within } from "./window.ts";

export function fairRates(weights: readonly number[], cpus: number): number[] {
  const heaviestFirst = weights.map((_, index) => index).sort((x, y) => weights[y]! - weights[x]! || x - y);
  const rates = weights.map(() => 0);
  let weightLeft = weights.reduce((sum, weight) => sum + weight, 0);
  let cpusLeft = cpus;
  for (const index of heaviestFirst) {
    // Once a task stays below the cap, so do all lighter ones: they share what is left at one rate by weight.
    const rate = Math.min(1, (weights[index]! * cpusLeft) / weightLeft);
    rates[index] = rate;
    cpusLeft -= rate;
    weightLeft -= weights[index]!;
  }
  return rates;
}

export function entitledNs(log: EventLog, window: TraceWindow): Map<number, number> {
  const due = new Map<number, number>();
  const weightOf = new Map<number, number>();
  const setNice = (task: number, nice: number): void => {
    if (task !== 0) weightOf.set(task, loadWeightOf(Math.max(nice, NICE_MIN)));
  };
  const active = new Set<number>(firstOnCpu(log));
  let sinceNs = Number.NEGATIVE_INFINITY;
  const passTo = (at: number): void => {
    const spanNs = within(window, sinceNs, at);
    sinceNs = at;
    if (spanNs === 0) return;
    const tasks = [...active].filter((task) => task !== 0);
    const weights = tasks.map((task) => weightOf.get(task) ?? loadWeightOf(0));
    const rates = fairRates(weights, log.cpus);
    for (const [index, task] of tasks.entries()) due.set(task, (due.get(task) ?? 0) + rates[index]! * spanNs);
  };
  for (let row = 0; row < log.count; row++) {
    const type = log.typeAt(row);
    const a = log.aAt(row);
    if (type === Ev.SchedWaking || type === Ev.SchedWakeupNew) {
      if (active.has(a)) continue;
      passTo(log.timeAt(row));
      setNice(a, log.dAt(row));
      active.add(a);
    } else if (type === Ev.SchedSwitch) {
      const next = log.bAt(row);
      passTo(log.timeAt(row));
      setNice(a, (log.dAt(row) << 16) >> 24);
      setNice(next, (log.dAt(row) << 24) >> 24);
      if (!isRunnable(log.cAt(row))) active.delete(a);
      active.add(next);
    }
  }
  passTo(Number.POSITIVE_INFINITY);
  return due;
}

export function jainIndex(values: readonly number[]): number | null {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? null : (sum * sum) / (values.length * squares);
}
