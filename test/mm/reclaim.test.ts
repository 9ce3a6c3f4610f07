import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isErr } from "../../kernel/abi/errno.ts";
import type { OomVictims, Shrinker } from "../../kernel/abi/reclaim.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { checkPageAlloc } from "../../mm/check.ts";
import { Order } from "../../mm/compaction.ts";
import { unusableShare } from "../../mm/frag_index.ts";
import { GFP } from "../../mm/gfp.ts";
import { badness, oomScore, selectVictim } from "../../mm/oom_kill.ts";
import type { PageAlloc } from "../../mm/page_alloc.ts";
import { readVmEvents, zonesOf } from "../../mm/proc.ts";
import { attachReclaim } from "../../mm/reclaim.ts";
import { ZONE } from "../../mm/zone.ts";
import { Holder } from "./holder.ts";
import { MiB, smallMachine } from "./machine.ts";

/** Clean pages that can be dropped, oldest first. */
function cleanCache(mm: PageAlloc): Shrinker & { fill(): number; readonly pages: Pfn[] } {
  const pages: Pfn[] = [];
  return {
    name: "clean",
    pages,
    count: () => pages.length,
    scan: (wanted) => {
      const victims = pages.splice(0, wanted);
      for (const pfn of victims) mm.free(0, pfn, 0);
      return victims.length;
    },
    fill() {
      for (;;) {
        const pfn = mm.alloc(0, GFP.GFP_NOWAIT | GFP.__GFP_MOVABLE, 0, 1);
        if (isErr(pfn)) return pages.length;
        pages.push(pfn);
      }
    },
  };
}

const free = (mm: PageAlloc): number => mm.zones[0]!.words[ZONE.free]!;

describe("reclaim", () => {
  it("kswapd is woken below low and works in steps until high is reached", () => {
    const mm = smallMachine(64 * MiB);
    const cache = cleanCache(mm);
    const { vmscan } = attachReclaim(mm, { shrinkers: [cache] });
    cache.fill();
    expect(vmscan.awake).toBe(true);
    const { words } = mm.zones[0]!;
    expect(free(mm)).toBeLessThanOrEqual(words[ZONE.low]!);
    let steps = 0;
    let taken = 0;
    let scanned = 0;
    while (vmscan.awake) {
      const got = vmscan.step(0, 16);
      expect(got).toBeLessThanOrEqual(16);
      scanned += vmscan.scanned;
      taken += got;
      expect(steps++).toBeLessThan(1000);
    }
    expect(free(mm)).toBeGreaterThanOrEqual(words[ZONE.high]!);
    expect(taken).toBeLessThan(words[ZONE.high]! * 3);
    expect(readVmEvents(mm).pgsteal_kswapd).toBe(taken);
    expect(readVmEvents(mm).pgscan_kswapd).toBe(scanned);
    expect(words[ZONE.reclaim]).toBe(0);
    checkPageAlloc(mm);
  });

  it("the first request that finds the zone at low wakes kswapd, though its CPU still has pages on its list", () => {
    const mm = smallMachine(256 * MiB);
    const { vmscan } = attachReclaim(mm, {});
    const { words } = mm.zones[0]!;
    for (;;) {
      const atLow = words[ZONE.free]! <= words[ZONE.low]!;
      expect(isErr(mm.alloc(0, GFP.GFP_NOWAIT | GFP.__GFP_MOVABLE, 0, 1))).toBe(false);
      expect(vmscan.awake).toBe(atLow);
      if (atLow) break;
    }
  });

  it("kswapd gives up when there is nothing to drop", () => {
    const mm = smallMachine(16 * MiB);
    const { vmscan } = attachReclaim(mm, {});
    while (!isErr(mm.alloc(0, GFP.GFP_NOWAIT, 0, 1)));
    for (let round = 0; round < 17; round++) {
      vmscan.wake(0, 0, 0);
      for (let step = 0; vmscan.awake; step++) {
        expect(step).toBeLessThan(100);
        vmscan.step(0, 32);
      }
    }
    vmscan.wake(0, 0, 0);
    expect(vmscan.awake).toBe(false);
  });

  it("an allocation that may wait gets its page by direct reclaim, and its stall is told", () => {
    const mm = smallMachine(16 * MiB);
    const cache = cleanCache(mm);
    const stalls: string[] = [];
    attachReclaim(mm, {
      shrinkers: [cache],
      stalls: { memstallEnter: () => void stalls.push("enter"), memstallLeave: () => void stalls.push("leave") },
    });
    const had = cache.fill();
    for (let index = 0; index < 200; index++) expect(isErr(mm.alloc(0, GFP.GFP_KERNEL, 0, 2))).toBe(false);
    expect(cache.pages.length).toBeLessThan(had);
    expect(readVmEvents(mm).allocstall_dma32).toBeGreaterThan(0);
    expect(stalls.slice(0, 2)).toEqual(["enter", "leave"]);
    checkPageAlloc(mm);
  });

  it("a shrinker that claims progress without making any does not hang the machine", () => {
    const mm = smallMachine(16 * MiB);
    attachReclaim(mm, { shrinkers: [{ name: "liar", count: () => 1000, scan: (pages) => pages }] });
    let allocated = 0;
    while (!isErr(mm.alloc(0, GFP.GFP_KERNEL, 0, 1))) allocated++;
    expect(allocated).toBeGreaterThan(3000);
  });
});

