/**
 * A recording becomes a workload: what each task did, without when the scheduler let it. Replayed under any policy and on
 * any number of CPUs it uses the same CPU time a task, sleeps as long, and wakes whom it woke.
 *
 *   in the recording                               in the program
 *   time on a CPU, over all preemptions            Run, cut where one of the next lines happens
 *   blocked until an interrupt (or idle) wakes     Sleep, as long as from the block to the waking
 *   blocked until a task in task context wakes     Wait; in the waker's program Wake, at its point of the waker's CPU time
 *   sched_wakeup_new (fork, if there is none)      Start in the parent's program; by a CPU's idle task: at that time
 *   left dead                                      Exit
 *   blocked when the recording began               runnable at 0, its first step is that Sleep or Wait
 *   blocked until the recording ends               the program ends there
 *   running again though no waking was recorded    Sleep until then
 *
 * A waking that woke nobody (the task was running and went on) is no step. Kernel threads are tasks like others; nice
 * values of real-time tasks are clamped to -20.
 *
 * It ends, always: every step but Run and Sleep waits at most for one step that came before it in the recording (a Wait for
 * its own Wake: there are exactly as many, and the n-th Wait of a task needs any n of its Wakes, of which n come before it;
 * a first step for its Start). Take the step unfinished at the end of a replay that the recording finished first: all it
 * waits for is finished, so it is not waiting. Contradiction.
 *
 * - importTrace(log)   Imported: the workload, and for each of its tasks the process id it had
 */
import { Ev, TaskLeft, WakeContext } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { NICE_MIN, Op } from "../../sched/index.ts";
import type { TaskSpec, Workload } from "../../sched/index.ts";
import { UserError } from "../cli/exit.ts";
import { firstOnCpu, isRunnable } from "./walk.ts";

export interface Imported {
  readonly workload: Workload;
  readonly pids: readonly number[];
}

/** A place kept for a Wake of which it is not yet known whether it woke anybody. */
const UNDECIDED = -1;

interface Draft {
  readonly index: number;
  readonly pid: number;
  readonly ops: number[];
  readonly args: number[];
  nice: number;
  startNs: number;
  /** CPU time since the last step. */
  ranNs: number;
  /** When it was put on its CPU; NaN while it is on none. */
  onSinceNs: number;
  /** When it left blocked; NaN while it is runnable. */
  blockedNs: number;
  /** Woken while still on a CPU: the waker and the place kept in its program; by no task when `waker` is undefined. */
  early: { readonly waker: Draft | undefined; readonly step: number } | undefined;
  dead: boolean;
}

export function importTrace(log: EventLog): Imported {
  const importer = new Importer(log);
  importer.run();
  const drafts = importer.drafts;
  if (drafts.every(({ ops }) => ops.length === 0))
    throw new UserError("the trace has no task that ran; nothing to replay");
  const tasks = drafts.map((draft): TaskSpec => {
    const { ops, args } = compact(draft);
    const program = { ops: Uint8Array.from(ops), args: Float64Array.from(args), loopTo: -1 };
    return { name: log.nameOf(draft.pid), nice: draft.nice, startNs: draft.startNs, program };
  });
  return { workload: { tasks, measured: true }, pids: drafts.map(({ pid }) => pid) };
}

class Importer {
  readonly drafts: Draft[] = [];
  readonly #log: EventLog;
  readonly #originNs: number;
  readonly #endNs: number;
  readonly #byPid: Map<number, Draft> = new Map();
  readonly #current: Int32Array;
  readonly #startsByFork: boolean;

  constructor(log: EventLog) {
    this.#log = log;
    const { fromNs, toNs } = log.spanOf();
    this.#originNs = fromNs;
    this.#endNs = toNs;
    this.#current = firstOnCpu(log);
    let wakings = false;
    let wakeups = false;
    let firstWakes = false;
    for (let row = 0; row < log.count; row++) {
      const type = log.typeAt(row);
      wakings ||= type === Ev.SchedWaking;
      wakeups ||= type === Ev.SchedWakeup;
      firstWakes ||= type === Ev.SchedWakeupNew;
    }
    if (wakeups && !wakings)
      throw new UserError(
        "the trace has sched_wakeup but no sched_waking, so it does not say who woke whom; record sched_waking",
      );
    this.#startsByFork = !firstWakes;
  }

