import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { memoryScene } from "../../harness/demo/memory.ts";
import { Cell } from "../../harness/mm/buddy_map.ts";
import { FRAG_DEFAULTS, reductions, runFrag } from "../../harness/mm/frag.ts";
import { parseGfp, readKmemTrace } from "../../harness/mm/kmem_trace.ts";
import { distanceTo, replayTrace } from "../../harness/mm/replay.ts";
import { GFP, parsePagetypeinfo } from "../../mm/index.ts";
import { scratch } from "../harness/orrery.ts";

const FIXTURES = "test/fixtures/mm/linux61-";

describe("replay of a real guest", () => {
  it.each(["kmem-a", "kmem-slab"])(
    "%s: nothing fails, and the end is nearer to Linux's than without grouping",
    (name) => {
      const events = readKmemTrace(`${FIXTURES}${name}.ftrace.gz`);
      const read = (when: string) => parsePagetypeinfo(readFileSync(`${FIXTURES}${name}.${when}.txt`, "utf8"))!;
      const [before, after] = [read("before"), read("after")];
      const [grouped, plain] = [true, false].map((grouping) =>
        replayTrace({ events, frames: 65_536, before, grouping }),
      );
      expect([grouped!.failures, grouped!.unknownFrees, plain!.failures]).toEqual([0, 0, 0]);
      expect(distanceTo(grouped!.start, before)).toMatchObject({ blocks: 0, frames: 0 });
      expect(grouped!.shortfall.every((blocks) => blocks === 0)).toBe(true);
      const [ours, without] = [distanceTo(grouped!.end, after), distanceTo(plain!.end, after)];
      expect(ours.blocks).toBeLessThan(without.blocks);
      expect(ours.frames).toBeLessThan(without.frames);
      expect(grouped!.checks).toBeGreaterThan(10);
      if (name === "kmem-slab") expect(grouped!.slabs.length).toBeGreaterThan(20);
    },
  );

  it("without a state before, the memory starts empty", () => {
    const events = readKmemTrace(`${FIXTURES}kmem-a.ftrace.gz`).slice(0, 500);
    const result = replayTrace({ events, frames: 65_536, before: undefined, grouping: true });
    expect([result.failures, result.events]).toEqual([0, 500]);
  });

  it("flags are read by name; files that are none are refused in one line", () => {
    expect(parseGfp("GFP_NOFS|__GFP_ZERO")).toBe(GFP.GFP_NOFS | GFP.__GFP_ZERO);
    expect(parseGfp("0x100|__GFP_NEWER")).toBe(0x100);
    const path = join(scratch(), "kmem.txt");
    writeFileSync(path, "  init-1  [000] ..... 1.0: mm_page_alloc: page=0 pfn=zzz order=0 migratetype=1 gfp_flags=0\n");
    expect(() => readKmemTrace(path)).toThrow(/:1: an event that cannot be read/);
    expect(() => readKmemTrace("package.json")).toThrow(/no page or slab events/);
    expect(() => readKmemTrace("/nonexistent")).toThrow(/Cannot read/);
  });
});

const arm = (unusable9: number) => ({ arm: "x", unusable9 }) as never;

describe("the mixed-lifetime experiment", () => {
  it("grouping with compaction lowers the unusable index, with fewer moves than a naive compactor", () => {
    const arms = runFrag(1, { ...FRAG_DEFAULTS, frames: 32_768, steps: 300_000 });
    const [neither, grouped, , both, naive] = arms;
    expect(grouped!.pinnedBlocks).toBeLessThan(neither!.pinnedBlocks / 2);
    expect(both!.unusable9).toBeLessThan(neither!.unusable9 * 0.7);
    expect(both!.hugeSuccess).toBeGreaterThan(neither!.hugeSuccess);
    expect(both!.pagesMoved).toBeLessThan(naive!.pagesMoved / 2);
    expect(arms.every((arm) => arm.failures === 0)).toBe(true);
  });

  it("reductions() gives mean and interval over seeds", () => {
    const results = [
      [arm(0.4), arm(0.2)],
      [arm(0.4), arm(0.1)],
    ];
    const [only] = reductions(results);
    expect(only!.mean).toBeCloseTo(0.625);
    expect(only!.halfWidth).toBeCloseTo(12.706 * 0.125, 3);
    expect(reductions([results[0]!])[0]!.halfWidth).toBeNull();
  });
});

const huge = (cells: readonly Cell[]): number => cells.filter((cell) => cell === Cell.Huge).length;

it("the demo's machine gets its huge pages back by compaction", () => {
  const story = memoryScene(1);
  const [booted, full, slept, dropped, compacted] = story.moments;
  expect(booted!.hugePagesFree).toBe(32);
  expect([full!.hugePagesFree, dropped!.hugePagesFree]).toEqual([0, 0]);
  expect(slept!.freeMiB).toBeGreaterThan(full!.freeMiB);
  expect(compacted!.hugePagesFree).toBeGreaterThan(15);
  expect(huge(story.after)).toBeGreaterThan(huge(story.before) + 200);
  expect(memoryScene(1)).toEqual(story);
});
