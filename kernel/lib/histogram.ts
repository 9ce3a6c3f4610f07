/**
 * Log-linear histogram in a typed array (as HdrHistogram's): 64 buckets to each power of two, so a value is known to
 * 1/64 of itself (1.6 %), in constant memory and without allocation. Values: 0 .. 2^52; fractions are kept by the
 * caller's choice of unit.
 *
 *   counts[0 .. 64)    values 0..63, exact
 *   counts[64 k + j]   values whose top seven bits are 1jjjjjj, k >= 1
 */
const SUB_BITS = 6;
const SUB = 1 << SUB_BITS;
const POWERS = 48;
export const HISTOGRAM_WORDS = SUB * POWERS;

function indexOf(value: number): number {
  if (value < SUB) return value | 0;
  if (value < 2 ** 31) {
    const power = 31 - Math.clz32(value) - SUB_BITS;
    return SUB * (power + 1) + ((value >>> power) - SUB);
  }
  const high = Math.floor(value / 2 ** 21);
  const power = 31 - Math.clz32(Math.min(high, 2 ** 31 - 1)) - SUB_BITS;
  return SUB * (power + 22) + ((Math.min(high, 2 ** 31 - 1) >>> power) - SUB);
}

/** Least value that falls into a bucket, and the width of the bucket. */
function bucket(index: number): [from: number, width: number] {
  if (index < SUB) return [index, 1];
  const power = Math.floor(index / SUB) - 1;
  return [((index % SUB) + SUB) * 2 ** power, 2 ** power];
}

/** Counts one value at `base`. Negative values are a bug of the caller's and land in bucket 0. */
export function record(counts: Int32Array, base: number, value: number): void {
  counts[base + (value > 0 ? indexOf(value) : 0)]!++;
}

/** Value below which a share q of all counted values lie, 0 <= q <= 1, interpolated inside its bucket; NaN when empty. */
export function quantile(counts: Int32Array, base: number, q: number): number {
  let total = 0;
  for (let i = 0; i < HISTOGRAM_WORDS; i++) total += counts[base + i]!;
  if (total === 0) return Number.NaN;
  const wanted = q * total;
  let seen = 0;
  for (let i = 0; i < HISTOGRAM_WORDS; i++) {
    const here = counts[base + i]!;
    if (here > 0 && seen + here >= wanted) {
      const [from, width] = bucket(i);
      return from + (width > 1 ? (width * (wanted - seen)) / here : 0);
    }
    seen += here;
  }
  return Number.NaN;
}
