/**
 * `orrery boot`: the whole machine. Memory, scheduler, disk, ext4 and tasks that make system calls come up together, run
 * a workload for a while of virtual time, and are shut down in order; then the disk is checked, and that files hold what
 * their writers were promised.
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import {
  byteSize,
  choiceOption,
  formatOption,
  outOption,
  realNumber,
  seedOption,
  sizeText,
  wholeNumber,
} from "./args.ts";
import type { MachineOptions, OpenMachine } from "../machine/machine.ts";
import type { Snapshot } from "../machine/snapshot.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";

const SCHEMA = 1;
/** Virtual time between two looks at the keyboard and the progress line. */
const SLICE_NS = 20_000_000;
const WORLDS = ["lockstep", "parallel"] as const;
const DISK_NAMES = ["nvme", "ssd", "hdd"] as const;

interface Options {
  readonly cpus: number;
  readonly memory: number;
  readonly disk: string;
  readonly diskModel: (typeof DISK_NAMES)[number];
  readonly workload: string;
  readonly seconds: number;
  readonly world: (typeof WORLDS)[number];
  readonly policy: string;
  readonly elevator: string;
  readonly evict: string;
  readonly seed: number;
  readonly trace?: string;
  readonly snapshotAt?: number;
  readonly save?: string;
  readonly format: Format;
  readonly out?: string;
}

export function register(program: Command): void {
  const boot = program
    .command("boot")
    .description(
      "Boot the whole machine in virtual time and let a workload run on it: scheduler, memory, disk and ext4 together.\nThen shut it down, check the disk, and say what happened in each wing. The same seed gives the same events.",
    )
    .option("--cpus <n>", "CPUs of the machine", wholeNumber(1, 64), 4)
    .option("--memory <size>", "its memory", byteSize(32 * 2 ** 20, 2 ** 32 - 2 ** 16), 256 * 2 ** 20)
    .option("--disk <image>", "an ext4 image, which is not changed, or new:SIZE", "new:256M")
    .addOption(choiceOption("--disk-model <m>", "how long requests take", DISK_NAMES, "nvme"))
    .option(
      "--workload <name>",
      "mixed, mixed-calm, fileserver, build, database, stream, or a .ts file's path",
      "mixed",
    )
    .option("--seconds <s>", "time to run, of the machine's clock", realNumber(0.001, 86_400), 5)
    .addOption(
      choiceOption("--world <w>", "virtual time in one thread, or worker threads that race", WORLDS, "lockstep"),
    )
    .option("--policy <name>", "fifo, rr, cfs, eevdf, or the path of a .ts file of your own", "eevdf")
    .option("--elevator <name>", "none, mq-deadline, fair or kyber", "mq-deadline")
    .option("--evict <name>", "eviction policy of the page cache", "mglru")
    .option("--trace <file>", "write every event: FILE.ftrace[.gz], or FILE.perfetto-trace")
    .option(
      "--snapshot-at <s>",
      "save the machine there, restore it, and compare both at the end",
      realNumber(0, 86_400),
    )
    .option("--save <file>", "write the disk's image after the shutdown")
    .addOption(seedOption())
    .addOption(formatOption("json", "csv", "md"))
    .addOption(outOption())
    .action(bootCommand);
  boot
    .command("coupling")
    .description(
      "Boot the same machine with and without a memory hog, with a fast and a slower disk, and compare what who reads\nand who syncs files sees of it.",
    )
    .option("--each <s>", "virtual time of each machine", realNumber(0.05, 3600), 0.6)
    .action(couplingCommand);
  boot
    .command("cuts")
    .description(
      "Cut the power of the parallel machine at random moments: its process is killed (SIGKILL), what was durable lies in a\nfile, what was promised was told. Each image must recover with all that was promised. Exit code 3 when one does not.",
    )
    .option("--cuts <n>", "how many", wholeNumber(1, 10_000), 10)
    .option("--within <ms>", "a cut comes up to so long after the boot", wholeNumber(1, 600_000), 2_000)
    .action(cutsCommand);
}

