import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { HISTOGRAM_WORDS, quantile, record } from "../../../kernel/lib/histogram.ts";

/** Of any size: uniform in the exponent. */
const value = fc
  .tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 51 }))
  .map(([part, power]) => Math.floor((1 + part) * 2 ** power));

test.prop([fc.array(value, { minLength: 1, maxLength: 300 }), fc.constantFrom(0, 0.01, 0.5, 0.9, 0.99, 1)], {
  seed: 1,
})("quantile() is the exact one to within a 64th of it", (values, q) => {
  const counts = new Int32Array(2 * HISTOGRAM_WORDS);
  for (const one of values) record(counts, HISTOGRAM_WORDS, one);
  const sorted = [...values].sort((a, b) => a - b);
  const exact = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
  const got = quantile(counts, HISTOGRAM_WORDS, q);
  expect(Math.abs(got - exact)).toBeLessThanOrEqual(exact / 64);
  // The one beside it is not written to.
  expect(quantile(counts, 0, q)).toBeNaN();
});

it("small whole values are exact, fractions and negative ones fall where they must", () => {
  const counts = new Int32Array(HISTOGRAM_WORDS);
  for (let one = 0; one < 64; one++) record(counts, 0, one);
  for (let one = 0; one < 64; one++) expect(quantile(counts, 0, (one + 1) / 64)).toBe(one);
  counts.fill(0);
  for (const one of [-5, 0.9, Number.NaN]) record(counts, 0, one);
  expect(counts[0]).toBe(3);
});

it("buckets around powers of two, and the largest value", () => {
  for (const one of [63, 64, 65, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 2 ** 26, 2 ** 52 - 1, 2 ** 52]) {
    const counts = new Int32Array(HISTOGRAM_WORDS);
    record(counts, 0, one);
    expect(Math.abs(quantile(counts, 0, 1) - one), String(one)).toBeLessThanOrEqual(one / 64);
  }
});
