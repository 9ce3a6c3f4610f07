/**
 * One workload on our ext4, crashed in every way within the bounds.
 *
 * - judgeWorkload(base, calls, options)     states, flagged ones, and how much of the epochs the bounds cover
 * - shrinkWorkload(base, calls, options)    the fewest calls that still break, and of these the state with the fewest
 *                                           lost writes; undefined when nothing breaks
 */
import type { Policy } from "../../kernel/index.ts";
import type { AceCall } from "./ace.ts";
import { openExplorer, chunksOf, runChunk } from "./explore.ts";
import type { Explorer, ExploreOptions } from "./explore.ts";
import { fewest } from "./fewest.ts";
import { shrinkState } from "./shrink.ts";
import { parseStateId, stateId } from "./state_set.ts";
import { summarise } from "./summary.ts";
import type { Summary } from "./summary.ts";
import { runRecovery, runWorkload } from "./workload_run.ts";
import type { CrashBase, WorkloadOptions, WorkloadRun } from "./workload_run.ts";

export interface JudgeWorkloadOptions extends WorkloadOptions {
  readonly policy: Policy;
  readonly maxSubset: number;
  readonly tears: boolean;
  readonly seed: number;
  /** What is judged is a crash during the recovery from a crash at the workload's end. */
  readonly duringRecovery?: boolean;
  /** For epochs beyond the bound; missing: 100 and 16 (enumerate.ts). */
  readonly random?: number;
  readonly dropSpan?: number;
  /** Bytes that the disk writes whole or not at all; missing: 512. */
  readonly sector?: number;
  /** Calls that fail are no reason to doubt what the others show. */
  readonly mayFail?: boolean;
}

export interface JudgedWorkload {
  readonly run: WorkloadRun;
  readonly explorer: Explorer;
  readonly summary: Summary;
  /** Epochs with writes, and those of them of which all subsets were judged. */
  readonly epochs: number;
  readonly wholeEpochs: number;
}

const RANDOM = 100;
const DROP_SPAN = 16;

export function boundsOf(options: JudgeWorkloadOptions): ExploreOptions {
  const { policy, maxSubset, tears, seed, random = RANDOM, dropSpan = DROP_SPAN, sector = 512 } = options;
  return { policy, maxSubset, tears, seed, sector, random, dropSpan };
}

export function judgeWorkload(
  base: CrashBase,
  calls: readonly AceCall[],
  options: JudgeWorkloadOptions,
): JudgedWorkload {
  const run = runWorkload(base, calls, options);
  return judgeRun(options.duringRecovery === true ? runRecovery(base, run, options) : run, options);
}

/** A run that was recorded, or made up from one. */
export function judgeRun(run: WorkloadRun, options: JudgeWorkloadOptions): JudgedWorkload {
  const explorer = openExplorer(run.recorded, boundsOf(options), run.promises);
  const summary = summarise(chunksOf(explorer, Infinity).map((chunk) => runChunk(explorer, chunk)));
  const sizes = explorer.segments.map(({ segment }) => segment.free.length).filter((size) => size > 0);
  return {
    run,
    explorer,
    summary,
    epochs: sizes.length,
    wholeEpochs: sizes.filter((size) => size <= options.maxSubset).length,
  };
}

export interface ShrunkWorkload {
  readonly calls: readonly AceCall[];
  readonly judged: JudgedWorkload;
  /** Name of the state. */
  readonly state: string;
  readonly tried: number;
}

export function shrinkWorkload(
  base: CrashBase,
  calls: readonly AceCall[],
  options: JudgeWorkloadOptions,
): ShrunkWorkload | undefined {
  let tried = 0;
  const breaks = (some: readonly AceCall[]): JudgedWorkload | undefined => {
    tried++;
    const judged = judgeWorkload(base, some, options);
    const counts = options.mayFail === true || judged.run.failed.length === 0;
    return counts && judged.summary.flagged > 0 ? judged : undefined;
  };
  let judged = breaks(calls);
  if (judged === undefined) return undefined;
  const best = fewest(calls, (some) => {
    const still = breaks(some);
    if (still !== undefined) judged = still;
    return still !== undefined;
  });
  return { calls: best, judged, state: smallestState(judged), tried };
}

/** Of the first failures the one that shrinks to the fewest lost writes. */
function smallestState({ explorer, summary }: JudgedWorkload): string {
  let best: { readonly id: string; readonly lost: number } | undefined;
  for (const { id } of summary.firstFailures) {
    const { epoch, fuas, set } = parseStateId(id);
    const { segment } = explorer.segments.find((one) => one.segment.epoch === epoch && one.segment.fuas === fuas)!;
    const shrunk = shrinkState(explorer, segment, set);
    const text = shrunk?.set ?? set;
    const lost = /x([\d.]+)/.exec(text)?.[1]?.split(".").length ?? 0;
    if (best === undefined || lost < best.lost) best = { id: stateId(explorer.recorded.hash, epoch, fuas, text), lost };
  }
  return best!.id;
}
