/** The worker of harness/experiment/fleet.ts: one lockstep machine a task, from start to end. */
import { COSTS, closedWorkload } from "../../sched/index.ts";
import type { FleetJob, FleetOutcome } from "./fleet.ts";
import { runLockstep } from "./lockstep.ts";
import { loadPolicy } from "./policies.ts";

export default async function lockstepJob(job: FleetJob): Promise<FleetOutcome> {
  const run = await runLockstep({
    policy: await loadPolicy(job.policy),
    workload: closedWorkload(job.workload),
    cpus: job.cpus,
    costs: COSTS[job.costs],
    seed: job.seed,
    features: ["EVENT_HASH", "SCHED_STATS"],
  });
  return { hash: run.hash!, endNs: run.endNs, ejected: run.ejected, ...run.world.metrics!.summary() };
}
