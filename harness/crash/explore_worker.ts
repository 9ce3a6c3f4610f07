/** Worker of fleet.ts: opens the recording once, then judges pieces of it. */
import { workerData } from "node:worker_threads";
import { openExplorer, runChunk } from "./explore.ts";
import type { Chunk, ChunkOutcome, Explorer, ExploreOptions } from "./explore.ts";
import { loadRecorded } from "./recorded.ts";

export interface ExploreWork {
  readonly base: string;
  readonly log: string;
  readonly options: ExploreOptions;
}

/** Piscina wraps what it was given. */
const work = (Array.isArray(workerData) ? workerData[1] : workerData) as ExploreWork;
let explorer: Explorer | undefined;

export default function judge(chunk: Chunk): ChunkOutcome {
  explorer ??= openExplorer(loadRecorded(work.base, work.log), work.options);
  return runChunk(explorer, chunk);
}
