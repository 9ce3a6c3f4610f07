/**
 * Seeded random numbers whose whole state is four words of a typed array, so that a machine can be saved and forked.
 * xoshiro128** 1.1 (Blackman and Vigna 2018), seeded by splitmix32. Not for secrets.
 *
 * - seedPrng(state, seed)       fills state[0..4)
 * - next32(state)               uniform 0 .. 2^32-1
 * - nextUnit(state)             uniform in [0, 1), 53 bits
 * - nextBelow(state, bound)     uniform 0 .. bound-1, unbiased (Lemire 2019 is not exact in doubles: rejection)
 */
export const PRNG_WORDS = 4;

/** The low 32 bits of a seed fill the words, the high 21 are mixed in: 1 and 2^32 are not the same stream. */
export function seedPrng(state: Int32Array, seed: number): void {
  for (let i = 0; i < PRNG_WORDS; i++) state[i] = splitmix32(seed | 0, i);
  const high = Math.floor(seed / 2 ** 32);
  if (high === 0) return;
  for (let i = 0; i < PRNG_WORDS; i++) state[i]! ^= splitmix32(high, PRNG_WORDS + i);
}

/** Value number `turn` of the generator that starts at `x`. */
function splitmix32(x: number, turn: number): number {
  let z = (x + Math.imul(turn + 1, 0x9e3779b9)) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return z ^ (z >>> 15);
}

export function next32(state: Int32Array): number {
  const s1 = state[1]!;
  const mixed = Math.imul(s1, 5);
  const result = Math.imul((mixed << 7) | (mixed >>> 25), 9) >>> 0;
  const t = s1 << 9;
  state[2]! ^= state[0]!;
  state[3]! ^= s1;
  state[1]! ^= state[2]!;
  state[0]! ^= state[3]!;
  state[2]! ^= t;
  const s3 = state[3]!;
  state[3] = (s3 << 11) | (s3 >>> 21);
  return result;
}

export function nextUnit(state: Int32Array): number {
  const high = next32(state) >>> 5;
  const low = next32(state) >>> 6;
  return (high * 2 ** 26 + low) / 2 ** 53;
}

export function nextBelow(state: Int32Array, bound: number): number {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  let x = next32(state);
  while (x >= limit) x = next32(state);
  return x % bound;
}

/** A state of its own, ready to draw from. */
export function prng(seed: number): Int32Array {
  const state = new Int32Array(PRNG_WORDS);
  seedPrng(state, seed);
  return state;
}
