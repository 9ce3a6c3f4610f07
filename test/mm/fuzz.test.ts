import { describe, expect, it } from "vitest";
import { target as buddy } from "../../fuzz/buddy.ts";
import { target as slub } from "../../fuzz/slub.ts";

describe.each([buddy, slub])("fuzz $name", (target) => {
  it("a short run finds nothing", () => {
    const seen: number[] = [];
    expect(target.run(1, 40, (done) => seen.push(done))).toEqual({ runs: 40 });
    expect(seen.at(-1)).toBe(40);
  });
  it("the canary fails, at every seed", () => {
    for (let seed = 0; seed < 10; seed++) expect(target.canary(seed).failure?.seed).toBe(seed);
  });
});
