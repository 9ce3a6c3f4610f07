import { describe, expect, it } from "vitest";
import { rigOptions, runRig } from "../../../../fuzz/jbd2_rig.ts";

const STEPS = 250;

describe("a journal that is cut off at random instants (model: the area after each transaction)", () => {
  it.each([0, 1, 2, 3])(
    "loses nothing that was committed, and has each transaction whole or not: group %i",
    (group) => {
      for (let seed = 1 + 4 * group; seed <= 4 + 4 * group; seed++)
        expect(runRig(rigOptions(seed), STEPS), `seed ${seed}`).toBe("");
    },
  );

  it("keeps that on a device that fails writes and reads now and then", () => {
    const faults = [
      { kind: "eio-write", oneIn: 150 },
      { kind: "eio-read", oneIn: 30 },
    ] as const;
    for (let seed = 50; seed < 54; seed++)
      expect(runRig({ ...rigOptions(seed), faults }, STEPS), `seed ${seed}`).toBe("");
  });

  it("is at home after empty() without a journal, too", () => {
    for (let seed = 60; seed < 63; seed++)
      expect(runRig({ ...rigOptions(seed), bare: true }, STEPS), `seed ${seed}`).toBe("");
  });

  it.each([
    { barrier: false },
    { faults: [{ kind: "dropped-flush" }] },
    { faults: [{ kind: "dropped-fua" }] },
  ] as const)("is caught without what it needs: %j", (without) => {
    const found = Array.from({ length: 4 }, (_, n) => runRig({ ...rigOptions(n + 1), ...without }, STEPS));
    expect(found.filter((one) => one !== "").length).toBeGreaterThan(2);
  });
});
