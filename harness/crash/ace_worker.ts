/** Worker of ace_campaign.ts: judges workloads by their numbers. */
import { workerData } from "node:worker_threads";
import { aceSpace } from "./ace.ts";
import type { AceJob, AceOutcome, AceWork } from "./ace_campaign.ts";
import { judgeWorkload } from "./workload_judge.ts";
import { crashBase } from "./workload_run.ts";

/** Piscina wraps what it was given. */
const work = (Array.isArray(workerData) ? workerData[1] : workerData) as AceWork;
const space = aceSpace(work.length, work.alignedTruncate);
const base = crashBase(work.base);

export default function judge({ indexes }: AceJob): AceOutcome[] {
  return indexes.map((index) => {
    const { text, calls } = space.at(index);
    const { run, explorer, summary, epochs, wholeEpochs } = judgeWorkload(base, calls, work.judge);
    explorer.disk.close();
    return {
      index,
      text,
      failed: run.failed,
      writes: run.recorded.writes.length,
      epochs,
      wholeEpochs,
      states: summary.states,
      distinct: summary.distinct,
      flagged: summary.flagged,
      superblockTears: summary.superblockTears,
      fastCommits: run.fastCommits,
      byClass: summary.byClass,
      byPrefixes: summary.flaggedByPrefixes,
      first: summary.firstFailures[0],
      digest: summary.digest,
    };
  });
}
