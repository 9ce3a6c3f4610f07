/**
 * The Completely Fair Scheduler as in Linux 6.1 (kernel/sched/fair.c, HZ=250, default features): the task with the
 * least virtual run time runs; a tick preempts when its share of the period is used; a waking task preempts when it is
 * behind by more than the wake-up granularity; sleepers get at most half a period of credit; a new task starts a slice
 * behind. Per CPU: waiting tasks in a heap by vruntime; the running one is outside it, as in Linux.
 *
 * All times are whole nanoseconds. min_vruntime never goes back (checked by test/sched/policies).
 */
import * as abi from "../../kernel/abi/sched.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import { KeyedHeap } from "../../kernel/lib/keyed_heap.ts";
import { NICE_0_LOAD as WEIGHT_0 } from "../weight.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { DEQ_MIGRATE, DEQ_SAVE, DSQ_LOCAL, ENQ_JOINS, ENQ_NEW, ENQ_WAKEUP, KICK_PREEMPT, SLICE_INF } = abi;
const NICE_0_LOAD = WEIGHT_0;

const LATENCY_NS = 6_000_000;
const MIN_GRANULARITY_NS = 750_000;
const WAKEUP_GRANULARITY_NS = 1_000_000;
/** Bounds of what can be set, ns (Linux 6.1: sched_latency_ns and the like). */
const GRANULARITY_NS_MIN = 100_000;
const GRANULARITY_NS_MAX = 1_000_000_000;

