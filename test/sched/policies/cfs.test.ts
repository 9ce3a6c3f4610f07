import { describe, expect, it } from "vitest";
import { SchedRig } from "../../../fuzz/sched_rig.ts";
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { cfs, checkSched } from "../../../sched/index.ts";
import { CfsReference } from "./cfs_reference.ts";
import { twin } from "./twin.ts";

/** Runs ours beside the reference; virtual run times must agree to the nanosecond after every step. */
function compare(policy: PolicyFactory, options: { cpus: number; tasks: number; seed: number; steps: number }) {
  const pair = twin(policy, (k) => new CfsReference(k), true);
  const rig = new SchedRig({ ...options, policy: pair.policy });
  const seen = new Float64Array(rig.sched.tasksMax);
  const least = new Float64Array(options.cpus);
  for (let step = 0; step < options.steps; step++) {
    rig.step();
    checkSched(rig.sched, seen);
    // The first arrays that cfs asks for: vruntime of each task, min_vruntime of each CPU.
    const [vruntime] = pair.perTask;
    const [minVruntime] = pair.perCpu;
    for (const { p, vruntime: want, onRq } of pair.reference!.tasks.values())
      if (onRq && vruntime![p] !== Number(want)) expect.fail(`step ${step}: vruntime ${vruntime![p]} is not ${want}`);
    for (let cpu = 0; cpu < options.cpus; cpu++) {
      if (minVruntime![cpu] !== Number(pair.reference!.minVruntime[cpu]!)) expect.fail(`step ${step}: min_vruntime`);
      if (minVruntime![cpu]! < least[cpu]!) expect.fail(`step ${step}: min_vruntime of CPU ${cpu} went back`);
      least[cpu] = minVruntime![cpu]!;
    }
  }
  expect(rig.sched.ejected(), rig.sched.ejectMessage()).toBe(false);
  expect(rig.drain()).toBe(true);
  return pair;
}

describe("cfs picks and preempts exactly as the reference, over 100,000 random steps", () => {
  it.each([
    [1, 5, 1],
    [1, 20, 2],
    [2, 12, 3],
    [4, 24, 4],
    [9, 30, 5],
  ])("%i CPUs, %i tasks, seed %i", (cpus, tasks, seed) => {
    const { picks, switches, preemptions } = compare(cfs, { cpus, tasks, seed, steps: 20_000 });
    // The steps must have led somewhere.
    expect(picks).toBeGreaterThan(5_000);
    expect(switches).toBeGreaterThan(3_000);
    expect(preemptions).toBeGreaterThan(200);
  });
});
