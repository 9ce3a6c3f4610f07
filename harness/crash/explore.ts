/**
 * Judges a run of states of one recording, in one thread. Who deals the runs out is fleet.ts.
 *
 * - openExplorer(recorded, options)   disk, judge, promises and segments
 * - chunksOf(explorer, size)          the whole work in pieces that do not depend on who does them
 * - runChunk(explorer, chunk)        the piece's outcome
 *
 * States whose content was met before in the piece are counted and not judged again, unless more was promised meanwhile.
 */
import type { Policy } from "../../kernel/index.ts";
import { blockSizeAt } from "../../kernel/index.ts";
import { UserError } from "../cli/exit.ts";
import { CrashDisk } from "./crash_disk.ts";
import { statesOf } from "./enumerate.ts";
import type { EnumerateOptions, SegmentStates, StateKind } from "./enumerate.ts";
import { Ext4Judge } from "./judge_ext4.ts";
import { DerivedPromises } from "./promises_derived.ts";
import { segmentsOf } from "./recorded.ts";
import type { Recorded } from "./recorded.ts";
import { stateId } from "./state_set.ts";
import { FLAG_CLASSES, isFlagged, isRefusedTear } from "./verdict.ts";
import type { Promises, Verdict } from "./verdict.ts";

export interface ExploreOptions extends EnumerateOptions {
  readonly policy: Policy;
}

export interface Explorer {
  readonly recorded: Recorded;
  readonly options: ExploreOptions;
  readonly disk: CrashDisk;
  readonly judge: Ext4Judge;
  readonly segments: readonly SegmentStates[];
}

/** States `from` to `to` of one segment, or each `step`-th of them. */
export interface Chunk {
  readonly index: number;
  readonly segment: number;
  readonly from: number;
  readonly to: number;
  readonly step?: number;
}

export interface FlaggedState {
  readonly id: string;
  readonly kind: StateKind;
  readonly class: string;
  readonly why: string;
}

export interface ChunkOutcome {
  readonly chunk: number;
  /** States by kind, and those of them that were flagged when their content was first met. */
  readonly byKind: Readonly<Partial<Record<StateKind, number>>>;
  readonly flaggedByKind: Readonly<Partial<Record<StateKind, number>>>;
  /** Key of each distinct content, ascending. */
  readonly keys: Float64Array;
  /** Those of them that are flagged, each with its class's place in FLAG_CLASSES; and those that are torn superblocks. */
  readonly flaggedKeys: Float64Array;
  readonly flaggedClasses: Uint8Array;
  readonly tornKeys: Float64Array;
  readonly flagged: readonly FlaggedState[];
  /** Contents after recovery. */
  readonly recovered: number;
  /** Kinds of damage that are no bug of a file system without a journal (foreign/); of ext4 there are none. */
  readonly expected?: readonly string[];
  readonly ms: number;
}

/** Flagged states of one piece that are kept by name; all are counted. */
const FLAGGED_MAX = 2_000;

export function openExplorer(recorded: Recorded, options: ExploreOptions, promises?: Promises): Explorer {
  const blockSize = blockSizeOf(recorded);
  if (promises === undefined && recorded.markers.length > 0)
    promises = new DerivedPromises(new CrashDisk(recorded, blockSize), recorded, options.policy);
  const disk = new CrashDisk(recorded, blockSize);
  const judge = new Ext4Judge(disk, options.policy);
  judge.promises = promises;
  return { recorded, options, disk, judge, segments: segmentsOf(recorded).map((one) => statesOf(one, options)) };
}

export function blockSizeOf({ base }: Recorded): number {
  const view = new DataView(base.buffer, base.byteOffset, base.byteLength);
  const size = base.length >= 2048 ? blockSizeAt(view, 1024) : 0;
  if (size === 0)
    throw new UserError("the image before the log holds no ext4; choose another judge with --fs, or another image");
  return size;
}

export function chunksOf({ segments }: Pick<Explorer, "segments">, size: number): Chunk[] {
  const chunks: Chunk[] = [];
  for (const [segment, { count }] of segments.entries())
    for (let from = 0; from < count; from += size)
      chunks.push({ index: chunks.length, segment, from, to: Math.min(count, from + size) });
  return chunks;
}

export function runChunk(explorer: Explorer, chunk: Chunk): ChunkOutcome {
  const startedMs = performance.now();
  const { disk, judge, recorded } = explorer;
  const states = explorer.segments[chunk.segment]!;
  const { segment } = states;
  disk.enter(segment);
  const seen = new Seen();
  const byKind: Partial<Record<StateKind, number>> = {};
  const flaggedByKind: Partial<Record<StateKind, number>> = {};
  const flagged: FlaggedState[] = [];
  const before = judge.recovered;
  for (let n = chunk.from; n < chunk.to; n += chunk.step ?? 1) {
    const { kind, counts, set } = states.at(n);
    if (counts) byKind[kind] = (byKind[kind] ?? 0) + 1;
    const markers = segment.markers[set.cut]!;
    disk.state(set);
    const key = disk.rawKey();
    if (seen.has(key, markers)) continue;
    const verdict = judge.verdict(set.tear !== undefined, markers);
    seen.set(key, markers, verdict);
    if (!isFlagged(verdict)) continue;
    flaggedByKind[kind] = (flaggedByKind[kind] ?? 0) + 1;
    if (flagged.length >= FLAGGED_MAX) continue;
    const id = stateId(recorded.hash, segment.epoch, segment.fuas, set.text);
    flagged.push({ id, kind, class: verdict.class, why: verdict.why });
  }
  disk.undo();
  return {
    chunk: chunk.index,
    byKind,
    flaggedByKind,
    keys: seen.keys(() => true),
    ...seen.flagged(),
    tornKeys: seen.keys(isRefusedTear),
    flagged,
    recovered: judge.recovered - before,
    ms: performance.now() - startedMs,
  };
}

/** Verdicts by content and by how much was promised. */
class Seen {
  readonly #byMarkers = new Map<number, Map<number, Verdict>>();

  has(key: number, markers: number): boolean {
    return this.#byMarkers.get(markers)?.has(key) === true;
  }

  set(key: number, markers: number, verdict: Verdict): void {
    let verdicts = this.#byMarkers.get(markers);
    if (verdicts === undefined) this.#byMarkers.set(markers, (verdicts = new Map()));
    verdicts.set(key, verdict);
  }

  flagged(): { flaggedKeys: Float64Array; flaggedClasses: Uint8Array } {
    const flaggedKeys = this.keys(isFlagged);
    const classes = [...flaggedKeys].map((key) => {
      for (const verdicts of this.#byMarkers.values()) {
        const at = FLAG_CLASSES.findIndex((name) => name === verdicts.get(key)?.class);
        if (at >= 0) return at;
      }
      return 0;
    });
    return { flaggedKeys, flaggedClasses: Uint8Array.from(classes) };
  }

  keys(wanted: (verdict: Verdict) => boolean): Float64Array {
    const keys = new Set<number>();
    for (const verdicts of this.#byMarkers.values())
      for (const [key, verdict] of verdicts) if (wanted(verdict)) keys.add(key);
    return Float64Array.from(keys).sort();
  }
}