export const cfs: PolicyFactory = (k) => {
  const scale = 1 + Math.floor(Math.log2(Math.min(k.cpus, 8)));
  const tunable = (name: string, ns: number, least = GRANULARITY_NS_MIN): Float64Array =>
    k.tunable(name, ns * scale, least, GRANULARITY_NS_MAX);
  const latency = tunable("latency_ns", LATENCY_NS);
  const minGranularity = tunable("min_granularity_ns", MIN_GRANULARITY_NS);
  const wakeupGranularity = tunable("wakeup_granularity_ns", WAKEUP_GRANULARITY_NS, 0);
  /** Tasks on one CPU up to which the period stays at the latency. */
  const nrLatency = (): number => Math.ceil(latency[0]! / minGranularity[0]!);

  const { sumExec, loadWeight, slice, cpu: cpuOf } = k.task;
  const vruntime = k.perTask();
  /** sumExec when vruntime was last brought up to it, and when the task was last picked. */
  const seenExec = k.perTask();
  const pickedExec = k.perTask();
  /** Weight that the task adds to its CPU's load; 0 when it is on none. */
  const joined = k.perTask();
  /** CPU whose min_vruntime the task's vruntime belongs to; -1: it is relative, on the way from one CPU to another. */
  const home = k.perTask();
  const minVruntime = k.perCpu();
  const load = k.perCpu();
  const nr = k.perCpu();
  const serial = k.perCpu();
  const nextBuddy = k.perCpu();
  const lastBuddy = k.perCpu();
  const key = k.perTask();
  const tie = k.perTask();
  const pos = k.words(k.tasksMax);
  const waiting: KeyedHeap[] = [];
  for (let cpu = 0; cpu < k.cpus; cpu++)
    waiting.push(new KeyedHeap(key, tie, pos, k.words(k.tasksMax + 1), 0, k.tasksMax));

  const fairDelta = (ns: number, p: number): number => Math.floor((ns * NICE_0_LOAD) / loadWeight[p]!);

  /** Task p's share of the period, ns (sched_slice). */
  const sliceOf = (cpu: number, p: number): number => {
    const waits = joined[p] === 0;
    const tasks = nr[cpu]! + (waits ? 1 : 0);
    const period = tasks > nrLatency() ? tasks * minGranularity[0]! : latency[0]!;
    const weight = loadWeight[p]!;
    return Math.max(minGranularity[0]!, Math.floor((period * weight) / (load[cpu]! + (waits ? weight : 0))));
  };

  /** min_vruntime follows the least of the running and the waiting, never back. `curr` 0: only the waiting count. */
  const followMin = (cpu: number, curr: number): void => {
    const left = waiting[cpu]!.first();
    if (curr === 0 && left < 0) return;
    let least = curr === 0 ? vruntime[left]! : vruntime[curr]!;
    if (curr !== 0 && left >= 0) least = Math.min(least, vruntime[left]!);
    minVruntime[cpu] = Math.max(minVruntime[cpu]!, least);
  };

  const updateCurr = (cpu: number): void => {
    k.account(cpu);
    const p = k.running(cpu);
    if (p === 0) return;
    const ran = sumExec[p]! - seenExec[p]!;
    if (ran <= 0) return;
    seenExec[p] = sumExec[p]!;
    vruntime[p]! += fairDelta(ran, p);
    followMin(cpu, p);
  };

  const join = (cpu: number, p: number): void => {
    joined[p] = loadWeight[p]!;
    home[p] = cpu;
    load[cpu]! += joined[p];
    nr[cpu]!++;
  };
  const leave = (cpu: number, p: number): void => {
    if (nextBuddy[cpu] === p) nextBuddy[cpu] = 0;
    if (lastBuddy[cpu] === p) lastBuddy[cpu] = 0;
    load[cpu]! -= joined[p]!;
    joined[p] = 0;
    nr[cpu]!--;
  };

  /** 1: `b` is behind `a` by more than b's granularity; 0: behind, but not enough; -1: not behind. */
  const behind = (a: number, b: number): number => {
    const lead = vruntime[a]! - vruntime[b]!;
    if (lead <= 0) return -1;
    return lead > fairDelta(wakeupGranularity[0]!, b) ? 1 : 0;
  };

  return {
    name: "cfs",
    perCpuQueues: true,
    irqTimeAccounting: true,
    initTask: (p) => {
      vruntime[p] = seenExec[p] = pickedExec[p] = joined[p] = 0;
      home[p] = cpuOf[p]!;
    },
    enqueue: (p, flags) => {
      const cpu = cpuOf[p]!;
      if ((flags & ENQ_JOINS) !== 0) {
        updateCurr(cpu);
        if (home[p] !== cpu) vruntime[p]! += minVruntime[cpu]! - (home[p] === -1 ? 0 : minVruntime[home[p]!]!);
        if ((flags & ENQ_NEW) !== 0) {
          const curr = k.running(cpu);
          const debit = minVruntime[cpu]! + fairDelta(sliceOf(cpu, p), p);
          vruntime[p] = curr === 0 ? debit : Math.max(vruntime[curr]!, debit);
        } else if ((flags & ENQ_WAKEUP) !== 0)
          vruntime[p] = Math.max(vruntime[p]!, minVruntime[cpu]! - Math.floor(latency[0]! / 2));
        join(cpu, p);
      }
      waiting[cpu]!.set(p, vruntime[p]!, serial[cpu]!++);
      if ((flags & ENQ_JOINS) === 0) return;
      const curr = k.running(cpu);
      if (curr === 0 || joined[curr] === 0 || k.needResched(cpu) || behind(curr, p) !== 1) return;
      nextBuddy[cpu] = p;
      if (nr[cpu]! >= nrLatency()) lastBuddy[cpu] = curr;
      k.kickCpu(cpu, KICK_PREEMPT);
    },
    dequeue: (p, flags) => {
      const cpu = cpuOf[p]!;
      updateCurr(cpu);
      waiting[cpu]!.remove(p);
      leave(cpu, p);
      if ((flags & DEQ_MIGRATE) !== 0) {
        vruntime[p]! -= minVruntime[cpu]!;
        home[p] = -1;
      }
      if ((flags & DEQ_SAVE) === 0) followMin(cpu, k.running(cpu));
    },
    dispatch: (cpu, prev) => {
      updateCurr(cpu);
      const heap = waiting[cpu]!;
      const first = heap.first();
      const left = first < 0 || (prev !== 0 && vruntime[prev]! < vruntime[first]!) ? prev : first;
      let chosen = left;
      const next = nextBuddy[cpu]!;
      const last = lastBuddy[cpu]!;
      if (next !== 0 && behind(next, left) < 1) chosen = next;
      else if (last !== 0 && (last === prev || pos[last] !== 0) && behind(last, left) < 1) chosen = last;
      if (chosen === prev) {
        if (prev !== 0) slice[prev] = SLICE_INF;
        return;
      }
      heap.remove(chosen);
      k.dsqInsert(chosen, DSQ_LOCAL, SLICE_INF, 0);
    },
    running: (p) => {
      const cpu = cpuOf[p]!;
      if (nextBuddy[cpu] === p) nextBuddy[cpu] = 0;
      if (lastBuddy[cpu] === p) lastBuddy[cpu] = 0;
      if (joined[p] === 0) {
        vruntime[p] = minVruntime[cpu]!;
        join(cpu, p);
        slice[p] = SLICE_INF;
      }
      seenExec[p] = pickedExec[p] = sumExec[p]!;
    },
    tick: (p) => {
      const cpu = cpuOf[p]!;
      updateCurr(cpu);
      if (nr[cpu]! <= 1) return;
      const ran = sumExec[p]! - pickedExec[p]!;
      const ideal = sliceOf(cpu, p);
      if (ran > ideal) {
        slice[p] = 0;
        if (nextBuddy[cpu] === p) nextBuddy[cpu] = 0;
        if (lastBuddy[cpu] === p) lastBuddy[cpu] = 0;
      } else if (ran >= minGranularity[0]!) {
        const first = waiting[cpu]!.first();
        if (first >= 0 && vruntime[p]! - vruntime[first]! > ideal) slice[p] = 0;
      }
    },
    stopping: (p) => updateCurr(cpuOf[p]!),
    quiescent: (p) => {
      const cpu = cpuOf[p]!;
      leave(cpu, p);
      followMin(cpu, 0);
    },
    setWeight: (p) => {
      if (joined[p] === 0) return;
      const cpu = cpuOf[p]!;
      const by = loadWeight[p]! - joined[p]!;
      load[cpu]! += by;
      joined[p] = loadWeight[p]!;
      if (by < 0 && nr[cpu]! > 1) k.kickCpu(cpu, KICK_PREEMPT);
    },
  };
};
