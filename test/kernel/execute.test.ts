/** How tasks are stepped: numbers nobody answers, what registers hold, and tasks that are killed wherever they are. */
import { describe, expect, it } from "vitest";
import { EBADF, EFAULT, ENOSYS } from "../../kernel/abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_DSYNC, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { Nr, NR_MAX } from "../../kernel/abi/syscall_nr.ts";
import type { BootedMachine } from "../../kernel/index.ts";
import { HDD } from "../../drivers/index.ts";
import { Kind } from "../../kernel/process.ts";
import { Wait, WAIT_NAMES } from "../../kernel/wait.ts";
import {
  call,
  compute,
  expectAtRest,
  int32,
  putTimes,
  runOne,
  runToEnd,
  scripted,
  start,
  text,
} from "./machine_rig.ts";
import type { Body } from "./machine_rig.ts";

const SIGKILL = 9;
const POPULATE = 0x8022;

describe("a call", () => {
  it("that nobody answers is ENOSYS, by whatever number", async () => {
    const known = new Set<number>(Object.values(Nr));
    await runOne(function* () {
      for (let nr = 0; nr <= NR_MAX; nr++) if (!known.has(nr)) expect(yield* call(nr)).toBe(ENOSYS);
      for (const nr of [NR_MAX + 1, 5000, -1, -100, 0.5, 2 ** 31, 2 ** 32 + Nr.getpid, 2 ** 53, Infinity, NaN])
        expect(yield* call(nr)).toBe(ENOSYS);
    });
  });

  it("sees whole numbers: what a register holds of a fraction, and 0 of what is no number", async () => {
    await runOne(function* (t) {
      expect(yield* call(Nr.close, 0.9)).toBe(EBADF);
      expect(yield* call(Nr.openat, AT_FDCWD + 0.5, text(t, "/x") + 0.5, O_RDWR | O_CREAT, 0o600)).toBe(0);
      expect(yield* call(Nr.write, 0, NaN, Infinity)).toBe(0);
      expect(yield* call(Nr.write, 0, NaN, 4.5)).toBe(EFAULT);
      expect(yield* call(Nr.close, -0)).toBe(0);
    });
  });
});

it("a program that says two things at once is stopped by an assertion, as is none that says nothing", async () => {
  const { machine } = await start([
    {
      name: "both",
      step(task) {
        task.run(1);
        task.call(Nr.getpid);
      },
    },
  ]);
  expect(() => machine.system.run(1e9)).toThrow(/two things at once/);
  runToEnd(await start([{ name: "none", step: () => undefined }]));
});

/** Programs that come to wait on each channel, and never end by themselves. */
const WAITERS: Readonly<Record<string, Body>> = {
  pipe: function* (t) {
    yield* call(Nr.pipe2, 4096, 0);
    yield* call(Nr.read, int32(t, 4096), 8192, 10);
  },
  "a full pipe": function* (t) {
    yield* call(Nr.pipe2, 4096, 0);
    for (;;) yield* call(Nr.write, int32(t, 4100), 8192, 50_000);
  },
  timer: function* (t) {
    yield* call(Nr.nanosleep, putTimes(t, 4096, 10 ** 6, 0), 0);
  },
  child: function* () {
    yield* call(Nr.clone, 17);
    yield* call(Nr.wait4, -1, 0, 0);
  },
  memory: function* () {
    for (;;) yield* call(Nr.mmap, 0, 1000 * 4096, 3, POPULATE, -1, 0);
  },
  "the disk": function* (t) {
    const fd = yield* call(Nr.openat, AT_FDCWD, text(t, `/${t.pid}`), O_RDWR | O_CREAT, 0o600);
    for (;;) {
      yield* call(Nr.pwrite64, fd, 4096, 50_000, t.below(100) * 4096);
      yield* call(Nr.fsync, fd);
    }
  },
  "a file that changes its length": function* (t) {
    const fd = yield* call(Nr.openat, AT_FDCWD, text(t, `/${t.pid}`), O_RDWR | O_CREAT | O_DSYNC, 0o600);
    for (;;) {
      yield* call(Nr.write, fd, 4096, 60_000);
      yield* call(Nr.fallocate, fd, 0, 0, 400_000);
      yield* call(Nr.ftruncate, fd, 0);
    }
  },
  names: function* (t) {
    for (let n = 0; ; n++) {
      yield* call(Nr.mkdirat, AT_FDCWD, text(t, `/d${t.pid}.${n % 50}`), 0o700);
      yield* call(Nr.renameat2, AT_FDCWD, 64, AT_FDCWD, text(t, `/e${n % 50}`, 400), 0);
      yield* call(Nr.unlinkat, AT_FDCWD, 400, 0x200);
    }
  },
  nothing: function* () {
    for (;;) yield* compute(1_000_000);
  },
};
/** A child that waits, too. */
const child: Body = function* (t) {
  yield* call(Nr.nanosleep, putTimes(t, 4096, 10 ** 6, 0), 0);
};

