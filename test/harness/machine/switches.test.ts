/** What is set through /sys while a machine works: nothing is lost, and the same happens twice. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { judge } from "../../../harness/machine/judge.ts";
import { MACHINE_DEFAULTS, openWith } from "../../../harness/machine/machine.ts";
import type { MachineOptions, OpenMachine } from "../../../harness/machine/machine.ts";
import { reportOf } from "../../../harness/machine/report.ts";
import { loadWorkload } from "../../../harness/machine/workloads.ts";
import { EINVAL } from "../../../kernel/abi/errno.ts";
import type { UserTask } from "../../../kernel/abi/program.ts";
import { checkPageAlloc, ZONE } from "../../../mm/index.ts";
import { checkSched } from "../../../sched/index.ts";
import { setter } from "./setter.ts";

const OPTIONS: MachineOptions = {
  ...MACHINE_DEFAULTS,
  cpus: 2,
  memoryBytes: 64 * 2 ** 20,
  disk: "new:64M",
  diskModel: "ssd",
};
const MS = 1e6;
const hasE2fsck = spawnSync("e2fsck", ["-V"]).error === undefined;

interface Ran {
  readonly machine: OpenMachine;
  readonly hash: string;
  readonly results: readonly number[];
}

/** A workload beside a task that sets files, stopped and judged. */
async function ran(
  workload: string,
  sets: readonly (readonly [path: string, text: string])[],
  ms: number,
  look: (machine: OpenMachine) => void = () => undefined,
): Promise<Ran> {
  const { cpus, memoryBytes } = OPTIONS;
  const { program, results } = setter(sets, 300_000);
  const starts = (await loadWorkload(workload)).tasks({ cpus, memoryBytes });
  const machine = await openWith(OPTIONS, [...starts, { program }]);
  for (let at = 1; at <= ms; at++) {
    machine.run(machine.booted.machine.time[0]! + MS);
    look(machine);
  }
  const hash = reportOf(machine).eventLogHash;
  machine.stop();
  expect(judge(machine)).toEqual({ damage: 0, promises: expect.any(Number) as number, broken: [] });
  return { machine, hash: hash!, results };
}

/** Its exit status. */
function e2fsck(image: Uint8Array): number | null {
  const dir = mkdtempSync(join(tmpdir(), "orrery-switches-"));
  const path = join(dir, "disk.img");
  writeFileSync(path, image);
  const { status } = spawnSync("e2fsck", ["-fn", path]);
  rmSync(dir, { recursive: true });
  return status;
}

const SCHEDULER = "/sys/block/vda/queue/scheduler";

describe("/sys/block/vda/queue, set while the machine works", () => {
  const sets = [
    ...["none", "fair\n", "bogus", "kyber", "mq-deadline"].map((name) => [SCHEDULER, name] as const),
    ["/sys/block/vda/queue/nr_requests", "4"],
    [SCHEDULER, "fair"],
    ["/sys/block/vda/queue/nomerges", "2"],
    ["/sys/block/vda/queue/read_ahead_kb", "0"],
    ["/sys/block/vda/queue/nr_requests", "1024"],
    ["/sys/block/vda/queue/nomerges", "0"],
    ["/sys/block/vda/queue/read_ahead_kb", "256"],
  ] as const;

  it.each(["fileserver", "database"])("%s keeps what it promised, and happens the same twice", async (workload) => {
    const seen = new Set<string>();
    const look = (machine: OpenMachine): void => void seen.add(machine.booted.disk!.queue.elevator);
    const first = await ran(workload, sets, 60, look);
    expect(first.results.length).toBeGreaterThan(50);
    for (const [at, result] of first.results.entries())
      expect(result).toBe(sets[at % sets.length]![1] === "bogus" ? EINVAL : sets[at % sets.length]![1].length);
    expect([...seen].sort()).toEqual(["fair", "kyber", "mq-deadline", "none"]);
    expect((await ran(workload, sets, 60)).hash).toBe(first.hash);
    const { queue } = first.machine.booted.disk!;
    expect([queue.waiting, queue.inFlight]).toEqual([0, 0]);
    if (hasE2fsck) expect(e2fsck(first.machine.image)).toBe(0);
  });
});

const POLICY = "/sys/kernel/sched/policy";

