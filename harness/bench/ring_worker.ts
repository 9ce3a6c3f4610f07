/** A side of the ring benchmark in a thread of its own: runs jobs as they come, one at a time. */
import { parentPort, workerData } from "node:worker_threads";
import { copyOnly, runDevice, runDriver } from "./ring_run.ts";
import type { RingConfig, Shared } from "./ring_run.ts";

/** What a worker is asked for. */
export type RingJob =
  | { readonly kind: "driver"; readonly config: RingConfig; readonly requests: number }
  | { readonly kind: "device"; readonly config: RingConfig }
  | { readonly kind: "copy"; readonly blocks: number; readonly buffers: number };

const shared = workerData as Shared;

parentPort?.on("message", (job: RingJob) => {
  if (job.kind === "driver") parentPort!.postMessage(runDriver(shared, job.config, job.requests));
  else if (job.kind === "copy") parentPort!.postMessage(copyOnly(shared, job.blocks, job.buffers));
  else {
    runDevice(shared, job.config);
    parentPort!.postMessage(null);
  }
});
