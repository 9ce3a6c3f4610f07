/** `orrery crash guest`: real Linux guests on a recorded disk, cut at an instant by chance, and their states explored. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Option } from "commander";
import type { Command } from "commander";
import { DROP_SPAN_DEFAULT } from "../crash/enumerate.ts";
import { GUEST_FS, GUEST_FS_NAMES } from "../crash/guest_fs.ts";
import type { GuestFsName } from "../crash/guest_fs.ts";
import { byteSize, choiceOption, formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { failureNotes, kernelNotes, kernelOption, policyOption, sectorSize, SUBSET_BITS_MAX } from "./crash_options.ts";
import { REPORT_NAME, writeReport } from "./crash_report.ts";
import { EXIT, UserError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { nearest } from "./nearest.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

const OF_EXT4 = ["policy", "referee", "kernel"];
const GUEST_WORKLOAD_NAMES = ["mixed", "small", "rename", "append", "fast-commit"] as const;

export function registerGuest(crash: Command): void {
  crash
    .command("guest")
    .description("Run a workload in a real Linux guest on a recorded disk, cut it, and judge its crash states.")
    .option("--runs <n>", "guests, each cut at another instant", wholeNumber(1, 10_000), 1)
    .option(
      "--workload <name>",
      `${GUEST_WORKLOAD_NAMES.join(", ")}, or the path of a script: a shell command a line`,
      "mixed",
    )
    .option("--steps <n>", "commands of a named workload", wholeNumber(1, 100_000), 60)
    .addOption(choiceOption("--fs <name>", "the file system", GUEST_FS_NAMES, "ext4"))
    .option("--mkfs <options>", "for its mkfs, such as '-b 1024 -J size=4'", "")
    .option("--mount <options>", "for mount -o, such as data=journal", "")
    .addOption(
      new Option("--size <bytes>", "the disk (default: 64M; of btrfs 128M)").argParser(byteSize(2 ** 23, 2 ** 30)),
    )
    .addOption(
      new Option(
        "--states <n>",
        `crash states of each run: of ext4 at least (default: ${STATES_EXT4}), of others those judged (default: ${STATES_FOREIGN})`,
      ).argParser(wholeNumber(1, 1e9)),
    )
    .option(
      "--max-subset <n>",
      "all subsets of an epoch with so many writes or fewer",
      wholeNumber(0, SUBSET_BITS_MAX),
      12,
    )
    .option("--sector <bytes>", "what the disk writes whole or not at all: 512 or 4096", sectorSize, 512)
    .option("--no-tears", "no torn writes")
    .option("--no-control", "do not try whether a disk that ignores flushes would be caught")
    .option("--to-the-end", "cut after the last command, not somewhere in the midst")
    .addOption(policyOption())
    .addOption(seedOption())
    .option("--workers <n>", "worker threads", wholeNumber(1, 256), availableParallelism())
    .option(
      "--referee <n>",
      "clean states of each run that e2fsck judges beside the flagged ones",
      wholeNumber(0, 1e6),
      0,
    )
    .addOption(kernelOption())
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(guest);
}

/** A state of ext4 is judged in half a millisecond, one of another file system by a guest and its own checker. */
const STATES_EXT4 = 20_000;
const STATES_FOREIGN = 300;

export interface GuestCliOptions {
  readonly fs: GuestFsName;
  readonly runs: number;
  readonly workload: string;
  readonly steps: number;
  readonly mkfs: string;
  readonly mount: string;
  readonly size?: number;
  readonly states?: number;
  readonly maxSubset: number;
  readonly sector: 512 | 4096;
  readonly tears: boolean;
  readonly control: boolean;
  readonly toTheEnd?: boolean;
  readonly policy: "kernel" | "e2fsck";
  readonly seed: number;
  readonly workers: number;
  readonly referee: number;
  readonly kernel: number;
  readonly format: Format;
  readonly out?: string;
}