describe("/sys/kernel/sched/policy, set while the machine works", () => {
  const names = ["cfs", "rr", "custom", "eevdf\n", "fifo", "cfs", "fifo", "eevdf", "rr"];
  const sets = names.map((name) => [POLICY, name] as const);

  it.each(["mixed", "build"])("%s goes on under each, loses nobody, and happens the same twice", async (workload) => {
    const seen = new Set<string>();
    const look = ({ booted: { system } }: OpenMachine): void => {
      seen.add(system.policy());
      checkSched(system.sched);
      system.processes.check();
    };
    const first = await ran(workload, sets, 60, look);
    expect(first.results.length).toBeGreaterThan(50);
    for (const [at, result] of first.results.entries())
      expect(result).toBe(names[at % names.length] === "custom" ? EINVAL : names[at % names.length]!.length);
    expect([...seen].sort()).toEqual(["cfs", "eevdf", "fifo", "rr"]);
    expect((await ran(workload, sets, 60)).hash).toBe(first.hash);
    const { sched } = first.machine.booted.system;
    expect([sched.ejected(), sched.ejectMessage()]).toEqual([false, ""]);
  });

  it("a policy of the user's own is left and taken up again", async () => {
    const policy = new URL("../../../examples/vtime.ts", import.meta.url).pathname;
    const { program, results } = setter(
      [
        [POLICY, "eevdf"],
        [POLICY, "custom"],
      ],
      500_000,
    );
    const machine = await openWith({ ...OPTIONS, policy }, [{ program }]);
    const { system } = machine.booted;
    expect([system.policy(), system.policyNames().join(" ")]).toEqual(["custom", "cfs custom eevdf fifo rr"]);
    const seen: string[] = [];
    for (let at = 1; at <= 10; at++) {
      machine.run(machine.booted.machine.time[0]! + MS / 2);
      if (seen.at(-1) !== system.sched.policy().name) seen.push(system.sched.policy().name);
    }
    expect(results.slice(0, 4)).toEqual([5, 6, 5, 6]);
    expect(new Set(seen).size).toBe(2);
    machine.stop();
  });
});

/** A file's text, read by the kernel's own task; undefined: it is not there. */
function textOf({ booted: { system } }: OpenMachine, path: string): string | undefined {
  const { vfs, task } = system.tree!;
  const fd = vfs.open(task, path, 0);
  if (fd < 0) return undefined;
  const into = new Uint8Array(4096);
  const length = vfs.read(task, fd, into);
  vfs.close(task, fd);
  return new TextDecoder().decode(into.subarray(0, length));
}

/** Min and low of each zone. */
const zones = ({ booted: { memory } }: OpenMachine): number[] =>
  memory!.mm.zones.map(({ words }) => [words[ZONE.min]!, words[ZONE.low]!]).flat();

describe("numbers that can be set", () => {
  it("/sys/kernel/sched/POLICY/NAME: longer slices, fewer switches", async () => {
    const at = "/sys/kernel/sched/eevdf/base_slice_ns";
    const hog = { name: "hog", step: (task: UserTask) => task.run(50e6) };
    const switches: number[] = [];
    for (const ns of ["100000000", "100000"]) {
      const { program, results } = setter(
        [
          [at, ns],
          [at, "99999"],
          [at, "1e6"],
        ],
        1e6,
      );
      const machine = await openWith({ ...OPTIONS, cpus: 1 }, [{ program: hog }, { program: hog }, { program }]);
      expect(textOf(machine, at)).toBe("700000\n");
      machine.run(machine.booted.machine.time[0]! + 600 * MS);
      expect(results.slice(0, 3)).toEqual([ns.length, EINVAL, EINVAL]);
      expect(textOf(machine, at)).toBe(`${ns}\n`);
      switches.push(reportOf(machine).sched.switches);
      expect(textOf(machine, "/sys/kernel/sched/cfs/latency_ns")).toBe("6000000\n");
      machine.stop();
    }
    expect(switches[1]).toBeGreaterThan(1.5 * switches[0]!);
  });

  it("/proc/sys/vm: the watermarks follow; caches are dropped; it happens the same twice", async () => {
    const vm = "/proc/sys/vm";
    const sets = [
      [`${vm}/min_free_kbytes`, "4096"],
      [`${vm}/watermark_scale_factor`, "100"],
      [`${vm}/watermark_scale_factor`, "0"],
      [`${vm}/min_free_kbytes`, "99999999"],
      [`${vm}/compact_memory`, "1"],
      [`${vm}/drop_caches`, "1"],
      [`${vm}/dirty_background_ratio`, "1"],
    ] as const;
    const cached: number[] = [];
    let marks: number[] = [];
    let shown: (string | undefined)[] = [];
    const look = (machine: OpenMachine): void => {
      const { memory, pages } = machine.booted;
      checkPageAlloc(memory!.mm);
      pages!.cache.check();
      marks = zones(machine);
      shown = ["min_free_kbytes", "watermark_scale_factor"].map((name) => textOf(machine, `${vm}/${name}`));
      cached.push(pages!.cache.cached());
    };
    const first = await ran("mixed", sets, 60, look);
    expect(first.results.slice(0, 7)).toEqual([4, 3, EINVAL, EINVAL, 1, 1, 1]);
    expect(shown).toEqual(["4096\n", "100\n"]);
    expect(marks[0]! + marks[2]!).toBeGreaterThan(1020);
    expect(marks[3]! - marks[2]!).toBeGreaterThanOrEqual(marks[2]! >> 2);
    expect(Math.min(...cached.slice(20))).toBeLessThan(Math.max(...cached) / 2);
    // To look is to open files, and so to take memory.
    expect((await ran("mixed", sets, 60, look)).hash).toBe(first.hash);
  });
});
