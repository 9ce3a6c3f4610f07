/**
 * What a real Linux sees in an image: mounts it in a guest, and lists the tree in the words of `orrery ext4 manifest`.
 * One guest serves any number of images: they take turns behind its one disk while nothing is mounted.
 *
 * - new GuestReader(bytes), start(), stop()
 * - reader.read(image, options)   the tree, and what the kernel said about the file system meanwhile
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { serveNbd } from "../../../harness/nbd/server.ts";
import type { NbdServer } from "../../../harness/nbd/server.ts";
import { bootGuest } from "../../../harness/qemu/guest.ts";
import type { Guest } from "../../../harness/qemu/guest.ts";

/** A hook of vitest waits ten seconds, a guest on a busy machine may take longer. */
export const BOOT_MS = 120_000;

export interface GuestTree {
  readonly lines: readonly string[];
  /** Kernel messages about ext4 and jbd2 from mount to unmount, without the line of a plain mount and unmount. */
  readonly messages: readonly string[];
}

/** stat(1) prints the mode as a hexadecimal number. */
const LETTERS: Readonly<Record<number, string>> = {
  0x1: "p",
  0x2: "c",
  0x4: "d",
  0x6: "b",
  0x8: "f",
  0xa: "l",
  0xc: "s",
};
/** Each prints lines that end with a path that starts with "./"; a link's target follows on a line of its own. */
const LIST = {
  all: "find . -mindepth 1 -exec stat -c '%f %s %t:%T %n' {} +",
  sums: "find . -type f -exec sha256sum {} +",
  // One process for all: a readlink for each costs ten milliseconds of a guest.
  links: "find . -type l -exec stat -c %N {} +",
};
const USUAL = /mounted filesystem|unmounting filesystem|supports timestamps until 2038/;

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

export class GuestReader {
  readonly #disk: SparseDisk;
  #server: NbdServer | undefined;
  #guest: Guest | undefined;

  /** `bytes`: of the largest image. */
  constructor(bytes: number) {
    this.#disk = new SparseDisk(bytes);
  }

  async start(): Promise<void> {
    this.#server = await serveNbd(this.#disk, { path: join(tmpdir(), `orrery-test-${process.pid}-tree`) });
    this.#guest = await bootGuest({ disk: this.#server.address });
  }

  async stop(): Promise<void> {
    await this.#guest?.cut();
    await this.#server?.close();
  }

  /** `image` afterwards is what the guest left on the disk. */
  async read(image: Uint8Array, options = ""): Promise<GuestTree> {
    const disk = this.#disk;
    const guest = this.#guest!;
    disk.zeroAt(0, disk.bytes);
    disk.writeAt(0, image);
    await guest.must("dmesg -c > /dev/null");
    await guest.must(`mount -t ext4 ${options === "" ? "" : `-o ${options}`} /dev/vda /mnt`);
    const inside = (command: string): Promise<string> => guest.must(`cd /mnt; ${command}`);
    const tree = treeOf(await inside(LIST.all), await inside(LIST.sums), await inside(LIST.links));
    await guest.must("umount /mnt");
    const messages = lines(await guest.must("dmesg"))
      .filter((line) => /EXT4|JBD2/i.test(line) && !USUAL.test(line))
      .map((line) => line.replace(/^\[ *[\d.]+\] /, ""));
    disk.readAt(0, image);
    return { lines: tree, messages };
  }
}

function treeOf(all: string, sums: string, links: string): string[] {
  const hashes = new Map(lines(sums).map((line) => [line.slice(64).trimStart(), line.slice(0, 64)]));
  // 'path' -> 'target', in the order in which the links come in the list of all.
  const linkLines = lines(links);
  let link = 0;
  const targetOf = (path: string): string => {
    const head = `'${path}' -> '`;
    const line = linkLines[link++]!;
    if (!line.startsWith(head)) throw new Error(`the guest's links are in another order: ${line} is not ${path}`);
    return line.slice(head.length, -1);
  };
  const rows = lines(all).map((line) => {
    const [, hex, size, device, path] = /^([0-9a-f]+) (\d+) ([0-9a-f]+:[0-9a-f]+) (.*)$/.exec(line)!;
    const mode = Number.parseInt(hex!, 16);
    const letter = LETTERS[mode >> 12]!;
    const words: Readonly<Record<string, () => string>> = {
      f: () => `${size} ${hashes.get(path!)}`,
      l: () => `- ${targetOf(path!)}`,
      c: () => `- ${decimal(device!)}`,
      b: () => `- ${decimal(device!)}`,
    };
    const rest = words[letter]?.() ?? "- -";
    return { path: path!.slice(2), text: `${letter} ${(mode & 0o7777).toString(8)} ${rest} ${path!.slice(2)}` };
  });
  return rows.sort((a, b) => (a.path < b.path ? -1 : 1)).map(({ text }) => text);
}

const decimal = (device: string): string =>
  device
    .split(":")
    .map((part) => Number.parseInt(part, 16))
    .join(":");
