/**
 * The policies once more, slow and obvious: plain arrays of keys, newest first, written from the papers and from Linux's
 * text, not from mm/evict. Keys only: no slots, no links, no bounds but those that the algorithm itself has.
 */
import { NO_KEY } from "../../../kernel/abi/evict.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";

export interface SlowPolicy {
  hit(key: number): void;
  /** Forgets and returns the victim; -1 when all are pinned. */
  evict(key: number, pinned: (key: number) => boolean): number;
  insert(key: number): void;
  remove(key: number): void;
}

const without = (list: readonly number[], key: number): number[] => list.filter((other) => other !== key);

/** The oldest that is not pinned leaves the list, pinned ones met go to the front. [victim or -1, list]. */
function oldestIdle(list: readonly number[], pinned: (key: number) => boolean): [number, number[]] {
  let rest = [...list];
  for (let tries = list.length; tries > 0; tries--) {
    const key = rest.pop()!;
    if (!pinned(key)) return [key, rest];
    rest = [key, ...rest];
  }
  return [-1, rest];
}

class SlowFifo implements SlowPolicy {
  list: number[] = [];
  hit(_key: number): void {}
  evict(_key: number, pinned: (key: number) => boolean): number {
    const [victim, rest] = oldestIdle(this.list, pinned);
    this.list = rest;
    return victim;
  }
  insert(key: number): void {
    this.list = [key, ...this.list];
  }
  remove(key: number): void {
    this.list = without(this.list, key);
  }
}

class SlowLru extends SlowFifo {
  override hit(key: number): void {
    this.list = [key, ...without(this.list, key)];
  }
}

class SlowRandom implements SlowPolicy {
  keys: number[] = [];
  private readonly state: Int32Array;
  constructor(seed: number) {
    this.state = prng(seed);
  }
  hit(): void {}
  evict(_key: number, pinned: (key: number) => boolean): number {
    if (this.keys.length === 0) return -1;
    const start = nextBelow(this.state, this.keys.length);
    const turned = [...this.keys.slice(start), ...this.keys.slice(0, start)];
    const victim = turned.find((key) => !pinned(key)) ?? -1;
    if (victim !== -1) this.remove(victim);
    return victim;
  }
  insert(key: number): void {
    this.keys.push(key);
  }
  remove(key: number): void {
    const last = this.keys.pop()!;
    if (last !== key) this.keys[this.keys.indexOf(key)] = last;
  }
}

class SlowLfu implements SlowPolicy {
  uses = new Map<number, { times: number; last: number }>();
  now = 0;
  hit(key: number): void {
    this.uses.set(key, { times: this.uses.get(key)!.times + 1, last: ++this.now });
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    const idle = [...this.uses].filter(([key]) => !pinned(key));
    idle.sort(([, a], [, b]) => a.times - b.times || a.last - b.last);
    const victim = idle[0]?.[0] ?? -1;
    this.uses.delete(victim);
    return victim;
  }
  insert(key: number): void {
    this.uses.set(key, { times: 1, last: ++this.now });
  }
  remove(key: number): void {
    this.uses.delete(key);
  }
}

/** A ring under a hand: ring[0] is under it; a new page goes right behind it, the last that it will meet. */
class SlowClock implements SlowPolicy {
  ring: { key: number; referenced: boolean }[] = [];
  hit(key: number): void {
    this.ring.find((page) => page.key === key)!.referenced = true;
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    for (let steps = this.ring.length * 2; steps > 0; steps--) {
      const page = this.ring.shift()!;
      if (!pinned(page.key)) {
        if (!page.referenced) return page.key;
        page.referenced = false;
      }
      this.ring.push(page);
    }
    return -1;
  }
  insert(key: number): void {
    this.ring.push({ key, referenced: false });
  }
  remove(key: number): void {
    this.ring = this.ring.filter((page) => page.key !== key);
  }
}

