/**
 * Runs of a real guest, each cut at an instant by chance, its recording explored without booting again; and as the
 * control the same recording as if the disk had ignored every flush: that one must be caught.
 *
 * - runGuestCampaign(options)    a row a run; recordings stay in the run's directory, so that any state can be shown
 */
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { zstdCompressSync } from "node:zlib";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { ProgressLine } from "../cli/progress.ts";
import { LogType } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";
import { fileSink } from "../nbd/record.ts";
import { boundsFor, runCampaign } from "./campaign.ts";
import type { CampaignFound } from "./campaign.ts";
import type { ExploreOptions } from "./explore.ts";
import { guestBench } from "./guest_record.ts";
import type { GuestBenchOptions } from "./guest_record.ts";
import type { GuestStep } from "./guest_workload.ts";
import { loadRecorded } from "./recorded.ts";

export interface GuestCampaignOptions extends GuestBenchOptions {
  readonly runs: number;
  readonly seed: number;
  /** Of run `n`. */
  readonly steps: (n: number) => readonly GuestStep[];
  /** At the end of the steps, or somewhere in them. */
  readonly cutAtEnd: boolean;
  readonly bounds: ExploreOptions;
  /** States to be enumerated for each run. */
  readonly states: number;
  readonly workers: number;
  readonly referee: number;
  readonly kernel: number;
  readonly control: boolean;
  readonly dir: string;
  readonly line: ProgressLine;
  readonly stop: AbortSignal;
}

export interface GuestRun {
  readonly run: number;
  readonly seed: number;
  readonly steps: number;
  readonly cutStep: number;
  readonly writes: number;
  readonly flushes: number;
  readonly refused: readonly string[];
  readonly honest: CampaignFound;
  /** Undefined when no control was asked for. */
  readonly lying: CampaignFound | undefined;
  readonly base: string;
  readonly log: string;
  readonly lyingLog: string;
}

const CUT_MS = 40;
/** Of the control only enough is looked at to catch it. */
const CONTROL_BOUNDS = { maxSubset: 8, random: 1_500, tears: false, dropSpan: 24 };

function store(path: string, entries: readonly LogEntry[]): void {
  const sink = fileSink(path);
  for (const entry of entries) sink.append(entry);
  sink.close();
}

export async function runGuestCampaign(options: GuestCampaignOptions): Promise<GuestRun[]> {
  const { dir, line, stop } = options;
  line.update("booting the guest");
  const bench = await guestBench(options);
  const base = join(dir, "base.img.zst");
  const runs: GuestRun[] = [];
  try {
    writeFileSync(base, zstdCompressSync(bench.image));
    const random = prng(options.seed);
    for (let run = 0; run < options.runs && !stop.aborted; run++) {
      const steps = options.steps(run);
      const cutStep = options.cutAtEnd ? steps.length : Math.ceil(steps.length / 3) + nextBelow(random, steps.length);
      line.update(`run ${run + 1} of ${options.runs}: the guest works`);
      const cut = { step: Math.min(cutStep, steps.length), afterMs: nextBelow(random, CUT_MS) };
      const { entries, refused } = await bench.record(steps, cut);
      const log = join(dir, `run${run}.log`);
      const lyingLog = join(dir, `run${run}.ignored-flushes.log`);
      store(log, entries);
      const explore = (path: string, bounds: ExploreOptions, name: string, referee: number, kernel: number) =>
        runCampaign({
          base,
          log: path,
          bounds,
          shard: [1, 1],
          workers: options.workers,
          referee,
          kernel,
          line,
          stop,
          open: () => ({ dir, path: (file) => join(dir, `run${run}.${name}${file}`), finish: () => {} }),
        });
      const bounds = boundsFor(loadRecorded(base, log), options.bounds, options.states);
      const honest = await explore(log, bounds, "", options.referee, options.kernel);
      let lying: CampaignFound | undefined;
      if (options.control && !stop.aborted) {
        store(
          lyingLog,
          entries.filter(({ type }) => type !== LogType.Flush).map((entry) => ({ ...entry, fua: false })),
        );
        lying = await explore(lyingLog, { ...options.bounds, ...CONTROL_BOUNDS }, "control.", 0, 0);
      }
      const count = (type: LogType): number => entries.filter((entry) => entry.type === type).length;
      runs.push({
        run,
        seed: options.seed,
        steps: steps.length,
        cutStep: cut.step,
        writes: count(LogType.Write),
        flushes: count(LogType.Flush),
        refused,
        honest,
        lying,
        base,
        log,
        lyingLog,
      });
    }
    return runs;
  } finally {
    await bench.close();
  }
}
