import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { mutants } from "../../harness/mutants/mm.ts";

it("every seeded bug of the memory wing still finds its place, once, and changes something", () => {
  for (const { file, find, replace, why } of mutants.mutants) {
    expect(readFileSync(file, "utf8").split(find).length - 1, why).toBe(1);
    expect(replace).not.toBe(find);
  }
  expect(mutants.mutants.length).toBeGreaterThanOrEqual(20);
});
