/**
 * What tasks of a booted machine do when they run: programs up to their next system call, system calls up to where they
 * wait, kernel tasks one piece of work at a time. One step at one moment of one CPU; the event loop that calls step()
 * moves time and switches tasks (lockstep_loop.ts).
 *
 *   program says run(ns)    CPU time of the user's, then the next step
 *   program makes a call    the way in is paid first, then the call's code runs whole: an answer, or
 *                             EIOCBQUEUED   the task sleeps on a channel (wait.ts); woken, it makes the same call again
 *                             GO_ON         it pays for what it did and goes on with the same call
 *   program ends            what it has open is closed, which may wait; then the row is free
 *
 * Work beyond a call's fixed cost (charge) and time that wakes took are added to what the task does next, so nothing is
 * free: but the effects of a call are there at the moment its way in is paid for.
 */
import { SysEv, TaskLeft, WakeContext } from "./abi/events.ts";
import { EIOCBQUEUED, ENOSYS } from "./abi/errno.ts";
import type { EventSink } from "./abi/machine.ts";
import type { TaskStalls } from "./abi/reclaim.ts";
import { NR_MAX } from "./abi/syscall_nr.ts";
import type { Nanos } from "./abi/units.ts";
import { nanos } from "./abi/units.ts";
import type { Arena } from "./lib/arena.ts";
import { assert } from "./lib/assert.ts";
import { CALL_COSTS, callCost } from "./call_cost.ts";
import type { KernelThread } from "./kthread.ts";
import { IoCounts } from "./observe/io_counts.ts";
import { Kind, NO_VFS, Phase } from "./process.ts";
import type { Processes } from "./process.ts";
import { GO_ON } from "./syscall/call.ts";
import type { CallCode, CallGroup, CallKernel } from "./syscall/call.ts";
import { Stepped } from "./stepped.ts";
import { YIELDS } from "./task.ts";
import type { TaskCode } from "./task.ts";
import { isDiskWait, Wait } from "./wait.ts";
import type { WaitQueues } from "./wait.ts";
import type { Costs } from "../sched/index.ts";

const { Dead, Runnable, Sleeping, Uninterruptible } = TaskLeft;
/** Of #makeCall: the call is over, and the program is asked what it does next. */
const ANSWERED = -2;
const { Device, Task } = WakeContext;
/** A kernel task whose time has come and who found nothing looks again after this. */
const RECHECK_NS = 1_000_000;

export interface ExecutorParts {
  readonly arena: Arena;
  readonly cpus: number;
  readonly processes: Processes;
  readonly waits: WaitQueues;
  /** time[0]: the clock. */
  readonly time: Float64Array;
  readonly trace: EventSink;
  /** The scheduler's columns. */
  readonly sumExec: Float64Array;
  readonly cpuOf: Int32Array;
  /** Closes what a VFS task has open: 0, or EIOCBQUEUED; and ends a call that it will not make again. */
  readonly exitFiles: (vfsTask: number) => number;
  readonly cancelCall: (vfsTask: number) => number;
  readonly fileChannel: () => number;
  /** Before and after each step: requests of one step go to the disk together, on behalf of task p. */
  readonly plug: (p: number) => void;
  readonly unplug: () => void;
  readonly psi: TaskStalls | undefined;
}

