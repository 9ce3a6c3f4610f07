import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { importTrace } from "../../../harness/trace/import.ts";
import type { Imported } from "../../../harness/trace/import.ts";
import { forEachStretch } from "../../../harness/trace/walk.ts";
import { Ev, TaskLeft, WakeContext } from "../../../kernel/abi/events.ts";
import { EventLog } from "../../../kernel/worlds.ts";
import { Op } from "../../../sched/index.ts";
import { randomLog } from "./random_log.ts";
import { replay } from "./replay_model.ts";

const OP_NAMES = Object.keys(Op);

/** `Run 5 Wake 1 ...` of one task. */
const stepsOf = ({ workload }: Imported, index: number): string =>
  [...workload.tasks[index]!.program.ops]
    .map((op, step) => `${OP_NAMES[op]} ${workload.tasks[index]!.program.args[step]}`)
    .join(" ");

/** CPU time of each process id within the log. */
function cpuNsOf(log: EventLog): Map<number, number> {
  const { fromNs, toNs } = log.spanOf();
  const used = new Map<number, number>();
  forEachStretch(log, (task, _cpu, onNs, offNs) => {
    const ns = Math.min(offNs, toNs) - Math.max(onNs, fromNs);
    if (task !== 0) used.set(task, (used.get(task) ?? 0) + ns);
  });
  return used;
}

const sumOf = ({ workload }: Imported, index: number, wanted: number): number => {
  const { ops, args } = workload.tasks[index]!.program;
  return args.reduce((sum, arg, step) => (ops[step] === wanted ? sum + arg : sum), 0);
};

/** Programs use the recorded CPU time, Wakes and Waits pair up, and any replay ends. */
function check(log: EventLog, replays: number): void {
  const imported = importTrace(log);
  const { workload, pids } = imported;
  const used = cpuNsOf(log);
  for (const [pid, ns] of used) {
    const programmed = pids.reduce((sum, of, index) => (of === pid ? sum + sumOf(imported, index, Op.Run) : sum), 0);
    expect(programmed, `CPU time of ${pid}`).toBeCloseTo(ns, 3);
  }
  for (const index of pids.keys()) {
    const waits = workload.tasks[index]!.program.ops.filter((op) => op === Op.Wait).length;
    const wakes = workload.tasks.reduce(
      (sum, { program }) =>
        sum + program.ops.filter((op, step) => op === Op.Wake && program.args[step] === index).length,
      0,
    );
    expect(wakes, `wakes of task ${index}`).toBe(waits);
  }
  for (let seed = 0; seed < replays; seed++) {
    const outcome = replay(workload, 1 + (seed % 3), seed);
    expect(outcome.ended, "every task ends").toBe(true);
    for (const index of pids.keys())
      expect(outcome.cpuNs[index], `CPU time of task ${index}`).toBeCloseTo(sumOf(imported, index, Op.Run), 3);
  }
}

test.prop([fc.nat(), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 400 })], { seed: 1, numRuns: 200 })(
  "any recording of the rules' making is replayed to its end with the CPU time it had",
  (seed, cpus, steps) => {
    const log = randomLog(seed, steps, cpus);
    if (Math.max(...cpuNsOf(log).values()) > 0) check(log, 3);
  },
);

for (const name of ["sched-golden/linux61-cfs-c4", "sched-traces/linux61-desktop", "sched-traces/linux61-server"])
  it(`${name} is replayed to its end with the CPU time it had`, async () => {
    const { log } = await readFtrace(`test/fixtures/${name}.ftrace.gz`);
    check(log, 2);
  });

const MS = 1e6;
const both = 0;

/** Two CPUs: 1 on CPU 0, 2 on CPU 1, then what the test appends. */
function start(): EventLog {
  const log = new EventLog(2);
  log.append(0, Ev.SchedSwitch, 0, 0, 1, TaskLeft.Runnable, both);
  log.append(0, Ev.SchedSwitch, 1, 0, 2, TaskLeft.Runnable, both);
  return log;
}

it("who woke whom: a task becomes Wake and Wait, an interrupt a Sleep of the blocked time", () => {
  const log = start();
  log.append(3 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Sleeping, both);
  log.append(5 * MS, Ev.SchedWaking, 0, 2, 1, WakeContext.Task, 0);
  log.append(6 * MS, Ev.SchedSwitch, 1, 0, 2, TaskLeft.Runnable, both);
  log.append(7 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Uninterruptible, both);
  log.append(9 * MS, Ev.SchedWaking, 0, 2, 1, WakeContext.Device, 0);
  log.append(9 * MS, Ev.SchedSwitch, 1, 0, 2, TaskLeft.Runnable, both);
  log.append(10 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Dead, both);
  log.append(10 * MS, Ev.SchedSwitch, 0, 1, 0, TaskLeft.Dead, both);
  const imported = importTrace(log);
  expect(stepsOf(imported, 0)).toBe(`Run ${5 * MS} Wake 1 Run ${5 * MS} Exit 0`);
  expect(stepsOf(imported, 1)).toBe(`Run ${3 * MS} Wait 0 Run ${MS} Sleep ${2 * MS} Run ${MS} Exit 0`);
});

