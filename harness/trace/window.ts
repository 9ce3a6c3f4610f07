/**
 * Which part of a trace is measured and which tasks are the workload. Marks decide, if there are any: a workload that
 * writes `spin start` and `spin end` is measured from 0.3 s after the first to the last, and its tasks are the children
 * of the task whose child wrote the mark. Without marks: the whole trace, and every task that ran in it.
 *
 * - windowOf(log, from?, to?)     seconds of the trace's own time replace either edge, within the trace
 * - workloadTasks(log, window)    in the order of their forks, then of first appearance; idle is never one
 * - tasksThatRan(log, window)     whatever the marks say
 */
import { Ev } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { NS_PER_SEC } from "../../kernel/abi/units.ts";
import { UserError } from "../cli/exit.ts";

export interface TraceWindow {
  readonly fromNs: number;
  readonly toNs: number;
}

/** Time of [fromNs, toNs] that lies in the window. */
export const within = (window: TraceWindow, fromNs: number, toNs: number): number =>
  Math.max(0, Math.min(toNs, window.toNs) - Math.max(fromNs, window.fromNs));

export const MARK_START = "spin start";
export const MARK_END = "spin end";
/** Left out after the start, so that the tasks have found their places. */
const SETTLE_NS = 0.3 * NS_PER_SEC;

/** Row of the first Mark with this text; -1 when there is none. */
function findMark(log: EventLog, text: string): number {
  const number = log.marks.indexOf(text);
  if (number < 0) return -1;
  for (let row = 0; row < log.count; row++) if (log.typeAt(row) === Ev.Mark && log.aAt(row) === number) return row;
  return -1;
}

const seconds = (ns: number): string => (ns / NS_PER_SEC).toFixed(6);

export function windowOf(log: EventLog, fromSeconds?: number, toSeconds?: number): TraceWindow {
  const span = log.spanOf();
  const start = findMark(log, MARK_START);
  const end = findMark(log, MARK_END);
  const settled = start < 0 ? span.fromNs : log.timeAt(start) + SETTLE_NS;
  const fromNs = fromSeconds === undefined ? settled : Math.max(fromSeconds * NS_PER_SEC, span.fromNs);
  const untilMark = end < 0 ? span.toNs : log.timeAt(end);
  const toNs = toSeconds === undefined ? untilMark : Math.min(toSeconds * NS_PER_SEC, span.toNs);
  if (!(fromNs < toNs)) {
    throw new UserError(
      `the window from ${seconds(fromNs)} s to ${seconds(toNs)} s is empty; the trace runs from ${seconds(span.fromNs)} s to ${seconds(span.toNs)} s`,
    );
  }
  return { fromNs, toNs };
}

/** Every task that was on a CPU within the window, but idle: in the order of their forks, then of first appearance. */
export function tasksThatRan(log: EventLog, window: TraceWindow): readonly number[] {
  const seen = new Set<number>();
  const ran = new Set<number>();
  for (let row = 0; row < log.count; row++) {
    if (log.typeAt(row) !== Ev.SchedSwitch) continue;
    const at = log.timeAt(row);
    seen.add(log.aAt(row)).add(log.bAt(row));
    if (at > window.fromNs) ran.add(log.aAt(row));
    if (at < window.toNs) ran.add(log.bAt(row));
  }
  const inOrder = new Set([...parents(log).keys(), ...seen]);
  return [...inOrder].filter((task) => task !== 0 && ran.has(task));
}

export function workloadTasks(log: EventLog, window: TraceWindow): readonly number[] {
  const start = findMark(log, MARK_START);
  const parentOf = parents(log);
  const family = start < 0 ? undefined : parentOf.get(log.bAt(start));
  if (family === undefined) return tasksThatRan(log, window);
  return [...parentOf.keys()].filter((task) => parentOf.get(task) === family);
}

/** Child -> parent, in the order of the forks. */
function parents(log: EventLog): Map<number, number> {
  const parentOf = new Map<number, number>();
  for (let row = 0; row < log.count; row++)
    if (log.typeAt(row) === Ev.SchedFork) parentOf.set(log.bAt(row), log.aAt(row));
  return parentOf;
}
