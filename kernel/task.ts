/**
 * Tasks' programs as they run: where each stands, how much CPU time its present step still needs, wakes that came before
 * their Wait. One row a task of the workload, row = index + 1, the same row as in the scheduler's table.
 *
 * step() advances one task to its next point of interest and says what it is by its result and three fields:
 *   TaskLeft.Runnable            it computes until sumExec reaches target[p]
 *   TaskLeft.Sleeping            it blocks; timerNs >= 0: a timer ends that after so long; otherwise someone's wake does
 *   TaskLeft.Dead                it exits
 *   TaskLeft.Preempted           it goes on; `woken` is a task to wake (or start) now
 */
import { TaskLeft } from "./abi/events.ts";
import { assert } from "./lib/assert.ts";
import type { Arena } from "./lib/arena.ts";
import { Op } from "../sched/index.ts";
import type { Costs, Program, TaskSpec, Workload } from "../sched/index.ts";

export class TaskPrograms {
  /** CPU time (the scheduler's sumExec) at which the present Run ends. */
  readonly target: Float64Array;
  /** 1 while the present step is a Poll. */
  readonly polls: Uint8Array;
  /** Outcome of the last step(): a timer to set, ns, or -1; a task to wake, or 0. */
  timerNs = -1;
  woken = 0;
  readonly #live: Int32Array;
  readonly #programs: readonly (Program | undefined)[];
  readonly #at: Int32Array;
  readonly #tokens: Int32Array;
  readonly #waits: Int32Array;
  readonly #started: Int32Array;
  readonly #owed: Float64Array;
  readonly #lastCpu: Int32Array;
  readonly #leftAt: Float64Array;

  constructor(arena: Arena, workload: Workload) {
    const rows = workload.tasks.length + 1;
    this.#programs = [undefined, ...workload.tasks.map((task) => task.program)];
    this.#live = arena.i32(1);
    this.#live[0] = workload.tasks.filter(ends).length;
    this.target = arena.f64(rows);
    this.polls = arena.u8(rows);
    this.#at = arena.i32(rows);
    this.#tokens = arena.i32(rows);
    this.#waits = arena.i32(rows);
    this.#started = arena.i32(rows);
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
    if (this.#started[p] !== 0) return false;
    this.#started[p] = 1;
    return true;
  }

  /** Steps p's program once. `blockCost` is added to the CPU time of whatever it does after a block. */
  step(p: number, sumExec: number, blockCost: number): number {
    const { ops, args, loopTo } = this.#programs[p]!;
    this.timerNs = -1;
    this.woken = 0;
    for (;;) {
      let at = this.#at[p]!;
      if (at >= ops.length) {
        if (loopTo < 0) return this.#exit();
        at = loopTo;
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
          if (this.#tokens[p]! > 0) {
            this.#tokens[p]!--;
            continue;
          }
          this.#waits[p] = 1;
          this.#owed[p] = blockCost;
          return TaskLeft.Sleeping;
        case Op.Wake: {
          const other = arg + 1;
          if (this.#waits[other] === 0) {
            this.#tokens[other]!++;
            continue;
          }
          this.#waits[other] = 0;
          this.woken = other;
          return TaskLeft.Preempted;
        }
        case Op.Start:
          this.woken = arg + 1;
          return TaskLeft.Preempted;
        default:
          assert(ops[at] === Op.Exit, "step: unknown operation in a program");
          return this.#exit();
      }
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
    // Times are whole nanoseconds: with parts of one an end may be too near to be told from now.
    this.target[p]! += (from === cpu ? 0 : costs.migration) + Math.round(costs.cold * away);
  }
}

const ends = ({ program }: TaskSpec): boolean => program.loopTo < 0 || program.ops.includes(Op.Exit);
