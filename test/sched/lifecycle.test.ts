/** The order in which a policy's operations are called, as sched_ext has it: a policy that writes down what it is told. */
import { expect, it } from "vitest";
import { TaskLeft, WakeContext } from "../../kernel/abi/events.ts";
import { DSQ_GLOBAL, DSQ_LOCAL, SLICE_DFL } from "../../kernel/abi/sched.ts";
import type { PolicyFactory, SchedPolicy } from "../../kernel/abi/sched.ts";
import { SchedRig } from "../../fuzz/sched_rig.ts";
import { boot } from "../../kernel/worlds.ts";
import { COSTS, Op, cfs, eevdf } from "../../sched/index.ts";
import type { Workload } from "../../sched/index.ts";

const noteIn =
  (calls: string[]) =>
  (name: string, p?: number): void =>
    void calls.push(p === undefined ? name : `${name} ${p}`);

/** All operations, each written down as `name` or `name argument`. */
const recording =
  (calls: string[], direct = false): PolicyFactory =>
  (k) => {
    const note = noteIn(calls);
    return {
      name: "recording",
      init: () => note("init"),
      exit: () => note("exit"),
      initTask: (p) => note("initTask", p),
      exitTask: (p) => note("exitTask", p),
      enable: (p) => note("enable", p),
      disable: (p) => note("disable", p),
      selectCpu: (p, prev) => {
        note("selectCpu", p);
        if (direct) k.dsqInsert(p, DSQ_LOCAL, SLICE_DFL, 0);
        return prev;
      },
      runnable: (p) => note("runnable", p),
      enqueue: (p, flags) => {
        note("enqueue", p);
        k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags);
      },
      dequeue: (p) => note("dequeue", p),
      dispatch: () => note("dispatch"),
      running: (p) => note("running", p),
      tick: (p) => note("tick", p),
      stopping: (p, runnable) => note(runnable ? "stopping, runnable," : "stopping", p),
      quiescent: (p) => note("quiescent", p),
      setWeight: (p) => note("setWeight", p),
    } satisfies Required<Omit<SchedPolicy, keyof PolicyFlags>>;
  };
interface PolicyFlags {
  timeoutMs: number;
  perCpuQueues: boolean;
  irqTimeAccounting: boolean;
  sliceEndsOnAccount: boolean;
}

it("a task's life: one run, one sleep, one run, exit", async () => {
  const calls: string[] = [];
  const workload: Workload = {
    tasks: [
      {
        name: "one",
        nice: 0,
        startNs: 0,
        program: {
          ops: Uint8Array.of(Op.Run, Op.Sleep, Op.Run),
          args: Float64Array.of(5e6, 1e6, 1e6),
          loopTo: -1,
        },
      },
    ],
  };
  const { world } = await boot({
    features: ["SCHED_CUSTOM"],
    seed: 1,
    cpus: 1,
    workload,
    costs: COSTS.none,
    policy: recording(calls),
  });
  world.run(1e12);
  // oxfmt-ignore
  expect(calls.filter((call) => call !== "tick 1")).toEqual([
    "init",
    "dispatch",
    "initTask 1", "enable 1",
    "selectCpu 1", "runnable 1", "enqueue 1", "running 1", "stopping 1", "quiescent 1", "dispatch",
    "selectCpu 1", "runnable 1", "enqueue 1", "running 1", "stopping 1", "quiescent 1", "dispatch",
    "disable 1", "exitTask 1",
  ]);
  expect(calls).toContain("tick 1");
  expect(calls.indexOf("tick 1")).toBeGreaterThan(calls.indexOf("running 1"));
  expect(calls.indexOf("tick 1")).toBeLessThan(calls.indexOf("stopping 1"));
});

it("two tasks take turns: the stopped one is put back before the next one runs", () => {
  const calls: string[] = [];
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 2, policy: recording(calls) });
  for (let task = 0; task < 2; task++) rig.fork(-1);
  rig.settle();
  calls.length = 0;
  rig.time[0]! += SLICE_DFL;
  rig.sched.tick(0);
  rig.settle();
  expect(calls).toEqual(["tick 1", "stopping, runnable, 1", "enqueue 1", "running 2"]);
});

it("a task alone keeps the CPU when its slice is over, after dispatch found nobody", () => {
  const calls: string[] = [];
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 1, policy: recording(calls) });
  rig.fork(-1);
  rig.settle();
  calls.length = 0;
  rig.time[0]! += SLICE_DFL;
  rig.sched.tick(0);
  rig.settle();
  expect(calls).toEqual(["tick 1", "dispatch"]);
  expect(rig.sched.task.slice[1]).toBe(SLICE_DFL);
});

it("what selectCpu inserted is not enqueued again", () => {
  const calls: string[] = [];
  const rig = new SchedRig({ seed: 1, cpus: 2, tasks: 1, policy: recording(calls, true) });
  const p = rig.sched.addTask(0, 1);
  calls.length = 0;
  rig.sched.wakeNew(p, 0, 0);
  expect(rig.sched.dsqs.count(1)).toBe(1);
  rig.settle();
  expect(calls).toEqual(["selectCpu 1", "runnable 1", "running 1"]);
  expect(rig.sched.running(1)).toBe(p);
});

it("a change of nice takes a waiting task off and puts it back, and stops a running one for a moment", () => {
  const calls: string[] = [];
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 3, policy: recording(calls) });
  for (let task = 0; task < 3; task++) rig.fork(-1);
  rig.settle();
  rig.sched.schedule(0, TaskLeft.Sleeping);
  calls.length = 0;
  // Task 1 sleeps, 2 runs, 3 waits on the global queue, from which the core takes it without the policy.
  for (const p of [1, 2, 3]) rig.sched.setNice(p, 5);
  // oxfmt-ignore
  expect(calls).toEqual([
    "setWeight 1",
    "stopping, runnable, 2", "setWeight 2", "running 2",
    "setWeight 3", "enqueue 3",
  ]);
  expect(rig.sched.task.weight[3]).toBe(33);
  expect(rig.sched.wake(1, 0, WakeContext.Timer)).toBe(true);
  expect(rig.sched.wake(1, 0, WakeContext.Timer)).toBe(false);
});

const shared: PolicyFactory = (k) => ({
  name: "shared",
  enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags),
});

it("work that is queued on a busy CPU wakes an idle one", () => {
  for (const policy of [shared, cfs, eevdf]) {
    const stays: PolicyFactory = (k) => ({ ...policy(k), selectCpu: (_p, prev) => prev });
    const rig = new SchedRig({ seed: 1, cpus: 2, tasks: 2, policy: stays });
    const { sched } = rig;
    const [one, two] = [sched.addTask(0, 0), sched.addTask(0, 0)];
    sched.wakeNew(one, 0, 0);
    rig.settle();
    sched.wakeNew(two, 0, one);
    expect(rig.asked.has(1), sched.policy().name).toBe(true);
    rig.settle();
    expect(new Set([sched.running(0), sched.running(1)]), sched.policy().name).toEqual(new Set([one, two]));
  }
});
