/** Least recently used: one queue in order of last use. */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { Queues } from "./queues.ts";

class Lru implements EvictPolicy {
  private readonly queues: Queues;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 1);
  }

  reset(): void {
    this.queues.reset();
  }

  hit(slot: number): void {
    this.queues.move(0, slot);
  }

  evict(): number {
    return this.queues.takeIdle(0);
  }

  insert(slot: number): void {
    this.queues.add(0, slot);
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
  }
}

export const lru: EvictPolicyType = {
  name: "lru",
  help: "least recently used",
  create: (options, memory) => new Lru(options, memory),
};
