/**
 * The scheduler's core: moves tasks between their states and asks the policy at each point of sched_ext's life cycle.
 * It is the same code in every world; an executor (one thread for all CPUs, or a worker a CPU) calls it and supplies
 * the clock, the locks and the way to interrupt a CPU.
 *
 * - addTask, removeTask        a row of the table is taken or given back
 * - wake, wakeNew              a sleeping (new) task becomes runnable
 * - schedule(cpu, left)        the CPU's task stops as `left` says, the next one is picked: its row, 0 for idle
 * - tick(cpu)                  the periodic accounting; may ask for a new pick
 * - setNice                    a task's weight changes, wherever it stands (renice.ts)
 * - switchTo(n)                another policy rules from now on (rule.ts)
 * - watchdog()                 throws out a policy that lets a task wait too long (eject.ts)
 *
 * Invariants (checkSched): a Queued task is on exactly one queue, the policy's or a dispatch queue; a Running one is
 * `curr` of its CPU and of no other; sumExec never goes back. The run-queue lock of CPU c guards c's row and the rows
 * of the tasks whose cpu is c. Lock order: free rows, run queues by CPU number, then a dispatch queue.
 *
 * A task changes hands outside that lock twice, and then only its new owner touches it: Waking, between the locks of two
 * CPUs; and taken from a queue that CPUs share (dsq.ts), until its cpu is the taker's.
 */
import { Ev, TaskLeft } from "../kernel/abi/events.ts";
import { DISPATCH_LOOPS_MAX, DSQS_MAX } from "../kernel/abi/limits.ts";
import * as abi from "../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel, SchedPolicy } from "../kernel/abi/sched.ts";
import type { Errno } from "../kernel/abi/units.ts";
import type { Arena } from "../kernel/lib/arena.ts";
import { assert } from "../kernel/lib/assert.ts";
import { balancer } from "./balance.ts";
import { dispatchQueues } from "./dsq.ts";
import type { DispatchQueues } from "./dsq.ts";
import { ejection } from "./eject.ts";
import { schedKernel } from "./helpers.ts";
import type { SchedMetrics } from "./metrics.ts";
import { moves } from "./moves.ts";
import { fail } from "./policy_error.ts";
import { PolicyMemory } from "./policy_memory.ts";
import type { PolicyTunable } from "./policy_memory.ts";
import { renice, weigh } from "./renice.ts";
import { ruling, switching } from "./rule.ts";
import { PREEMPT, RESCHED, runQueues } from "./run_queue.ts";
import { EJECTED, FREE_ROW, RULES, SHARED_WORDS, TABLE_LOCK } from "./state.ts";
import type { SchedState, SchedWorld } from "./state.ts";
import { CpuTable, cpuAt, moved, TaskState, TaskTable } from "./table.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { Dead, Free, Queued, Running, Sleeping, Waking } = TaskState;
const { Preempted, Dead: EXITS } = TaskLeft;
const { SchedFork, SchedMigrate, SchedSwitch, SchedWakeup, SchedWakeupNew, SchedWaking } = Ev;
const { DEQ_EXIT, DEQ_SLEEP, ENQ_MIGRATED, ENQ_NEW, ENQ_WAKEUP, SLICE_DFL, WAKE_FORK, WAKE_TTWU } = abi;
const LOOPS_MAX = DISPATCH_LOOPS_MAX;
const GIVE_WAY = PREEMPT;
const PICK = RESCHED;
const rowOf = cpuAt;
const step = moved;

export interface SchedConfig {
  readonly cpus: number;
  /** Rows of the task table, idle row 0 among them. */
  readonly tasksMax: number;
  readonly tickNs: number;
  readonly policy: PolicyFactory;
  /** Takes over when the policy is ejected; always one of ours. */
  readonly fallback: PolicyFactory;
  /** Others that can be switched to. */
  readonly others?: readonly PolicyFactory[];
}

export const NO_PARENT = -1;

