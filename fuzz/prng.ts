/**
 * The random numbers under everything seeded, against the published definition of xoshiro128** 1.1 written in BigInt,
 * slow and obvious; and what callers rely on: draws below the bound, and a copied state that goes on alike.
 */
import { next32, nextBelow, nextUnit, prng } from "../kernel/lib/prng.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const DRAWS = 64;
const WORD = 2n ** 32n;

const rotated = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (32n - by))) % WORD;

/** One step of the reference; `state` is four unsigned words. */
function referenceStep(state: [bigint, bigint, bigint, bigint]): bigint {
  const result = (rotated((state[1] * 5n) % WORD, 7n) * 9n) % WORD;
  const t = (state[1] << 9n) % WORD;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= t;
  state[3] = rotated(state[3], 11n);
  return result;
}

function checkSeed(seed: number, draw: (state: Int32Array) => number): string | undefined {
  const state = prng(seed);
  const words = [...state].map((word) => BigInt(word >>> 0));
  const reference: [bigint, bigint, bigint, bigint] = [words[0]!, words[1]!, words[2]!, words[3]!];
  for (let i = 0; i < DRAWS; i++) {
    const [got, want] = [draw(state), Number(referenceStep(reference))];
    if (got !== want) return `draw ${i} is ${got}, the definition says ${want}`;
  }
  const copy = state.slice();
  const bound = (next32(state) >>> (next32(state) % 32)) + 1;
  next32(copy);
  next32(copy);
  for (let i = 0; i < DRAWS; i++) {
    const [below, again] = [nextBelow(state, bound), nextBelow(copy, bound)];
    if (below !== again) return `a copied state draws ${again}, the original ${below}`;
    if (!(Number.isInteger(below) && below >= 0 && below < bound)) return `nextBelow(${bound}) is ${below}`;
    const unit = nextUnit(state);
    if (!(unit >= 0 && unit < 1) || unit !== nextUnit(copy)) return `nextUnit is ${unit}`;
  }
  return undefined;
}

function run(seed: number, runs: number, progress: (done: number) => void, draw = next32): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = checkSeed(seed + k, draw);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "prng",
  help: "seeded random numbers against their published definition",
  run: (seed, runs, progress) => run(seed, runs, progress),
  /** A generator that loses its lowest bit. */
  canary: (seed) =>
    run(
      seed,
      100,
      () => {},
      (state) => (next32(state) & ~1) >>> 0,
    ),
};
