/**
 * Miss ratios of every eviction policy on every synthetic trace, beside Belady's bound: the table of docs/evict.md.
 * Nothing is timed: the same seed gives the same table on any machine.
 */
import { EVICT_POLICIES, minMisses, replay, syntheticTrace, type Trace } from "../../mm/index.ts";
import type { Bench, BenchOptions, BenchTable } from "./bench.ts";

const SEED = 1;
const SIZE = 1_000;
const REQUESTS = 500_000;
const REQUESTS_QUICK = 50_000;
/** Shape and skew. */
const TRACES: readonly (readonly [shape: string, alpha: number])[] = [
  ["zipf", 0.7],
  ["zipf", 1],
  ["scan", 1],
  ["loop", 0],
  ["shift", 1],
];

function run({ quick, progress }: BenchOptions): BenchTable {
  const requests = quick ? REQUESTS_QUICK : REQUESTS;
  const traces: [string, Trace][] = TRACES.map(([shape, alpha]) => [
    alpha === 0 ? shape : `${shape} ${alpha}`,
    syntheticTrace(shape, { size: SIZE, requests, seed: SEED, alpha }),
  ]);
  const ratios = (misses: (trace: Trace) => number): Record<string, number> =>
    Object.fromEntries(traces.map(([name, trace]) => [name, Number((misses(trace) / requests).toFixed(4))]));
  const rows = EVICT_POLICIES.map((type) => {
    progress(type.name);
    return { policy: type.name, ...ratios((trace) => replay(type, trace, SIZE, SEED).misses) };
  });
  rows.push({ policy: "belady", ...ratios(({ requests: stream, keys }) => minMisses(stream, keys, SIZE)) });
  const notes = [`miss ratios; ${requests} requests, ${SIZE} pages, seed ${SEED}; a column is a shape and its skew`];
  return { schema: 1, name: "evict_misses", rows, notes };
}

export const bench: Bench = {
  name: "evict_misses",
  help: "miss ratios of each eviction policy on each synthetic trace, beside Belady's bound",
  run: (options) => Promise.resolve(run(options)),
};
