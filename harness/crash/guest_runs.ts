/**
 * The recordings of a guest campaign, in the run's directory: made once, so that a campaign that was stopped goes on with
 * the same ones, and any state of them can be shown.
 *
 *   base.img.zst              the file system as mkfs made it
 *   runN.log                  what the disk of run N was told
 *   runN.ignored-flushes.log  the same, had the disk ignored every flush: the control
 *   runN.json                 the facts of the run; it comes last
 *
 * - guestRuns(options)        one run after the other
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { UserError } from "../cli/exit.ts";
import type { ProgressLine } from "../cli/progress.ts";
import { LogType } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";
import { fileSink } from "../nbd/record.ts";
import { guestBench } from "./guest_record.ts";
import type { GuestBench, GuestBenchOptions, SeenTree } from "./guest_record.ts";
import type { GuestTemplate } from "./guest_template.ts";
import type { GuestStep } from "./guest_workload.ts";

export interface GuestRunsOptions extends GuestBenchOptions {
  readonly template: GuestTemplate;
  readonly runs: number;
  readonly seed: number;
  /** Of run `n`. */
  readonly steps: (n: number) => readonly GuestStep[];
  /** At the end of the steps, or somewhere in them. */
  readonly cutAtEnd: boolean;
  readonly dir: string;
  readonly line: ProgressLine;
  readonly stop: AbortSignal;
}

/** What runN.json holds. */
export interface RunFacts {
  /** What the run was asked to be: another one is not taken for it. */
  readonly asked: string;
  /** Of all its steps. */
  readonly commands: readonly GuestStep[];
  readonly cutStep: number;
  readonly writes: number;
  readonly flushes: number;
  readonly refused: readonly string[];
  readonly seen: readonly SeenTree[];
}

export interface RecordedRun extends RunFacts {
  readonly run: number;
  readonly base: string;
  readonly log: string;
  readonly lyingLog: string;
}

const CUT_MS = 40;

function store(path: string, entries: readonly LogEntry[]): void {
  const sink = fileSink(path);
  for (const entry of entries) sink.append(entry);
  sink.close();
}

/** The facts beside a log of either kind; undefined where there are none. */
export function factsBeside(log: string): RunFacts | undefined {
  const path = log.replace(/(\.ignored-flushes)?\.log$/, ".json");
  return path !== log && existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as RunFacts) : undefined;
}

export async function* guestRuns(options: GuestRunsOptions): AsyncGenerator<RecordedRun> {
  const { dir, line, stop } = options;
  const base = join(dir, "base.img.zst");
  const random = prng(options.seed);
  let bench: GuestBench | undefined;
  try {
    for (let run = 0; run < options.runs && !stop.aborted; run++) {
      const steps = options.steps(run);
      const cutStep = options.cutAtEnd ? steps.length : Math.ceil(steps.length / 3) + nextBelow(random, steps.length);
      const cut = { step: Math.min(cutStep, steps.length), afterMs: nextBelow(random, CUT_MS) };
      const { template, mkfs, mount, sizeBytes } = options;
      const asked = JSON.stringify([template.fs.name, mkfs, mount, sizeBytes, options.seed, cut.step]);
      const files = { base, log: join(dir, `run${run}.log`), lyingLog: join(dir, `run${run}.ignored-flushes.log`) };
      const before = factsBeside(files.log);
      if (before !== undefined && (before.asked !== asked || JSON.stringify(before.commands) !== JSON.stringify(steps)))
        throw new UserError(
          `${files.log} is of another campaign: choose another --out, or the options it was begun with`,
        );
      if (before === undefined) {
        line.update("booting the guest");
        const image = existsSync(base) ? zstdDecompressSync(readFileSync(base)) : undefined;
        bench ??= guestBench(template, { ...options, ...(image === undefined ? {} : { image }) });
        if (image === undefined) writeFileSync(base, zstdCompressSync(bench.image));
        line.update(`run ${run + 1} of ${options.runs}: the guest works`);
        const { entries, refused, seen } = await bench.record(steps, cut);
        const count = (type: LogType): number => entries.filter((entry) => entry.type === type).length;
        store(files.log, entries);
        store(
          files.lyingLog,
          entries.filter(({ type }) => type !== LogType.Flush).map((entry) => ({ ...entry, fua: false })),
        );
        const [writes, flushes] = [count(LogType.Write), count(LogType.Flush)];
        storeFacts(dir, run, { asked, commands: steps, cutStep: cut.step, writes, flushes, refused, seen });
      }
      yield { run, ...factsBeside(files.log)!, ...files };
    }
  } finally {
    bench?.close();
  }
}

/** Under its name only when it is whole. */
function storeFacts(dir: string, run: number, facts: RunFacts): void {
  const path = join(dir, `run${run}.json`);
  writeFileSync(`${path}.part`, JSON.stringify(facts));
  renameSync(`${path}.part`, path);
}
