/**
 * A memory disk over one array of bytes, which ends everything within submit, and can keep a log of what was written: for
 * file systems that are tried thousands of times.
 *
 * - new FlatDisk(bytes)      `bytes` is the disk, in place
 * - disk.log                 when it is an array: writes with a copy of their bytes, and flushes, in order
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockLimits } from "../../kernel/abi/block.ts";
import { BytesDisk, REQUEST_SECTORS_MAX } from "./bytes.ts";

/** A write; or a flush, without bytes. */
export interface FlatWrite {
  readonly offset: number;
  readonly bytes: Uint8Array | undefined;
}

export class FlatDisk extends BytesDisk {
  readonly bytes: Uint8Array;
  readonly limits: BlockLimits;
  log: FlatWrite[] | undefined;

  constructor(bytes: Uint8Array) {
    super();
    this.bytes = bytes;
    this.limits = {
      sectors: bytes.length / SECTOR_SIZE,
      logicalBlockSize: SECTOR_SIZE,
      queueDepth: 256,
      sectorsMax: REQUEST_SECTORS_MAX,
      writeCache: true,
      discard: true,
      writeZeroes: true,
    };
  }

  protected read(offset: number, into: Uint8Array): 0 {
    into.set(this.bytes.subarray(offset, offset + into.length));
    return 0;
  }

  protected write(offset: number, from: Uint8Array): 0 {
    this.bytes.set(from, offset);
    this.log?.push({ offset, bytes: from.slice() });
    return 0;
  }

  protected zero(offset: number, length: number): 0 {
    this.bytes.fill(0, offset, offset + length);
    this.log?.push({ offset, bytes: new Uint8Array(length) });
    return 0;
  }

  protected flush(): 0 {
    this.log?.push({ offset: 0, bytes: undefined });
    return 0;
  }
}
