/**
 * One script in one guest on one disk, start to end: what `orrery guest run` does.
 */
import { join } from "node:path";
import { openDisk } from "../disk/open.ts";
import type { OpenDisk } from "../disk/open.ts";
import { RecordingDisk, fileSink } from "../nbd/record.ts";
import { serveNbd } from "../nbd/server.ts";
import { bootGuest } from "./guest.ts";
import type { GuestOptions } from "./guest.ts";
import { runFolder } from "./open_things.ts";

export interface ScriptRun {
  readonly script: Buffer;
  /** As harness/disk/open.ts names disks; none: a guest without one. */
  readonly disk?: string;
  readonly record?: string;
  readonly machine: Omit<GuestOptions, "disk" | "stop">;
  readonly timeoutMs: number;
  readonly stop: AbortSignal;
  readonly output: (bytes: Buffer) => void;
}

export interface ScriptResult {
  readonly status: number;
  readonly bootMs: number;
  readonly scriptMs: number;
  /** Records in the log, if one was asked for. */
  readonly records: number | null;
}

export async function runOnGuest(run: ScriptRun): Promise<ScriptResult> {
  const disk = run.disk === undefined ? undefined : await openDisk(run.disk);
  const sink = run.record === undefined ? undefined : fileSink(run.record);
  const folder = runFolder();
  try {
    const device = disk === undefined || sink === undefined ? disk?.device : recorded(disk, sink);
    const server = device === undefined ? undefined : await serveNbd(device, { path: join(folder.path, "nbd") });
    try {
      return await inGuest(run, server?.address, () => sink?.count ?? null);
    } finally {
      await server?.close();
    }
  } finally {
    sink?.close();
    await disk?.close();
    folder.remove();
  }
}

const recorded = (disk: OpenDisk, sink: ReturnType<typeof fileSink>): RecordingDisk =>
  new RecordingDisk(disk.device, sink, () => performance.now());

async function inGuest(
  run: ScriptRun,
  disk: GuestOptions["disk"],
  records: () => number | null,
): Promise<ScriptResult> {
  const startMs = performance.now();
  const machine = { ...run.machine, stop: run.stop };
  const guest = await bootGuest(disk === undefined ? machine : { ...machine, disk });
  try {
    const bootedMs = performance.now();
    const status = await guest.agent.script(run.script, run.timeoutMs, run.output);
    // What the script wrote and did not sync is the guest's to write back: it does so as at any shutdown.
    await guest.run("sync");
    return { status, bootMs: bootedMs - startMs, scriptMs: performance.now() - bootedMs, records: records() };
  } finally {
    await guest.cut();
  }
}
