/**
 * Real Linux guests that mount one crash state after the other: what the file system does to recover is its own doing.
 * Each seat is a clone of one guest; one that dies or hangs over a state is replaced.
 *
 * - openMounters(template, sizeBytes, seats)
 * - mounters.look(seat, disk)     mounts, tells the tree, unmounts
 */
import { join } from "node:path";
import { SparseDisk } from "../../disk/sparse.ts";
import { serveNbd } from "../../nbd/server.ts";
import type { Guest } from "../../qemu/guest.ts";
import { runFolder } from "../../qemu/open_things.ts";
import { ChangingDisk } from "../changing_disk.ts";
import { LIST, listingOf } from "../guest_listing.ts";
import type { Listing } from "../guest_listing.ts";
import type { GuestTemplate } from "../guest_template.ts";
import { MOUNTED } from "../guest_workload.ts";

export type Looked =
  | { readonly refused: string }
  | {
      readonly tree: Listing;
      /** Names that could not be read, with the reason. */
      readonly unread: readonly string[];
      /** What the kernel complained about meanwhile. */
      readonly complaints: readonly string[];
      /** The disk as Linux left it. */
      readonly left: SparseDisk;
    };

export interface Mounters {
  look(seat: number, disk: SparseDisk): Promise<Looked>;
  close(): Promise<void>;
}

const NOT_MOUNTED = 99;
const NOT_UNMOUNTED = 98;
const RULE = "====";
const LOOK_MS = 60_000;
/** A guest may be killed from outside, too: one that dies again over the same state dies of it. */
const LIVES = 2;
const SAID_MAX = 200;
const COMPLAINT =
  /BUG:|WARNING:|Oops|Internal error|orruption|BTRFS (?:critical|error)|csum failed|FAT-fs \(\w+\): error|I\/O error/;

/** What the guest still knows of the disk before is of another state: it forgets it first. One round trip for all. */
const lookCommand = (name: string): string =>
  [
    "blockdev --flushbufs /dev/vda; echo 3 > /proc/sys/vm/drop_caches; dmesg -c > /dev/null",
    `mount -t ${name} -o noatime /dev/vda ${MOUNTED} 2>&1 || { dmesg | tail -n 6; exit ${NOT_MOUNTED}; }`,
    LIST,
    `echo ${RULE}; umount ${MOUNTED} 2>&1 || exit ${NOT_UNMOUNTED}`,
    "dmesg",
  ].join("; ");

interface Seat {
  readonly changing: ChangingDisk;
  readonly server: Awaited<ReturnType<typeof serveNbd>>;
  guest: Guest | undefined;
}

export async function openMounters(template: GuestTemplate, sizeBytes: number, seats: number): Promise<Mounters> {
  const folder = runFolder();
  const command = lookCommand(template.fs.name);
  const used: Seat[] = [];
  for (let n = 0; n < seats; n++) {
    const changing = new ChangingDisk(new SparseDisk(sizeBytes));
    const server = await serveNbd(changing, { path: join(folder.path, `seat${n}`) });
    used.push({ changing, server, guest: undefined });
  }
  return {
    async look(n, disk) {
      const seat = used[n]!;
      let died = "";
      for (let lives = 0; lives < LIVES; lives++) {
        // It may have written before it died: each life has the disk as it was.
        seat.changing.disk = lives + 1 < LIVES ? disk.snapshot() : disk;
        seat.guest ??= await template.clone(seat.server.address);
        try {
          const { status, output } = await seat.guest.run(command, LOOK_MS);
          if (status === NOT_MOUNTED) return { refused: lastWords(output) };
          return { ...looked(output, status), left: seat.changing.disk };
        } catch (error) {
          await seat.guest.cut();
          seat.guest = undefined;
          died = (error as Error).message.slice(0, SAID_MAX);
        }
      }
      return { refused: `the kernel did not survive it: ${died}` };
    },
    async close() {
      for (const { guest, server } of used) {
        await guest?.cut();
        await server.close();
      }
      folder.remove();
    },
  };
}

function looked(output: string, status: number) {
  const at = output.indexOf(`\n${RULE}\n`);
  const { tree, unread } = listingOf(output.slice(0, at + 1));
  const log = output.slice(at + RULE.length + 2).split("\n");
  const complaints = log.map(withoutTime).filter((line) => COMPLAINT.test(line));
  return { tree, unread, complaints: status === NOT_UNMOUNTED ? [...complaints, "it does not unmount"] : complaints };
}

const withoutTime = (line: string): string => line.replace(/^\[[ \d.]+\] /, "").trim();

/** The kernel's own words are better than mount's. */
function lastWords(text: string): string {
  const lines = text.split("\n").map(withoutTime);
  const complaint = lines.find((line) => COMPLAINT.test(line)) ?? lines.findLast((line) => line !== "");
  return (complaint ?? "it said nothing").slice(0, SAID_MAX);
}
