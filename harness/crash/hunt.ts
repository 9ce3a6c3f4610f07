/**
 * Looks for anything that breaks our ext4, the cheapest places first: what seeded bugs are put against.
 *
 * - HUNTS              scenario, data mode, mount options, disk
 * - hunt(dir)          the first that breaks, shrunk; or that nothing does
 *
 * A panic of the file system counts as found, and so does what never ends: both are shrunk by the same calls. Steps are
 * counted (workload_run.ts), and a loop that takes none is cut off after a time.
 */
import type { DataMode } from "../../kernel/index.ts";
import type { AceCall } from "./ace.ts";
import { readFeatures } from "../ext4/mkfs_options.ts";
import { SCENARIOS } from "./scenarios.ts";
import { operationsIn, smallestWorkload } from "./shrink_calls.ts";
import type { SmallWorkload } from "./shrink_calls.ts";
import { CutOff, withinMs } from "./time_limit.ts";
import { judgeWorkload, prepared, shrinkWorkload } from "./workload_judge.ts";
import type { JudgeWorkloadOptions } from "./workload_judge.ts";
import { crashBase, NoEnd } from "./workload_run.ts";
import { parseStateId } from "./state_set.ts";

export interface Hunt {
  readonly scenario: string;
  readonly data: DataMode;
  readonly mount?: string;
  /** Over mkfs's defaults. */
  readonly features?: string;
  readonly late?: number;
  /** Flushes are recorded where they have ended. */
  readonly flushAt?: "end";
}

export const HUNTS: readonly Hunt[] = [
  { scenario: "journal-lookalike", data: "journal" },
  { scenario: "block-reuse", data: "ordered" },
  { scenario: "going-home", data: "ordered" },
  { scenario: "unlink-open", data: "ordered" },
  { scenario: "rename-replace", data: "ordered" },
  { scenario: "going-home", data: "ordered", late: 1 },
  { scenario: "rename-replace", data: "ordered", late: 2 },
  { scenario: "concurrent-writers", data: "ordered", mount: "nodelalloc" },
  { scenario: "concurrent-writers", data: "ordered", mount: "nodelalloc", late: 3 },
  { scenario: "block-reuse", data: "journal", late: 4 },
  // What ends while a flush is in flight is chance: several seeds.
  ...[3, 4, 6, 16, 19, 22].map((late): Hunt => ({ scenario: "going-home", data: "ordered", late, flushAt: "end" })),
  { scenario: "journal-full", data: "journal", late: 5 },
  { scenario: "going-home", data: "writeback", mount: "journal_async_commit", features: "^metadata_csum" },
  { scenario: "recovery", data: "ordered" },
  { scenario: "going-home", data: "ordered", late: 9 },
  { scenario: "going-home", data: "ordered", late: 10 },
  { scenario: "concurrent-writers", data: "ordered", mount: "nodelalloc", late: 11 },
  { scenario: "directory-growth", data: "ordered" },
  { scenario: "journal-wrap", data: "ordered" },
  { scenario: "journal-wrap", data: "ordered", late: 12 },
  { scenario: "journal-commit", data: "ordered" },
  { scenario: "journal-commit", data: "ordered", late: 6 },
  { scenario: "journal-commit", data: "journal", late: 7 },
  { scenario: "block-allocation", data: "ordered", late: 8 },
];

export interface Found {
  readonly hunt: Hunt;
  /** Hunts that found nothing before it did. */
  readonly hunted: number;
  readonly class: string;
  readonly why: string;
  readonly text: string;
  /** Calls that are left, those of them that change something, and calls that only set the stage (shrink_calls.ts). */
  readonly calls: number;
  readonly operations: number;
  readonly before: number;
  readonly lost: number;
  /** Whether replaying prefixes would have shown it. */
  readonly byPrefixes: boolean;
}

const BOUNDS = { policy: "kernel", maxSubset: 6, tears: false, seed: 1, random: 30, dropSpan: 6 } as const;

/** Far more than any hunt takes; and what a part of one that hangs is given. */
const HANG_MS = 60_000;
const HANG_AGAIN_MS = 10_000;

const wordsOf = ({ op, path, to }: AceCall): string => [op, path, to].filter((word) => word !== undefined).join(" ");

export function hunt(progress: (line: string) => void): Found | undefined {
  for (const [hunted, one] of HUNTS.entries()) {
    progress(`${one.scenario}, data=${one.data}`);
    const found = huntOne(one, hunted);
    if (found !== undefined) return found;
  }
  return undefined;
}

function huntOne(one: Hunt, hunted: number): Found | undefined {
  const { base, calls, slowSpot, duringRecovery, mayFail } = SCENARIOS.find(({ name }) => name === one.scenario)!;
  const disk = crashBase(one.features === undefined ? base : { ...base, features: readFeatures(one.features) });
  const options: JudgeWorkloadOptions = {
    ...BOUNDS,
    data: one.data,
    mount: one.mount ?? "",
    ...(one.late === undefined ? {} : { late: one.late }),
    ...(one.flushAt === undefined ? {} : { flushAt: one.flushAt }),
    ...(slowSpot === undefined ? {} : { slowSpot }),
    duringRecovery: duringRecovery === true,
    mayFail: mayFail === true,
  };
  const stopped = (some: readonly AceCall[], before: readonly AceCall[], ms: number): Stop | undefined =>
    stopOf(() => judgeWorkload(disk, some, { ...options, before }), ms);
  const stop = stopped(calls, [], HANG_MS);
  if (stop !== undefined) {
    // Whatever stops in some other way counts, too.
    const limitMs = stop.class === "hang" ? HANG_AGAIN_MS : HANG_MS;
    const left = smallestWorkload(calls, (some, before) => stopped(some, before, limitMs) !== undefined);
    return { hunt: one, hunted, ...stop, ...sizesOf(left), lost: 0, byPrefixes: true };
  }
  const shrunk = shrinkWorkload(disk, calls, options);
  if (shrunk === undefined) return undefined;
  const { summary } = shrunk.judged;
  const { set } = parseStateId(shrunk.state);
  const first = summary.firstFailures[0]!;
  return {
    hunt: one,
    hunted,
    class: first.class,
    why: first.why,
    ...sizesOf(shrunk),
    lost: /x([\d.]+)/.exec(set)?.[1]?.split(".").length ?? 0,
    byPrefixes: summary.flaggedByPrefixes > 0,
  };
}

function sizesOf({ calls, before }: SmallWorkload) {
  const stage = before.length === 0 ? "" : `on a disk with ${before.map(wordsOf).join("; ")}: `;
  const text = stage + calls.map(wordsOf).join("; ");
  return { text, calls: calls.length, operations: operationsIn(calls), before: before.length };
}

interface Stop {
  readonly class: "panic" | "hang";
  readonly why: string;
}

function stopOf(run: () => unknown, ms: number): Stop | undefined {
  try {
    withinMs(ms, () => prepared(run));
    return undefined;
  } catch (error) {
    const hangs = error instanceof NoEnd || error instanceof CutOff;
    return { class: hangs ? "hang" : "panic", why: error instanceof Error ? error.message : String(error) };
  }
}