async function cutsCommand(_own: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options & { cuts: number; within: number }>();
  const { powerCut } = await import("../machine/power_cut.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const progress = progressLine("boot cuts");
  const dir = mkdtempSync(join(tmpdir(), "orrery-cuts-"));
  const { cpus, workload, disk, memory, seed, format } = options;
  const cut = {
    workload,
    cpus,
    disk,
    memory: sizeText(memory),
    store: join(dir, "disk.img"),
    withinMs: options.within,
  };
  const rows: { cut: number; atMs: number; promises: number; damage: number; broken: number }[] = [];
  const broken: string[] = [];
  try {
    await interruptible(async (stop) => {
      for (let n = 0; n < options.cuts && !stop.aborted; n++) {
        progress.count(n, options.cuts);
        const { atMs, verdict } = await powerCut(cut, seed + n);
        rows.push({
          cut: seed + n,
          atMs,
          promises: verdict.promises,
          damage: verdict.damage,
          broken: verdict.broken.length,
        });
        broken.push(...verdict.broken.map((line) => `cut ${seed + n}: ${line}`));
      }
    });
  } finally {
    progress.end();
    rmSync(dir, { recursive: true, force: true });
  }
  const promises = rows.reduce((sum, row) => sum + row.promises, 0);
  emit(format, {
    document: { schema: SCHEMA, workload, cpus, seed, cuts: rows, broken },
    rows,
    title: `${workload} on ${cpus} racing CPUs, power cut ${rows.length} times`,
    notes: [
      `${promises} files had promises; ${broken.length === 0 ? "all were kept" : `${broken.length} faults`}`,
      ...broken.slice(0, 10),
    ],
  });
  if (broken.length === 0) return;
  console.error(`orrery: ${broken[0]}`);
  process.exitCode = EXIT.invariant;
}

async function couplingCommand(_own: unknown, command: Command): Promise<void> {
  const { each: seconds, seed, format } = command.optsWithGlobals<{ each: number; seed: number; format: Format }>();
  const { coupling } = await import("../machine/coupling.ts");
  const rows = await coupling(seconds, seed);
  emit(format, {
    document: { schema: SCHEMA, seconds, seed, machines: rows },
    rows: rows.map((row) => ({ ...row })),
    title: `4 CPUs, 128 MiB, ${seconds} s of virtual time from seed ${seed}`,
    notes: ["stalls are shares of the time in which some task waited; iowait is a share of the CPUs' time"],
  });
}

async function bootCommand(options: Options, command: Command): Promise<void> {
  await (options.world === "parallel" ? parallelCommand(options, command) : lockstepCommand(options, command));
}

async function parallelCommand(options: Options, command: Command): Promise<void> {
  if (options.snapshotAt !== undefined)
    throw new UserError("--snapshot-at needs --world lockstep: a machine that races is nowhere to be saved");
  const { bootParallel } = await import("./boot_parallel.ts");
  const { seconds, trace, save, out, format } = options;
  await bootParallel({ machine: machineOptionsOf(options), seconds, trace, save, out, format }, command);
}

const machineOptionsOf = (options: Options): Omit<MachineOptions, "log"> => ({
  seed: options.seed,
  cpus: options.cpus,
  memoryBytes: options.memory,
  disk: options.disk,
  diskModel: options.diskModel,
  workload: options.workload,
  policy: options.policy,
  elevator: options.elevator,
  evict: options.evict,
  costs: "hardware",
});

async function lockstepCommand(options: Options, command: Command): Promise<void> {
  const { openMachine } = await import("../machine/machine.ts");
  const { reportOf, reportRows } = await import("../machine/report.ts");
  const { judge } = await import("../machine/judge.ts");
  const { openRun } = await import("../run/run.ts");
  const { interruptible } = await import("./interrupt.ts");
  const machineOptions = { ...machineOptionsOf(options), log: options.trace !== undefined };
  const untilNs = options.seconds * 1e9;
  const snapshotNs = options.snapshotAt === undefined ? undefined : options.snapshotAt * 1e9;
  if (snapshotNs !== undefined && snapshotNs > untilNs)
    throw new UserError(`--snapshot-at ${options.snapshotAt} is after the end, --seconds ${options.seconds}`);
  const opened = await openMachine(machineOptions);
  const run = openRun(command, options.out);
  const beganMs = performance.now();
  const watched = options.format === "table" && process.stdout.isTTY && process.stdin.isTTY;
  const { machine, snapshot } = await interruptible((stop) =>
    watched && snapshotNs === undefined ? watch(opened, untilNs, stop) : pass(opened, untilNs, snapshotNs, stop),
  );
  const hostMs = performance.now() - beganMs;
  const report = reportOf(machine);
  const hash = watched && snapshotNs === undefined ? null : report.eventLogHash;
  let restored: string | undefined;
  if (snapshot !== undefined) restored = await compareRestored(snapshot, report.seconds * 1e9, report.eventLogHash);
  machine.stop();
  const verdict = judge(machine);
  if (options.trace !== undefined) {
    const { saveTrace } = await import("../trace/store.ts");
    const form = /perfetto/.test(options.trace) ? "perfetto" : "ftrace";
    await saveTrace(machine.booted.machine.log!, form, options.trace);
    run.output(options.trace);
  }
  if (options.save !== undefined) {
    writeFileSync(`${options.save}.part`, machine.image);
    renameSync(`${options.save}.part`, options.save);
    run.output(options.save);
  }
  const document = {
    schema: SCHEMA,
    ...machineOptions,
    ...report,
    verdict,
    snapshot: snapshot === undefined ? null : { ...snapshot, restored: restored === undefined },
    bootMs: Number(machine.bootMs.toFixed(1)),
    speed: Number((report.seconds / (hostMs / 1000)).toFixed(3)),
    run: run.id,
  };
  run.finish({
    seed: options.seed,
    document,
    // What keys did is in no command.
    ...(hash === null ? {} : { eventLogHash: hash }),
  });
  const notes = [
    `disk: ${verdict.damage === 0 ? "clean" : `${verdict.damage} faults`}; ${verdict.promises} files hold what was promised${verdict.broken.length > 0 ? `, ${verdict.broken.length} do not` : ""}`,
    `${report.seconds} s in ${(hostMs / 1000).toFixed(2)} s; up after ${machine.bootMs.toFixed(0)} ms`,
    ...(snapshot === undefined
      ? []
      : [restored ?? `restored at ${options.snapshotAt} s by running there again: the same events`]),
    ...(hash === null ? [] : [`event log ${hash.slice(0, 16)}; again: orrery replay ${run.id}`]),
  ];
  emit(options.format, {
    document,
    rows: reportRows(report),
    title: `${options.workload} on ${options.cpus} CPUs, ${options.policy}, ${options.disk} (${options.diskModel}), seed ${options.seed}`,
    notes,
  });
  if (verdict.damage > 0 || verdict.broken.length > 0 || restored !== undefined) {
    console.error(
      `orrery: ${[...verdict.broken, restored ?? ""].find((line) => line !== "") ?? "the disk is damaged"}`,
    );
    process.exitCode = EXIT.invariant;
  }
}

interface Passed {
  readonly machine: OpenMachine;
  readonly snapshot: Snapshot | undefined;
}

/** Virtual time passes, as fast as it can. */
async function pass(
  machine: OpenMachine,
  untilNs: number,
  snapshotNs: number | undefined,
  stop: AbortSignal,
): Promise<Passed> {
  const { snapshotOf } = await import("../machine/snapshot.ts");
  const { progressLine } = await import("./progress.ts");
  const progress = progressLine("boot");
  let snapshot: Snapshot | undefined;
  for (let at = machine.booted.machine.time[0]!; at < untilNs && !stop.aborted;) {
    const next = Math.min(untilNs, at + SLICE_NS);
    if (snapshotNs !== undefined && snapshot === undefined && next >= snapshotNs) {
      machine.run(snapshotNs);
      snapshot = snapshotOf(machine);
    }
    machine.run((at = next));
    progress.count(Math.floor(at / 1e6), Math.ceil(untilNs / 1e6));
    await new Promise((resolve) => setImmediate(resolve));
  }
  progress.end();
  return { machine, snapshot };
}

const sleep = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms));

