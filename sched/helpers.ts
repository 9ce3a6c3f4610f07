/**
 * The kernel's helpers as a policy sees them (SchedKernel of kernel/abi/sched.ts). Whatever a policy asks that cannot be is
 * its error: thrown here, through the policy's own frames, and caught by the core.
 *
 * What selectCpu inserts is only noted: the task is not on a run queue yet, and LOCAL is the queue of the CPU it gets.
 */
import { EjectReason } from "../kernel/abi/events.ts";
import { POLICY_CALLS_MAX } from "../kernel/abi/limits.ts";
import * as abi from "../kernel/abi/sched.ts";
import type { SchedKernel } from "../kernel/abi/sched.ts";
import { NO_DSQ } from "./dsq.ts";
import { fail, PolicyError } from "./policy_error.ts";
import type { PolicyMemory } from "./policy_memory.ts";
import { PREEMPT, RESCHED } from "./run_queue.ts";
import type { RunQueues } from "./run_queue.ts";
import type { SchedState } from "./state.ts";
import { cpuAt, TaskState } from "./table.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { Queued } = TaskState;
const { DSQ_GLOBAL, DSQ_LOCAL, DSQ_LOCAL_ON, ENQ_HEAD, ENQ_PREEMPT, KICK_IDLE, KICK_PREEMPT } = abi;
const CALLS_MAX = POLICY_CALLS_MAX;
const NOWHERE = NO_DSQ;
const GIVE_WAY = PREEMPT;
const PICK = RESCHED;
const rowOf = cpuAt;

