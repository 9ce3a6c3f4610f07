/**
 * An eviction policy: which of the resident pages goes when a slot is wanted. The page cache and the trace replayer are
 * its hosts; a user's own policy has the same face and passes the same contract test (test/contract/evict_policy.ts).
 *
 * The host owns `capacity` slots, knows which key lies in which slot, and calls:
 *
 *   hit(slot)          the page in `slot` was used again
 *   evict(key)         a slot is wanted for `key` (NO_KEY: memory is wanted, nothing comes in). Returns a resident slot
 *                      that is not busy and forgets it, or -1 when every resident slot is busy. May be called while
 *                      slots are free, and several times in a row
 *   insert(slot, key)  `key` missed and now lies in `slot`: its first use. After evict(key), if one was needed
 *   remove(slot)       the page is gone for a reason of its own (truncated): no ghost is left
 *   check()            panics when the policy's own structures disagree
 *
 * `busy[slot]` is the host's: not 0 while the slot may not go (pinned, dirty, in flight). It changes between calls.
 * All state lies in arrays asked of `memory` in `create`, always the same lengths in the same order, so that the host
 * can share, save and restore them; `create` writes nothing, `reset` empties. Keys are integers from 0 to 2^53 - 1.
 */

/** evict() on behalf of nobody. No key is negative. */
export const NO_KEY = -1;
/** evict() found nothing. */
export const NO_SLOT = -1;

export interface EvictMemory {
  int32(length: number): Int32Array;
  float64(length: number): Float64Array;
  uint8(length: number): Uint8Array;
}

export interface EvictOptions {
  /** Slots, 1 or more. */
  readonly capacity: number;
  /** For policies that draw lots. */
  readonly seed: number;
  /** One byte a slot, written by the host. */
  readonly busy: Uint8Array;
}

export interface EvictPolicy {
  reset(): void;
  hit(slot: number): void;
  evict(key: number): number;
  insert(slot: number, key: number): void;
  remove(slot: number): void;
  check(): void;
}

/** What a policy's file exports as `policy`. */
export interface EvictPolicyType {
  /** As it is named on the command line: lower case, digits, `-`. */
  readonly name: string;
  /** One line: the idea and its source. */
  readonly help: string;
  create(options: EvictOptions, memory: EvictMemory): EvictPolicy;
}
