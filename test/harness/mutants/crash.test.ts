/** The seeded bugs of the crash explorer still fit the sources; `orrery crash mutants` runs them. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mutants } from "../../../harness/mutants/crash.ts";

describe("seeded bugs of the crash explorer", () => {
  it("are at least 20, and each finds its text once", () => {
    expect(mutants.length).toBeGreaterThanOrEqual(20);
    for (const { file, find, why } of mutants) expect(readFileSync(file, "utf8").split(find).length, why).toBe(2);
  });
});
