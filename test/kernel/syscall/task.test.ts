/** Calls on tasks and time, errno by errno as the man pages have them. */
import { describe, expect, it } from "vitest";
import { EAGAIN, ECHILD, EFAULT, EINVAL, ESRCH } from "../../../kernel/abi/errno.ts";
import type { UserTask } from "../../../kernel/abi/program.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";
import { call, compute, int32, int64, putTimes, runOne, runToEnd, scripted, start } from "../machine_rig.ts";
import type { Body, Script } from "../machine_rig.ts";

const SIGCHLD = 17;
const WNOHANG = 1;

function* fork(): Generator<readonly number[] | number, number, number> {
  return yield* call(Nr.clone, SIGCHLD);
}

const exitWith = (code: number, afterNs = 0): Body =>
  function* (): Script {
    if (afterNs > 0) yield afterNs;
    yield [Nr.exit, code];
  };

describe("wait4()", () => {
  it("gives each child once, with its status; ECHILD without one", async () => {
    await runOne(
      function* (t) {
        expect(yield* call(Nr.wait4, -1, 0, 0)).toBe(ECHILD);
        const child = yield* fork();
        expect(child).toBeGreaterThan(t.pid);
        expect(yield* call(Nr.wait4, child, 4096, 0)).toBe(child);
        expect(int32(t, 4096)).toBe(0x2a00);
        expect(yield* call(Nr.wait4, child, 0, 0)).toBe(ECHILD);
      },
      {},
      exitWith(0x12a),
    );
  });

  it("WNOHANG is 0 while none has ended", async () => {
    await runOne(
      function* () {
        const child = yield* fork();
        expect(yield* call(Nr.wait4, -1, 0, WNOHANG)).toBe(0);
        yield* compute(50_000_000);
        expect(yield* call(Nr.wait4, -1, 0, WNOHANG)).toBe(child);
        expect(yield* call(Nr.wait4, -1, 0, WNOHANG)).toBe(ECHILD);
      },
      {},
      exitWith(0, 5_000_000),
    );
  });

  it("is EINVAL for other options, EFAULT before the child is gone", async () => {
    await runOne(function* () {
      const child = yield* fork();
      expect(yield* call(Nr.wait4, -1, 0, 2 ** 30)).toBe(EINVAL);
      expect(yield* call(Nr.wait4, -1, -4, 0)).toBe(EFAULT);
      expect(yield* call(Nr.wait4, child, 0, 0)).toBe(child);
    });
  });

  it("does not give other people's children: grandchildren, a sibling's", async () => {
    await runOne(
      function* () {
        const child = yield* fork();
        expect(yield* call(Nr.wait4, child + 1, 0, 0)).toBe(ECHILD);
        expect(yield* call(Nr.wait4, -1, 0, 0)).toBe(child);
        expect(yield* call(Nr.wait4, -1, 0, 0)).toBe(ECHILD);
      },
      {},
      function* (t) {
        // The child's own child ends here at once, too; nobody waits for it.
        if (t.words[0] === 0) {
          t.words[0] = 1;
          yield* fork();
        }
      },
    );
  });
});

describe("clone()", () => {
  it("copies words and memory, and the child finds 0", async () => {
    await runOne(
      function* (t) {
        t.words[3] = 77;
        t.memory[5000] = 5;
        const child = yield* fork();
        t.memory[5000] = 6;
        yield* call(Nr.wait4, child, 4096, 0);
        expect(int32(t, 4096)).toBe(0x4d00);
      },
      {},
      function* (t: UserTask) {
        expect([t.result, t.memory[5000]]).toEqual([0, 5]);
        yield [Nr.exit, t.words[3]!];
      },
    );
  });

  it("is EINVAL for flags that nobody models, and EAGAIN when the table is full", async () => {
    await runOne(
      function* () {
        expect(yield* call(Nr.clone, 0x100 | SIGCHLD)).toBe(EINVAL);
        let made = 0;
        let last = 0;
        for (; last >= 0 && made < 100; made++) last = yield* fork();
        expect(last).toBe(EAGAIN);
        for (let n = 1; n < made; n++) expect(yield* call(Nr.wait4, -1, 0, 0)).toBeGreaterThan(0);
        expect(yield* fork()).toBeGreaterThan(0);
        expect(yield* call(Nr.wait4, -1, 0, 0)).toBeGreaterThan(0);
      },
      { rows: 16 },
      exitWith(0, 1_000_000),
    );
  });
});

it("a child whose parent is gone has parent 0, and the reaper puts it away", async () => {
  const started = await start([
    scripted(
      function* () {
        yield* fork();
      },
      function* () {
        yield* compute(20_000_000);
        expect(yield* call(Nr.getppid)).toBe(0);
      },
    ),
  ]);
  runToEnd(started);
  expect(started.machine.system.processes.zombies).toBe(0);
});

describe("nanosleep() and clock_gettime()", () => {
  it("sleep at least as long as asked, and not much longer when nothing else runs", async () => {
    await runOne(function* (t) {
      for (const ns of [1, 1000, 3_000_000, 1_500_000_000]) {
        yield* call(Nr.clock_gettime, 1, 4096);
        const began = int64(t, 4096) * 1e9 + int64(t, 4104);
        putTimes(t, 8192, Math.floor(ns / 1e9), ns % 1e9);
        expect(yield* call(Nr.nanosleep, 8192, 0)).toBe(0);
        yield* call(Nr.clock_gettime, 1, 4096);
        const passed = int64(t, 4096) * 1e9 + int64(t, 4104) - began;
        expect(passed).toBeGreaterThanOrEqual(ns);
        expect(passed).toBeLessThan(ns + 1_000_000);
      }
    });
  });

  it("EINVAL for times and clocks that are none, EFAULT for addresses", async () => {
    await runOne(function* (t) {
      putTimes(t, 4096, 0, 1e9);
      putTimes(t, 4112, -1, 0);
      expect(yield* call(Nr.nanosleep, 4096, 0)).toBe(EINVAL);
      expect(yield* call(Nr.nanosleep, 4112, 0)).toBe(EINVAL);
      expect(yield* call(Nr.nanosleep, 0, 0)).toBe(EFAULT);
      expect(yield* call(Nr.clock_gettime, 99, 4096)).toBe(EINVAL);
      expect(yield* call(Nr.clock_gettime, -1, 4096)).toBe(EINVAL);
      expect(yield* call(Nr.clock_gettime, 1, 0)).toBe(EFAULT);
      expect(yield* call(Nr.clock_gettime, 0, 4096)).toBe(0);
      expect(int64(t, 4096)).toBe(1_767_225_600);
    });
  });
});

it("setpriority(): EINVAL, ESRCH, and values beyond the ends are the ends", async () => {
  const { machine } = await runOne(function* (t) {
    expect(yield* call(Nr.setpriority, 1, 0, 5)).toBe(EINVAL);
    expect(yield* call(Nr.setpriority, 0, 999, 5)).toBe(ESRCH);
    expect(yield* call(Nr.setpriority, 0, 0, 100)).toBe(0);
    expect(yield* call(Nr.setpriority, 0, t.pid, -(2 ** 60))).toBe(0);
  });
  expect(machine.system.sched.task.nice.every((nice) => nice >= -20 && nice <= 19)).toBe(true);
});
