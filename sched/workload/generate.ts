/**
 * Workloads from a seed: distributions as data, and the classic arrangements that draw from them. The same seed gives the
 * same workload on every machine.
 *
 * - draw(dist, state), meanOf(dist), secondMomentOf(dist)
 * - openWorkload(options)      jobs that arrive one after the other, each a task: run, exit (M/M/1, M/G/1)
 * - closedWorkload(options)    tasks that run and sleep in turn, each step drawn
 * - periodicWorkload(tasks, untilNs)   jobs released at fixed times, whatever became of the last one; each a task
 *
 *   distribution   density                                              values
 *   constant       all at `value`                                       value
 *   exponential    e^(-x/mean) / mean                                   > 0
 *   pareto         bounded: shape low^shape x^(-shape-1) / (1 - (low/high)^shape)      low .. high
 *   bimodal        `high` with probability `highChance`, else `low`     low or high
 *
 * Sources: Harchol-Balter, Performance Modeling and Design of Computer Systems (2013), chapters 3 and 20.
 */
import { assert } from "../../kernel/lib/assert.ts";
import { nextUnit, prng } from "../../kernel/lib/prng.ts";
import { TASKS_MAX } from "../../kernel/abi/limits.ts";
import { Op } from "./program.ts";
import type { TaskSpec, Workload } from "./program.ts";

export type Distribution =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "exponential"; readonly mean: number }
  | { readonly kind: "pareto"; readonly shape: number; readonly low: number; readonly high: number }
  | { readonly kind: "bimodal"; readonly low: number; readonly high: number; readonly highChance: number };

/** One value. Panics on parameters that make no distribution. */
export function draw(dist: Distribution, state: Int32Array): number {
  switch (dist.kind) {
    case "constant":
      return dist.value;
    case "exponential":
      // 1 - u is in (0, 1]: the logarithm is finite.
      return -dist.mean * Math.log(1 - nextUnit(state));
    case "pareto": {
      const { shape, low, high } = dist;
      assert(shape > 0 && low > 0 && high >= low, "draw: a bounded Pareto needs shape > 0 and 0 < low <= high");
      // Inverse of the distribution function; u = 0 gives low, u -> 1 gives high.
      const x = low * (1 - nextUnit(state) * (1 - (low / high) ** shape)) ** (-1 / shape);
      return Math.min(Math.max(x, low), high);
    }
    default:
      return nextUnit(state) < dist.highChance ? dist.high : dist.low;
  }
}

/** Exact k-th moment, k = 1 or 2. */
function momentOf(dist: Distribution, k: 1 | 2): number {
  switch (dist.kind) {
    case "constant":
      return dist.value ** k;
    case "exponential":
      return k === 1 ? dist.mean : 2 * dist.mean ** 2;
    case "pareto": {
      const { shape, low, high } = dist;
      const scale = (shape * low ** shape) / (1 - (low / high) ** shape);
      if (low === high) return low ** k;
      return shape === k
        ? scale * Math.log(high / low)
        : (scale * (high ** (k - shape) - low ** (k - shape))) / (k - shape);
    }
    default:
      return dist.highChance * dist.high ** k + (1 - dist.highChance) * dist.low ** k;
  }
}
export const meanOf = (dist: Distribution): number => momentOf(dist, 1);
export const secondMomentOf = (dist: Distribution): number => momentOf(dist, 2);

export interface OpenOptions {
  readonly seed: number;
  readonly jobs: number;
  /** Time between two arrivals, ns; exponential: Poisson arrivals. */
  readonly interarrivalNs: Distribution;
  readonly serviceNs: Distribution;
  readonly nice?: number;
}

/** Arrival k is task k. Service times are drawn from a stream of their own: changing the load keeps them. */
export function openWorkload(options: OpenOptions): Workload {
  const { seed, jobs, interarrivalNs, serviceNs, nice = 0 } = options;
  assert(jobs >= 0 && jobs < TASKS_MAX, "openWorkload: too many jobs");
  const arrivals = prng(seed);
  const services = prng(seed + 2 ** 32);
  let at = 0;
  const tasks = Array.from({ length: jobs }, (_, job): TaskSpec => {
    at += draw(interarrivalNs, arrivals);
    return oneRun(`job-${job}`, nice, Math.round(at), draw(serviceNs, services));
  });
  return { tasks };
}

export interface ClosedOptions {
  readonly seed: number;
  readonly tasks: number;
  /** Runs of each task, each followed by a sleep. */
  readonly rounds: number;
  readonly burstNs: Distribution;
  readonly sleepNs: Distribution;
  readonly nice?: number;
}

export function closedWorkload(options: ClosedOptions): Workload {
  const { seed, tasks, rounds, burstNs, sleepNs, nice = 0 } = options;
  assert(tasks >= 0 && tasks < TASKS_MAX, "closedWorkload: too many tasks");
  const state = prng(seed);
  return {
    tasks: Array.from({ length: tasks }, (_, task): TaskSpec => {
      const ops = new Uint8Array(2 * rounds);
      const args = new Float64Array(2 * rounds);
      for (let round = 0; round < rounds; round++) {
        ops[2 * round] = Op.Run;
        args[2 * round] = wholeNs(draw(burstNs, state));
        ops[2 * round + 1] = Op.Sleep;
        args[2 * round + 1] = wholeNs(draw(sleepNs, state));
      }
      return { name: `task-${task}`, nice, startNs: 0, program: { ops, args, loopTo: -1 } };
    }),
  };
}

export interface PeriodicTask {
  readonly periodNs: number;
  readonly workNs: number;
  /** First release; 0 for the critical instant. */
  readonly phaseNs?: number;
  readonly nice?: number;
}

/** Releases at phase + k * period, before `untilNs`; in order of task, then of release. Names are `TASK.RELEASE`. */
export function periodicWorkload(periodic: readonly PeriodicTask[], untilNs: number): Workload {
  const tasks: TaskSpec[] = [];
  for (const [index, { periodNs, workNs, phaseNs = 0, nice = 0 }] of periodic.entries()) {
    assert(periodNs > 0, "periodicWorkload: a period must be positive");
    for (let release = 0; phaseNs + release * periodNs < untilNs; release++) {
      assert(tasks.length < TASKS_MAX - 1, "periodicWorkload: too many jobs");
      tasks.push(oneRun(`${index}.${release}`, nice, phaseNs + release * periodNs, workNs));
    }
  }
  return { tasks };
}

/** At least one nanosecond: a step takes time. */
const wholeNs = (ns: number): number => Math.max(1, Math.round(ns));

const oneRun = (name: string, nice: number, startNs: number, workNs: number): TaskSpec => ({
  name,
  nice,
  startNs,
  program: { ops: Uint8Array.of(Op.Run, Op.Exit), args: Float64Array.of(wholeNs(workNs), 0), loopTo: -1 },
});
