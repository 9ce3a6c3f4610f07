/** First in, first out: one queue, hits change nothing. */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { Queues } from "./queues.ts";

class Fifo implements EvictPolicy {
  private readonly queues: Queues;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 1);
  }

  reset(): void {
    this.queues.reset();
  }

  hit(): void {}

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

export const fifo: EvictPolicyType = {
  name: "fifo",
  help: "first in, first out",
  create: (options, memory) => new Fifo(options, memory),
};
