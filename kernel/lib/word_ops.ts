/**
 * Shared words as a parameter, beside the locks of lock_ops.ts: where several workers share them, Atomics; where one thread
 * steps all CPUs, plain loads and stores, which no other thread can come between. Each operation returns the word as it was.
 */
export interface WordOps {
  load(words: Int32Array, at: number): number;
  store(words: Int32Array, at: number, value: number): void;
  exchange(words: Int32Array, at: number, value: number): number;
  compareExchange(words: Int32Array, at: number, expected: number, value: number): number;
  or(words: Int32Array, at: number, bits: number): number;
  and(words: Int32Array, at: number, bits: number): number;
}

export const atomicWords: WordOps = {
  load: (words, at) => Atomics.load(words, at),
  store: (words, at, value) => void Atomics.store(words, at, value),
  exchange: (words, at, value) => Atomics.exchange(words, at, value),
  compareExchange: (words, at, expected, value) => Atomics.compareExchange(words, at, expected, value),
  or: (words, at, bits) => Atomics.or(words, at, bits),
  and: (words, at, bits) => Atomics.and(words, at, bits),
};

export const plainWords: WordOps = {
  load: (words, at) => words[at]!,
  store: (words, at, value) => {
    words[at] = value;
  },
  exchange: (words, at, value) => {
    const was = words[at]!;
    words[at] = value;
    return was;
  },
  compareExchange: (words, at, expected, value) => {
    const was = words[at]!;
    if (was === expected) words[at] = value;
    return was;
  },
  or: (words, at, bits) => {
    const was = words[at]!;
    words[at] = was | bits;
    return was;
  },
  and: (words, at, bits) => {
    const was = words[at]!;
    words[at] = was & bits;
    return was;
  },
};