export class Executor implements TaskCode, CallKernel {
  readonly processes: Processes;
  readonly target: Float64Array;
  readonly polls: Uint8Array;
  timerNs = -1;
  readonly woken = 0;
  readonly started = 0;
  readonly reniced = 0;
  readonly nice = 0;
  /** Row of the kernel task that puts away the dead whom nobody waits for; 0: none. */
  reaper = 0;
  /** User tasks that have not ended. */
  live = 0;
  /** False: programs make no further step; who asks is put away (the machine shuts down). */
  open = true;
  /** CPU time of programs, by CPU, ns. */
  readonly userNs: Float64Array;
  /** The same by task. */
  readonly taskUserNs: Float64Array;
  /** Wakes a sleeping task: the event loop's. */
  wakeRow: (p: number, cpu: number, context: number) => void = () => undefined;
  readonly io: IoCounts;
  readonly #parts: ExecutorParts;
  readonly #calls: (CallCode | undefined)[] = [];
  readonly #threads: (KernelThread | undefined)[] = [];
  readonly #owed: Float64Array;
  readonly #leftAt: Float64Array;
  readonly #lastCpu: Int32Array;
  readonly #began: Uint8Array;
  readonly #user: Stepped;
  #cpu = 0;
  #context: number = Task;
  #extra = 0;
  /** Task whose step this is; 0 between steps and in interrupts. */
  #row = 0;
  /** By task: 1 + the CPU on which it began to stall for memory; 0: it does not. */
  readonly #stalled: Int32Array;
  #yields = false;

  constructor(parts: ExecutorParts) {
    const { arena, processes } = parts;
    const { rows } = processes;
    this.#parts = parts;
    this.processes = processes;
    this.target = arena.f64(rows);
    this.polls = arena.u8(rows);
    this.userNs = arena.f64(parts.cpus);
    this.taskUserNs = arena.f64(rows);
    this.io = new IoCounts(arena, rows);
    this.#owed = arena.f64(rows);
    this.#leftAt = arena.f64(rows);
    this.#lastCpu = arena.i32(rows).fill(-1);
    this.#began = arena.u8(rows);
    this.#stalled = arena.i32(rows);
    this.#user = new Stepped(processes);
    for (let nr = 0; nr <= NR_MAX; nr++) this.#calls.push(undefined);
  }

  static bytes(rows: number, cpus: number): number {
    return rows * 42 + cpus * 8 + 8 * 64 + IoCounts.bytes(rows);
  }