const victims = (rows: [rss: number, adj: number][]): OomVictims & { killed: number[] } => {
  const killed: number[] = [];
  return {
    killed,
    rows: () => rows.length,
    rssPages: (row) => rows[row]![0],
    swapPages: () => 0,
    pageTablePages: (row) => (rows[row]![0] > 0 ? 1 : 0),
    scoreAdj: (row) => rows[row]![1],
    kill: (row) => {
      killed.push(row);
      const [rss] = rows[row]!;
      rows[row] = [0, rows[row]![1]];
      return rss;
    },
  };
};

describe("OOM killer", () => {
  it("chooses by Linux's badness", () => {
    const table = victims([
      [100, 0],
      [5000, -1000],
      [300, 0],
      [200, 500],
      [0, 1000],
    ]);
    expect(selectVictim(table, 1000)).toBe(3);
    expect([0, 1, 2, 3, 4].map((row) => badness(table, row, 1000))).toEqual([101, -Infinity, 301, 701, -Infinity]);
    expect(oomScore(table, 2, 1000)).toBe(Math.trunc((1301 * 2) / 3));
    expect(selectVictim(victims([]), 1000)).toBe(-1);
    expect(selectVictim(victims([[5000, -1000]]), 1000)).toBe(-1);
    expect(
      selectVictim(
        victims([
          [5, 0],
          [5, 0],
        ]),
        1000,
      ),
    ).toBe(1);
  });

  it("memory that nobody can give back ends in a kill, and the allocation succeeds", () => {
    const mm = smallMachine(16 * MiB);
    const held: Pfn[] = [];
    const table = victims([
      [1, 0],
      [4000, 0],
    ]);
    const kill = table.kill.bind(table);
    table.kill = (row) => {
      kill(row);
      const count = held.length;
      for (const pfn of held.splice(0)) mm.free(0, pfn, 0);
      return count;
    };
    attachReclaim(mm, { victims: table });
    while (table.killed.length === 0) {
      const pfn = mm.alloc(0, GFP.GFP_KERNEL, 0, 1);
      if (isErr(pfn)) expect.fail("ENOMEM though a victim was left");
      held.push(pfn);
    }
    expect(table.killed).toEqual([1]);
    expect(readVmEvents(mm).oom_kill).toBe(1);
    checkPageAlloc(mm);
  });

  it("a request that must not enter the file system kills nobody, nor does a costly one", () => {
    for (const [gfp, order] of [
      [GFP.GFP_NOFS, 0],
      [GFP.GFP_KERNEL, 4],
    ] as const) {
      const mm = smallMachine(16 * MiB);
      const table = victims([[1000, 0]]);
      attachReclaim(mm, { victims: table });
      while (!isErr(mm.alloc(0, gfp, order, 1)));
      expect(table.killed).toEqual([]);
    }
  });
});

