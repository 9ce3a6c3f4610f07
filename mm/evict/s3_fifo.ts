/**
 * S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023): a small FIFO of a tenth filters pages used once; what was used
 * more than once in it goes to the main FIFO, what was not leaves a ghost; a ghost's page enters main at once. Main
 * gives a page one more round for each use, three at most.
 *
 *   miss -> small -(used twice or more)-> main -(used)-> main again
 *             \-(else)-> gone, key to ghost            \-(else)-> gone
 *
 * One page goes per evict(): when promotion overfills main, main's victim is the one. A busy page goes to the front.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { GhostRing } from "./ghost.ts";
import { Queues } from "./queues.ts";

const SMALL = 0;
const MAIN = 1;
const USES_MAX = 3;

class S3Fifo implements EvictPolicy {
  private readonly queues: Queues;
  private readonly uses: Uint8Array;
  private readonly keys: Float64Array;
  private readonly ghost: GhostRing;
  private readonly smallMax: number;
  private readonly mainMax: number;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.queues = new Queues(options, memory, 2);
    this.uses = memory.uint8(options.capacity);
    this.keys = memory.float64(options.capacity);
    this.smallMax = Math.max(1, Math.floor(options.capacity / 10));
    this.mainMax = Math.max(1, options.capacity - this.smallMax);
    this.ghost = new GhostRing(memory, this.mainMax);
  }

  reset(): void {
    this.queues.reset();
    this.uses.fill(0);
    this.ghost.reset();
  }

  hit(slot: number): void {
    if (this.uses[slot]! < USES_MAX) this.uses[slot]!++;
  }

  evict(): number {
    const { queues } = this;
    const first = queues.count[SMALL]! >= this.smallMax ? this.fromSmall() : this.fromMain();
    if (first !== NO_SLOT) return first;
    const second = this.fromSmall();
    return second === NO_SLOT ? this.fromMain() : second;
  }

  private fromSmall(): number {
    const { queues, uses } = this;
    for (let left = queues.count[SMALL]!; left > 0; left--) {
      const slot = queues.oldest(SMALL);
      if (queues.busy[slot] !== 0) {
        queues.move(SMALL, slot);
      } else if (uses[slot]! > 1) {
        uses[slot] = 0;
        queues.move(MAIN, slot);
        if (queues.count[MAIN]! <= this.mainMax) continue;
        const victim = this.fromMain();
        if (victim !== NO_SLOT) return victim;
      } else {
        queues.del(slot);
        this.ghost.add(this.keys[slot]!, 0);
        return slot;
      }
    }
    return NO_SLOT;
  }

  /** USES_MAX + 1 rounds are enough: each takes one use from every page. */
  private fromMain(): number {
    const { queues, uses } = this;
    for (let left = queues.count[MAIN]! * (USES_MAX + 1); left > 0; left--) {
      const slot = queues.oldest(MAIN);
      if (queues.busy[slot] === 0) {
        if (uses[slot] === 0) {
          queues.del(slot);
          return slot;
        }
        uses[slot]!--;
      }
      queues.move(MAIN, slot);
    }
    return NO_SLOT;
  }

  insert(slot: number, key: number): void {
    this.queues.add(this.ghost.take(key) < 0 ? SMALL : MAIN, slot);
    this.uses[slot] = 0;
    this.keys[slot] = key;
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    this.queues.check();
    this.ghost.check();
    for (const uses of this.uses) assert(uses <= USES_MAX, "s3-fifo: more uses than are counted");
  }
}

export const s3Fifo: EvictPolicyType = {
  name: "s3-fifo",
  help: "small and main FIFO with a ghost of keys (Yang et al., SOSP 2023)",
  create: (options, memory) => new S3Fifo(options, memory),
};
