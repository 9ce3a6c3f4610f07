/**
 * One recording explored from its files: opened, cut into pieces, judged by all workers, written down, summed up, and
 * where that is asked the referee heard.
 *
 * - runCampaign(work)            what was found; the pieces that are in the directory already are not done again
 * - boundsFor(recorded, bounds, wanted)   bounds widened until so many states are enumerated
 */
import type { ProgressLine } from "../cli/progress.ts";
import type { Run } from "../run/run.ts";
import { CHUNK_LOG, openChunkLog } from "./chunk_log.ts";
import { statesOf } from "./enumerate.ts";
import { chunksOf, openExplorer } from "./explore.ts";
import type { ExploreOptions } from "./explore.ts";
import { runFleet } from "./fleet.ts";
import { loadRecorded, segmentsOf } from "./recorded.ts";
import type { Recorded } from "./recorded.ts";
import type { Refereed } from "./referee.ts";
import type { KernelSample } from "./referee_sample.ts";
import { summarise } from "./summary.ts";
import type { Summary } from "./summary.ts";

export interface CampaignWork {
  readonly base: string;
  readonly log: string;
  readonly bounds: ExploreOptions;
  readonly shard: readonly [part: number, parts: number];
  readonly workers: number;
  /** Clean states that e2fsck judges, too, and that a real kernel mounts. */
  readonly referee: number;
  readonly kernel: number;
  readonly line: ProgressLine;
  readonly stop: AbortSignal;
  /** Makes the run's directory, once the recording was found to be one. */
  readonly open: () => Pick<Run, "path" | "finish" | "dir">;
}

export interface CampaignFound {
  readonly whole: boolean;
  readonly recorded: Recorded;
  readonly run: Pick<Run, "path" | "finish" | "dir">;
  readonly summary: Summary;
  readonly refereed: Refereed | undefined;
  readonly byKernel: KernelSample | undefined;
  readonly pieces: number;
  readonly piecesInAll: number;
  readonly workers: number;
  /** Distinct contents a second and worker; null when all had been judged before. */
  readonly statesPerSecond: number | null;
}

/** States of one piece of work: about a second. */
const CHUNK_STATES = 8_192;

export async function runCampaign(work: CampaignWork): Promise<CampaignFound> {
  const { base, log, bounds, shard, line, stop } = work;
  const recorded = loadRecorded(base, log);
  const explorer = openExplorer(recorded, bounds);
  const all = chunksOf(explorer, CHUNK_STATES);
  const run = work.open();
  const results = openChunkLog(run.path(CHUNK_LOG), {
    schema: 1,
    kind: "head",
    log: recorded.hash,
    options: { ...bounds },
    chunks: all.length,
    shard,
  });
  const outcomes = [...results.done];
  const before = new Set(outcomes.map(({ chunk }) => chunk));
  const mine = all.filter(({ index }) => index % shard[1] === shard[0] - 1);
  const todo = mine.filter(({ index }) => !before.has(index));
  const statesIn = (chunk: number): number => all[chunk]!.to - all[chunk]!.from;
  const total = mine.reduce((sum, { index }) => sum + statesIn(index), 0);
  const workers = Math.max(1, Math.min(work.workers, todo.length));
  const startedMs = performance.now();
  let done = outcomes.reduce((sum, { chunk }) => sum + statesIn(chunk), 0);
  let judged = 0;
  let flagged = 0;
  const perSecond = (): number => Math.round(judged / ((performance.now() - startedMs) / 1000));
  try {
    const whole =
      todo.length === 0 || (await runFleet({ base, log, options: bounds }, todo, results, workers, onOutcome, stop));
    const rate = judged === 0 ? null : Math.round(perSecond() / workers);
    outcomes.sort((a, b) => a.chunk - b.chunk);
    const summary = summarise(outcomes);
    const { kernelSample, refereeSample } = await import("./referee_sample.ts");
    const refereed = whole ? await refereeSample(explorer, outcomes, work.referee, bounds.seed, line, stop) : undefined;
    const byKernel = whole ? await kernelSample(explorer, outcomes, work.kernel, bounds.seed, line, stop) : undefined;
    return {
      whole: whole && !stop.aborted,
      recorded,
      run,
      summary,
      refereed,
      byKernel,
      pieces: outcomes.length,
      piecesInAll: mine.length,
      workers,
      statesPerSecond: rate,
    };
  } finally {
    results.close();
  }

  function onOutcome(outcome: (typeof outcomes)[number]): void {
    outcomes.push(outcome);
    judged += outcome.keys.length;
    flagged += outcome.flaggedKeys.length;
    done += statesIn(outcome.chunk);
    const share = Math.floor((100 * done) / Math.max(1, total));
    const secondsLeft = Math.round((total - done) / Math.max(1, perSecond()));
    line.update(
      `${done} of ${total} states (${share} %), ${perSecond()} distinct a second, ${flagged} flagged, ${secondsLeft} s left`,
    );
  }
}

const SUBSETS_MAX = 20;

/** Larger epochs get more random subsets; when there are none, more epochs count as small. */
export function boundsFor(recorded: Recorded, bounds: ExploreOptions, wanted: number): ExploreOptions {
  const segments = segmentsOf(recorded);
  const count = (options: ExploreOptions): number =>
    segments.reduce((sum, segment) => sum + statesOf(segment, options).count, 0);
  const large = segments.filter(({ free }) => free.length > bounds.maxSubset).length;
  const without = count({ ...bounds, random: 0 });
  if (without >= wanted) return { ...bounds, random: 0 };
  if (large > 0) return { ...bounds, random: Math.ceil((wanted - without) / large) };
  let { maxSubset } = bounds;
  while (maxSubset < SUBSETS_MAX && count({ ...bounds, maxSubset, random: 0 }) < wanted) maxSubset++;
  return { ...bounds, maxSubset, random: 0 };
}
