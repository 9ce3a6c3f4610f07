/**
 * A real Linux guest's disk recorded while it works, and cut. The image is made once, with what --mkfs says; each run is
 * a clone of one booted guest on a copy of it, so that a run costs its work and no boot.
 *
 * - guestBench(options)         boots the guest and stops it: a template
 * - bench.record(steps, cut)    a run on a disk of its own: the log until the cut
 *
 * A cut at step n: the steps before it have ended, that one was begun, and so many milliseconds later the power goes.
 */
import { execFileSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../cli/exit.ts";
import { SparseDisk } from "../disk/sparse.ts";
import { RecordingDisk, memorySink } from "../nbd/record.ts";
import type { LogEntry } from "../nbd/log.ts";
import { serveNbd } from "../nbd/server.ts";
import { makeTemplate } from "../qemu/clone.ts";
import { bootGuest } from "../qemu/guest.ts";
import type { GuestOptions } from "../qemu/guest.ts";
import { runFolder } from "../qemu/open_things.ts";
import { needTool } from "../qemu/packages.ts";
import { MOUNTED } from "./guest_workload.ts";
import type { GuestStep } from "./guest_workload.ts";

export interface GuestBenchOptions {
  readonly sizeBytes: number;
  /** Words for mkfs.ext4, and for mount -o; empty: the defaults. */
  readonly mkfs: string;
  readonly mount: string;
  readonly guest: Omit<GuestOptions, "disk">;
}

export interface Cut {
  readonly step: number;
  readonly afterMs: number;
}

export interface GuestRecording {
  readonly entries: readonly LogEntry[];
  /** Commands that the guest refused: their text and what it said. */
  readonly refused: readonly string[];
}

export interface GuestBench {
  readonly image: Uint8Array;
  record(steps: readonly GuestStep[], cut: Cut): Promise<GuestRecording>;
  close(): Promise<void>;
}

const WHY = "crash real guests";
/** So that the same options give the same image on every run. */
const FIXED = ["-U", "6f727265-7279-4000-8000-000000000001", "-E", "hash_seed=6f727265-7279-4000-8000-000000000002"];
const REFUSED_MAX = 20;

/** Fixed unless the user's options say otherwise; -E may come once only. */
function mkfsArgs(mkfs: string): string[] {
  const words = mkfs.split(/\s+/).filter((word) => word !== "");
  const extended = words.findIndex((word) => word === "-E");
  if (extended < 0) return [...FIXED, ...words];
  const joined = `${words[extended + 1] ?? ""},${FIXED[3]!}`;
  return [FIXED[0]!, FIXED[1]!, ...words.slice(0, extended), "-E", joined, ...words.slice(extended + 2)];
}

function makeImage(folder: string, { sizeBytes, mkfs }: GuestBenchOptions): SparseDisk {
  const image = join(folder, "fs.img");
  writeFileSync(image, "");
  truncateSync(image, sizeBytes);
  const args = ["-q", "-F", ...mkfsArgs(mkfs), image];
  try {
    execFileSync(needTool("mkfs.ext4", WHY), args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { stderr } = error as { readonly stderr?: Buffer };
    const said = stderr?.toString().trim().split("\n").at(-1);
    throw new UserError(`mkfs.ext4 refuses "${mkfs}": ${said ?? String(error)}`);
  }
  return SparseDisk.load(image);
}

export async function guestBench(options: GuestBenchOptions): Promise<GuestBench> {
  const folder = runFolder();
  try {
    const made = makeImage(folder.path, options);
    const image = new Uint8Array(options.sizeBytes);
    made.readAt(0, image);
    const booted = await serveNbd(made.snapshot(), { path: join(folder.path, "boot") });
    const guest = await bootGuest({ ...options.guest, disk: booted.address });
    const template = await makeTemplate(guest);
    let serial = 0;
    return {
      image,
      async record(steps, cut) {
        const sink = memorySink();
        const disk = new RecordingDisk(made.snapshot(), sink, () => performance.now());
        const server = await serveNbd(disk, { path: join(folder.path, `run${++serial}`) });
        try {
          const clone = await template.clone(server.address);
          try {
            const how = options.mount === "" ? "" : `-o ${options.mount}`;
            await clone.must(`mount -t ext4 ${how} /dev/vda ${MOUNTED}`);
            disk.mark("start");
            return { refused: await work(clone, disk, steps, cut), entries: sink.entries };
          } finally {
            await clone.cut();
          }
        } finally {
          await server.close();
        }
      },
      async close() {
        await template.remove();
        await booted.close();
        folder.remove();
      },
    };
  } catch (error) {
    folder.remove();
    throw error;
  }
}

async function work(
  guest: Awaited<ReturnType<typeof bootGuest>>,
  disk: RecordingDisk,
  steps: readonly GuestStep[],
  cut: Cut,
): Promise<string[]> {
  const refused: string[] = [];
  for (const [n, { command, marker }] of steps.entries()) {
    if (n === cut.step) {
      // Whether it ends before the power goes is not known: nothing is promised.
      void guest.run(command).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, cut.afterMs));
      return refused;
    }
    const { status, output } = await guest.run(command);
    if (status !== 0) {
      if (refused.length < REFUSED_MAX) refused.push(`${command}: ${output.trim().split("\n").at(-1) ?? status}`);
    } else if (marker !== undefined) disk.mark(marker);
  }
  return refused;
}
