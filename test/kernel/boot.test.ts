/** Features are data: each with what it needs, all, none, and random sets of them boot and run to the end. */
import { describe, expect, it } from "vitest";
import { FEATURES, boot } from "../../kernel/worlds.ts";
import type { Feature } from "../../kernel/worlds.ts";
import { STEPS } from "../../kernel/boot.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { COSTS, closedWorkload, roundRobin } from "../../sched/index.ts";

const ALL = Object.keys(FEATURES) as Feature[];
/** The last of these in boot order that is on brings the policy. */
const POLICY_OF: Partial<Record<Feature, string>> = {
  SCHED_FIFO: "fifo",
  SCHED_RR: "rr",
  SCHED_EEVDF: "eevdf",
  SCHED_CUSTOM: "rr",
};

/** With all that they need. */
function withNeeds(features: readonly Feature[]): Feature[] {
  const on = new Set(features);
  for (const feature of on) for (const need of FEATURES[feature].needs as readonly Feature[]) on.add(need);
  return [...on];
}

async function runs(features: readonly Feature[]): Promise<void> {
  const on = new Set(features);
  const workload = closedWorkload({
    seed: 1,
    tasks: 5,
    rounds: 5,
    burstNs: { kind: "exponential", mean: 1e6 },
    sleepNs: { kind: "exponential", mean: 1e6 },
  });
  const { world, machine, steps } = await boot({
    features,
    seed: 1,
    cpus: 2,
    workload,
    costs: COSTS.icount,
    ...(on.has("SCHED_CUSTOM") ? { policy: roundRobin(1e6) } : {}),
  });
  world.run(1e9);
  expect(world.programs.allExited).toBe(true);
  expect(machine.log === undefined).toBe(!on.has("EVENT_LOG"));
  expect(machine.hash === undefined).toBe(!on.has("EVENT_HASH"));
  expect(world.metrics === undefined).toBe(!on.has("SCHED_STATS"));
  const brings = STEPS.filter(({ feature }) => feature !== undefined && on.has(feature) && feature in POLICY_OF);
  expect(world.sched.policy().name).toBe(brings.length === 0 ? "cfs" : POLICY_OF[brings.at(-1)!.feature!]);
  expect(steps).toEqual(
    STEPS.filter(({ feature }) => feature === undefined || on.has(feature)).map(({ name }) => name),
  );
}

describe("boot() with", () => {
  it.each(ALL)("%s alone", (feature) => runs(withNeeds([feature])));
  it("all features", () => runs(ALL));
  it("none", () => runs([]));
  it("random sets of them", async () => {
    const state = prng(1);
    for (let set = 0; set < 30; set++) await runs(withNeeds(ALL.filter(() => nextBelow(state, 2) === 0)));
  });

  it("a policy that is given without its feature, or the other way round, panics", async () => {
    const machine = { seed: 1, cpus: 1, workload: { tasks: [] }, costs: COSTS.none };
    await expect(boot({ ...machine, features: ["SCHED_CUSTOM"] })).rejects.toThrow(/SCHED_CUSTOM without a policy/);
    await expect(boot({ ...machine, features: [], policy: roundRobin(1) })).rejects.toThrow(/SCHED_CUSTOM is off/);
  });
});

it("an observer does not change the run: the hash is the same with and without log and statistics", async () => {
  const hashes: string[] = [];
  for (const extra of [[], ["EVENT_LOG"], ["EVENT_LOG", "SCHED_STATS"]] as const) {
    const workload = closedWorkload({
      seed: 2,
      tasks: 6,
      rounds: 9,
      burstNs: { kind: "exponential", mean: 1e6 },
      sleepNs: { kind: "exponential", mean: 1e6 },
    });
    const features: readonly Feature[] = ["EVENT_HASH", ...extra];
    const { world, machine } = await boot({ features, seed: 9, cpus: 2, workload, costs: COSTS.hardware });
    world.run(1e9);
    hashes.push(machine.hash!.hex());
  }
  expect(new Set(hashes).size).toBe(1);
});