/** Newest first; the hand is an index, -1: start at the end. */
class SlowSieve implements SlowPolicy {
  list: { key: number; visited: boolean }[] = [];
  hand = -1;
  hit(key: number): void {
    this.list.find((page) => page.key === key)!.visited = true;
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    for (let steps = this.list.length * 2; steps > 0; steps--) {
      if (this.hand < 0) this.hand = this.list.length - 1;
      const page = this.list[this.hand]!;
      if (!pinned(page.key)) {
        if (!page.visited) {
          this.list.splice(this.hand, 1);
          this.hand--;
          return page.key;
        }
        page.visited = false;
      }
      this.hand--;
    }
    return -1;
  }
  insert(key: number): void {
    this.list.unshift({ key, visited: false });
    if (this.hand >= 0) this.hand++;
  }
  remove(key: number): void {
    const at = this.list.findIndex((page) => page.key === key);
    this.list.splice(at, 1);
    if (at <= this.hand) this.hand--;
  }
}

/** Active, inactive, and for each page that left the age at which it did. */
class SlowTwoList implements SlowPolicy {
  active: number[] = [];
  inactive: number[] = [];
  referenced = new Set<number>();
  left = new Map<number, number>();
  age = 0;
  refaulted = false;
  hit(key: number): void {
    if (!this.referenced.has(key)) {
      this.referenced.add(key);
    } else if (this.inactive.includes(key)) {
      this.inactive = without(this.inactive, key);
      this.active = [key, ...this.active];
      this.referenced.delete(key);
      this.age++;
    }
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    // Below one GiB of pages the ratio of inactive_is_low() is 1.
    if (this.active.length > 0 && (this.inactive.length < this.active.length || this.refaulted))
      this.inactive = [this.active.pop()!, ...this.inactive];
    this.refaulted = false;
    let victim: number;
    [victim, this.inactive] = oldestIdle(this.inactive, pinned);
    if (victim === -1) [victim, this.active] = oldestIdle(this.active, pinned);
    if (victim !== -1) this.left.set(victim, this.age++);
    return victim;
  }
  insert(key: number): void {
    const left = this.left.get(key);
    this.left.delete(key);
    this.referenced.add(key);
    if (left !== undefined && this.age - left <= this.active.length) {
      this.active = [key, ...this.active];
      this.refaulted = true;
      this.age++;
    } else this.inactive = [key, ...this.inactive];
  }
  remove(key: number): void {
    this.active = without(this.active, key);
    this.inactive = without(this.inactive, key);
  }
}

/** Figure 4 of the paper, with lists of keys. */
class SlowArc implements SlowPolicy {
  private readonly c: number;
  p = 0;
  t1: number[] = [];
  t2: number[] = [];
  b1: number[] = [];
  b2: number[] = [];
  adaptedFor = NO_KEY;
  constructor(capacity: number) {
    this.c = capacity;
  }
  hit(key: number): void {
    this.t1 = without(this.t1, key);
    this.t2 = [key, ...without(this.t2, key)];
  }
  private adapt(key: number): void {
    if (this.adaptedFor === key) return;
    this.adaptedFor = key;
    const [b1, b2] = [this.b1.length, this.b2.length];
    if (this.b1.includes(key)) this.p = Math.min(this.c, this.p + (b1 >= b2 ? 1 : b2 / b1));
    else this.p = Math.max(0, this.p - (b2 >= b1 ? 1 : b1 / b2));
  }
  private fromT1(pinned: (key: number) => boolean): number {
    let victim: number;
    [victim, this.t1] = oldestIdle(this.t1, pinned);
    if (victim !== -1) this.b1 = [victim, ...this.b1];
    return victim;
  }
  private fromT2(pinned: (key: number) => boolean): number {
    let victim: number;
    [victim, this.t2] = oldestIdle(this.t2, pinned);
    if (victim !== -1) this.b2 = [victim, ...this.b2];
    return victim;
  }
  private replace(key: number, pinned: (key: number) => boolean): number {
    const t1 = this.t1.length;
    if (t1 >= 1 && ((this.b2.includes(key) && t1 === this.p) || t1 > this.p)) {
      const victim = this.fromT1(pinned);
      return victim === -1 ? this.fromT2(pinned) : victim;
    }
    const victim = this.fromT2(pinned);
    return victim === -1 ? this.fromT1(pinned) : victim;
  }
  evict(key: number, pinned: (key: number) => boolean): number {
    if (key === NO_KEY) return this.replace(key, pinned);
    if (this.b1.includes(key) || this.b2.includes(key)) {
      this.adapt(key);
      return this.replace(key, pinned);
    }
    if (this.t1.length === this.c) {
      let victim: number;
      [victim, this.t1] = oldestIdle(this.t1, pinned);
      return victim;
    }
    this.trim();
    return this.replace(key, pinned);
  }
  private trim(): void {
    if (this.t1.length + this.b1.length >= this.c) this.b1.pop();
    else if (this.t1.length + this.t2.length + this.b1.length + this.b2.length >= 2 * this.c) this.b2.pop();
  }
  insert(key: number): void {
    if (this.b1.includes(key) || this.b2.includes(key)) {
      this.adapt(key);
      this.b1 = without(this.b1, key);
      this.b2 = without(this.b2, key);
      this.t2 = [key, ...this.t2];
    } else {
      this.trim();
      this.t1 = [key, ...this.t1];
    }
    this.adaptedFor = NO_KEY;
  }
  remove(key: number): void {
    this.t1 = without(this.t1, key);
    this.t2 = without(this.t2, key);
  }
}