/** The same before somebody's eyes. */
async function watch(opened: OpenMachine, untilNs: number, stop: AbortSignal): Promise<Passed> {
  const { live } = await import("../machine/live.ts");
  const { stdin, stdout } = process;
  let pressed = "";
  const onKey = (bytes: Buffer): void => {
    pressed += bytes.toString("latin1");
  };
  stdin.setRawMode(true);
  stdin.resume();
  stdin.on("data", onKey);
  const keys = {
    take: () => {
      const taken = pressed;
      pressed = "";
      return taken;
    },
    close: () => {
      stdin.off("data", onKey);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
  const machine = await live(opened, {
    untilNs,
    stop,
    keys,
    sleep,
    nowMs: () => performance.now(),
    terminal: {
      get columns() {
        return stdout.columns;
      },
      write: (text) => stdout.write(text),
    },
  });
  return { machine, snapshot: undefined };
}

/** Why the restored machine is not the same at the end; undefined: it is. */
async function compareRestored(snapshot: Snapshot, untilNs: number, hash: string | null): Promise<string | undefined> {
  const { restore } = await import("../machine/snapshot.ts");
  const again = await restore(snapshot);
  again.run(untilNs);
  const reached = again.booted.machine.hash?.hex() ?? null;
  return reached === hash ? undefined : `the machine restored at ${snapshot.timeNs} ns went another way`;
}
