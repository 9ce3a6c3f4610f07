/**
 * Statistics that the core keeps as it goes, in constant memory: wake-to-run latency and slowdown of jobs as
 * histograms per CPU (whoever holds the CPU's run queue writes), counters per task.
 *
 * A job is what a task does between a wake-up and its next sleep; its slowdown is its wall time over its own CPU time.
 * Latencies are counted in units of 64 ns, slowdowns in hundredths.
 */
import type { Arena } from "../kernel/lib/arena.ts";
import { HISTOGRAM_WORDS, quantile, record } from "../kernel/lib/histogram.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const CPU_WORDS = HISTOGRAM_WORDS;
const count = record;
const LATENCY_UNIT = 64;
const SLOWDOWN_UNIT = 0.01;

export class SchedMetrics {
  readonly #cpus: number;
  readonly #latency: Int32Array;
  readonly #slowdown: Int32Array;
  readonly #switches: Float64Array;
  readonly #slowdownSum: Float64Array;
  /** Times the task was put on a CPU. */
  readonly runs: Int32Array;
  readonly wakeups: Int32Array;
  readonly migrations: Int32Array;
  readonly onWake: (p: number, now: number, sumExec: number) => void;
  readonly onRun: (p: number, cpu: number, now: number, wokenAt: number) => void;
  readonly onBlock: (p: number, now: number, sumExec: number) => void;
  readonly onMigrate: (p: number) => void;

  constructor(arena: Arena, cpus: number, tasksMax: number) {
    this.#cpus = cpus;
    const latency = (this.#latency = arena.i32(cpus * HISTOGRAM_WORDS));
    const slowdown = (this.#slowdown = arena.i32(cpus * HISTOGRAM_WORDS));
    const switches = (this.#switches = arena.f64(cpus * 8));
    const slowdownSum = (this.#slowdownSum = arena.f64(cpus * 8));
    const jobStart = arena.f64(tasksMax);
    const jobExec = arena.f64(tasksMax);
    const lastCpu = arena.i32(tasksMax);
    const runs = (this.runs = arena.i32(tasksMax));
    const wakeups = (this.wakeups = arena.i32(tasksMax));
    const migrations = (this.migrations = arena.i32(tasksMax));

    this.onWake = (p, now, sumExec) => {
      wakeups[p]!++;
      jobStart[p] = now;
      jobExec[p] = sumExec;
    };
    this.onRun = (p, cpu, now, wokenAt) => {
      runs[p]!++;
      switches[cpu * 8]!++;
      lastCpu[p] = cpu;
      if (wokenAt >= 0) count(latency, cpu * CPU_WORDS, Math.floor((now - wokenAt) / LATENCY_UNIT));
    };
    this.onBlock = (p, now, sumExec) => {
      const used = sumExec - jobExec[p]!;
      if (used <= 0) return;
      const cpu = lastCpu[p]!;
      const ratio = (now - jobStart[p]!) / used;
      // Whole units: a fraction would be an object of its own on the way.
      count(slowdown, cpu * CPU_WORDS, Math.floor(ratio / SLOWDOWN_UNIT));
      slowdownSum[cpu * 8]! += ratio;
    };
    this.onMigrate = (p) => {
      migrations[p]!++;
    };
  }

  /** Figures of the whole machine; latencies in ms, NaN where nothing was counted. */
  summary(): {
    switches: number;
    jobs: number;
    wakeP50Ms: number;
    wakeP99Ms: number;
    slowdownMean: number;
    slowdownP99: number;
  } {
    const latency = this.#sum(this.#latency);
    const slowdown = this.#sum(this.#slowdown);
    let switches = 0;
    let slowdownSum = 0;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      switches += this.#switches[cpu * 8]!;
      slowdownSum += this.#slowdownSum[cpu * 8]!;
    }
    const jobs = slowdown.reduce((sum, count) => sum + count, 0);
    const ms = (q: number): number => (quantile(latency, 0, q) * LATENCY_UNIT) / 1e6;
    return {
      switches,
      jobs,
      wakeP50Ms: ms(0.5),
      wakeP99Ms: ms(0.99),
      slowdownMean: slowdownSum / jobs,
      slowdownP99: quantile(slowdown, 0, 0.99) * SLOWDOWN_UNIT,
    };
  }

  #sum(perCpu: Int32Array): Int32Array {
    const sum = new Int32Array(HISTOGRAM_WORDS);
    for (let cpu = 0; cpu < this.#cpus; cpu++)
      for (let i = 0; i < HISTOGRAM_WORDS; i++) sum[i]! += perCpu[cpu * HISTOGRAM_WORDS + i]!;
    return sum;
  }
}
