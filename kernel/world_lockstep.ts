/**
 * The deterministic world: all CPUs in one thread, stepped in the order of virtual time. A run is a pure function of its
 * configuration; two runs give the same events.
 *
 * One heap holds what will happen, one slot for each source, so there is nothing to cancel and never a tie:
 *
 *   slot 0 .. rows-1          the timer of task p
 *   slot rows + c             the tick of CPU c (only while it is busy)
 *   slot rows + cpus + c      CPU c itself: its task's work is done, or it has to pick anew
 *   slot rows + 2 cpus        the watchdog
 *
 * A handler runs whole at one event and moves the clock forward on its own CPU only: `busy[c]` says until when CPU c is
 * inside the kernel; whatever comes for it in the meantime waits. Costs are those of sched/cost.ts.
 */
import { TaskLeft, WakeContext } from "./abi/events.ts";
import type { Machine } from "./abi/machine.ts";
import type { PolicyFactory } from "./abi/sched.ts";
import { Arena } from "./lib/arena.ts";
import { KeyedHeap } from "./lib/keyed_heap.ts";
import { noLocks } from "./lib/lock_ops.ts";
import type { VirtualMachine } from "./machine.ts";
import { TaskPrograms } from "./task.ts";
import { cpuAt, NO_PARENT, Op, Sched, SchedMetrics } from "../sched/index.ts";
import type { Background, Costs, TaskSpec, Workload } from "../sched/index.ts";

export interface LockstepConfig {
  readonly cpus: number;
  readonly policy: PolicyFactory;
  readonly fallback: PolicyFactory;
  readonly workload: Workload;
  readonly costs: Costs;
  /** Period of the tick; 4 ms as HZ=250. */
  readonly tickNs: number;
  /** Time of the first tick, 0 <= phase < tickNs. */
  readonly tickPhaseNs: number;
  /** End slices by a timer of their own and not at the next tick (Linux: HRTICK). */
  readonly exactSlices: boolean;
  readonly metrics: boolean;
}

const RANK_TIMER = 1;
const RANK_TICK = 2;
const RANK_CPU = 3;
const WATCHDOG_PERIOD_NS = 1_000_000_000;
const KIB = 1024;

export class LockstepWorld {
  readonly sched: Sched;
  readonly metrics: SchedMetrics | undefined;
  readonly programs: TaskPrograms;
  readonly #cpus: number;
  readonly #rows: number;
  readonly #costs: Costs;
  readonly #tickNs: number;
  readonly #tickPhaseNs: number;
  readonly #exactSlices: boolean;
  /** Rows 1 to this are the workload's; above are the kernel threads of the cost profile. */
  readonly #workloadTasks: number;
  readonly #events: KeyedHeap;
  readonly #busy: Float64Array;
  readonly #pending: Uint8Array;
  readonly #machine: VirtualMachine;
  readonly #time: Float64Array;
  #anyPending = false;
  /** The last task whose program has an end has reached it. */
  #finished = false;
  #steps = 0;

  constructor(machine: VirtualMachine, config: LockstepConfig) {
    this.#machine = machine;
    this.#time = machine.time;
    const rows = config.workload.tasks.length + config.costs.background.length + 1;
    this.#cpus = config.cpus;
    this.#rows = rows;
    this.#costs = config.workload.measured === true ? withoutCalls(config.costs) : config.costs;
    this.#tickNs = config.tickNs;
    this.#tickPhaseNs = config.tickPhaseNs;
    this.#exactSlices = config.exactSlices;
    this.#workloadTasks = config.workload.tasks.length;
    const arena = new Arena(new SharedArrayBuffer(lockstepBytes(config.cpus, rows)));
    this.metrics = config.metrics ? new SchedMetrics(arena, config.cpus, rows) : undefined;
    this.sched = new Sched(
      arena,
      { cpus: config.cpus, tasksMax: rows, tickNs: config.tickNs, policy: config.policy, fallback: config.fallback },
      {
        now: machine.now,
        trace: machine.trace,
        locks: noLocks,
        wakePath: () => {
          this.#time[0]! += config.costs.select;
        },
        resched: (cpu) => this.#resched(cpu),
      },
      this.metrics,
    );
    const slots = rows + 2 * config.cpus + 1;
    this.#events = new KeyedHeap(arena.f64(slots), arena.f64(slots), arena.i32(slots), arena.i32(slots + 1), 0, slots);
    this.#busy = arena.f64(config.cpus);
    this.#pending = arena.u8(config.cpus);
    const workload = withBackground(machine, config.workload, config.costs.background);
    this.programs = new TaskPrograms(arena, workload, false);
    for (let cpu = 0; cpu < config.cpus; cpu++) this.sched.schedule(cpu, TaskLeft.Runnable);
    for (const [index, spec] of workload.tasks.entries()) {
      const p = this.sched.addTask(spec.nice, index % config.cpus);
      if (spec.startNs >= 0) this.#events.set(p, spec.startNs, RANK_TIMER);
    }
    this.#events.set(slots - 1, WATCHDOG_PERIOD_NS, 0);
  }

