import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { machineFleet } from "../../../harness/machine/fleet.ts";
import { judge, judgeImage } from "../../../harness/machine/judge.ts";
import { MACHINE_DEFAULTS, openMachine } from "../../../harness/machine/machine.ts";
import type { MachineOptions, OpenMachine } from "../../../harness/machine/machine.ts";
import { reportOf, reportRows } from "../../../harness/machine/report.ts";
import type { Report } from "../../../harness/machine/report.ts";
import { runMachine } from "../../../harness/machine/run.ts";
import { restore, snapshotOf } from "../../../harness/machine/snapshot.ts";
import { WORKLOADS } from "../../../userspace/index.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";

const TINY: MachineOptions = {
  ...MACHINE_DEFAULTS,
  cpus: 2,
  memoryBytes: 64 * 2 ** 20,
  disk: "new:16M",
  workload: new URL("./tiny_load.ts", import.meta.url).pathname,
};
const MS = 1e6;
const hasE2fsck = spawnSync("e2fsck", ["-V"]).error === undefined;

describe("the lockstep machine", () => {
  it("gives the same events for the same seed, alone and in workers, one after the other, and others for another", async () => {
    const jobs = [1, 1, 2].map((seed) => ({ options: { ...TINY, seed }, seconds: 0.05 }));
    const here = await runMachine(jobs[0]!);
    // Of two workers one runs two machines.
    const there = await machineFleet(jobs, 2);
    expect(there[0]).toEqual(here);
    expect(there[1]).toEqual(here);
    expect(there[2]!.report.eventLogHash).not.toBe(here.report.eventLogHash);
    expect(here.report.events).toBeGreaterThan(1000);
    expect(here.verdict).toEqual({ damage: 0, promises: 0, broken: [] });
  });

  it("restore() goes on to the same events from 20 random points", async () => {
    const untilNs = 20 * MS;
    const whole = await openMachine(TINY);
    whole.run(untilNs);
    const { events, eventLogHash } = reportOf(whole);
    const random = prng(7);
    const points = Array.from({ length: 20 }, () => nextBelow(random, events)).sort((a, b) => a - b);
    const machine = await openMachine(TINY);
    for (const point of points) {
      // The one that is saved goes on: the snapshot is its own.
      if (point > machine.booted.system.steps()) machine.run(Infinity, point - machine.booted.system.steps());
      const snapshot = structuredClone(snapshotOf(machine));
      const fork = await restore(snapshot);
      expect(snapshotOf(fork)).toEqual(snapshot);
      fork.run(untilNs);
      expect(fork.booted.machine.hash!.hex()).toBe(eventLogHash);
    }
  });

  it("does not stop in silence when an object was not given back", async () => {
    const machine = await openMachine(TINY);
    machine.run(10 * MS);
    const { file } = machine.booted.slabs!.objects;
    const { free } = file;
    let lost = 0;
    Object.assign(file, { free: (addr: number) => (lost++ === 0 ? undefined : free(addr)) });
    expect(() => machine.stop()).toThrow("the machine stopped, and objects are nobody's: 1 of filp");
  });

  describe("a machine that has run and is stopped", () => {
    let machine: OpenMachine;
    let report: Report;
    let live = 0;
    beforeAll(async () => {
      machine = await openMachine(TINY);
      machine.run(100 * MS);
      report = reportOf(machine);
      live = machine.booted.system.executor.live;
      machine.stop();
    });

    it("has figures of every wing", () => {
      expect(report.sched.switches).toBeGreaterThan(100);
      const { user, system, irq, iowait, idle } = report.sched;
      expect(user + system + irq + iowait + idle).toBeCloseTo(1, 2);
      expect(report.disk!.flushes).toBeGreaterThan(0);
      expect(report.calls.map(({ name }) => name)).toContain("fsync");
      expect(reportRows(report).length).toBeGreaterThan(30);
    });

    it("gave everything back: frames, descriptors, pipes, tasks", () => {
      const { system, memory, pages } = machine.booted;
      expect(live).toBeGreaterThanOrEqual(4);
      system.processes.check();
      pages!.cache.check();
      expect(system.executor.live).toBe(0);
      expect(system.tree!.pipes.open).toBe(0);
      const { state } = system.tree!.vfs;
      for (let task = 0; task < state.tasks; task++) expect(state.isTask(task)).toBe(false);
      // What is still taken is the page cache, the buffers and pages on per-CPU lists.
      memory!.mm.drainAll(0);
      memory!.mm.drainAll(1);
      const free = memory!.mm.zones.reduce((sum, { words }) => sum + words[16]!, 0);
      expect(memory!.managed - free - pages!.cache.cached()).toBe(Math.floor(memory!.managed / 16));
    });

    it.skipIf(!hasE2fsck)("leaves a disk that e2fsck finds clean (skipped without e2fsprogs)", () => {
      const dir = mkdtempSync(join(tmpdir(), "orrery-machine-"));
      const path = join(dir, "disk.img");
      writeFileSync(path, machine.image);
      const { status, stdout } = spawnSync("e2fsck", ["-fn", path], { encoding: "utf8" });
      rmSync(dir, { recursive: true });
      expect(stdout).toMatch(/16\/|files/);
      expect(status).toBe(0);
    });

    it("has a disk whose damage judge() finds (canary)", () => {
      expect(judge(machine).damage).toBe(0);
      // The first group's block bitmap.
      const image = machine.image.slice();
      for (let at = 4096; at < 40 * 4096; at++) if (image[at] === 0xff) image[at] = 0;
      expect(judgeImage(image, []).damage).toBeGreaterThan(0);
    });
  });

  it.each(WORKLOADS.map(({ name }) => name))("runs %s, and its files hold what was promised", async (workload) => {
    const { report, verdict } = await runMachine({ options: { ...TINY, disk: "new:96M", workload }, seconds: 0.12 });
    expect(verdict.broken).toEqual([]);
    expect(verdict.damage).toBe(0);
    expect(report.tasks.some(({ calls }) => calls > 10)).toBe(true);
  });
});
