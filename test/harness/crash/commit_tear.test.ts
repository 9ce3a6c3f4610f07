/** A commit block that was torn where the log had been before: Linux refuses it, so it is told apart and not flagged. */
import { describe, expect, it } from "vitest";
import type { AceCall } from "../../../harness/crash/ace.ts";
import { judgeWorkload } from "../../../harness/crash/workload_judge.ts";
import { crashBase } from "../../../harness/crash/workload_run.ts";
import { fsync, mkdir } from "./fsync_rows.ts";

const JUDGE = { data: "ordered", mount: "", policy: "kernel", maxSubset: 4, seed: 1 } as const;
const CALLS: readonly AceCall[] = [mkdir("B"), fsync("/")];

/** What states are judged to be, and how many. */
function classes(before: readonly AceCall[]): ReadonlyMap<string, number> {
  const base = crashBase({ sizeBytes: 4 << 20, blockSize: 1024, journalBytes: 1 << 20 });
  const { explorer, summary } = judgeWorkload(base, CALLS, { ...JUDGE, before, tears: true });
  expect(summary.firstFailures).toEqual([]);
  const found = new Map<string, number>();
  const { disk, judge } = explorer;
  for (const states of explorer.segments) {
    disk.enter(states.segment);
    for (let n = 0; n < states.count; n++) {
      const { set } = states.at(n);
      disk.state(set);
      const verdict = judge.verdict(set.tear !== undefined, states.segment.markers[set.cut]!);
      found.set(verdict.class, (found.get(verdict.class) ?? 0) + 1);
    }
    disk.undo();
  }
  return found;
}

describe("a torn commit block", () => {
  it("over an older log has a wrong checksum; over zeroes it is whole", () => {
    expect(classes([mkdir("A"), mkdir("C"), mkdir("D"), fsync("/")]).get("commitTear")).toBeGreaterThan(0);
    expect(classes([]).get("commitTear")).toBeUndefined();
  });
});
