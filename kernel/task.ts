/**
 * Tasks' programs as they run: where each stands, how much CPU time its present step still needs, wakes that came before
 * their Wait. One row a task of the workload, row = index + 1, the same row as in the scheduler's table.
 *
 * step() advances one task to its next point of interest and says what it is by its result and these fields:
 *   TaskLeft.Runnable            it computes until sumExec reaches target[p]
 *   TaskLeft.Sleeping            it blocks; timerNs >= 0: a timer ends that after so long; otherwise someone's wake does
 *   TaskLeft.Dead                it exits
 *   TaskLeft.Preempted           it goes on; `woken` is a task to wake, `started` one to start, `reniced` one whose nice
 *                                value becomes `nice`; the others are 0
 *
 * Block against wake: one word a task, `wakes`, moved by compare-exchange only.
 *
 *   n >= 0    wakes kept for the next Wait                 Wait  n -> n - 1, goes on;  0 -> GOING (or ASLEEP)
 *   GOING     it waits, its CPU has not switched away yet  Wake  n -> n + 1;  GOING -> 0, and its own CPU wakes it when
 *   ASLEEP    it waits and its CPU has switched                  it has switched (settle);  ASLEEP -> 0, the waker wakes it
 *
 * So no wake meets a task that is halfway to sleep, and nobody ever waits for anybody. In a world where nothing comes
 * between a block and its switch a task is ASLEEP at once.
 *
 * A row is written by the CPU that runs the task, except `wakes`, and `began`, which whoever starts it takes.
 */
import { TaskLeft } from "./abi/events.ts";
import { assert } from "./lib/assert.ts";
import type { Arena } from "./lib/arena.ts";
import { NICE_MIN, NICE_SPAN, Op } from "../sched/index.ts";
import type { Costs, Program, TaskSpec, Workload } from "../sched/index.ts";

const GOING = -1;
const ASLEEP = -2;

export class TaskPrograms {
  /** CPU time (the scheduler's sumExec) at which the present Run ends. */
  readonly target: Float64Array;
  /** 1 while the present step is a Poll. */
  readonly polls: Uint8Array;
  /** Outcome of the last step(): a timer to set, ns, or -1. */
  timerNs = -1;
  woken = 0;
  started = 0;
  reniced = 0;
  nice = 0;
  readonly #live: Int32Array;
  readonly #programs: readonly (Program | undefined)[];
  readonly #at: Int32Array;
  readonly #laps: Float64Array;
  readonly #wakes: Int32Array;
  readonly #began: Int32Array;
  /** What `wakes` becomes at a Wait. */
  readonly #blocked: number;
  readonly #owed: Float64Array;
  readonly #lastCpu: Int32Array;
  readonly #leftAt: Float64Array;

  /** `racing`: other CPUs wake tasks between a block and its switch. */
  constructor(arena: Arena, workload: Workload, racing: boolean) {
    const rows = workload.tasks.length + 1;
    assert(workload.tasks.every(startsOnce(workload)), "a task is started by its time or by another task, not by both");
    this.#programs = [undefined, ...workload.tasks.map((task) => task.program)];
    this.#live = arena.i32(1);
    this.#live[0] = workload.tasks.filter(ends).length;
    this.target = arena.f64(rows);
    this.polls = arena.u8(rows);
    this.#blocked = racing ? GOING : ASLEEP;
    this.#at = arena.i32(rows);
    this.#laps = arena.f64(rows);
    this.#wakes = arena.i32(rows);
    this.#began = arena.i32(rows);
    this.#owed = arena.f64(rows);
    this.#lastCpu = arena.i32(rows).fill(-1);
    this.#leftAt = arena.f64(rows);
  }

  /** Every task whose program has an end has reached it. */
  get allExited(): boolean {
    return this.#live[0] === 0;
  }

  /** Starts task p; false when it was started before. */
  begin(p: number): boolean {
    return this.#began[p] === 0 && Atomics.compareExchange(this.#began, p, 0, 1) === 0;
  }

