/**
 * The parallel machine: threads that really race, so each run differs; what must hold of all of them is counted when the
 * machine has stopped. Each test takes a few seconds; harness/machine/soak.ts runs for as long as one likes.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { Ev, SysEv } from "../../../kernel/abi/events.ts";
import { MachineFailure } from "../../../kernel/index.ts";
import { openDisk } from "../../../harness/machine/disk_image.ts";
import { judgeImage } from "../../../harness/machine/judge.ts";
import { MACHINE_DEFAULTS } from "../../../harness/machine/machine.ts";
import { openParallel } from "../../../harness/machine/parallel.ts";
import type { OpenParallel, ParallelOptions } from "../../../harness/machine/parallel.ts";
import { soak } from "../../../harness/machine/soak.ts";
import { sample, thorough } from "../../tier.ts";

const MIB = 2 ** 20;
const PROGRAMS = new URL("programs.ts", import.meta.url).pathname;
const TIMEOUT = 120_000;

const options = (workload: string, more: Partial<ParallelOptions> = {}): ParallelOptions => ({
  ...MACHINE_DEFAULTS,
  cpus: 2,
  memoryBytes: 64 * MIB,
  disk: "new:32M",
  workload: `${PROGRAMS}#${workload}`,
  ...more,
});
const open = (workload: string, more: Partial<ParallelOptions> = {}): Promise<OpenParallel> =>
  openParallel(options(workload, more));
const failureOf = async (run: () => Promise<unknown>): Promise<MachineFailure> => {
  const failure: unknown = await run().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(MachineFailure);
  return failure as MachineFailure;
};

beforeAll(() => {
  openDisk("new:32M", 1);
});

describe("a parallel machine runs", () => {
  it("tasks that write, sync and read back, each to its end; nothing leaks", { timeout: TIMEOUT }, async () => {
    const { machine, image, console: lines } = await open("mix");
    await machine.run(60);
    expect(machine.live).toBe(0);
    const result = await machine.stop();
    expect(result.problems).toEqual([]);
    expect(result.leaks).toEqual({ frames: 0, objects: 0, descriptors: 0, tasks: 0, lostWakes: 0 });
    expect(result.calls).toBeGreaterThan(500);
    expect(lines).toEqual(Array.from({ length: 50 }, (_, n) => `line ${n}`));
    expect(judgeImage(image!, lines).damage).toBe(0);
  });

  it.runIf(thorough)("and counts whose time went where, and how long calls took", { timeout: TIMEOUT }, async () => {
    const { machine } = await open("counted");
    while (machine.live > 5) await machine.run(0.1);
    const { figures, problems } = await machine.stop();
    expect(problems).toEqual([]);
    const { sched, tasks, calls } = figures;
    expect(sched.user + sched.system + sched.steal + sched.iowait + sched.idle).toBeCloseTo(1, 1);
    expect(sched.forks).toBeGreaterThanOrEqual(8 + 9);
    const of = (name: string): (typeof tasks)[number] => tasks.find((row) => row.name === name)!;
    expect(of("hog").tasks).toBe(2);
    expect(of("hog").userMs).toBeGreaterThan(0);
    expect(of("hog").userMs).toBeLessThanOrEqual(of("hog").cpuMs);
    expect(of("hog").delayMs).toBeGreaterThan(0);
    expect(of("syncer").diskMs).toBeGreaterThan(0);
    expect(of("reader")).toMatchObject({ tasks: 1, diskMs: 0 });
    expect(figures.pressure!.io.someUs).toBeGreaterThan(0);
    expect(figures.pressure!.cpu.someUs).toBeGreaterThan(0);
    const counts = new Map(calls.map(({ name, count }) => [name, count]));
    expect([counts.get("clone"), counts.get("nanosleep")]).toEqual([8, 40]);
    for (const row of calls) expect(row.maxUs).toBeGreaterThanOrEqual(row.meanUs);
    // The way in is counted on a CPU, the answer of an fsync by the storage worker.
    expect(counts.get("fsync")).toBeGreaterThan(0);
    expect(calls.find(({ name }) => name === "nanosleep")!.meanUs).toBeGreaterThanOrEqual(1_000);
  });

  it.each(sample([4, 1], 1))(
    "and is stopped in order on %i CPUs while all of them wait, run and fork",
    { timeout: TIMEOUT },
    async (cpus) => {
      const report = await soak({ ...options("endless", { cpus }), seconds: 2 });
      expect(report.problems).toEqual([]);
      expect(report.calls).toBeGreaterThan(0);
    },
  );

  it("with less memory than tasks ask for: kswapd and the page cache give way", { timeout: TIMEOUT }, async () => {
    const { machine } = await open("hungry", { memoryBytes: 32 * MIB });
    await machine.run(2);
    const { problems, figures, calls } = await machine.stop();
    expect(problems).toEqual([]);
    expect(calls).toBeGreaterThan(0);
    expect(figures.pressure!.memory.someUs).toBeGreaterThan(0);
    expect(figures.pressure!.memory.fullUs).toBeLessThanOrEqual(figures.pressure!.memory.someUs);
  });

  it.runIf(thorough)(
    "with slabs shrunk again and again while CPUs take objects and give them back",
    { timeout: TIMEOUT },
    async () => {
      const { machine } = await open("dropping", { cpus: 3 });
      await machine.run(2);
      const { problems, leaks, figures } = await machine.stop();
      expect(problems).toEqual([]);
      expect(leaks.objects).toBe(0);
      const counts = new Map(figures.calls.map(({ name, count }) => [name, count]));
      expect(counts.get("pwrite64")).toBeGreaterThan(100);
      expect(counts.get("clone")).toBeGreaterThan(100);
    },
  );

  it.runIf(thorough)(
    "with pages that compaction moves while their tasks give them back: each has one owner",
    { timeout: TIMEOUT },
    async () => {
      const { machine } = await open("crowded", { memoryBytes: 32 * MIB });
      await machine.run(3);
      const { problems, leaks, figures } = await machine.stop();
      expect(problems).toEqual([]);
      expect(leaks).toEqual({ frames: 0, objects: 0, descriptors: 0, tasks: 0, lostWakes: 0 });
      expect(figures.memory!.compacted).toBeGreaterThan(0);
      const ran = figures.tasks.filter(({ cpuMs }) => cpuMs > 0).map(({ name }) => name);
      expect(ran).toEqual(expect.arrayContaining(["kworker/u:files", "jbd2/vda-8", "kswapd0", "kcompactd0"]));
    },
  );

  it.each(
    sample(
      [
        { features: [] },
        { features: ["MM", "BLOCK", "EXT4"] },
        { features: ["MM", "BLOCK"] },
        { features: ["PSI", "TMPFS", "PROC", "SYSFS"] },
      ] as const,
      1,
    ),
  )("with $features alone", { timeout: TIMEOUT }, async ({ features }) => {
    const { machine } = await open("first", { features });
    await machine.run(60);
    expect(machine.live).toBe(0);
    const { problems, figures } = await machine.stop();
    expect(problems).toEqual([]);
    expect(figures.memory === null).toBe(features.length === 0 || features[0] !== "MM");
    expect(figures.calls.find(({ name }) => name === "pwrite64")!.count).toBe(40);
  });

  it("userspace's file servers, and keeps what they were promised", { timeout: TIMEOUT }, async () => {
    const report = await soak({ ...options("x", { workload: "fileserver", disk: "new:64M" }), seconds: 2 });
    expect(report.problems).toEqual([]);
    expect(report.verdict.promises).toBeGreaterThan(0);
  });

  it("and its events follow a call from the CPU to storage, the disk and back", { timeout: TIMEOUT }, async () => {
    const { machine } = await open("first", { traceRecords: 2 ** 16 });
    await machine.run(60);
    const { log, eventsLost } = await machine.stop();
    expect(eventsLost).toBe(0);
    const types = new Set(Array.from({ length: log!.count }, (_, at) => log!.typeAt(at)));
    const rows = [...log!.names].filter(([, name]) => name === "jbd2/vda-8").map(([row]) => row);
    expect(rows).toHaveLength(1);
    // Storage is a CPU behind the last, and runs what is its own.
    const [storage] = Array.from({ length: log!.count }, (_, at) => at).filter(
      (at) => log!.typeAt(at) === Ev.SchedSwitch && log!.bAt(at) === rows[0],
    );
    expect(log!.cpuAt(storage!)).toBe(2);
    for (const type of [SysEv.Enter, SysEv.Sleep, SysEv.IrqEntry, SysEv.Exit, SysEv.TaskExit])
      expect(types).toContain(type);
  });

  it.runIf(thorough)("and a trace has the names of tasks that were forked", { timeout: TIMEOUT }, async () => {
    const { machine } = await open("families", { traceRecords: 2 ** 16 });
    await machine.run(1);
    const { log } = await machine.stop();
    const children = Array.from({ length: log!.count }, (_, at) => at)
      .filter((at) => log!.typeAt(at) === Ev.SchedFork && log!.aAt(at) !== 0)
      .map((at) => log!.bAt(at));
    expect(children.length).toBeGreaterThan(0);
    expect(new Set(children.map((row) => log!.names.get(row)))).toEqual(new Set(["parent"]));
  });
});

describe("a parallel machine stops", () => {
  it("when a program throws: all workers end, and what was traced is kept", { timeout: TIMEOUT }, async () => {
    const failure = await failureOf(async () => {
      const { machine } = await open("broken", { traceRecords: 2 ** 12 });
      await machine.run(60);
    });
    expect(failure.message).toMatch(
      /cpu\d: while it carries out a task's call \(task \d+\): a program of the test fails/,
    );
    expect(failure.log!.count).toBeGreaterThan(0);
  });

  it("when a worker hangs: the watchdog names it", { timeout: TIMEOUT }, async () => {
    const failure = await failureOf(async () => {
      const { machine } = await open("loops", { stuckMs: 1_500 });
      await machine.run(60);
    });
    expect(failure.kind).toBe("stuck");
    expect(failure.worker).toMatch(/^cpu\d$/);
  });

  it("before it starts when a program is a generator, with one clear line", { timeout: TIMEOUT }, async () => {
    const failure = await failureOf(() => open("generator"));
    expect(failure.message).toContain("program old is a generator; the parallel world runs step functions");
  });

  it("in order when it is interrupted", { timeout: TIMEOUT }, async () => {
    const abort = new AbortController();
    const stopping = soak({ ...options("endless"), seconds: 600 }, () => abort.abort(), abort.signal);
    expect((await stopping).problems).toEqual([]);
  });
});

describe("canary", () => {
  it("a wake that is lost is counted", { timeout: TIMEOUT }, async () => {
    const { machine } = await open("endless", { loseWakes: 50 });
    await machine.run(5);
    const found = await machine.stop().then(
      ({ leaks }) => leaks.lostWakes,
      () => 1,
    );
    expect(found).toBeGreaterThan(0);
  });
});