  /** Events handled so far. */
  get steps(): number {
    return this.#steps;
  }

  /** Runs until nothing is left to happen, or past `untilNs`, or `steps` events were handled; false: nothing is left. */
  run(untilNs: number, steps = Number.POSITIVE_INFINITY): boolean {
    const events = this.#events;
    const rows = this.#rows;
    const cpus = this.#cpus;
    const last = this.#steps + steps;
    while (this.#steps < last && !this.#finished) {
      const slot = events.first();
      const at = events.key[slot]!;
      if (at > untilNs) {
        this.#time[0] = untilNs;
        return true;
      }
      this.#steps++;
      this.#time[0] = at;
      if (slot >= rows + cpus && slot < rows + 2 * cpus) this.#onCpu(slot - rows - cpus, at);
      else if (slot < rows) this.#onTimer(slot, at);
      else if (slot < rows + cpus) this.#onTick(slot - rows, at);
      else if (this.#onWatchdog(slot, at)) return false;
      if (this.#anyPending) this.#settle();
    }
    return !this.#finished;
  }

  /** The timer of task p: its start, or the end of its sleep. */
  #onTimer(p: number, at: number): void {
    this.#events.remove(p);
    const { sched } = this;
    const cpu = sched.task.cpu[p]!;
    const busy = this.#busy[cpu]!;
    this.#time[0] = at >= busy ? at + this.#costs.irq : busy;
    if (this.programs.begin(p)) sched.wakeNew(p, cpu, p <= this.#workloadTasks ? 0 : NO_PARENT);
    else sched.wake(p, cpu, WakeContext.Timer);
    this.#time[0] += this.#costs.wake;
    this.#endInterrupt(cpu, Math.max(at, busy));
  }

  /** The interrupt that began at `from` is over: its time is nobody's CPU time. */
  #endInterrupt(cpu: number, from: number): void {
    this.#busy[cpu] = this.#time[0]!;
    if (this.sched.policy.irqTimeAccounting === true) this.sched.cpu.irqTime[cpuAt(cpu)]! += this.#time[0]! - from;
    const p = this.sched.running(cpu);
    if (p !== 0 && this.programs.polls[p] !== 0 && this.#pending[cpu] === 0 && !this.sched.needResched(cpu))
      this.#runOn(cpu, p);
  }

  #onTick(cpu: number, at: number): void {
    const from = Math.max(at, this.#busy[cpu]!);
    this.#time[0] = from;
    this.#events.set(this.#rows + cpu, at + this.#tickNs, RANK_TICK);
    this.sched.tick(cpu);
    this.#time[0] += this.#costs.tick;
    this.#endInterrupt(cpu, from);
  }

  #onCpu(cpu: number, at: number): void {
    const busy = this.#busy[cpu]!;
    if (at < busy) {
      this.#events.set(this.#rows + this.#cpus + cpu, busy, RANK_CPU);
      return;
    }
    const { sched } = this;
    if (sched.needResched(cpu)) {
      this.#switch(cpu, TaskLeft.Preempted);
      return;
    }
    const p = sched.running(cpu);
    // The pick that it was asked for happened on the way, when a policy was thrown out.
    if (p === 0) return;
    sched.account(cpu);
    if (sched.task.sumExec[p]! < this.programs.target[p]!) {
      if (sched.task.slice[p] === 0) this.#switch(cpu, TaskLeft.Preempted);
      else this.#runOn(cpu, p);
      return;
    }
    this.#step(cpu, p);
  }

  /** True when nothing is left to happen but the watchdog, and nobody waits for a CPU. */
  #onWatchdog(slot: number, at: number): boolean {
    this.#events.set(slot, at + WATCHDOG_PERIOD_NS, 0);
    const waiting = this.sched.watchdog();
    return !waiting && this.#events.size === 1 && !this.#anyPending;
  }

