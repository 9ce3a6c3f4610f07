/**
 * Runs a job against a QEMU device: QEMU in a process, the job in a worker (its calls block), and this, which watches
 * both from the main thread. A QEMU that ends is an error within a second, a silent one after `timeoutMs`; the worker is
 * never left blocked, and nothing is left behind.
 *
 * - onQemu(options)   the job's result; UserError (exit 4) without QEMU or mkfifo, Error when QEMU ends or is silent
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { KernelPanic } from "../../kernel/lib/assert.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { UserError } from "../cli/exit.ts";
import { CONTROL_WORDS, Control, GONE_LINE } from "./control.ts";
import { haltBios, qemuArgs } from "./machines.ts";
import type { QemuDeviceName, QemuDeviceOptions } from "./machines.ts";
import { atEnd, runFolder } from "./open_things.ts";
import { needTool } from "./packages.ts";
import { startQemu } from "./spawn.ts";
import type { Qemu } from "./spawn.ts";

export const QEMU_TIMEOUT_MS = 10_000;
const WATCH_MS = 100;
/** From QEMU's end to the worker's: it only has to throw. */
const WORKER_END_MS = 2_000;

export interface OnQemu {
  readonly device: QemuDeviceName;
  readonly options?: Partial<QemuDeviceOptions>;
  /** Size of the disk image, which starts as zeroes. */
  readonly diskBytes: number;
  /** Module that exports `run`, a QemuJob (world.ts). */
  readonly job: URL;
  /** Anything that can be cloned to the worker. */
  readonly args: unknown;
  readonly timeoutMs?: number;
  readonly progress?: (done: number) => void;
  readonly stop?: AbortSignal;
  /** For tests: gets the process as soon as it runs. */
  readonly started?: (qemu: Qemu) => void;
}

const DEFAULTS: QemuDeviceOptions = { queueSize: 128, queues: 1, packed: false };

interface Failed {
  readonly kind: "error";
  readonly name: string;
  readonly message: string;
}
type Outcome = { readonly kind: "result"; readonly value: unknown } | Failed;
export type WorkerMessage = { readonly kind: "progress"; readonly done: number } | Outcome;

export interface WorkerStart {
  readonly device: QemuDeviceName;
  readonly folder: string;
  readonly image: string;
  readonly control: Int32Array;
  readonly job: string;
  readonly args: unknown;
}

export async function onQemu(run: OnQemu): Promise<unknown> {
  const folder = runFolder();
  try {
    return await supervise(run, folder.path);
  } finally {
    folder.remove();
  }
}

async function supervise(run: OnQemu, folder: string): Promise<unknown> {
  const image = `${folder}/disk.img`;
  execFileSync(needTool("mkfifo", "talk to QEMU"), [`${folder}/q.in`, `${folder}/q.out`]);
  writeFileSync(image, "");
  truncateSync(image, run.diskBytes);
  writeFileSync(`${folder}/halt.bin`, haltBios());
  const options = { ...DEFAULTS, ...run.options };
  const qemu = startQemu(qemuArgs(run.device, folder, `file=${image},format=raw`, options));
  run.started?.(qemu);

  const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
  const answers = openSync(`${folder}/q.out`, "r+");
  let failure: string | undefined;
  const giveUp = (why: string): void => {
    if (failure !== undefined) return;
    failure = why;
    Atomics.store(control, Control.GONE, 1);
    writeSync(answers, `${GONE_LINE}\n`);
    qemu.kill();
  };
  // process.exit() waits for workers: one that is blocked in a read would keep it for ever.
  const released = atEnd(() => giveUp("interrupted"));
  void qemu.ended.then((line) => giveUp(line));
  const onStop = (): void => giveUp("interrupted");
  run.stop?.addEventListener("abort", onStop);
  const watch = watchSilence(control, run.timeoutMs ?? QEMU_TIMEOUT_MS, giveUp);

  const start: WorkerStart = { device: run.device, folder, image, control, job: run.job.href, args: run.args };
  const worker = new Worker(modulePath("./qemu_worker.ts", import.meta.url), { workerData: start });
  try {
    const message = await outcome(worker, run.progress, () => failure);
    if (message.kind === "result") return message.value;
    throw rebuilt(message, failure);
  } finally {
    clearInterval(watch);
    run.stop?.removeEventListener("abort", onStop);
    giveUp("done");
    released();
    await worker.terminate();
    closeSync(answers);
    await qemu.ended;
  }
}

/** One wait that lasts longer than `timeoutMs` is a silent QEMU. */
function watchSilence(control: Int32Array, timeoutMs: number, giveUp: (why: string) => void): NodeJS.Timeout {
  let serial = -1;
  let sinceMs = performance.now();
  return setInterval(() => {
    const now = Atomics.load(control, Control.SERIAL);
    if (Atomics.load(control, Control.WAITING) === 0 || now !== serial) {
      serial = now;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > timeoutMs) {
      giveUp(`QEMU did not answer for ${timeoutMs} ms (--qemu-timeout)`);
    }
  }, WATCH_MS);
}

/** The worker's last message. When QEMU is gone and the worker does not come to its end, that is the outcome. */
function outcome(
  worker: Worker,
  progress: ((done: number) => void) | undefined,
  failure: () => string | undefined,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let stuckMs = 0;
    const stuck = setInterval(() => {
      if (failure() === undefined) return;
      stuckMs += WATCH_MS;
      if (stuckMs > WORKER_END_MS) end({ kind: "error", name: "QemuGone", message: failure()! });
    }, WATCH_MS);
    const end = (message: Outcome): void => {
      clearInterval(stuck);
      resolve(message);
    };
    worker.on("message", (message: WorkerMessage) => {
      if (message.kind === "progress") progress?.(message.done);
      else end(message);
    });
    worker.on("error", (error) => end({ kind: "error", name: "Error", message: String(error) }));
    worker.on("exit", (code) => end({ kind: "error", name: "Error", message: `the worker ended with code ${code}` }));
  });
}

/** Errors lose their class on the way between threads. */
function rebuilt(message: Failed, failure: string | undefined): Error {
  if (message.name === "KernelPanic") return new KernelPanic(message.message);
  if (message.name === "UserError") return new UserError(message.message);
  if (message.name === "QemuGone") return new UserError(failure ?? message.message);
  return new Error(message.message);
}