/** The last `bound` pages that left, newest first; one that came back leaves its place empty. */
class SlowGhost<Value> {
  private readonly bound: number;
  entries: { key: number; value: Value }[] = [];
  constructor(bound: number) {
    this.bound = bound;
  }
  add(key: number, value: Value): void {
    this.entries = [{ key, value }, ...this.entries].slice(0, this.bound);
  }
  take(key: number): Value | undefined {
    const entry = this.entries.find((other) => other.key === key);
    if (entry !== undefined) entry.key = NO_KEY;
    return entry?.value;
  }
}

class SlowS3Fifo implements SlowPolicy {
  small: number[] = [];
  main: number[] = [];
  uses = new Map<number, number>();
  private readonly smallMax: number;
  private readonly mainMax: number;
  private readonly ghost: SlowGhost<true>;
  constructor(capacity: number) {
    this.smallMax = Math.max(1, Math.floor(capacity * 0.1));
    this.mainMax = Math.max(1, capacity - this.smallMax);
    this.ghost = new SlowGhost(this.mainMax);
  }
  hit(key: number): void {
    this.uses.set(key, Math.min(3, this.uses.get(key)! + 1));
  }
  private evictMain(pinned: (key: number) => boolean): number {
    for (let steps = this.main.length * 4; steps > 0; steps--) {
      const key = this.main.pop()!;
      if (!pinned(key)) {
        if (this.uses.get(key) === 0) return key;
        this.uses.set(key, this.uses.get(key)! - 1);
      }
      this.main.unshift(key);
    }
    return -1;
  }
  private evictSmall(pinned: (key: number) => boolean): number {
    for (let steps = this.small.length; steps > 0; steps--) {
      const key = this.small.pop()!;
      if (pinned(key)) {
        this.small.unshift(key);
      } else if (this.uses.get(key)! > 1) {
        this.uses.set(key, 0);
        this.main.unshift(key);
        const victim = this.main.length > this.mainMax ? this.evictMain(pinned) : -1;
        if (victim !== -1) return victim;
      } else {
        this.ghost.add(key, true);
        return key;
      }
    }
    return -1;
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    const order = this.small.length >= this.smallMax ? ["small", "main"] : ["main", "small", "main"];
    for (const queue of order) {
      const victim = queue === "small" ? this.evictSmall(pinned) : this.evictMain(pinned);
      if (victim !== -1) return victim;
    }
    return -1;
  }
  insert(key: number): void {
    this.uses.set(key, 0);
    if (this.ghost.take(key) === true) this.main.unshift(key);
    else this.small.unshift(key);
  }
  remove(key: number): void {
    this.small = without(this.small, key);
    this.main = without(this.main, key);
  }
}

