/** Values by seed are part of what a recorded run means: they may never change. fuzz/prng.ts holds the definition. */
import { expect, it } from "vitest";
import { next32, nextBelow, nextUnit, prng, seedPrng } from "../../../kernel/lib/prng.ts";

it("next32() on the state 1, 2, 3, 4 gives the published sequence of xoshiro128** 1.1", () => {
  const state = Int32Array.of(1, 2, 3, 4);
  expect(Array.from({ length: 6 }, () => next32(state))).toEqual([11520, 0, 5927040, 70819200, 2031721883, 1637235492]);
});

it("seeds give these values", () => {
  expect([0, 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1].map((seed) => next32(prng(seed)))).toMatchInlineSnapshot(`
    [
      1789933344,
      393288148,
      2185488291,
      58638508,
      3925644133,
    ]
  `);
});

it("every bit of a 53-bit seed counts", () => {
  const seeds = [0, ...Array.from({ length: 53 }, (_, bit) => 2 ** bit)];
  expect(new Set(seeds.map((seed) => prng(seed).join())).size).toBe(54);
  expect(new Set(seeds.map((seed) => next32(prng(seed)))).size).toBe(54);
});

it("nextBelow() is uniform: chi-squared over 10 and over 2^31 + 1 values", () => {
  const state = prng(1);
  const draws = 50_000;
  for (const bound of [10, 2 ** 31 + 1]) {
    const cells = new Float64Array(10);
    for (let i = 0; i < draws; i++) cells[Math.floor((nextBelow(state, bound) / bound) * 10)]!++;
    const chi = cells.reduce((sum, seen) => sum + (seen - draws / 10) ** 2 / (draws / 10), 0);
    // 9 degrees of freedom: above 27.9 once in a thousand.
    expect(chi).toBeLessThan(27.9);
  }
});

it("nextUnit() uses 53 bits and stays below 1", () => {
  const state = new Int32Array(4);
  seedPrng(state, 5);
  let fine = 0;
  for (let i = 0; i < 10_000; i++) {
    const unit = nextUnit(state);
    expect(unit >= 0 && unit < 1).toBe(true);
    if ((unit * 2 ** 53) % 2 === 1) fine++;
  }
  expect(fine).toBeGreaterThan(4_800);
  expect(fine).toBeLessThan(5_200);
});
