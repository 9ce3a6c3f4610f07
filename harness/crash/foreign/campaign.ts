/**
 * A sample of one recording's states judged by real guests and the file system's own checker. Each state is a piece of
 * work of the chunk log: a campaign that was stopped goes on where it was.
 *
 * - runForeignCampaign(work)
 */
import type { ProgressLine } from "../../cli/progress.ts";
import { CHUNK_LOG, openChunkLog } from "../chunk_log.ts";
import type { EnumerateOptions } from "../enumerate.ts";
import type { ChunkOutcome } from "../explore.ts";
import { factsBeside } from "../guest_runs.ts";
import type { GuestTemplate } from "../guest_template.ts";
import { loadRecorded } from "../recorded.ts";
import { stateId } from "../state_set.ts";
import { summarise } from "../summary.ts";
import type { Summary } from "../summary.ts";
import { FLAG_CLASSES, isFlagged } from "../verdict.ts";
import { openForeign } from "./judge.ts";
import type { Foreign, ForeignVerdict } from "./judge.ts";
import { sampleStates } from "./sample.ts";
import type { SampledState } from "./sample.ts";

export interface ForeignWork {
  readonly template: GuestTemplate;
  readonly base: string;
  readonly log: string;
  readonly bounds: EnumerateOptions;
  /** States that are judged, at most. */
  readonly states: number;
  readonly workers: number;
  readonly line: ProgressLine;
  readonly stop: AbortSignal;
  readonly path: (file: string) => string;
}

export interface ForeignFound {
  readonly summary: Summary;
  /** States of the recording within the bounds; the summary's are those that were judged. */
  readonly inAll: number;
  /** States that are not flagged, but have damage that is no bug without a journal: how many, and of each kind. */
  readonly expected: number;
  readonly expectedByKind: Readonly<Record<string, number>>;
}

export async function runForeignCampaign(work: ForeignWork): Promise<ForeignFound> {
  const { template, bounds, states, line, stop } = work;
  const recorded = loadRecorded(work.base, work.log);
  const foreign = openForeign(recorded, factsBeside(work.log), { template, bounds, seats: work.workers });
  try {
    const sample = sampleStates(foreign.disk, foreign.segments, states, bounds.seed);
    const results = openChunkLog(work.path(CHUNK_LOG), {
      schema: 1,
      kind: "head",
      log: recorded.hash,
      options: { ...bounds, fs: template.fs.name, states },
      chunks: sample.states.length,
      shard: [1, 1],
    });
    const outcomes = [...results.done];
    const before = new Set(outcomes.map(({ chunk }) => chunk));
    const todo = [...sample.states.keys()].filter((n) => !before.has(n));
    let next = 0;
    let flagged = outcomes.reduce((sum, { flaggedKeys }) => sum + flaggedKeys.length, 0);
    const seat = async (number: number): Promise<void> => {
      while (next < todo.length && !stop.aborted) {
        const chunk = todo[next++]!;
        const state = sample.states[chunk]!;
        const startedMs = performance.now();
        const verdict = await foreign.judge(number, state.segment, state.set);
        // Ctrl-C reaches the guests, too: what they said last is no verdict.
        if (stop.aborted) return;
        const outcome = outcomeOf(foreign, chunk, state, verdict, performance.now() - startedMs);
        results.append(outcome);
        outcomes.push(outcome);
        flagged += outcome.flaggedKeys.length;
        line.update(`${outcomes.length} of ${sample.states.length} states, ${flagged} flagged`);
      }
    };
    try {
      await Promise.all(Array.from({ length: work.workers }, (_, number) => seat(number)));
    } finally {
      results.close();
    }
    outcomes.sort((a, b) => a.chunk - b.chunk);
    return { summary: summarise(outcomes), inAll: sample.inAll, ...expectedOf(outcomes) };
  } finally {
    await foreign.close();
  }
}

function expectedOf(outcomes: readonly ChunkOutcome[]): Pick<ForeignFound, "expected" | "expectedByKind"> {
  const byKind: Record<string, number> = {};
  const damaged = outcomes.filter(({ expected = [], flagged }) => expected.length > 0 && flagged.length === 0);
  for (const { expected = [] } of damaged) for (const kind of expected) byKind[kind] = (byKind[kind] ?? 0) + 1;
  return { expected: damaged.length, expectedByKind: byKind };
}

function outcomeOf(
  { recorded, segments }: Foreign,
  chunk: number,
  { kind, segment, set, key }: SampledState,
  verdict: ForeignVerdict,
  ms: number,
): ChunkOutcome {
  const { epoch, fuas } = segments[segment]!.segment;
  const id = stateId(recorded.hash, epoch, fuas, set.text);
  const broken = isFlagged(verdict);
  return {
    chunk,
    byKind: { [kind]: 1 },
    flaggedByKind: broken ? { [kind]: 1 } : {},
    keys: Float64Array.of(key),
    flaggedKeys: broken ? Float64Array.of(key) : new Float64Array(),
    flaggedClasses: broken ? Uint8Array.of(FLAG_CLASSES.findIndex((name) => name === verdict.class)) : new Uint8Array(),
    tornKeys: verdict.class === "superblockTear" ? Float64Array.of(key) : new Float64Array(),
    flagged: broken ? [{ id, kind, class: verdict.class, why: verdict.why }] : [],
    recovered: 1,
    expected: verdict.expected,
    ms,
  };
}
