import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { KeyedHeap, checkHeap } from "../../../kernel/lib/keyed_heap.ts";

const SLOTS = 24;
const HEAPS = 3;

/** Several heaps over one slot space, as run queues over tasks. */
function heaps(): KeyedHeap[] {
  const key = new Float64Array(SLOTS);
  const tie = new Float64Array(SLOTS);
  const pos = new Int32Array(SLOTS);
  const items = new Int32Array(HEAPS * (SLOTS + 1));
  return Array.from({ length: HEAPS }, (_, h) => new KeyedHeap(key, tie, pos, items, h * (SLOTS + 1), SLOTS));
}

interface Entry {
  readonly slot: number;
  readonly key: number;
  readonly tie: number;
}
const order = (a: Entry, b: Entry): number => a.key - b.key || a.tie - b.tie || a.slot - b.slot;

const operation = fc.record({
  heap: fc.nat({ max: HEAPS - 1 }),
  slot: fc.nat({ max: SLOTS - 1 }),
  // Few values: ties are what is easily wrong.
  key: fc.oneof(fc.nat({ max: 4 }), fc.double({ noNaN: true })),
  tie: fc.nat({ max: 2 }),
  remove: fc.boolean(),
});

test.prop([fc.array(operation, { maxLength: 200 })], { seed: 1 })(
  "set(), remove() and first() as on sorted arrays, whichever of several heaps a slot is in",
  (operations) => {
    const ours = heaps();
    const model: Entry[][] = ours.map(() => []);
    for (const { heap, slot, key, tie, remove } of operations) {
      const home = model.findIndex((entries) => entries.some((entry) => entry.slot === slot));
      const target = home === -1 ? heap : home;
      const rest = model[target]!.filter((entry) => entry.slot !== slot);
      model[target] = remove ? rest : [...rest, { slot, key, tie }];
      if (remove) ours[target]!.remove(slot);
      else ours[target]!.set(slot, key, tie);
      for (const [h, one] of ours.entries()) {
        checkHeap(one);
        expect(one.size).toBe(model[h]!.length);
        expect(one.first()).toBe([...model[h]!].sort(order)[0]?.slot ?? -1);
      }
    }
    // What comes out is sorted to the end.
    for (const [h, one] of ours.entries()) {
      for (const { slot } of [...model[h]!].sort(order)) {
        expect(one.first()).toBe(slot);
        one.remove(slot);
      }
      expect(one.first()).toBe(-1);
    }
  },
);

it("panics beyond its capacity, and checkHeap() finds a broken order (canary)", () => {
  const [heap] = heaps();
  const small = new KeyedHeap(heap!.key, heap!.tie, heap!.pos, heap!.items, 0, 2);
  small.set(1, 5, 0);
  small.set(2, 6, 0);
  expect(() => small.set(3, 7, 0)).toThrow(/more slots than its capacity/);
  checkHeap(small);
  small.key[1] = 9;
  expect(() => checkHeap(small)).toThrow(/a child comes before its parent/);
  small.key[1] = 5;
  small.pos[2] = 1;
  expect(() => checkHeap(small)).toThrow(/a position disagrees/);
});
