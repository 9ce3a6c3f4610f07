/**
 * What tasks of a parallel machine do when a CPU runs them: programs up to their next system call; calls on tasks, time
 * and memory here, all others by the storage worker; kernel tasks one piece of work at a time. Beside execute.ts, which
 * does the same for all CPUs of a lockstep machine at once. Time is the host's: calls take what they take, and only
 * run(ns) is computed for.
 *
 *   a call of this CPU's     made; EIOCBQUEUED: the task sleeps, and makes it again when it is woken
 *   a call of the storage's  the task sleeps on Wait.Storage, its row goes into the ring; when it wakes it has its
 *                            answer and is Ready again
 *   clone                    storage copies the descriptors first (progress 1 + the VFS's row), then the child is made
 *   the end                  storage closes what is open, then memory goes back here
 *
 * A row is written by the CPU that runs its task, and by the storage worker while that has its call.
 */
import { TaskLeft, WakeContext, SysEv } from "../abi/events.ts";
import { EAGAIN, EINTR, EINVAL, EIOCBQUEUED, isErr } from "../abi/errno.ts";
import type { EventSink } from "../abi/machine.ts";
import type { UserStart } from "../abi/program.ts";
import { NR_MAX, Nr } from "../abi/syscall_nr.ts";
import type { Nanos } from "../abi/units.ts";
import type { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { Stepped } from "../stepped.ts";
import { REAPER } from "../kthread.ts";
import type { KernelThread } from "../kthread.ts";
import { Kind, NO_VFS, Phase } from "../process.ts";
import type { Processes } from "../process.ts";
import { GO_ON } from "../syscall/call.ts";
import type { CallCode, CallGroup, CallKernel } from "../syscall/call.ts";
import { SIGCHLD, taskCalls } from "../syscall/task.ts";
import { YIELDS } from "../task.ts";
import type { RacingCode } from "../task.ts";
import { Wait } from "../wait.ts";
import type { StoragePort } from "./port.ts";
import type { Tables } from "./share.ts";
import type { Sleepers } from "./sleepers.ts";
import type { Sched } from "../../sched/index.ts";

const { Dead, Runnable, Sleeping, Uninterruptible } = TaskLeft;
/** Calls of a task that are answered at once, before its CPU looks at anything else. */
const CALLS_MAX = 16;
/** Of #call: the program is asked what it does next. */
const ANSWERED = -2;
/** A kernel task whose time has come and who found nothing looks again after this. */
const RECHECK_NS = 1_000_000;

export interface RacingParts {
  readonly tables: Tables;
  readonly arena: Arena;
  readonly rows: number;
  readonly cpu: number;
  readonly now: () => Nanos;
}

export class RacingTasks implements RacingCode, CallKernel {
  readonly processes: Processes;
  readonly target: Float64Array;
  readonly polls: Uint8Array;
  readonly now: () => Nanos;
  timerNs = -1;
  readonly woken = 0;
  readonly started = 0;
  readonly reniced = 0;
  readonly nice = 0;
  readonly allExited = false;
  /** Wakes that were found missing by audit(), and mended. */
  lost = 0;
  readonly #killParts: KillParts;
  readonly #sched: Sched;
  readonly #sleepers: Sleepers;
  readonly #port: StoragePort;
  readonly #trace: EventSink;
  readonly #cpu: number;
  readonly #drain: () => void;
  readonly #calls: (CallCode | undefined)[] = Array.from({ length: NR_MAX + 1 });
  readonly #threads: (KernelThread | undefined)[] = [];
  #reaper = 0;
  readonly #began: Uint8Array;
  /** By row: the sleep that this CPU's timer ends. */
  readonly #timerOf: Int32Array;
  readonly #user: Stepped;
  /** By row: the sleep that looked too long at the last audit. */
  readonly #suspects = new Map<number, number>();
  readonly computed: (p: number, ns: number) => void;
  readonly #begins: (p: number) => void;
  #runNs = 0;
  #yields = false;

  constructor({ tables, arena, rows, cpu, now }: RacingParts) {
    const { sched, processes, sleepers, port, memory, times } = tables;
    this.processes = processes;
    this.now = now;
    this.target = arena.f64(rows);
    this.polls = arena.u8(rows);
    this.#began = arena.u8(rows);
    this.#timerOf = new Int32Array(rows);
    this.#sched = sched;
    this.#sleepers = sleepers;
    this.#port = port;
    this.#trace = tables.trace;
    this.#killParts = { ...tables, cpu };
    this.computed = times.computed;
    this.#begins = (p) => times.begins(p);
    this.#cpu = cpu;
    this.#drain = () => memory?.mm.tick(cpu);
    this.#user = new Stepped(processes);
    const calls = taskCalls({
      kernel: this,
      fork: () => EAGAIN,
      yieldCpu: () => {
        this.#yields = true;
      },
      setNice: (p, nice) => sched.setNice(p, nice),
    });
    this.answer(calls.map(([nr, code]) => [nr, (p) => sleepers.locked(() => code(p))]));
    this.#calls[Nr.clone] = (p) => this.#clone(p);
  }

  answer(group: CallGroup): void {
    for (const [nr, code] of group) this.#calls[nr] = code;
  }

  // --- boot, by one CPU before tasks may run ---

  /** Row of a task of the workload, asleep until its start. */
  spawn(start: UserStart, index: number, cpu: number): number {
    const { processes } = this;
    const window = processes.makeWindow();
    assert(!isErr(window), "spawn: no memory for a task of the workload");
    const p = this.#sched.addTask(start.nice ?? 0, cpu);
    assert(p !== 0, "spawn: no row for a task of the workload");
    processes.takeUser(p, start.name ?? start.program.name, start.program, 0, window, 0);
    processes.words(p).set(start.args ?? []);
    processes.vfsTask[p] = this.#port.firstVfs[index]!;
    this.#port.addLive(1);
    return p;
  }

  /** Row of a kernel task, which sleeps until its thread begins; of the storage worker's, to the end. */
  spawnKernel(name: string, cpu: number): number {
    const p = this.#sched.addTask(0, cpu);
    assert(p !== 0, "spawnKernel: no row for a kernel task");
    this.processes.takeKernel(p, name, 0);
    return p;
  }

  /** By every CPU: row p works by `thread`, a step at a time; under the kernel lock, unless that says when it was asked. */
  runThread(p: number, thread: KernelThread): void {
    this.#threads[p] = thread;
    if (thread.name === REAPER) this.#reaper = p;
  }

  // --- CallKernel ---

  readonly cpu = (): number => this.#cpu;
  charge(): void {}

  sleep(p: number, channel: number, untilNs = Infinity): void {
    this.#sleepers.sleepOn(p, channel);
    if (untilNs === Infinity) return;
    this.timerNs = Math.max(0, untilNs - this.now());
    this.#timerOf[p] = this.#sleepers.serial[p]!;
  }

  wakeAll(channel: number): void {
    this.#sleepers.wakeAll(channel, WakeContext.Task);
  }

  /** A task that is to end does so as soon as it can; who waits gives up. */
  kill(p: number, signal: number): void {
    killTask(this.#killParts, p, signal);
  }

  // --- RacingCode ---

  begin(p: number): boolean {
    if (this.#began[p] !== 0) return false;
    this.#began[p] = 1;
    return true;
  }

  due(p: number): boolean {
    const { waits, serial } = this.#sleepers;
    return this.#sleepers.locked(
      () => waits.channel[p] !== Wait.None && serial[p] === this.#timerOf[p] && this.#sleepers.take(p),
    );
  }

  settle(p: number): boolean {
    return this.#sleepers.settle(p);
  }

  tick(): void {
    this.#drain();
  }

  step = (p: number): number => {
    this.timerNs = -1;
    this.#runNs = 0;
    const thread = this.#threads[p];
    const left = thread === undefined ? this.#stepUser(p) : this.#stepThread(p, thread);
    if (left !== Runnable) return left;
    // What the step took is the kernel's: the program computes for all of its time.
    if (this.#runNs > 0) this.#sched.charge(this.#cpu);
    this.target[p] = this.#sched.task.sumExec[p]! + this.#runNs;
    return left;
  };

  #stepThread(p: number, thread: KernelThread): number {
    if (thread.asked !== undefined && thread.step(this.#cpu) > 0) return Runnable;
    return this.#sleepers.locked(() => {
      if (thread.asked === undefined ? thread.step(this.#cpu) > 0 : thread.asked()) return Runnable;
      const next = thread.nextAtNs();
      this.sleep(p, Wait.Work, next === Infinity ? Infinity : Math.max(next, this.now() + RECHECK_NS));
      return Sleeping;
    });
  }

  #stepUser(p: number): number {
    const { processes } = this;
    for (let calls = 0; calls < CALLS_MAX; calls++) {
      if (processes.killed[p] !== 0 && processes.phase[p] !== Phase.Exiting && !this.#abandon(p))
        return Uninterruptible;
      if (processes.phase[p] === Phase.Ready && this.#ask(p)) return Runnable;
      const left = processes.phase[p] === Phase.Exiting ? this.#exit(p) : this.#call(p);
      if (left !== ANSWERED) return left;
    }
    return Runnable;
  }

  /** The program's next word; true: it computes, false: it makes a call. */
  #ask(p: number): boolean {
    const runNs = this.#user.ask(p, this.#port.runs);
    if (runNs >= 0) {
      this.#runNs = runNs;
      return true;
    }
    const { nr, args } = this.#user;
    this.#trace(SysEv.Enter, this.#cpu, p, nr, args[0]! | 0, args[2]! | 0);
    return false;
  }

  #call(p: number): number {
    const { processes } = this;
    const code = this.#calls[processes.nr[p]!];
    if (code === undefined) return this.#post(p);
    const result = code(p);
    if (result === EIOCBQUEUED) {
      const { channel } = this.#sleepers.waits;
      return channel[p] === Wait.Storage ? Uninterruptible : Sleeping;
    }
    if (result === GO_ON || processes.phase[p] === Phase.Exiting) return Runnable;
    processes.phase[p] = Phase.Ready;
    processes.result[p] = result;
    processes.progress[p] = 0;
    this.#trace(SysEv.Exit, this.#cpu, p, processes.nr[p]!, result | 0, processes.waits[p]!);
    if (!this.#yields) return ANSWERED;
    this.#yields = false;
    return YIELDS;
  }

  /** The storage worker has the next word about p; it may have it before p's CPU has switched away. */
  #post(p: number): number {
    this.#sleepers.sleepOn(p, Wait.Storage);
    this.#port.post(p);
    return Uninterruptible;
  }

  #clone(p: number): number {
    const { processes } = this;
    if (processes.argument(p, 0) !== SIGCHLD) return EINVAL;
    if (processes.progress[p]! > 0) {
      // Memory may have to be made room for, which takes long: not under the lock.
      const window = processes.makeWindow();
      const vfsTask = processes.progress[p]! - 1;
      const child = isErr(window) ? window : this.#sleepers.locked(() => this.#makeChild(p, vfsTask, window));
      if (!isErr(child)) return child;
      if (!isErr(window)) processes.dropWindow(window);
      processes.progress[p] = child;
    }
    this.#post(p);
    return EIOCBQUEUED;
  }

  /** The child's pid. */
  #makeChild(p: number, vfsTask: number, window: number): number {
    const { processes } = this;
    if (!processes.room) return EAGAIN;
    const { task } = this.#sched;
    const child = this.#sched.addTask(task.nice[p]!, task.cpu[p]!);
    if (child === 0) return EAGAIN;
    const program = processes.programs[processes.program[p]!]!;
    processes.takeUser(child, program.name, program, processes.pid[p]!, window, this.now());
    processes.copy(p, child);
    processes.vfsTask[child] = vfsTask;
    this.#begins(child);
    this.#began[child] = 1;
    this.target[child] = 0;
    this.#port.addLive(1);
    const pid = processes.pid[child]!;
    this.#sched.wakeNew(child, this.#cpu, p);
    return pid;
  }

  /** A killed task gives up the call it is in; false: the storage worker has to end its part. */
  #abandon(p: number): boolean {
    const { processes } = this;
    if (processes.phase[p] === Phase.Entered && processes.nr[p] === Nr.clone && processes.progress[p]! > 0) {
      processes.progress[p] = EINTR;
      this.#post(p);
      return false;
    }
    processes.phase[p] = Phase.Exiting;
    return true;
  }

  #exit(p: number): number {
    const { processes } = this;
    if (processes.vfsTask[p] !== NO_VFS) return this.#post(p);
    this.#trace(SysEv.TaskExit, this.#cpu, p, processes.exitCode[p]!, 0, 0);
    this.#sleepers.locked(() => {
      const freed = processes.rss[p]!;
      const pid = processes.pid[p]!;
      processes.leave(p);
      processes.orphan(pid);
      if (freed > 0) this.wakeAll(Wait.Memory);
      this.wakeAll(Wait.Child);
      if (processes.orphaned) wakeThread(this.#sleepers, this.#reaper);
    });
    this.#port.addLive(-1);
    return Dead;
  }

  #isOverlooked(p: number, channel: number, lateNs: number): boolean {
    const { processes } = this;
    if (channel === Wait.Work) return this.#threads[p]?.name === REAPER && processes.orphaned;
    // The storage worker looks for its own.
    if (channel === Wait.Storage) return false;
    if (processes.killed[p] !== 0) return true;
    if (channel === Wait.Timer) return processes.wakeAt[p]! < this.now() - lateNs;
    return channel === Wait.Child && processes.hasDead(processes.pid[p]!, processes.argument(p, 0));
  }

  /** Looks for tasks that sleep though what they wait for is there: none, unless a wake was lost. They are woken. */
  audit(lateNs: number): void {
    const { processes } = this;
    const { waits } = this.#sleepers;
    this.#sleepers.locked(() => {
      for (let p = 1; p < processes.rows; p++) {
        if (processes.sleptAt[p]! > this.now() - lateNs || !this.#sleepers.isAsleep(p)) continue;
        if (!this.#isOverlooked(p, waits.channel[p]!, lateNs)) continue;
        // The host may have stopped the worker that is about to wake it: not the first time.
        const first = this.#suspects.get(p) !== this.#sleepers.serial[p];
        this.#suspects.set(p, this.#sleepers.serial[p]!);
        if (first) continue;
        this.lost++;
        if (this.#sleepers.take(p)) this.#sched.wake(p, this.#cpu, WakeContext.Timer);
      }
    });
  }
}

/** Kernel task p has work; one that is at it will see. */
export function wakeThread(sleepers: Sleepers, p: number): void {
  sleepers.locked(() => {
    if (sleepers.waits.channel[p] === Wait.Work) sleepers.wake(p, WakeContext.Task);
  });
}

export interface KillParts extends Pick<Tables, "processes" | "sleepers" | "port" | "trace"> {
  /** Whose worker kills. */
  readonly cpu: number;
}

/** By whoever; a task that waits for storage is told by the storage worker. */
export function killTask({ processes, sleepers, port, trace, cpu }: KillParts, p: number, signal: number): void {
  sleepers.locked(() => {
    if (processes.killed[p] !== 0 || processes.kind[p] !== Kind.User) return;
    // Who ends already has its status.
    processes.killed[p] = processes.phase[p] === Phase.Exiting ? -signal : signal;
    trace(SysEv.Kill, cpu, p, signal, 0, 0);
    const channel = sleepers.waits.channel[p];
    if (channel === Wait.Storage) port.ring();
    else if (channel !== Wait.None) sleepers.wake(p, WakeContext.Task);
  });
}
