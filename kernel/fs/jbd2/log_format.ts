/**
 * Blocks of the log as they are written; layout.ts draws them, and Linux's jbd2 writes the same bytes.
 *
 * - startBlock(log, at, type, tid)             zeroes with a header
 * - putTag(log, at, offset, home, flags, crc)  the offset behind it; roomForTag(log, offset) says whether one fits
 * - lastTag(log, at, offset)                   marks the tag that was put there as the last of its block
 * - putRevoke(log, at, offset, home)           the offset behind it; roomForRevoke
 * - sealTail(log, at), sealCommit(log, at)     checksums of csum v2 and v3
 * - putCommit(log, at, tid, sec, nsec, crc)    a whole commit block
 * - tagCrc(log, at, escaped, tid)              what a data block's tag carries
 * - addCrc1(crc, log, at, escaped)             csum v1 goes over all blocks of a transaction but the revoke blocks
 */
import { be16, be32, setBe16, setBe32 } from "../../lib/bytes.ts";
import { crc32be } from "../../lib/crc32be.ts";
import { crc32c, crc32cWord } from "../../lib/crc32c.ts";
import {
  JBD2_MAGIC,
  JBLOCK_COMMIT,
  JCOMMIT,
  JCSUM_CRC32,
  JFLAG_LAST_TAG,
  JFLAG_SAME_UUID,
  JHEADER,
  JREVOKE,
  JTAG,
  JTAG3,
  JTAIL,
  JUUID_BYTES,
} from "./layout.ts";

export interface LogFormat {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly csum: 0 | 1 | 2 | 3;
  readonly csumSeed: number;
  readonly tagBytes: number;
  /** Block numbers of 64 bits. */
  readonly wide: boolean;
}

/** A magic at the start of a data block, as it is written. */
const ESCAPED = new Uint8Array(4);

export const tailBytes = (log: LogFormat): number => (log.csum >= 2 ? JTAIL.bytes : 0);

/** Tags that surely fit in one descriptor: jbd2_descriptor_blocks_per_trans() counts with these. */
export const tagsPerBlock = (log: LogFormat): number =>
  Math.floor((log.blockSize - JHEADER.bytes - JUUID_BYTES - tailBytes(log) - 16) / log.tagBytes);

export const revokesPerBlock = (log: LogFormat): number =>
  Math.floor((log.blockSize - JREVOKE.bytes - tailBytes(log)) / (log.wide ? 8 : 4));

export function startBlock(log: LogFormat, at: number, type: number, tid: number): void {
  log.bytes.fill(0, at, at + log.blockSize);
  setBe32(log.view, at + JHEADER.h_magic, JBD2_MAGIC);
  setBe32(log.view, at + JHEADER.h_blocktype, type);
  setBe32(log.view, at + JHEADER.h_sequence, tid);
}

export const firstTag = JHEADER.bytes;

export const roomForTag = (log: LogFormat, offset: number): boolean =>
  offset + log.tagBytes + JUUID_BYTES + tailBytes(log) <= log.blockSize;

/** The first tag of a block is followed by a uuid, which Linux leaves zero. */
export function putTag(log: LogFormat, at: number, offset: number, home: number, flags: number, crc: number): number {
  const { view, csum, wide, tagBytes } = log;
  const tag = at + offset;
  const isFirst = offset === firstTag;
  const all = isFirst ? flags : flags | JFLAG_SAME_UUID;
  setBe32(view, tag + JTAG.t_blocknr, home % 2 ** 32);
  const high = Math.floor(home / 2 ** 32);
  if (csum === 3) {
    setBe32(view, tag + JTAG3.t_flags, all);
    if (wide) setBe32(view, tag + JTAG3.t_blocknr_high, high);
    setBe32(view, tag + JTAG3.t_checksum, crc);
  } else {
    setBe16(view, tag + JTAG.t_flags, all);
    if (wide) setBe32(view, tag + JTAG.t_blocknr_high, high);
    if (csum === 2) setBe16(view, tag + JTAG.t_checksum, crc & 0xffff);
  }
  return offset + tagBytes + (isFirst ? JUUID_BYTES : 0);
}

/** `offset` is that of the tag itself. */
export function lastTag(log: LogFormat, at: number, offset: number): void {
  const { view } = log;
  if (log.csum === 3) {
    const flags = at + offset + JTAG3.t_flags;
    setBe32(view, flags, be32(view, flags) | JFLAG_LAST_TAG);
  } else {
    const flags = at + offset + JTAG.t_flags;
    setBe16(view, flags, be16(view, flags) | JFLAG_LAST_TAG);
  }
}

export const firstRevoke = JREVOKE.bytes;

export const roomForRevoke = (log: LogFormat, offset: number): boolean =>
  offset + (log.wide ? 8 : 4) + tailBytes(log) <= log.blockSize;

export function putRevoke(log: LogFormat, at: number, offset: number, home: number): number {
  const { view, wide } = log;
  if (wide) setBe32(view, at + offset, Math.floor(home / 2 ** 32));
  setBe32(view, at + offset + (wide ? 4 : 0), home % 2 ** 32);
  const end = offset + (wide ? 8 : 4);
  setBe32(view, at + JREVOKE.r_count, end);
  return end;
}

/** Over the whole block, its own field counted as 0. */
function seal(log: LogFormat, at: number, offset: number): void {
  if (log.csum < 2) return;
  const crc = crc32cWord(crc32c(log.csumSeed, log.bytes, at, offset), 0);
  const rest = offset + JTAIL.bytes;
  setBe32(log.view, at + offset, crc32c(crc, log.bytes, at + rest, log.blockSize - rest));
}

/** Of a descriptor or revoke block. */
export const sealTail = (log: LogFormat, at: number): void => seal(log, at, log.blockSize - JTAIL.bytes);

/** `crc`: csum v1's, over the transaction. Times since 1970. */
export function putCommit(log: LogFormat, at: number, tid: number, sec: number, nsec: number, crc: number): void {
  const { view } = log;
  startBlock(log, at, JBLOCK_COMMIT, tid);
  setBe32(view, at + JCOMMIT.h_commit_sec, Math.floor(sec / 2 ** 32));
  setBe32(view, at + JCOMMIT.h_commit_sec + 4, sec % 2 ** 32);
  setBe32(view, at + JCOMMIT.h_commit_nsec, nsec);
  if (log.csum === 1) {
    view.setUint8(at + JCOMMIT.h_chksum_type, JCSUM_CRC32);
    view.setUint8(at + JCOMMIT.h_chksum_size, 4);
    setBe32(view, at + JCOMMIT.h_chksum, crc);
  }
  seal(log, at, JCOMMIT.h_chksum);
}

const swapped = (word: number): number =>
  (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);

/** 0 for forms without one. */
export function tagCrc(log: LogFormat, at: number, escaped: boolean, tid: number): number {
  if (log.csum < 2) return 0;
  const seed = crc32cWord(log.csumSeed, swapped(tid));
  if (!escaped) return crc32c(seed, log.bytes, at, log.blockSize);
  return crc32c(crc32cWord(seed, 0), log.bytes, at + ESCAPED.length, log.blockSize - ESCAPED.length);
}

export function addCrc1(crc: number, log: LogFormat, at: number, escaped: boolean): number {
  if (!escaped) return crc32be(crc, log.bytes, at, log.blockSize);
  const head = crc32be(crc, ESCAPED, 0, ESCAPED.length);
  return crc32be(head, log.bytes, at + ESCAPED.length, log.blockSize - ESCAPED.length);
}

export const isEscaped = (log: LogFormat, at: number): boolean => be32(log.view, at) === JBD2_MAGIC;
