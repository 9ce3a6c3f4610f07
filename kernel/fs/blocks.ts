/**
 * Blocks of a file system as its code sees them: addresses in one array of bytes. Two things have this face: an image in
 * memory (block_image.ts: recovery, check, mkfs) and the buffer cache of a mounted file system (buffers.ts: blocks come
 * from a device and may have to be waited for). So each piece of ext4 is written once.
 *
 * - Blocks        reading: at(block) is the address of its content now; -1 for a block that cannot exist
 * - EditBlocks    changing: writable(block) gives an address that may be written until the call ends. Take it before the
 *                 first write of a call; the block may move then, and addresses of it that were taken before are stale.
 *                 Asked for again within the call it is the same
 *
 * A block that is not in memory yet ends the call: at() throws WAIT, having started the read. Whoever runs the call drops
 * all that it staged and makes it again later (docs/architecture.md, decision 1). Code in between has nothing to undo
 * and catches nothing: it keeps no state of its own outside blocks and tables that the call's end restores.
 */
import { EIOCBQUEUED } from "../abi/errno.ts";
import type { Errno } from "../abi/units.ts";

export interface Blocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  /** Blocks are 0 .. count - 1. */
  readonly count: number;
  at(block: number): number;
}

export interface EditBlocks extends Blocks {
  /** Of the block's content as it is, to be changed in part. */
  writable(block: number): number;
  /** The same, of zeroes: for a block that is written as a whole. Nothing is read. */
  fresh(block: number): number;
  /** The block is given back: its content is of no use any more, and must not come back through a journal's replay. */
  forget(block: number): void;
}

/** Ends a call from the depth of it, with an errno for whoever runs the call. Made once each: no stack is taken. */
export class CallEnd extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super("a call of the file system was not run by runCall()");
    this.errno = errno;
  }
}

/** What was asked for is on its way: the call begins again. */
export const WAIT = new CallEnd(EIOCBQUEUED);
