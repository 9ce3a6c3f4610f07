/** Worker entry of campaign.ts: carries out one job and posts its progress and its end. */
import { parentPort, workerData } from "node:worker_threads";
import type { AnyFuzzTarget } from "../../fuzz/target.ts";
import type { Bench } from "../bench/bench.ts";
import type { Job, Message } from "./campaign.ts";
import { UserError } from "./exit.ts";

const POST_MS = 50;

const post = (message: Message): void => parentPort!.postMessage(message);

/** A target reports after every case: most of that is not worth a message. */
function thinned(): (done: number) => void {
  let postedMs = 0;
  return (done) => {
    const now = performance.now();
    if (now - postedMs < POST_MS) return;
    postedMs = now;
    post({ type: "progress", text: "", done });
  };
}

async function carryOut(job: Job): Promise<unknown> {
  const module: unknown = await import(job.file);
  if (job.kind === "fuzz") {
    const { target } = module as { readonly target: AnyFuzzTarget };
    return job.canary ? target.canary(job.seed) : target.run(job.seed, job.runs, thinned());
  }
  const { bench } = module as { readonly bench: Bench };
  return bench.run({
    quick: job.quick,
    progress: (text) => post({ type: "progress", text, done: 0 }),
    ...(job.devices === undefined ? {} : { devices: job.devices }),
  });
}

try {
  post({ type: "result", value: await carryOut(workerData as Job) });
} catch (error) {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  post({ type: "error", name, message, stack, exitCode: error instanceof UserError ? error.exitCode : undefined });
}