  run(): void {
    const log = this.#log;
    for (const pid of this.#current) if (pid !== 0) this.#find(pid).onSinceNs = this.#originNs;
    for (let row = 0; row < log.count; row++) {
      const at = log.timeAt(row);
      const a = log.aAt(row);
      switch (log.typeAt(row)) {
        case Ev.SchedSwitch:
          this.#onSwitch(row, at);
          break;
        case Ev.SchedWaking:
          this.#onWaking(this.#findWoken(a, log.dAt(row)), this.#wakerAt(row), at);
          break;
        case Ev.SchedFork: {
          const child = this.#newDraft(log.bAt(row), Number.NaN);
          if (this.#startsByFork) this.#onStart(child, this.#currentAt(row), at);
          break;
        }
        case Ev.SchedWakeupNew:
          this.#onStart(this.#byPid.get(a) ?? this.#newDraft(a, Number.NaN), this.#currentAt(row), at);
          break;
        default:
      }
    }
    for (const draft of this.drafts) {
      if (!Number.isNaN(draft.onSinceNs)) this.#leaveCpu(draft, this.#endNs);
      this.#flushRun(draft);
      // Forked, but never seen to start: there is nothing to run either.
      if (Number.isNaN(draft.startNs)) draft.startNs = 0;
    }
  }

  #onSwitch(row: number, at: number): void {
    const log = this.#log;
    const cpu = log.cpuAt(row);
    const nices = log.dAt(row);
    const prev = this.#current[cpu]!;
    const left = log.cAt(row);
    if (log.aAt(row) !== 0) {
      const draft = this.#find(log.aAt(row), (nices << 16) >> 24);
      this.#leaveCpu(draft, at);
      if (!isRunnable(left)) this.#onBlock(draft, left, at);
    }
    // A switch was lost if another task was thought to be there: close its stretch, it left preempted for all we know.
    if (prev !== 0 && prev !== log.aAt(row)) this.#leaveCpu(this.#find(prev), at);
    const next = log.bAt(row);
    this.#current[cpu] = next;
    if (next === 0) return;
    const draft = this.#find(next, (nices << 24) >> 24);
    if (Number.isNaN(draft.startNs)) draft.startNs = at - this.#originNs;
    this.#wakeByEarly(draft, at);
    draft.onSinceNs = at;
  }

  #onBlock(draft: Draft, left: number, at: number): void {
    this.#flushRun(draft);
    if (left === TaskLeft.Dead || left === TaskLeft.Zombie) {
      add(draft, Op.Exit, 0);
      draft.dead = true;
    } else draft.blockedNs = at;
  }

