/** `orrery crash guest --fs NAME` for file systems that Linux and their own checkers judge, not we. */
import type { Command } from "commander";
import { CONTROL_BOUNDS } from "../crash/guest_campaign.ts";
import { runForeignCampaign } from "../crash/foreign/campaign.ts";
import type { ForeignFound } from "../crash/foreign/campaign.ts";
import { foreignOf, needCheckers } from "../crash/foreign/fsck.ts";
import { needWholeBlocks } from "../crash/foreign/judge.ts";
import { GUEST_FS } from "../crash/guest_fs.ts";
import type { ForeignName } from "../crash/guest_fs.ts";
import { guestRuns } from "../crash/guest_runs.ts";
import type { RecordedRun } from "../crash/guest_runs.ts";
import { guestTemplate } from "../crash/guest_template.ts";
import type { GuestStep } from "../crash/guest_workload.ts";
import { guestReport } from "../crash/report.ts";
import { openRun } from "../run/run.ts";
import type { GuestCliOptions } from "./crash_guest.ts";
import { failureNotes } from "./crash_options.ts";
import { REPORT_NAME, writeReport } from "./crash_report.ts";
import { EXIT } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import { progressLine } from "./progress.ts";

type ForeignCliOptions = Omit<GuestCliOptions, "fs" | "states"> & { readonly fs: ForeignName; readonly states: number };

interface ForeignRun extends RecordedRun {
  readonly honest: ForeignFound;
  readonly lying: ForeignFound | undefined;
}

/** Each prefix of a large epoch without one of so many writes before its end: only some of these are drawn anyway. */
const DROP_SPAN = 64;
const RANDOM = 64;
/** Of the control only enough is looked at to catch it. */
const CONTROL_STATES = 60;

export async function foreignGuest(
  options: ForeignCliOptions,
  command: Command,
  steps: (n: number) => readonly GuestStep[],
): Promise<void> {
  const { fs, maxSubset, sector, tears, seed, mkfs, mount, workers, states } = options;
  needCheckers(foreignOf(GUEST_FS[fs]));
  const line = progressLine("crash guest");
  const bounds = { maxSubset, random: RANDOM, sector, tears, seed, dropSpan: DROP_SPAN };
  const sizeBytes = options.size ?? GUEST_FS[fs].sizeBytes;
  needWholeBlocks(sizeBytes);
  const template = guestTemplate(GUEST_FS[fs], sizeBytes, { accel: "tcg" });
  const run = openRun(command, options.out);
  let interrupted = false;
  const runs = await interruptible(async (stop) => {
    const done: ForeignRun[] = [];
    const asked = {
      template,
      sizeBytes,
      mkfs,
      mount,
      listed: true,
      runs: options.runs,
      seed,
      steps,
      cutAtEnd: options.toTheEnd === true,
      dir: run.dir,
      line,
      stop,
    } as const;
    try {
      for await (const recorded of guestRuns(asked)) {
        const { run: number, base, log, lyingLog } = recorded;
        const judge = (of: string, name: string, within: typeof bounds, wanted: number) =>
          runForeignCampaign({
            template,
            base,
            log: of,
            bounds: within,
            states: wanted,
            workers,
            line,
            stop,
            path: (file) => run.path(`run${number}.${name}${file}`),
          });
        const honest = await judge(log, "", bounds, states);
        const lying =
          options.control && !stop.aborted
            ? await judge(lyingLog, "control.", { ...bounds, ...CONTROL_BOUNDS }, Math.min(states, CONTROL_STATES))
            : undefined;
        done.push({ ...recorded, honest, lying });
      }
      return done;
    } finally {
      interrupted = stop.aborted;
      await template.close();
    }
  });
  line.end();
  const rows = runs.map(({ honest, lying, ...facts }) => ({
    run: facts.run,
    steps: facts.cutStep,
    writes: facts.writes,
    flushes: facts.flushes,
    states: honest.inAll,
    judged: honest.summary.distinct,
    flagged: honest.summary.flagged,
    expected: honest.expected,
    superblockTears: honest.summary.superblockTears,
    controlJudged: lying?.summary.distinct ?? null,
    controlFlagged: lying?.summary.flagged ?? null,
    refused: facts.refused.length,
  }));
  const sum = (of: (row: (typeof rows)[number]) => number): number => rows.reduce((all, row) => all + of(row), 0);
  const document = {
    schema: 1,
    fs,
    workload: options.workload,
    mkfs,
    mount,
    seed,
    interrupted,
    judged: sum(({ judged }) => judged),
    flagged: sum(({ flagged }) => flagged),
    runs: runs.map(({ honest, lying, refused, log }, n) => ({
      ...rows[n]!,
      log,
      refused,
      byClass: honest.summary.byClass,
      expectedByKind: honest.expectedByKind,
      byKind: honest.summary.byKind,
      firstFailures: honest.summary.firstFailures,
      control: lying === undefined ? null : { flagged: lying.summary.flagged, byClass: lying.summary.byClass },
    })),
  };
  const facts = [
    ["file system", fs],
    ["workload", options.workload],
    ["mkfs", mkfs],
    ["mount", mount],
    ["seed", String(seed)],
  ] as const;
  const show = (id: string, { base, log }: RecordedRun): string =>
    `orrery crash show ${id} --fs ${fs} --base ${base} --log ${log}`;
  const found = runs.map((one) => ({ run: one.run, summary: one.honest.summary, show: (id: string) => show(id, one) }));
  await writeReport(run.path(REPORT_NAME), facts, (all) => guestReport(fs, all, rows, found));
  // A run that is not finished is taken up again by the same command with this directory.
  if (!interrupted) run.finish({ seed, document });
  const broken = runs.find(({ honest }) => honest.summary.flagged > 0);
  emit(options.format, {
    document,
    rows,
    notes: [
      ...(broken === undefined ? [] : failureNotes(broken.honest.summary)),
      ...runs.flatMap(({ refused }) => refused.slice(0, 2).map((text) => `the guest refused: ${text}`)),
      ...expectedNotes(runs),
      "judged: distinct contents of a sample of the states, by Linux's own mount and by the file system's own checker",
      "controlFlagged: the same recording, had the disk ignored every flush",
      `recordings and results in ${run.dir}`,
    ],
  });
  const uncaught = runs.filter(({ lying }) => lying !== undefined && lying.summary.flagged === 0);
  for (const { run: number } of uncaught)
    console.error(
      `orrery: run ${number}: a disk that ignores flushes was not caught: the run promised too little to tell`,
    );
  if (interrupted) console.error(`orrery: stopped; go on with the same command and --out ${run.dir}`);
  else if (broken !== undefined) {
    const first = broken.honest.summary.firstFailures[0]!;
    console.error(`orrery: ${document.flagged} crash states are broken; see the first with: ${show(first.id, broken)}`);
    process.exitCode = EXIT.invariant;
  } else if (uncaught.length > 0) process.exitCode = EXIT.missed;
}

/** Where there is any. */
function expectedNotes(runs: readonly ForeignRun[]): string[] {
  const all: Record<string, number> = {};
  for (const { honest } of runs)
    for (const [kind, count] of Object.entries(honest.expectedByKind)) all[kind] = (all[kind] ?? 0) + count;
  const kinds = Object.entries(all).sort(([, a], [, b]) => b - a);
  if (kinds.length === 0) return [];
  return [
    `expected: not flagged, with damage that is no bug without a journal: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(", ")}`,
  ];
}
