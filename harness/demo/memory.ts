/**
 * Scene: a machine of 64 MiB under memory pressure. Files and programs fill it until kswapd must make room; what it
 * drops lies everywhere, so that memory is free and yet no huge page can be had; then compaction.
 *
 * - memoryScene(seed)   what happened, as data: figures and the buddy map before and after
 * - memory              the scene
 */
import { isErr } from "../../kernel/abi/errno.ts";
import { noLocks } from "../../kernel/lib/lock_ops.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import {
  GFP,
  PAGEBLOCK_ORDER,
  PageAlloc,
  ZONE,
  attachReclaim,
  checkPageAlloc,
  unusableIndex,
  zonesOf,
} from "../../mm/index.ts";
import { textTable } from "../cli/output.ts";
import type { Scene } from "../cli/stage.ts";
import { type Cell, MEANINGS, mapCells, mapRows } from "../mm/buddy_map.ts";
import { Holder } from "../mm/holder.ts";
import type { Section, Shape } from "../report/report.ts";

const FRAMES = 16_384;
const FRAMES_A_CELL = 32;
const COLUMNS = 32;
/** Share of the movable pages that are file pages, which reclaim may drop. */
const FILE_PERCENT = 65;
/** Palette of the report, by Cell. */
const COLORS = [3, 0, 4, 5, -1] as const;

interface Moment {
  readonly moment: string;
  readonly freeMiB: number;
  readonly unusable9: number;
  readonly hugePagesFree: number;
  readonly pagesMoved: number;
}

export interface MemoryStory {
  readonly moments: readonly Moment[];
  readonly before: readonly Cell[];
  readonly after: readonly Cell[];
  readonly kswapdPages: number;
}

export function memoryScene(seed: number): MemoryStory {
  const mm = new PageAlloc({ zones: [{ name: "DMA32", start: 0, end: FRAMES }], cpus: 1, locks: noLocks });
  const holder = new Holder(FRAMES, FRAMES * 2);
  const draw = prng(seed);
  const files: number[] = [];
  const drop = (pages: number): number => {
    let dropped = 0;
    for (; dropped < pages && files.length > 0; dropped++) {
      // The least recently used page, which may be anywhere.
      const index = nextBelow(draw, files.length);
      const slot = files[index]!;
      files[index] = files.at(-1)!;
      files.pop();
      const pfn = holder.frameOf(slot);
      holder.drop(slot);
      mm.free(0, pfn, 0);
    }
    return dropped;
  };
  const { vmscan, compaction } = attachReclaim(mm, {
    movable: holder,
    shrinkers: [{ name: "files", count: () => files.length, scan: drop }],
  });
  const moments: Moment[] = [];
  const note = (moment: string): void => {
    mm.drainAll(0);
    checkPageAlloc(mm);
    const zone = zonesOf(mm)[0]!;
    const huge = zone.free.reduce((sum, blocks, order) => sum + (order < 9 ? 0 : blocks * 2 ** (order - 9)), 0);
    const freeMiB = Math.round(mm.zones[0]!.words[ZONE.free]! / 25.6) / 10;
    const unusable9 = unusableIndex(zone.free, PAGEBLOCK_ORDER) / 1000;
    moments.push({ moment, freeMiB, unusable9, hugePagesFree: huge, pagesMoved: holder.moved });
  };
  note("booted");
  const kept: Pfn[] = [];
  for (let slot = 0; !vmscan.awake && slot < FRAMES * 2; slot++) {
    const unmovable = nextBelow(draw, 100) < 4;
    const pfn = mm.alloc(0, unmovable ? GFP.GFP_KERNEL : GFP.GFP_HIGHUSER_MOVABLE, 0, slot);
    if (isErr(pfn)) break;
    if (unmovable) kept.push(pfn);
    else {
      holder.hold(pfn, slot);
      if (nextBelow(draw, 100) < FILE_PERCENT) files.push(slot);
    }
  }
  note("full: kswapd is woken");
  let kswapdPages = 0;
  while (vmscan.awake) kswapdPages += vmscan.step(0, 32);
  note("kswapd sleeps again");
  drop(files.length);
  note("all files dropped");
  const before = mapCells(mm, FRAMES_A_CELL);
  compaction.proactiveness = 100;
  for (let idle = 0; idle < 2;) idle = compaction.step(0, 128) === 0 ? idle + 1 : 0;
  const after = mapCells(mm, FRAMES_A_CELL);
  note("kcompactd is done");
  return { moments, before, after, kswapdPages };
}

function drawing(story: MemoryStory): Section {
  const size = 8;
  const gap = 3;
  const shapes: Shape[] = [];
  for (const [index, cells] of [story.before, story.after].entries()) {
    const left = index * (COLUMNS + gap) * size;
    shapes.push({ shape: "text", x: left, y: 10, text: index === 0 ? "before" : "after", size: 10 });
    for (const [at, cell] of cells.entries())
      shapes.push({
        shape: "rect",
        x: left + (at % COLUMNS) * size,
        y: 16 + Math.floor(at / COLUMNS) * size,
        width: size - 1,
        height: size - 1,
        color: COLORS[cell],
        label: `frames ${at * FRAMES_A_CELL} to ${(at + 1) * FRAMES_A_CELL - 1}: ${MEANINGS[cell].slice(2)}`,
      });
  }
  const rows = story.before.length / COLUMNS;
  return {
    kind: "drawing",
    title: "Memory before and after compaction",
    note: `Each square is ${FRAMES_A_CELL} frames (128 KiB), ${COLUMNS} squares a row; an empty one is part of a free block of 2 MiB or more.`,
    width: (COLUMNS * 2 + gap) * size,
    height: 16 + rows * size,
    alt: "Two maps of memory: free pieces everywhere before, free blocks of 2 MiB after compaction.",
    shapes,
  };
}

export const memory: Scene = {
  title: "A machine under memory pressure, before and after compaction",
  needsMs: 1_000,
  async run(stage) {
    const story = memoryScene(stage.seed);
    const table = textTable(story.moments.map((moment) => ({ ...moment })));
    stage.say(table.replaceAll(/^/gm, "     ").trimEnd());
    const [before, after] = [mapRows(story.before, COLUMNS), mapRows(story.after, COLUMNS)];
    stage.say(`\n     ${"before".padEnd(COLUMNS + 2)}   after`);
    for (const [row, line] of before.entries()) stage.say(`     |${line}|   |${after[row]!}|`);
    stage.say(MEANINGS.map((meaning) => `     ${meaning}`).join("\n"));
    return [
      {
        kind: "table",
        title: "A machine of 64 MiB under memory pressure",
        note: `Files and programs fill memory until kswapd wakes (it dropped ${story.kswapdPages} pages); then all file pages are dropped, and kcompactd moves what is left together.`,
        rows: story.moments.map((moment) => ({ ...moment })),
        columns: { unusable9: { meaning: "share of free memory that is in no free block of 2 MiB", better: "low" } },
      },
      drawing(story),
    ];
  },
};
