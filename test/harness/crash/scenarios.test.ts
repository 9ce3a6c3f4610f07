/** The classic ways to lose data, in every data mode and on a disk that ends its requests late and in
 * any order, each in few crash states here; `orrery crash run all` takes all. */
import { describe, expect, it } from "vitest";
import { SCENARIOS } from "../../../harness/crash/scenarios.ts";
import { judgeWorkload } from "../../../harness/crash/workload_judge.ts";
import { crashBase } from "../../../harness/crash/workload_run.ts";

const FEW = {
  mount: "",
  policy: "kernel",
  maxSubset: 3,
  tears: false,
  seed: 1,
  random: 4,
  dropSpan: 1,
  statesMax: 60,
} as const;

describe("crash scenarios", () => {
  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))("%s", (_name, scenario) => {
    const base = crashBase(scenario.base);
    const { slowSpot, duringRecovery, mayFail } = scenario;
    const how = {
      duringRecovery: duringRecovery === true,
      mayFail: mayFail === true,
      ...(slowSpot === undefined ? {} : { slowSpot }),
    };
    for (const [data, late] of [["ordered"], ["ordered", 1], ["journal", 2], ["writeback", 3]] as const) {
      const disk = late === undefined ? {} : { late };
      const { run, summary } = judgeWorkload(base, scenario.calls, { ...FEW, ...how, ...disk, data });
      if (!how.mayFail) expect(run.failed, data).toEqual([]);
      expect(summary.firstFailures, data).toEqual([]);
      expect(summary.distinct).toBeGreaterThan(5);
    }
  });
});