  /** `waker` is undefined for an interrupt's. */
  #onWaking(draft: Draft, waker: Draft | undefined, at: number): void {
    if (draft.dead || draft === waker) return;
    if (!Number.isNaN(draft.blockedNs)) {
      if (waker === undefined) add(draft, Op.Sleep, at - draft.blockedNs);
      else {
        this.#bringUp(waker, at);
        add(waker, Op.Wake, draft.index);
        add(draft, Op.Wait, 0);
      }
      draft.blockedNs = Number.NaN;
      draft.early = undefined;
    } else if (!Number.isNaN(draft.onSinceNs) && draft.early === undefined) {
      if (waker !== undefined) this.#bringUp(waker, at);
      const step = waker === undefined ? 0 : add(waker, UNDECIDED, draft.index);
      draft.early = { waker, step };
    }
  }

  /** The task runs though it is blocked as far as we know: an early waking did it, or one that was not recorded. */
  #wakeByEarly(draft: Draft, at: number): void {
    if (!Number.isNaN(draft.blockedNs)) {
      const early = draft.early;
      if (early?.waker !== undefined) {
        early.waker.ops[early.step] = Op.Wake;
        add(draft, Op.Wait, 0);
      } else add(draft, Op.Sleep, early === undefined ? at - draft.blockedNs : 0);
      draft.blockedNs = Number.NaN;
    }
    draft.early = undefined;
  }

  #onStart(child: Draft, parent: Draft | undefined, at: number): void {
    if (!Number.isNaN(child.startNs)) return;
    if (parent === undefined || parent === child) {
      child.startNs = at - this.#originNs;
      return;
    }
    this.#bringUp(parent, at);
    add(parent, Op.Start, child.index);
    child.startNs = -1;
  }

  #currentAt(row: number): Draft | undefined {
    const pid = this.#current[this.#log.cpuAt(row)]!;
    return pid === 0 ? undefined : this.#find(pid);
  }

  #wakerAt(row: number): Draft | undefined {
    return this.#log.cAt(row) === WakeContext.Task ? this.#currentAt(row) : undefined;
  }

  #leaveCpu(draft: Draft, at: number): void {
    if (!Number.isNaN(draft.onSinceNs)) draft.ranNs += at - draft.onSinceNs;
    draft.onSinceNs = Number.NaN;
  }

  /** Makes the CPU time that a running task has used so far a step, so that what it does now comes after it. */
  #bringUp(draft: Draft, at: number): void {
    if (!Number.isNaN(draft.onSinceNs)) {
      draft.ranNs += at - draft.onSinceNs;
      draft.onSinceNs = at;
    }
    this.#flushRun(draft);
  }

  #flushRun(draft: Draft): void {
    if (draft.ranNs > 0) add(draft, Op.Run, draft.ranNs);
    draft.ranNs = 0;
  }

  /**
   * The task that has this process id now. One never seen before was there when the recording began, ready to run; one
   * whose last owner is dead was forked unseen and starts when it is first seen on a CPU.
   */
  #find(pid: number, nice?: number): Draft {
    const known = this.#byPid.get(pid);
    const draft = known === undefined || known.dead ? this.#newDraft(pid, known === undefined ? 0 : Number.NaN) : known;
    if (nice !== undefined) draft.nice = Math.max(nice, NICE_MIN);
    return draft;
  }

  /** The same for a task that is woken: never seen before, it was asleep when the recording began. */
  #findWoken(pid: number, nice: number): Draft {
    const unknown = !this.#byPid.has(pid);
    const draft = this.#find(pid, nice);
    if (unknown) draft.blockedNs = this.#originNs;
    return draft;
  }

  /** `startNs` NaN: not started yet. */
  #newDraft(pid: number, startNs: number): Draft {
    const draft: Draft = {
      index: this.drafts.length,
      pid,
      ops: [],
      args: [],
      nice: 0,
      startNs,
      ranNs: 0,
      onSinceNs: Number.NaN,
      blockedNs: Number.NaN,
      early: undefined,
      dead: false,
    };
    this.drafts.push(draft);
    this.#byPid.set(pid, draft);
    return draft;
  }
}

/** Appends a step and returns its place. */
function add(draft: Draft, op: number, arg: number): number {
  draft.args.push(arg);
  return draft.ops.push(op) - 1;
}

/** The steps without places that were kept for nothing, and Runs that then follow each other made one. */
function compact(draft: Draft): { readonly ops: readonly number[]; readonly args: readonly number[] } {
  const ops: number[] = [];
  const args: number[] = [];
  for (const [step, op] of draft.ops.entries()) {
    if (op === UNDECIDED) continue;
    if (op === Op.Run && ops.at(-1) === Op.Run) args[args.length - 1]! += draft.args[step]!;
    else {
      ops.push(op);
      args.push(draft.args[step]!);
    }
  }
  return { ops, args };
}
