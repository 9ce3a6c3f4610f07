/**
 * The host that the contract and the comparison with the slow models drive: slots, an index by key, pins, and plain
 * operations on them. Each step asserts what every policy owes its host.
 */
import { expect } from "vitest";
import type { EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_KEY } from "../../kernel/abi/evict.ts";
import { type GrowingArena, growingArena, attach } from "../../kernel/lib/growing_arena.ts";

export type EvictOp =
  | { readonly op: "get"; readonly key: number }
  | { readonly op: "drop"; readonly key: number }
  | { readonly op: "pin"; readonly key: number }
  | { readonly op: "unpin"; readonly key: number }
  | { readonly op: "shrink" };

export class EvictHost {
  readonly capacity: number;
  readonly memory: GrowingArena;
  readonly busy: Uint8Array;
  readonly policy: EvictPolicy;
  readonly slotOf = new Map<number, number>();
  private readonly keyOf: (number | undefined)[];
  private readonly free: number[] = [];
  misses = 0;

  constructor(type: EvictPolicyType, capacity: number, seed: number, from?: EvictHost) {
    this.capacity = capacity;
    this.busy = new Uint8Array(capacity);
    this.keyOf = Array.from({ length: capacity }, () => undefined);
    this.memory = from === undefined ? growingArena() : attach(from.memory.buffers);
    this.policy = type.create({ capacity, seed, busy: this.busy }, this.memory);
    if (from === undefined) {
      this.policy.reset();
      for (let slot = capacity - 1; slot >= 0; slot--) this.free.push(slot);
      return;
    }
    this.busy.set(from.busy);
    this.keyOf = [...from.keyOf];
    this.free = [...from.free];
    this.misses = from.misses;
    for (const [key, slot] of from.slotOf) this.slotOf.set(key, slot);
  }

  pinned(key: number): boolean {
    const slot = this.slotOf.get(key);
    return slot !== undefined && this.busy[slot] !== 0;
  }

  /** Asks for a victim; checks the answer; returns its key, undefined when everything is pinned. */
  private evict(key: number): number | undefined {
    const slot = this.policy.evict(key);
    if (slot === -1) {
      const idle = [...this.slotOf.values()].filter((resident) => this.busy[resident] === 0);
      if (idle.length > 0) expect.fail(`evict() found nothing although slot ${idle[0]} was idle`);
      return undefined;
    }
    const victim = this.keyOf[slot];
    if (victim === undefined || this.busy[slot] !== 0)
      expect.fail(`evict() returned slot ${slot}, which ${victim === undefined ? "is not resident" : "is busy"}`);
    this.forget(victim, slot);
    return victim;
  }

  private forget(key: number, slot: number): void {
    this.slotOf.delete(key);
    this.keyOf[slot] = undefined;
    this.free.push(slot);
  }

  /** What the operation did, in text: equal for two hosts that agree. */
  step(operation: EvictOp): string {
    const result = this.run(operation);
    this.policy.check();
    return result;
  }

  private run(operation: EvictOp): string {
    if (operation.op === "shrink") return `shrink ${this.evict(NO_KEY) ?? "none"}`;
    const { op, key } = operation;
    const slot = this.slotOf.get(key);
    if (op === "get") {
      if (slot !== undefined) {
        this.policy.hit(slot);
        return "hit";
      }
      this.misses++;
      let victim: number | undefined;
      if (this.free.length === 0) {
        victim = this.evict(key);
        if (victim === undefined) return "miss, all pinned";
      }
      const into = this.free.pop()!;
      this.slotOf.set(key, into);
      this.keyOf[into] = key;
      this.policy.insert(into, key);
      return `miss, evicted ${victim ?? "none"}`;
    }
    if (slot === undefined) return "absent";
    if (op === "drop") {
      this.busy[slot] = 0;
      this.policy.remove(slot);
      this.forget(key, slot);
    } else this.busy[slot] = op === "pin" ? 1 : 0;
    return op;
  }
}
