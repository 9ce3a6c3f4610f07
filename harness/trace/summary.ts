/**
 * One row for a whole trace: what a policy did with a workload.
 *
 *   switches      sched_switch events in the window, to and from idle among them
 *   migrations    sched_migrate_task events in the window
 *   wake P50, P99 waking to running over all tasks given, as in stats.ts
 *   slowdown      of a job: from the waking (or first wake-up) to the switch that takes the task off blocked or dead, wall
 *                 time over its own CPU time; jobs that lie wholly in the window and used CPU time
 *   jain          index over tasks of CPU time / fair entitlement while runnable (entitlement.ts): 1 is weighted fairness
 */
import { Ev } from "../../kernel/abi/events.ts";
import { NS_PER_MS } from "../../kernel/abi/units.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { entitledNs, jainIndex } from "./entitlement.ts";
import { mean, nearestRank } from "./stats.ts";
import { forEachStretch, forEachWake, isRunnable } from "./walk.ts";
import { within } from "./window.ts";
import type { TraceWindow } from "./window.ts";

export interface TraceSummary {
  readonly seconds: number;
  readonly cpus: number;
  readonly tasks: number;
  readonly switches: number;
  readonly migrations: number;
  readonly wakeups: number;
  readonly wakeP50Ms: number | null;
  readonly wakeP99Ms: number | null;
  readonly jobs: number;
  readonly slowdownMean: number | null;
  readonly slowdownP99: number | null;
  readonly jain: number | null;
}

export type OnJob = (task: number, fromNs: number, toNs: number, cpuNs: number) => void;

/** Every job of which both ends are in the trace, in order of its end. */
export function forEachJob(log: EventLog, onJob: OnJob): void {
  const startNs = new Map<number, number>();
  const cpuNs = new Map<number, number>();
  const onSinceNs = new Map<number, number>();
  for (let row = 0; row < log.count; row++) {
    const type = log.typeAt(row);
    const a = log.aAt(row);
    const at = log.timeAt(row);
    if (type === Ev.SchedWaking || type === Ev.SchedWakeupNew) {
      if (!startNs.has(a) && !onSinceNs.has(a)) startNs.set(a, at);
    } else if (type === Ev.SchedSwitch) {
      const usedNs = (cpuNs.get(a) ?? 0) + at - (onSinceNs.get(a) ?? at);
      onSinceNs.delete(a);
      cpuNs.set(a, usedNs);
      if (!isRunnable(log.cAt(row))) {
        const from = startNs.get(a);
        if (from !== undefined && usedNs > 0) onJob(a, from, at, usedNs);
        startNs.delete(a);
        cpuNs.delete(a);
      }
      onSinceNs.set(log.bAt(row), at);
    }
  }
}

export function traceSummary(log: EventLog, window: TraceWindow, tasks: readonly number[]): TraceSummary {
  const own = new Set(tasks);
  const inside = (fromNs: number, toNs: number): boolean => fromNs >= window.fromNs && toNs <= window.toNs;
  let switches = 0;
  let migrations = 0;
  for (let row = 0; row < log.count; row++) {
    if (!inside(log.timeAt(row), log.timeAt(row))) continue;
    if (log.typeAt(row) === Ev.SchedSwitch) switches++;
    if (log.typeAt(row) === Ev.SchedMigrate) migrations++;
  }
  const wakeMs: number[] = [];
  forEachWake(log, (task, wakingNs, runningNs) => {
    if (own.has(task) && inside(wakingNs, runningNs)) wakeMs.push((runningNs - wakingNs) / NS_PER_MS);
  });
  const slowdowns: number[] = [];
  forEachJob(log, (task, fromNs, toNs, cpuNs) => {
    if (own.has(task) && inside(fromNs, toNs)) slowdowns.push((toNs - fromNs) / cpuNs);
  });
  const usedNs = new Map<number, number>();
  forEachStretch(log, (task, _cpu, onNs, offNs) => {
    usedNs.set(task, (usedNs.get(task) ?? 0) + within(window, onNs, offNs));
  });
  const dueNs = entitledNs(log, window);
  const received = tasks.filter((task) => (dueNs.get(task) ?? 0) > 0);
  wakeMs.sort((x, y) => x - y);
  slowdowns.sort((x, y) => x - y);
  return {
    seconds: (window.toNs - window.fromNs) / 1e9,
    cpus: log.cpus,
    tasks: tasks.length,
    switches,
    migrations,
    wakeups: wakeMs.length,
    wakeP50Ms: nearestRank(wakeMs, 0.5),
    wakeP99Ms: nearestRank(wakeMs, 0.99),
    jobs: slowdowns.length,
    slowdownMean: mean(slowdowns),
    slowdownP99: nearestRank(slowdowns, 0.99),
    jain: jainIndex(received.map((task) => (usedNs.get(task) ?? 0) / dueNs.get(task)!)),
  };
}
