/**
 * Entry of the worker in which a job talks to QEMU. Started by supervisor.ts.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerMessage, WorkerStart } from "./supervisor.ts";
import { openWorld } from "./world.ts";
import type { QemuJob } from "./world.ts";

const start = workerData as WorkerStart;
const say = (message: WorkerMessage): void => parentPort!.postMessage(message);
const { run } = (await import(start.job)) as { run: QemuJob };
try {
  const world = openWorld(start.device, start.folder, start.image, start.control);
  const value = run(world, start.args, (done) => say({ kind: "progress", done }));
  world.close();
  say({ kind: "result", value });
} catch (error) {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  say({ kind: "error", name, message });
}
