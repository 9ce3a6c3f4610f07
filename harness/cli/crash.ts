/**
 * `orrery crash`: the states that a crash can leave on a recorded disk, judged.
 * - explore       all of them, or as many as the bounds allow; 3 when one breaks what the file system owes
 * - guest         real Linux guests on a recorded disk, cut, and explored
 * - ace           ACE's bounded workloads on our ext4
 * - run           the classic scenarios on our ext4
 * - hunt, mutants   anything that breaks; seeded bugs that must be found
 * - liars         disks that lie, as controls
 * - merge         the parts of a campaign that ran as shards
 * - show, replay, shrink   one state by its name; export: the recording (crash_state.ts)
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { choiceOption, formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { registerAce } from "./crash_ace.ts";
import { registerGuest } from "./crash_guest.ts";
import type { JudgeOptions } from "./crash_options.ts";
import {
  failureNotes,
  recordingOptions,
  kernelNotes,
  kernelOption,
  policyOption,
  sectorSize,
  shardOption,
  SUBSET_BITS_MAX,
} from "./crash_options.ts";
import { registerHunt } from "./crash_hunt.ts";
import { registerLiars } from "./crash_liars.ts";
import { REPORT_NAME, writeReport } from "./crash_report.ts";
import { registerRun } from "./crash_run.ts";
import { registerStates } from "./crash_state.ts";
import { EXIT } from "./exit.ts";
import { DROP_SPAN_DEFAULT } from "../crash/enumerate.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface ExploreCliOptions extends JudgeOptions {
  readonly sector: 512 | 4096;
  readonly maxSubset: number;
  readonly random: number;
  readonly tears: boolean;
  readonly seed: number;
  readonly workers: number;
  readonly shard: readonly [number, number];
  readonly referee: number;
  readonly kernel: number;
  readonly out?: string;
}

export function register(program: Command): void {
  const crash = program.command("crash").description("Every state a crash can leave on a recorded disk, judged.");
  recordingOptions(crash.command("explore"))
    .description("Judge the crash states of a recording: 3 when one of them breaks what the file system owes.")
    .addOption(choiceOption("--fs <name>", "the file system on it", ["ext4"], "ext4"))
    .option("--sector <bytes>", "what the disk writes whole or not at all: 512 or 4096", sectorSize, 512)
    .option(
      "--max-subset <n>",
      "all subsets of an epoch with so many writes or fewer",
      wholeNumber(0, SUBSET_BITS_MAX),
      12,
    )
    .option("--random <n>", "random subsets of each larger epoch", wholeNumber(0, 1e9), 1_000)
    .option("--no-tears", "no torn writes")
    .addOption(policyOption())
    .addOption(seedOption())
    .option("--workers <n>", "worker threads", wholeNumber(1, 256), availableParallelism())
    .addOption(shardOption())
    .option(
      "--referee <n>",
      "clean states, drawn at random, that e2fsck judges beside the flagged ones",
      wholeNumber(0, 1e6),
      0,
    )
    .addOption(kernelOption())
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(explore);
  registerGuest(crash);
  registerAce(crash);
  registerRun(crash);
  registerHunt(crash);
  registerLiars(crash);
  crash
    .command("merge")
    .description("Put the parts of a campaign together that ran with --shard.")
    .argument("<runs...>", "their directories")
    .option("--report <file>", "write the report of the whole there, as one page")
    .addOption(formatOption("json"))
    .action(merge);
  registerStates(crash);
}

async function explore(options: ExploreCliOptions, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const { runCampaign } = await import("../crash/campaign.ts");
  const { base, log, policy, maxSubset, random, sector, tears, seed, shard, workers, referee, kernel } = options;
  const bounds = { policy, maxSubset, random, sector, tears, seed, dropSpan: DROP_SPAN_DEFAULT };
  const line = progressLine("crash explore");
  let dir = "";
  const found = await interruptible((stop) =>
    runCampaign({
      base,
      log,
      bounds,
      shard,
      workers,
      referee,
      kernel,
      line,
      stop,
      open: () => {
        const run = openRun(command, options.out);
        run.input(base);
        run.input(log);
        dir = run.dir;
        return run;
      },
    }),
  );
  line.end();
  const { summary, refereed, byKernel, recorded } = found;
  const document = {
    schema: 1,
    base,
    log,
    logHash: recorded.hash,
    epochs: recorded.epochs.length - 1,
    writes: recorded.writes.length,
    markers: recorded.markers.length,
    ...bounds,
    shard: shard.join("/"),
    interrupted: !found.whole,
    states: summary.states,
    distinct: summary.distinct,
    flagged: summary.flagged,
    clean: summary.clean,
    superblockTears: summary.superblockTears,
    statesPerSecond: found.statesPerSecond,
    workers: found.workers,
    byClass: summary.byClass,
    byKind: summary.byKind,
    flaggedByKind: summary.flaggedByKind,
    flaggedByPrefixes: summary.flaggedByPrefixes,
    judgedByE2fsck: refereed?.judged ?? 0,
    judgedByKernel: byKernel?.judged ?? 0,
    disagreements: [...(refereed?.disagreements ?? []), ...(byKernel?.disagreements ?? [])],
    leftDamagedByKernel: byKernel?.leftDamaged ?? [],
    digest: summary.digest,
    firstFailures: summary.firstFailures,
  };
  const show = (id: string): string => `orrery crash show ${id} --base ${base} --log ${log}`;
  if (found.whole) {
    const { exploreReport } = await import("../crash/report.ts");
    const facts = [
      ["recording", `${log}, sha256 ${recorded.hash}`],
      ["digest", summary.digest],
      ["seed", String(seed)],
    ] as const;
    await writeReport(found.run.path(REPORT_NAME), facts, (all) => exploreReport(all, summary, show));
    found.run.finish({ seed, document });
  }
  emit(options.format, {
    document,
    title: `${log}: ${summary.states} crash states, ${summary.distinct} distinct`,
    rows: [
      {
        states: summary.states,
        distinct: summary.distinct,
        flagged: summary.flagged,
        clean: summary.clean,
        superblockTears: summary.superblockTears,
        byPrefixes: summary.flaggedByPrefixes,
        perSecond: document.statesPerSecond,
        workers: document.workers,
      },
    ],
    notes: [
      ...failureNotes(summary),
      ...(refereed === undefined
        ? []
        : [`e2fsck judged ${refereed.judged} states, and disagrees on ${refereed.disagreements.length}`]),
      ...kernelNotes(byKernel),
      ...(found.whole ? [`results in ${dir}`] : []),
    ],
  });
  if (!found.whole)
    console.error(
      `orrery: stopped after ${found.pieces} of ${found.piecesInAll} pieces; go on with the same command and --out ${dir}`,
    );
  else if (summary.flagged > 0) {
    const first = summary.firstFailures[0]!;
    console.error(
      `orrery: ${summary.flagged} of ${summary.distinct} crash states are broken; see the first with: ${show(first.id)}`,
    );
    process.exitCode = EXIT.invariant;
  }
}

/** Where the recording lies is not in the parts. */
const showAnywhere = (id: string): string => `orrery crash show ${id} --base FILE --log FILE`;

interface MergeOptions {
  readonly report?: string;
  readonly format: Format;
}

async function merge(runs: readonly string[], { report, format }: MergeOptions): Promise<void> {
  const { CHUNK_LOG, mergedOutcomes } = await import("../crash/chunk_log.ts");
  const { summarise } = await import("../crash/summary.ts");
  const { head, outcomes } = mergedOutcomes(runs.map((run) => join(run, CHUNK_LOG)));
  const summary = summarise(outcomes);
  if (report !== undefined) {
    const { exploreReport } = await import("../crash/report.ts");
    const facts = [
      ["recording", `sha256 ${head.log}`],
      ["parts", String(runs.length)],
      ["digest", summary.digest],
    ] as const;
    await writeReport(report, facts, (all) => exploreReport(all, summary, showAnywhere));
  }
  emit(format, {
    document: { schema: 1, logHash: head.log, ...head.options, parts: runs.length, ...summary },
    rows: [{ states: summary.states, distinct: summary.distinct, flagged: summary.flagged, clean: summary.clean }],
    notes: failureNotes(summary),
  });
  if (summary.flagged > 0) process.exitCode = EXIT.invariant;
}
