/**
 * Least frequently used, the least recent of these; a page's count begins anew when it comes back. Constant time by
 * buckets in order of frequency, each a list of slots (Shah, Mitra and Matani 2010). Busy pages are stepped over.
 *
 *   head <-> bucket f=1 <-> bucket f=2 <-> bucket f=7 <-> head       capacity + 1 bucket nodes
 *               |              |              |
 *            slots          slots          slots                     newest in front
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { listAdd, listCount, listDel, listInit } from "../../kernel/lib/slot_list.ts";

class Lfu implements EvictPolicy {
  private readonly capacity: number;
  private readonly busy: Uint8Array;
  /** Slots 0..capacity, then the heads of the buckets' lists. */
  private readonly next: Int32Array;
  private readonly prev: Int32Array;
  /** Buckets 0..capacity in order of frequency; node capacity + 1 is the head of their list. */
  private readonly after: Int32Array;
  private readonly before: Int32Array;
  private readonly frequency: Int32Array;
  private readonly members: Int32Array;
  /** Bucket of each slot; -1: not resident. */
  private readonly bucketOf: Int32Array;
  /** Unused buckets, a stack of [0] entries from [1]. */
  private readonly spare: Int32Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    const capacity = options.capacity;
    this.capacity = capacity;
    this.busy = options.busy;
    // One bucket more than slots: a page leaving a bucket of its own needs the next one first.
    this.next = memory.int32(capacity * 2 + 1);
    this.prev = memory.int32(capacity * 2 + 1);
    this.after = memory.int32(capacity + 2);
    this.before = memory.int32(capacity + 2);
    this.frequency = memory.int32(capacity + 2);
    this.members = memory.int32(capacity + 1);
    this.bucketOf = memory.int32(capacity);
    this.spare = memory.int32(capacity + 2);
  }

  private get head(): number {
    return this.capacity + 1;
  }

  reset(): void {
    listInit(this.after, this.before, this.head);
    this.frequency[this.head] = 0;
    this.bucketOf.fill(-1);
    this.spare[0] = this.capacity + 1;
    for (let bucket = 0; bucket <= this.capacity; bucket++) this.spare[bucket + 1] = bucket;
  }

  /** The bucket of `frequency`, which belongs right behind bucket `at`; made when it is not there. */
  private bucketAfter(at: number, frequency: number): number {
    const there = this.after[at]!;
    if (there !== this.head && this.frequency[there] === frequency) return there;
    const bucket = this.spare[this.spare[0]!--]!;
    listAdd(this.after, this.before, at, bucket);
    listInit(this.next, this.prev, this.capacity + bucket);
    this.frequency[bucket] = frequency;
    this.members[bucket] = 0;
    return bucket;
  }

  private enter(slot: number, bucket: number): void {
    listAdd(this.next, this.prev, this.capacity + bucket, slot);
    this.members[bucket]!++;
    this.bucketOf[slot] = bucket;
  }

  private leave(slot: number, bucket: number): void {
    listDel(this.next, this.prev, slot);
    if (--this.members[bucket]! > 0) return;
    listDel(this.after, this.before, bucket);
    this.spare[++this.spare[0]!] = bucket;
  }

  hit(slot: number): void {
    const bucket = this.bucketOf[slot]!;
    const frequency = Math.min(this.frequency[bucket]! + 1, 0x7fffffff);
    if (frequency === this.frequency[bucket]!) return;
    const to = this.bucketAfter(bucket, frequency);
    this.leave(slot, bucket);
    this.enter(slot, to);
  }

  evict(): number {
    for (let bucket = this.after[this.head]!; bucket !== this.head; bucket = this.after[bucket]!) {
      const list = this.capacity + bucket;
      for (let slot = this.prev[list]!; slot !== list; slot = this.prev[slot]!) {
        if (this.busy[slot] !== 0) continue;
        this.remove(slot);
        return slot;
      }
    }
    return NO_SLOT;
  }

  insert(slot: number): void {
    assert(this.bucketOf[slot] === -1, "lfu: inserted a slot that is resident");
    this.enter(slot, this.bucketAfter(this.head, 1));
  }

  remove(slot: number): void {
    const bucket = this.bucketOf[slot]!;
    assert(bucket >= 0, "lfu: removed a slot that is not resident");
    this.leave(slot, bucket);
    this.bucketOf[slot] = -1;
  }

  check(): void {
    const { after, before, head, capacity } = this;
    const buckets = listCount(after, before, head, capacity);
    assert(buckets >= 0 && this.spare[0] === capacity + 1 - buckets, "lfu: a bucket is lost");
    let residents = 0;
    for (let bucket = after[head]!, last = 0; bucket !== head; bucket = after[bucket]!) {
      assert(this.frequency[bucket]! > last, "lfu: buckets are not in order of frequency");
      last = this.frequency[bucket]!;
      const members = listCount(this.next, this.prev, capacity + bucket, capacity);
      assert(members > 0 && members === this.members[bucket], "lfu: an empty bucket, or a wrong count");
      residents += members;
    }
    for (const bucket of this.bucketOf) if (bucket >= 0) residents--;
    assert(residents === 0, "lfu: a resident is in no bucket");
  }
}

export const lfu: EvictPolicyType = {
  name: "lfu",
  help: "least frequently used while resident, in constant time (Shah et al. 2010)",
  create: (options, memory) => new Lfu(options, memory),
};
