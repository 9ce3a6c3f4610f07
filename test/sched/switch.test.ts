/** Another policy while tasks run, wait and sleep: what each is told, where tasks stand afterwards, what is refused. */
import { expect, it } from "vitest";
import { EINVAL } from "../../kernel/abi/errno.ts";
import { Ev, TaskLeft } from "../../kernel/abi/events.ts";
import { DSQ_GLOBAL, SLICE_DFL } from "../../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel } from "../../kernel/abi/sched.ts";
import { checkSched, eevdf, fifo, rr, TaskState } from "../../sched/index.ts";
import { SchedRig } from "../../fuzz/sched_rig.ts";

const CFS = 1;
const OTHER = 2;

/** Its tasks wait with the policy itself, on a list that is its own. */
const noting =
  (name: string, calls: string[]): PolicyFactory =>
  (k) => {
    const links = k.perTask();
    const note = (text: string): void => void calls.push(`${name} ${text}`);
    let head = 0;
    note("made");
    return {
      name,
      init: () => note("init"),
      exit: () => note("exit"),
      initTask: (p) => note(`initTask ${p}`),
      exitTask: (p) => note(`exitTask ${p}`),
      enable: (p) => note(`enable ${p}`),
      disable: (p) => note(`disable ${p}`),
      runnable: (p) => note(`runnable ${p}`),
      enqueue: (p) => {
        note(`enqueue ${p}`);
        let last = -1;
        for (let q = head; q !== 0; q = links[q]!) last = q;
        if (last < 0) head = p;
        else links[last] = p;
        links[p] = 0;
      },
      dequeue: (p) => note(`dequeue ${p}`),
      dispatch: () => {
        if (head === 0) return;
        const p = head;
        head = links[p]!;
        k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0);
      },
      running: (p) => note(`running ${p}`),
      stopping: (p) => note(`stopping ${p} after ${k.task.sumExec[p]}`),
      quiescent: (p) => note(`quiescent ${p}`),
    };
  };

/** One CPU: task 1 sleeps, 2 runs, 3 and 4 wait. */
function loaded(policy: PolicyFactory, others: readonly PolicyFactory[]): SchedRig {
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 4, policy, others });
  for (let task = 0; task < 4; task++) rig.fork(-1);
  rig.settle();
  rig.time[0]! += 1000;
  rig.sched.schedule(0, TaskLeft.Sleeping);
  rig.settle();
  expect([...rig.sched.task.state.subarray(1, 5)]).toEqual([
    TaskState.Sleeping,
    TaskState.Running,
    TaskState.Queued,
    TaskState.Queued,
  ]);
  return rig;
}

it("the old one is told that its tasks go, the new one has what runs before what waits", () => {
  const calls: string[] = [];
  const rig = loaded(noting("a", calls), [noting("b", calls)]);
  calls.length = 0;
  rig.time[0]! += 500;
  expect(rig.sched.switchTo(OTHER)).toBe(0);
  // oxfmt-ignore
  expect(calls).toEqual([
    "b made", "b init",
    "a stopping 2 after 500", "a quiescent 2", "a dequeue 3", "a dequeue 4",
    ...[1, 2, 3, 4].flatMap((p) => [`a disable ${p}`, `a exitTask ${p}`]), "a exit",
    ...[1, 2, 3, 4].flatMap((p) => [`b initTask ${p}`, `b enable ${p}`]),
    "b runnable 2", "b running 2", "b runnable 3", "b enqueue 3", "b runnable 4", "b enqueue 4",
  ]);
  expect([rig.sched.rules(), rig.sched.policy().name, rig.sched.ejected(), [...rig.asked]]).toEqual([
    2,
    "b",
    false,
    [0],
  ]);
  checkSched(rig.sched);
  calls.length = 0;
  expect(rig.sched.switchTo(OTHER)).toBe(0);
  expect(calls).toEqual([]);
  expect(rig.drain()).toBe(true);
});

it("what waited longest is placed first, wherever it waited", () => {
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 4, policy: eevdf, others: [fifo] });
  for (let task = 0; task < 4; task++) rig.fork(-1);
  rig.settle();
  const { sched, time } = rig;
  const runs = sched.running(0);
  const order = [4, 3, 2, 1].filter((p) => p !== runs);
  time[0]! += 10;
  for (const [at, p] of order.entries()) sched.task.waitSince[p] = at;
  expect(sched.switchTo(OTHER)).toBe(0);
  expect(sched.running(0)).toBe(runs);
  expect(order.map(() => sched.schedule(0, TaskLeft.Sleeping))).toEqual(order);
});

it("a policy that comes again begins anew, with the same memory and queues", () => {
  const seen: unknown[] = [];
  const keeping: PolicyFactory = (k: SchedKernel) => {
    const [numbers, words, queue] = [k.perTask(), k.words(7), k.createDsq()];
    seen.push([numbers.every((n) => n === 0), words.every((n) => n === 0), queue, numbers]);
    return {
      name: "keeping",
      initTask: (p) => {
        numbers[p] = 9;
        words[1] = 9;
      },
      enqueue: (p, flags) => k.dsqInsert(p, queue, SLICE_DFL, flags),
      dispatch: (cpu) => void k.dsqMoveToLocal(queue, cpu),
    };
  };
  const rig = loaded(keeping, [rr]);
  for (const policy of [OTHER, 0, CFS, 0, OTHER]) {
    expect(rig.sched.switchTo(policy)).toBe(0);
    checkSched(rig.sched);
    rig.time[0]! += 1e6;
    rig.sched.tick(0);
    rig.settle();
  }
  expect(seen.length).toBe(3);
  for (const again of seen) expect(again).toEqual(seen[0]);
  expect((seen[0] as unknown[]).slice(0, 3)).toEqual([true, true, 2]);
  expect(rig.drain()).toBe(true);
});

