/**
 * How long system calls take, from the way in to the answer, by number; and pages that come back to the page cache soon
 * after they were thrown out (refaults), from the stream of events.
 *
 * - take(...)          an event sink
 * - calls()            a row for each number that was called
 * - thrashes(p)        task p's call has met such a page
 * - refaults           reads of pages that were evicted before and are remembered (as many as the cache has pages)
 */
import { Ev, SysEv } from "../abi/events.ts";
import { NR_MAX, syscallName } from "../abi/syscall_nr.ts";
import { CPUS_MAX } from "../abi/limits.ts";
import { HISTOGRAM_WORDS, quantile, record } from "../lib/histogram.ts";

/** Latencies are counted in units of 16 ns. */
const UNIT = 16;
const EVICTED = 1;

export interface CallRow {
  readonly name: string;
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export class CallTimes {
  refaults = 0;
  readonly #now: () => number;
  readonly #entered: Float64Array;
  readonly #thrashes: Uint8Array;
  /** By CPU: the task in a system call. */
  readonly #caller: Int32Array = new Int32Array(CPUS_MAX);
  readonly #counts = new Float64Array(NR_MAX + 1);
  readonly #sums = new Float64Array(NR_MAX + 1);
  readonly #most = new Float64Array(NR_MAX + 1);
  readonly #histograms = new Map<number, Int32Array>();
  /** Pages that were evicted, by a hash of file and index. */
  readonly #shadows: Float64Array;

  /** @param pages of the page cache. */
  constructor(now: () => number, rows: number, pages: number) {
    this.#now = now;
    this.#entered = new Float64Array(rows);
    this.#thrashes = new Uint8Array(rows);
    this.#shadows = new Float64Array(2 ** Math.ceil(Math.log2(Math.max(2, pages)))).fill(-1);
  }

  readonly take = (type: number, cpu: number, a: number, b: number, _c: number, d: number): void => {
    switch (type) {
      case SysEv.Enter:
        this.#entered[a] = this.#now();
        this.#thrashes[a] = 0;
        return;
      case Ev.SchedSwitch:
        this.#caller[cpu] = b;
        return;
      case SysEv.Exit:
        this.#left(b, this.#now() - this.#entered[a]!);
        return;
      case Ev.FilemapAdd: {
        const at = this.#shadowAt(a, b);
        if (this.#shadows[at] !== a * 2 ** 32 + (b >>> 0)) return;
        this.#shadows[at] = -1;
        this.refaults++;
        this.#thrashes[this.#caller[cpu]!] = 1;
        return;
      }
      case Ev.FilemapDelete:
        if (d === EVICTED) this.#shadows[this.#shadowAt(a, b)] = a * 2 ** 32 + (b >>> 0);
        return;
      default:
    }
  };

  thrashes(p: number): boolean {
    return this.#thrashes[p] === 1;
  }

  #shadowAt(file: number, index: number): number {
    const mixed = Math.imul(file ^ Math.imul(index, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & (this.#shadows.length - 1);
  }

  #left(nr: number, ns: number): void {
    if (nr > NR_MAX) return;
    let histogram = this.#histograms.get(nr);
    if (histogram === undefined) this.#histograms.set(nr, (histogram = new Int32Array(HISTOGRAM_WORDS)));
    record(histogram, 0, Math.floor(ns / UNIT));
    this.#counts[nr]!++;
    this.#sums[nr]! += ns;
    if (ns > this.#most[nr]!) this.#most[nr] = ns;
  }

  calls(): readonly CallRow[] {
    return [...this.#histograms]
      .sort(([a], [b]) => a - b)
      .map(([nr, histogram]) => ({
        name: syscallName(nr),
        count: this.#counts[nr]!,
        meanUs: this.#sums[nr]! / this.#counts[nr]! / 1_000,
        p50Us: (quantile(histogram, 0, 0.5) * UNIT) / 1_000,
        p99Us: (quantile(histogram, 0, 0.99) * UNIT) / 1_000,
        maxUs: this.#most[nr]! / 1_000,
      }));
  }
}
