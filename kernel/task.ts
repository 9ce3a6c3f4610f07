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
import type { Costs, TaskSpec, Workload } from "../sched/index.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { Run, Sleep, Wait, Wake, Start, Exit, Poll, Nice } = Op;
const { Runnable, Preempted, Sleeping } = TaskLeft;

const GOING = -1;
const ASLEEP = -2;

/** What an event loop asks of whatever tasks do: a workload's programs, or user and kernel tasks (execute.ts). */
export interface TaskCode {
  readonly target: Float64Array;
  readonly polls: Uint8Array;
  readonly timerNs: number;
  readonly woken: number;
  readonly started: number;
  readonly reniced: number;
  readonly nice: number;
  readonly allExited: boolean;
  readonly step: (p: number) => number;
  readonly owe: (p: number, ns: number) => void;
  readonly depart: (p: number, now: number) => void;
  readonly arrive: (p: number, cpu: number, now: number, costs: Costs) => void;
  /** Task p's timer: true when it is its start; else whatever it waited for is over. */
  begin(p: number): boolean;
}

/** What a CPU of the parallel world asks of them beside: other CPUs may wake a task before its own has switched away. */
export interface RacingCode extends Omit<TaskCode, "owe" | "depart" | "arrive"> {
  /** After the switch away from p, which sleeps: false when a wake came meanwhile, to be carried out. */
  settle(p: number): boolean;
  /** Task p's timer is due, and not its start: false when someone else has woken it since it was set. */
  due(p: number): boolean;
  /** The CPU has its tick, or is about to idle. */
  tick(): void;
  /** Task p has computed for so long. */
  readonly computed?: (p: number, ns: number) => void;
}

/** Of a step, beside TaskLeft: the task stays runnable and lets others go first. */
export const YIELDS = -1;

export class TaskPrograms implements TaskCode, RacingCode {
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
  /** Steps p's program once. */
  readonly step: (p: number) => number;
  /** Adds to the CPU time that p needs for whatever it does next. */
  readonly owe: (p: number, ns: number) => void;
  /** Task p stops running on a CPU. */
  readonly depart: (p: number, now: number) => void;
  /** Task p begins to run on `cpu`: what the move and the cold cache cost is added to its work. */
  readonly arrive: (p: number, cpu: number, now: number, costs: Costs) => void;
  readonly #live: Int32Array;
  readonly #at: Int32Array;
  readonly #laps: Float64Array;
  readonly #wakes: Int32Array;
  readonly #began: Int32Array;
  /** What `wakes` becomes at a Wait. */
  readonly #blocked: number;

