import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { entitledNs, fairRates, jainIndex } from "../../../harness/trace/entitlement.ts";
import { readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { nearestRank, otherShare, taskStats } from "../../../harness/trace/stats.ts";
import { traceSummary } from "../../../harness/trace/summary.ts";
import { windowOf, workloadTasks } from "../../../harness/trace/window.ts";
import type { TraceWindow } from "../../../harness/trace/window.ts";
import { Ev, TaskLeft, WakeContext } from "../../../kernel/abi/events.ts";
import { EventLog } from "../../../kernel/worlds.ts";
import { randomLog } from "./random_log.ts";

const MS = 1e6;
const rowsOf = (log: EventLog): number[] => Array.from({ length: log.count }, (_, row) => row);
const blockedBy = (left: number): boolean => left !== TaskLeft.Runnable && left !== TaskLeft.Preempted;

/** Who is on `cpu` just after row: asks every switch of that CPU anew. */
function onCpuAfter(log: EventLog, cpu: number, row: number): number {
  const switches = rowsOf(log).filter((at) => log.typeAt(at) === Ev.SchedSwitch && log.cpuAt(at) === cpu);
  const before = switches.findLast((at) => at <= row);
  if (before !== undefined) return log.bAt(before);
  return switches.length === 0 ? 0 : log.aAt(switches[0]!);
}

function slowCpuNs(log: EventLog, window: TraceWindow, task: number): number {
  let ns = 0;
  for (let row = 0; row + 1 < log.count; row++) {
    const span = Math.min(log.timeAt(row + 1), window.toNs) - Math.max(log.timeAt(row), window.fromNs);
    if (span <= 0) continue;
    for (let cpu = 0; cpu < log.cpus; cpu++) if (onCpuAfter(log, cpu, row) === task) ns += span;
  }
  return ns;
}

function slowSlicesMs(log: EventLog, window: TraceWindow, task: number): number[] {
  const switches = rowsOf(log).filter((row) => log.typeAt(row) === Ev.SchedSwitch);
  return switches.flatMap((row) => {
    const end = switches.find((later) => later > row && log.cpuAt(later) === log.cpuAt(row));
    if (log.bAt(row) !== task || end === undefined) return [];
    const [from, to] = [log.timeAt(row), log.timeAt(end)];
    return from >= window.fromNs && to <= window.toNs ? [(to - from) / MS] : [];
  });
}

/** For each run, looks back over the task's own events since its last run. */
function slowWakesMs(log: EventLog, window: TraceWindow, task: number): number[] {
  const isIn = (row: number): boolean => log.typeAt(row) === Ev.SchedSwitch && log.bAt(row) === task;
  return rowsOf(log).flatMap((row) => {
    if (!isIn(row)) return [];
    const lastIn = rowsOf(log).findLast((at) => at < row && isIn(at)) ?? -1;
    const own = rowsOf(log).slice(lastIn + 1, row);
    const out = own.find((at) => log.typeAt(at) === Ev.SchedSwitch && log.aAt(at) === task);
    const wakings = own.filter((at) => log.typeAt(at) === Ev.SchedWaking && log.aAt(at) === task);
    const after = wakings.find((at) => out === undefined || at > out);
    const early = out !== undefined && blockedBy(log.cAt(out)) ? wakings.find((at) => at < out) : undefined;
    const waking = after ?? early;
    if (waking === undefined) return [];
    const inside = log.timeAt(waking) >= window.fromNs && log.timeAt(row) <= window.toNs;
    return inside ? [(log.timeAt(row) - log.timeAt(waking)) / MS] : [];
  });
}

const meanOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;

test.prop(
  [
    fc.nat(),
    fc.integer({ min: 1, max: 3 }),
    fc.integer({ min: 2, max: 120 }),
    fc.double({ min: 0, max: 0.4, noNaN: true }),
  ],
  {
    seed: 1,
    numRuns: 60,
  },
)("statistics of a random log are those of the slow definition", (seed, cpus, steps, cut) => {
  const log = randomLog(seed, steps, cpus);
  const { fromNs, toNs } = log.spanOf();
  fc.pre(toNs > fromNs);
  const window = { fromNs: fromNs + cut * (toNs - fromNs), toNs: toNs - cut * (toNs - fromNs) };
  const tasks = [...log.names.keys()];
  let all = 0;
  for (const row of taskStats(log, window, tasks)) {
    const slices = slowSlicesMs(log, window, row.task).sort((x, y) => x - y);
    const wakes = slowWakesMs(log, window, row.task).sort((x, y) => x - y);
    const cpuNs = slowCpuNs(log, window, row.task);
    all += cpuNs;
    expect(row.cpuSeconds).toBeCloseTo(cpuNs / 1e9, 9);
    expect(row.share).toBeCloseTo(cpuNs / (window.toNs - window.fromNs), 9);
    expect([row.slices, row.sliceP50Ms, row.sliceP90Ms]).toEqual([
      slices.length,
      slowRank(slices, 0.5),
      slowRank(slices, 0.9),
    ]);
    expect([row.wakeups, row.wakeP50Ms, row.wakeP99Ms]).toEqual([
      wakes.length,
      slowRank(wakes, 0.5),
      slowRank(wakes, 0.99),
    ]);
    expect(row.wakeMaxMs).toBe(wakes.at(-1) ?? null);
    expect(row.sliceMeanMs).toEqual(meanOf(slices));
    expect(row.wakeMeanMs).toEqual(meanOf(wakes));
  }
  expect(otherShare(log, window, [])).toBeCloseTo(all / (window.toNs - window.fromNs), 9);
  expect(otherShare(log, window, tasks)).toBe(0);
});

/** The definition in words, tried on every value. */
const slowRank = (sorted: readonly number[], part: number): number | null =>
  sorted.find((value) => sorted.filter((other) => other <= value).length >= part * sorted.length - 1e-9) ?? null;

test.prop([fc.array(fc.nat({ max: 20 }), { maxLength: 60 }), fc.constantFrom(0.01, 0.07, 0.5, 0.9, 0.99, 1)], {
  seed: 1,
})("nearestRank() is the smallest value with that part at or below it", (values, part) => {
  const sorted = values.toSorted((x, y) => x - y);
  expect(nearestRank(sorted, part)).toBe(slowRank(sorted, part));
});

test.prop(
  [fc.array(fc.integer({ min: 15, max: 88_761 }), { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 8 })],
  {
    seed: 1,
  },
)("fairRates() are min(1, x * weight) that use all there is", (weights, cpus) => {
  const rates = fairRates(weights, cpus);
  const wanted = Math.min(cpus, weights.length);
  let [low, high] = [0, 1];
  for (let step = 0; step < 200; step++) {
    const x = (low + high) / 2;
    const used = weights.reduce((sum, weight) => sum + Math.min(1, x * weight), 0);
    if (used < wanted) low = x;
    else high = x;
  }
  for (const [index, weight] of weights.entries()) expect(rates[index]).toBeCloseTo(Math.min(1, high * weight), 9);
});

it("two hogs of nice 0 and 5 are due what their weights say, and got it", async () => {
  const { log } = await readFtrace("test/fixtures/sched-golden/linux61-cfs-c1.ftrace.gz");
  const window = windowOf(log);
  const tasks = workloadTasks(log, window);
  const due = entitledNs(log, window);
  const shares = tasks.map((task) => due.get(task)! / (window.toNs - window.fromNs));
  expect(shares[0]).toBeCloseTo(1024 / (1024 + 335), 2);
  expect(shares[1]).toBeCloseTo(335 / (1024 + 335), 2);
  expect(traceSummary(log, window, tasks).jain).toBeGreaterThan(0.9999);
});

it("jainIndex() is 1 for equals, 1/n when one has all", () => {
  expect(jainIndex([3, 3, 3])).toBeCloseTo(1, 12);
  expect(jainIndex([5, 0, 0, 0])).toBe(0.25);
  expect(jainIndex([])).toBeNull();
});

/** Task 1 runs 0-4 and 6-10 ms and sleeps between, woken at 5; task 2 is forked at 2, waits, runs 4-6, dies at 12. */
function story(): EventLog {
  const log = new EventLog(1);
  const to = (at: number, prev: number, next: number, left: number): void =>
    log.append(at * MS, Ev.SchedSwitch, 0, prev, next, left, 0);
  log.append(0, Ev.SchedWaking, 0, 1, 0, WakeContext.Timer, 0);
  to(1, 0, 1, TaskLeft.Runnable);
  log.append(2 * MS, Ev.SchedFork, 0, 1, 2, 0, 0);
  log.append(2 * MS, Ev.SchedWakeupNew, 0, 2, 0, 0, 0);
  to(4, 1, 2, TaskLeft.Sleeping);
  log.append(5 * MS, Ev.SchedWaking, 0, 1, 0, WakeContext.Timer, 0);
  to(6, 2, 1, TaskLeft.Preempted);
  log.append(6 * MS, Ev.SchedMigrate, 0, 1, 0, 0, 0);
  to(10, 1, 2, TaskLeft.Sleeping);
  to(12, 2, 0, TaskLeft.Dead);
  return log;
}

it("traceSummary() of a small story", () => {
  const log = story();
  const window = windowOf(log);
  expect(workloadTasks(log, window)).toEqual([2, 1]);
  const { jain, ...rest } = traceSummary(log, window, [2, 1]);
  expect(rest).toEqual({
    seconds: 0.012,
    cpus: 1,
    tasks: 2,
    switches: 5,
    migrations: 1,
    wakeups: 2,
    wakeP50Ms: 1,
    wakeP99Ms: 1,
    // 1: 0 to 4 with 3 of its own, 5 to 10 with 4; 2: 2 to 12 with 4.
    jobs: 3,
    slowdownMean: (4 / 3 + 5 / 4 + 10 / 4) / 3,
    slowdownP99: 2.5,
  });
  // Due to 1: 2 + 1 + 2.5 ms (alone 0-2, half of 2-4, half of 5-10), to 2: 1 + 1 + 2.5 + 2 ms.
  expect(jain).toBeCloseTo(jainIndex([7 / 5.5, 4 / 6.5])!, 9);
});

it("a task named by its specification has it as its spec, any other only its nice value", () => {
  const log = story();
  log.names.set(1, "0:2000:8000").set(2, "0:x");
  expect(taskStats(log, windowOf(log), [1, 2, 9]).map(({ spec }) => spec)).toEqual(["0:2000:8000", "0:?:?", "?:?:?"]);
});

it("windowOf() goes by the marks, the options and the span, and refuses an empty window", () => {
  const log = story();
  expect(windowOf(log)).toEqual({ fromNs: 0, toNs: 12 * MS });
  expect(windowOf(log, 0.002, 0.009)).toEqual({ fromNs: 2 * MS, toNs: 9 * MS });
  expect(windowOf(log, -1, 99)).toEqual({ fromNs: 0, toNs: 12 * MS });
  expect(() => windowOf(log, 5, 6)).toThrow(/the window from 5\.000000 s to 0\.012000 s is empty; the trace runs from/);
  log.append(13 * MS, Ev.Mark, 0, log.markNumber("spin start"), 2, 0, 0);
  log.append(900 * MS, Ev.Mark, 0, log.markNumber("spin end"), 2, 0, 0);
  expect(windowOf(log)).toEqual({ fromNs: 313 * MS, toNs: 900 * MS });
  expect(workloadTasks(log, windowOf(log))).toEqual([2]);
});