async function guest(options: GuestCliOptions, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const steps = await stepsFor(options);
  if (options.fs !== "ext4") {
    const asked = OF_EXT4.find((name) => command.getOptionValueSource(name) === "cli");
    if (asked !== undefined)
      throw new UserError(`--${asked} is for ext4 only: ${options.fs} is always judged by Linux and its own checker`);
    const { foreignGuest } = await import("./crash_guest_foreign.ts");
    await foreignGuest({ ...options, fs: options.fs, states: options.states ?? STATES_FOREIGN }, command, steps);
    return;
  }
  const { runGuestCampaign } = await import("../crash/guest_campaign.ts");
  const { guestTemplate } = await import("../crash/guest_template.ts");
  const { policy, maxSubset, sector, tears, seed } = options;
  const run = openRun(command, options.out);
  const line = progressLine("crash guest");
  const sizeBytes = options.size ?? GUEST_FS.ext4.sizeBytes;
  const template = guestTemplate(GUEST_FS.ext4, sizeBytes, { accel: "tcg" });
  let interrupted = false;
  const runs = await interruptible((stop) =>
    runGuestCampaign({
      template,
      sizeBytes,
      listed: false,
      mkfs: options.mkfs,
      mount: options.mount,
      runs: options.runs,
      seed,
      steps,
      cutAtEnd: options.toTheEnd === true,
      bounds: { policy, maxSubset, random: 0, sector, tears, seed, dropSpan: DROP_SPAN_DEFAULT },
      states: options.states ?? STATES_EXT4,
      workers: options.workers,
      referee: options.referee,
      kernel: options.kernel,
      control: options.control,
      dir: run.dir,
      line,
      stop,
    }).finally(() => {
      interrupted = stop.aborted;
      return template.close();
    }),
  );
  line.end();
  const rows = runs.map(({ honest, lying, ...facts }) => ({
    run: facts.run,
    steps: facts.cutStep,
    writes: facts.writes,
    flushes: facts.flushes,
    states: honest.summary.states,
    distinct: honest.summary.distinct,
    flagged: honest.summary.flagged,
    superblockTears: honest.summary.superblockTears,
    controlFlagged: lying?.summary.flagged ?? null,
    judgedByE2fsck: honest.refereed?.judged ?? 0,
    disagreements: (honest.refereed?.disagreements.length ?? 0) + (honest.byKernel?.disagreements.length ?? 0),
    judgedByKernel: honest.byKernel?.judged ?? 0,
    leftDamaged: honest.byKernel?.leftDamaged.length ?? 0,
    refused: facts.refused.length,
  }));
  const broken = runs.find(({ honest }) => honest.summary.flagged > 0);
  const uncaught = runs.filter(({ lying }) => lying !== undefined && lying.summary.flagged === 0);
  const document = {
    schema: 1,
    workload: options.workload,
    mkfs: options.mkfs,
    mount: options.mount,
    policy,
    seed,
    interrupted,
    distinct: rows.reduce((sum, { distinct }) => sum + distinct, 0),
    flagged: rows.reduce((sum, { flagged }) => sum + flagged, 0),
    runs: runs.map(({ honest, lying, refused, log }, n) => ({
      ...rows[n]!,
      log,
      refused,
      byClass: honest.summary.byClass,
      firstFailures: honest.summary.firstFailures,
      disagreements: [...(honest.refereed?.disagreements ?? []), ...(honest.byKernel?.disagreements ?? [])],
      leftDamagedByKernel: honest.byKernel?.leftDamaged ?? [],
      control: lying === undefined ? null : { flagged: lying.summary.flagged, byClass: lying.summary.byClass },
    })),
  };
  const { guestReport } = await import("../crash/report.ts");
  const facts = [
    ["workload", options.workload],
    ["mkfs", options.mkfs],
    ["mount", options.mount],
    ["seed", String(seed)],
  ] as const;
  const found = runs.map(({ run: number, honest, base, log }) => ({
    run: number,
    summary: honest.summary,
    show: (id: string) => `orrery crash show ${id} --base ${base} --log ${log}`,
  }));
  await writeReport(run.path(REPORT_NAME), facts, (all) => guestReport("ext4", all, rows, found));
  // A run that is not finished is taken up again by the same command with this directory.
  if (!interrupted) run.finish({ seed, document });
  emit(options.format, {
    document,
    rows,
    notes: [
      ...(broken === undefined ? [] : failureNotes(broken.honest.summary)),
      ...runs.flatMap(({ honest }) => kernelNotes(honest.byKernel)),
      ...runs.flatMap(({ refused }) => refused.slice(0, 2).map((text) => `the guest refused: ${text}`)),
      `controlFlagged: the same recording, had the disk ignored every flush`,
      `recordings and results in ${run.dir}`,
    ],
  });
  for (const { run: number } of uncaught)
    console.error(
      `orrery: run ${number}: a disk that ignores flushes was not caught: the run promised too little to tell`,
    );
  if (interrupted) console.error(`orrery: stopped; go on with the same command and --out ${run.dir}`);
  else if (broken !== undefined) {
    const first = broken.honest.summary.firstFailures[0]!;
    console.error(
      `orrery: ${broken.honest.summary.flagged} crash states are broken; see the first with: orrery crash show ${first.id} --base ${broken.base} --log ${broken.log}`,
    );
    process.exitCode = EXIT.invariant;
  } else if (runs.some(({ honest }) => (honest.byKernel?.leftDamaged.length ?? 0) > 0)) {
    console.error("orrery: Linux itself left file systems damaged after it recovered them: see leftDamaged");
    process.exitCode = EXIT.invariant;
  } else if (uncaught.length > 0) process.exitCode = EXIT.missed;
}

/** The commands of run n. */
async function stepsFor({ workload, steps, seed }: GuestCliOptions) {
  const { FAST_COMMIT_STEPS, guestSteps, scriptSteps } = await import("../crash/guest_workload.ts");
  const name = GUEST_WORKLOAD_NAMES.find((one) => one === workload);
  if (workload === "fast-commit") return () => FAST_COMMIT_STEPS;
  if (name !== undefined && name !== "fast-commit") return (n: number) => guestSteps(name, seed + n, steps);
  if (!existsSync(workload)) {
    const near = nearest(workload, GUEST_WORKLOAD_NAMES);
    throw new UserError(
      `there is no workload ${workload}${near === undefined ? "" : `: did you mean ${near}?`} A script is given by its path`,
    );
  }
  const script = scriptSteps(readFileSync(workload, "utf8"));
  if (script.length === 0) throw new UserError(`${workload} has no commands`);
  return () => script;
}
