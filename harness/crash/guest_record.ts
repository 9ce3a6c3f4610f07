/**
 * A real Linux guest's disk recorded while it works, and cut. The image is made once, with what --mkfs says; each run is
 * a clone of one booted guest on a copy of it, so that a run costs its work and no boot.
 *
 * - guestBench(template, options)   the image
 * - bench.record(steps, cut)        a run on a disk of its own: the log until the cut
 *
 * A cut at step n: the steps before it have ended, that one was begun, and so many milliseconds later the power goes.
 */
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SparseDisk } from "../disk/sparse.ts";
import { RecordingDisk, memorySink } from "../nbd/record.ts";
import type { LogEntry } from "../nbd/log.ts";
import { serveNbd } from "../nbd/server.ts";
import type { Guest } from "../qemu/guest.ts";
import { runFolder } from "../qemu/open_things.ts";
import { makeFs } from "./guest_fs.ts";
import type { GuestFs } from "./guest_fs.ts";
import { LIST } from "./guest_listing.ts";
import type { GuestTemplate } from "./guest_template.ts";
import { MOUNTED } from "./guest_workload.ts";
import type { GuestStep } from "./guest_workload.ts";

export interface GuestBenchOptions {
  readonly sizeBytes: number;
  /** Words for mkfs, and for mount -o; empty: the defaults. */
  readonly mkfs: string;
  readonly mount: string;
  /** The file system as an earlier bench made it; else it is made. */
  readonly image?: Uint8Array;
  /** Have the guest tell its tree at each marker: by then that is what it holds to be durable. */
  readonly listed: boolean;
}

/** The tree as the guest saw it before step `step` began. */
export interface SeenTree {
  readonly step: number;
  /** What LIST said. */
  readonly text: string;
}

export interface Cut {
  readonly step: number;
  readonly afterMs: number;
}

export interface GuestRecording {
  readonly entries: readonly LogEntry[];
  /** Commands that the guest refused: their text and what it said. */
  readonly refused: readonly string[];
  /** One for each marker but the first, which precedes all steps, and one for the cut. */
  readonly seen: readonly SeenTree[];
}

export interface GuestBench {
  readonly image: Uint8Array;
  record(steps: readonly GuestStep[], cut: Cut): Promise<GuestRecording>;
  close(): void;
}

const REFUSED_MAX = 20;

function makeImage(folder: string, fs: GuestFs, { sizeBytes, mkfs, image: given }: GuestBenchOptions): SparseDisk {
  const image = join(folder, "fs.img");
  writeFileSync(image, given ?? "");
  truncateSync(image, sizeBytes);
  if (given === undefined) makeFs(fs, mkfs, image);
  return SparseDisk.load(image);
}

/** What the guest knows of its disk from before is of another one. */
const FORGET = "blockdev --flushbufs /dev/vda; echo 3 > /proc/sys/vm/drop_caches";

export function guestBench(template: GuestTemplate, options: GuestBenchOptions): GuestBench {
  const folder = runFolder();
  try {
    const made = makeImage(folder.path, template.fs, options);
    const image = new Uint8Array(options.sizeBytes);
    made.readAt(0, image);
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
            const words = [...(options.listed ? ["noatime"] : []), ...(options.mount === "" ? [] : [options.mount])];
            const how = words.length === 0 ? "" : `-o ${words.join(",")}`;
            await clone.must(FORGET);
            await clone.must(`mount -t ${template.fs.name} ${how} /dev/vda ${MOUNTED}`);
            disk.mark("start");
            return { ...(await work(clone, disk, steps, cut, options.listed)), entries: sink.entries };
          } finally {
            await clone.cut();
          }
        } finally {
          await server.close();
        }
      },
      close: () => folder.remove(),
    };
  } catch (error) {
    folder.remove();
    throw error;
  }
}

async function work(
  guest: Guest,
  disk: RecordingDisk,
  steps: readonly GuestStep[],
  cut: Cut,
  listed: boolean,
): Promise<Omit<GuestRecording, "entries">> {
  const refused: string[] = [];
  const seen: SeenTree[] = [];
  const see = async (step: number): Promise<void> => {
    if (listed) seen.push({ step, text: await guest.must(LIST) });
  };
  for (const [n, { command, marker }] of steps.entries()) {
    if (n === cut.step) {
      await see(n);
      // Whether it ends before the power goes is not known: nothing is promised.
      void guest.run(command).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, cut.afterMs));
      return { refused, seen };
    }
    const { status, output } = await guest.run(command);
    if (status !== 0) {
      if (refused.length < REFUSED_MAX) refused.push(`${command}: ${output.trim().split("\n").at(-1) ?? status}`);
    } else if (marker !== undefined) {
      disk.mark(marker);
      await see(n + 1);
    }
  }
  await see(steps.length);
  return { refused, seen };
}
