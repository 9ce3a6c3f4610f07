/** An fsync owes the names of its file, as Linux's does: a rename or a lost link before it is durable with it. */
import { describe, expect, it } from "vitest";
import { SCENARIOS } from "../../../../harness/crash/scenarios.ts";
import { judgeWorkload } from "../../../../harness/crash/workload_judge.ts";
import { crashBase } from "../../../../harness/crash/workload_run.ts";

describe("fsync of our ext4", () => {
  it("after a rename makes the new name durable: the scenario rename-replace, in every crash state", () => {
    const { base, calls } = SCENARIOS.find(({ name }) => name === "rename-replace")!;
    const judge = { data: "ordered", mount: "", policy: "kernel", maxSubset: 8, tears: false, seed: 1 } as const;
    const { summary } = judgeWorkload(crashBase(base), calls, judge);
    expect(summary.firstFailures).toEqual([]);
    expect(summary.distinct).toBeGreaterThan(500);
  });
});
