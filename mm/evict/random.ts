/**
 * Any page, with equal chance. Residents lie densely in an array; one draw gives a place, and busy slots are stepped
 * over from there, so that a draw is never repeated.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { nextBelow, PRNG_WORDS, seedPrng } from "../../kernel/lib/prng.ts";

class Random implements EvictPolicy {
  private readonly seed: number;
  private readonly busy: Uint8Array;
  /** slots[0..count) are resident, in no order; placeOf is its inverse, -1 for the others. */
  private readonly slots: Int32Array;
  private readonly placeOf: Int32Array;
  private readonly count: Int32Array;
  private readonly prng: Int32Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.seed = options.seed;
    this.busy = options.busy;
    this.slots = memory.int32(options.capacity);
    this.placeOf = memory.int32(options.capacity);
    this.count = memory.int32(1);
    this.prng = memory.int32(PRNG_WORDS);
  }

  reset(): void {
    this.placeOf.fill(-1);
    this.count[0] = 0;
    seedPrng(this.prng, this.seed);
  }

  hit(): void {}

  evict(): number {
    const count = this.count[0]!;
    if (count === 0) return NO_SLOT;
    let place = nextBelow(this.prng, count);
    for (let left = count; left > 0; left--) {
      const slot = this.slots[place]!;
      if (this.busy[slot] === 0) {
        this.remove(slot);
        return slot;
      }
      place = place + 1 === count ? 0 : place + 1;
    }
    return NO_SLOT;
  }

  insert(slot: number): void {
    assert(this.placeOf[slot] === -1, "random: inserted a slot that is resident");
    this.placeOf[slot] = this.count[0]!;
    this.slots[this.count[0]!++] = slot;
  }

  /** The last one takes the place of the one that goes. */
  remove(slot: number): void {
    const place = this.placeOf[slot]!;
    assert(place >= 0, "random: removed a slot that is not resident");
    const last = this.slots[--this.count[0]!]!;
    this.slots[place] = last;
    this.placeOf[last] = place;
    this.placeOf[slot] = -1;
  }

  check(): void {
    let resident = 0;
    for (const place of this.placeOf) if (place >= 0) resident++;
    assert(resident === this.count[0], "random: count is not the number of residents");
    for (let place = 0; place < resident; place++)
      assert(this.placeOf[this.slots[place]!] === place, "random: a resident's place is not its own");
  }
}

export const random: EvictPolicyType = {
  name: "random",
  help: "any page with equal chance",
  create: (options, memory) => new Random(options, memory),
};
