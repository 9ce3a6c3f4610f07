/**
 * A recording's workload replayed under one policy, and the row of figures that tables of policies are made of.
 *
 * - replayUnder(options)   runs until every task has exited; the log holds every event
 */
import type { EventLog } from "../../kernel/worlds.ts";
import type { Costs, Workload } from "../../sched/index.ts";
import type { Row } from "../cli/output.ts";
import { traceSummary } from "../trace/summary.ts";
import { runLockstep } from "./lockstep.ts";
import type { ChosenPolicy } from "./policies.ts";

export interface ReplayOptions {
  readonly policy: ChosenPolicy;
  readonly workload: Workload;
  readonly cpus: number;
  readonly costs: Costs;
  readonly seed: number;
  /** Also hash the events. */
  readonly hash?: boolean;
  readonly onProgress: (nowNs: number) => boolean;
}

export interface Replay {
  readonly log: EventLog;
  readonly endNs: number;
  readonly row: Row;
  readonly hash: string | undefined;
  readonly ejected: string | undefined;
}

/** The recorded kernel threads are tasks of the workload: those of the cost profile are left out. */
export async function replayUnder(options: ReplayOptions): Promise<Replay> {
  const { policy, workload, cpus, costs, seed, hash = false, onProgress } = options;
  const run = await runLockstep({
    policy,
    workload,
    cpus,
    costs: { ...costs, background: [] },
    seed,
    features: hash ? ["EVENT_LOG", "EVENT_HASH"] : ["EVENT_LOG"],
    onProgress,
  });
  const log = run.log!;
  const tasks = workload.tasks.map((_, index) => index + 1);
  const summary = traceSummary(log, { fromNs: 0, toNs: run.endNs }, tasks);
  const { switches, wakeups, wakeP50Ms, wakeP99Ms, jobs, slowdownMean, slowdownP99, jain, migrations } = summary;
  const figures = { switches, wakeups, wakeP50Ms, wakeP99Ms, jobs, slowdownMean, slowdownP99, jain, migrations };
  const row = { policy: policy.name, makespanSeconds: run.endNs / 1e9, ...figures };
  return { log, endNs: run.endNs, row, hash: run.hash, ejected: run.ejected };
}