/** `moveTo`: task p was taken from a queue by `cpu`, whose lock guards it from here on. */
export function schedKernel(
  s: SchedState,
  rq: RunQueues,
  moveTo: (p: number, cpu: number) => void,
): { readonly kernel: SchedKernel; readonly account: (cpu: number) => void } {
  const { cpus, tasksMax, tickNs, task, dsqs } = s;
  const { now } = s.world;
  const { rows, mayUse } = task;
  const { state, cpu: cpuOf, dsq: dsqOf, onRq, slice, sumExec, dsqVtime } = task;
  const { curr, queued, execStart, irqTime, reschedWords } = s.cpu;
  const global = cpus;

  // --- tables ---

  /** Every CPU's instance takes the same memory in the same order, so nothing can be taken later. */
  const memory = (call: string): PolicyMemory => s.memory ?? fail(`${call}: only while the policy comes up`);
  const perTask = (): Float64Array => memory("perTask").f64(tasksMax);
  const perCpu = (): Float64Array => memory("perCpu").f64(cpus);
  const words = (count: number): Int32Array => memory("words").i32(count);
  const tunable: SchedKernel["tunable"] = (...of) => memory("tunable").tunable(...of);
  const createDsq = (): number => memory("createDsq").dsq();

  // --- looking ---

  function countCall(): void {
    if (++s.calls > CALLS_MAX) fail(`the policy called its helpers ${POLICY_CALLS_MAX} times without end`);
  }

  const running = (cpu: number): number => curr[rowOf(cpu)]!;

  const nrRunning = (cpu: number): number => {
    const at = rowOf(cpu);
    return queued[at]! + (curr[at] === 0 ? 0 : 1) + dsqs.count(cpu);
  };

  const needResched = (cpu: number): boolean => reschedWords[rowOf(cpu)] !== 0;

  function dsqNrQueued(dsq: number): number {
    countCall();
    if ((dsq & DSQ_LOCAL_ON) !== 0 && dsq > 0) return dsqs.count(localOf(dsq, "dsqNrQueued"));
    return dsqs.count(shared(dsq, "dsqNrQueued"));
  }

  function account(cpu: number): void {
    const at = rowOf(cpu);
    const p = curr[at]!;
    if (p === 0 || s.clockHeld === cpu) return;
    const clockTask = now() - irqTime[at]!;
    const delta = clockTask - execStart[at]!;
    if (delta <= 0) return;
    execStart[at] = clockTask;
    sumExec[p]! += delta;
    const left = slice[p]! - delta;
    slice[p] = left > 0 ? left : 0;
  }

  // --- dispatch queues ---

  /** The global queue or one of the policy's own. */
  function shared(dsq: number, call: string): number {
    if (dsq === DSQ_GLOBAL) return global;
    if (!dsqs.exists(dsq) || dsq <= global) fail(`${call}: there is no dispatch queue ${dsq}`);
    return dsq;
  }

  function localOf(dsq: number, call: string): number {
    const cpu = dsq & ~DSQ_LOCAL_ON;
    if (cpu >= cpus) fail(`${call}: there is no CPU ${cpu}`);
    return cpu;
  }

  /** A policy's queue id as an inner number; whatever cannot be inserted there is the policy's error. */
  function resolve(p: number, dsq: number, sliceNs: number): number {
    if (!(Number.isInteger(p) && p >= 1 && p < rows)) fail(`dsqInsert: there is no task ${p}`);
    if (dsqOf[p] !== NOWHERE) fail(`dsqInsert: task ${p} is on a dispatch queue already`);
    if (state[p] !== Queued && p !== s.selecting) fail(`dsqInsert: task ${p} does not wait to run`);
    if (!(sliceNs >= 0)) fail(`dsqInsert: the slice of task ${p} is ${sliceNs}`);
    if (dsq === DSQ_GLOBAL) return global;
    if (dsq !== DSQ_LOCAL && ((dsq & DSQ_LOCAL_ON) === 0 || dsq < 0)) return shared(dsq, "dsqInsert");
    const cpu = dsq !== DSQ_LOCAL ? localOf(dsq, "dsqInsert") : s.dispatchCpu >= 0 ? s.dispatchCpu : cpuOf[p]!;
    if (p === s.selecting) return cpu;
    if (!mayUse(p, cpu)) fail(`dsqInsert: task ${p} may not use CPU ${cpu}`);
    if (onRq[p] !== 0 && cpuOf[p] !== cpu)
      fail(`dsqInsert: task ${p} waits on CPU ${cpuOf[p]!}, and perCpuQueues leaves moves to the core`);
    return cpu;
  }

  /** On a queue that CPUs share a task waits for all of them: it leaves its CPU's list, under that CPU's lock. */
  function unlist(p: number): void {
    if (onRq[p] === 0) return;
    const cpu = cpuOf[p]!;
    if (cpu !== s.dispatchCpu) fail(`dsqInsert: task ${p} waits on CPU ${cpu}, which does not dispatch`);
    rq.unlink(p, cpu);
  }

  function insertLater(dsq: number, sliceNs: number, vtime: number, enqFlags: number): void {
    if (s.directDsq !== 0) fail(`dsqInsert: task ${s.selecting} is on a dispatch queue already`);
    s.directDsq = dsq;
    s.directSlice = sliceNs;
    s.directVtime = vtime;
    s.directFlags = enqFlags;
  }

  function dsqInsert(p: number, dsq: number, sliceNs: number, enqFlags: number): void {
    const queue = resolve(p, dsq, sliceNs);
    if (p === s.selecting) return insertLater(dsq, sliceNs, Number.NaN, enqFlags);
    if (queue >= cpus) unlist(p);
    slice[p] = sliceNs;
    if (!dsqs.insertFifo(queue, p, (enqFlags & ENQ_HEAD) !== 0))
      fail("dsqInsert: the queue holds tasks ordered by vtime");
    s.inserted++;
    if (queue >= cpus) return;
    if ((enqFlags & ENQ_PREEMPT) !== 0) kickCpu(queue, KICK_PREEMPT);
    else if (queue !== s.dispatchCpu) kickCpu(queue, KICK_IDLE);
  }

  function dsqInsertVtime(p: number, dsq: number, sliceNs: number, vtime: number, enqFlags: number): void {
    const queue = resolve(p, dsq, sliceNs);
    if (!dsqs.hasVtime(queue)) fail("dsqInsertVtime: not a queue made by createDsq");
    if (!Number.isFinite(vtime)) fail(`dsqInsertVtime: the vtime of task ${p} is ${vtime}`);
    if (p === s.selecting) return insertLater(dsq, sliceNs, vtime, enqFlags);
    unlist(p);
    slice[p] = sliceNs;
    dsqVtime[p] = vtime;
    if (!dsqs.insertVtime(queue, p, vtime)) fail("dsqInsertVtime: the queue holds tasks in FIFO order");
    s.inserted++;
  }

  function dsqMoveToLocal(dsq: number, cpu: number): boolean {
    countCall();
    const queue = shared(dsq, "dsqMoveToLocal");
    if (cpu !== s.dispatchCpu) fail(`dsqMoveToLocal: CPU ${cpu} is not the one that dispatches`);
    const p = dsqs.takeFor(queue, cpu);
    if (p === 0) return false;
    moveTo(p, cpu);
    dsqs.insertFifo(cpu, p, false);
    s.inserted++;
    return true;
  }

  // --- CPUs ---

  function kickCpu(cpu: number, flags: number): void {
    countCall();
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < cpus)) fail(`kickCpu: there is no CPU ${cpu}`);
    const p = curr[rowOf(cpu)]!;
    if ((flags & KICK_PREEMPT) !== 0) {
      // Under its lock the slice ends here; another CPU's accounting could write over that, so that CPU ends it itself.
      if (cpu !== s.dispatchCpu) rq.resched(cpu, PICK | GIVE_WAY);
      else {
        if (p !== 0) slice[p] = 0;
        rq.resched(cpu, PICK);
      }
    } else if (p === 0 || (rq.someIdle() && rq.isIdle(cpu))) rq.resched(cpu, PICK);
  }

  const kernel: SchedKernel = {
    cpus,
    tasksMax,
    task,
    now,
    tickNs,
    perTask,
    perCpu,
    words,
    tunable,
    createDsq,
    dsqInsert,
    dsqInsertVtime,
    dsqMoveToLocal,
    dsqNrQueued,
    kickCpu,
    selectCpuDfl: rq.idleFor,
    running,
    needResched,
    nrRunning,
    account,
    error: (message) => {
      throw new PolicyError(message, EjectReason.Error);
    },
  };
  return { kernel, account };
}
