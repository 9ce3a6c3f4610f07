/**
 * Statistics that the core keeps as it goes, in constant memory: wake-to-run latency and slowdown of jobs as
 * histograms per CPU (whoever holds the CPU's run queue writes), counters per task.
 *
 * A job is what a task does between a wake-up and its next sleep; its slowdown is its wall time over its own CPU time.
 * Latencies are counted in units of 64 ns, slowdowns in hundredths.
 */
import type { Arena } from "../kernel/lib/arena.ts";
import { HISTOGRAM_WORDS, quantile, record } from "../kernel/lib/histogram.ts";

const LATENCY_UNIT = 64;
const SLOWDOWN_UNIT = 0.01;

export class SchedMetrics {
  readonly #cpus: number;
  readonly #latency: Int32Array;
  readonly #slowdown: Int32Array;
  readonly #switches: Float64Array;
  readonly #slowdownSum: Float64Array;
  readonly #jobStart: Float64Array;
  readonly #jobExec: Float64Array;
  readonly #lastCpu: Int32Array;
  /** Times the task was put on a CPU. */
  readonly runs: Int32Array;
  readonly wakeups: Int32Array;
  readonly migrations: Int32Array;

  constructor(arena: Arena, cpus: number, tasksMax: number) {
    this.#cpus = cpus;
    this.#latency = arena.i32(cpus * HISTOGRAM_WORDS);
    this.#slowdown = arena.i32(cpus * HISTOGRAM_WORDS);
    this.#switches = arena.f64(cpus * 8);
    this.#slowdownSum = arena.f64(cpus * 8);
    this.#jobStart = arena.f64(tasksMax);
    this.#jobExec = arena.f64(tasksMax);
    this.#lastCpu = arena.i32(tasksMax);
    this.runs = arena.i32(tasksMax);
    this.wakeups = arena.i32(tasksMax);
    this.migrations = arena.i32(tasksMax);
  }

  onWake(p: number, now: number, sumExec: number): void {
    this.wakeups[p]!++;
    this.#jobStart[p] = now;
    this.#jobExec[p] = sumExec;
  }

  onRun(p: number, cpu: number, now: number, wokenAt: number): void {
    this.runs[p]!++;
    this.#switches[cpu * 8]!++;
    this.#lastCpu[p] = cpu;
    if (wokenAt >= 0) record(this.#latency, cpu * HISTOGRAM_WORDS, (now - wokenAt) / LATENCY_UNIT);
  }

  onBlock(p: number, now: number, sumExec: number): void {
    const used = sumExec - this.#jobExec[p]!;
    if (used <= 0) return;
    const cpu = this.#lastCpu[p]!;
    const slowdown = (now - this.#jobStart[p]!) / used;
    record(this.#slowdown, cpu * HISTOGRAM_WORDS, slowdown / SLOWDOWN_UNIT);
    this.#slowdownSum[cpu * 8]! += slowdown;
  }

  onMigrate(p: number): void {
    this.migrations[p]!++;
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
