/**
 * SIEVE (Zhang, Yang, Yue, Vigfusson and Rashmi, NSDI 2024): a FIFO queue, a visited bit, and a hand that walks from the
 * back to the front clearing bits, evicts where it finds none and stays there: survivors do not move, so that new pages
 * and old ones are sifted separately. The hand steps over a busy page and leaves its bit.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { Queues } from "./queues.ts";

class Sieve implements EvictPolicy {
  private readonly queues: Queues;
  private readonly visited: Uint8Array;
  /** [0] slot the hand is on, or the queue's head node: start at the back. */
  private readonly hand: Int32Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 1);
    this.visited = memory.uint8(options.capacity);
    this.hand = memory.int32(1);
  }

  reset(): void {
    this.queues.reset();
    this.visited.fill(0);
    this.hand[0] = this.queues.capacity;
  }

  hit(slot: number): void {
    this.visited[slot] = 1;
  }

  /** Two rounds are enough: the first clears every bit. */
  evict(): number {
    const { queues, visited } = this;
    const head = queues.capacity;
    let slot = this.hand[0]!;
    for (let left = queues.count[0]! * 2; left > 0; left--) {
      if (slot === head) slot = queues.prev[head]!;
      if (queues.busy[slot] === 0) {
        if (visited[slot] === 0) {
          this.hand[0] = queues.prev[slot]!;
          queues.del(slot);
          return slot;
        }
        visited[slot] = 0;
      }
      slot = queues.prev[slot]!;
    }
    this.hand[0] = slot;
    return NO_SLOT;
  }

  insert(slot: number): void {
    this.queues.add(0, slot);
    this.visited[slot] = 0;
  }

  remove(slot: number): void {
    if (this.hand[0] === slot) this.hand[0] = this.queues.prev[slot]!;
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
    const hand = this.hand[0]!;
    assert(hand === this.queues.capacity || this.queues.where[hand] === 1, "sieve: the hand is on a page that is gone");
  }
}

export const sieve: EvictPolicyType = {
  name: "sieve",
  help: "a FIFO sifted by a hand over visited bits (Zhang et al., NSDI 2024)",
  create: (options, memory) => new Sieve(options, memory),
};
