/** What the demonstration shows of crashes is so. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { crashScene } from "../../../harness/demo/crash.ts";

it("the demo's rename keeps its promises, the seeded bug is caught and shrunk, and recovery leaves old or new", () => {
  const folder = mkdtempSync(join(tmpdir(), "orrery-demo-"));
  try {
    const { rows, shrunk, renames } = crashScene(join(folder, "crash"));
    expect(rows.map(({ broken, byPrefixes }) => [Number(broken) > 0, byPrefixes])).toEqual([
      [false, 0],
      [true, 0],
    ]);
    expect(rows[0]!["epochs"]).toBeGreaterThan(5);
    expect(rows[1]!["epochs"]).toBe(1);
    expect(shrunk.calls).toBeLessThanOrEqual(2);
    expect(shrunk.lost).toBe(1);
    expect([shrunk.base, shrunk.log].map((file) => existsSync(file))).toEqual([true, true]);
    const [lost, there] = renames;
    expect(lost!.files).toEqual({ data: 9000, "data.new": 6000 });
    expect(there!.files).toEqual({ data: 6000 });
    expect(there!.transactions).toBe(lost!.transactions + 1);
    expect(there!.log.map(({ kind }) => kind).slice(-2)).toEqual(["commit", "end"]);
    expect(lost!.log.filter(({ kind }) => kind === "commit")).toHaveLength(lost!.transactions);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
