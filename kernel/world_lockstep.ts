/**
 * The deterministic world: all CPUs in one thread, stepped in the order of virtual time. A run is a pure function of its
 * configuration; two runs give the same events. The loop that steps them is lockstep_loop.ts.
 *
 * - new LockstepWorld(machine, config)   the tables, the scheduler, the tasks at their first timers
 * - run(untilNs, steps?)                 runs until nothing is left to happen, or past a time, or so many events
 */
import { TaskLeft } from "./abi/events.ts";
import type { Machine } from "./abi/machine.ts";
import type { PolicyFactory } from "./abi/sched.ts";
import { Arena } from "./lib/arena.ts";
import { noLocks } from "./lib/lock_ops.ts";
import { plainWords } from "./lib/word_ops.ts";
import { lockstepLoop } from "./lockstep_loop.ts";
import type { LockstepLoop } from "./lockstep_loop.ts";
import type { VirtualMachine } from "./machine.ts";
import { TaskPrograms } from "./task.ts";
import { createSched, Op, SchedMetrics } from "../sched/index.ts";
import type { Background, Costs, Sched, TaskSpec, Workload } from "../sched/index.ts";

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

const KIB = 1024;

export class LockstepWorld {
  readonly sched: Sched;
  readonly metrics: SchedMetrics | undefined;
  readonly programs: TaskPrograms;
  readonly run: LockstepLoop["run"];
  /** Events handled so far. */
  readonly steps: () => number;

  constructor(machine: VirtualMachine, config: LockstepConfig) {
    const { cpus, policy, fallback, tickNs, tickPhaseNs, exactSlices } = config;
    const { time, below } = machine;
    const workloadTasks = config.workload.tasks.length;
    const rows = workloadTasks + config.costs.background.length + 1;
    const arena = new Arena(new SharedArrayBuffer(lockstepBytes(cpus, rows)));
    this.metrics = config.metrics ? new SchedMetrics(arena, cpus, rows) : undefined;
    const pending = arena.u8(cpus + 1);
    const { select } = config.costs;
    this.sched = createSched(
      arena,
      { cpus, tasksMax: rows, tickNs, policy, fallback },
      {
        now: machine.now,
        trace: machine.trace,
        locks: noLocks,
        words: plainWords,
        wakePath: () => {
          time[0]! += select;
        },
        // Noted, and settled when the present handler's time has been counted.
        resched: (cpu) => {
          pending[cpu] = pending[cpus] = 1;
        },
      },
      this.metrics,
    );
    const workload = withBackground(machine, config.workload, config.costs.background);
    const costs = config.workload.measured === true ? withoutCalls(config.costs) : config.costs;
    const { sched } = this;
    const programs = new TaskPrograms(arena, workload, sched.task.sumExec, false, costs.sleepCall);
    this.programs = programs;
    const loop = lockstepLoop({
      arena,
      time,
      sched,
      programs,
      costs,
      cpus,
      workloadTasks,
      rows,
      tickNs,
      tickPhaseNs,
      exactSlices,
      below,
      pending,
    });
    this.run = loop.run;
    this.steps = loop.steps;
    for (let cpu = 0; cpu < cpus; cpu++) sched.schedule(cpu, TaskLeft.Runnable);
    for (const [index, spec] of workload.tasks.entries()) {
      const p = sched.addTask(spec.nice, index % cpus);
      if (spec.startNs >= 0) loop.startAt(p, spec.startNs);
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
