/**
 * The event loop of the lockstep world (world_lockstep.ts): functions that close over the machine's tables.
 *
 * One heap holds what will happen, one slot for each source, so there is nothing to cancel and never a tie:
 *
 *   slot 0 .. rows-1          the timer of task p
 *   slot rows + c             the tick of CPU c (only while it is busy)
 *   slot rows + cpus + c      CPU c itself: its task's work is done, or it has to pick anew
 *   slot rows + 2 cpus        the watchdog
 *   slot rows + 2 cpus + 1    the device, when the machine has one
 *
 * A handler runs whole at one event and moves the clock forward on its own CPU only: `busy[c]` says until when CPU c is
 * inside the kernel; whatever comes for it in the meantime waits. Costs are those of sched/cost.ts.
 */
import { TaskLeft, WakeContext } from "./abi/events.ts";
import type { Arena } from "./lib/arena.ts";
import { KeyedHeap } from "./lib/keyed_heap.ts";
import { YIELDS } from "./task.ts";
import type { TaskCode } from "./task.ts";
import { cpuAt, NO_PARENT } from "../sched/index.ts";
import type { Costs, Sched } from "../sched/index.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { Dead, Preempted, Runnable, Sleeping } = TaskLeft;
const { Task, Timer } = WakeContext;
const rowOf = cpuAt;
const GIVES_WAY = YIELDS;

const RANK_TIMER = 1;
const RANK_TICK = 2;
const RANK_CPU = 3;
const WATCHDOG_PERIOD_NS = 1_000_000_000;

/** A device that ends requests in its own time and tells a CPU by an interrupt. */
export interface LoopDevice {
  /** When it has something to tell, ns; Infinity: not before it is asked for something. */
  readonly nextAtNs: () => number;
  /** CPU that takes its interrupt. */
  readonly cpu: number;
  /** The interrupt's work; moves the clock by what it took. */
  readonly interrupt: () => void;
}

export interface LoopParts {
  readonly arena: Arena;
  /** time[0]: the clock, which this loop alone moves. */
  readonly time: Float64Array;
  readonly sched: Sched;
  readonly programs: TaskCode;
  readonly device?: LoopDevice;
  readonly costs: Costs;
  readonly cpus: number;
  /** Rows 1 to this are the workload's; above are the kernel threads of the cost profile. */
  readonly workloadTasks: number;
  readonly rows: number;
  readonly tickNs: number;
  readonly tickPhaseNs: number;
  readonly exactSlices: boolean;
  /** Chance: a whole number below the bound. */
  readonly below: (bound: number) => number;
  /** pending[c] is 1 when the core wants CPU c to pick anew; pending[cpus], when it wants any to. */
  readonly pending: Uint8Array;
}

export interface LockstepLoop {
  /** Task p becomes runnable for the first time at `atNs`. */
  readonly startAt: (p: number, atNs: number) => void;
  /** From within a step or an interrupt on `cpu`: p, which sleeps, goes on. */
  readonly wake: (p: number, cpu: number, context: number) => void;
  /** Runs until nothing is left to happen, or past `untilNs`, or `steps` events were handled; false: nothing is left. */
  readonly run: (untilNs: number, steps?: number) => boolean;
  /** Events handled so far. */
  readonly steps: () => number;
}

