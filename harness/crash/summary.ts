/**
 * The sum of a campaign: counts of distinct contents, by class and by kind of state, and a digest that is the same
 * whoever did the pieces in whatever order.
 */
import { createHash } from "node:crypto";
import type { ChunkOutcome, FlaggedState } from "./explore.ts";
import { STATE_KINDS } from "./enumerate.ts";
import type { StateKind } from "./enumerate.ts";
import { FLAG_CLASSES } from "./verdict.ts";

export interface Summary {
  readonly states: number;
  readonly distinct: number;
  readonly flagged: number;
  readonly clean: number;
  /** Among the clean: the superblock was torn within its checksum, Linux refuses those, too. */
  readonly superblockTears: number;
  /** Contents after recovery, summed over the pieces. */
  readonly recovered: number;
  readonly byClass: Readonly<Record<string, number>>;
  readonly byKind: Readonly<Record<string, number>>;
  readonly flaggedByKind: Readonly<Record<string, number>>;
  /** What a checker that replays prefixes would have flagged. */
  readonly flaggedByPrefixes: number;
  readonly digest: string;
  readonly firstFailures: readonly FlaggedState[];
}

const FAILURES_SHOWN = 20;

/** A witness with fewer writes lost reads better: one lost write, then one alone, then the rest. */
const WITNESS_ORDER: readonly StateKind[] = ["prefix", "subset", "dropOne", "torn", "tail", "onlyOne", "random"];

export function summarise(outcomes: readonly ChunkOutcome[]): Summary {
  const keys = new Set<number>();
  const flagged = new Map<number, number>();
  const torn = new Set<number>();
  const byKind: Record<string, number> = {};
  const flaggedByKind: Record<string, number> = {};
  let recovered = 0;
  for (const outcome of outcomes) {
    for (const key of outcome.keys) keys.add(key);
    for (const [at, key] of outcome.flaggedKeys.entries())
      if (!flagged.has(key)) flagged.set(key, outcome.flaggedClasses[at]!);
    for (const key of outcome.tornKeys) torn.add(key);
    for (const kind of STATE_KINDS) {
      byKind[kind] = (byKind[kind] ?? 0) + (outcome.byKind[kind] ?? 0);
      flaggedByKind[kind] = (flaggedByKind[kind] ?? 0) + (outcome.flaggedByKind[kind] ?? 0);
    }
    recovered += outcome.recovered;
  }
  const byClass: Record<string, number> = {};
  for (const place of flagged.values()) byClass[FLAG_CLASSES[place]!] = (byClass[FLAG_CLASSES[place]!] ?? 0) + 1;
  const failures = outcomes
    .flatMap((outcome) => outcome.flagged)
    .sort((a, b) => WITNESS_ORDER.indexOf(a.kind) - WITNESS_ORDER.indexOf(b.kind));
  return {
    states: Object.values(byKind).reduce((sum, count) => sum + count, 0),
    distinct: keys.size,
    flagged: flagged.size,
    clean: keys.size - flagged.size,
    superblockTears: [...torn].filter((key) => !flagged.has(key)).length,
    recovered,
    byClass,
    byKind,
    flaggedByKind,
    flaggedByPrefixes: flaggedByKind["prefix"] ?? 0,
    digest: digestOf(keys, flagged),
    firstFailures: failures.slice(0, FAILURES_SHOWN),
  };
}

function digestOf(keys: ReadonlySet<number>, flagged: ReadonlyMap<number, number>): string {
  const sorted = Float64Array.from(keys).sort();
  const classes = Uint8Array.from(sorted, (key) => (flagged.get(key) ?? -1) + 1);
  return createHash("sha256").update(new Uint8Array(sorted.buffer)).update(classes).digest("hex");
}