export interface Sched extends SchedKernel {
  readonly task: TaskTable;
  readonly cpu: CpuTable;
  readonly dsqs: DispatchQueues;
  readonly metrics: SchedMetrics | undefined;
  /** The one that rules. */
  readonly policy: () => SchedPolicy;
  /** Its number: 0 is the one that was asked for, 1 the fallback, then the others. */
  readonly rules: () => number;
  /** What can be set of policy n; it is taken at its next use. */
  readonly tunables: (policy: number) => readonly PolicyTunable[];
  /** Another policy rules from now on: 0, or EINVAL when it does not come up. Not from within a policy. */
  readonly switchTo: (policy: number) => 0 | Errno;
  /** True when a policy was thrown out, and why, as text, in the instance that saw it. */
  readonly ejected: () => boolean;
  readonly ejectMessage: () => string;

  /** Takes a free row; the task sleeps until wakeNew. 0 when the table is full. */
  readonly addTask: (nice: number, cpu: number) => number;
  /** Gives a dead task's row back. */
  readonly removeTask: (p: number) => void;
  readonly setNice: (p: number, nice: number) => void;
  /**
   * Wakes a sleeping task; `byCpu` is where the waker runs, `context` its kind (WakeContext).
   * False when the task does not sleep: the caller keeps the wake for later.
   */
  readonly wake: (p: number, byCpu: number, context: number) => boolean;
  /** Makes a new task runnable for the first time; `parent` runs on `byCpu`. NO_PARENT: it was there before the trace. */
  readonly wakeNew: (p: number, byCpu: number, parent: number) => void;
  /** The task of `cpu` stops as `left` says (TaskLeft); returns the next, 0 for idle. */
  readonly schedule: (cpu: number, left: number) => number;
  /** Periodic work on a busy CPU: account, let the policy look, ask for a new pick when the slice is over. */
  readonly tick: (cpu: number) => void;
  /** Brings the running task of `cpu` up to now, for an executor that other CPUs' wake-ups can come in between. */
  readonly charge: (cpu: number) => void;
  /** Time in which `cpu` did not run at all, because its host ran something else: nobody's (Linux: steal time). */
  readonly steal: (cpu: number, ns: number) => void;
  /**
   * Throws the policy out when a queued task has waited beyond its time-out; the fallback rules to the end. True while
   * any task waits: an executor that sees nothing else to come must not take that for the end.
   */
  readonly watchdog: () => boolean;
}

