/**
 * What the scheduler's own work costs, as named profiles of constants; all in nanoseconds of the CPU it happens on.
 *
 *   timer or device interrupt at t:  t + irq           the task is being woken (sched_waking)
 *                                      + select        its run queue is locked and its clock brought up to date
 *                                      + wake          it is on the run queue; the interrupt is over
 *                                      + resched       sched_switch, when it preempts; or + idleExit on an idle CPU
 *   tick at t:                       t + tick          the accounting is done; + resched when a switch is due
 *   block and wake of a task:        sleepCall         added to its CPU time each time: the call, both ways
 *                                    + 0..sleepJitter  uniform: how coarsely a program sees that its work is done
 *   timer:                           timerLate         from the block's sched_switch: slack less what the call took
 *   clock poll:                      poll              a program that watches its own CPU time sees the slice end this late
 *
 * A switch itself is in the CPU time of the task that comes. `migration` is added to the work of a task that comes to
 * another CPU than it left, and for a cache that others used meanwhile: cold * min(1, time away / coldSpan).
 */
export interface Costs {
  readonly irq: number;
  readonly select: number;
  readonly wake: number;
  readonly resched: number;
  readonly idleExit: number;
  readonly tick: number;
  readonly sleepCall: number;
  readonly sleepJitter: number;
  readonly poll: number;
  readonly timerLate: number;
  readonly ipi: number;
  readonly migration: number;
  readonly cold: number;
  readonly coldSpan: number;
  /** Kernel threads that are always there: each wakes every `periodNs` and works for a moment. */
  readonly background: readonly Background[];
}

export interface Background {
  readonly name: string;
  readonly periodNs: number;
  readonly runNs: number;
}

/** The kernel threads that the recordings show beside the workload, at their mean rates: .0005 of the CPU in all. */
const KERNEL_THREADS: readonly Background[] = [
  { name: "kcompactd0", periodNs: 512_000_000, runNs: 1_000 },
  { name: "kworker/0:2", periodNs: 300_000_000, runNs: 1_000 },
  { name: "rcu_preempt", periodNs: 431_000_000, runNs: 1_000 },
  { name: "kworker/u2:0", periodNs: 700_000_000, runNs: 1_000 },
];

/** Fitted to recordings c1 to c3 under QEMU's instruction counting (16 ns an instruction, no caches, tracer on). */
const icount: Costs = {
  irq: 5_000,
  select: 20_000,
  wake: 19_000,
  resched: 41_000,
  idleExit: 35_000,
  tick: 12_000,
  sleepCall: 93_000,
  sleepJitter: 10_000,
  poll: 6_000,
  timerLate: 11_000,
  ipi: 20_000,
  migration: 0,
  cold: 0,
  coldSpan: 1_000_000,
  background: KERNEL_THREADS,
};

/** Orders of magnitude of a current x86 server (lmbench-style switch 1-2 us, timer slack 50 us); not a measurement. */
const hardware: Costs = {
  irq: 500,
  select: 400,
  wake: 300,
  resched: 800,
  idleExit: 1_500,
  tick: 900,
  sleepCall: 1_200,
  sleepJitter: 200,
  poll: 100,
  timerLate: 50_000,
  ipi: 700,
  migration: 5_000,
  cold: 10_000,
  coldSpan: 1_000_000,
  background: [],
};

const NONE = 0;
/** Everything is free and timers are exact: for analytic checks. */
const none: Costs = {
  irq: NONE,
  select: NONE,
  wake: NONE,
  resched: NONE,
  idleExit: NONE,
  tick: NONE,
  sleepCall: NONE,
  sleepJitter: NONE,
  poll: NONE,
  timerLate: NONE,
  ipi: NONE,
  migration: NONE,
  cold: NONE,
  coldSpan: 1,
  background: [],
};

export const COSTS = { icount, hardware, none } as const;
export type CostsName = keyof typeof COSTS;
