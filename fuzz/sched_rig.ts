/**
 * The scheduler's core with nothing around it but a clock that is moved by hand: random operations in any order an
 * executor could call them, for fuzzing and for tests that put a policy beside a reference.
 *
 * - rig.step()      one operation drawn from the seed (its name, for reports), then most of the picks that are due
 * - rig.settle()    the picks that are due, until none is; false when CPUs ask each other for ever
 * - rig.drain()     wakes everything, lets every task run and exit; false when one is left that nobody ever runs
 * - rig.asked       CPUs that were asked to pick anew and have not
 */
import { TaskLeft, WakeContext } from "../kernel/abi/events.ts";
import type { EventSink } from "../kernel/abi/machine.ts";
import type { PolicyFactory } from "../kernel/abi/sched.ts";
import { nanos } from "../kernel/abi/units.ts";
import { Arena } from "../kernel/lib/arena.ts";
import { noLocks } from "../kernel/lib/lock_ops.ts";
import { plainWords } from "../kernel/lib/word_ops.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { NICE_MIN, SchedMetrics, TaskState, cfs, cpuAt, createSched } from "../sched/index.ts";
import type { Sched } from "../sched/index.ts";

export interface RigOptions {
  readonly seed: number;
  readonly cpus: number;
  /** Tasks that live at once, at most. */
  readonly tasks: number;
  readonly policy: PolicyFactory;
  readonly fallback?: PolicyFactory;
  /** Now and then another of all policies takes over. */
  readonly others?: readonly PolicyFactory[];
  readonly trace?: EventSink;
  /** Some tasks may use some CPUs only. */
  readonly affinity?: boolean;
  /** Longest step of the clock, ns. */
  readonly stepNs?: number;
}

const TICK_NS = 4_000_000;
const STEP_NS = 3_000_000;
const NICES = 40;
const SETTLE_ROUNDS_MAX = 100;
const SWITCH_EVERY = 16;
/** Operations and how often each comes. */
const MIX = [
  ["advance", 24],
  ["tick", 16],
  ["wake", 20],
  ["sleep", 16],
  ["preempt", 6],
  ["fork", 5],
  ["exit", 3],
  ["nice", 4],
  ["poll", 4],
  ["watchdog", 2],
] as const;
type Operation = (typeof MIX)[number][0];
const DECK: readonly Operation[] = MIX.flatMap(([name, times]) => Array.from({ length: times }, () => name));

export class SchedRig {
  readonly sched: Sched;
  readonly time = new Float64Array(1);
  readonly asked: Set<number> = new Set();
  readonly #random: Int32Array;
  readonly #options: RigOptions;

  constructor(options: RigOptions) {
    this.#options = options;
    this.#random = prng(options.seed);
    const rows = options.tasks + 1;
    const arena = new Arena(new SharedArrayBuffer(2 ** 20 + rows * 1000 + options.cpus * (2 ** 17 + rows * 40)));
    this.sched = createSched(
      arena,
      {
        cpus: options.cpus,
        tasksMax: rows,
        tickNs: TICK_NS,
        policy: options.policy,
        fallback: options.fallback ?? cfs,
        ...(options.others === undefined ? {} : { others: options.others }),
      },
      {
        now: () => nanos(this.time[0]!),
        trace: options.trace ?? (() => {}),
        locks: noLocks,
        words: plainWords,
        wakePath: () => {},
        resched: (cpu) => void this.asked.add(cpu),
      },
      new SchedMetrics(arena, options.cpus, rows),
    );
    for (let cpu = 0; cpu < options.cpus; cpu++) this.sched.schedule(cpu, TaskLeft.Runnable);
  }

  step(): Operation {
    const operation = DECK[this.below(DECK.length)]!;
    this.#do(operation);
    const { others } = this.#options;
    if (others !== undefined && this.below(SWITCH_EVERY) === 0) this.sched.switchTo(this.below(2 + others.length));
    for (const cpu of this.asked) if (this.below(4) !== 0) this.#schedule(cpu, TaskLeft.Preempted);
    return operation;
  }

