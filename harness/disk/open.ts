/**
 * Disks as commands name them.
 *
 * - openDisk("mem:256M")           zeroes in memory, gone at the end
 * - openDisk("disk.img")           a file that is there
 * - openDisk("nbd:/path/socket")   what an NBD server has; "nbd:10809" at a port of this machine
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice } from "../../kernel/abi/block.ts";
import { byteSize } from "../cli/args.ts";
import { UserError } from "../cli/exit.ts";
import { openFileDisk } from "./file.ts";
import { SparseDisk } from "./sparse.ts";

export interface OpenDisk {
  readonly device: BlockDevice;
  close(): Promise<void>;
}

const MEMORY = "mem:";
const NBD = "nbd:";
const BYTES_MAX = 2 ** 42;

export async function openDisk(name: string): Promise<OpenDisk> {
  if (name.startsWith(MEMORY))
    return { device: new SparseDisk(memoryBytes(name.slice(MEMORY.length))), close: () => Promise.resolve() };
  if (name.startsWith(NBD)) {
    const where = name.slice(NBD.length);
    const { openNbd } = await import("../nbd/client.ts");
    const disk = await openNbd(/^\d{1,5}$/.test(where) ? { port: Number(where) } : { path: where });
    return { device: disk, close: () => disk.close() };
  }
  const file = openFileDisk(name);
  return { device: file, close: () => Promise.resolve(file.close()) };
}

function memoryBytes(text: string): number {
  let bytes = 0;
  try {
    bytes = byteSize(SECTOR_SIZE, BYTES_MAX)(text);
  } catch {
    // Said below, with the whole word that the user wrote.
  }
  if (bytes > 0 && bytes % SECTOR_SIZE === 0) return bytes;
  throw new UserError(`disk "${MEMORY}${text}" is no size: write mem: and a multiple of 512 bytes, such as mem:256M`);
}
