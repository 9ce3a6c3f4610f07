/**
 * A trace through a policy: the least host there is. Keys are dense (0..keys), so that the host's own index is one array
 * and the time spent is the policy's. What a policy answers is checked: a slot that is free, or none, is a panic.
 */
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { assert } from "../../kernel/lib/assert.ts";

export interface Trace {
  readonly name: string;
  /** Keys in order of request, each in 0..keys. */
  readonly requests: Int32Array;
  readonly keys: number;
}

export interface ReplayResult {
  readonly requests: number;
  readonly hits: number;
  readonly misses: number;
}

export function replay(type: EvictPolicyType, trace: Trace, capacity: number, seed: number): ReplayResult {
  const policy = type.create({ capacity, seed, busy: new Uint8Array(capacity) }, growingArena());
  policy.reset();
  const { requests } = trace;
  const slotOf = new Int32Array(trace.keys).fill(-1);
  const keyOf = new Int32Array(capacity).fill(-1);
  let used = 0;
  let hits = 0;
  for (let at = 0; at < requests.length; at++) {
    const key = requests[at]!;
    let slot = slotOf[key]!;
    if (slot >= 0) {
      hits++;
      policy.hit(slot);
      continue;
    }
    if (used < capacity) {
      slot = used++;
    } else {
      slot = policy.evict(key);
      assert(slot >= 0 && slot < capacity && keyOf[slot]! >= 0, "evict() returned a slot that holds no page");
      slotOf[keyOf[slot]!] = -1;
    }
    keyOf[slot] = key;
    slotOf[key] = slot;
    policy.insert(slot, key);
  }
  policy.check();
  return { requests: requests.length, hits, misses: requests.length - hits };
}