  /** After the switch away from p, which blocked without a timer: false when a wake came meanwhile, to be carried out. */
  settle(p: number): boolean {
    return Atomics.compareExchange(this.#wakes, p, GOING, ASLEEP) === GOING;
  }

  /** Where p stands, for checks of a machine at rest: steps begun, wakes kept for it (-1: it waits for one). */
  standing(p: number): { readonly began: boolean; readonly at: number; readonly laps: number; readonly kept: number } {
    const kept = Math.max(-1, this.#wakes[p]!);
    return { began: this.#began[p] !== 0, at: this.#at[p]!, laps: this.#laps[p]!, kept };
  }

  /** Steps p's program once. `blockCost` is added to the CPU time of whatever it does after a block. */
  step(p: number, sumExec: number, blockCost: number): number {
    const { ops, args, loopTo } = this.#programs[p]!;
    this.timerNs = -1;
    this.woken = this.started = this.reniced = 0;
    for (;;) {
      let at = this.#at[p]!;
      if (at >= ops.length) {
        if (loopTo < 0) return this.#exit();
        at = loopTo;
        this.#laps[p]!++;
      }
      const arg = args[at]!;
      this.#at[p] = at + 1;
      switch (ops[at]) {
        case Op.Run:
        case Op.Poll:
          this.polls[p] = ops[at] === Op.Poll ? 1 : 0;
          this.target[p] = sumExec + arg + this.#owed[p]!;
          this.#owed[p] = 0;
          return TaskLeft.Runnable;
        case Op.Sleep:
          this.timerNs = arg;
          this.#owed[p] = blockCost;
          return TaskLeft.Sleeping;
        case Op.Wait:
          if (this.#take(p)) continue;
          this.#owed[p] = blockCost;
          return TaskLeft.Sleeping;
        case Op.Wake:
          if (this.#keep(arg + 1)) continue;
          this.woken = arg + 1;
          return TaskLeft.Preempted;
        case Op.Start:
          this.started = arg + 1;
          return TaskLeft.Preempted;
        case Op.Nice:
          this.reniced = Math.floor(arg / NICE_SPAN) + 1;
          this.nice = (arg % NICE_SPAN) + NICE_MIN;
          return TaskLeft.Preempted;
        default:
          assert(ops[at] === Op.Exit, "step: unknown operation in a program");
          return this.#exit();
      }
    }
  }

  /** Takes a kept wake; false: there is none, and from here on p waits. Only p takes, so a kept one stays. */
  #take(p: number): boolean {
    const wakes = this.#wakes;
    if (Atomics.compareExchange(wakes, p, 0, this.#blocked) === 0) return false;
    Atomics.sub(wakes, p, 1);
    return true;
  }

  /** Leaves a wake for task p; false: it sleeps, and the caller wakes it. */
  #keep(p: number): boolean {
    const wakes = this.#wakes;
    for (;;) {
      const seen = Atomics.load(wakes, p);
      const then = seen < 0 ? 0 : seen + 1;
      if (Atomics.compareExchange(wakes, p, seen, then) === seen) return seen !== ASLEEP;
    }
  }

  #exit(): number {
    Atomics.sub(this.#live, 0, 1);
    return TaskLeft.Dead;
  }

  /** Adds to the CPU time that p needs for whatever it does next. */
  owe(p: number, ns: number): void {
    this.#owed[p]! += ns;
  }

  /** Task p stops running on a CPU. */
  depart(p: number, now: number): void {
    this.#leftAt[p] = now;
  }

  /** Task p begins to run on `cpu`: what the move and the cold cache cost is added to its work. */
  arrive(p: number, cpu: number, now: number, costs: Costs): void {
    const from = this.#lastCpu[p]!;
    this.#lastCpu[p] = cpu;
    if (from < 0) return;
    const away = Math.min(1, (now - this.#leftAt[p]!) / costs.coldSpan);
    this.target[p]! += (from === cpu ? 0 : costs.migration) + Math.floor(costs.cold * away);
  }
}

const startsOnce =
  ({ tasks }: Workload) =>
  ({ program }: TaskSpec): boolean =>
    program.ops.every((op, at) => op !== Op.Start || tasks[program.args[at]!]!.startNs < 0);

const ends = ({ program }: TaskSpec): boolean => program.loopTo < 0 || program.ops.includes(Op.Exit);
