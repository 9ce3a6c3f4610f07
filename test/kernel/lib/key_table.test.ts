import * as fc from "fast-check";
import { expect, it } from "vitest";
import { growingArena, attach, load, save } from "../../../kernel/lib/growing_arena.ts";
import { KeyTable } from "../../../kernel/lib/key_table.ts";

/** Few distinct keys, so that probes run into each other; and large ones beside them. */
const key = fc.oneof(
  fc.nat(30),
  fc.nat(30).map((k) => k * 2 ** 32),
  fc.constantFrom(2 ** 53 - 1, 2 ** 31, 2 ** 32 - 1),
);

it("KeyTable agrees with a Map under random set, get and delete", () => {
  const operations = fc.array(fc.record({ op: fc.constantFrom("set", "get", "delete"), key, value: fc.nat(1000) }), {
    maxLength: 300,
    size: "max",
  });
  fc.assert(
    fc.property(operations, (steps) => {
      const table = new KeyTable(growingArena(), 64);
      const model = new Map<number, number>();
      for (const step of steps) {
        if (step.op === "set") {
          table.set(step.key, step.value);
          model.set(step.key, step.value);
        } else if (step.op === "delete") {
          expect(table.delete(step.key)).toBe(model.get(step.key) ?? -1);
          model.delete(step.key);
        }
        expect(table.get(step.key)).toBe(model.get(step.key) ?? -1);
        expect(table.size).toBe(model.size);
      }
      for (const [known, value] of model) expect(table.get(known)).toBe(value);
    }),
  );
});

it("KeyTable.set() panics beyond its entries, and clear() makes room", () => {
  const table = new KeyTable(growingArena(), 3);
  for (let k = 0; k < 3; k++) table.set(k, k);
  expect(() => table.set(3, 3)).toThrow(/more keys/);
  table.set(1, 9);
  table.clear();
  table.set(3, 3);
  expect([table.get(1), table.get(3), table.size]).toEqual([-1, 3, 1]);
});

it("arena: save and load restore, attach shares, other lengths panic", () => {
  const first = growingArena();
  const numbers = first.int32(3);
  const bytes = first.uint8(5);
  numbers.set([1, 2, 3]);
  const saved = save(first);
  numbers.fill(9);
  bytes.fill(7);
  load(first, saved);
  expect([...numbers, ...bytes]).toEqual([1, 2, 3, 0, 0, 0, 0, 0]);
  const second = attach(first.buffers);
  second.int32(3)[0] = 5;
  expect(numbers[0]).toBe(5);
  expect(() => second.uint8(6)).toThrow(/not those of the arena/);
  expect(() => load(first, saved.subarray(1))).toThrow(/shorter/);
  expect(() => load(first, new Uint8Array(saved.length + 1))).toThrow(/longer/);
});