/** Generations by absolute number; statistics as rows of a table. */
class SlowMglru implements SlowPolicy {
  min = 0;
  max = 3;
  generations = new Map<number, number[]>();
  uses = new Map<number, number>();
  tiers = [0, 1, 2, 3].map(() => ({ refaulted: 0, passed: 0, avgRefaulted: 0, avgPassed: 0 }));
  private readonly shadows: SlowGhost<{ min: number; uses: number }>;
  constructor(capacity: number) {
    this.shadows = new SlowGhost(capacity * 8);
  }
  private of(generation: number): number[] {
    return this.generations.get(generation) ?? [];
  }
  private tier(uses: number): number {
    return Math.ceil(Math.log2(uses + 1)) > 3 ? 3 : Math.ceil(Math.log2(uses + 1));
  }
  hit(key: number): void {
    this.uses.set(key, Math.min(4, this.uses.get(key)! + 1));
  }
  private highestEvictable(): number {
    const base = this.tiers[0]!;
    for (let tier = 1; tier < 4; tier++) {
      const row = this.tiers[tier]!;
      const refaulted = row.refaulted + row.avgRefaulted;
      if (refaulted < 64) continue;
      const own = refaulted / (2 * (row.passed + row.avgPassed));
      const first = (base.refaulted + base.avgRefaulted + 1) / (base.passed + base.avgPassed + 64);
      if (own > first) return tier - 1;
    }
    return 3;
  }
  evict(_key: number, pinned: (key: number) => boolean): number {
    const keys = [...this.generations.values()].flat();
    if (keys.length === 0) return -1;
    const evictable = this.highestEvictable();
    for (let steps = keys.length * 6; steps > 0; steps--) {
      if (this.max - this.min < 2) this.max = this.min + 2;
      while (this.of(this.min).length === 0) {
        this.min++;
        for (const row of this.tiers) {
          row.avgRefaulted = Math.floor((row.avgRefaulted + row.refaulted) / 2);
          row.avgPassed = Math.floor((row.avgPassed + row.passed) / 2);
          row.refaulted = row.passed = 0;
        }
        if (this.max - this.min < 2) this.max = this.min + 2;
      }
      const key = this.of(this.min).pop()!;
      const uses = this.uses.get(key)!;
      if (!pinned(key)) {
        this.tiers[this.tier(uses)]!.passed++;
        if (this.tier(uses) <= evictable) {
          this.shadows.add(key, { min: this.min, uses });
          return key;
        }
        this.uses.set(key, 0);
      }
      this.generations.set(this.min + 1, [key, ...this.of(this.min + 1)]);
    }
    return -1;
  }
  insert(key: number): void {
    const shadow = this.shadows.take(key);
    let working = false;
    if (shadow !== undefined && shadow.min === this.min) {
      this.tiers[this.tier(shadow.uses)]!.refaulted++;
      working = shadow.uses >= 3;
    }
    this.uses.set(key, working ? 4 : 0);
    const generation = Math.max(this.min, this.max - (working ? 2 : 3));
    this.generations.set(generation, [key, ...this.of(generation)]);
  }
  remove(key: number): void {
    for (const [generation, keys] of this.generations) this.generations.set(generation, without(keys, key));
  }
}

/** By the names of mm/evict/index.ts. */
export const SLOW: Readonly<Record<string, (capacity: number, seed: number) => SlowPolicy>> = {
  fifo: () => new SlowFifo(),
  random: (_capacity, seed) => new SlowRandom(seed),
  lru: () => new SlowLru(),
  lfu: () => new SlowLfu(),
  "two-list": () => new SlowTwoList(),
  clock: () => new SlowClock(),
  arc: (capacity) => new SlowArc(capacity),
  "s3-fifo": (capacity) => new SlowS3Fifo(capacity),
  sieve: () => new SlowSieve(),
  mglru: (capacity) => new SlowMglru(capacity),
};

/** MIN, looking ahead along the trace at every miss. */
export function slowMinMisses(requests: readonly number[], capacity: number): number {
  let resident: number[] = [];
  let misses = 0;
  for (const [at, key] of requests.entries()) {
    if (resident.includes(key)) continue;
    misses++;
    if (resident.length === capacity) {
      const distance = (other: number): number => {
        const next = requests.indexOf(other, at);
        return next === -1 ? Infinity : next;
      };
      const farthest = resident.reduce((far, other) => (distance(other) > distance(far) ? other : far));
      resident = without(resident, farthest);
    }
    resident.push(key);
  }
  return misses;
}
