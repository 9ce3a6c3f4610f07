/**
 * Linux's active and inactive lists with refault distance (mm/swap.c, mm/vmscan.c, mm/workingset.c), for file pages that
 * are read and written by calls, not mapped.
 *
 *   miss -> inactive -(second use)-> active        a first use of an inactive page only sets `referenced`
 *             | back                   | back      active is shortened when inactive * ratio < active, or when a page
 *             v                        v           has been activated by a refault since the last eviction
 *      gone, shadow = age          inactive
 *
 * `age` (nonresident_age) grows with each eviction and activation. A page that comes back is activated when no more has
 * happened since it left than there are active pages: with that much more inactive room it would not have left.
 * Linux reclaims in batches of 32 and decides once a batch; here every evict() is its own batch.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { PAGE_SHIFT } from "../../kernel/abi/units.ts";
import { GhostRing } from "./ghost.ts";
import { Queues } from "./queues.ts";

const INACTIVE = 0;
const ACTIVE = 1;
/** Scalars: age, and refault activations since the last evict(). */
const AGE = 0;
const REFAULTS = 1;

/** inactive_is_low(): the ratio grows with the square root of ten times the size in GiB. */
export function inactiveIsLow(inactive: number, active: number): boolean {
  const gib = (inactive + active) >> (30 - PAGE_SHIFT);
  const ratio = gib > 0 ? Math.floor(Math.sqrt(10 * gib)) : 1;
  return inactive * ratio < active;
}

class TwoList implements EvictPolicy {
  private readonly queues: Queues;
  private readonly referenced: Uint8Array;
  private readonly keys: Float64Array;
  /** Key -> age when it left, modulo 2^31. Older entries than `capacity` could not be activated anyway. */
  private readonly shadows: GhostRing;
  private readonly scalars: Int32Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 2);
    this.referenced = memory.uint8(options.capacity);
    this.keys = memory.float64(options.capacity);
    this.shadows = new GhostRing(memory, options.capacity);
    this.scalars = memory.int32(2);
  }

  reset(): void {
    this.queues.reset();
    this.referenced.fill(0);
    this.shadows.reset();
    this.scalars.fill(0);
  }

  private grow(): void {
    this.scalars[AGE] = (this.scalars[AGE]! + 1) & 0x7fffffff;
  }

  /** mark_page_accessed(). */
  hit(slot: number): void {
    if (this.referenced[slot] === 0) {
      this.referenced[slot] = 1;
    } else if (this.queues.where[slot] === INACTIVE + 1) {
      this.queues.move(ACTIVE, slot);
      this.referenced[slot] = 0;
      this.grow();
    }
  }

  evict(): number {
    const { queues, scalars } = this;
    const low = inactiveIsLow(queues.count[INACTIVE]!, queues.count[ACTIVE]!);
    if (queues.count[ACTIVE]! > 0 && (low || scalars[REFAULTS]! > 0)) queues.move(INACTIVE, queues.oldest(ACTIVE));
    scalars[REFAULTS] = 0;
    let slot = queues.takeIdle(INACTIVE);
    if (slot === NO_SLOT) slot = queues.takeIdle(ACTIVE);
    if (slot === NO_SLOT) return NO_SLOT;
    this.shadows.add(this.keys[slot]!, scalars[AGE]!);
    this.grow();
    return slot;
  }

  /** The first use sets `referenced`, as the read that brought the page marks it accessed. */
  insert(slot: number, key: number): void {
    const left = this.shadows.take(key);
    const distance = (this.scalars[AGE]! - left) & 0x7fffffff;
    this.keys[slot] = key;
    this.referenced[slot] = 1;
    if (left >= 0 && distance <= this.queues.count[ACTIVE]!) {
      this.queues.add(ACTIVE, slot);
      this.scalars[REFAULTS]!++;
      this.grow();
    } else {
      this.queues.add(INACTIVE, slot);
    }
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
    this.shadows.check();
  }
}

export const twoList: EvictPolicyType = {
  name: "two-list",
  help: "active and inactive lists with refault distance (Linux, mm/workingset.c)",
  create: (options, memory) => new TwoList(options, memory),
};
