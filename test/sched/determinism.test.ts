/** The same seed is the same run: twice here, and in a pool of one worker and of two. */
import { expect, it } from "vitest";
import { fleet } from "../../harness/experiment/fleet.ts";
import type { FleetJob } from "../../harness/experiment/fleet.ts";
import lockstepJob from "../../harness/experiment/lockstep_worker.ts";

const SEEDS = 100;
const POLICIES = ["fifo", "rr", "cfs", "eevdf", "examples/las.ts"];
const COSTS = ["icount", "hardware", "none"] as const;

const jobs = Array.from({ length: SEEDS }, (_, seed): FleetJob => {
  const distribution = { kind: "exponential", mean: 2e6 } as const;
  return {
    policy: POLICIES[seed % POLICIES.length]!,
    workload: { seed, tasks: 3 + (seed % 7), rounds: 8, burstNs: distribution, sleepNs: distribution },
    cpus: 1 + (seed % 4),
    costs: COSTS[seed % COSTS.length]!,
    seed,
  };
});

it("100 seeds: the same outcome twice in one thread, and in pools of one and two workers", async () => {
  const here = [];
  for (const job of jobs) here.push(await lockstepJob(job));
  for (const [index, job] of jobs.entries()) expect(await lockstepJob(job)).toEqual(here[index]);
  expect(new Set(here.map(({ hash }) => hash)).size).toBe(SEEDS);
  for (const { ejected, jobs } of here) {
    expect(ejected).toBeUndefined();
    expect(jobs).toBeGreaterThan(0);
  }
  for (const workers of [1, 2]) expect(await fleet(jobs, workers)).toEqual(here);
});

it("another seed of the machine alone is another run: it decides the tick's phase", async () => {
  const [job] = jobs;
  const one = await lockstepJob({ ...job!, policy: "cfs", costs: "icount", seed: 1 });
  const two = await lockstepJob({ ...job!, policy: "cfs", costs: "icount", seed: 2 });
  expect(one.hash).not.toBe(two.hash);
});

it("what a worker throws comes back as the one line it is", async () => {
  await expect(fleet([{ ...jobs[0]!, policy: "cfss" }], 1)).rejects.toThrow(/no policy is named "cfss"/);
});
