/**
 * Some of a recording's crash states, where a judge is too slow for all: as many as are wanted, of distinct content, from
 * all segments and all kinds of states alike. The same seed draws the same ones.
 *
 * A lane is one kind of state of one segment. Each round takes one state of each lane (of some by chance, where fewer are
 * wanted than there are lanes), within a lane spread evenly.
 *
 * - sampleStates(disk, segments, wanted, seed)
 */
import { nextBelow, nextUnit, prng } from "../../../kernel/lib/prng.ts";
import type { CrashDisk } from "../crash_disk.ts";
import type { SegmentStates, StateKind } from "../enumerate.ts";
import type { StateSet } from "../state_set.ts";

export interface SampledState {
  readonly kind: StateKind;
  /** Place of its segment. */
  readonly segment: number;
  readonly set: StateSet;
  readonly key: number;
}

export interface Sample {
  /** In the order of the segments. */
  readonly states: readonly SampledState[];
  /** How many there are in all, equal contents among them. */
  readonly inAll: number;
}

interface Lane {
  readonly segment: number;
  readonly first: number;
  readonly count: number;
  readonly start: number;
  readonly drawn: Set<number>;
}

/** Multiples of it, modulo 1, leave no large gap. */
const GOLDEN = 0.6180339887498949;

export function sampleStates(
  disk: CrashDisk,
  segments: readonly SegmentStates[],
  wanted: number,
  seed: number,
): Sample {
  const random = prng(seed);
  const lanes = segments.flatMap(({ parts }, segment) => lanesOf(parts, segment, random));
  const seen = new Set<number>();
  const states: SampledState[] = [];
  for (let left = lanes; states.length < wanted && left.length > 0;) {
    const round = shuffled(left, random).slice(0, wanted - states.length);
    let entered = -1;
    for (const lane of round.sort((a, b) => a.segment - b.segment)) {
      const { segment } = lane;
      if (entered !== segment) disk.enter(segments[segment]!.segment);
      entered = segment;
      const { kind, set } = segments[segment]!.at(lane.first + draw(lane));
      disk.state(set);
      const key = disk.rawKey();
      if (seen.has(key)) continue;
      seen.add(key);
      states.push({ kind, segment, set, key });
    }
    disk.undo();
    left = left.filter(({ drawn, count }) => drawn.size < count);
  }
  states.sort((a, b) => a.segment - b.segment);
  return { states, inAll: segments.reduce((sum, { count }) => sum + count, 0) };
}

function lanesOf(parts: SegmentStates["parts"], segment: number, random: Int32Array): Lane[] {
  let first = 0;
  return parts.map(({ count }) => {
    const lane = { segment, first, count, start: nextUnit(random), drawn: new Set<number>() };
    first += count;
    return lane;
  });
}

/** The next that was not drawn: there is one. */
function draw({ drawn, start, count }: Lane): number {
  let n = Math.floor(((start + drawn.size * GOLDEN) % 1) * count);
  while (drawn.has(n)) n = (n + 1) % count;
  drawn.add(n);
  return n;
}

function shuffled<T>(list: readonly T[], random: Int32Array): T[] {
  const all = [...list];
  for (let n = all.length - 1; n > 0; n--) {
    const other = nextBelow(random, n + 1);
    [all[n], all[other]] = [all[other]!, all[n]!];
  }
  return all;
}
