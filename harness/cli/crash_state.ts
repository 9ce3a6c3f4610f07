/**
 * One crash state by its name.
 * - show      what survived, and what is wrong with it; the disk as a file
 * - replay    its log, its recovery, what is there afterwards; other judges' word
 * - shrink    the fewest lost writes that still break it
 * - export    the whole recording, for tools of other people
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import type { BlockImage } from "../../kernel/index.ts";
import { GUEST_FS_NAMES } from "../crash/guest_fs.ts";
import type { GuestFsName } from "../crash/guest_fs.ts";
import { isFlagged } from "../crash/verdict.ts";
import { choiceOption, formatOption } from "./args.ts";
import { policyOption, recordingOptions } from "./crash_options.ts";
import type { JudgeOptions, RecordingOptions } from "./crash_options.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";

const fsOption = () =>
  choiceOption("--fs <name>", "the file system; not ext4: a guest and its own checker judge", GUEST_FS_NAMES, "ext4");

export function registerStates(crash: Command): void {
  recordingOptions(crash.command("show"))
    .description("Tell what survived in a crash state, and what is wrong with it: 3 when something is.")
    .argument("<state>", "its name, such as 3f1c0a9b2e4d-e4-p12x5")
    .addOption(fsOption())
    .addOption(policyOption())
    .option("--image <file>", "write the disk in that state there")
    .addOption(formatOption("json"))
    .action(show);
  recordingOptions(crash.command("replay"))
    .description(
      "Carry a crash state through: its log, its recovery, what is there afterwards, the verdict: 3 when broken.",
    )
    .argument("<state>", "its name")
    .addOption(policyOption())
    .option("--image <file>", "write the recovered disk there")
    .option("--referee", "have e2fsck judge the state, too")
    .option("--kernel", "have a real Linux guest mount it, too (needs QEMU)")
    .addOption(formatOption("json"))
    .action(replay);
  recordingOptions(crash.command("shrink"))
    .description("Find the fewest lost writes that still break a flagged state.")
    .argument("<state>", "its name")
    .addOption(fsOption())
    .addOption(policyOption())
    .addOption(formatOption("json"))
    .action(shrink);
  recordingOptions(crash.command("export"))
    .description("Write a recording's log as dm-log-writes has it; trims become zeroes.")
    .argument("<file>", "the new log")
    .action(exportLog);
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

interface FsOptions extends JudgeOptions {
  readonly fs: GuestFsName;
}

interface ShowOptions extends FsOptions {
  readonly image?: string;
}

async function show(id: string, options: ShowOptions): Promise<void> {
  if (options.fs !== "ext4") {
    const { showForeign } = await import("./crash_state_foreign.ts");
    return showForeign(id, { ...options, fs: options.fs });
  }
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
  if (isFlagged(verdict)) process.exitCode = EXIT.invariant;
}

async function shrink(id: string, options: FsOptions): Promise<void> {
  if (options.fs !== "ext4") {
    const { shrinkForeign } = await import("./crash_state_foreign.ts");
    return shrinkForeign(id, { ...options, fs: options.fs });
  }
  const { explorer, segment, parsed } = await openState(id, options);
  const { shrinkState } = await import("../crash/shrink.ts");
  const { describeState } = await import("../crash/timeline.ts");
  const { stateId } = await import("../crash/state_set.ts");
  const { emitShrunk } = await import("./crash_shrunk.ts");
  const shrunk = shrinkState(explorer, segment, parsed.set);
  if (shrunk === undefined) throw new UserError(`${id} breaks nothing: there is nothing to shrink`, EXIT.missed);
  const small = stateId(explorer.recorded.hash, segment.epoch, segment.fuas, shrunk.set);
  const { verdict, timeline } = describeState(explorer, segment, shrunk.set);
  emitShrunk({ id, small, tried: shrunk.tried, verdict, timeline }, options);
}

async function exportLog(path: string, { base, log }: RecordingOptions): Promise<void> {
  const { entriesOf, loadRecorded } = await import("../crash/recorded.ts");
  const { writeLogWrites } = await import("../crash/log_writes.ts");
  const entries = entriesOf(loadRecorded(base, log));
  writeFileSync(path, writeLogWrites(entries));
  console.error(`${entries.length} entries in ${path}`);
}

interface ReplayOptions extends JudgeOptions {
  readonly image?: string;
  readonly referee?: boolean;
  readonly kernel?: boolean;
}

/** Of a tree and a log in the table; the document has all. */
const LINES_SHOWN = 24;

const steps = (step: string, lines: readonly string[]) => [
  ...lines.slice(0, LINES_SHOWN).map((line, n) => ({ step: n === 0 ? step : "", found: line })),
  ...(lines.length > LINES_SHOWN ? [{ step: "", found: `and ${lines.length - LINES_SHOWN} lines more` }] : []),
];

async function replay(id: string, options: ReplayOptions): Promise<void> {
  const { explorer, segment, parsed } = await openState(id, options);
  const { replayState } = await import("../crash/replay.ts");
  const { storeState } = await import("../crash/referee.ts");
  const bytes = explorer.recorded.base.length;
  const { verdict, ...found } = replayState(explorer, segment, parsed.set, (recovered) => {
    if (options.image !== undefined) storeState(recovered, options.image, bytes);
  });
  const e2fsck = options.referee === true ? await askE2fsck(explorer.disk.image, bytes) : undefined;
  const linux = options.kernel === true ? await askLinux(explorer.disk.image, bytes) : undefined;
  emit(options.format, {
    document: { schema: 1, id, ...found, class: verdict.class, why: verdict.why, e2fsck, linux },
    title: `${id}: ${verdict.class}${verdict.why === "" ? "" : `: ${verdict.why}`}`,
    rows: [
      ...steps("crashed", [`sha256 ${found.crashed}`]),
      ...steps(
        "log",
        found.log.map(({ block, tid, kind, text }) => `block ${block}: ${kind} of ${tid}: ${text}`),
      ),
      ...steps("recovery", found.did),
      ...steps("recovered", found.recovered === undefined ? [] : [`sha256 ${found.recovered}`]),
      ...steps("tree", found.tree),
      ...steps("promised", [found.promised.join(", ") || "nothing"]),
      ...steps("e2fsck", e2fsck === undefined ? [] : [e2fsck]),
      ...steps("Linux", linux === undefined ? [] : [linux]),
    ],
  });
  if (isFlagged(verdict)) process.exitCode = EXIT.invariant;
}

async function askE2fsck(image: BlockImage, bytes: number): Promise<string> {
  const { e2fsckSays, storeState } = await import("../crash/referee.ts");
  const folder = mkdtempSync(join(tmpdir(), "orrery-replay-"));
  try {
    const path = join(folder, "state.img");
    storeState(image, path, bytes);
    return (await e2fsckSays(path)) ?? "clean";
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function askLinux(image: BlockImage, bytes: number): Promise<string> {
  const { openKernelReferee } = await import("../crash/kernel_referee.ts");
  const referee = await openKernelReferee(bytes);
  try {
    const { kernel, left } = await referee.judge(image, bytes);
    return kernel ?? (left === undefined ? "mounted, and left it clean" : `mounted, and left it damaged: ${left}`);
  } finally {
    await referee.close();
  }
}