export function lockstepLoop(parts: LoopParts): LockstepLoop {
  const { arena, time, sched, programs, costs, cpus, workloadTasks, rows, tickNs, tickPhaseNs, pending } = parts;
  const { device, exactSlices, below } = parts;
  const { cpu: cpuOf, sumExec, slice } = sched.task;
  const { curr, reschedWords, irqTime } = sched.cpu;
  const { target, polls } = programs;
  const { sleepJitter, timerLate, irq, wake, tick, ipi, idleExit, resched, poll } = costs;
  const busy = arena.f64(cpus);
  const tickSlot = rows;
  const cpuSlot = rows + cpus;
  const watchdogSlot = rows + 2 * cpus;
  const deviceSlot = watchdogSlot + 1;
  const slots = deviceSlot + 1;
  const key = arena.f64(slots);
  const pos = arena.i32(slots);
  const events = new KeyedHeap(key, arena.f64(slots), pos, arena.i32(slots + 1), 0, slots);
  events.set(watchdogSlot, WATCHDOG_PERIOD_NS, 0);
  /** The last task whose program has an end has reached it. */
  let finished = false;
  let handled = 0;

  function run(untilNs: number, steps = Number.POSITIVE_INFINITY): boolean {
    const last = handled + steps;
    // Asked for between two runs.
    if (pending[cpus] !== 0) settle();
    if (device !== undefined) armDevice();
    while (handled < last) {
      if (finished) return false;
      const slot = events.first();
      const at = key[slot]!;
      if (at > untilNs) {
        time[0] = untilNs;
        return true;
      }
      handled++;
      time[0] = at;
      if (!handle(slot)) return false;
    }
    return !finished;
  }

  /**
   * One event. A function of its own: the compiler replaces a loop under way by code that does not know the tables. Like
   * all handlers it finds its time on the clock: as an argument it would be an object.
   */
  function handle(slot: number): boolean {
    if (slot < tickSlot) onTimer(slot);
    else if (slot < cpuSlot) onTick(slot - tickSlot);
    else if (slot < watchdogSlot) onCpu(slot - cpuSlot);
    else if (slot === deviceSlot) onDevice();
    else if (onWatchdog()) return false;
    if (pending[cpus] !== 0) settle();
    if (device !== undefined) armDevice();
    return true;
  }

  /** The timer of task p: its start, or the end of its sleep. */
  function onTimer(p: number): void {
    events.remove(p);
    const cpu = cpuOf[p]!;
    const at = time[0]!;
    if (at >= busy[cpu]!) {
      busy[cpu] = at;
      time[0] = at + irq;
    } else time[0] = busy[cpu]!;
    if (programs.begin(p)) sched.wakeNew(p, cpu, p <= workloadTasks ? 0 : NO_PARENT);
    else sched.wake(p, cpu, Timer);
    time[0] += wake;
    endInterrupt(cpu);
  }

  function onDevice(): void {
    const { cpu, interrupt } = device!;
    const at = time[0]!;
    if (at >= busy[cpu]!) {
      busy[cpu] = at;
      time[0] = at + irq;
    } else time[0] = busy[cpu]!;
    interrupt();
    endInterrupt(cpu);
  }

  /** Its next event, after whatever it was asked for meanwhile. */
  function armDevice(): void {
    const next = device!.nextAtNs();
    if (next === Number.POSITIVE_INFINITY) events.remove(deviceSlot);
    else if (pos[deviceSlot] === 0 || key[deviceSlot] !== next) events.set(deviceSlot, next, 0);
  }

  function wakeFrom(p: number, cpu: number, context: number): void {
    events.remove(p);
    sched.wake(p, cpu, context);
    time[0]! += wake;
  }

  /** The interrupt that began at busy[cpu] is over: its time is nobody's CPU time. */
  function endInterrupt(cpu: number): void {
    const now = time[0]!;
    const at = rowOf(cpu);
    if (sched.policy().irqTimeAccounting === true) irqTime[at]! += now - busy[cpu]!;
    busy[cpu] = now;
    const p = curr[at]!;
    if (p !== 0 && polls[p] !== 0 && pending[cpu] === 0 && reschedWords[at] === 0) runOn(cpu, p);
  }

  function onTick(cpu: number): void {
    const at = time[0]!;
    if (at >= busy[cpu]!) busy[cpu] = at;
    else time[0] = busy[cpu]!;
    events.set(tickSlot + cpu, at + tickNs, RANK_TICK);
    sched.tick(cpu);
    time[0]! += tick;
    endInterrupt(cpu);
  }

  function onCpu(cpu: number): void {
    if (time[0]! < busy[cpu]!) {
      events.set(cpuSlot + cpu, busy[cpu]!, RANK_CPU);
      return;
    }
    if (reschedWords[rowOf(cpu)] !== 0) {
      switchOn(cpu, Preempted);
      return;
    }
    const p = curr[rowOf(cpu)]!;
    // The pick that it was asked for happened on the way, when a policy was thrown out.
    if (p === 0) return;
    sched.account(cpu);
    if (sumExec[p]! < target[p]!) {
      if (slice[p] === 0) switchOn(cpu, Preempted);
      else runOn(cpu, p);
    } else goOn(cpu, p);
  }

  /** True when nothing is left to happen but the watchdog, and nobody waits for a CPU. */
  function onWatchdog(): boolean {
    events.set(watchdogSlot, time[0]! + WATCHDOG_PERIOD_NS, 0);
    const waiting = sched.watchdog();
    return !waiting && events.size === 1 && pending[cpus] === 0;
  }

  /** Task p goes on where its program stands, on its CPU, until it computes, blocks, exits or must let another run. */
  function goOn(cpu: number, p: number): void {
    for (;;) {
      const left = programs.step(p);
      busy[cpu] = time[0]!;
      if (left === GIVES_WAY) {
        slice[p] = 0;
        switchOn(cpu, Preempted);
        return;
      }
      if (left === Sleeping && sleepJitter > 0) programs.owe(p, below(sleepJitter));
      if (left === Runnable) {
        runOn(cpu, p);
        return;
      }
      if (programs.timerNs >= 0) events.set(p, time[0]! + programs.timerNs + timerLate, RANK_TIMER);
      if (left !== Preempted) {
        switchOn(cpu, left);
        if (left === Dead) {
          sched.removeTask(p);
          finished = programs.allExited;
        }
        return;
      }
      if (programs.woken !== 0) sched.wake(programs.woken, cpu, Task);
      else if (programs.started !== 0 && programs.begin(programs.started)) sched.wakeNew(programs.started, cpu, p);
      else if (programs.reniced !== 0) sched.setNice(programs.reniced, programs.nice);
      time[0]! += wake;
      busy[cpu] = time[0]!;
      target[p] = sumExec[p]! + wake;
      if (pending[cpu] !== 0) return;
    }
  }

  /** The CPU picks anew and goes on with whatever it got. */
  function switchOn(cpu: number, left: number): void {
    const prev = curr[rowOf(cpu)]!;
    const p = sched.schedule(cpu, left);
    if (p !== prev && prev !== 0) programs.depart(prev, time[0]!);
    if (p === 0) {
      events.remove(tickSlot + cpu);
      events.remove(cpuSlot + cpu);
      return;
    }
    if (pos[tickSlot + cpu] === 0) {
      const ticks = Math.floor((time[0]! - tickPhaseNs) / tickNs) + 1;
      events.set(tickSlot + cpu, tickPhaseNs + ticks * tickNs, RANK_TICK);
    }
    if (p !== prev) programs.arrive(p, cpu, time[0]!, costs);
    runOn(cpu, p);
  }

  /** The CPU computes for p until its work is done, or its slice is over where slices end exactly. */
  function runOn(cpu: number, p: number): void {
    let left = Math.ceil(target[p]! - sumExec[p]!);
    if (exactSlices) left = Math.min(left, slice[p]!);
    else if (polls[p] !== 0 && sched.policy().sliceEndsOnAccount === true) left = Math.min(left, slice[p]! + poll);
    events.set(cpuSlot + cpu, left > 0 ? time[0]! + left : time[0]!, RANK_CPU);
  }

  /** The CPUs that were asked to pick anew: at once where that costs nothing, else when the kernel is left. */
  function settle(): void {
    const now = time[0]!;
    while (pending[cpus] !== 0) {
      pending[cpus] = 0;
      for (let cpu = 0; cpu < cpus; cpu++) {
        if (pending[cpu] === 0) continue;
        pending[cpu] = 0;
        const idle = curr[rowOf(cpu)] === 0;
        const from = busy[cpu]! >= now ? busy[cpu]! : now + ipi;
        const at = from + (idle ? idleExit : resched);
        if (at === now) onCpu(cpu);
        else events.set(cpuSlot + cpu, at, RANK_CPU);
      }
    }
  }

  return {
    startAt: (p, atNs) => events.set(p, atNs, RANK_TIMER),
    wake: wakeFrom,
    run,
    steps: () => handled,
  };
}
