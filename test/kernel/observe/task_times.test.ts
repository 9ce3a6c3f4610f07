/** Where CPU time goes, from events alone, and that PSI's counts end where they began. */
import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { Ev, SysEv, TaskLeft } from "../../../kernel/abi/events.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import { Arena } from "../../../kernel/lib/arena.ts";
import { TaskTimes } from "../../../kernel/observe/task_times.ts";
import { Wait } from "../../../kernel/wait.ts";
import { Psi } from "../../../mm/index.ts";

const SEED = 20_261_128;
const [ROWS, CPUS] = [6, 2];
const { Dead, Preempted, Sleeping, Uninterruptible } = TaskLeft;

function made(): { readonly times: TaskTimes; readonly at: { now: number } } {
  const at = { now: 0 };
  const now = (): Nanos => at.now as Nanos;
  const psi = new Psi({ now }, CPUS);
  const arena = new Arena(new SharedArrayBuffer(TaskTimes.bytes(ROWS, CPUS)));
  return { times: new TaskTimes(arena, ROWS, CPUS, { now, psi, thrashes: () => false }), at };
}

describe("a CPU", () => {
  it("is busy while a task is on it, in iowait while its task waits for the disk, else idle", () => {
    const { times, at } = made();
    times.take(Ev.SchedWakeupNew, 0, 3, 0, 0);
    times.take(Ev.SchedSwitch, 0, 0, 3, 0);
    at.now = 100;
    times.take(SysEv.Sleep, 0, 3, Wait.Data, 0);
    times.take(Ev.SchedSwitch, 0, 3, 0, Uninterruptible);
    expect([times.runnable, times.blocked]).toEqual([0, 1]);
    at.now = 130;
    times.take(Ev.SchedWakeup, 0, 3, 1, 0);
    expect([times.runnable, times.blocked]).toEqual([1, 0]);
    at.now = 137;
    for (const cpu of [0, 1]) times.settle(cpu);
    expect([[...times.busyNs], [...times.iowaitNs], [...times.idleNs]]).toEqual([
      [100, 0],
      [30, 0],
      [7, 137],
    ]);
  });

  it("is idle, and not in iowait, when its task waits for a pipe", () => {
    const { times, at } = made();
    times.take(Ev.SchedWakeupNew, 0, 3, 0, 0);
    times.take(Ev.SchedSwitch, 0, 0, 3, 0);
    times.take(SysEv.Sleep, 0, 3, Wait.Pipe, 0);
    times.take(Ev.SchedSwitch, 0, 3, 0, Sleeping);
    at.now = 50;
    times.settle(0);
    expect([times.iowaitNs[0], times.idleNs[0], times.blocked]).toEqual([0, 50, 0]);
  });
});

const asleep = (): ReturnType<typeof made> => {
  const all = made();
  all.times.take(Ev.SchedWakeupNew, 0, 3, 0, 0);
  all.times.take(Ev.SchedSwitch, 0, 0, 3, 0);
  all.times.take(SysEv.Sleep, 0, 3, Wait.Storage, 0);
  return all;
};
const leave = (times: TaskTimes): void => times.take(Ev.SchedSwitch, 0, 3, 0, Uninterruptible);

describe("whose call somebody else works on", () => {
  it("waits for a disk from when that one says so until it says something else", () => {
    const { times, at } = asleep();
    leave(times);
    at.now = 10;
    times.blocks(3, true, false);
    expect(times.blocked).toBe(1);
    at.now = 35;
    times.blocks(3, false, false);
    at.now = 40;
    times.take(Ev.SchedWakeup, 0, 3, 0, 0);
    times.settle(0);
    expect([times.idleNs[0], times.iowaitNs[0], times.blocked]).toEqual([15, 25, 0]);
  });

  it("may be told so before it has left its CPU", () => {
    const { times, at } = asleep();
    at.now = 5;
    times.blocks(3, true, true);
    expect(times.blocked).toBe(0);
    leave(times);
    expect(times.blocked).toBe(1);
    at.now = 9;
    times.take(Ev.SchedWakeup, 0, 3, 1, 0);
    times.settle(0);
    expect([times.busyNs[0], times.iowaitNs[0], times.blocked]).toEqual([5, 4, 0]);
  });
});

const op = fc.record({
  task: fc.integer({ min: 1, max: ROWS - 1 }),
  cpu: fc.nat(CPUS - 1),
  what: fc.nat(5),
  ns: fc.nat(50),
});

test.prop([fc.array(op, { maxLength: 200 })], { seed: SEED })(
  "no time is lost and no count falls below 0, whatever happens",
  (ops) => {
    const { times, at } = made();
    const on: number[] = [0, 0];
    const state = new Map<number, "gone" | "queued" | "asleep" | "disk">();
    const queuedOn = new Map<number, number>();
    for (const { task, cpu, what, ns } of ops) {
      at.now += ns;
      const is = state.get(task) ?? "gone";
      const running = on.indexOf(task);
      if (running >= 0) {
        if (what > 3) continue;
        if (what === 1) times.take(SysEv.Sleep, running, task, Wait.Journal, 0);
        if (what === 2) times.take(SysEv.Sleep, running, task, Wait.Timer, 0);
        times.take(Ev.SchedSwitch, running, task, 0, [Preempted, Uninterruptible, Sleeping, Dead][what]!);
        state.set(task, (["queued", "disk", "asleep", "gone"] as const)[what]!);
        queuedOn.set(task, running);
        on[running] = 0;
      } else if (is !== "queued") {
        times.take(is === "gone" ? Ev.SchedWakeupNew : Ev.SchedWakeup, cpu, task, cpu, 0);
        state.set(task, "queued");
        queuedOn.set(task, cpu);
      } else if (what < 3 && on[cpu] === 0) {
        if (queuedOn.get(task) !== cpu) times.take(Ev.SchedMigrate, cpu, task, queuedOn.get(task)!, cpu);
        times.take(Ev.SchedSwitch, cpu, 0, task, 0);
        on[cpu] = task;
      }
      const all = [...state.values()];
      expect(times.blocked).toBe(all.filter((found) => found === "disk").length);
      expect(times.runnable).toBe(all.filter((found) => found === "queued").length);
      for (let c = 0; c < CPUS; c++) {
        times.settle(c);
        expect(times.busyNs[c]! + times.idleNs[c]! + times.iowaitNs[c]!).toBe(at.now);
      }
    }
  },
);
