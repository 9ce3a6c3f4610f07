/**
 * Runs one benchmark or fuzz target in a worker thread. Both are long loops that never return to the event loop; with
 * the loop elsewhere this thread still sees Ctrl-C, draws progress, and can say what was done when it is stopped.
 *
 * - runCampaign(job, onProgress, stop)   the result, or undefined when `stop` came first; a panic or any other error in
 *                                        the worker is thrown here, its name and stack kept
 */
import { Worker } from "node:worker_threads";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { UserError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";

export type Job =
  | {
      readonly kind: "fuzz";
      readonly file: string;
      readonly seed: number;
      readonly runs: number;
      readonly canary: boolean;
    }
  | {
      readonly kind: "bench";
      readonly file: string;
      readonly quick: boolean;
      readonly devices?: readonly string[] | undefined;
    };

export type Message =
  | { readonly type: "progress"; readonly text: string; readonly done: number }
  | { readonly type: "result"; readonly value: unknown }
  | {
      readonly type: "error";
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      /** Of a UserError. */
      readonly exitCode: ExitCode | undefined;
    };

export async function runCampaign(
  job: Job,
  onProgress: (text: string, done: number) => void,
  stop: AbortSignal,
): Promise<unknown> {
  const worker = new Worker(modulePath("./campaign_worker.ts", import.meta.url), { workerData: job });
  try {
    return await new Promise((resolve, reject) => {
      stop.addEventListener("abort", () => resolve(undefined), { once: true });
      worker.on("message", (message: Message) => {
        if (message.type === "progress") onProgress(message.text, message.done);
        else if (message.type === "result") resolve(message.value);
        else reject(rebuilt(message));
      });
      worker.on("error", reject);
      worker.on("exit", (code) => reject(new Error(`the worker of ${job.file} ended with ${code} before its result`)));
    });
  } finally {
    worker.removeAllListeners("exit");
    await worker.terminate();
  }
}

/** Errors lose their class on the way between threads. */
function rebuilt({ name, message, stack, exitCode }: Extract<Message, { type: "error" }>): Error {
  if (exitCode !== undefined) return new UserError(message, exitCode);
  return Object.assign(new Error(message), { name, stack });
}
