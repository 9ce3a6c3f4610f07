/**
 * The one contract of every scheduling policy, ours and a user's: whatever comes in whatever order, no task is lost or
 * runs twice at once, CPU time is conserved, and each policy keeps what it promises.
 *
 *   policyContract("las", policy, { waitNs: (tasks, cpus) => ... }, [{ test: "...", why: "..." }])
 *
 * A test that a policy need not pass is left out by its title, with the reason in the report.
 */
import { describe, expect, it } from "vitest";
import { SchedRig } from "../../fuzz/sched_rig.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import { boot } from "../../kernel/worlds.ts";
import { COSTS, Op, TaskState, checkSched, closedWorkload, eevdf, fifo, rr } from "../../sched/index.ts";

export interface PolicyPromise {
  /** Longest that one of so many hogs of nice 0 waits for its turn, ns; left out: there is no bound. */
  readonly waitNs?: (tasks: number, cpus: number) => number;
}

export interface LeftOut {
  readonly test: string;
  readonly why: string;
}

const TICK_NS = 4_000_000;
const MANY = 10_000;

export function policyContract(
  name: string,
  policy: PolicyFactory,
  promise: PolicyPromise,
  leftOut: readonly LeftOut[] = [],
): void {
  const clause = (title: string, body: () => void | Promise<void>): void => {
    const why = leftOut.find(({ test }) => test === title)?.why;
    it.skipIf(why !== undefined)(why === undefined ? title : `${title} (left out: ${why})`, body);
  };

  describe(`policy ${name}`, () => {
    it("every test that is left out exists", () => {
      for (const { test } of leftOut) expect(TITLES).toContain(test);
    });

    clause("no task is lost or runs twice, 1 to 64 CPUs, with forks, exits and changes of nice", () => {
      for (const [cpus, tasks] of [
        [1, 1],
        [1, 12],
        [2, 9],
        [8, 40],
        [64, 100],
      ] as const)
        survives(policy, { seed: cpus + tasks, cpus, tasks });
    });

    clause("a task runs only where its affinity allows", () => {
      for (const cpus of [2, 5]) survives(policy, { seed: cpus, cpus, tasks: 16, affinity: true });
    });

    clause("it comes and goes while the machine works, and no task is lost", () => {
      for (const [cpus, tasks] of [
        [1, 9],
        [3, 16],
        [16, 50],
      ] as const)
        survives(policy, { seed: cpus + tasks, cpus, tasks, affinity: cpus === 3, others: [fifo, rr, eevdf] });
    });

    clause("no CPU idles while a task waits", () => {
      const rig = new SchedRig({ seed: 5, cpus: 4, tasks: 12, policy });
      const { sched } = rig;
      let waited = 0;
      for (let step = 0; step < 2_000; step++) {
        rig.step();
        expect(rig.settle(), "CPUs ask each other for ever").toBe(true);
        const waiting = sched.task.state.includes(TaskState.Queued);
        if (waiting) waited++;
        if (waiting && sched.cpu.idle[0] !== 0) expect.fail(`step ${step}: a CPU idles, a task waits`);
      }
      expect(waited).toBeGreaterThan(200);
    });

    clause("every hog gets its turn within the promise", () => {
      for (const [tasks, cpus] of [
        [2, 1],
        [7, 1],
        [12, 4],
      ] as const)
        expect(longestWait(policy, tasks, cpus)).toBeLessThanOrEqual(promise.waitNs!(tasks, cpus));
    });

    clause("10,000 tasks", () => {
      const rig = new SchedRig({ seed: 1, cpus: 4, tasks: MANY, policy });
      for (let task = 0; task < MANY; task++) rig.fork(-1);
      checkSched(rig.sched);
      expect(rig.drain()).toBe(true);
      expect(rig.sched.ejected(), rig.sched.ejectMessage()).toBe(false);
    });

    clause("a whole workload is done, uses the CPU time it asked for, and is the same run again", async () => {
      const first = await wholeRun(policy);
      expect(await wholeRun(policy)).toBe(first);
    });
  });
}

const TITLES: readonly string[] = [
  "no task is lost or runs twice, 1 to 64 CPUs, with forks, exits and changes of nice",
  "a task runs only where its affinity allows",
  "it comes and goes while the machine works, and no task is lost",
  "no CPU idles while a task waits",
  "every hog gets its turn within the promise",
  "10,000 tasks",
  "a whole workload is done, uses the CPU time it asked for, and is the same run again",
];

interface Machine {
  readonly seed: number;
  readonly cpus: number;
  readonly tasks: number;
  readonly affinity?: boolean;
  readonly others?: readonly PolicyFactory[];
}

function survives(policy: PolicyFactory, machine: Machine): void {
  const rig = new SchedRig({ ...machine, policy });
  const seen = new Float64Array(rig.sched.tasksMax);
  for (let step = 0; step < 1_000; step++) {
    rig.step();
    checkSched(rig.sched, seen);
  }
  expect(rig.drain(), "a task is left that nobody runs").toBe(true);
  checkSched(rig.sched, seen);
  expect(rig.sched.ejected(), rig.sched.ejectMessage()).toBe(false);
}

/** Hogs under ticks alone for a while; the longest that one stood in a queue. */
function longestWait(policy: PolicyFactory, tasks: number, cpus: number): number {
  const rig = new SchedRig({ seed: 1, cpus, tasks, policy });
  const { sched, time } = rig;
  for (let p = 1; p <= tasks; p++) sched.wakeNew(sched.addTask(0, p % cpus), p % cpus, 0);
  let longest = 0;
  for (let tick = 0; tick < 250 * tasks; tick++) {
    for (let p = 1; p <= tasks; p++)
      if (sched.task.state[p] === TaskState.Queued) longest = Math.max(longest, time[0]! - sched.task.waitSince[p]!);
    for (let cpu = 0; cpu < cpus; cpu++) sched.tick(cpu);
    expect(rig.settle()).toBe(true);
    time[0]! += TICK_NS;
    if (tick % 50 === 0) sched.watchdog();
  }
  expect(sched.ejected(), sched.ejectMessage()).toBe(false);
  return longest;
}

const exponential = (mean: number) => ({ kind: "exponential", mean }) as const;

async function wholeRun(policy: PolicyFactory): Promise<string> {
  const workload = closedWorkload({
    seed: 2,
    tasks: 20,
    rounds: 20,
    burstNs: exponential(2e6),
    sleepNs: exponential(5e6),
  });
  const { world, machine } = await boot({
    features: ["EVENT_HASH", "SCHED_STATS", "SCHED_CUSTOM"],
    seed: 1,
    cpus: 3,
    workload,
    costs: COSTS.none,
    policy,
  });
  const { sched } = world;
  const seen = new Float64Array(sched.tasksMax);
  const used = new Float64Array(sched.tasksMax);
  while (world.run(1e12, 1)) {
    checkSched(sched, seen);
    for (let p = 1; p < sched.tasksMax; p++) if (sched.task.sumExec[p]! > 0) used[p] = sched.task.sumExec[p]!;
    if (world.programs.allExited) break;
  }
  expect(sched.ejected(), sched.ejectMessage()).toBe(false);
  expect(world.programs.allExited).toBe(true);
  for (const [index, { program }] of workload.tasks.entries()) {
    const asked = program.args.reduce((sum, ns, step) => sum + (program.ops[step] === Op.Run ? ns : 0), 0);
    expect(used[index + 1]).toBe(asked);
  }
  return machine.hash!.hex();
}
