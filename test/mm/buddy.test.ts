import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkPageAlloc } from "../../mm/check.ts";
import { Kind, stateByte } from "../../mm/memmap.ts";
import { type Theft, rmqueue } from "../../mm/steal.ts";
import { ZONE } from "../../mm/zone.ts";
import { smallMachine } from "./machine.ts";
import { SlowBuddy } from "./slow_buddy.ts";

const FRAMES = 256;
const ORDER_MAX = 6;
const BLOCK_ORDER = 5;

type Op = { kind: "take"; order: number; type: number } | { kind: "put"; which: number };
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("take" as const), order: fc.nat(4), type: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("put" as const), which: fc.nat(1000) }) },
);

/** Drives both with the same operations; throws at the first difference. */
function compare(ops: readonly Op[], sabotage = false): void {
  const mm = smallMachine(FRAMES, { orderMax: ORDER_MAX, pageblockOrder: BLOCK_ORDER });
  const buddy = mm.zones[0]!;
  const slow = new SlowBuddy(FRAMES, ORDER_MAX, BLOCK_ORDER);
  const live: { pfn: number; order: number }[] = [];
  const theft: Theft = { pfn: -1, order: 0, from: 0, ownership: 0 };
  for (const step of ops) {
    if (step.kind === "take") {
      const pfn = rmqueue(buddy, step.order, step.type, 0, theft);
      expect(pfn).toBe(slow.rmqueue(step.order, step.type));
      if (pfn === -1) continue;
      mm.map.state[pfn] = stateByte(Kind.Allocated, step.type, step.order);
      buddy.words[ZONE.free]! -= 1 << step.order;
      if (step.type === 1) slow.movable.set(pfn, step.order);
      live.push({ pfn, order: step.order });
    } else if (live.length > 0) {
      const [block] = live.splice(step.which % live.length, 1);
      const type = mm.map.blockType[block!.pfn >>> BLOCK_ORDER]!;
      buddy.put(block!.pfn, block!.order, sabotage ? 0 : type, false);
      buddy.words[ZONE.free]! += 1 << block!.order;
      slow.movable.delete(block!.pfn);
      slow.put(block!.pfn, block!.order, type);
    }
    checkPageAlloc(mm);
    expect([...mm.map.blockType.subarray(0, FRAMES >> BLOCK_ORDER)]).toEqual(slow.blockType);
    for (let order = 0; order <= ORDER_MAX; order++)
      for (let type = 0; type < 4; type++) {
        const listed = slow.lists[type]![order]!.map((block) => block.pfn);
        if (buddy.blocksOf(type, order) !== listed.length) expect.fail("list lengths differ");
        let at = buddy.lists + ((type << 4) | order);
        for (const pfn of listed) {
          at = buddy.next[at]!;
          if (at !== pfn) expect(at).toBe(pfn);
        }
      }
  }
}

describe("Buddy and rmqueue()", () => {
  it("take, steal and merge exactly as the slow model does, list order included", () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 20, maxLength: 120 }), (ops) => compare(ops)),
      { numRuns: 120, seed: 0x6d6d },
    );
  });

  it("the comparison notices a block put on the wrong type's list (canary)", () => {
    expect(() =>
      fc.assert(
        fc.property(fc.array(op, { minLength: 60, maxLength: 120 }), (ops) => compare(ops, true)),
        { numRuns: 20, seed: 1 },
      ),
    ).toThrow();
  });

  it("put() merges pageblocks of types that may mix, and keeps HighAtomic ones apart", () => {
    for (const [low, high, merges] of [
      [0, 1, true],
      [2, 1, true],
      [1, 3, false],
      [3, 1, false],
      [3, 3, true],
    ] as const) {
      const mm = smallMachine(64, { orderMax: ORDER_MAX, pageblockOrder: BLOCK_ORDER });
      const buddy = mm.zones[0]!;
      expect(buddy.take(ORDER_MAX, 1)).toBe(0);
      mm.map.blockType.set([low, high]);
      buddy.put(0, BLOCK_ORDER, low, false);
      buddy.put(32, BLOCK_ORDER, high, false);
      expect(buddy.blocks(ORDER_MAX)).toBe(merges ? 1 : 0);
      expect(buddy.blocksOf(low, BLOCK_ORDER)).toBe(merges ? 0 : 1);
    }
  });

  it("a stolen pageblock changes its type when free pages and pages like the thief's are half of it", () => {
    for (const [unmovable, type] of [
      [4, 0],
      [1, 1],
    ] as const) {
      const mm = smallMachine(8, { orderMax: 3, pageblockOrder: 3 });
      for (let pfn = 0; pfn < 6; pfn++) mm.carve(pfn as never, 0, pfn < unmovable ? 0 : 1, 1);
      const theft: Theft = { pfn: -1, order: 0, from: 0, ownership: 0 };
      expect(rmqueue(mm.zones[0]!, 0, 0, 0, theft)).toBe(6);
      expect(mm.map.blockType[0]).toBe(type);
      expect(theft.ownership).toBe(type === 0 ? 1 : 0);
    }
  });

  it("carve() takes exactly that block and gives the rest back", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(FRAMES - 1), fc.nat(4)), { maxLength: 30 }), (wanted) => {
        const mm = smallMachine(FRAMES, { orderMax: ORDER_MAX, pageblockOrder: BLOCK_ORDER });
        const used = new Uint8Array(FRAMES);
        for (const [at, order] of wanted) {
          const pfn = (at >> order) << order;
          const wasFree = used.subarray(pfn, pfn + (1 << order)).every((frame) => frame === 0);
          expect(mm.carve(pfn as never, order, 1, 7)).toBe(wasFree);
          if (wasFree) used.fill(1, pfn, pfn + (1 << order));
          const { allocated } = checkPageAlloc(mm);
          expect(allocated).toBe(used.reduce((sum, frame) => sum + frame, 0));
        }
      }),
      { numRuns: 100, seed: 3 },
    );
  });
});