  /** Adds calls to the table; what nobody adds is ENOSYS. */
  answer(group: CallGroup): void {
    for (const [nr, code] of group) {
      assert(this.#calls[nr] === undefined, "Executor: a call has two answers");
      this.#calls[nr] = code;
    }
  }

  /** Row p, a kernel task, works by `thread`. */
  runThread(p: number, thread: KernelThread): void {
    this.#threads[p] = thread;
  }

  /** The rows that do kernel threads, by name: for wakes. */
  threadRow(name: string): number {
    return this.#threads.findIndex((thread) => thread?.name === name);
  }

  // --- CallKernel ---

  readonly now = (): Nanos => nanos(this.#parts.time[0]!);
  readonly cpu = (): number => this.#cpu;

  charge(ns: number): void {
    this.#extra += ns;
  }

  yieldCpu(): void {
    this.#yields = true;
  }

  sleep(p: number, channel: number, untilNs = Infinity): void {
    const { processes, waits, time, trace } = this.#parts;
    waits.sleepOn(p, channel);
    processes.sleptAt[p] = time[0]!;
    this.timerNs = untilNs === Infinity ? -1 : Math.max(0, untilNs - time[0]!);
    trace(SysEv.Sleep, this.#cpu, p, channel, 0, 0);
  }

  wakeAll(channel: number): void {
    const { waits } = this.#parts;
    for (let p = waits.oldest(channel); p !== 0; p = waits.oldest(channel)) this.#wake(p);
  }

  wakeThread(p: number): void {
    if (p > 0 && this.#parts.waits.channel[p] === Wait.Work) this.#wake(p);
  }

  /** Ends whatever p waits for. */
  wakeTask(p: number): void {
    if (this.#parts.waits.channel[p] !== Wait.None) this.#wake(p);
  }

  #wake(p: number): void {
    this.#endWait(p);
    this.wakeRow(p, this.#cpu, this.#context);
  }

  #endWait(p: number): void {
    const { processes, waits, time } = this.#parts;
    if (isDiskWait(waits.channel[p]!)) processes.diskNs[p]! += time[0]! - processes.sleptAt[p]!;
    waits.leave(p);
  }

  /** Runs the work of an interrupt on a CPU: whoever it wakes is woken from there. */
  interrupt(cpu: number, work: () => void): void {
    const [wasCpu, wasContext] = [this.#cpu, this.#context];
    this.#cpu = cpu;
    this.#context = Device;
    this.#extra = 0;
    work();
    this.#parts.time[0]! += this.#extra;
    this.#extra = 0;
    this.#cpu = wasCpu;
    this.#context = wasContext;
  }

  /** Kills a task: it ends as soon as it can; a waiting call is given up. */
  kill(p: number, signal: number): void {
    const { processes, trace } = this.#parts;
    if (processes.killed[p] !== 0 || processes.kind[p] !== Kind.User) return;
    // Who ends already has its status, and is still nobody to be killed again.
    processes.killed[p] = processes.phase[p] === Phase.Exiting ? -signal : signal;
    trace(SysEv.Kill, this.#cpu, p, signal, 0, 0);
    this.wakeTask(p);
  }

  // --- TaskCode ---

  get allExited(): boolean {
    return false;
  }

  begin(p: number): boolean {
    if (this.#began[p] !== 0) {
      this.#endWait(p);
      return false;
    }
    this.#began[p] = 1;
    return true;
  }

  /** A row that is used again begins anew. */
  fresh(p: number): void {
    this.#began[p] = 0;
    // Who had the row before may have computed for longer than who has it now.
    this.target[p] = 0;
    this.#owed[p] = 0;
    // The scheduler's account of a row begins at 0 with each task.
    this.target[p] = this.taskUserNs[p] = 0;
    this.io.clear(p);
    this.#lastCpu[p] = -1;
  }

  owe(p: number, ns: number): void {
    this.#owed[p]! += ns;
  }

  depart(p: number, now: number): void {
    this.#leftAt[p] = now;
  }

  arrive(p: number, cpu: number, now: number, costs: Costs): void {
    const from = this.#lastCpu[p]!;
    this.#lastCpu[p] = cpu;
    if (from < 0) return;
    const away = Math.min(1, (now - this.#leftAt[p]!) / costs.coldSpan);
    this.target[p]! += (from === cpu ? 0 : costs.migration) + Math.floor(costs.cold * away);
  }

  /** The task at work on a CPU stalls for memory: from now until what that costs it is paid. */
  beginStall(): void {
    const { psi } = this.#parts;
    if (psi === undefined || this.#row === 0 || this.#stalled[this.#row] !== 0) return;
    psi.memstallEnter(this.#cpu);
    this.#stalled[this.#row] = 1 + this.#cpu;
  }

  step(p: number): number {
    const { time, sumExec, cpuOf, plug, unplug } = this.#parts;
    const began = time[0]!;
    this.#cpu = cpuOf[p]!;
    this.#context = Task;
    this.#extra = 0;
    this.timerNs = -1;
    this.#row = p;
    if (this.#stalled[p] !== 0) {
      this.#parts.psi!.memstallLeave(this.#stalled[p]! - 1);
      this.#stalled[p] = 0;
    }
    plug(p);
    const thread = this.#threads[p];
    const left = thread === undefined ? this.#stepUser(p) : this.#stepThread(p, thread);
    unplug();
    this.#row = 0;
    // Time that wakes took is on the clock; the rest is paid as CPU time.
    this.#owed[p]! += time[0]! - began;
    if (left !== Runnable) return left;
    this.target[p] = sumExec[p]! + this.#owed[p]! + this.#extra;
    this.#owed[p] = 0;
    return left;
  }

  #stepThread(p: number, thread: KernelThread): number {
    const { time } = this.#parts;
    const cost = thread.step(this.#cpu);
    if (cost > 0) {
      this.#extra += cost;
      return Runnable;
    }
    const next = thread.nextAtNs();
    this.sleep(p, Wait.Work, next === Infinity ? Infinity : Math.max(next, time[0]! + RECHECK_NS));
    return Sleeping;
  }

  #stepUser(p: number): number {
    const { processes } = this.#parts;
    for (;;) {
      if (processes.killed[p] !== 0 && processes.phase[p] !== Phase.Exiting && !this.#abandon(p))
        return Uninterruptible;
      switch (processes.phase[p]) {
        case Phase.Ready:
          this.#askProgram(p);
          return Runnable;
        case Phase.Entered: {
          const left = this.#makeCall(p);
          if (left !== ANSWERED) return left;
          break;
        }
        default:
          return this.#exit(p);
      }
    }
  }

  /** The program's next word: CPU time of its own, or a call whose way in it pays. */
  #askProgram(p: number): void {
    const runNs = this.#user.ask(p, this.open);
    if (runNs >= 0) {
      this.#extra += runNs;
      this.userNs[this.#cpu]! += runNs;
      this.taskUserNs[p]! += runNs;
      return;
    }
    const { nr, args } = this.#user;
    this.#parts.trace(SysEv.Enter, this.#cpu, p, nr, args[0]! | 0, args[2]! | 0);
    this.#extra += callCost(nr, args[2]!);
  }

  /** Makes the call; ANSWERED, or how the task is left. */
  #makeCall(p: number): number {
    const { processes, waits, trace } = this.#parts;
    const code = this.#calls[processes.nr[p]!];
    const result = code === undefined ? ENOSYS : code(p);
    if (result === EIOCBQUEUED) {
      assert(waits.channel[p] !== Wait.None, "a call waits for nothing");
      processes.waits[p]!++;
      this.#owed[p]! += this.#extra + CALL_COSTS.retry;
      return isDiskWait(waits.channel[p]!) ? Uninterruptible : Sleeping;
    }
    if (result === GO_ON) return Runnable;
    // The program is asked at once: what the call cost beside its way in is paid with what comes next.
    this.#owed[p]! += this.#extra;
    this.#extra = 0;
    if (processes.phase[p] === Phase.Exiting) return ANSWERED;
    processes.phase[p] = Phase.Ready;
    processes.result[p] = result;
    processes.progress[p] = 0;
    this.io.count(p, processes.nr[p]!, result);
    trace(SysEv.Exit, this.#cpu, p, processes.nr[p]!, result | 0, processes.waits[p]!);
    if (!this.#yields) return ANSWERED;
    this.#yields = false;
    return YIELDS;
  }

  /** A killed task gives up the call it is in; false: that has to wait. */
  #abandon(p: number): boolean {
    const { processes, cancelCall, fileChannel } = this.#parts;
    const vfsTask = processes.vfsTask[p]!;
    if (processes.phase[p] === Phase.Entered && vfsTask !== NO_VFS && cancelCall(vfsTask) === EIOCBQUEUED) {
      this.sleep(p, fileChannel());
      return false;
    }
    processes.phase[p] = Phase.Exiting;
    return true;
  }

  #exit(p: number): number {
    const { processes, trace, exitFiles, fileChannel } = this.#parts;
    const vfsTask = processes.vfsTask[p]!;
    if (vfsTask !== NO_VFS && exitFiles(vfsTask) === EIOCBQUEUED) {
      this.sleep(p, fileChannel());
      return Uninterruptible;
    }
    processes.vfsTask[p] = NO_VFS;
    trace(SysEv.TaskExit, this.#cpu, p, processes.exitCode[p]!, 0, 0);
    const freed = processes.rss[p]!;
    const pid = processes.pid[p]!;
    processes.leave(p);
    processes.orphan(pid);
    this.live--;
    if (freed > 0) this.wakeAll(Wait.Memory);
    this.wakeAll(Wait.Child);
    if (processes.orphaned) this.wakeThread(this.reaper);
    return Dead;
  }
}