it("under cfs all begin side by side, however much each has run: nobody has to catch up", () => {
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 3, policy: fifo });
  const { sched, time } = rig;
  for (let task = 0; task < 3; task++) sched.wakeNew(sched.addTask(0, 0), 0, 0);
  rig.settle();
  // Task 1 has run for a minute.
  time[0]! += 60e9;
  expect(sched.switchTo(CFS)).toBe(0);
  rig.settle();
  const before = sched.task.sumExec.slice();
  for (let tick = 0; tick < 300; tick++) {
    time[0]! += 4e6;
    sched.tick(0);
    rig.settle();
  }
  sched.account(0);
  const shares = [1, 2, 3].map((p) => (sched.task.sumExec[p]! - before[p]!) / 1.2e9);
  for (const share of shares) expect(share).toBeCloseTo(1 / 3, 1);
});

const rude: PolicyFactory = (k) => ({
  ...fifo(k),
  enqueue: () => {
    throw new Error("no");
  },
});

it("one that does not come up is EINVAL and changes nothing; one that errs as it takes over is ejected", () => {
  let left = 1;
  const once: PolicyFactory = (k) => {
    if (left-- <= 0) throw new Error("not again");
    return eevdf(k);
  };
  const greedier: PolicyFactory = (k) => {
    for (let n = 0; n <= -left; n++) k.perTask();
    return eevdf(k);
  };
  const events: number[][] = [];
  const rig = new SchedRig({
    seed: 1,
    cpus: 2,
    tasks: 9,
    policy: rr,
    others: [once, greedier, rude],
    trace: (type, _cpu, a, b) => void (type === Ev.SchedPolicy && events.push([a, b])),
  });
  for (let task = 0; task < 9; task++) rig.fork(-1);
  rig.settle();
  left = 0;
  expect(rig.sched.switchTo(OTHER)).toBe(EINVAL);
  left = -3;
  expect(rig.sched.switchTo(3)).toBe(EINVAL);
  expect([rig.sched.rules(), rig.sched.ejected(), events]).toEqual([0, false, []]);
  checkSched(rig.sched);
  expect(rig.sched.switchTo(4)).toBe(0);
  expect([rig.sched.rules(), rig.sched.ejected(), rig.sched.ejectMessage()]).toEqual([CFS, true, "enable: no"]);
  expect(events).toEqual([
    [4, 0],
    [CFS, 4],
  ]);
  checkSched(rig.sched);
  expect(rig.sched.switchTo(0)).toBe(0);
  expect(rig.drain()).toBe(true);
});

it("what was set of a policy stays when it goes and comes again, and it runs by it", () => {
  const rig = new SchedRig({ seed: 1, cpus: 1, tasks: 3, policy: rr, others: [eevdf] });
  const { sched, time } = rig;
  for (let task = 0; task < 3; task++) sched.wakeNew(sched.addTask(0, 0), 0, 0);
  const turns = (): number => {
    rig.settle();
    let [count, last] = [0, sched.running(0)];
    for (let tick = 0; tick < 300; tick++) {
      time[0]! += 4e6;
      sched.tick(0);
      rig.settle();
      if (sched.running(0) !== last) count++;
      last = sched.running(0);
    }
    return count;
  };
  const [timeslice] = sched.tunables(0);
  expect(timeslice).toMatchObject({ name: "timeslice_ns", least: 1 });
  expect(turns()).toBe(12);
  timeslice!.value[0] = 20e6;
  turns();
  expect(turns()).toBe(60);
  const [base] = sched.tunables(OTHER);
  expect([base!.name, base!.value[0]]).toEqual(["base_slice_ns", 700_000]);
  expect(sched.switchTo(OTHER)).toBe(0);
  expect(turns()).toBe(300);
  base!.value[0] = 40e6;
  turns();
  expect(turns()).toBeLessThan(100);
  expect(sched.switchTo(0)).toBe(0);
  expect(turns()).toBe(60);
  expect(sched.switchTo(CFS)).toBe(0);
  const [latency, granularity] = sched.tunables(CFS);
  expect(turns()).toBe(300);
  latency!.value[0] = granularity!.value[0] = 100e6;
  turns();
  expect(turns()).toBeLessThan(13);
});

const asks =
  (name: string, value: number, times = 1): PolicyFactory =>
  (k) => {
    for (let time = 0; time < times; time++) k.tunable(name, value, 1, 10);
    return rr(k);
  };
const made = (policy: PolicyFactory) => () => new SchedRig({ seed: 1, cpus: 1, tasks: 1, policy });

it("a tunable that is none is refused as the policy comes up", () => {
  expect(made(asks("a", 5))).not.toThrow();
  expect(made(asks("a", 11))).toThrow("a is 11, which is no whole number from 1 to 10");
  expect(made(asks("../a", 5))).toThrow("is no name");
  expect(made(asks("a", 5, 2))).toThrow("is there twice");
});

it("tasks that a policy puts into queues as it leaves are the next one's, once", () => {
  const rigs: SchedRig[] = [];
  const clinging: PolicyFactory = (k) => ({
    ...fifo(k),
    exitTask: (p) => {
      if (rigs[0]!.sched.task.state[p] === TaskState.Queued) k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0);
    },
  });
  rigs.push(loaded(clinging, [eevdf]));
  const [rig] = rigs as [SchedRig];
  expect(rig.sched.switchTo(OTHER)).toBe(0);
  checkSched(rig.sched, new Float64Array(rig.sched.tasksMax));
  expect(rig.drain()).toBe(true);
  expect(rig.sched.ejected()).toBe(false);
});
