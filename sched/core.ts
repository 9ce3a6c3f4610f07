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
 * of the tasks whose cpu is c. Lock order: run queues by CPU number, then a dispatch queue.
 */
import { Ev, EjectReason, TaskLeft } from "../kernel/abi/events.ts";
import { DISPATCH_LOOPS_MAX, DSQS_MAX, WATCHDOG_NS_MAX } from "../kernel/abi/limits.ts";
import type { EventSink } from "../kernel/abi/machine.ts";
import * as abi from "../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel, SchedPolicy } from "../kernel/abi/sched.ts";
import type { Nanos } from "../kernel/abi/units.ts";
import type { Arena } from "../kernel/lib/arena.ts";
import { assert, KernelPanic } from "../kernel/lib/assert.ts";
import { pullLoad, pullTask } from "./balance.ts";
import { DispatchQueues } from "./dsq.ts";
import type { LockOps } from "./dsq.ts";
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
    this.#words = arena.i32(16);
    this.task = new TaskTable(arena, config.tasksMax);
    this.cpu = new CpuTable(arena, config.cpus);
    this.dsqs = new DispatchQueues(arena, this.task, world.locks, config.cpus + 1, DSQS_MAX);
    this.#policies = [config.policy(this), config.fallback(this)];
    this.policy = this.#policies[0]!;
    for (const policy of this.#policies) policy.init?.();
  }

  // --- the tables, as policies see them (SchedKernel) ---

  perTask(): Float64Array {
    return this.#arena.f64(this.tasksMax);
  }

  perCpu(): Float64Array {
    return this.#arena.f64(this.cpus);
  }

  words(words: number): Int32Array {
    return this.#arena.i32(words);
  }

  createDsq(): number {
    return this.dsqs.create();
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
    const queue = this.#resolve(p, dsq);
    this.task.slice[p] = sliceNs;
    if (!this.dsqs.insertFifo(queue, p, (enqFlags & abi.ENQ_HEAD) !== 0))
      this.#fail("dsqInsert: the queue holds tasks ordered by vtime");
    this.#inserted++;
    if ((enqFlags & abi.ENQ_PREEMPT) !== 0 && queue < this.cpus) this.kickCpu(queue, abi.KICK_PREEMPT);
  }

  dsqInsertVtime(p: number, dsq: number, sliceNs: number, vtime: number, _enqFlags: number): void {
    const queue = this.#resolve(p, dsq);
    if (!this.dsqs.hasVtime(queue)) this.#fail("dsqInsertVtime: not a queue made by createDsq");
    this.task.slice[p] = sliceNs;
    this.task.dsqVtime[p] = vtime;
    if (!this.dsqs.insertVtime(queue, p, vtime)) this.#fail("dsqInsertVtime: the queue holds tasks in FIFO order");
    this.#inserted++;
  }

  dsqMoveToLocal(dsq: number, cpu: number): boolean {
    const queue = dsq === abi.DSQ_GLOBAL ? this.#global : dsq;
    if (!this.dsqs.exists(queue) || queue < this.cpus) this.#fail("dsqMoveToLocal: no such queue");
    const p = this.dsqs.takeFor(queue, cpu);
    if (p === 0) return false;
    this.#moveTo(p, cpu);
    this.dsqs.insertFifo(cpu, p, false);
    this.#inserted++;
    return true;
  }

  dsqNrQueued(dsq: number): number {
    return this.dsqs.count(dsq === abi.DSQ_GLOBAL ? this.#global : dsq);
  }

  kickCpu(cpu: number, flags: number): void {
    const at = cpuAt(cpu);
    const p = this.cpu.curr[at]!;
    if ((flags & abi.KICK_PREEMPT) !== 0 && p !== 0) this.task.slice[p] = 0;
    else if (p !== 0) return;
    this.#resched(cpu);
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
    this.#fail(message);
  }

  // --- tasks come and go ---

  /** Takes a free row; the task sleeps until wakeNew. 0 when the table is full. */
  addTask(nice: number, cpu: number): number {
    const { rows, state } = this.task;
    for (let p = this.#words[FREE_ROW]! + 1; p < rows; p++) {
      if (state[p] !== TaskState.Free) continue;
      this.#words[FREE_ROW] = p;
      this.task.setState(p, TaskState.Sleeping);
      this.task.cpu[p] = cpu;
      this.task.allowed[2 * p] = this.task.allowed[2 * p + 1] = -1;
      this.task.sumExec[p] = this.task.slice[p] = this.task.dsqVtime[p] = 0;
      this.task.wokenAt[p] = -1;
      this.#weigh(p, nice);
      for (const policy of this.#policies) policy.initTask?.(p);
      this.policy.enable?.(p);
      return p;
    }
    return 0;
  }

  /** Gives a dead task's row back. */
  removeTask(p: number): void {
    this.policy.disable?.(p);
    for (const policy of this.#policies) policy.exitTask?.(p);
    this.task.setState(p, TaskState.Free);
    this.#words[FREE_ROW] = Math.min(this.#words[FREE_ROW]!, p - 1);
  }

  /** Changes a task's nice value, wherever it stands. */
  setNice(p: number, nice: number): void {
    const home = this.#lockTask(p);
    const waits = this.task.state[p] === TaskState.Queued;
    if (waits) this.#takeOff(p, abi.DEQ_SAVE);
    if (this.task.state[p] === TaskState.Running) this.account(home);
    this.#weigh(p, nice);
    this.policy.setWeight?.(p);
    if (waits) this.#putOn(p, home, abi.ENQ_RESTORE);
    this.#unlock(home);
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
    task.setState(p, TaskState.Queued);
    task.waitSince[p] = now;
    try {
      this.policy.runnable?.(p, enqFlags);
      this.#putOn(p, target, enqFlags);
    } catch (thrown) {
      this.#caught(thrown);
    }
    const at = cpuAt(target);
    const idle = this.cpu.curr[at] === 0;
    if (!idle && this.cpu.reschedWords[at] !== 0) this.cpu.skipClock[at] = 1;
    this.#unlock(target);
    this.#trace(isNew ? Ev.SchedWakeupNew : Ev.SchedWakeup, byCpu, p, target, 0, nice);
    if (idle) this.#resched(target);
    else if (this.cpu.idle[0] !== 0 || this.cpu.idle[1] !== 0) this.#kickAnIdle(p);
    this.#sync();
    return true;
  }

  #selectCpu(p: number, prev: number, wakeFlags: number): number {
    if (this.cpus === 1) return 0;
    const { policy, task } = this;
    let cpu = -1;
    if (policy.selectCpu !== undefined) {
      try {
        cpu = policy.selectCpu(p, prev, wakeFlags);
      } catch (thrown) {
        this.#caught(thrown);
      }
    } else {
      cpu = this.selectCpuDfl(p, prev, wakeFlags);
      if (cpu < 0 && (wakeFlags & abi.WAKE_FORK) !== 0) cpu = this.#leastLoaded(p, prev);
    }
    if (cpu >= 0 && cpu < this.cpus && task.mayUse(p, cpu)) return cpu;
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

  // --- one switch ---

  /** The task of `cpu` stops as `left` says (TaskLeft); returns the next, 0 for idle. */
  schedule(cpu: number, left: number): number {
    this.#sync();
    const at = cpuAt(cpu);
    const { curr } = this.cpu;
    const { task, policy } = this;
    if (this.cpu.reschedWords[at] !== 0) Atomics.store(this.cpu.reschedWords, at, 0);
    this.#lock(cpu);
    const skipClock = this.cpu.skipClock[at] !== 0;
    this.cpu.skipClock[at] = 0;
    this.#clockHeld = skipClock ? cpu : -1;
    this.account(cpu);
    const prev = curr[at]!;
    const now = this.now();
    const stays = prev !== 0 && left <= TaskLeft.Preempted;
    let next = 0;
    try {
      if (prev !== 0 && !stays) {
        policy.stopping?.(prev, false);
        policy.quiescent?.(prev, left === TaskLeft.Dead ? abi.DEQ_EXIT : abi.DEQ_SLEEP);
      }
      next = this.#pick(cpu, stays ? prev : 0);
      if (next !== prev && stays) {
        policy.stopping?.(prev, true);
        task.setState(prev, TaskState.Queued);
        task.waitSince[prev] = now;
        if (task.slice[prev]! > 0) {
          this.#link(prev, cpu);
          this.dsqs.insertFifo(cpu, prev, true);
        } else this.#putOn(prev, cpu, 0);
      }
    } catch (thrown) {
      this.#caught(thrown);
      if (stays && task.state[prev] === TaskState.Running) task.setState(prev, TaskState.Queued);
    }
    if (prev !== 0 && !stays) {
      task.setState(prev, left === TaskLeft.Dead ? TaskState.Dead : TaskState.Sleeping);
      this.metrics?.onBlock(prev, now, task.sumExec[prev]!);
    }
    if (next !== prev) {
      if (!skipClock) this.cpu.execStart[at] = Math.max(this.cpu.execStart[at]!, now - this.cpu.irqTime[at]!);
      this.#switchTo(cpu, prev, next, left, now);
    }
    this.#clockHeld = -1;
    if (next === 0) this.#setIdle(cpu, true);
    else if (prev === 0) this.#setIdle(cpu, false);
    this.#unlock(cpu);
    if (this.#words[EJECT_ASKED] !== 0) return this.#replaceAndRetry(cpu);
    return next;
  }

  /** Where the next task is looked for, in sched_ext's order. `prev` still can run, or is 0. Returns it, 0 for idle. */
  #pick(cpu: number, prev: number): number {
    const { task, policy, dsqs } = this;
    if (prev !== 0 && task.slice[prev]! > 0) return prev;
    for (let round = 0; round < DISPATCH_LOOPS_MAX; round++) {
      let next = dsqs.takeFor(cpu, cpu);
      if (next === 0) {
        next = dsqs.takeFor(this.#global, cpu);
        if (next !== 0) this.#moveTo(next, cpu);
      }
      if (next !== 0) return next;
      if (policy.dispatch === undefined) break;
      this.#dispatchCpu = cpu;
      this.#inserted = 0;
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

  #switchTo(cpu: number, prev: number, next: number, left: number, now: number): void {
    const { task } = this;
    const at = cpuAt(cpu);
    this.cpu.curr[at] = next;
    if (next !== 0) {
      this.#unlink(next, cpu);
      task.setState(next, TaskState.Running);
      this.metrics?.onRun(next, cpu, now, task.wokenAt[next]!);
      task.wokenAt[next] = -1;
      if (task.slice[next] === 0) task.slice[next] = abi.SLICE_DFL;
      this.policy.running?.(next);
    }
    const nices = ((task.nice[prev]! & 0xff) << 8) | (task.nice[next]! & 0xff);
    this.#trace(Ev.SchedSwitch, cpu, prev, next, left, nices);
  }

  /** Periodic work on a busy CPU: account, let the policy look, ask for a new pick when the slice is over. */
  tick(cpu: number): void {
    this.#sync();
    const p = this.cpu.curr[cpuAt(cpu)]!;
    if (p === 0) return;
    this.#lock(cpu);
    this.account(cpu);
    try {
      this.policy.tick?.(p);
    } catch (thrown) {
      this.#caught(thrown);
    }
    if (this.cpus > 1 && this.policy.perCpuQueues === true && this.now() >= this.cpu.balanceAt[cpuAt(cpu)]!)
      pullLoad(this, cpu);
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
    this.#takeOff(p, abi.DEQ_MIGRATE);
    this.task.cpu[p] = to;
    this.#trace(Ev.SchedMigrate, to, p, from, to, this.task.nice[p]!);
    this.metrics?.onMigrate(p);
    this.#putOn(p, to, abi.ENQ_MIGRATED);
  }

  lockBoth(held: number, other: number): void {
    if (other > held) this.#lock(other);
    else {
      this.#unlock(held);
      this.#lock(other);
      this.#lock(held);
    }
  }

  unlockOther(other: number): void {
    this.#unlock(other);
  }

  // --- the watchdog ---

  /** Longest wait of a queued task now, ns, and the task; the policy is thrown out when it is beyond its time-out. */
  watchdog(): void {
    const limit = Math.min((this.policy.timeoutMs ?? WATCHDOG_NS_MAX / 1e6) * 1e6, WATCHDOG_NS_MAX);
    const { state, waitSince, rows } = this.task;
    const now = this.now();
    for (let p = 1; p < rows; p++) {
      if (state[p] !== TaskState.Queued || now - waitSince[p]! <= limit) continue;
      const waitedMs = Math.round((now - waitSince[p]!) / 1e6);
      this.#askEject(`task ${p} waited ${waitedMs} ms to run`, EjectReason.Stall, p, waitedMs);
      break;
    }
    this.#sync();
  }

  /** True when the policy that was asked for no longer rules. */
  get ejected(): boolean {
    return this.#words[EPOCH] !== 0;
  }

  /** Where a policy's mistake ends: it is recorded, and the policy goes at the next safe point. */
  #caught(thrown: unknown): void {
    if (thrown instanceof KernelPanic) throw thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    this.#askEject(message, EjectReason.Error, 0, 0);
  }

  #askEject(message: string, reason: number, p: number, waitedMs: number): void {
    if (this.policy === this.#policies[1]) throw new KernelPanic(`fallback policy ${this.policy.name}: ${message}`);
    if (Atomics.compareExchange(this.#words, EJECT_ASKED, 0, 1) !== 0) return;
    this.ejectMessage = message;
    this.#trace(Ev.SchedEject, 0, reason, p, waitedMs, 0);
  }

  /** Before each entry, no lock held: follow a change of policy made by another CPU, or make the one that was asked. */
  #sync(): void {
    if (this.#words[EJECT_ASKED] !== 0) this.#replace();
    if (this.#words[EPOCH] !== this.#epoch) {
      this.#epoch = this.#words[EPOCH]!;
      this.policy = this.#policies[this.#epoch]!;
    }
  }

  /** Stops the world by taking every run queue, and rebuilds all queues under the fallback. */
  #replace(): void {
    for (let cpu = 0; cpu < this.cpus; cpu++) this.#lock(cpu);
    if (this.#words[EJECT_ASKED] !== 0 && this.#words[EPOCH] === 0) {
      const old = this.#policies[0]!;
      const { task } = this;
      for (let p = 1; p < task.rows; p++) {
        if (task.state[p] === TaskState.Free) continue;
        this.dsqs.remove(p);
        if (task.onRq[p] !== 0) this.#unlink(p, task.cpu[p]!);
      }
      this.#quietly(() => old.exit?.());
      this.#epoch = 1;
      this.#words[EPOCH] = 1;
      this.policy = this.#policies[1]!;
      for (let p = 1; p < task.rows; p++) {
        if (task.state[p] === TaskState.Free) continue;
        this.#quietly(() => old.disable?.(p));
        this.policy.enable?.(p);
        task.slice[p] = 0;
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
    this.policy.enqueue(p, enqFlags);
    this.#dispatchCpu = -1;
  }

  #takeOff(p: number, deqFlags: number): void {
    if (!this.dsqs.remove(p)) this.policy.dequeue?.(p, deqFlags);
    this.#unlink(p, this.task.cpu[p]!);
  }

  #moveTo(p: number, cpu: number): void {
    const from = this.task.cpu[p]!;
    if (from === cpu) return;
    this.task.cpu[p] = cpu;
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

  /** A policy's queue id as an inner number; a bad id, or a task that is queued already, is the policy's error. */
  #resolve(p: number, dsq: number): number {
    if (this.task.dsq[p] !== 0) this.#fail(`dsqInsert: task ${p} is on a dispatch queue already`);
    if (dsq === abi.DSQ_LOCAL) return this.#dispatchCpu >= 0 ? this.#dispatchCpu : this.task.cpu[p]!;
    if (dsq === abi.DSQ_GLOBAL) return this.#global;
    if ((dsq & abi.DSQ_LOCAL_ON) !== 0) {
      const cpu = dsq & ~abi.DSQ_LOCAL_ON;
      if (cpu >= this.cpus) this.#fail(`dsqInsert: there is no CPU ${cpu}`);
      return cpu;
    }
    if (!this.dsqs.exists(dsq) || dsq <= this.#global) this.#fail(`dsqInsert: there is no dispatch queue ${dsq}`);
    return dsq;
  }

  #fail(message: string): never {
    throw new PolicyError(message);
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

  #resched(cpu: number): void {
    Atomics.store(this.cpu.reschedWords, cpuAt(cpu), 1);
    this.#world.resched(cpu);
  }

  #lock(cpu: number): void {
    this.#world.locks.lock(this.cpu.locks, cpuAt(cpu));
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
}
