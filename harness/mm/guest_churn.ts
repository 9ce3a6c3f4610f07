/**
 * The mixed-lifetime churn in a real Linux guest and in our allocator, side by side: the same schedule of allocations and
 * ends, page by page, from the same free memory (Linux's own /proc/pagetypeinfo before the first step, rebuilt here).
 *
 * All pages are single: anonymous memory is movable, a page table is not (guest_churn.c). Huge pages are asked for
 * without compacting for them, in the guest with THP at `defrag=never`, here with GFP_TRANSHUGE_LIGHT; what is done for
 * them is kcompactd's alone, at the same proactiveness. It looks twice a second: the guest's run takes `seconds`, and
 * ours has its turn at the same steps, a whole pass each.
 *
 * - guestChurn(options)     boots, runs both, returns the rows
 * - encodeSchedule, parseChurn    the words that go in and the text that comes out
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  CompactOrder,
  Migrate,
  PAGEBLOCK_ORDER,
  checkPageAlloc,
  parseBuddyinfo,
  parsePagetypeinfo,
  unusableShare,
  zonesOf,
} from "../../mm/index.ts";
import type { ZoneBlocks } from "../../mm/index.ts";
import { EXIT, UserError } from "../cli/exit.ts";
import { PROGRAM } from "../qemu/cpio.ts";
import { bootGuest } from "../qemu/guest.ts";
import { needTool } from "../qemu/packages.ts";
import { Arm, isSample, workload } from "./frag.ts";
import type { Rhythm, Workload } from "./frag.ts";
import { rebuild } from "./rebuild.ts";

export interface GuestChurnOptions {
  readonly seed: number;
  readonly memoryMiB: number;
  /** How long the guest's churn is made to last. */
  readonly seconds: number;
  readonly proactiveness: number;
  /** What a guest of this size has free; found out by booting one when it is not given. */
  readonly freeFrames?: number;
  readonly progress: (line: string) => void;
}

export interface ChurnRow {
  readonly arm: string;
  /** Means over the samples; of zone DMA32. */
  readonly unusable9: number;
  /** Huge pages had, of those that free memory could hold. */
  readonly hugeSuccess: number;
  readonly freeFrames: number;
  readonly pagesMoved: number;
  readonly samples: number;
}

export interface GuestChurnReport {
  readonly release: string;
  readonly steps: number;
  readonly startFreeFrames: number;
  /** Blocks of the guest's start for which the rebuilt memory has no place. */
  readonly shortfall: number;
  /** The guest first. */
  readonly rows: readonly ChurnRow[];
}

const UNMOVABLE = 0x80000000;
const SAMPLE = 0x40000000;
/** Of the C program's tables and the schedule, which lie in the guest's memory: 28 bytes a step and a file of 4. */
const TABLE_BYTES_A_STEP = 32;
/** As in mm frag: steps for each frame of memory. */
const STEPS_A_FRAME = 9;
const KCOMPACTD_MS = 500;
const BOOT_AND_REST_MS = 120_000;

export function encodeSchedule({ kind, dies }: Workload): Buffer {
  const words = Buffer.alloc(4 * kind.length);
  for (let step = 0; step < kind.length; step++) {
    const flags = (kind[step] === Migrate.Movable ? 0 : UNMOVABLE) + (isSample(step, kind.length) ? SAMPLE : 0);
    words.writeUInt32LE(flags + Math.min(dies[step]!, kind.length), 4 * step);
  }
  return words;
}

interface Churned {
  readonly start: readonly ZoneBlocks[];
  readonly samples: readonly { readonly free: readonly number[]; readonly huge: number; readonly asked: number }[];
  readonly moved: number;
}

const vmstat = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);

/** What guest_churn prints. */
export function parseChurn(text: string): Churned {
  const parts = text.split(/^== /m).slice(1);
  const [first, last] = [parts[0] ?? "", parts.at(-1) ?? ""];
  const start = parsePagetypeinfo(first);
  if (start === undefined || !last.startsWith("end"))
    throw new UserError(`the guest's churn did not come to its end: ${text.slice(-200).trim()}`);
  const samples = parts.slice(1, -1).map((part) => {
    const [, , huge, asked] = part.split(/\s/, 4);
    return { free: parseBuddyinfo(part).get("DMA32") ?? [], huge: Number(huge), asked: Number(asked) };
  });
  const moved = vmstat(last, "pgmigrate_success") - vmstat(first, "pgmigrate_success");
  return { start, samples, moved };
}

const framesOf = (free: readonly number[]): number => free.reduce((sum, blocks, order) => sum + blocks * 2 ** order, 0);
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function guestRow(release: string, { samples, moved }: Churned): ChurnRow {
  return {
    arm: `Linux ${release}`,
    unusable9: mean(samples.map(({ free }) => unusableShare(free, PAGEBLOCK_ORDER))),
    hugeSuccess: mean(samples.map(({ huge, asked }) => huge / asked)),
    freeFrames: mean(samples.map(({ free }) => framesOf(free))),
    pagesMoved: moved,
    samples: samples.length,
  };
}

interface OursOptions {
  readonly start: readonly ZoneBlocks[];
  readonly frames: number;
  readonly proactiveness: number;
  readonly rhythm: Rhythm;
  readonly byAddress: boolean;
}

