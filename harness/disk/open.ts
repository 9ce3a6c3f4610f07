/**
 * Disks as commands name them.
 *
 * - openDisk("mem:256M")      zeroes in memory, gone at the end
 * - openDisk("disk.img")      a file that is there
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice } from "../../kernel/abi/block.ts";
import { byteSize } from "../cli/args.ts";
import { UserError } from "../cli/exit.ts";
import { openFileDisk } from "./file.ts";
import { SparseDisk } from "./sparse.ts";

export interface OpenDisk {
  readonly device: BlockDevice;
  close(): void;
}

const MEMORY = "mem:";
const BYTES_MAX = 2 ** 42;

export function openDisk(name: string): OpenDisk {
  if (!name.startsWith(MEMORY)) {
    const file = openFileDisk(name);
    return { device: file, close: () => file.close() };
  }
  return { device: new SparseDisk(memoryBytes(name.slice(MEMORY.length))), close: () => undefined };
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
