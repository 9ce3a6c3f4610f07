/**
 * Looks for anything that breaks our ext4, the cheapest places first: what seeded bugs are put against.
 *
 * - HUNTS              scenario, data mode, mount options, disk
 * - hunt(dir)          the first that breaks, shrunk; or that nothing does
 *
 * A panic of the file system counts as found: it is shrunk by the same calls.
 */
import type { DataMode } from "../../kernel/index.ts";
import type { AceCall } from "./ace.ts";
import { fewest } from "./fewest.ts";
import { SCENARIOS } from "./scenarios.ts";
import { judgeWorkload, shrinkWorkload } from "./workload_judge.ts";
import type { JudgeWorkloadOptions } from "./workload_judge.ts";
import { crashBase } from "./workload_run.ts";
import { parseStateId } from "./state_set.ts";

export interface Hunt {
  readonly scenario: string;
  readonly data: DataMode;
  readonly mount?: string;
  readonly late?: number;
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
  /** Hunts before it that found nothing. */
  readonly before: number;
  readonly class: string;
  readonly why: string;
  readonly text: string;
  /** Calls that are left. */
  readonly calls: number;
  readonly lost: number;
  /** Whether replaying prefixes would have shown it. */
  readonly byPrefixes: boolean;
}

const BOUNDS = { policy: "kernel", maxSubset: 6, tears: false, seed: 1, random: 30, dropSpan: 6 } as const;

const wordsOf = ({ op, path, to }: AceCall): string => [op, path, to].filter((word) => word !== undefined).join(" ");

export function hunt(progress: (line: string) => void): Found | undefined {
  for (const [before, one] of HUNTS.entries()) {
    progress(`${one.scenario}, data=${one.data}`);
    const found = huntOne(one, before);
    if (found !== undefined) return found;
  }
  return undefined;
}

function huntOne(one: Hunt, before: number): Found | undefined {
  const { base, calls, duringRecovery, mayFail } = SCENARIOS.find(({ name }) => name === one.scenario)!;
  const disk = crashBase(base);
  const options: JudgeWorkloadOptions = {
    ...BOUNDS,
    data: one.data,
    mount: one.mount ?? "",
    ...(one.late === undefined ? {} : { late: one.late }),
    duringRecovery: duringRecovery === true,
    mayFail: mayFail === true,
  };
  const panic = panicOf(() => judgeWorkload(disk, calls, options));
  if (panic !== undefined) {
    const left = fewest(calls, (some) => panicOf(() => judgeWorkload(disk, some, options)) !== undefined);
    return {
      hunt: one,
      before,
      class: "panic",
      why: panic,
      text: left.map(wordsOf).join("; "),
      calls: left.length,
      lost: 0,
      byPrefixes: true,
    };
  }
  const shrunk = shrinkWorkload(disk, calls, options);
  if (shrunk === undefined) return undefined;
  const { summary } = shrunk.judged;
  const { set } = parseStateId(shrunk.state);
  const first = summary.firstFailures[0]!;
  return {
    hunt: one,
    before,
    class: first.class,
    why: first.why,
    text: shrunk.calls.map(wordsOf).join("; "),
    calls: shrunk.calls.length,
    lost: /x([\d.]+)/.exec(set)?.[1]?.split(".").length ?? 0,
    byPrefixes: summary.flaggedByPrefixes > 0,
  };
}

function panicOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