/** `metrics` undefined: no statistics are kept. Instances over one arena must be made with equal arguments. */
export function createSched(arena: Arena, config: SchedConfig, world: SchedWorld, metrics?: SchedMetrics): Sched {
  const { cpus, tasksMax, tickNs } = config;
  assert(cpus >= 1 && cpus <= 64, "Sched: 1 to 64 CPUs");
  const { now, trace, locks, words, wakePath } = world;
  const shared = arena.i32(SHARED_WORDS);
  const task = new TaskTable(arena, tasksMax);
  const cpuTable = new CpuTable(arena, cpus);
  const dsqs = dispatchQueues(arena, task, locks, cpus + 1, DSQS_MAX);
  const policies: SchedPolicy[] = [];
  const s: SchedState = {
    cpus,
    tasksMax,
    tickNs,
    world,
    task,
    cpu: cpuTable,
    dsqs,
    metrics,
    shared,
    policies,
    policy: NO_POLICY,
    epoch: 0,
    ejectMessage: "",
    memory: undefined,
    dispatchCpu: -1,
    inserted: 0,
    calls: 0,
    selecting: 0,
    directDsq: 0,
    directSlice: 0,
    directVtime: 0,
    directFlags: 0,
    clockHeld: -1,
  };
  const rq = runQueues(s);
  const move = moves(s, rq);
  const { kernel, account } = schedKernel(s, rq, move.moveTo);
  const factories = [config.policy, config.fallback, ...(config.others ?? [])];
  const memories = factories.map(() => new PolicyMemory(arena, dsqs, (tasksMax + 1) * 4));
  const rule = ruling(s, { kernel, factories, memories }, rq, move);
  const eject = ejection(s, rq, rule);
  const balance = balancer(s, rq, move.migrate);
  const setNice = renice(s, rq, move, eject, account);
  const { lock, unlock, someIdle } = rq;
  const { state, cpu: cpuOf, nice, slice, sumExec, waitSince, wokenAt } = task;
  const { curr, reschedWords, skipClock, execStart, irqTime, balanceAt } = cpuTable;
  const { mayUse } = task;
  const global = cpus;

  for (const policy of factories.keys()) rule.comeUp(policy);
  s.policy = policies[0]!;

  // --- tasks come and go ---

  function addTask(niceOf: number, cpu: number): number {
    locks.lock(shared, TABLE_LOCK);
    lock(cpu);
    try {
      for (let p = shared[FREE_ROW]! + 1; p < tasksMax; p++) {
        if (state[p] !== Free) continue;
        shared[FREE_ROW] = p;
        cpuOf[p] = cpu;
        task.allowed[2 * p] = task.allowed[2 * p + 1] = -1;
        sumExec[p] = slice[p] = task.dsqVtime[p] = 0;
        wokenAt[p] = -1;
        weigh(task, p, niceOf);
        state[p] = step(state[p]!, Sleeping);
        s.policy.initTask?.(p);
        s.policy.enable?.(p);
        return p;
      }
      return 0;
    } finally {
      unlock(cpu);
      locks.unlock(shared, TABLE_LOCK);
    }
  }

  function removeTask(p: number): void {
    locks.lock(shared, TABLE_LOCK);
    const home = rq.lockTask(p);
    try {
      s.policy.disable?.(p);
      s.policy.exitTask?.(p);
    } catch (thrown) {
      eject.caught(thrown, "exitTask");
    }
    state[p] = step(state[p]!, Free);
    shared[FREE_ROW] = Math.min(shared[FREE_ROW]!, p - 1);
    unlock(home);
    locks.unlock(shared, TABLE_LOCK);
  }

  // --- one wake-up ---

  function wakeNew(p: number, byCpu: number, parent: number): void {
    if (parent !== NO_PARENT) trace(SchedFork, byCpu, parent, p, 0, 0);
    assert(wakeUp(p, byCpu, ENQ_NEW, 0), "wakeNew: the task is not new");
  }

  const wake = (p: number, byCpu: number, context: number): boolean => wakeUp(p, byCpu, ENQ_WAKEUP, context);

  function wakeUp(p: number, byCpu: number, enqFlags: number, context: number): boolean {
    if (state[p] !== Sleeping) return false;
    eject.sync();
    const prev = rq.lockTask(p);
    const asleep = state[p] === Sleeping;
    if (asleep) state[p] = step(state[p], Waking);
    unlock(prev);
    if (!asleep) return false;
    const isNew = (enqFlags & ENQ_NEW) !== 0;
    const target = selectCpu(p, prev, isNew ? WAKE_FORK : WAKE_TTWU);
    const wokenNs = now();
    if (!isNew) trace(SchedWaking, byCpu, p, target, context, nice[p]!);
    if (target !== prev && !isNew) trace(SchedMigrate, byCpu, p, prev, target, nice[p]!);
    wakePath();
    lock(target);
    cpuOf[p] = target;
    wokenAt[p] = wokenNs;
    metrics?.onWake(p, wokenNs, sumExec[p]!);
    waitSince[p] = wokenNs;
    state[p] = step(state[p], Queued);
    // Under the lock, and before anybody can take it from a queue: who counts hears of a task's wake before its switch.
    trace(isNew ? SchedWakeupNew : SchedWakeup, byCpu, p, target, 0, nice[p]!);
    putWoken(p, target, target === prev ? enqFlags : enqFlags | ENQ_MIGRATED);
    const at = rowOf(target);
    const idle = curr[at] === 0;
    if (!idle && reschedWords[at] !== 0) skipClock[at] = 1;
    unlock(target);
    if (idle) rq.resched(target, PICK);
    else if (someIdle()) rq.kickAnIdle(p);
    eject.sync();
    return true;
  }

  function selectCpu(p: number, prev: number, wakeFlags: number): number {
    s.directDsq = 0;
    let cpu = -1;
    if (s.policy.selectCpu !== undefined) cpu = policyCpu(p, prev, wakeFlags);
    else if (cpus === 1) return 0;
    else {
      cpu = rq.idleFor(p, prev);
      if (cpu < 0 && (wakeFlags & WAKE_FORK) !== 0) cpu = leastLoaded(p, prev);
    }
    if (cpu >= 0 && mayUse(p, cpu)) return cpu;
    if (mayUse(p, prev)) return prev;
    for (let c = 0; c < cpus; c++) if (mayUse(p, c)) return c;
    return prev;
  }

  /** What the policy's selectCpu says; -1 when it says nothing that can be. */
  function policyCpu(p: number, prev: number, wakeFlags: number): number {
    let cpu = -1;
    s.calls = 0;
    s.selecting = p;
    try {
      cpu = s.policy.selectCpu!(p, prev, wakeFlags);
      if (cpu !== -1 && !(Number.isInteger(cpu) && cpu >= 0 && cpu < cpus)) fail(`selectCpu: there is no CPU ${cpu}`);
    } catch (thrown) {
      cpu = -1;
      s.directDsq = 0;
      eject.caught(thrown, "selectCpu");
    }
    s.selecting = 0;
    return cpu;
  }

  function leastLoaded(p: number, prev: number): number {
    let best = prev;
    for (let c = 0; c < cpus; c++) if (mayUse(p, c) && kernel.nrRunning(c) < kernel.nrRunning(best)) best = c;
    return best;
  }

  /** The woken task waits: where its policy puts it, or where selectCpu inserted it; then enqueue is not called. */
  function putWoken(p: number, cpu: number, enqFlags: number): void {
    try {
      s.policy.runnable?.(p, enqFlags);
      if (s.directDsq === 0) move.putOn(p, cpu, enqFlags);
      else {
        rq.link(p, cpu);
        s.dispatchCpu = cpu;
        const vtime = s.directVtime;
        if (Number.isNaN(vtime)) kernel.dsqInsert(p, s.directDsq, s.directSlice, s.directFlags);
        else kernel.dsqInsertVtime(p, s.directDsq, s.directSlice, vtime, s.directFlags);
        s.dispatchCpu = -1;
      }
    } catch (thrown) {
      eject.caught(thrown, "enqueue");
    }
  }

  // --- one switch ---

  function schedule(cpu: number, left: number): number {
    eject.sync();
    const at = rowOf(cpu);
    const asked = reschedWords[at] === 0 ? 0 : words.exchange(reschedWords, at, 0);
    lock(cpu);
    const keepsClock = skipClock[at] !== 0;
    skipClock[at] = 0;
    s.clockHeld = keepsClock ? cpu : -1;
    account(cpu);
    const prev = curr[at]!;
    const switchedNs = now();
    const stays = prev !== 0 && left <= Preempted;
    if (stays && (asked & GIVE_WAY) !== 0) slice[prev] = 0;
    let next = 0;
    let failed = false;
    try {
      const { policy } = s;
      if (prev !== 0 && !stays) {
        policy.stopping?.(prev, false);
        policy.quiescent?.(prev, left === EXITS ? DEQ_EXIT : DEQ_SLEEP);
      }
      next = pick(cpu, stays ? prev : 0);
      if (next !== prev && stays) policy.stopping?.(prev, true);
    } catch (thrown) {
      eject.caught(thrown, "dispatch");
      failed = true;
    }
    if (next !== prev) {
      const clockTask = switchedNs - irqTime[at]!;
      if (!keepsClock && clockTask > execStart[at]!) execStart[at] = clockTask;
      switchTo(cpu, prev, next, left, switchedNs);
      // Not before the switch: from a queue that CPUs share another one may take it and run it at once.
      try {
        if (stays && !failed) putBack(prev, cpu);
        if (next !== 0) s.policy.running?.(next);
      } catch (thrown) {
        eject.caught(thrown, "running");
      }
    }
    s.clockHeld = -1;
    if (next === 0) rq.setIdle(cpu, true);
    else if (prev === 0) rq.setIdle(cpu, false);
    unlock(cpu);
    if (eject.asked()) return replaceAndRetry(cpu);
    if (stays && next !== prev && someIdle()) rq.kickAnIdle(prev);
    return next;
  }

  function replaceAndRetry(cpu: number): number {
    eject.sync();
    return schedule(cpu, Preempted);
  }

  /** Where the next task is looked for, in sched_ext's order. `prev` still can run, or is 0. Returns it, 0 for idle. */
  function pick(cpu: number, prev: number): number {
    if (prev !== 0 && slice[prev]! > 0) return prev;
    const { policy } = s;
    for (let round = 0; round < LOOPS_MAX; round++) {
      let next = dsqs.takeFor(cpu, cpu);
      if (next === 0) next = dsqs.takeFor(global, cpu);
      if (next !== 0) {
        move.moveTo(next, cpu);
        return next;
      }
      if (policy.dispatch === undefined) break;
      s.dispatchCpu = cpu;
      s.inserted = s.calls = 0;
      policy.dispatch(cpu, prev);
      s.dispatchCpu = -1;
      if (s.inserted === 0) break;
    }
    if (prev !== 0) {
      if (slice[prev] === 0) slice[prev] = SLICE_DFL;
      return prev;
    }
    if (cpus > 1 && policy.perCpuQueues === true && balance.pullTask(cpu)) return pick(cpu, 0);
    return 0;
  }

  /** CPU `cpu` runs `next` and no longer `prev`, which stops as `left` says; either may be 0. */
  function switchTo(cpu: number, prev: number, next: number, left: number, atNs: number): void {
    if (prev !== 0) {
      if (left <= Preempted) {
        waitSince[prev] = atNs;
        state[prev] = step(state[prev]!, Queued);
      } else {
        const to = left === EXITS ? Dead : Sleeping;
        state[prev] = step(state[prev]!, to);
        metrics?.onBlock(prev, atNs, sumExec[prev]!);
      }
    }
    curr[rowOf(cpu)] = next;
    if (next !== 0) {
      rq.unlink(next, cpu);
      state[next] = step(state[next]!, Running);
      metrics?.onRun(next, cpu, atNs, wokenAt[next]!);
      wokenAt[next] = -1;
      if (slice[next] === 0) slice[next] = SLICE_DFL;
    }
    trace(SchedSwitch, cpu, prev, next, left, ((nice[prev]! & 0xff) << 8) | (nice[next]! & 0xff));
  }

  /** A task that could go on waits again: in front while it has slice left, else where its policy puts it. */
  function putBack(prev: number, cpu: number): void {
    if (slice[prev]! > 0) {
      rq.link(prev, cpu);
      dsqs.insertFifo(cpu, prev, true);
    } else move.putOn(prev, cpu, 0);
  }

  // --- while it runs ---

  function tick(cpu: number): void {
    eject.sync();
    const at = rowOf(cpu);
    const p = curr[at]!;
    if (p === 0) return;
    lock(cpu);
    account(cpu);
    s.dispatchCpu = cpu;
    try {
      s.policy.tick?.(p);
      if (cpus > 1 && s.policy.perCpuQueues === true && now() >= balanceAt[at]!) balance.pullLoad(cpu);
    } catch (thrown) {
      eject.caught(thrown, "tick");
    }
    s.dispatchCpu = -1;
    const over = slice[p] === 0;
    unlock(cpu);
    if (over) rq.resched(cpu, PICK);
  }

  function charge(cpu: number): void {
    lock(cpu);
    account(cpu);
    unlock(cpu);
  }

  function steal(cpu: number, ns: number): void {
    lock(cpu);
    irqTime[rowOf(cpu)]! += ns;
    unlock(cpu);
  }

  return {
    ...kernel,
    task,
    cpu: cpuTable,
    dsqs,
    metrics,
    policy: () => s.policy,
    rules: () => shared[RULES]!,
    tunables: (policy) => memories[policy]!.tunables,
    switchTo: switching(s, rq, rule, eject, account),
    ejected: () => shared[EJECTED] !== 0,
    ejectMessage: () => s.ejectMessage,
    addTask,
    removeTask,
    setNice,
    wake,
    wakeNew,
    schedule,
    tick,
    charge,
    steal,
    watchdog: eject.watchdog,
  };
}

/** Before the policies are up. */
const NO_POLICY: SchedPolicy = { name: "none", enqueue: () => undefined };
