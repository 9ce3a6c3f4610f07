/**
 * `orrery crash`: the states that a crash can leave on a recorded disk, judged.
 * - explore       all of them, or as many as the bounds allow; 3 when one breaks what the file system owes
 * - guest         real Linux guests on a recorded disk, cut, and explored
 * - ace           ACE's bounded workloads on our ext4
 * - run           the classic scenarios on our ext4
 * - hunt, mutants   anything that breaks; seeded bugs that must be found
 * - liars         disks that lie, as controls
 * - merge         the parts of a campaign that ran as shards
 * - show, image   one state by its name: what survived, what is wrong with it; the disk as a file
 * - shrink        the fewest lost writes that still break it
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { choiceOption, formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { registerAce } from "./crash_ace.ts";
import { registerGuest } from "./crash_guest.ts";
import {
  failureNotes,
  kernelNotes,
  kernelOption,
  policyOption,
  sectorSize,
  shardOption,
  SUBSET_BITS_MAX,
} from "./crash_options.ts";
import { registerHunt } from "./crash_hunt.ts";
import { registerLiars } from "./crash_liars.ts";
import { registerRun } from "./crash_run.ts";
import { EXIT, UserError } from "./exit.ts";
import { DROP_SPAN_DEFAULT } from "../crash/enumerate.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

export interface RecordingOptions {
  readonly base: string;
  readonly log: string;
}

interface JudgeOptions extends RecordingOptions {
  readonly policy: "kernel" | "e2fsck";
  readonly format: Format;
}

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

const recordingOptions = (command: Command): Command =>
  command
    .requiredOption("--base <file>", "the disk before the first write; .zst and .gz are read, too")
    .requiredOption("--log <file>", "its write log: ours (orrery nbd serve --record) or of dm-log-writes");

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
    .addOption(formatOption("json"))
    .action(merge);
  recordingOptions(crash.command("show"))
    .description("Tell what survived in a crash state, and what is wrong with it: 3 when something is.")
    .argument("<state>", "its name, such as 3f1c0a9b2e4d-e4-p12x5")
    .addOption(policyOption())
    .option("--image <file>", "write the disk in that state there")
    .addOption(formatOption("json"))
    .action(show);
  recordingOptions(crash.command("shrink"))
    .description("Find the fewest lost writes that still break a flagged state.")
    .argument("<state>", "its name")
    .addOption(policyOption())
    .addOption(formatOption("json"))
    .action(shrink);
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
  if (found.whole) found.run.finish({ seed, document });
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
      `orrery: ${summary.flagged} of ${summary.distinct} crash states are broken; see the first with: orrery crash show ${first.id} --base ${base} --log ${log}`,
    );
    process.exitCode = EXIT.invariant;
  }
}

async function merge(runs: readonly string[], { format }: { readonly format: Format }): Promise<void> {
  const { CHUNK_LOG, mergedOutcomes } = await import("../crash/chunk_log.ts");
  const { summarise } = await import("../crash/summary.ts");
  const { head, outcomes } = mergedOutcomes(runs.map((run) => join(run, CHUNK_LOG)));
  const summary = summarise(outcomes);
  emit(format, {
    document: { schema: 1, logHash: head.log, ...head.options, parts: runs.length, ...summary },
    rows: [{ states: summary.states, distinct: summary.distinct, flagged: summary.flagged, clean: summary.clean }],
    notes: failureNotes(summary),
  });
  if (summary.flagged > 0) process.exitCode = EXIT.invariant;
}

async function openState(id: string, { base, log, policy }: JudgeOptions) {
  const { loadRecorded } = await import("../crash/recorded.ts");
  const { openExplorer } = await import("../crash/explore.ts");
  const { parseStateId } = await import("../crash/state_set.ts");
  const parsed = parseStateId(id);
  const recorded = loadRecorded(base, log);
  if (!recorded.hash.startsWith(parsed.hash))
    throw new UserError(
      `${id} is a state of another recording: this one is ${recorded.hash.slice(0, parsed.hash.length)}`,
    );
  const bounds = { policy, maxSubset: 0, random: 0, sector: 512, tears: false, seed: 1, dropSpan: 0 };
  const explorer = openExplorer(recorded, bounds);
  const states = explorer.segments.find(
    ({ segment }) => segment.epoch === parsed.epoch && segment.fuas === parsed.fuas,
  );
  if (states === undefined) throw new UserError(`${id}: the recording has no epoch ${parsed.epoch} like that`);
  return { explorer, segment: states.segment, parsed };
}

async function show(id: string, options: JudgeOptions & { readonly image?: string }): Promise<void> {
  const { explorer, segment, parsed } = await openState(id, options);
  const { beforeCrash, describeState, lostOf } = await import("../crash/timeline.ts");
  const { storeState } = await import("../crash/referee.ts");
  const found = describeState(explorer, segment, parsed.set);
  if (options.image !== undefined) {
    explorer.disk.state(found.set);
    storeState(explorer.disk.image, options.image, explorer.recorded.base.length);
  }
  const { verdict, timeline } = found;
  const before = beforeCrash(timeline);
  emit(options.format, {
    document: {
      schema: 1,
      id,
      class: verdict.class,
      why: verdict.why,
      markersPassed: found.markers,
      lost: lostOf(timeline).length,
      timeline,
    },
    title: `${id}: ${verdict.class}${verdict.why === "" ? "" : `: ${verdict.why}`}`,
    rows: before,
    notes: [
      `promised by then: ${found.markers.length === 0 ? "nothing" : found.markers.join(", ")}`,
      ...(before.length < timeline.length ? [`${timeline.length - before.length} writes came after the crash`] : []),
    ],
  });
  if (verdict.class !== "clean" && verdict.class !== "superblockTear") process.exitCode = EXIT.invariant;
}

async function shrink(id: string, options: JudgeOptions): Promise<void> {
  const { explorer, segment, parsed } = await openState(id, options);
  const { shrinkState } = await import("../crash/shrink.ts");
  const { describeState, lostOf } = await import("../crash/timeline.ts");
  const { stateId } = await import("../crash/state_set.ts");
  const shrunk = shrinkState(explorer, segment, parsed.set);
  if (shrunk === undefined) throw new UserError(`${id} breaks nothing: there is nothing to shrink`, EXIT.missed);
  const small = stateId(explorer.recorded.hash, segment.epoch, segment.fuas, shrunk.set);
  const { verdict, timeline } = describeState(explorer, segment, shrunk.set);
  const lost = lostOf(timeline);
  emit(options.format, {
    document: {
      schema: 1,
      id,
      shrunk: small,
      tried: shrunk.tried,
      class: verdict.class,
      why: verdict.why,
      lost,
      timeline,
    },
    title: `${small}: ${verdict.class}: ${verdict.why}`,
    rows: lost,
    notes: [`orrery crash show ${small} --base ${options.base} --log ${options.log}`],
  });
}