function killAll(machine: BootedMachine): void {
  const { processes, executor } = machine.system;
  for (let p = 1; p < processes.rows; p++) if (processes.kind[p] === Kind.User) executor.kill(p, SIGKILL);
}

describe("a killed task ends and leaves nothing, while it", () => {
  it.each(Object.keys(WAITERS))("waits for %s", async (name) => {
    for (const at of [50_000, 1_234_567, 33_333_333, 700_000_000]) {
      const started = await start([scripted(WAITERS[name]!, child), scripted(WAITERS[name]!, child)], { service: HDD });
      const { machine } = started;
      machine.system.run(at);
      killAll(machine);
      machine.system.run(at + 5e9);
      expect(machine.system.executor.live).toBe(0);
      expectAtRest(started);
    }
  });

  it("does anything at all: every kind of wait is met by the shutdown", async () => {
    const met = new Set<string>();
    for (let seed = 1; seed <= 24; seed++) {
      const programs = Object.values(WAITERS).map((body) => scripted(body, child));
      const started = await start(programs, { seed, service: HDD, memoryBytes: 32 * 2 ** 20 });
      const { system } = started.machine;
      system.run(seed * 7_654_321);
      for (let p = 1; p < system.processes.rows; p++)
        if (system.processes.kind[p] === Kind.User) met.add(WAIT_NAMES[system.waits.channel[p]!]!);
      expectAtRest(started);
    }
    for (const name of ["-", "pipe", "timer", "child", "metadata", "journal"]) expect([...met]).toContain(name);
  });
});

it("a child that a parent waits for can be killed, and the parent is told by which signal", async () => {
  const found: number[] = [];
  const started = await start([
    scripted(function* (t) {
      const pid = yield* call(Nr.clone, 17);
      expect(yield* call(Nr.wait4, pid, 4096, 0)).toBe(pid);
      found.push(int32(t, 4096));
    }, child),
  ]);
  const { system } = started.machine;
  system.run(10_000_000);
  const { processes, waits } = system;
  const row = Array.from({ length: processes.rows }, (_, p) => p).find((p) => waits.channel[p] === Wait.Timer);
  system.executor.kill(row!, SIGKILL);
  runToEnd(started);
  expect(found).toEqual([SIGKILL]);
});

it("who waits for a pipe is woken when its other end is closed, by a close and by an exit", async () => {
  for (const byExit of [false, true]) {
    const read: number[] = [];
    const started = await start([
      scripted(
        function* (t) {
          yield* call(Nr.pipe2, 4096, 0);
          const pid = yield* call(Nr.clone, 17);
          yield* compute(5_000_000);
          if (byExit) return;
          yield* call(Nr.close, int32(t, 4100));
          expect(yield* call(Nr.wait4, pid, 0, 0)).toBe(pid);
        },
        function* (t) {
          yield* call(Nr.close, int32(t, 4100));
          read.push(yield* call(Nr.read, int32(t, 4096), 8192, 10));
        },
      ),
    ]);
    started.machine.system.run(1e9);
    expect([read, started.machine.system.executor.live]).toEqual([[0], 0]);
    runToEnd(started);
  }
});
