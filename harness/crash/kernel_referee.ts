/**
 * A real Linux kernel as the referee of crash states: one booted guest, and for each state the content of its disk put in
 * place while nothing is mounted. It mounts (which replays the journal), reads every file, unmounts; then e2fsck looks
 * at what it left.
 *
 * - openKernelReferee(sizeBytes, options)
 * - referee.judge(image)      what the kernel said, and what e2fsck said of its work; undefined twice: nothing
 */
import { join } from "node:path";
import type { BlockImage } from "../../kernel/index.ts";
import { SparseDisk } from "../disk/sparse.ts";
import { serveNbd } from "../nbd/server.ts";
import { bootGuest } from "../qemu/guest.ts";
import { runFolder } from "../qemu/open_things.ts";
import { ChangingDisk } from "./changing_disk.ts";
import { MOUNTED } from "./guest_workload.ts";
import { e2fsckSays, eachBlock } from "./referee.ts";

export interface KernelVerdict {
  /** Why it did not mount, or what could not be read. */
  readonly kernel: string | undefined;
  /** What e2fsck finds in the unmounted file system. */
  readonly left: string | undefined;
}

export interface KernelReferee {
  judge(image: BlockImage, sizeBytes: number): Promise<KernelVerdict>;
  close(): Promise<void>;
}

const NOT_MOUNTED = 99;
/** What the guest still knows of the disk before is of another state: it forgets it first. One round trip for all. */
const JUDGE = [
  "blockdev --flushbufs /dev/vda; echo 3 > /proc/sys/vm/drop_caches",
  `mount -t ext4 /dev/vda ${MOUNTED} 2>&1 || { dmesg | tail -n 3; exit ${NOT_MOUNTED}; }`,
  `find ${MOUNTED} -type f -exec cat {} + 2>&1 > /dev/null`,
  `umount ${MOUNTED} 2>&1`,
].join("; ");

function diskOf(state: BlockImage, sizeBytes: number): SparseDisk {
  const disk = new SparseDisk(sizeBytes);
  eachBlock(state, (bytes, offset) => disk.writeAt(offset, bytes));
  return disk;
}
const SAID_MAX = 160;

export async function openKernelReferee(sizeBytes: number): Promise<KernelReferee> {
  const folder = runFolder();
  const changing = new ChangingDisk(new SparseDisk(sizeBytes));
  const server = await serveNbd(changing, { path: join(folder.path, "nbd") });
  const guest = await bootGuest({ accel: "tcg", disk: server.address });
  const image = join(folder.path, "state.img");
  return {
    async judge(state, bytes) {
      changing.disk = diskOf(state, bytes);
      const { status, output } = await guest.run(JUDGE);
      if (status === NOT_MOUNTED) return { kernel: lastWords(output), left: undefined };
      changing.disk.store(image);
      const left = await e2fsckSays(image);
      return { kernel: output.trim() === "" ? undefined : lastWords(output), left };
    },
    async close() {
      await guest.cut();
      await server.close();
      folder.remove();
    },
  };
}

function lastWords(text: string): string {
  const lines = text.split("\n").map((line) => line.replace(/^\[[ \d.]+\] /, "").trim());
  return (lines.findLast((line) => line !== "") ?? "it said nothing").slice(0, SAID_MAX);
}
