/**
 * Many booted machines side by side in worker threads, each from start to end: the outcomes are the same with any number
 * of workers, in the order of the jobs.
 *
 * - machineFleet(jobs, workers)   the report of each, and what the judge says of its disk
 */
import { Piscina } from "piscina";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { Verdict } from "./judge.ts";
import type { MachineOptions } from "./machine.ts";
import type { Report } from "./report.ts";

export interface MachineJob {
  readonly options: MachineOptions;
  readonly seconds: number;
}

export interface MachineOutcome {
  readonly report: Report;
  readonly verdict: Verdict;
}

export async function machineFleet(jobs: readonly MachineJob[], workers: number): Promise<readonly MachineOutcome[]> {
  const filename = modulePath("./machine_worker.ts", import.meta.url).href;
  const pool = new Piscina<MachineJob, MachineOutcome>({ filename, minThreads: workers, maxThreads: workers });
  try {
    return await Promise.all(jobs.map((job) => pool.run(job)));
  } finally {
    await pool.destroy();
  }
}
