/**
 * Synthetic request streams, from a seed and a cache size to compare at. Shapes that separate policies:
 *
 *   zipf   key k with chance proportional to 1 / (k + 1)^alpha over ten times `size` keys: a skewed working set
 *   scan   the same for half of the time, the other half runs of 2 * size keys that never come again
 *   loop   1.25 * size keys around and around: the worst case of recency
 *   shift  zipf whose most wanted keys move on by `size` every 20 * size requests: the worst case of frequency
 */
import { assert } from "../../kernel/lib/assert.ts";
import { nextUnit, prng } from "../../kernel/lib/prng.ts";
import type { Trace } from "./replay.ts";

export interface TraceShape {
  readonly size: number;
  readonly requests: number;
  readonly seed: number;
  /** Skew of zipf and scan; 0 is uniform. */
  readonly alpha: number;
}

const KEYS_PER_SLOT = 10;
const SCAN_PER_SLOT = 2;
const LOOP_PER_SLOT = 1.25;
const SHIFT_PER_SLOT = 20;

/** sums[k] = share of keys 0..k. */
function zipfSums(keys: number, alpha: number): Float64Array {
  const sums = new Float64Array(keys);
  let sum = 0;
  for (let key = 0; key < keys; key++) sums[key] = sum += (key + 1) ** -alpha;
  for (let key = 0; key < keys; key++) sums[key]! /= sum;
  sums[keys - 1] = 1;
  return sums;
}

/** First key whose share of the sums is over a draw. */
function draw(sums: Float64Array, state: Int32Array): number {
  const unit = nextUnit(state);
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle]! > unit) high = middle;
    else low = middle + 1;
  }
  return low;
}

function zipf({ size, requests, seed, alpha }: TraceShape): Trace {
  const sums = zipfSums(size * KEYS_PER_SLOT, alpha);
  const state = prng(seed);
  const stream = new Int32Array(requests);
  for (let at = 0; at < requests; at++) stream[at] = draw(sums, state);
  return { name: "zipf", requests: stream, keys: sums.length };
}

function scan({ size, requests, seed, alpha }: TraceShape): Trace {
  const sums = zipfSums(size * KEYS_PER_SLOT, alpha);
  const state = prng(seed);
  const stream = new Int32Array(requests);
  const run = size * SCAN_PER_SLOT;
  let fresh = sums.length;
  for (let at = 0; at < requests; at++) stream[at] = Math.floor(at / run) % 2 === 0 ? draw(sums, state) : fresh++;
  return { name: "scan", requests: stream, keys: fresh };
}

function loop({ size, requests }: TraceShape): Trace {
  const keys = Math.ceil(size * LOOP_PER_SLOT);
  const stream = new Int32Array(requests);
  for (let at = 0; at < requests; at++) stream[at] = at % keys;
  return { name: "loop", requests: stream, keys };
}

function shift(shape: TraceShape): Trace {
  const { requests, keys } = zipf(shape);
  const epoch = shape.size * SHIFT_PER_SLOT;
  const stream = requests.map((key, at) => (key + Math.floor(at / epoch) * shape.size) % keys);
  return { name: "shift", requests: stream, keys };
}

export const TRACE_SHAPES: Readonly<Record<string, (shape: TraceShape) => Trace>> = { zipf, scan, loop, shift };

export function syntheticTrace(name: string, shape: TraceShape): Trace {
  const make = TRACE_SHAPES[name];
  assert(make !== undefined, "syntheticTrace: there is no such shape");
  return make(shape);
}
