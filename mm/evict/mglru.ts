/**
 * Generations as in Linux's multi-generational LRU, for pages read and written by calls (mm/vmscan.c, lru_gen_*).
 *
 *   minSeq            minSeq+1       ...      maxSeq          up to four generations, a queue each (sequence mod 4)
 *   [.. oldest] evict  <- protected                           a page's tier: 0, 1, 2, 3 for 0, 1, 2-3, 4+ uses since
 *
 * A page enters the oldest generation that is at most three behind the youngest (a page whose return shows that it was
 * in use, two behind). Eviction looks at the back of the oldest: a page of a tier above the threshold is protected, it
 * goes to the next generation and its uses are forgotten. The threshold is a controller: per tier, refaults against
 * evictions; tiers that refault no more than twice as badly as tier 0 are evicted. An empty oldest generation makes
 * minSeq go on, halving the statistics into an average; fewer than three generations make a new youngest.
 * A busy page goes to the next generation too. Like, not the same: no page tables, no batches, no anonymous pages.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { GhostRing } from "./ghost.ts";
import { Queues } from "./queues.ts";

/** MAX_NR_GENS, MIN_NR_GENS, MAX_NR_TIERS, MIN_LRU_BATCH. */
const GENS = 4;
const GENS_MIN = 2;
const TIERS = 4;
const BATCH = 64;
/** Uses counted beyond the first; LRU_REFS_WIDTH is 2. */
const USES_MAX = 4;
const USES_BITS = 3;
/** A shadow with this many uses comes back as part of the working set. */
const WORKING_USES = 3;
/** Rows of `seq`. */
const MIN = 0;
const MAX = 1;
const SEQ_MASK = 0x0fffffff;
/** Linux keeps a node of 64 shadows for every 8 pages: this many times the cache where pages lie densely in their files. */
const SHADOWS_PER_SLOT = 8;

const tierOf = (uses: number): number => (uses === 0 ? 0 : uses === 1 ? 1 : uses < 4 ? 2 : 3);

class Mglru implements EvictPolicy {
  private readonly queues: Queues;
  private readonly seq: Int32Array;
  private readonly uses: Uint8Array;
  private readonly keys: Float64Array;
  /** Key -> minSeq when it left << USES_BITS | uses. */
  private readonly shadows: GhostRing;
  /** Per tier, since minSeq last moved: refaults; pages evicted and protected. Then the averages of both. */
  private readonly refaulted: Float64Array;
  private readonly passed: Float64Array;
  private readonly avgRefaulted: Float64Array;
  private readonly avgPassed: Float64Array;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, GENS);
    this.seq = memory.int32(2);
    this.uses = memory.uint8(options.capacity);
    this.keys = memory.float64(options.capacity);
    this.shadows = new GhostRing(memory, options.capacity * SHADOWS_PER_SLOT);
    this.refaulted = memory.float64(TIERS);
    this.passed = memory.float64(TIERS);
    this.avgRefaulted = memory.float64(TIERS);
    this.avgPassed = memory.float64(TIERS);
  }

  reset(): void {
    this.queues.reset();
    this.seq[MIN] = 0;
    this.seq[MAX] = GENS_MIN + 1;
    this.shadows.reset();
    for (const statistics of [this.refaulted, this.passed, this.avgRefaulted, this.avgPassed]) statistics.fill(0);
  }

  hit(slot: number): void {
    if (this.uses[slot]! < USES_MAX) this.uses[slot]!++;
  }

  /** get_tier_idx(): the highest tier that may be evicted. */
  private threshold(): number {
    const refaults = this.avgRefaulted[0]! + this.refaulted[0]!;
    const total = this.avgPassed[0]! + this.passed[0]!;
    let tier = 1;
    for (; tier < TIERS; tier++) {
      const own = this.avgRefaulted[tier]! + this.refaulted[tier]!;
      const ownTotal = this.avgPassed[tier]! + this.passed[tier]!;
      // positive_ctrl_err() with gains 1 and 2: too few refaults to judge, or a rate that is no worse.
      if (own >= BATCH && own * (total + BATCH) > (refaults + 1) * ownTotal * 2) break;
    }
    return tier - 1;
  }

  /** Leaves at least three generations and a page in the oldest. Some page must be resident. */
  private age(): void {
    const { queues, seq } = this;
    for (;;) {
      if (seq[MIN]! + GENS_MIN > seq[MAX]!) seq[MAX]!++;
      if (queues.count[seq[MIN]! % GENS]! > 0) return;
      seq[MIN]!++;
      for (let tier = 0; tier < TIERS; tier++) {
        this.avgRefaulted[tier] = Math.floor((this.avgRefaulted[tier]! + this.refaulted[tier]!) / 2);
        this.avgPassed[tier] = Math.floor((this.avgPassed[tier]! + this.passed[tier]!) / 2);
      }
      this.refaulted.fill(0);
      this.passed.fill(0);
    }
  }

  evict(): number {
    const { queues, uses, seq } = this;
    let residents = 0;
    for (let generation = 0; generation < GENS; generation++) residents += queues.count[generation]!;
    if (residents === 0) return NO_SLOT;
    const threshold = this.threshold();
    // A page is met at most once a generation; after its first protection its uses are 0.
    for (let left = residents * (GENS + 2); left > 0; left--) {
      this.age();
      const oldest = seq[MIN]! % GENS;
      const slot = queues.oldest(oldest);
      const tier = tierOf(uses[slot]!);
      const busy = queues.busy[slot] !== 0;
      if (!busy) this.passed[tier]!++;
      if (!busy && tier <= threshold) {
        queues.del(slot);
        this.shadows.add(this.keys[slot]!, ((seq[MIN]! & SEQ_MASK) << USES_BITS) | uses[slot]!);
        return slot;
      }
      if (!busy) uses[slot] = 0;
      queues.move((oldest + 1) % GENS, slot);
    }
    return NO_SLOT;
  }

  insert(slot: number, key: number): void {
    const { seq } = this;
    const shadow = this.shadows.take(key);
    let working = 0;
    if (shadow >= 0 && shadow >>> USES_BITS === (seq[MIN]! & SEQ_MASK)) {
      const before = shadow & (2 ** USES_BITS - 1);
      this.refaulted[tierOf(before)]!++;
      if (before >= WORKING_USES) working = 1;
    }
    this.keys[slot] = key;
    this.uses[slot] = working === 1 ? USES_MAX : 0;
    this.queues.add(Math.max(seq[MAX]! - (GENS - working) + 1, seq[MIN]!) % GENS, slot);
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
    this.shadows.check();
    const generations = this.seq[MAX]! - this.seq[MIN]! + 1;
    assert(generations >= GENS_MIN && generations <= GENS, "mglru: too few or too many generations");
    for (let seq = this.seq[MAX]! + 1; seq < this.seq[MIN]! + GENS; seq++)
      assert(this.queues.count[seq % GENS] === 0, "mglru: a page is in a generation that is not there");
  }
}

export const mglru: EvictPolicyType = {
  name: "mglru",
  help: "four generations, tiers protected by a refault controller (after Linux's lru_gen)",
  create: (options, memory) => new Mglru(options, memory),
};
