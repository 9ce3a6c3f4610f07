/**
 * The slots of a policy in a few queues: each slot is in one queue or in none. What FIFO, LRU, CLOCK, the two lists,
 * S3-FIFO, SIEVE and the generations are made of. Constant time each.
 *
 * - add(queue, slot), del(slot), move(queue, slot)    to the front (newest)
 * - oldest(queue)     slot at the back; panics when the queue is empty
 * - takeIdle(queue)   forgets and returns the oldest slot that is not busy; the busy ones met go to the front, as
 *                     Linux puts back what it could not reclaim. -1: all are busy
 *
 * Invariants (check): counts are the lists' lengths; `where` names the list a slot is in.
 */
import type { EvictMemory, EvictOptions } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { listAdd, listCount, listDel, listInit } from "../../kernel/lib/slot_list.ts";

export class Queues {
  readonly capacity: number;
  readonly busy: Uint8Array;
  /** Links; queue q's head is node capacity + q. */
  readonly next: Int32Array;
  readonly prev: Int32Array;
  /** Slots in each queue. */
  readonly count: Int32Array;
  /** Queue of each slot + 1; 0: in none. */
  readonly where: Uint8Array;

  constructor(options: EvictOptions, memory: EvictMemory, queues: number) {
    this.capacity = options.capacity;
    this.busy = options.busy;
    this.next = memory.int32(options.capacity + queues);
    this.prev = memory.int32(options.capacity + queues);
    this.count = memory.int32(queues);
    this.where = memory.uint8(options.capacity);
  }

  reset(): void {
    for (let queue = 0; queue < this.count.length; queue++) listInit(this.next, this.prev, this.capacity + queue);
    this.count.fill(0);
    this.where.fill(0);
  }

  add(queue: number, slot: number): void {
    assert(this.where[slot] === 0, "Queues.add: the slot is in a queue already");
    listAdd(this.next, this.prev, this.capacity + queue, slot);
    this.where[slot] = queue + 1;
    this.count[queue]!++;
  }

  del(slot: number): void {
    const queue = this.where[slot]! - 1;
    assert(queue >= 0, "Queues.del: the slot is in no queue");
    listDel(this.next, this.prev, slot);
    this.where[slot] = 0;
    this.count[queue]!--;
  }

  move(queue: number, slot: number): void {
    this.del(slot);
    this.add(queue, slot);
  }

  oldest(queue: number): number {
    assert(this.count[queue]! > 0, "Queues.oldest: the queue is empty");
    return this.prev[this.capacity + queue]!;
  }

  takeIdle(queue: number): number {
    for (let left = this.count[queue]!; left > 0; left--) {
      const slot = this.oldest(queue);
      if (this.busy[slot] === 0) {
        this.del(slot);
        return slot;
      }
      this.move(queue, slot);
    }
    return NO_SLOT;
  }

  check(): void {
    let queued = 0;
    for (let queue = 0; queue < this.count.length; queue++) {
      const head = this.capacity + queue;
      assert(
        listCount(this.next, this.prev, head, this.capacity) === this.count[queue],
        "Queues: links or count wrong",
      );
      for (let slot = this.next[head]!; slot !== head; slot = this.next[slot]!)
        assert(this.where[slot] === queue + 1, "Queues: a slot is in another queue than it says");
      queued += this.count[queue]!;
    }
    let placed = 0;
    for (let slot = 0; slot < this.capacity; slot++) if (this.where[slot] !== 0) placed++;
    assert(placed === queued, "Queues: a slot says it is in a queue and is in none");
  }
}
