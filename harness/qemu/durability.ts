/**
 * The durability oracle: a real Linux guest writes files on ext4 on our recorded disk and syncs each; the power goes at
 * random points of the recording; whatever a sync had promised before that point must be there after recovery, with its
 * content. A clean e2fsck is not enough: a disk that ignores flushes passes it, since a journal whose checksums do not
 * fit just ends earlier.
 *
 * - recordGuest(options)      the guest's run: content before, log with a marker after each promise
 * - judge(recording, ...)     one crash image: recovered by e2fsck's journal replay, every promised file read by debugfs
 * - durability(options)       both disks, honest and lying: the report
 */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { truncateSync, writeFileSync } from "node:fs";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { SparseDisk } from "../disk/sparse.ts";
import { crashImage } from "../nbd/crash_image.ts";
import type { Honesty } from "../nbd/crash_image.ts";
import { LogType, markerText } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";
import { RecordingDisk, memorySink } from "../nbd/record.ts";
import { serveNbd } from "../nbd/server.ts";
import { bootGuest } from "./guest.ts";
import type { GuestOptions } from "./guest.ts";
import { runFolder } from "./open_things.ts";
import { needTool } from "./packages.ts";

const DISK_BYTES = 64 << 20;
/** What a lying disk's cache holds. A group of files is some tens of writes. */
const CACHE_WRITES = 64;
const WHY = "check durability";

export interface DurabilityOptions {
  /** Files written and synced one after the other. */
  readonly files: number;
  /** Crash images of each of the two disks. */
  readonly images: number;
  readonly seed: number;
  readonly guest: Omit<GuestOptions, "disk">;
  readonly progress: (done: number, total: number) => void;
}

export interface DiskVerdict {
  readonly images: number;
  /** Images in which a promised file was missing or wrong. */
  readonly caught: number;
  /** Images in which at least one promised write was lost: what could be caught. */
  readonly catchable: number;
  readonly filesChecked: number;
  readonly filesLost: number;
  /** Images that e2fsck finds damaged after the replay: shown to make the point that it is no oracle. */
  readonly fsckDamaged: number;
}

export interface DurabilityReport {
  readonly schema: 1;
  readonly seed: number;
  readonly files: number;
  readonly writes: number;
  readonly flushes: number;
  readonly honest: DiskVerdict;
  readonly lying: DiskVerdict;
}

interface Recording {
  readonly before: SparseDisk;
  readonly log: readonly LogEntry[];
}

/** One line repeated: from 9 bytes to some 40 KB, so that files are inline, one block, and several extents. */
const contentOf = (file: number): string => `orrery ${file}\n`.repeat(1 + ((file * file * 37) % 4000));

/** Half of the files are written in place with an fsync of their own; half are renamed into place before a sync of all. */
function writeCommand(file: number): string {
  const lines = contentOf(file).split("\n").length - 1;
  const write = `yes "orrery ${file}" | head -n ${lines}`;
  if (file % 2 === 0) return `${write} | dd of=/mnt/f${file} bs=4k conv=fsync`;
  return `${write} > /mnt/new; mv /mnt/new /mnt/f${file}; sync`;
}

/** Freshly made, with a journal small enough to wrap. */
function freshExt4(folder: string): SparseDisk {
  const image = join(folder, "ext4.img");
  writeFileSync(image, "");
  truncateSync(image, DISK_BYTES);
  execFileSync(needTool("mkfs.ext4", WHY), ["-q", "-F", "-b", "4096", "-J", "size=4", image], { stdio: "ignore" });
  return SparseDisk.load(image);
}

async function recordGuest(options: DurabilityOptions, folder: string): Promise<Recording> {
  const disk = freshExt4(folder);
  const before = disk.snapshot();
  const sink = memorySink();
  const recorder = new RecordingDisk(disk, sink, () => performance.now());
  const server = await serveNbd(recorder, { path: join(folder, "nbd") });
  try {
    const guest = await bootGuest({ ...options.guest, disk: server.address });
    try {
      await guest.must("mount -t ext4 /dev/vda /mnt");
      for (let file = 0; file < options.files; file++) {
        await guest.must(writeCommand(file));
        recorder.mark(String(file));
        options.progress(file, options.files + 2 * options.images);
      }
    } finally {
      await guest.cut();
    }
  } finally {
    await server.close();
  }
  return { before, log: sink.entries };
}

/** Files whose sync had returned before the cut. */
const promisedAt = (log: readonly LogEntry[], cut: number): number[] =>
  log
    .slice(0, cut)
    .filter((entry) => entry.type === LogType.Marker)
    .map((entry) => Number(markerText(entry)));

/** How many of `files` are not there with their content; the image is recovered first. */
function lostFiles(image: string, files: readonly number[]): { lost: number; damaged: boolean } {
  spawnSync(needTool("e2fsck", WHY), ["-y", "-E", "journal_only", image], { stdio: "ignore" });
  const damaged = (spawnSync(needTool("e2fsck", WHY), ["-fn", image], { stdio: "ignore" }).status ?? 8) !== 0;
  const commands = files.map((file) => `cat /f${file}\n`).join("");
  const read = spawnSync(needTool("debugfs", WHY), ["-f", "-", image], {
    input: commands,
    encoding: "utf8",
    maxBuffer: 1 << 30,
  });
  // debugfs repeats each command before its output.
  const said = new Map(
    read.stdout.split(/^debugfs: cat \/f/m).map((part) => {
      const end = part.indexOf("\n");
      return [part.slice(0, end).trim(), part.slice(end + 1)];
    }),
  );
  return { lost: files.filter((file) => said.get(String(file)) !== contentOf(file)).length, damaged };
}

function judge(
  recording: Recording,
  honesty: Honesty,
  options: DurabilityOptions,
  folder: string,
  done: (images: number) => void,
): DiskVerdict {
  const { before, log } = recording;
  const random = prng(options.seed);
  const image = join(folder, "crash.img");
  // From the first promise on: before it there is nothing to lose.
  const first = log.findIndex((entry) => entry.type === LogType.Marker);
  const verdict = { images: 0, caught: 0, catchable: 0, filesChecked: 0, filesLost: 0, fsckDamaged: 0 };
  for (; verdict.images < options.images; verdict.images++) {
    const cut = first + 1 + nextBelow(random, log.length - first);
    const crash = crashImage(before, log, cut, honesty, random);
    crash.disk.store(image);
    const files = promisedAt(log, cut);
    const { lost, damaged } = lostFiles(image, files);
    verdict.filesChecked += files.length;
    verdict.filesLost += lost;
    if (lost > 0) verdict.caught++;
    if (crash.promisedLost > 0) verdict.catchable++;
    if (damaged) verdict.fsckDamaged++;
    done(verdict.images + 1);
  }
  return verdict;
}

export async function durability(options: DurabilityOptions): Promise<DurabilityReport> {
  const folder = runFolder();
  try {
    const recording = await recordGuest(options, folder.path);
    const { files, images, seed } = options;
    const total = files + 2 * images;
    const honest = judge(recording, { kind: "honest" }, options, folder.path, (n) =>
      options.progress(files + n, total),
    );
    const lying = judge(recording, { kind: "lying", cacheWrites: CACHE_WRITES }, options, folder.path, (n) =>
      options.progress(files + images + n, total),
    );
    const count = (type: LogType): number => recording.log.filter((entry) => entry.type === type).length;
    return { schema: 1, seed, files, writes: count(LogType.Write), flushes: count(LogType.Flush), honest, lying };
  } finally {
    folder.remove();
  }
}
