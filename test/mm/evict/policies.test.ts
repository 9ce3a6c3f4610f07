import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EvictPolicyType } from "../../../kernel/abi/evict.ts";
import { NO_KEY } from "../../../kernel/abi/evict.ts";
import { EVICT_POLICIES, minMisses, replay, syntheticTrace, type Trace } from "../../../mm/evict/index.ts";
import { inactiveIsLow } from "../../../mm/evict/two_list.ts";
import { EvictHost, type EvictOp } from "../../contract/evict_host.ts";
import { evictOps, evictPolicyContract } from "../../contract/evict_policy.ts";
import { SLOW, slowMinMisses, type SlowPolicy } from "./slow.ts";

/** The host again, over a slow model: same operations, same answers. */
class SlowHost {
  private readonly policy: SlowPolicy;
  private readonly capacity: number;
  private readonly resident = new Set<number>();
  private readonly pins = new Set<number>();
  constructor(name: string, capacity: number, seed: number) {
    this.policy = SLOW[name]!(capacity, seed);
    this.capacity = capacity;
  }
  private evict(key: number): number | undefined {
    const victim = this.policy.evict(key, (page) => this.pins.has(page));
    this.resident.delete(victim);
    return victim === -1 ? undefined : victim;
  }
  step(operation: EvictOp): string {
    if (operation.op === "shrink") return `shrink ${this.evict(NO_KEY) ?? "none"}`;
    const { op, key } = operation;
    const here = this.resident.has(key);
    if (op === "get") {
      if (here) {
        this.policy.hit(key);
        return "hit";
      }
      const full = this.resident.size === this.capacity;
      const victim = full ? this.evict(key) : undefined;
      if (full && victim === undefined) return "miss, all pinned";
      this.resident.add(key);
      this.policy.insert(key);
      return `miss, evicted ${victim ?? "none"}`;
    }
    if (!here) return "absent";
    if (op === "pin") this.pins.add(key);
    else this.pins.delete(key);
    if (op === "drop") {
      this.policy.remove(key);
      this.resident.delete(key);
    }
    return op;
  }
}

function slowMisses(name: string, trace: Trace, capacity: number, seed: number): number {
  const policy = SLOW[name]!(capacity, seed);
  const resident = new Set<number>();
  let misses = 0;
  for (const key of trace.requests) {
    if (resident.has(key)) {
      policy.hit(key);
      continue;
    }
    misses++;
    if (resident.size === capacity) resident.delete(policy.evict(key, () => false));
    resident.add(key);
    policy.insert(key);
  }
  return misses;
}

for (const type of EVICT_POLICIES) {
  evictPolicyContract(type);

  describe(`eviction policy ${type.name} against its slow model`, () => {
    it("evicts the same page at every step, with removed, pinned and reclaimed pages", () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 24 }), evictOps, (capacity, operations) => {
          const fast = new EvictHost(type, capacity, 5);
          const slow = new SlowHost(type.name, capacity, 5);
          for (const [at, operation] of operations.entries()) {
            const [got, want] = [fast.step(operation), slow.step(operation)];
            if (got !== want) expect.fail(`step ${at}: ${got}, the slow model: ${want}`);
          }
        }),
        { numRuns: 100 },
      );
    });

    it.each([
      ["zipf", 1],
      ["zipf", 40],
      ["scan", 40],
      ["loop", 40],
      ["scan", 97],
      ["shift", 30],
    ] as const)("has the same misses on a trace of shape %s at size %i", (shape, size) => {
      const trace = syntheticTrace(shape, { size, requests: 4_000, seed: 11, alpha: 0.8 });
      expect(replay(type, trace, size, 3).misses).toBe(slowMisses(type.name, trace, size, 3));
    });

    it("never has fewer misses than MIN", () => {
      for (const shape of ["zipf", "scan", "loop", "shift"]) {
        const trace = syntheticTrace(shape, { size: 50, requests: 5_000, seed: 2, alpha: 1 });
        expect(replay(type, trace, 50, 1).misses).toBeGreaterThanOrEqual(minMisses(trace.requests, trace.keys, 50));
      }
    });
  });
}

it("there are ten policies, each with a slow model", () => {
  expect(EVICT_POLICIES.map((type) => type.name).sort()).toEqual(Object.keys(SLOW).sort());
  expect(EVICT_POLICIES.length).toBe(10);
});

const pages = (gib: number): number => gib * 2 ** 18;

it("inactiveIsLow() has Linux's ratios: 1 below 1 GiB, 3 at 1, 10 at 10, 31 at 100", () => {
  for (const [gib, ratio] of [
    [0.5, 1],
    [1, 3],
    [10, 10],
    [100, 31],
  ] as const) {
    const inactive = Math.ceil(pages(gib) / (ratio + 1));
    expect([gib, inactiveIsLow(inactive, pages(gib) - inactive)]).toEqual([gib, false]);
    expect([gib, inactiveIsLow(inactive - 1, pages(gib) - inactive + 1)]).toEqual([gib, true]);
  }
});

it("minMisses() is Belady's MIN: equal to looking ahead at every miss", () => {
  const requests = fc.array(fc.nat(15), { maxLength: 300, size: "max" });
  fc.assert(
    fc.property(requests, fc.integer({ min: 1, max: 12 }), (keys, capacity) => {
      expect(minMisses(Int32Array.from(keys), 16, capacity)).toBe(slowMinMisses(keys, capacity));
    }),
    { numRuns: 300 },
  );
});

it.each([40, 300])(
  "mglru protects pages in use on a long trace with scans, as the slow model says, at size %i",
  (size) => {
    const type = EVICT_POLICIES.find((policy) => policy.name === "mglru")!;
    const trace = syntheticTrace("scan", { size, requests: 20_000, seed: 4, alpha: 0.6 });
    const lru = EVICT_POLICIES.find((policy) => policy.name === "lru")!;
    const { misses } = replay(type, trace, size, 1);
    expect(misses).toBe(slowMisses("mglru", trace, size, 1));
    expect(misses).toBeLessThan(replay(lru, trace, size, 1).misses);
  },
);

it("the comparison notices a policy that errs once in a thousand (canary)", () => {
  const honest = EVICT_POLICIES.find((policy) => policy.name === "lru")!;
  const sloppy: EvictPolicyType = {
    ...honest,
    create(options, memory) {
      const policy = honest.create(options, memory);
      const uses = memory.int32(1);
      return {
        reset: () => policy.reset(),
        hit: (slot) => (++uses[0]! % 1000 === 0 ? undefined : policy.hit(slot)),
        evict: (key) => policy.evict(key),
        insert: (slot, key) => policy.insert(slot, key),
        remove: (slot) => policy.remove(slot),
        check: () => policy.check(),
      };
    },
  };
  const trace = syntheticTrace("zipf", { size: 40, requests: 6_000, seed: 11, alpha: 0.8 });
  expect(replay(sloppy, trace, 40, 3).misses).not.toBe(slowMisses("lru", trace, 40, 3));
});