it("a waking from idle is a device's, preemption is no step, the end of the recording ends a program", () => {
  const log = start();
  log.append(1 * MS, Ev.SchedSwitch, 0, 1, 0, TaskLeft.Sleeping, both);
  log.append(2 * MS, Ev.SchedSwitch, 1, 2, 3, TaskLeft.Preempted, both);
  log.append(4 * MS, Ev.SchedSwitch, 1, 3, 2, TaskLeft.Runnable, both);
  log.append(5 * MS, Ev.SchedWaking, 0, 1, 0, WakeContext.Task, 0);
  log.append(6 * MS, Ev.SchedSwitch, 0, 0, 1, TaskLeft.Runnable, both);
  log.append(8 * MS, Ev.SchedSwitch, 0, 1, 0, TaskLeft.Sleeping, both);
  const imported = importTrace(log);
  expect(stepsOf(imported, 0)).toBe(`Run ${MS} Sleep ${4 * MS} Run ${2 * MS}`);
  expect(stepsOf(imported, 1)).toBe(`Run ${6 * MS}`);
  expect(stepsOf(imported, 2)).toBe(`Run ${2 * MS}`);
});

it("a waking while the task is on its CPU counts when the task then blocks and nobody else wakes it", () => {
  const log = start();
  log.append(1 * MS, Ev.SchedWaking, 0, 2, 1, WakeContext.Task, 0);
  log.append(2 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Sleeping, both);
  log.append(3 * MS, Ev.SchedSwitch, 1, 0, 2, TaskLeft.Runnable, both);
  log.append(4 * MS, Ev.SchedWaking, 0, 2, 1, WakeContext.Task, 0);
  log.append(5 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Preempted, both);
  log.append(6 * MS, Ev.SchedSwitch, 1, 0, 2, TaskLeft.Runnable, both);
  log.append(6 * MS, Ev.SchedSwitch, 0, 1, 0, TaskLeft.Dead, both);
  const imported = importTrace(log);
  expect(stepsOf(imported, 0)).toBe(`Run ${MS} Wake 1 Run ${5 * MS} Exit 0`);
  expect(stepsOf(imported, 1)).toBe(`Run ${2 * MS} Wait 0 Run ${2 * MS}`);
});

it("a fork becomes Start, and a process id used again becomes another task", () => {
  const log = start();
  const child = 9;
  for (const at of [10, 20]) {
    log.append(at * MS, Ev.SchedFork, 0, 1, child, 0, 0);
    log.append(at * MS, Ev.SchedWakeupNew, 0, child, 1, 0, 0);
    log.append((at + 1) * MS, Ev.SchedSwitch, 1, 2, child, TaskLeft.Preempted, both);
    log.append((at + 2) * MS, Ev.SchedSwitch, 1, child, 2, TaskLeft.Dead, both);
  }
  const imported = importTrace(log);
  expect(imported.pids).toEqual([1, 2, child, child]);
  expect(stepsOf(imported, 0)).toBe(`Run ${10 * MS} Start 2 Run ${10 * MS} Start 3 Run ${2 * MS}`);
  for (const index of [2, 3]) {
    expect(stepsOf(imported, index)).toBe(`Run ${MS} Exit 0`);
    expect(imported.workload.tasks[index]!.startNs).toBe(-1);
  }
});

it("a task that slept when the recording began starts with that sleep", () => {
  const log = start();
  log.append(4 * MS, Ev.SchedWaking, 0, 7, 1, WakeContext.Timer, -5);
  log.append(5 * MS, Ev.SchedWaking, 0, 8, 1, WakeContext.Task, -120);
  log.append(6 * MS, Ev.SchedSwitch, 1, 2, 7, TaskLeft.Runnable, (0 << 8) | (-5 & 0xff));
  log.append(7 * MS, Ev.SchedSwitch, 1, 7, 8, TaskLeft.Sleeping, ((-5 & 0xff) << 8) | (-120 & 0xff));
  log.append(8 * MS, Ev.SchedSwitch, 1, 8, 2, TaskLeft.Sleeping, (-120 & 0xff) << 8);
  const imported = importTrace(log);
  expect(stepsOf(imported, 2)).toBe(`Sleep ${4 * MS} Run ${MS}`);
  expect(stepsOf(imported, 3)).toBe(`Wait 0 Run ${MS}`);
  expect(imported.workload.tasks.map(({ nice }) => nice)).toEqual([0, 0, -5, -20]);
});

it("blocked times by interrupts are kept exactly", async () => {
  const { log } = await readFtrace("test/fixtures/sched-golden/linux61-cfs-c4.ftrace.gz");
  const imported = importTrace(log);
  // The case's last task sleeps 10 ms each time, about 250 times in the window and some before it.
  const longSleeps = imported.workload.tasks.map(
    ({ program: { ops, args } }) =>
      args.filter((ns, step) => ops[step] === Op.Sleep && ns > 9.9 * MS && ns < 10.2 * MS).length,
  );
  expect(Math.max(...longSleeps)).toBeGreaterThan(250);
});

it("a trace that does not say who woke whom is refused in one line", () => {
  const log = start();
  log.append(1, Ev.SchedWakeup, 0, 1, 0, 0, 0);
  expect(() => importTrace(log)).toThrow(/record sched_waking/);
  expect(() => importTrace(new EventLog(1))).toThrow(/nothing to replay/);
});

it("a Wait without its Wake hangs the model (canary)", () => {
  const log = start();
  log.append(3 * MS, Ev.SchedSwitch, 1, 2, 0, TaskLeft.Sleeping, both);
  log.append(5 * MS, Ev.SchedWaking, 0, 2, 1, WakeContext.Task, 0);
  const { workload } = importTrace(log);
  workload.tasks[0]!.program.ops[1] = Op.Run;
  expect(replay(workload, 1, 1).ended).toBe(false);
});
