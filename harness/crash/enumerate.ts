/**
 * The crash states of one segment, in a fixed order, each by its number: so that they can be dealt out to workers and
 * machines, and a part be done again.
 *
 *   subsets     all 2^n when at most `maxSubset` writes are free; each is asked for all promises of its epoch
 *   beyond it   each prefix with one of its writes lost; each write alone; random subsets, half of them with few writes
 *               lost near the end, by seed; prefixes, asked for all promises of the epoch
 *   prefixes    what in-order replay sees: the crash comes right after the last write. Below `maxSubset` they are subsets
 *               that were judged already, with fewer promises, and do not count as states
 *   tears       the last write of each prefix torn at an atomic sector, and each write torn with all others whole
 *
 * - statesOf(segment, options)   parts with their counts;   at(n) the n-th state
 */
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { Segment } from "./recorded.ts";
import { maskText, parseSet } from "./state_set.ts";
import type { StateSet } from "./state_set.ts";

export interface EnumerateOptions {
  readonly maxSubset: number;
  /** Random subsets of a segment that is too large. */
  readonly random: number;
  /** Bytes that a disk writes whole or not at all: 512 or 4096. */
  readonly sector: number;
  readonly tears: boolean;
  readonly seed: number;
  /** A prefix of a large segment loses each of so many writes before its last. */
  readonly dropSpan: number;
}

export const STATE_KINDS = ["subset", "dropOne", "onlyOne", "random", "tail", "torn", "prefix"] as const;
export type StateKind = (typeof STATE_KINDS)[number];

interface Part {
  readonly kind: StateKind;
  readonly count: number;
  /** Whether its states count: not those that another part has already. */
  readonly counts: boolean;
  readonly text: (n: number) => string;
}

export interface SegmentStates {
  readonly segment: Segment;
  readonly parts: readonly Part[];
  readonly count: number;
  at(n: number): { readonly kind: StateKind; readonly counts: boolean; readonly set: StateSet };
}

export const DROP_SPAN_DEFAULT = 512;
/** Places at which one write is torn; more boundaries are sampled evenly. */
const TEARS_MAX = 64;
const FEW_LOST_MAX = 3;
const NEAR_END = 64;

export function statesOf(segment: Segment, options: EnumerateOptions): SegmentStates {
  const free = segment.free.length;
  const small = free <= options.maxSubset;
  const parts: Part[] = small ? [subsets(free)] : beyond(segment, options);
  if (options.tears) parts.push(tears(segment, options));
  parts.push({ kind: "prefix", counts: !small, count: free + 1, text: (n) => `p${n}` });
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  return {
    segment,
    parts,
    count,
    at(n) {
      let left = n;
      for (const part of parts) {
        if (left < part.count) {
          return { kind: part.kind, counts: part.counts, set: parseSet(part.text(left), free) };
        }
        left -= part.count;
      }
      throw new Error(`statesOf: there is no state ${n} of ${count}`);
    },
  };
}

/** The one state of an epoch without writes is the last one of the epoch before, asked for more promises. */
const subsets = (free: number): Part => ({
  kind: "subset",
  counts: free > 0,
  count: 2 ** free,
  text: (n) => `s${n.toString(16)}`,
});

function beyond(segment: Segment, { random, seed, dropSpan }: EnumerateOptions): Part[] {
  const free = segment.free.length;
  const span = Math.min(free, dropSpan);
  // Prefix p loses one of the writes before its last: dropping the last is a shorter prefix.
  const first: number[] = [0];
  for (let p = 1; p <= free; p++) first.push(first[p - 1]! + Math.min(p - 1, span));
  return [
    {
      kind: "dropOne",
      counts: true,
      count: first[free]!,
      text: (n) => {
        const p = lastAtMost(first, n) + 1;
        return `p${p}x${p - 2 - (n - first[p - 1]!)}`;
      },
    },
    { kind: "onlyOne", counts: true, count: free, text: (n) => `o${n}` },
    { kind: "random", counts: true, count: random, text: (n) => randomSet(segment, seed, n) },
    { kind: "tail", counts: false, count: free, text: (n) => `p${n}e` },
  ];
}

/** Index of the last entry that is no larger, of an ascending list with repeats. */
function lastAtMost(list: readonly number[], value: number): number {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (list[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

function randomSet(segment: Segment, seed: number, n: number): string {
  const free = segment.free.length;
  const state = prng(seed + segment.epoch * 0x10001 + segment.fuas * 0x1000003 + n * 0x9e3779b1);
  const end = 1 + nextBelow(state, free);
  const kept = new Uint8Array(free);
  if (n % 2 === 0) {
    for (let write = 0; write < end; write++) kept[write] = nextBelow(state, 2);
  } else {
    kept.fill(1, 0, end);
    const lost = 1 + nextBelow(state, FEW_LOST_MAX);
    for (let k = 0; k < lost; k++) kept[end - 1 - nextBelow(state, Math.min(end, NEAR_END))] = 0;
  }
  return maskText(kept);
}

function tears(segment: Segment, { sector }: EnumerateOptions): Part {
  const free = segment.free.length;
  const cuts: { readonly write: number; readonly bytes: number }[] = [];
  for (const [write, place] of segment.free.entries()) {
    const { offset, length } = segment.writes[place]!;
    const first = sector - (offset % sector);
    const boundaries = Math.ceil((length - first) / sector);
    const step = Math.max(1, boundaries / TEARS_MAX);
    for (let n = 0; n < boundaries; n += step) cuts.push({ write, bytes: first + Math.floor(n) * sector });
  }
  return {
    kind: "torn",
    counts: true,
    count: cuts.length * 3,
    text: (n) => {
      const { write, bytes } = cuts[Math.floor(n / 3)]!;
      if (n % 3 === 0) return `p${write + 1}t${write}+${bytes}`;
      return `p${free}t${write}${n % 3 === 1 ? "+" : "-"}${bytes}`;
    },
  };
}
