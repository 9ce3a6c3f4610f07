/**
 * One workload on our ext4, crashed in every way within the bounds.
 *
 * - judgeWorkload(base, calls, options)     states, flagged ones, and how much of the epochs the bounds cover
 * - shrinkWorkload(base, calls, options)    the smallest workload that still breaks (shrink_calls.ts), and of it the state
 *                                           with the fewest lost writes; undefined when nothing breaks
 */
import type { Policy } from "../../kernel/index.ts";
import type { AceCall } from "./ace.ts";
import { openExplorer, chunksOf, runChunk } from "./explore.ts";
import type { Explorer, ExploreOptions } from "./explore.ts";
import { shrinkState } from "./shrink.ts";
import { smallestWorkload } from "./shrink_calls.ts";
import type { SmallWorkload } from "./shrink_calls.ts";
import { parseStateId, stateId } from "./state_set.ts";
import { summarise } from "./summary.ts";
import type { Summary } from "./summary.ts";
import { runRecovery, runWorkload, Unprepared } from "./workload_run.ts";
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
  /** Of a segment so many states at the most, evenly spread; missing: all within the bounds. */
  readonly statesMax?: number;
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
const LATE_TRIED = 4;
const LATE_STATES_MAX = 5_000;

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
  return judgeRun(options.duringRecovery === true ? runRecovery(run, options) : run, options);
}

/** A run that was recorded, or made up from one. */
export function judgeRun(run: WorkloadRun, options: JudgeWorkloadOptions): JudgedWorkload {
  const explorer = openExplorer(run.recorded, boundsOf(options), run.promises);
  const { statesMax = Infinity } = options;
  const chunks = chunksOf(explorer, Infinity).map((one) => ({ ...one, step: Math.ceil(one.to / statesMax) || 1 }));
  const summary = summarise(chunks.map((chunk) => runChunk(explorer, chunk)));
  const sizes = explorer.segments.map(({ segment }) => segment.free.length).filter((size) => size > 0);
  return {
    run,
    explorer,
    summary,
    epochs: sizes.length,
    wholeEpochs: sizes.filter((size) => size <= options.maxSubset).length,
  };
}

export interface ShrunkWorkload extends SmallWorkload {
  /** Options with which it breaks: another seed of a late disk may do. */
  readonly options: JudgeWorkloadOptions;
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
  const breaks = (some: readonly AceCall[], how: JudgeWorkloadOptions): JudgedWorkload | undefined => {
    tried++;
    const judged = prepared(() => judgeWorkload(base, some, how));
    if (judged === undefined) return undefined;
    const counts = how.mayFail === true || judged.run.failed.length === 0;
    return counts && judged.summary.flagged > 0 ? judged : undefined;
  };
  const whole = breaks(calls, options);
  if (whole === undefined) return undefined;
  const seeds = seedsOf(options, whole.summary.states < LATE_STATES_MAX);
  const broken = (some: readonly AceCall[], before: readonly AceCall[]) => {
    for (const late of seeds) {
      const how = { ...options, before, ...(late === undefined ? {} : { late }) };
      const judged = breaks(some, how);
      if (judged !== undefined) return { judged, options: how };
    }
    return undefined;
  };
  const smallest = smallestWorkload(calls, (some, before) => broken(some, before) !== undefined);
  const shown = broken(smallest.calls, smallest.before)!;
  return { ...smallest, ...shown, state: smallestState(shown.judged), tried };
}

/** Undefined: what comes before the recording breaks by itself. */
export function prepared<T>(judge: () => T): T | undefined {
  try {
    return judge();
  } catch (error) {
    if (error instanceof Unprepared) return undefined;
    throw error;
  }
}

/** Fewer calls fall on other moments of a late disk: they get a few more chances, unless that takes long. */
const seedsOf = ({ late }: JudgeWorkloadOptions, others: boolean): (number | undefined)[] =>
  late === undefined || !others ? [late] : [late, ...Array.from({ length: LATE_TRIED }, (_, n) => late + n + 1)];

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
