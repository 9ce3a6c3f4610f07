/**
 * The journal's superblock as a running journal keeps and writes it. It says where recovery starts: at transaction
 * s_sequence in block s_start, or nowhere when that is 0.
 *
 * - withFeatures(block, features)     a copy of a superblock, with the features that a mount wants
 * - writeTail(j, block, tid, flags)   in flight; false: the one before still is, or no request is free: ask again
 * - writeErrno(j)                     the same, of the error with which the journal was aborted
 */
import { BlockOp } from "../../abi/block.ts";
import { be32, setBe32 } from "../../lib/bytes.ts";
import { IoKind } from "../block_io.ts";
import { superCsum } from "./journal.ts";
import {
  JCOMPAT_CHECKSUM,
  JCSUM_CRC32C,
  JINCOMPAT_64BIT,
  JINCOMPAT_ASYNC_COMMIT,
  JINCOMPAT_CSUM_V2,
  JINCOMPAT_CSUM_V3,
  JINCOMPAT_FAST_COMMIT,
  JINCOMPAT_REVOKE,
  JSB,
} from "./layout.ts";
import { J } from "./state.ts";
import type { JournalState } from "./state.ts";

/** What is missing stays as it is. */
export interface JournalFeatures {
  readonly csum?: 0 | 1 | 2 | 3;
  /** Block numbers of 64 bits. */
  readonly wide?: boolean;
  readonly asyncCommit?: boolean;
  /** An area for fast commits behind the log, of s_num_fc_blks or 256 blocks. */
  readonly fastCommit?: boolean;
}

const CSUMS = JINCOMPAT_CSUM_V2 | JINCOMPAT_CSUM_V3;

const put = (flags: number, flag: number, on: boolean | undefined): number =>
  on === undefined ? flags : on ? flags | flag : flags & ~flag;

/** Only for an empty log: what is in it has the form of the features before. */
export function withFeatures(block: Uint8Array, { csum, wide, asyncCommit, fastCommit }: JournalFeatures): Uint8Array {
  const copy = block.slice();
  const view = new DataView(copy.buffer);
  let compat = be32(view, JSB.s_feature_compat);
  let incompat = be32(view, JSB.s_feature_incompat) | JINCOMPAT_REVOKE;
  if (csum !== undefined) {
    compat = put(compat, JCOMPAT_CHECKSUM, csum === 1);
    incompat = put(put(incompat & ~CSUMS, JINCOMPAT_CSUM_V2, csum === 2), JINCOMPAT_CSUM_V3, csum === 3);
  }
  incompat = put(put(incompat, JINCOMPAT_64BIT, wide), JINCOMPAT_ASYNC_COMMIT, asyncCommit);
  incompat = put(incompat, JINCOMPAT_FAST_COMMIT, fastCommit);
  setBe32(view, JSB.s_feature_compat, compat);
  setBe32(view, JSB.s_feature_incompat, incompat);
  view.setUint8(JSB.s_checksum_type, (incompat & CSUMS) === 0 ? 0 : JCSUM_CRC32C);
  setBe32(view, JSB.s_checksum, (incompat & CSUMS) === 0 ? 0 : superCsum(copy, 0));
  return copy;
}

function write(j: JournalState, flags: number): boolean {
  const { words, buffers, superAt } = j;
  if (j.csum >= 2) setBe32(j.view, superAt + JSB.s_checksum, superCsum(j.bytes, superAt));
  if (buffers.io.start(BlockOp.Write, flags, j.map[0]!, 1, superAt, IoKind.Super, 0) < 0) return false;
  words[J.SuperBusy] = 1;
  return true;
}

const isReady = (j: JournalState): boolean => j.words[J.SuperBusy] === 0 && j.buffers.io.free > 0;

export function writeTail(j: JournalState, block: number, tid: number, flags: number): boolean {
  if (!isReady(j)) return false;
  setBe32(j.view, j.superAt + JSB.s_sequence, tid);
  setBe32(j.view, j.superAt + JSB.s_start, block);
  return write(j, flags);
}

export function writeErrno(j: JournalState, flags: number): boolean {
  if (!isReady(j)) return false;
  setBe32(j.view, j.superAt + JSB.s_errno, j.words[J.Aborted]! >>> 0);
  return write(j, flags);
}
