/**
 * The lock as a parameter. Structures that live in shared memory take their lock operations when they are made: where
 * several workers share them, the futex lock; where one thread steps all CPUs, none. The structure cannot tell.
 */
import { lock, tryLock, unlock } from "./lock.ts";

export interface LockOps {
  /** Returns holding the lock word `words[at]`. */
  lock(words: Int32Array, at: number): void;
  /** True: it was free and is ours. */
  tryLock(words: Int32Array, at: number): boolean;
  unlock(words: Int32Array, at: number): void;
}

export const futexLocks: LockOps = { lock, tryLock, unlock };

const nothing = (_words: Int32Array, _at: number): void => undefined;

/** For a machine whose CPUs are stepped by one thread: the code between two waits is atomic already. */
export const noLocks: LockOps = { lock: nothing, tryLock: () => true, unlock: nothing };
