/**
 * The scheduler's core: moves tasks between their states and asks the policy at each point of sched_ext's life cycle.
 * It is the same code in every world; an executor (one thread for all CPUs, or a worker a CPU) calls it and supplies
 * the clock, the locks and the way to interrupt a CPU.
 *
 * - addTask, removeTask        a row of the table is taken or given back
 * - wake, wakeNew              a sleeping (new) task becomes runnable
 * - schedule(cpu, left)        the CPU's task stops as `left` says, the next one is picked: its row, 0 for idle
 * - tick(cpu)                  the periodic accounting; may ask for a new pick
 * - watchdog()                 throws out a policy that lets a task wait too long
 *
 * Invariants (checkSched): a Queued task is on exactly one queue, the policy's or a dispatch queue; a Running one is
 * `curr` of its CPU and of no other; sumExec never goes back. The run-queue lock of CPU c guards c's row and the rows
 * of the tasks whose cpu is c. Lock order: free rows, run queues by CPU number, then a dispatch queue.
 *
 * A task changes hands outside that lock twice, and then only its new owner touches it: Waking, between the locks of two
 * CPUs; and taken from a queue that CPUs share (dsq.ts), until its cpu is the taker's.
 */
import { Ev, EjectReason, TaskLeft } from "../kernel/abi/events.ts";
import { DISPATCH_LOOPS_MAX, DSQS_MAX, POLICY_CALLS_MAX, WATCHDOG_NS_MAX } from "../kernel/abi/limits.ts";
import type { EventSink } from "../kernel/abi/machine.ts";
import * as abi from "../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel, SchedPolicy } from "../kernel/abi/sched.ts";
import type { Nanos } from "../kernel/abi/units.ts";
import type { Arena } from "../kernel/lib/arena.ts";
import { assert, KernelPanic } from "../kernel/lib/assert.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import { pullLoad, pullTask } from "./balance.ts";
import { DispatchQueues, NO_DSQ, TAKEN } from "./dsq.ts";
import type { SchedMetrics } from "./metrics.ts";
import { CpuTable, cpuAt, TaskState, TaskTable } from "./table.ts";
import { loadWeightOf, scxWeightOf } from "./weight.ts";

/** What the core needs from the world it runs in. */
export interface SchedWorld {
  readonly now: () => Nanos;
  readonly trace: EventSink;
  readonly locks: LockOps;
  /** Between waking and queueing: a world with modelled costs moves its clock on by what that takes. */
  readonly wakePath: () => void;
  /** Makes `cpu` call schedule() soon; the core has set its resched word. */
  readonly resched: (cpu: number) => void;
}

export interface SchedConfig {
  readonly cpus: number;
  /** Rows of the task table, idle row 0 among them. */
  readonly tasksMax: number;
  readonly tickNs: number;
  readonly policy: PolicyFactory;
  /** Takes over when the policy is ejected; always one of ours. */
  readonly fallback: PolicyFactory;
}

const EPOCH = 0;
const EJECT_ASKED = 1;
const FREE_ROW = 2;
/** Futex of the table's free rows, a cache line further. */
const TABLE_LOCK = 16;

/** Bits of a CPU's resched word. */
const RESCHED = 1;
/** The running task has to give way, whatever its slice. */
const PREEMPT = 2;
/** What the arena may lose to alignment. */
const LINE_BYTES = 64;

/** Operations that a policy may leave out. */
const OPERATIONS = [
  "init",
  "exit",
  "initTask",
  "exitTask",
  "enable",
  "disable",
  "selectCpu",
  "runnable",
  "dequeue",
  "dispatch",
  "running",
  "tick",
  "stopping",
  "quiescent",
  "setWeight",
] as const satisfies readonly (keyof SchedPolicy)[];

export const NO_PARENT = -1;

export class Sched implements SchedKernel {
  readonly cpus: number;
  readonly tasksMax: number;
  readonly tickNs: number;
  readonly now: () => Nanos;
  readonly task: TaskTable;
  readonly cpu: CpuTable;
  readonly dsqs: DispatchQueues;
  readonly metrics: SchedMetrics | undefined;
  /** Why the policy was thrown out, as text; set in the instance that saw it. */
  ejectMessage = "";
  policy: SchedPolicy;
  readonly #policies: readonly SchedPolicy[];
  readonly #world: SchedWorld;
  readonly #trace: EventSink;
  readonly #arena: Arena;
  readonly #global: number;
  readonly #words: Int32Array;
  #epoch = 0;
  #dispatchCpu = -1;
  #inserted = 0;
  /** Calls of looking helpers since the policy was last entered: what a loop without end is known by. */
  #calls = 0;
  /** Task whose selectCpu runs, or 0, and where that asked to have it inserted: 0 nowhere, the id of a queue. */
  #selecting = 0;
  #directDsq = 0;
  #directSlice = 0;
  #directVtime = 0;
  #directFlags = 0;
  #initialised = false;
  /** CPU whose accounting stands still while it picks, or -1. */
  #clockHeld = -1;

