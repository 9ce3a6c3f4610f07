/**
 * Many lockstep machines side by side in worker threads: each is a pure function of its job, so the outcomes are the same
 * with any number of workers, in the order of the jobs.
 *
 * - fleet(jobs, workers)   the outcome of each job
 */
import { Piscina } from "piscina";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { ClosedOptions, CostsName } from "../../sched/index.ts";

export interface FleetJob {
  /** A policy's name or the path of a user's file. */
  readonly policy: string;
  readonly workload: ClosedOptions;
  readonly cpus: number;
  readonly costs: CostsName;
  readonly seed: number;
}

export interface FleetOutcome {
  readonly hash: string;
  readonly endNs: number;
  readonly ejected: string | undefined;
  readonly switches: number;
  readonly jobs: number;
  readonly wakeP50Ms: number;
  readonly wakeP99Ms: number;
  readonly slowdownMean: number;
  readonly slowdownP99: number;
}

export async function fleet(jobs: readonly FleetJob[], workers: number): Promise<readonly FleetOutcome[]> {
  const filename = modulePath("./lockstep_worker.ts", import.meta.url).href;
  const pool = new Piscina<FleetJob, FleetOutcome>({ filename, minThreads: workers, maxThreads: workers });
  try {
    return await Promise.all(jobs.map((job) => pool.run(job)));
  } finally {
    await pool.destroy();
  }
}
