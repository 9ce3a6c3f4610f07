import * as fc from "fast-check";
import { expect, it } from "vitest";
import { editDistance, nearest, suggestion } from "../../../harness/cli/nearest.ts";

const SEED = 20261121;

/** The definition, by recursion. */
function slowDistance(a: string, b: string): number {
  if (a === "" || b === "") return a.length + b.length;
  const same = a.at(-1) === b.at(-1) ? 0 : 1;
  const [cutA, cutB] = [a.slice(0, -1), b.slice(0, -1)];
  const ways = [slowDistance(cutA, b) + 1, slowDistance(a, cutB) + 1, slowDistance(cutA, cutB) + same];
  if (a.length > 1 && b.length > 1 && a.at(-1) === b.at(-2) && a.at(-2) === b.at(-1))
    ways.push(slowDistance(a.slice(0, -2), b.slice(0, -2)) + 1);
  return Math.min(...ways);
}

it("editDistance() equals its definition", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 6 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      expect(editDistance(a, b)).toBe(slowDistance(a, b));
    }),
    { seed: SEED },
  );
});

it("nearest() finds a slip of the finger and keeps silent about anything else", () => {
  const policies = ["fifo", "rr", "cfs", "eevdf"];
  for (const [slip, meant] of [
    ["evdf", "eevdf"],
    ["eefdv", "eevdf"],
    ["CFS", "cfs"],
    ["cf", "cfs"],
    ["fiffo", "fifo"],
  ] as const)
    expect(nearest(slip, policies), slip).toBe(meant);
  for (const other of ["lottery", "x", ""]) expect(nearest(other, policies), other).toBeUndefined();
  expect(suggestion("evdf", policies)).toBe(" (did you mean eevdf?)");
  expect(suggestion("lottery", policies)).toBe(" (there is: fifo, rr, cfs, eevdf)");
  expect(suggestion("lottery", [])).toBe("");
});
