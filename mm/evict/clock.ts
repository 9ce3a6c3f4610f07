/**
 * CLOCK, or second chance (Corbato 1968): a hit only sets a bit; the hand clears bits until it finds a page without.
 * The ring is kept as a queue whose back is under the hand: passing a page moves it to the front, and a new page enters
 * behind the hand. The hand passes a busy page and leaves its bit.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { Queues } from "./queues.ts";

class Clock implements EvictPolicy {
  private readonly queues: Queues;
  private readonly referenced: Uint8Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 1);
    this.referenced = memory.uint8(options.capacity);
  }

  reset(): void {
    this.queues.reset();
    this.referenced.fill(0);
  }

  hit(slot: number): void {
    this.referenced[slot] = 1;
  }

  /** Two rounds are enough: the first clears every bit. */
  evict(): number {
    const { queues, referenced } = this;
    for (let left = queues.count[0]! * 2; left > 0; left--) {
      const slot = queues.oldest(0);
      if (queues.busy[slot] === 0) {
        if (referenced[slot] === 0) {
          queues.del(slot);
          return slot;
        }
        referenced[slot] = 0;
      }
      queues.move(0, slot);
    }
    return NO_SLOT;
  }

  insert(slot: number): void {
    this.queues.add(0, slot);
    this.referenced[slot] = 0;
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
  }
}

export const clock: EvictPolicyType = {
  name: "clock",
  help: "second chance: a reference bit under a turning hand (Corbato 1968)",
  create: (options, memory) => new Clock(options, memory),
};