  /**
   * `sumExec` is the scheduler's column. `racing`: other CPUs wake tasks between a block and its switch. `blockCost` is
   * added to the CPU time of whatever a task does after a block.
   */
  constructor(arena: Arena, workload: Workload, sumExec: Float64Array, racing: boolean, blockCost: number) {
    const rows = workload.tasks.length + 1;
    assert(workload.tasks.every(startsOnce(workload)), "a task is started by its time or by another task, not by both");
    this.#live = arena.i32(1);
    this.#live[0] = workload.tasks.filter(ends).length;
    const target = (this.target = arena.f64(rows));
    const polls = (this.polls = arena.u8(rows));
    this.#blocked = racing ? GOING : ASLEEP;
    const stepAt = (this.#at = arena.i32(rows));
    const laps = (this.#laps = arena.f64(rows));
    this.#wakes = arena.i32(rows);
    this.#began = arena.i32(rows);
    const owed = arena.f64(rows);
    const lastCpu = arena.i32(rows).fill(-1);
    const leftAt = arena.f64(rows);
    const { ops, args, firstAt, lengths, loopsTo } = oneAfterTheOther(workload);

    this.step = (p) => {
      this.timerNs = -1;
      this.woken = this.started = this.reniced = 0;
      for (;;) {
        let at = stepAt[p]!;
        if (at >= lengths[p]!) {
          at = loopsTo[p]!;
          if (at < 0) return this.#exit();
          laps[p]!++;
        }
        stepAt[p] = at + 1;
        const arg = args[firstAt[p]! + at]!;
        const op = ops[firstAt[p]! + at]!;
        switch (op) {
          case Run:
          case Poll:
            polls[p] = op === Poll ? 1 : 0;
            target[p] = sumExec[p]! + arg + owed[p]!;
            owed[p] = 0;
            return Runnable;
          case Sleep:
            this.timerNs = arg;
            owed[p] = blockCost;
            return Sleeping;
          case Wait:
            if (this.#take(p)) continue;
            owed[p] = blockCost;
            return Sleeping;
          case Wake:
            if (this.#keep(arg + 1)) continue;
            this.woken = arg + 1;
            return Preempted;
          case Start:
            this.started = arg + 1;
            return Preempted;
          case Nice:
            this.reniced = Math.floor(arg / NICE_SPAN) + 1;
            this.nice = (arg % NICE_SPAN) + NICE_MIN;
            return Preempted;
          default:
            assert(op === Exit, "step: unknown operation in a program");
            return this.#exit();
        }
      }
    };

    this.owe = (p, ns) => {
      owed[p]! += ns;
    };
    this.depart = (p, now) => {
      leftAt[p] = now;
    };
    this.arrive = (p, cpu, now, costs) => {
      const from = lastCpu[p]!;
      lastCpu[p] = cpu;
      if (from < 0) return;
      const away = Math.min(1, (now - leftAt[p]!) / costs.coldSpan);
      target[p]! += (from === cpu ? 0 : costs.migration) + Math.floor(costs.cold * away);
    };
  }

  /** Every task whose program has an end has reached it. */
  get allExited(): boolean {
    return this.#live[0] === 0;
  }

  /** Starts task p; false when it was started before. */
  begin(p: number): boolean {
    return this.#began[p] === 0 && Atomics.compareExchange(this.#began, p, 0, 1) === 0;
  }

  /** After the switch away from p, whose step was the last one made. */
  settle(p: number): boolean {
    return this.timerNs >= 0 || Atomics.compareExchange(this.#wakes, p, GOING, ASLEEP) === GOING;
  }

  /** Nobody else wakes a task that has a timer. */
  due(): boolean {
    return true;
  }

  tick(): void {}

  /** Where p stands, for checks of a machine at rest: steps begun, wakes kept for it (-1: it waits for one). */
  standing(p: number): { readonly began: boolean; readonly at: number; readonly laps: number; readonly kept: number } {
    const kept = Math.max(-1, this.#wakes[p]!);
    return { began: this.#began[p] !== 0, at: this.#at[p]!, laps: this.#laps[p]!, kept };
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
}

/** All programs in two columns, for task p from firstAt[p] on; row 0 has none. */
function oneAfterTheOther({ tasks }: Workload): {
  readonly ops: Uint8Array;
  readonly args: Float64Array;
  readonly firstAt: Int32Array;
  readonly lengths: Int32Array;
  readonly loopsTo: Int32Array;
} {
  const steps = tasks.reduce((sum, { program }) => sum + program.ops.length, 0);
  const ops = new Uint8Array(steps);
  const args = new Float64Array(steps);
  const firstAt = new Int32Array(tasks.length + 1);
  const lengths = new Int32Array(tasks.length + 1);
  const loopsTo = new Int32Array(tasks.length + 1);
  let at = 0;
  for (const [index, { program }] of tasks.entries()) {
    assert(program.loopTo < Math.max(1, program.ops.length), "a program goes on at a step that it does not have");
    firstAt[index + 1] = at;
    lengths[index + 1] = program.ops.length;
    loopsTo[index + 1] = program.loopTo;
    ops.set(program.ops, at);
    args.set(program.args.subarray(0, program.ops.length), at);
    at += program.ops.length;
  }
  return { ops, args, firstAt, lengths, loopsTo };
}

const startsOnce =
  ({ tasks }: Workload) =>
  ({ program }: TaskSpec): boolean =>
    program.ops.every((op, at) => op !== Op.Start || tasks[program.args[at]!]!.startNs < 0);

const ends = ({ program }: TaskSpec): boolean => program.loopTo < 0 || program.ops.includes(Op.Exit);
