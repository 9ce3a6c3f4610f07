/** Plain words must be told from atomic ones by nothing but their speed. */
import { expect, it } from "vitest";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { atomicWords, plainWords } from "../../../kernel/lib/word_ops.ts";

const WORDS = 4;
const STEPS = 5_000;

it("plain and atomic words agree, step by step, over random operations", () => {
  const random = prng(1);
  const plain = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  const atomic = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  for (let step = 0; step < STEPS; step++) {
    const at = nextBelow(random, WORDS);
    const value = nextBelow(random, 8) - 4;
    const expected = nextBelow(random, 8) - 4;
    const outcomes = ([plainWords, atomicWords] as const).map((ops, side) => {
      const words = side === 0 ? plain : atomic;
      switch (step % 6) {
        case 0:
          return ops.load(words, at);
        case 1:
          return ops.store(words, at, value);
        case 2:
          return ops.exchange(words, at, value);
        case 3:
          return ops.compareExchange(words, at, expected, value);
        case 4:
          return ops.or(words, at, value);
        default:
          return ops.and(words, at, value);
      }
    });
    expect(outcomes[0]).toBe(outcomes[1]);
    expect(plain).toEqual(atomic);
  }
});
