/**
 * A disk in a file of the host. The file is sparse as far as the host's file system makes it: what was never written
 * takes no room, and zeroing what is zero already writes nothing.
 *
 * - openFileDisk(path, { bytes })   opens it, or creates it with `bytes`; UserError when it cannot be used
 * - disk.close()
 *
 * Volatile is the host's page cache: Flush and FUA are fdatasync. Discard zeroes, for Node cannot punch holes.
 */
import { closeSync, existsSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockLimits } from "../../kernel/abi/block.ts";
import { EIO, ENOSPC } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { UserError } from "../cli/exit.ts";
import { BytesDisk, REQUEST_SECTORS_MAX } from "./bytes.ts";

const ZERO_CHUNK_BYTES = 1 << 20;

export class FileDisk extends BytesDisk {
  readonly limits: BlockLimits;
  readonly #file: number;

  constructor(file: number, bytes: number) {
    super();
    this.#file = file;
    this.limits = {
      sectors: bytes / SECTOR_SIZE,
      logicalBlockSize: SECTOR_SIZE,
      queueDepth: 256,
      sectorsMax: REQUEST_SECTORS_MAX,
      writeCache: true,
      discard: true,
      writeZeroes: true,
    };
  }

  close(): void {
    closeSync(this.#file);
  }

  protected read(offset: number, into: Uint8Array): 0 | Errno {
    return attempt(() => this.#readWhole(offset, into));
  }

  protected write(offset: number, from: Uint8Array, flags: number): 0 | Errno {
    return this.#ordered(flags, () => {
      for (let at = 0; at < from.length;) at += writeSync(this.#file, from, at, from.length - at, offset + at);
    });
  }

  protected zero(offset: number, bytes: number, flags: number): 0 | Errno {
    return this.#ordered(flags, () => {
      const zeroes = Buffer.alloc(Math.min(bytes, ZERO_CHUNK_BYTES));
      const there = Buffer.allocUnsafe(zeroes.length);
      for (let at = 0; at < bytes; at += zeroes.length) {
        const length = Math.min(zeroes.length, bytes - at);
        const part = there.subarray(0, length);
        this.#readWhole(offset + at, part);
        if (!part.equals(zeroes.subarray(0, length))) writeSync(this.#file, zeroes, 0, length, offset + at);
      }
    });
  }

  protected flush(): 0 | Errno {
    return attempt(() => fdatasyncSync(this.#file));
  }

  #ordered(flags: number, action: () => void): 0 | Errno {
    return attempt(() => {
      if ((flags & REQ_PREFLUSH) !== 0) fdatasyncSync(this.#file);
      action();
      if ((flags & REQ_FUA) !== 0) fdatasyncSync(this.#file);
    });
  }

  /** A file that somebody else made shorter reads as zeroes beyond its end. */
  #readWhole(offset: number, into: Uint8Array): void {
    for (let at = 0; at < into.length;) {
      const got = readSync(this.#file, into, at, into.length - at, offset + at);
      if (got === 0) into.fill(0, at);
      at += got === 0 ? into.length - at : got;
    }
  }
}

function attempt(action: () => void): 0 | Errno {
  try {
    action();
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOSPC" ? ENOSPC : EIO;
  }
}

export function openFileDisk(path: string, create?: { readonly bytes: number }): FileDisk {
  if (create === undefined && !existsSync(path))
    throw new UserError(`cannot open disk ${path}: no such file; make one with "truncate -s 256M ${path}"`);
  let file: number;
  try {
    file = openSync(path, existsSync(path) ? "r+" : "w+");
  } catch (error) {
    throw new UserError(`cannot open disk ${path}: ${(error as NodeJS.ErrnoException).code ?? "error"}`);
  }
  const stat = fstatSync(file);
  if (create !== undefined && stat.size === 0) ftruncateSync(file, create.bytes);
  const bytes = fstatSync(file).size;
  if (stat.isFile() && bytes > 0 && bytes % SECTOR_SIZE === 0) return new FileDisk(file, bytes);
  closeSync(file);
  throw new UserError(`cannot open disk ${path}: its size is ${bytes}, no positive multiple of ${SECTOR_SIZE} bytes`);
}
