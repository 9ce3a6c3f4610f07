import { expect, it } from "vitest";
import { target } from "../../fuzz/ext4_image.ts";

it("damaged images harm neither recovery, checker nor reader (a thousand of them in .ci/run)", () => {
  expect(target.run(1, 250, () => undefined)).toEqual({ runs: 250 });
});

it.each([["bitmaps that are nowhere were mended after fast commits", 25_491]])("%s (seed %i)", (_what, seed) => {
  expect(target.run(seed, 1, () => undefined)).toEqual({ runs: 1 });
});

it("a checker that is content with everything is found (canary)", () => {
  expect(target.canary(1).failure?.message).toMatch(/the checker calls it clean/);
});
