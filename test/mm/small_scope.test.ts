/**
 * Exhaustive small scope: every state that any sequence of allocations and frees can bring a tiny zone into, on the
 * real classes, by saving and restoring their buffers. A state is what the lists hold, in order, and what is held.
 */
import { describe, expect, it } from "vitest";
import type { Pfn } from "../../kernel/abi/units.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { checkPageAlloc } from "../../mm/check.ts";
import { GFP } from "../../mm/gfp.ts";
import { Kind, stateByte } from "../../mm/memmap.ts";
import { PageAlloc } from "../../mm/page_alloc.ts";
import { PCP } from "../../mm/pcp.ts";
import { type Theft, rmqueue } from "../../mm/steal.ts";
import { ZONE } from "../../mm/zone.ts";
import { smallMachine } from "./machine.ts";

const save = (mm: PageAlloc): Uint8Array => mm.map.bytes.slice();

const restore = (mm: PageAlloc, saved: Uint8Array): void => mm.map.bytes.set(saved);

/** What matters of a state: lists in order, blocks held, types of pageblocks. */
function keyOf(mm: PageAlloc): string {
  const { map } = mm;
  const lists: string[] = [];
  for (let head = map.zoneLists; head < map.slabLists; head++) {
    const nodes: number[] = [];
    for (let at = map.next[head]!; at !== head; at = map.next[at]!) nodes.push(at);
    if (nodes.length > 0) lists.push(`${head - map.zoneLists}:${nodes.join(".")}`);
  }
  const factor = mm.pcps[0]!.words[PCP.freeFactor]!;
  return `${lists.join(" ")}|${map.state.join(",")}|${map.blockType.join(",")}|${factor}`;
}

const held = (mm: PageAlloc): number[] =>
  [...mm.map.state.keys()].filter((pfn) => mm.map.state[pfn]! >> 6 === Kind.Allocated);

/** Visits all states; `moves` are tried in each, from a restored buffer. Returns states and transitions. */
function explore(mm: PageAlloc, moves: (mm: PageAlloc) => (() => boolean)[], cap: number) {
  const seen = new Set([keyOf(mm)]);
  const queue = [save(mm)];
  let transitions = 0;
  for (const saved of queue) {
    restore(mm, saved);
    const count = moves(mm).length;
    for (let index = 0; index < count; index++) {
      restore(mm, saved);
      if (!moves(mm)[index]!()) continue;
      transitions++;
      const key = keyOf(mm);
      if (seen.has(key)) continue;
      checkPageAlloc(mm);
      seen.add(key);
      queue.push(save(mm));
      if (seen.size > cap) return { states: seen.size, transitions, complete: false };
    }
  }
  return { states: seen.size, transitions, complete: true };
}

const theft: Theft = { pfn: -1, order: 0, from: 0, ownership: 0 };

function buddyMoves(types: readonly number[]) {
  return (mm: PageAlloc): (() => boolean)[] => {
    const buddy = mm.zones[0]!;
    const moves: (() => boolean)[] = [];
    for (const type of types)
      for (let order = 0; order <= buddy.orderMax; order++)
        moves.push(() => {
          const pfn = rmqueue(buddy, order, type, 0, theft);
          if (pfn === -1) return false;
          mm.map.state[pfn] = stateByte(Kind.Allocated, type, order);
          buddy.words[ZONE.free]! -= 1 << order;
          return true;
        });
    for (const pfn of held(mm))
      moves.push(() => {
        const order = mm.map.state[pfn]! & 15;
        buddy.put(pfn, order, mm.map.blockType[pfn >>> buddy.pageblockOrder]!, false);
        buddy.words[ZONE.free]! += 1 << order;
        return true;
      });
    return moves;
  };
}

describe("every reachable state of a tiny zone is sound", () => {
  it("8 frames, orders 0..3, one migratetype", () => {
    const mm = smallMachine(8, { orderMax: 3, pageblockOrder: 3 });
    const found = explore(mm, buddyMoves([1]), 100_000);
    expect(found.complete).toBe(true);
    expect(found).toMatchInlineSnapshot(`
      {
        "complete": true,
        "states": 1829,
        "transitions": 9735,
      }
    `);
  });

  it("4 frames, orders 0..2, pageblocks of 2, three migratetypes that steal from each other", () => {
    const mm = smallMachine(4, { orderMax: 2, pageblockOrder: 1 });
    const found = explore(mm, buddyMoves([0, 1, 2]), 100_000);
    expect(found.complete).toBe(true);
    expect(found).toMatchInlineSnapshot(`
      {
        "complete": true,
        "states": 2868,
        "transitions": 14850,
      }
    `);
  });

  it("4 frames through the whole allocator, per-CPU lists of two CPUs included", () => {
    const mm = smallMachine(4, { orderMax: 2, pageblockOrder: 2, cpus: 2 });
    // Without watermarks, so that the last frame can be had.
    for (const word of [ZONE.min, ZONE.low, ZONE.high, ZONE.fastMark]) mm.zones[0]!.words[word] = 0;
    const found = explore(
      mm,
      (machine) => {
        const moves: (() => boolean)[] = [];
        for (let cpu = 0; cpu < 2; cpu++) {
          for (let order = 0; order <= 2; order++)
            moves.push(() => !isErr(machine.alloc(cpu, GFP.GFP_NOWAIT | GFP.__GFP_MOVABLE, order, 0)));
          for (const pfn of held(machine))
            moves.push(() => {
              machine.free(cpu, pfn as Pfn, machine.map.state[pfn]! & 15);
              return true;
            });
          moves.push(() => {
            machine.pcps[0]!.drain(cpu);
            return true;
          });
        }
        return moves;
      },
      60_000,
    );
    expect(found.complete).toBe(true);
    expect(found).toMatchInlineSnapshot(`
      {
        "complete": true,
        "states": 702,
        "transitions": 3176,
      }
    `);
  });

  it("a merge that forgets its buddy's list is found (canary)", () => {
    const mm = smallMachine(8, { orderMax: 3, pageblockOrder: 3 });
    const buddy = mm.zones[0]!;
    const put = buddy.put.bind(buddy);
    buddy.put = (pfn, order, type, tail) => {
      put(pfn, order, type, tail);
      if (order === 1 && pfn === 2) buddy.words[ZONE.mask + 1]! ^= 2;
    };
    expect(() => explore(mm, buddyMoves([1]), 100_000)).toThrow(/check:/);
  });
});
