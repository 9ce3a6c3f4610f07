import { expect, it } from "vitest";
import { NS_PER_SEC } from "../../../../kernel/abi/units.ts";
import { LOAD_WORDS, LoadAverage, schedNodes } from "../../../../kernel/fs/pseudo/proc_sched.ts";
import { tree } from "./machine.ts";

const STEP = 5.004 * NS_PER_SEC;

const perCpu =
  (first: number, second: number) =>
  (cpu: number): number =>
    [first, second][cpu]!;

function machine(withQueues = true) {
  const words = new Float64Array(LOAD_WORDS);
  const load = new LoadAverage(words, 0);
  const nodes = schedNodes({
    times: {
      cpus: 2,
      userNs: perCpu(1e9, 2e9),
      niceNs: perCpu(0, 10e6),
      systemNs: perCpu(0.5e9, 0),
      idleNs: perCpu(3.005e9, 3e9),
      iowaitNs: perCpu(0.5e9, 0),
      irqNs: perCpu(19_999_999, 0),
      stolenNs: perCpu(0, 0),
    },
    now: () => 5.029e9,
    bornSec: 1_700_000_000,
    switches: () => 1234,
    interrupts: () => 99,
    forks: () => 12,
    running: () => 3,
    blocked: () => 1,
    tasks: () => 10,
    lastPid: () => 12,
    load,
    ...(withQueues && {
      queues: {
        yields: perCpu(1, 0),
        schedules: perCpu(20, 30),
        idles: perCpu(4, 5),
        wakeups: perCpu(6, 7),
        localWakeups: perCpu(2, 3),
        ranNs: perCpu(1.5e9, 2e9),
        waitedNs: perCpu(100, 200),
        runs: perCpu(16, 25),
      },
    }),
  });
  return { ...tree({ proc: nodes }), load, words };
}

it("stat", () => {
  expect(machine().textOf("/proc/stat", 9)).toBe(
    "cpu  300 1 50 600 50 1 0 0 0 0\ncpu0 100 0 50 300 50 1 0 0 0 0\ncpu1 200 1 0 300 0 0 0 0 0 0\nintr 99\nctxt 1234\n" +
      "btime 1700000000\nprocesses 12\nprocs_running 3\nprocs_blocked 1\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
  );
});

it("uptime and schedstat", () => {
  const { textOf } = machine();
  expect(textOf("/proc/uptime")).toBe("5.02 6.50\n");
  expect(textOf("/proc/schedstat")).toBe(
    "version 15\ntimestamp 4294893553\ncpu0 1 0 20 4 6 2 1500000000 100 16\ncpu1 0 0 30 5 7 3 2000000000 200 25\n",
  );
  const { vfs, task } = machine(false);
  expect(vfs.open(task, "/proc/schedstat", 0)).toBe(-2);
});

it("loadavg is Linux's: every 5 s and a jiffy, rounded up while it rises", () => {
  const { textOf, load, words } = machine();
  expect(textOf("/proc/loadavg")).toBe("0.00 0.00 0.00 3/10 12\n");
  load.tick(STEP - 1, 4);
  expect([load.next, textOf("/proc/loadavg")]).toEqual([STEP, "0.00 0.00 0.00 3/10 12\n"]);
  load.tick(STEP, 4);
  // 4 * (2048 - 1884) / 2048, and so on.
  expect([load.averages, textOf("/proc/loadavg")]).toEqual([[656, 136, 44], "0.32 0.07 0.02 3/10 12\n"]);
  load.tick(1000 * STEP, 4);
  expect(load.averages).toEqual([8192, 8192, 8192]);
  // It goes on from the words alone.
  const again = new LoadAverage(words.slice(), 5);
  again.tick(1001 * STEP, 0);
  expect(again.averages).toEqual([7536, 8056, 8148]);
});