  /** `metrics` undefined: no statistics are kept. Instances over one arena must be made with equal arguments. */
  constructor(arena: Arena, config: SchedConfig, world: SchedWorld, metrics?: SchedMetrics) {
    assert(config.cpus >= 1 && config.cpus <= 64, "Sched: 1 to 64 CPUs");
    this.cpus = config.cpus;
    this.tasksMax = config.tasksMax;
    this.tickNs = config.tickNs;
    this.now = world.now;
    this.metrics = metrics;
    this.#world = world;
    this.#trace = world.trace;
    this.#arena = arena;
    this.#global = config.cpus;
    this.#words = arena.i32(32);
    this.task = new TaskTable(arena, config.tasksMax);
    this.cpu = new CpuTable(arena, config.cpus);
    this.dsqs = new DispatchQueues(arena, this.task, world.locks, config.cpus + 1, DSQS_MAX);
    this.#policies = [wellFormed(config.policy(this)), wellFormed(config.fallback(this))];
    this.policy = this.#policies[0]!;
    for (const policy of this.#policies) policy.init?.();
    this.#initialised = true;
  }

  // --- the tables, as policies see them (SchedKernel) ---

  perTask(): Float64Array {
    this.#mayTake(this.tasksMax * 8);
    return this.#arena.f64(this.tasksMax);
  }

  perCpu(): Float64Array {
    this.#mayTake(this.cpus * 8);
    return this.#arena.f64(this.cpus);
  }

  words(words: number): Int32Array {
    this.#mayTake(words * 4);
    return this.#arena.i32(words);
  }

  createDsq(): number {
    if (this.#initialised) this.#fail("createDsq: only while the policy comes up");
    if (this.dsqs.full) this.#fail(`createDsq: a machine has at most ${DSQS_MAX} dispatch queues`);
    this.#mayTake((this.tasksMax + 1) * 4);
    return this.dsqs.create();
  }

  /** Every CPU's instance takes the same memory in the same order, so nothing can be taken later. */
  #mayTake(bytes: number): void {
    if (this.#initialised) this.#fail("perTask, perCpu, words: only while the policy comes up");
    const left = this.#arena.buffer.byteLength - this.#arena.usedBytes - LINE_BYTES;
    if (!(bytes >= 0 && bytes <= left))
      this.#fail(`the policy asks for ${bytes} bytes of shared memory, ${left} are left`);
  }

  running(cpu: number): number {
    return this.cpu.curr[cpuAt(cpu)]!;
  }

  nrRunning(cpu: number): number {
    const at = cpuAt(cpu);
    return this.cpu.queued[at]! + (this.cpu.curr[at] === 0 ? 0 : 1) + this.dsqs.count(cpu);
  }

  account(cpu: number): void {
    const at = cpuAt(cpu);
    const p = this.cpu.curr[at]!;
    if (p === 0) return;
    if (this.#clockHeld === cpu) return;
    const clockTask = this.now() - this.cpu.irqTime[at]!;
    const delta = clockTask - this.cpu.execStart[at]!;
    if (delta <= 0) return;
    this.cpu.execStart[at] = clockTask;
    const { sumExec, slice } = this.task;
    sumExec[p]! += delta;
    slice[p] = Math.max(0, slice[p]! - delta);
  }

  dsqInsert(p: number, dsq: number, sliceNs: number, enqFlags: number): void {
    const queue = this.#resolve(p, dsq, sliceNs);
    if (p === this.#selecting) return this.#insertLater(dsq, sliceNs, Number.NaN, enqFlags);
    if (queue >= this.cpus) this.#unlist(p);
    this.task.slice[p] = sliceNs;
    if (!this.dsqs.insertFifo(queue, p, (enqFlags & abi.ENQ_HEAD) !== 0))
      this.#fail("dsqInsert: the queue holds tasks ordered by vtime");
    this.#inserted++;
    if (queue >= this.cpus) return;
    if ((enqFlags & abi.ENQ_PREEMPT) !== 0) this.kickCpu(queue, abi.KICK_PREEMPT);
    else if (queue !== this.#dispatchCpu) this.kickCpu(queue, abi.KICK_IDLE);
  }

  dsqInsertVtime(p: number, dsq: number, sliceNs: number, vtime: number, enqFlags: number): void {
    const queue = this.#resolve(p, dsq, sliceNs);
    if (!this.dsqs.hasVtime(queue)) this.#fail("dsqInsertVtime: not a queue made by createDsq");
    if (!Number.isFinite(vtime)) this.#fail(`dsqInsertVtime: the vtime of task ${p} is ${vtime}`);
    if (p === this.#selecting) return this.#insertLater(dsq, sliceNs, vtime, enqFlags);
    this.#unlist(p);
    this.task.slice[p] = sliceNs;
    this.task.dsqVtime[p] = vtime;
    if (!this.dsqs.insertVtime(queue, p, vtime)) this.#fail("dsqInsertVtime: the queue holds tasks in FIFO order");
    this.#inserted++;
  }

  dsqMoveToLocal(dsq: number, cpu: number): boolean {
    this.#countCall();
    const queue = this.#shared(dsq, "dsqMoveToLocal");
    if (cpu !== this.#dispatchCpu) this.#fail(`dsqMoveToLocal: CPU ${cpu} is not the one that dispatches`);
    const p = this.dsqs.takeFor(queue, cpu);
    if (p === 0) return false;
    this.#moveTo(p, cpu);
    this.dsqs.insertFifo(cpu, p, false);
    this.#inserted++;
    return true;
  }

  dsqNrQueued(dsq: number): number {
    this.#countCall();
    if ((dsq & abi.DSQ_LOCAL_ON) !== 0 && dsq > 0) return this.dsqs.count(this.#cpuOf(dsq, "dsqNrQueued"));
    return this.dsqs.count(this.#shared(dsq, "dsqNrQueued"));
  }

  kickCpu(cpu: number, flags: number): void {
    this.#countCall();
    if (!this.#isCpu(cpu)) this.#fail(`kickCpu: there is no CPU ${cpu}`);
    const p = this.cpu.curr[cpuAt(cpu)]!;
    if ((flags & abi.KICK_PREEMPT) !== 0) {
      // Under its lock the slice ends here; another CPU's accounting could write over that, so that CPU ends it itself.
      if (cpu !== this.#dispatchCpu) this.#resched(cpu, RESCHED | PREEMPT);
      else {
        if (p !== 0) this.task.slice[p] = 0;
        this.#resched(cpu);
      }
    } else if (p === 0 || (this.#someIdle() && this.#isIdle(cpu))) this.#resched(cpu);
  }

  selectCpuDfl(p: number, prevCpu: number, _wakeFlags: number): number {
    const { idle } = this.cpu;
    if (idle[0] === 0 && idle[1] === 0) return -1;
    if (this.task.mayUse(p, prevCpu) && this.#claimIdle(prevCpu)) return prevCpu;
    for (let step = 1; step < this.cpus; step++) {
      const cpu = prevCpu + step < this.cpus ? prevCpu + step : prevCpu + step - this.cpus;
      if (this.task.mayUse(p, cpu) && this.#claimIdle(cpu)) return cpu;
    }
    return -1;
  }

  error(message: string): void {
    throw new PolicyError(message, EjectReason.Error);
  }

  // --- tasks come and go ---

  /** Takes a free row; the task sleeps until wakeNew. 0 when the table is full. */
  addTask(nice: number, cpu: number): number {
    const { rows, state } = this.task;
    this.#world.locks.lock(this.#words, TABLE_LOCK);
    this.#lock(cpu);
    try {
      for (let p = this.#words[FREE_ROW]! + 1; p < rows; p++) {
        if (state[p] !== TaskState.Free) continue;
        this.#words[FREE_ROW] = p;
        this.task.cpu[p] = cpu;
        this.task.allowed[2 * p] = this.task.allowed[2 * p + 1] = -1;
        this.task.sumExec[p] = this.task.slice[p] = this.task.dsqVtime[p] = 0;
        this.task.wokenAt[p] = -1;
        this.#weigh(p, nice);
        this.task.setState(p, TaskState.Sleeping);
        for (const policy of this.#policies) policy.initTask?.(p);
        this.policy.enable?.(p);
        return p;
      }
      return 0;
    } finally {
      this.#unlock(cpu);
      this.#world.locks.unlock(this.#words, TABLE_LOCK);
    }
  }

  /** Gives a dead task's row back. */
  removeTask(p: number): void {
    this.#world.locks.lock(this.#words, TABLE_LOCK);
    const home = this.#lockTask(p);
    try {
      this.policy.disable?.(p);
      this.policy.exitTask?.(p);
    } catch (thrown) {
      this.#caught(thrown, "exitTask");
    }
    for (const policy of this.#policies) if (policy !== this.policy) this.#quietly(() => policy.exitTask?.(p));
    this.task.setState(p, TaskState.Free);
    this.#words[FREE_ROW] = Math.min(this.#words[FREE_ROW]!, p - 1);
    this.#unlock(home);
    this.#world.locks.unlock(this.#words, TABLE_LOCK);
  }

  /**
   * Changes a task's nice value, wherever it stands. As in Linux a running task is stopped and set running again around
   * the change, so that what it ran before counts by the weight it had then.
   */
  setNice(p: number, nice: number): void {
    this.#sync();
    let home = this.#lockTask(p);
    while (!this.#reweigh(p, home, nice)) {
      this.#unlock(home);
      this.#sync();
      home = this.#lockTask(p);
    }
    this.#unlock(home);
    this.#sync();
  }

  /** False: the lock of `home` does not guard p just now, which is changing hands. */
  #reweigh(p: number, home: number, nice: number): boolean {
    // What a taker writes in the other order: when its queue's word is no longer ours, neither is the CPU.
    const dsq = Atomics.load(this.task.dsq, p);
    const state = this.task.state[p];
    if (this.task.cpu[p] !== home || dsq === TAKEN || state === TaskState.Waking) return false;
    if (state === TaskState.Free) return true;
    const waits = state === TaskState.Queued;
    const runs = state === TaskState.Running;
    if (runs && this.cpu.curr[cpuAt(home)] !== p) return false;
    try {
      if (waits && !this.#takeOff(p, dsq, abi.DEQ_SAVE)) return false;
      if (runs) this.account(home);
      if (runs) this.policy.stopping?.(p, true);
      this.#weigh(p, nice);
      this.policy.setWeight?.(p);
      if (waits) this.#putOn(p, home, abi.ENQ_RESTORE);
      if (runs) this.policy.running?.(p);
    } catch (thrown) {
      // A list counts its tasks' weights: off it while p's changes; the fallback puts it on its own.
      if (waits) this.#unlink(p, home);
      this.#weigh(p, nice);
      this.#caught(thrown, "setWeight");
    }
    return true;
  }

  /**
   * Wakes a sleeping task; `byCpu` is where the waker runs, `context` its kind (WakeContext).
   * False when the task does not sleep: the caller keeps the wake for later.
   */
  wake(p: number, byCpu: number, context: number): boolean {
    return this.#wake(p, byCpu, abi.ENQ_WAKEUP, context);
  }

  /** Makes a new task runnable for the first time; `parent` runs on `byCpu`. NO_PARENT: it was there before the trace. */
  wakeNew(p: number, byCpu: number, parent: number): void {
    if (parent !== NO_PARENT) this.#trace(Ev.SchedFork, byCpu, parent, p, 0, 0);
    assert(this.#wake(p, byCpu, abi.ENQ_NEW, 0), "wakeNew: the task is not new");
  }

  #wake(p: number, byCpu: number, enqFlags: number, context: number): boolean {
    const task = this.task;
    if (task.state[p] !== TaskState.Sleeping) return false;
    this.#sync();
    const prev = this.#lockTask(p);
    const asleep = task.state[p] === TaskState.Sleeping;
    if (asleep) task.setState(p, TaskState.Waking);
    this.#unlock(prev);
    if (!asleep) return false;
    const isNew = (enqFlags & abi.ENQ_NEW) !== 0;
    const target = this.#selectCpu(p, prev, isNew ? abi.WAKE_FORK : abi.WAKE_TTWU);
    const nice = task.nice[p]!;
    const now = this.now();
    if (!isNew) this.#trace(Ev.SchedWaking, byCpu, p, target, context, nice);
    if (target !== prev && !isNew) this.#trace(Ev.SchedMigrate, byCpu, p, prev, target, nice);
    this.#world.wakePath();
    this.#lock(target);
    task.cpu[p] = target;
    task.wokenAt[p] = now;
    this.metrics?.onWake(p, now, task.sumExec[p]!);
    if (target !== prev) enqFlags |= abi.ENQ_MIGRATED;
    task.waitSince[p] = now;
    task.setState(p, TaskState.Queued);
    try {
      this.policy.runnable?.(p, enqFlags);
      if (this.#directDsq === 0) this.#putOn(p, target, enqFlags);
      else this.#putDirect(p, target);
    } catch (thrown) {
      this.#caught(thrown, "enqueue");
    }
    const at = cpuAt(target);
    const idle = this.cpu.curr[at] === 0;
    if (!idle && this.cpu.reschedWords[at] !== 0) this.cpu.skipClock[at] = 1;
    this.#unlock(target);
    this.#trace(isNew ? Ev.SchedWakeupNew : Ev.SchedWakeup, byCpu, p, target, 0, nice);
    if (idle) this.#resched(target);
    else if (this.#someIdle()) this.#kickAnIdle(p);
    this.#sync();
    return true;
  }

  #selectCpu(p: number, prev: number, wakeFlags: number): number {
    const { policy, task } = this;
    this.#directDsq = 0;
    let cpu = -1;
    if (policy.selectCpu !== undefined) {
      this.#calls = 0;
      this.#selecting = p;
      try {
        cpu = policy.selectCpu(p, prev, wakeFlags);
        if (cpu !== -1 && !this.#isCpu(cpu)) this.#fail(`selectCpu: there is no CPU ${cpu}`);
      } catch (thrown) {
        cpu = -1;
        this.#directDsq = 0;
        this.#caught(thrown, "selectCpu");
      }
      this.#selecting = 0;
    } else if (this.cpus === 1) return 0;
    else {
      cpu = this.selectCpuDfl(p, prev, wakeFlags);
      if (cpu < 0 && (wakeFlags & abi.WAKE_FORK) !== 0) cpu = this.#leastLoaded(p, prev);
    }
    if (cpu >= 0 && task.mayUse(p, cpu)) return cpu;
    if (task.mayUse(p, prev)) return prev;
    for (let c = 0; c < this.cpus; c++) if (task.mayUse(p, c)) return c;
    return prev;
  }

  #leastLoaded(p: number, prev: number): number {
    let best = prev;
    for (let c = 0; c < this.cpus; c++)
      if (this.task.mayUse(p, c) && this.nrRunning(c) < this.nrRunning(best)) best = c;
    return best;
  }

  /** Brings the running task of `cpu` up to now, for an executor that other CPUs' wake-ups can come in between. */
  charge(cpu: number): void {
    this.#lock(cpu);
    this.account(cpu);
    this.#unlock(cpu);
  }

  /** Time in which `cpu` did not run at all, because its host ran something else: nobody's (Linux: steal time). */
  steal(cpu: number, ns: number): void {
    this.#lock(cpu);
    this.cpu.irqTime[cpuAt(cpu)]! += ns;
    this.#unlock(cpu);
  }

  // --- one switch ---

  /** The task of `cpu` stops as `left` says (TaskLeft); returns the next, 0 for idle. */
  schedule(cpu: number, left: number): number {
    this.#sync();
    const at = cpuAt(cpu);
    const { curr } = this.cpu;
    const asked = this.cpu.reschedWords[at] === 0 ? 0 : Atomics.exchange(this.cpu.reschedWords, at, 0);
    this.#lock(cpu);
    const { task, policy } = this;
    const skipClock = this.cpu.skipClock[at] !== 0;
    this.cpu.skipClock[at] = 0;
    this.#clockHeld = skipClock ? cpu : -1;
    this.account(cpu);
    const prev = curr[at]!;
    const now = this.now();
    const stays = prev !== 0 && left <= TaskLeft.Preempted;
    if (stays && (asked & PREEMPT) !== 0) task.slice[prev] = 0;
    let next = 0;
    let failed = false;
    try {
      if (prev !== 0 && !stays) {
        policy.stopping?.(prev, false);
        policy.quiescent?.(prev, left === TaskLeft.Dead ? abi.DEQ_EXIT : abi.DEQ_SLEEP);
      }
      next = this.#pick(cpu, stays ? prev : 0);
      if (next !== prev && stays) policy.stopping?.(prev, true);
    } catch (thrown) {
      this.#caught(thrown, "dispatch");
      failed = true;
    }
    if (next !== prev) {
      if (!skipClock) this.cpu.execStart[at] = Math.max(this.cpu.execStart[at]!, now - this.cpu.irqTime[at]!);
      this.#leave(prev, left, now);
      this.#switchTo(cpu, prev, next, left, now);
      // Not before the switch: from a queue that CPUs share another one may take it and run it at once.
      try {
        if (stays && !failed) this.#putBack(prev, cpu);
        if (next !== 0) this.policy.running?.(next);
      } catch (thrown) {
        this.#caught(thrown, "running");
      }
    }
    this.#clockHeld = -1;
    if (next === 0) this.#setIdle(cpu, true);
    else if (prev === 0) this.#setIdle(cpu, false);
    this.#unlock(cpu);
    if (this.#words[EJECT_ASKED] !== 0) return this.#replaceAndRetry(cpu);
    if (stays && next !== prev && this.#someIdle()) this.#kickAnIdle(prev);
    return next;
  }

  /** Where the next task is looked for, in sched_ext's order. `prev` still can run, or is 0. Returns it, 0 for idle. */
  #pick(cpu: number, prev: number): number {
    const { task, policy, dsqs } = this;
    if (prev !== 0 && task.slice[prev]! > 0) return prev;
    for (let round = 0; round < DISPATCH_LOOPS_MAX; round++) {
      let next = dsqs.takeFor(cpu, cpu);
      if (next === 0) next = dsqs.takeFor(this.#global, cpu);
      if (next !== 0) {
        this.#moveTo(next, cpu);
        return next;
      }
      if (policy.dispatch === undefined) break;
      this.#dispatchCpu = cpu;
      this.#inserted = this.#calls = 0;
      policy.dispatch(cpu, prev);
      this.#dispatchCpu = -1;
      if (this.#inserted === 0) break;
    }
    if (prev !== 0) {
      if (task.slice[prev] === 0) task.slice[prev] = abi.SLICE_DFL;
      return prev;
    }
    if (this.cpus > 1 && policy.perCpuQueues === true && pullTask(this, cpu)) return this.#pick(cpu, 0);
    return 0;
  }

  /** Task `prev` (0: none) is no longer what its CPU runs. */
  #leave(prev: number, left: number, now: number): void {
    if (prev === 0) return;
    const { task } = this;
    if (left <= TaskLeft.Preempted) {
      task.waitSince[prev] = now;
      task.setState(prev, TaskState.Queued);
    } else {
      task.setState(prev, left === TaskLeft.Dead ? TaskState.Dead : TaskState.Sleeping);
      this.metrics?.onBlock(prev, now, task.sumExec[prev]!);
    }
  }

  #switchTo(cpu: number, prev: number, next: number, left: number, now: number): void {
    const { task } = this;
    this.cpu.curr[cpuAt(cpu)] = next;
    if (next !== 0) {
      this.#unlink(next, cpu);
      task.setState(next, TaskState.Running);
      this.metrics?.onRun(next, cpu, now, task.wokenAt[next]!);
      task.wokenAt[next] = -1;
      if (task.slice[next] === 0) task.slice[next] = abi.SLICE_DFL;
    }
    const nices = ((task.nice[prev]! & 0xff) << 8) | (task.nice[next]! & 0xff);
    this.#trace(Ev.SchedSwitch, cpu, prev, next, left, nices);
  }

  /** A task that could go on waits again: in front while it has slice left, else where its policy puts it. */
  #putBack(prev: number, cpu: number): void {
    if (this.task.slice[prev]! > 0) {
      this.#link(prev, cpu);
      this.dsqs.insertFifo(cpu, prev, true);
    } else this.#putOn(prev, cpu, 0);
  }

  /** Periodic work on a busy CPU: account, let the policy look, ask for a new pick when the slice is over. */
  tick(cpu: number): void {
    this.#sync();
    const p = this.cpu.curr[cpuAt(cpu)]!;
    if (p === 0) return;
    this.#lock(cpu);
    this.account(cpu);
    this.#dispatchCpu = cpu;
    try {
      this.policy.tick?.(p);
      if (this.cpus > 1 && this.policy.perCpuQueues === true && this.now() >= this.cpu.balanceAt[cpuAt(cpu)]!)
        pullLoad(this, cpu);
    } catch (thrown) {
      this.#caught(thrown, "tick");
    }
    this.#dispatchCpu = -1;
    const over = this.task.slice[p] === 0;
    this.#unlock(cpu);
    if (over) this.#resched(cpu);
  }

  needResched(cpu: number): boolean {
    return this.cpu.reschedWords[cpuAt(cpu)] !== 0;
  }

  // --- moving a waiting task (balance.ts) ---

  /** Moves waiting task p from one CPU's policy queue to another's. The caller holds both run-queue locks. */
  migrate(p: number, from: number, to: number): void {
    this.#takeOff(p, this.task.dsq[p]!, abi.DEQ_MIGRATE);
    this.task.cpu[p] = to;
    this.#trace(Ev.SchedMigrate, to, p, from, to, this.task.nice[p]!);
    this.metrics?.onMigrate(p);
    this.#putOn(p, to, abi.ENQ_MIGRATED);
  }

  /**
   * Takes another CPU's run-queue lock beside that of `held`. Up in the order of CPUs it waits; down it lets its own go
   * first, but only an idle CPU can: one in the middle of a switch may not be seen there, and just tries. False: not taken.
   */
  lockOther(held: number, other: number): boolean {
    if (other > held) this.#lock(other);
    else if (this.running(held) !== 0) return this.#world.locks.tryLock(this.cpu.locks, cpuAt(other));
    else {
      this.#unlock(held);
      this.#lock(other);
      this.#lock(held);
    }
    return true;
  }

  unlockOther(other: number): void {
    this.#unlock(other);
  }

  /** `cpu` could not look everywhere: it looks once more before it idles. */
  lookAgain(cpu: number): void {
    this.#resched(cpu);
  }

  // --- the watchdog ---

  /**
   * Throws the policy out when a queued task has waited beyond its time-out; the fallback rules to the end. True while
   * any task waits: an executor that sees nothing else to come must not take that for the end.
   */
  watchdog(): boolean {
    this.#sync();
    const limit = Math.min((this.policy.timeoutMs ?? WATCHDOG_NS_MAX / 1e6) * 1e6, WATCHDOG_NS_MAX);
    const { state, waitSince, rows } = this.task;
    const now = this.now();
    let longest = 0;
    for (let p = 1; p < rows; p++)
      if (state[p] === TaskState.Queued && (longest === 0 || waitSince[p]! < waitSince[longest]!)) longest = p;
    if (longest === 0) return false;
    const home = this.#lockTask(longest);
    const waited = state[longest] === TaskState.Queued ? now - waitSince[longest]! : 0;
    this.#unlock(home);
    if (waited > limit && this.policy !== this.#policies[1]) {
      const waitedMs = Math.round(waited / 1e6);
      this.#askEject(`task ${longest} waited ${waitedMs} ms to run`, EjectReason.Stall, longest, waitedMs);
      this.#sync();
    }
    return true;
  }

  /** True when the policy that was asked for no longer rules. */
  get ejected(): boolean {
    return this.#words[EPOCH] !== 0;
  }

  /**
   * Where a policy's mistake ends: it is recorded, and the policy goes at the next safe point. `during` is the operation
   * that was under way, for errors of which the message does not tell.
   */
  #caught(thrown: unknown, during: string): void {
    if (thrown instanceof KernelPanic) throw thrown;
    this.#dispatchCpu = -1;
    if (thrown instanceof PolicyError) this.#askEject(thrown.message, thrown.reason, 0, 0);
    else
      this.#askEject(
        `${during}: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
        EjectReason.Error,
        0,
        0,
      );
  }

  #askEject(message: string, reason: number, p: number, waitedMs: number): void {
    if (this.policy === this.#policies[1]) throw new KernelPanic(`fallback policy ${this.policy.name}: ${message}`);
    if (Atomics.compareExchange(this.#words, EJECT_ASKED, 0, 1) !== 0) return;
    this.ejectMessage = message;
    this.#trace(Ev.SchedEject, 0, reason, p, waitedMs, 0);
  }

  /** Before each entry, no lock held: make the change of policy that was asked. */
  #sync(): void {
    if (this.#words[EJECT_ASKED] !== 0) this.#replace();
  }

  /** Follows a change of policy made by another CPU. */
  #adopt(): void {
    this.#epoch = this.#words[EPOCH]!;
    this.policy = this.#policies[this.#epoch]!;
    this.#directDsq = 0;
  }

  /** Stops the world by taking every run queue, and rebuilds all queues under the fallback. */
  #replace(): void {
    for (let cpu = 0; cpu < this.cpus; cpu++) this.#lock(cpu);
    if (this.#words[EJECT_ASKED] !== 0 && this.#words[EPOCH] === 0) {
      const old = this.#policies[0]!;
      const { task } = this;
      for (let p = 1; p < task.rows; p++) {
        if (task.state[p] === TaskState.Free) continue;
        this.dsqs.remove(p, task.dsq[p]!);
        if (task.onRq[p] !== 0) this.#unlink(p, task.cpu[p]!);
      }
      this.#quietly(() => old.exit?.());
      this.#words[EPOCH] = 1;
      this.#adopt();
      for (let p = 1; p < task.rows; p++) {
        if (task.state[p] === TaskState.Free) continue;
        this.#quietly(() => old.disable?.(p));
        this.policy.enable?.(p);
        task.slice[p] = 0;
        task.waitSince[p] = this.now();
        if (task.state[p] === TaskState.Queued) this.#putOn(p, task.cpu[p]!, abi.ENQ_NEW);
        else if (task.state[p] === TaskState.Running) this.policy.running?.(p);
      }
    }
    Atomics.store(this.#words, EJECT_ASKED, 0);
    for (let cpu = this.cpus - 1; cpu >= 0; cpu--) this.#unlock(cpu);
    for (let cpu = 0; cpu < this.cpus; cpu++) this.#resched(cpu);
  }

  #replaceAndRetry(cpu: number): number {
    this.#sync();
    return this.schedule(cpu, TaskLeft.Preempted);
  }

  /** The leaving policy's own farewell may fail too; it no longer matters. */
  #quietly(call: () => void): void {
    try {
      call();
    } catch (thrown) {
      if (thrown instanceof KernelPanic) throw thrown;
    }
  }

  // --- small moves ---

  #putOn(p: number, cpu: number, enqFlags: number): void {
    this.#link(p, cpu);
    this.#dispatchCpu = cpu;
    this.#calls = 0;
    this.policy.enqueue(p, enqFlags);
    this.#dispatchCpu = -1;
  }

  /** Notes what selectCpu inserted: the task is not on a run queue yet, and LOCAL is the queue of the CPU it gets. */
  #insertLater(dsq: number, sliceNs: number, vtime: number, enqFlags: number): void {
    if (this.#directDsq !== 0) this.#fail(`dsqInsert: task ${this.#selecting} is on a dispatch queue already`);
    this.#directDsq = dsq;
    this.#directSlice = sliceNs;
    this.#directVtime = vtime;
    this.#directFlags = enqFlags;
  }

  /** The task goes where selectCpu inserted it; enqueue is not called. */
  #putDirect(p: number, cpu: number): void {
    this.#link(p, cpu);
    this.#dispatchCpu = cpu;
    const vtime = this.#directVtime;
    if (Number.isNaN(vtime)) this.dsqInsert(p, this.#directDsq, this.#directSlice, this.#directFlags);
    else this.dsqInsertVtime(p, this.#directDsq, this.#directSlice, vtime, this.#directFlags);
    this.#dispatchCpu = -1;
  }

  /** `dsq` is where p was seen. False: that is a queue that CPUs share, and one of them has just taken it. */
  #takeOff(p: number, dsq: number, deqFlags: number): boolean {
    if (dsq === NO_DSQ) this.policy.dequeue?.(p, deqFlags);
    else if (!this.dsqs.remove(p, dsq)) return false;
    this.#unlink(p, this.task.cpu[p]!);
    return true;
  }

  /** Task p was taken from a queue by `cpu`, whose lock guards it from here on. */
  #moveTo(p: number, cpu: number): void {
    const from = this.task.cpu[p]!;
    if (from === cpu) return;
    this.task.cpu[p] = cpu;
    Atomics.store(this.task.dsq, p, NO_DSQ);
    this.#trace(Ev.SchedMigrate, cpu, p, from, cpu, this.task.nice[p]!);
    this.metrics?.onMigrate(p);
  }

  /** Appends to the CPU's list of waiting tasks; only policies with per-CPU queues keep one. */
  #link(p: number, cpu: number): void {
    if (this.policy.perCpuQueues !== true || this.task.onRq[p] !== 0) return;
    const at = cpuAt(cpu);
    const { rqHead, rqTail, queued } = this.cpu;
    const { rqNext, rqPrev, onRq } = this.task;
    const last = rqTail[at]!;
    rqPrev[p] = last;
    rqNext[p] = 0;
    if (last === 0) rqHead[at] = p;
    else rqNext[last] = p;
    rqTail[at] = p;
    queued[at]!++;
    this.cpu.queuedLoad[at]! += this.task.loadWeight[p]!;
    onRq[p] = 1;
  }

  #unlink(p: number, cpu: number): void {
    const { rqNext, rqPrev, onRq } = this.task;
    if (onRq[p] === 0) return;
    const at = cpuAt(cpu);
    const { rqHead, rqTail, queued } = this.cpu;
    const before = rqPrev[p]!;
    const after = rqNext[p]!;
    if (before === 0) rqHead[at] = after;
    else rqNext[before] = after;
    if (after === 0) rqTail[at] = before;
    else rqPrev[after] = before;
    queued[at]!--;
    this.cpu.queuedLoad[at]! -= this.task.loadWeight[p]!;
    onRq[p] = 0;
  }

  /** A policy's queue id as an inner number; whatever cannot be inserted there is the policy's error. */
  #resolve(p: number, dsq: number, sliceNs: number): number {
    const { task } = this;
    if (!(Number.isInteger(p) && p >= 1 && p < task.rows)) this.#fail(`dsqInsert: there is no task ${p}`);
    if (task.dsq[p] !== NO_DSQ) this.#fail(`dsqInsert: task ${p} is on a dispatch queue already`);
    if (task.state[p] !== TaskState.Queued && p !== this.#selecting)
      this.#fail(`dsqInsert: task ${p} does not wait to run`);
    if (!(sliceNs >= 0)) this.#fail(`dsqInsert: the slice of task ${p} is ${sliceNs}`);
    if (dsq === abi.DSQ_GLOBAL) return this.#global;
    if (dsq !== abi.DSQ_LOCAL && ((dsq & abi.DSQ_LOCAL_ON) === 0 || dsq < 0)) return this.#shared(dsq, "dsqInsert");
    const cpu =
      dsq !== abi.DSQ_LOCAL ? this.#cpuOf(dsq, "dsqInsert") : this.#dispatchCpu >= 0 ? this.#dispatchCpu : task.cpu[p]!;
    if (p === this.#selecting) return cpu;
    if (!task.mayUse(p, cpu)) this.#fail(`dsqInsert: task ${p} may not use CPU ${cpu}`);
    if (task.onRq[p] !== 0 && task.cpu[p] !== cpu)
      this.#fail(`dsqInsert: task ${p} waits on CPU ${task.cpu[p]!}, and perCpuQueues leaves moves to the core`);
    return cpu;
  }

  /** On a queue that CPUs share a task waits for all of them: it leaves its CPU's list, under that CPU's lock. */
  #unlist(p: number): void {
    if (this.task.onRq[p] === 0) return;
    const cpu = this.task.cpu[p]!;
    if (cpu !== this.#dispatchCpu) this.#fail(`dsqInsert: task ${p} waits on CPU ${cpu}, which does not dispatch`);
    this.#unlink(p, cpu);
  }

  /** The global queue or one of the policy's own. */
  #shared(dsq: number, call: string): number {
    if (dsq === abi.DSQ_GLOBAL) return this.#global;
    if (!this.dsqs.exists(dsq) || dsq <= this.#global) this.#fail(`${call}: there is no dispatch queue ${dsq}`);
    return dsq;
  }

  #cpuOf(dsq: number, call: string): number {
    const cpu = dsq & ~abi.DSQ_LOCAL_ON;
    if (cpu >= this.cpus) this.#fail(`${call}: there is no CPU ${cpu}`);
    return cpu;
  }

  #isCpu(cpu: number): boolean {
    return Number.isInteger(cpu) && cpu >= 0 && cpu < this.cpus;
  }

  #countCall(): void {
    if (++this.#calls > POLICY_CALLS_MAX)
      this.#fail(`the policy called its helpers ${POLICY_CALLS_MAX} times without end`);
  }

  #fail(message: string): never {
    throw new PolicyError(message, EjectReason.BadDispatch);
  }

  #weigh(p: number, nice: number): void {
    this.task.nice[p] = nice;
    this.task.loadWeight[p] = loadWeightOf(nice);
    this.task.weight[p] = scxWeightOf(nice);
  }

  #setIdle(cpu: number, idle: boolean): void {
    const bit = 1 << (cpu & 31);
    if (idle) Atomics.or(this.cpu.idle, cpu >> 5, bit);
    else Atomics.and(this.cpu.idle, cpu >> 5, ~bit);
  }

  /**
   * Asked after work was queued. A read-modify-write, as setting the bit is one: either we see that a CPU idles, or that
   * CPU, which looks once more after it has set its bit, sees the work.
   */
  #someIdle(): boolean {
    if (this.cpus === 1) return false;
    return Atomics.or(this.cpu.idle, 0, 0) !== 0 || (this.cpus > 32 && Atomics.or(this.cpu.idle, 1, 0) !== 0);
  }

  #isIdle(cpu: number): boolean {
    return (Atomics.load(this.cpu.idle, cpu >> 5) & (1 << (cpu & 31))) !== 0;
  }

  #claimIdle(cpu: number): boolean {
    const word = cpu >> 5;
    const bit = 1 << (cpu & 31);
    return (this.cpu.idle[word]! & bit) !== 0 && (Atomics.and(this.cpu.idle, word, ~bit) & bit) !== 0;
  }

  /** Work waits and someone idles: let an idle CPU look (it pulls, or takes from a shared queue). */
  #kickAnIdle(p: number): void {
    const cpu = this.selectCpuDfl(p, this.task.cpu[p]!, 0);
    if (cpu >= 0) this.#resched(cpu);
  }

  #resched(cpu: number, bits = RESCHED): void {
    Atomics.or(this.cpu.reschedWords, cpuAt(cpu), bits);
    this.#world.resched(cpu);
  }

  /** A policy is replaced under all run-queue locks: who has one sees which policy rules, and that it stays. */
  #lock(cpu: number): void {
    this.#world.locks.lock(this.cpu.locks, cpuAt(cpu));
    if (this.#words[EPOCH] !== this.#epoch) this.#adopt();
  }

  #unlock(cpu: number): void {
    this.#world.locks.unlock(this.cpu.locks, cpuAt(cpu));
  }

  /** Locks the run queue that guards task p, which may move while we wait for it. */
  #lockTask(p: number): number {
    for (;;) {
      const cpu = this.task.cpu[p]!;
      this.#lock(cpu);
      if (this.task.cpu[p] === cpu) return cpu;
      this.#unlock(cpu);
    }
  }
}

/** A policy's mistake: thrown through the policy's own frames, caught by the core, ends in its ejection. */
class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly reason: number;
  constructor(message: string, reason: number) {
    super(message);
    this.reason = reason;
  }
}

/** What a policy's function returned, if it is a policy. */
function wellFormed(policy: SchedPolicy): SchedPolicy {
  const given: unknown = policy;
  if (typeof given !== "object" || given === null)
    throw new Error("the function returns no policy, an object { name, enqueue, ... }");
  if (typeof policy.name !== "string") throw new Error('the policy has no "name"');
  if (typeof policy.enqueue !== "function") throw new Error('the policy has no function "enqueue"');
  for (const operation of OPERATIONS)
    if (policy[operation] !== undefined && typeof policy[operation] !== "function")
      throw new Error(`the policy's "${operation}" is not a function`);
  const { timeoutMs } = policy;
  if (timeoutMs !== undefined && !(timeoutMs > 0))
    throw new Error(`the policy's timeoutMs is ${timeoutMs}, not above 0`);
  return policy;
}
