/** ACE's workloads on our ext4: no state breaks a promise; with a disk that lies they do, and that shrinks. */
import { describe, expect, it } from "vitest";
import { aceSpace } from "../../../harness/crash/ace.ts";
import { judgeWorkload, shrinkWorkload } from "../../../harness/crash/workload_judge.ts";
import { crashBase } from "../../../harness/crash/workload_run.ts";

const BASE = crashBase({ sizeBytes: 16 << 20, blockSize: 4096, journalBytes: 4 << 20 });
const JUDGE = { mount: "", policy: "kernel", maxSubset: 8, tears: true, seed: 1 } as const;

describe("our ext4 under ACE's workloads", () => {
  it.each(["ordered", "journal", "writeback"] as const)("data=%s: every 41st of seq-1 keeps its promises", (data) => {
    const space = aceSpace(1);
    for (let index = 0; index < space.count; index += 41) {
      const { text, calls } = space.at(index);
      const { run, summary } = judgeWorkload(BASE, calls, { ...JUDGE, data });
      expect(run.failed, text).toEqual([]);
      expect(summary.firstFailures, text).toEqual([]);
      expect(summary.states).toBeGreaterThan(10);
    }
  });

  it("without barriers a workload of two operations breaks, and shrinks to few calls and one lost write or two", () => {
    const space = aceSpace(2);
    const options = { ...JUDGE, data: "ordered", mount: "nobarrier", tears: false } as const;
    const { calls } = space.at(200_000);
    const shrunk = shrinkWorkload(BASE, calls, options)!;
    expect(shrunk.calls.length).toBeLessThanOrEqual(4);
    expect(shrunk.judged.summary.flagged).toBeGreaterThan(0);
  });
});
