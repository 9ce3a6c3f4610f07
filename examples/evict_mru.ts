/**
 * A policy of one's own: most recently used goes first, the best there is for a loop somewhat larger than the cache.
 * Run it: orrery mm evict --policy examples/evict_mru.ts --trace loop --size 1000
 *
 * A stack of slots in order of last use; all state in arrays asked of `memory`, so that it can be saved and shared.
 */
import type { EvictPolicyType } from "../kernel/abi/evict.ts";

export const policy: EvictPolicyType = {
  name: "mru",
  help: "most recently used goes first: for loops",
  create({ capacity, busy }, memory) {
    const above = memory.int32(capacity + 1);
    const below = memory.int32(capacity + 1);
    const top = capacity;
    const pull = (slot: number): void => {
      above[below[slot]!] = above[slot]!;
      below[above[slot]!] = below[slot]!;
    };
    const push = (slot: number): void => {
      below[slot] = below[top]!;
      above[slot] = top;
      above[below[top]!] = slot;
      below[top] = slot;
    };
    return {
      reset(): void {
        above[top] = top;
        below[top] = top;
      },
      hit(slot): void {
        pull(slot);
        push(slot);
      },
      evict(): number {
        for (let slot = below[top]!; slot !== top; slot = below[slot]!) {
          if (busy[slot] !== 0) continue;
          pull(slot);
          return slot;
        }
        return -1;
      },
      insert: push,
      remove: pull,
      check(): void {
        if (above[below[top]!] !== top) throw new Error("mru: the stack's links disagree");
      },
    };
  },
};
