/**
 * How long system calls take, from the way in to the answer, by number, from the stream of events. Where several workers
 * answer calls each has a table of its own, in shared memory, and all together the times of the ways in.
 *
 *   table: [number] count | [number] sum, ns | [number] most, ns | [number] histogram, in units of 16 ns
 *
 * - take(...)          an event sink
 * - callRows(tables)   a row for each number that was called
 */
import { SysEv } from "../abi/events.ts";
import { NR_MAX, syscallName } from "../abi/syscall_nr.ts";
import { HISTOGRAM_WORDS, quantile, record } from "../lib/histogram.ts";

/** Latencies are counted in units of 16 ns. */
const UNIT = 16;
const NUMBERS = NR_MAX + 1;

export interface CallRow {
  readonly name: string;
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export class CallTimes {
  static readonly bytes = NUMBERS * (3 * 8 + 4 * HISTOGRAM_WORDS);
  readonly counts: Float64Array;
  readonly sums: Float64Array;
  readonly most: Float64Array;
  readonly histograms: Int32Array;
  readonly #now: () => number;
  readonly #entered: Float64Array;

  /** `entered`: by row, the way into its call. `shared`: the table at `offset`. */
  constructor(now: () => number, entered: Float64Array, shared = new SharedArrayBuffer(CallTimes.bytes), offset = 0) {
    this.#now = now;
    this.#entered = entered;
    this.counts = new Float64Array(shared, offset, NUMBERS);
    this.sums = new Float64Array(shared, offset + NUMBERS * 8, NUMBERS);
    this.most = new Float64Array(shared, offset + NUMBERS * 16, NUMBERS);
    this.histograms = new Int32Array(shared, offset + NUMBERS * 24, NUMBERS * HISTOGRAM_WORDS);
  }

  readonly take = (type: number, _cpu: number, a: number, b: number): void => {
    if (type === SysEv.Enter) this.#entered[a] = this.#now();
    else if (type === SysEv.Exit) this.#left(b, this.#now() - this.#entered[a]!);
  };

  #left(nr: number, ns: number): void {
    if (nr > NR_MAX) return;
    record(this.histograms, nr * HISTOGRAM_WORDS, Math.floor(ns / UNIT));
    this.counts[nr]!++;
    this.sums[nr]! += ns;
    if (ns > this.most[nr]!) this.most[nr] = ns;
  }
}

export function callRows(tables: readonly CallTimes[]): readonly CallRow[] {
  const rows: CallRow[] = [];
  for (let nr = 0; nr < NUMBERS; nr++) {
    const count = tables.reduce((sum, { counts }) => sum + counts[nr]!, 0);
    if (count === 0) continue;
    const histogram = new Int32Array(HISTOGRAM_WORDS);
    for (const { histograms } of tables)
      for (let at = 0; at < HISTOGRAM_WORDS; at++) histogram[at]! += histograms[nr * HISTOGRAM_WORDS + at]!;
    rows.push({
      name: syscallName(nr),
      count,
      meanUs: tables.reduce((sum, { sums }) => sum + sums[nr]!, 0) / count / 1_000,
      p50Us: (quantile(histogram, 0, 0.5) * UNIT) / 1_000,
      p99Us: (quantile(histogram, 0, 0.99) * UNIT) / 1_000,
      maxUs: Math.max(...tables.map(({ most }) => most[nr]!)) / 1_000,
    });
  }
  return rows;
}