/** Fills memory with single pages, some of them unmovable, and frees most: every pageblock keeps a few. */
function fragment(mm: PageAlloc, holder: Holder, seed: number, keep: number, unmovable: number): void {
  const draw = prng(seed);
  const loose: Pfn[] = [];
  for (let id = 1; ; id++) {
    const movable = nextBelow(draw, 1000) >= unmovable;
    const order = movable && nextBelow(draw, 8) === 0 ? 1 + nextBelow(draw, 3) : 0;
    const pfn = mm.alloc(0, movable ? GFP.GFP_NOWAIT | GFP.__GFP_MOVABLE : GFP.GFP_NOWAIT, order, id);
    if (isErr(pfn)) break;
    if (movable) holder.add(pfn, order, id);
    else loose.push(pfn);
  }
  for (const id of holder.where.keys())
    if (nextBelow(draw, 100) >= keep) {
      const { pfn, order } = holder.drop(id);
      mm.free(0, pfn, order);
    }
  mm.drainAll(0);
}

const hugeBlocks = (mm: PageAlloc): number =>
  zonesOf(mm)[0]!.free.reduce((sum, count, order) => sum + (order >= 9 ? count * 2 ** (order - 9) : 0), 0);

describe("compaction", () => {
  it.each([
    [true, 0],
    [true, 20],
    [false, 20],
  ])("grouping %s, %i per mille unmovable: wins free pageblocks, loses no page", (grouping, unmovable) => {
    const mm = smallMachine(64 * MiB, { grouping });
    const holder = new Holder();
    const { compaction } = attachReclaim(mm, { movable: holder });
    fragment(mm, holder, 7, 30, unmovable);
    const before = hugeBlocks(mm);
    const ids = [...holder.where.keys()].toSorted((a, b) => a - b);
    const owners = new Map(ids.map((id) => [id, id]));
    const frames = checkPageAlloc(mm).allocated;
    const moved = compaction.run(0, 0, 11);
    expect(moved).toBe(holder.moves);
    expect(checkPageAlloc(mm).allocated).toBe(frames);
    expect([...holder.where.keys()].toSorted((a, b) => a - b)).toEqual(ids);
    for (const [pfn, { id }] of holder.at) expect(mm.map.owner[pfn]).toBe(owners.get(id));
    if (grouping || unmovable === 0) expect(hugeBlocks(mm)).toBeGreaterThan(before + 10);
    expect(readVmEvents(mm).pgmigrate_success).toBe(moved);
  });

  it("by occupancy wins as many blocks as by address with fewer moves", () => {
    const won: number[] = [];
    const moves: number[] = [];
    for (const order of [Order.Occupancy, Order.Address]) {
      const mm = smallMachine(128 * MiB);
      const holder = new Holder();
      const { compaction } = attachReclaim(mm, { movable: holder });
      compaction.order = order;
      fragment(mm, holder, 11, 40, 0);
      moves.push(compaction.run(0, 0, 11));
      won.push(hugeBlocks(mm));
    }
    expect(won[0]).toBeGreaterThanOrEqual(won[1]!);
    expect(moves[0]).toBeLessThan(moves[1]!);
  });

  it("pageblocks with a page that cannot be moved are left alone", () => {
    const mm = smallMachine(16 * MiB);
    const holder = new Holder();
    const { compaction } = attachReclaim(mm, { movable: holder });
    fragment(mm, holder, 5, 30, 0);
    // One unmovable page in each pageblock, where a free one is.
    for (let block = 0; block < 8; block++) for (let pfn = block * 512; !mm.carve(pfn as Pfn, 0, 0, 1);) pfn++;
    expect(compaction.run(0, 0, 11)).toBe(0);
    checkPageAlloc(mm);
  });

  it("a huge page is had by direct compaction", () => {
    const mm = smallMachine(64 * MiB);
    const holder = new Holder();
    attachReclaim(mm, { movable: holder });
    fragment(mm, holder, 3, 30, 0);
    expect(hugeBlocks(mm)).toBe(0);
    const pfn = mm.alloc(0, GFP.GFP_TRANSHUGE, 9, 1);
    expect(isErr(pfn)).toBe(false);
    expect(readVmEvents(mm).compact_success).toBe(1);
    checkPageAlloc(mm);
  });

  it("busy pages stay where they are; failures are deferred", () => {
    const mm = smallMachine(16 * MiB);
    const holder = new Holder();
    const { compaction } = attachReclaim(mm, { movable: holder });
    fragment(mm, holder, 3, 30, 0);
    for (const pfn of holder.at.keys()) holder.busy.add(pfn);
    const places = [...holder.at.keys()];
    expect(compaction.direct(0, 9, 0, true)).toBe(false);
    expect([...holder.at.keys()]).toEqual(places);
    checkPageAlloc(mm);
    const scanned = readVmEvents(mm).compact_migrate_scanned;
    expect(compaction.direct(0, 9, 0, false)).toBe(false);
    expect(readVmEvents(mm).compact_migrate_scanned).toBe(scanned);
    expect(compaction.direct(0, 9, 0, false)).toBe(false);
    expect(readVmEvents(mm).compact_migrate_scanned).toBeGreaterThan(scanned);
  });

  it("kcompactd starts by score, works in small steps between which memory is used, and stops", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 20, max: 45 }), (seed, keep) => {
        const mm = smallMachine(64 * MiB);
        const holder = new Holder();
        const { compaction } = attachReclaim(mm, { movable: holder });
        compaction.proactiveness = 90;
        fragment(mm, holder, seed, keep, 5);
        const score = compaction.score();
        expect(score).toBeGreaterThan(20);
        const draw = prng(seed);
        let id = 1_000_000;
        let idle = 0;
        for (let step = 0; step < 3000 && idle < 3; step++) {
          idle = compaction.step(0, 24) === 0 ? idle + 1 : 0;
          const pfn = mm.alloc(0, GFP.GFP_NOWAIT | GFP.__GFP_MOVABLE, 0, id);
          if (!isErr(pfn)) holder.add(pfn, 0, id++);
          const ids = [...holder.where.keys()].slice(0, 50);
          const victim = holder.drop(ids[nextBelow(draw, ids.length)]!);
          mm.free(0, victim.pfn, victim.order);
          if (step % 20 === 0) checkPageAlloc(mm);
        }
        checkPageAlloc(mm);
        expect(idle).toBe(3);
        expect(compaction.score()).toBeLessThan(score);
        for (const [pfn, page] of holder.at) expect(mm.map.state[pfn]).toBe(0x50 | page.order);
        expect(unusableShare(zonesOf(mm)[0]!.free, 9)).toBeLessThan(score / 100);
      }),
      { numRuns: 6, seed: 9 },
    );
  });

  it("a compactor saved between two steps goes on as if nothing had happened", () => {
    const mm = smallMachine(32 * MiB);
    const holder = new Holder();
    const { compaction, vmscan } = attachReclaim(mm, { movable: holder });
    compaction.proactiveness = 100;
    fragment(mm, holder, 5, 30, 0);
    compaction.step(0, 10);
    const again = attachReclaim(
      mm,
      { movable: holder },
      { vmscan: vmscan.buffer().slice(0), compaction: compaction.buffer().slice(0) },
    );
    again.compaction.proactiveness = 100;
    while (again.compaction.step(0, 10) > 0) checkPageAlloc(mm);
    expect(hugeBlocks(mm)).toBeGreaterThan(5);
  });
});
