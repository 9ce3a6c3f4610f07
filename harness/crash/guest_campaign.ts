/**
 * Runs of a real guest on ext4, each cut at an instant by chance, its recording explored without booting again; and as
 * the control the same recording as if the disk had ignored every flush: that one must be caught.
 *
 * - runGuestCampaign(options)    a row a run
 */
import { join } from "node:path";
import { boundsFor, runCampaign } from "./campaign.ts";
import type { CampaignFound } from "./campaign.ts";
import type { ExploreOptions } from "./explore.ts";
import { guestRuns } from "./guest_runs.ts";
import type { GuestRunsOptions, RecordedRun } from "./guest_runs.ts";
import { loadRecorded } from "./recorded.ts";

export interface GuestCampaignOptions extends GuestRunsOptions {
  readonly bounds: ExploreOptions;
  /** States to be enumerated for each run. */
  readonly states: number;
  readonly workers: number;
  readonly referee: number;
  readonly kernel: number;
  readonly control: boolean;
}

export interface GuestRun extends RecordedRun {
  readonly honest: CampaignFound;
  /** Undefined when no control was asked for. */
  readonly lying: CampaignFound | undefined;
}

/** Of the control only enough is looked at to catch it. */
export const CONTROL_BOUNDS = { maxSubset: 8, random: 1_500, tears: false, dropSpan: 24 };

export async function runGuestCampaign(options: GuestCampaignOptions): Promise<GuestRun[]> {
  const { dir, line, stop } = options;
  const runs: GuestRun[] = [];
  for await (const recorded of guestRuns(options)) {
    const { run, base, log, lyingLog } = recorded;
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
    const lying =
      options.control && !stop.aborted
        ? await explore(lyingLog, { ...options.bounds, ...CONTROL_BOUNDS }, "control.", 0, 0)
        : undefined;
    runs.push({ ...recorded, honest, lying });
  }
  return runs;
}