  settle(): boolean {
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      if (this.asked.size === 0) return true;
      for (const cpu of this.asked) this.#schedule(cpu, TaskLeft.Preempted);
    }
    return false;
  }

  drain(): boolean {
    const { sched } = this;
    for (const p of this.#tasks(TaskState.Sleeping)) sched.wake(p, 0, WakeContext.Timer);
    for (let quiet = 0; quiet < 2;) {
      if (!this.settle()) return false;
      this.time[0]! += STEP_NS;
      let ran = false;
      for (let cpu = 0; cpu < sched.cpus; cpu++) {
        if (sched.running(cpu) === 0) continue;
        ran = true;
        this.#exit(cpu);
      }
      // An idle machine looks once more before it is given up.
      if (!ran) for (let cpu = 0; cpu < sched.cpus; cpu++) this.#schedule(cpu, TaskLeft.Preempted);
      quiet = ran ? 0 : quiet + 1;
    }
    return sched.task.state.subarray(1).every((state) => state === TaskState.Free);
  }

  below(bound: number): number {
    return nextBelow(this.#random, bound);
  }

  #do(operation: Operation): void {
    const { sched } = this;
    const busy = this.#busyCpu();
    switch (operation) {
      case "advance":
        this.time[0]! += this.below(this.#options.stepNs ?? STEP_NS);
        return;
      case "tick":
        if (busy >= 0) sched.tick(busy);
        return;
      case "wake": {
        const p = this.#any(this.#tasks(TaskState.Sleeping));
        if (p !== 0) sched.wake(p, this.below(sched.cpus), this.below(2) === 0 ? WakeContext.Task : WakeContext.Timer);
        return;
      }
      case "fork":
        this.fork(busy);
        return;
      case "nice": {
        const p = this.#any([...this.#tasks(TaskState.Sleeping), ...this.#tasks(TaskState.Queued), ...this.#running()]);
        if (p !== 0) sched.setNice(p, NICE_MIN + this.below(NICES));
        return;
      }
      case "watchdog":
        sched.watchdog();
        return;
      default:
        if (busy < 0) return;
        if (operation === "poll") sched.account(busy);
        else if (operation === "sleep") this.#schedule(busy, TaskLeft.Sleeping);
        else if (operation === "preempt") this.#schedule(busy, TaskLeft.Preempted);
        else this.#exit(busy);
    }
  }

  /** Makes a task, forked on a busy CPU or started from outside (-1). */
  fork(busy: number): void {
    const { sched } = this;
    const home = busy < 0 ? this.below(sched.cpus) : busy;
    const p = sched.addTask(this.below(3) === 0 ? NICE_MIN + this.below(NICES) : 0, home);
    if (p === 0) return;
    if (this.#options.affinity === true && this.below(3) === 0) {
      const some = 1 << this.below(sched.cpus);
      sched.task.allowed[2 * p] = some | (1 << this.below(sched.cpus));
    }
    sched.wakeNew(p, home, busy < 0 ? 0 : sched.running(busy));
  }

  #exit(cpu: number): void {
    const p = this.sched.running(cpu);
    this.#schedule(cpu, TaskLeft.Dead);
    this.sched.removeTask(p);
  }

  #schedule(cpu: number, left: number): void {
    this.asked.delete(cpu);
    this.sched.schedule(cpu, left);
  }

  #tasks(wanted: TaskState): number[] {
    const found: number[] = [];
    for (let p = 1; p < this.sched.tasksMax; p++) if (this.sched.task.state[p] === wanted) found.push(p);
    return found;
  }

  #running(): number[] {
    return this.#tasks(TaskState.Running);
  }

  #busyCpu(): number {
    const { curr } = this.sched.cpu;
    const busy: number[] = [];
    for (let cpu = 0; cpu < this.sched.cpus; cpu++) if (curr[cpuAt(cpu)] !== 0) busy.push(cpu);
    return busy.length === 0 ? -1 : busy[this.below(busy.length)]!;
  }

  #any(tasks: readonly number[]): number {
    return tasks.length === 0 ? 0 : tasks[this.below(tasks.length)]!;
  }
}
