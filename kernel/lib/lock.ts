/**
 * Futex word lock on shared memory. Word: 0 free, 1 held, 2 held and someone sleeps (Drepper, "Futexes are tricky",
 * mutex 2). Spins SPINS times before it sleeps: long enough for a run-queue section, short enough not to collapse when
 * there are more workers than cores. The holder is the caller's business; `owner` words are kept by lockdep in tests.
 *
 * - lock(words, at)     returns holding the word
 * - tryLock(words, at)  true if taken
 * - unlock(words, at)   panics when the word was free
 */
import { assert } from "./assert.ts";

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;
const SPINS = 100;

export function tryLock(words: Int32Array, at: number): boolean {
  return Atomics.compareExchange(words, at, FREE, HELD) === FREE;
}

export function lock(words: Int32Array, at: number): void {
  for (let spin = 0; spin < SPINS; spin++) {
    if (words[at] === FREE && Atomics.compareExchange(words, at, FREE, HELD) === FREE) return;
  }
  while (Atomics.exchange(words, at, CONTENDED) !== FREE) Atomics.wait(words, at, CONTENDED);
}

export function unlock(words: Int32Array, at: number): void {
  const seen = Atomics.exchange(words, at, FREE);
  assert(seen !== FREE, "unlock: the lock was free");
  if (seen === CONTENDED) Atomics.notify(words, at, 1);
}