function oursRow(arm: string, work: Workload, options: OursOptions): ChurnRow & { readonly shortfall: number } {
  const { start, frames, proactiveness, rhythm, byAddress } = options;
  const { mm, shortfall } = rebuild([], start, frames, true);
  const one = new Arm(work, mm, "on", proactiveness, rhythm);
  if (byAddress) one.compaction!.order = CompactOrder.Address;
  const samples: { unusable: number; huge: number; asked: number; free: number }[] = [];
  const steps = work.kind.length;
  for (let step = 0; step < steps; step++) {
    if (isSample(step, steps)) {
      const asked = Math.floor(zonesOf(mm).reduce((sum, zone) => sum + framesOf(zone.free), 0) / 2 ** PAGEBLOCK_ORDER);
      const [unusable, free] = [one.unusable(), one.freeShare() * frames];
      samples.push({ unusable, huge: one.hugePages(asked), asked, free });
    }
    one.step(step);
  }
  checkPageAlloc(mm);
  if (one.failures > 0) throw new UserError(`${one.failures} allocations failed: give the guest more memory`);
  return {
    arm,
    unusable9: mean(samples.map(({ unusable }) => unusable)),
    hugeSuccess: mean(samples.map(({ huge, asked }) => huge / asked)),
    freeFrames: mean(samples.map(({ free }) => free)),
    pagesMoved: one.holder.moved,
    samples: samples.length,
    shortfall: shortfall.reduce((sum, blocks) => sum + blocks, 0),
  };
}

/** The program for the guest: static, since the guest has no libraries. */
function compile(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "orrery-churn-"));
  try {
    const source = fileURLToPath(new URL("guest_churn.c", import.meta.url));
    if (!existsSync(source)) throw new UserError("mm guest needs the source tree: run it in a checkout", EXIT.tool);
    const program = join(folder, "guest_churn");
    const built = spawnSync(needTool("gcc", "build the guest's program"), ["-O2", "-static", "-o", program, source], {
      encoding: "utf8",
    });
    if (built.status !== 0)
      throw new UserError(`cannot build the guest's program: ${built.stderr.trim().split("\n")[0] ?? ""}`, EXIT.tool);
    return readFileSync(program);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Exactly as the comparison wants it; khugepaged is kept out. */
const settings = (proactiveness: number): string =>
  [
    "reserve=$(cat /proc/sys/vm/min_free_kbytes)",
    "cd /sys/kernel/mm/transparent_hugepage",
    "echo madvise > enabled",
    "echo never > defrag",
    "echo 0 > khugepaged/defrag",
    // khugepaged raises it when it starts.
    "echo $reserve > /proc/sys/vm/min_free_kbytes",
    `echo ${proactiveness} > /proc/sys/vm/compaction_proactiveness`,
    "echo 3 > /proc/sys/vm/drop_caches",
  ].join("; ");

/** Free frames of a guest of this size; how long the schedule may be depends on it. */
async function freeFramesOf(memoryMiB: number): Promise<number> {
  const guest = await bootGuest({ memoryMiB });
  try {
    const zones = parseBuddyinfo(await guest.must("cat /proc/buddyinfo"));
    return [...zones.values()].reduce((sum, free) => sum + framesOf(free), 0);
  } finally {
    await guest.cut();
  }
}

export async function guestChurn(options: GuestChurnOptions): Promise<GuestChurnReport> {
  const { seed, memoryMiB, seconds, proactiveness, progress } = options;
  const program = compile();
  progress("booting, to see what is free");
  const booted = options.freeFrames ?? (await freeFramesOf(memoryMiB));
  // The tables take their part of the memory that they describe.
  const frames = Math.floor(booted / (1 + (STEPS_A_FRAME * TABLE_BYTES_A_STEP) / 4096));
  const work = workload(seed, { frames, steps: STEPS_A_FRAME * frames }, true);
  const steps = work.kind.length;
  const files = [
    { path: "bin/guest_churn", mode: PROGRAM, data: program },
    { path: "schedule", mode: PROGRAM, data: encodeSchedule(work) },
  ];
  progress("churning in the guest");
  const guest = await bootGuest({ memoryMiB, files });
  let text: string;
  let release: string;
  try {
    release = (await guest.must("uname -r")).trim();
    await guest.must(settings(proactiveness));
    const ms = 1000 * seconds;
    text = await guest.must(`guest_churn /schedule ${ms}`, ms + BOOT_AND_REST_MS);
  } finally {
    await guest.cut();
  }
  const churned = parseChurn(text);
  progress("churning here");
  const every = Math.max(1, Math.round((steps * KCOMPACTD_MS) / (1000 * seconds)));
  const ours = {
    start: churned.start,
    frames: memoryMiB * 256,
    proactiveness,
    rhythm: { every, frames: 2 ** 30 },
  };
  const arms = [
    oursRow("ours", work, { ...ours, byAddress: false }),
    oursRow("ours, scanners by address as Linux's", work, { ...ours, byAddress: true }),
    oursRow("ours, no compaction", work, { ...ours, proactiveness: 0, byAddress: false }),
  ];
  return {
    release,
    steps,
    startFreeFrames: churned.start.reduce((sum, zone) => sum + framesOf(zone.free), 0),
    shortfall: arms[0]!.shortfall,
    rows: [guestRow(release, churned), ...arms.map(({ shortfall: _shortfall, ...row }) => row)],
  };
}