  /** Task p goes on where its program stands, on its CPU, until it computes, blocks, exits or must let another run. */
  #step(cpu: number, p: number): void {
    const { sched, programs } = this;
    for (;;) {
      const left = programs.step(p, sched.task.sumExec[p]!, this.#costs.sleepCall);
      if (left === TaskLeft.Sleeping && this.#costs.sleepJitter > 0)
        programs.owe(p, this.#machine.below(this.#costs.sleepJitter));
      if (left === TaskLeft.Runnable) {
        this.#runOn(cpu, p);
        return;
      }
      if (programs.timerNs >= 0)
        this.#events.set(p, this.#time[0]! + programs.timerNs + this.#costs.timerLate, RANK_TIMER);
      if (left !== TaskLeft.Preempted) {
        this.#switch(cpu, left);
        if (left === TaskLeft.Dead) {
          sched.removeTask(p);
          this.#finished = programs.allExited;
        }
        return;
      }
      if (programs.woken !== 0) sched.wake(programs.woken, cpu, WakeContext.Task);
      else if (programs.started !== 0 && programs.begin(programs.started)) sched.wakeNew(programs.started, cpu, p);
      else if (programs.reniced !== 0) sched.setNice(programs.reniced, programs.nice);
      this.#time[0]! += this.#costs.wake;
      this.#busy[cpu] = this.#time[0]!;
      programs.target[p] = sched.task.sumExec[p]! + this.#costs.wake;
      if (this.#pending[cpu] !== 0) return;
    }
  }

  /** The CPU picks anew and goes on with whatever it got. */
  #switch(cpu: number, left: number): void {
    const prev = this.sched.running(cpu);
    const p = this.sched.schedule(cpu, left);
    if (p !== prev && prev !== 0) this.programs.depart(prev, this.#time[0]!);
    const tick = this.#rows + cpu;
    if (p === 0) {
      this.#events.remove(tick);
      this.#events.remove(tick + this.#cpus);
      return;
    }
    if (this.#events.pos[tick] === 0) {
      const ticks = Math.floor((this.#time[0]! - this.#tickPhaseNs) / this.#tickNs) + 1;
      this.#events.set(tick, this.#tickPhaseNs + ticks * this.#tickNs, RANK_TICK);
    }
    if (p !== prev) this.programs.arrive(p, cpu, this.#time[0]!, this.#costs);
    this.#runOn(cpu, p);
  }

  /** The CPU computes for p until its work is done, or its slice is over where slices end exactly. */
  #runOn(cpu: number, p: number): void {
    const { sumExec, slice } = this.sched.task;
    let left = Math.ceil(this.programs.target[p]! - sumExec[p]!);
    if (this.#exactSlices) left = Math.min(left, slice[p]!);
    else if (this.programs.polls[p] !== 0 && this.sched.policy.sliceEndsOnAccount === true)
      left = Math.min(left, slice[p]! + this.#costs.poll);
    this.#events.set(this.#rows + this.#cpus + cpu, this.#time[0]! + Math.max(0, left), RANK_CPU);
  }

  /** The core wants CPU `cpu` to pick anew; noted, and settled when the present handler's time has been counted. */
  #resched(cpu: number): void {
    this.#pending[cpu] = 1;
    this.#anyPending = true;
  }

  /** The CPUs that were asked to pick anew: at once where that costs nothing, else when the kernel is left. */
  #settle(): void {
    const now = this.#time[0]!;
    while (this.#anyPending) {
      this.#anyPending = false;
      for (let cpu = 0; cpu < this.#cpus; cpu++) {
        if (this.#pending[cpu] === 0) continue;
        this.#pending[cpu] = 0;
        const idle = this.sched.running(cpu) === 0;
        const from = this.#busy[cpu]! >= now ? this.#busy[cpu]! : now + this.#costs.ipi;
        const at = from + (idle ? this.#costs.idleExit : this.#costs.resched);
        if (at === now) this.#onCpu(cpu, at);
        else this.#events.set(this.#rows + this.#cpus + cpu, at, RANK_CPU);
      }
    }
  }
}

/** Costs of a workload whose CPU times hold its calls already. */
const withoutCalls = (costs: Costs): Costs => ({ ...costs, sleepCall: 0, sleepJitter: 0, timerLate: 0 });

/** The workload and, after its tasks, the kernel threads of the cost profile, each from a moment of its own. */
function withBackground(machine: Machine, workload: Workload, background: readonly Background[]): Workload {
  const threads = background.map(({ name, periodNs, runNs }): TaskSpec => {
    const program = { ops: Uint8Array.of(Op.Run, Op.Sleep), args: Float64Array.of(runNs, periodNs), loopTo: 0 };
    return { name, nice: 0, startNs: machine.below(periodNs), program };
  });
  return { tasks: [...workload.tasks, ...threads] };
}

/** Enough for every table of a lockstep machine: per task, per CPU, and per task and CPU (run queues). */
function lockstepBytes(cpus: number, rows: number): number {
  return 256 * KIB + rows * 600 + cpus * 128 * KIB + (cpus + 16) * rows * 12;
}
