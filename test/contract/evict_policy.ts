/** What every eviction policy owes its host, a user's own among them: `evictPolicyContract(type)` in a test file. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import { growingArena, attach, load, save } from "../../kernel/lib/growing_arena.ts";
import { EvictHost, type EvictOp } from "./evict_host.ts";

const key = fc.integer({ min: 0, max: 40 });
export const evictOps: fc.Arbitrary<EvictOp[]> = fc.array(
  fc.oneof(
    { weight: 30, arbitrary: fc.record({ op: fc.constant("get" as const), key }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("drop" as const, "unpin" as const), key }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("pin" as const), key }) },
    { weight: 1, arbitrary: fc.constant({ op: "shrink" as const }) },
  ),
  { maxLength: 400, size: "max" },
);
const capacities = fc.integer({ min: 1, max: 24 });

export function evictPolicyContract(type: EvictPolicyType, runs = 25): void {
  describe(`eviction policy ${type.name}`, () => {
    it("has a name for the command line and a line of help", () => {
      expect(type.name).toMatch(/^[a-z][a-z0-9-]*$/);
      expect(type.help).toMatch(/^\S.{5,100}$/);
    });

    it("evict() gives an idle resident whenever there is one, and nothing else", () => {
      fc.assert(
        fc.property(capacities, evictOps, (capacity, operations) => {
          const host = new EvictHost(type, capacity, 1);
          for (const operation of operations) host.step(operation);
        }),
        { numRuns: runs },
      );
    });

    it("evict() finds the only idle page among many pinned ones, used often or not", () => {
      for (const often of [0, 1, 7]) {
        const host = new EvictHost(type, 64, 1);
        for (let page = 0; page < 64; page++) host.step({ op: "get", key: page });
        for (let use = 0; use < often; use++) for (let page = 0; page < 64; page++) host.step({ op: "get", key: page });
        for (let page = 0; page < 64; page++) if (page !== 41) host.step({ op: "pin", key: page });
        expect(host.step({ op: "get", key: 100 })).toBe("miss, evicted 41");
      }
    });

    it("the whole state lies in the memory it asked for: saved, restored and attached it goes on the same", () => {
      fc.assert(
        fc.property(capacities, evictOps, fc.nat(), (capacity, operations, where) => {
          const host = new EvictHost(type, capacity, 7);
          const cut = operations.length === 0 ? 0 : where % operations.length;
          for (const operation of operations.slice(0, cut)) host.step(operation);
          const saved = save(host.memory);
          const other = new EvictHost(type, capacity, 7, host);
          expect(save(host.memory), "create() wrote into memory that is in use").toEqual(saved);
          const onward = operations.slice(cut);
          const first = onward.map((operation) => other.step(operation));
          load(host.memory, saved);
          expect(onward.map((operation) => host.step(operation))).toEqual(first);
        }),
        { numRuns: runs },
      );
    });

    it("reset() is as good as new", () => {
      fc.assert(
        fc.property(capacities, evictOps, (capacity, operations) => {
          const used = new EvictHost(type, capacity, 3);
          for (const operation of operations) used.step(operation);
          used.policy.reset();
          const fresh = new EvictHost(type, capacity, 3);
          const again = new EvictHost(type, capacity, 3);
          load(again.memory, save(used.memory));
          for (const operation of operations)
            if (again.step(operation) !== fresh.step(operation)) expect.fail(`differs at ${JSON.stringify(operation)}`);
        }),
        { numRuns: runs },
      );
    });

    it("asks for the same memory each time", () => {
      const options = { capacity: 33, seed: 1, busy: new Uint8Array(33) };
      const first = growingArena();
      type.create(options, first);
      expect(() => type.create(options, attach(first.buffers))).not.toThrow();
    });
  });
}
