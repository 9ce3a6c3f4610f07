/** The classic ways to lose data, in every data mode, each in few crash states here; `orrery crash run all` takes all. */
import { describe, expect, it } from "vitest";
import { SCENARIOS } from "../../../harness/crash/scenarios.ts";
import { judgeWorkload } from "../../../harness/crash/workload_judge.ts";
import { crashBase } from "../../../harness/crash/workload_run.ts";

const FEW = { mount: "", policy: "kernel", maxSubset: 3, tears: false, seed: 1 } as const;

describe("crash scenarios", () => {
  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))("%s", (_name, scenario) => {
    const base = crashBase(scenario.base);
    const how = { duringRecovery: scenario.duringRecovery === true, mayFail: scenario.mayFail === true };
    for (const data of ["ordered", "journal", "writeback"] as const) {
      const { run, summary } = judgeWorkload(base, scenario.calls, { ...FEW, ...how, data });
      if (!how.mayFail) expect(run.failed, data).toEqual([]);
      expect(summary.firstFailures, data).toEqual([]);
      expect(summary.distinct).toBeGreaterThan(5);
    }
  });
});
