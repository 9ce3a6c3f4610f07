/**
 * The experiment behind `orrery sched fair`: tasks given as specifications share CPUs for some seconds; measured from
 * 0.3 s on, when they have found their places, with the same figures as a recording of a real kernel.
 *
 * - fair(options)   the figures of each task, and the run behind them (its log holds every event)
 */
import type { EventLog } from "../../kernel/worlds.ts";
import { specText, specWorkload } from "../../sched/index.ts";
import type { Costs, Spec } from "../../sched/index.ts";
import { otherShare, taskStats } from "../trace/stats.ts";
import type { TaskStats } from "../trace/stats.ts";
import type { TraceWindow } from "../trace/window.ts";
import { runLockstep } from "./lockstep.ts";
import type { LockstepRun } from "./lockstep.ts";
import type { ChosenPolicy } from "./policies.ts";

/** Left out at the start. */
export const SETTLE_SECONDS = 0.3;

export interface FairOptions {
  readonly specs: readonly Spec[];
  readonly policy: ChosenPolicy;
  readonly cpus: number;
  readonly seconds: number;
  readonly seed: number;
  readonly costs: Costs;
  readonly onProgress?: (nowNs: number) => boolean;
}

export interface FairResult {
  readonly tasks: readonly TaskStats[];
  readonly otherShare: number;
  readonly window: TraceWindow;
  readonly run: LockstepRun;
  readonly log: EventLog;
}

export async function fair(options: FairOptions): Promise<FairResult> {
  const { specs, policy, cpus, seconds, seed, costs, onProgress } = options;
  const run = await runLockstep({
    policy,
    workload: specWorkload(specs),
    cpus,
    costs,
    seed,
    untilNs: seconds * 1e9,
    features: ["EVENT_LOG", "EVENT_HASH"],
    marks: true,
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const log = run.log!;
  const window = { fromNs: SETTLE_SECONDS * 1e9, toNs: run.endNs };
  const rows = specs.map((_, index) => index + 1);
  const tasks = taskStats(log, window, rows, specs.map(specText));
  return { tasks, otherShare: otherShare(log, window, rows), window, run, log };
}
