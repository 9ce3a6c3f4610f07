/** The middle of a sample; of the two middle ones the mean. Panics on none. */
import { assert } from "../../kernel/lib/assert.ts";

export function median(sample: readonly number[]): number {
  assert(sample.length > 0, "median: of nothing");
  const sorted = [...sample].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
