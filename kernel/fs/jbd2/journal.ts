/**
 * A journal on an image: where its blocks lie, and what its superblock says. layout.ts draws it.
 *
 * - loadJournal(image, map)          Journal, or what is wrong with it; `map` is where each of its blocks lies
 * - readJournalSuper(bytes, ...)     the same of a superblock alone: for a journal that is written (jbd2.ts)
 * - tagBytes, readTag                the four forms of a descriptor's tags
 * - blockCsumOk, tagCsumOk, setSuperCsum    csum v2 and v3
 *
 * What is checked once holds for all later steps: the log's ring lies within the journal, and the journal on the device.
 */
import { EFSBADCRC, EFSCORRUPTED, EOPNOTSUPP } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { be16, be32, setBe32 } from "../../lib/bytes.ts";
import { crc32c, crc32cWord, crc32cZeroes, zeroesTable } from "../../lib/crc32c.ts";
import { Verdict } from "../block_image.ts";
import type { BlockImage } from "../block_image.ts";
import {
  JBD2_MAGIC,
  JBLOCK_SUPER_V1,
  JBLOCK_SUPER_V2,
  JCOMPAT_CHECKSUM,
  JCSUM_CRC32C,
  JFC_BLOCKS_DEFAULT,
  JHEADER,
  JINCOMPAT_64BIT,
  JINCOMPAT_ASYNC_COMMIT,
  JINCOMPAT_CSUM_V2,
  JINCOMPAT_CSUM_V3,
  JINCOMPAT_FAST_COMMIT,
  JINCOMPAT_REVOKE,
  JSB,
  JTAG,
  JTAG3,
  JUUID_BYTES,
} from "./layout.ts";

/** jbd2's JBD2_MIN_JOURNAL_BLOCKS. */
export const JOURNAL_BLOCKS_MIN = 1024;
const INCOMPAT_KNOWN =
  JINCOMPAT_REVOKE |
  JINCOMPAT_64BIT |
  JINCOMPAT_ASYNC_COMMIT |
  JINCOMPAT_CSUM_V2 |
  JINCOMPAT_CSUM_V3 |
  JINCOMPAT_FAST_COMMIT;

/** What a journal's superblock says. */
export interface JournalSuper {
  readonly blockSize: number;
  /** Blocks in use of the journal, its superblock and the fast-commit area among them. */
  readonly maxlen: number;
  /** The log is the ring first .. last - 1. */
  readonly first: number;
  readonly last: number;
  /** Fast commits are fcFirst .. maxlen - 1; empty without them. */
  readonly fcFirst: number;
  /** Where the log starts, 0 when it is empty, and the transaction expected there. */
  readonly start: number;
  readonly sequence: number;
  readonly errno: number;
  readonly version: number;
  readonly compat: number;
  readonly incompat: number;
  /** 0 without checksums, 1 in commit blocks only, 2 and 3 in all. */
  readonly csum: 0 | 1 | 2 | 3;
  readonly csumSeed: number;
  readonly tagBytes: number;
}

export interface Journal extends JournalSuper {
  readonly image: BlockImage;
  /** Block of the journal -> block of the device. */
  readonly map: Int32Array;
}

export interface JournalFault {
  readonly errno: Errno;
  readonly reason: string;
}

const fault = (errno: Errno, reason: string): JournalFault => ({ errno, reason });

export const isJournalFault = (value: JournalSuper | JournalFault): value is JournalFault => "reason" in value;

/** Checksum of a journal superblock at an address. */
export function superCsum(bytes: Uint8Array, at: number): number {
  const crc = crc32cWord(crc32c(0xffffffff, bytes, at, JSB.s_checksum), 0);
  return crc32c(crc, bytes, at + JSB.s_users, JSB.bytes - JSB.s_users);
}

export function setSuperCsum(journal: Journal, at: number): void {
  if (journal.csum >= 2) setBe32(journal.image.view, at + JSB.s_checksum, superCsum(journal.image.bytes, at));
}

export function loadJournal(image: BlockImage, map: Int32Array): Journal | JournalFault {
  const at = map.length > 0 ? image.at(map[0]!) : -1;
  if (at < 0) return fault(EFSCORRUPTED, "the journal has no superblock");
  const found = readJournalSuper(image.bytes, image.view, at, image.blockSize, map.length);
  return isJournalFault(found) ? found : { ...found, image, map };
}

/** Of the superblock at an address; the journal has `blocks` blocks on the device. */
export function readJournalSuper(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  blockSize: number,
  blocks: number,
): JournalSuper | JournalFault {
  if (be32(view, at + JSB.h_magic) !== JBD2_MAGIC) return fault(EFSCORRUPTED, "the journal's magic is wrong");
  const type = be32(view, at + JSB.h_blocktype);
  if (type !== JBLOCK_SUPER_V1 && type !== JBLOCK_SUPER_V2)
    return fault(EFSCORRUPTED, `the journal's superblock is of type ${type}`);
  const version = type === JBLOCK_SUPER_V1 ? 1 : 2;
  const compat = version === 2 ? be32(view, at + JSB.s_feature_compat) : 0;
  const incompat = version === 2 ? be32(view, at + JSB.s_feature_incompat) : 0;
  const unknown = (incompat & ~INCOMPAT_KNOWN) >>> 0;
  if (unknown !== 0) return fault(EOPNOTSUPP, `the journal has unknown features 0x${unknown.toString(16)}`);
  if (version === 2 && be32(view, at + JSB.s_feature_ro_compat) !== 0)
    return fault(EOPNOTSUPP, "the journal has unknown read-only features");
  const [v1, v2, v3] = [compat & JCOMPAT_CHECKSUM, incompat & JINCOMPAT_CSUM_V2, incompat & JINCOMPAT_CSUM_V3];
  if ((v2 && v3) || (v1 && (v2 || v3))) return fault(EFSCORRUPTED, "the journal has several forms of checksums");
  const csum = v3 ? 3 : v2 ? 2 : v1 ? 1 : 0;
  if (csum >= 2 && view.getUint8(at + JSB.s_checksum_type) !== JCSUM_CRC32C)
    return fault(EFSCORRUPTED, "the journal's checksum type is unknown");
  if (csum >= 2 && superCsum(bytes, at) !== be32(view, at + JSB.s_checksum))
    return fault(EFSBADCRC, "the checksum of the journal's superblock is wrong");
  if (be32(view, at + JSB.s_blocksize) !== blockSize)
    return fault(EFSCORRUPTED, `the journal's block size ${be32(view, at + JSB.s_blocksize)} is not ${blockSize}`);
  const maxlen = be32(view, at + JSB.s_maxlen);
  if (maxlen > blocks) return fault(EFSCORRUPTED, `the journal has ${blocks} blocks, not ${maxlen}`);
  const fast = (incompat & JINCOMPAT_FAST_COMMIT) !== 0;
  const fcBlocks = fast ? be32(view, at + JSB.s_num_fc_blks) || JFC_BLOCKS_DEFAULT : 0;
  const first = be32(view, at + JSB.s_first);
  const last = maxlen - fcBlocks;
  if (last < JOURNAL_BLOCKS_MIN)
    return fault(EFSCORRUPTED, `the journal's log of ${last} blocks is too short: ${JOURNAL_BLOCKS_MIN} are needed`);
  if (first < 1 || first >= last) return fault(EFSCORRUPTED, `the journal's log starts at block ${first}`);
  const start = be32(view, at + JSB.s_start);
  if (start >= maxlen) return fault(EFSCORRUPTED, `the journal's tail is block ${start} of ${maxlen}`);
  return {
    blockSize,
    maxlen,
    first,
    last,
    // Linux leaves one block free between the log and the fast commits.
    fcFirst: fast ? last + 1 : maxlen,
    start,
    sequence: be32(view, at + JSB.s_sequence),
    errno: view.getInt32(at + JSB.s_errno),
    version,
    compat,
    incompat,
    csum,
    csumSeed: csum >= 2 ? crc32c(0xffffffff, bytes, at + JSB.s_uuid, JUUID_BYTES) : 0,
    tagBytes: tagBytes(incompat),
  };
}

export function tagBytes(incompat: number): number {
  if ((incompat & JINCOMPAT_CSUM_V3) !== 0) return JTAG3.bytes;
  const wide = (incompat & JINCOMPAT_64BIT) !== 0 ? JTAG.bytes : JTAG.t_blocknr_high;
  return (incompat & JINCOMPAT_CSUM_V2) !== 0 ? wide + 2 : wide;
}

export const tagFlags = (journal: Journal, at: number): number =>
  journal.csum === 3 ? be32(journal.image.view, at + JTAG3.t_flags) : be16(journal.image.view, at + JTAG.t_flags);

/** Home block of a tag. */
export function tagBlock(journal: Journal, at: number): number {
  const { view } = journal.image;
  const low = be32(view, at + JTAG.t_blocknr);
  if ((journal.incompat & JINCOMPAT_64BIT) === 0) return low;
  const high = journal.csum === 3 ? JTAG3.t_blocknr_high : JTAG.t_blocknr_high;
  return low + be32(view, at + high) * 2 ** 32;
}

/** Address of a block of the journal, -1 beyond its end. */
export const journalAt = (journal: Journal, n: number): number =>
  n < journal.maxlen ? journal.image.at(journal.map[n]!) : -1;

/** Checksum of a descriptor, revoke or commit block whose own field lies at `offset`, itself counted as 0. */
export function blockCsumOk(journal: Journal, n: number, offset: number): boolean {
  const { image } = journal;
  const slot = image.where[journal.map[n]!]!;
  const key = (journal.csumSeed ^ offset) | 0;
  if (image.verdict[slot] !== Verdict.Unknown && image.key[slot] === key) return image.verdict[slot] === Verdict.Good;
  const at = slot * journal.blockSize;
  let crc = crc32cWord(crc32c(journal.csumSeed, image.bytes, at, offset), 0);
  crc = crc32c(crc, image.bytes, at + offset + 4, journal.blockSize - offset - 4);
  const good = crc === be32(image.view, at + offset);
  image.key[slot] = key;
  image.verdict[slot] = good ? Verdict.Good : Verdict.Bad;
  return good;
}

const swapped = (word: number): number =>
  (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);

/** A block's worth of zeroes, for each block size that was met: a table of constants. */
const ZEROES = new Map<number, Int32Array>();

/** Checksum of data block n of the journal as the tag of transaction `sequence` has it. */
export function dataCsum(journal: Journal, n: number, sequence: number): number {
  let zeroes = ZEROES.get(journal.blockSize);
  if (zeroes === undefined) ZEROES.set(journal.blockSize, (zeroes = zeroesTable(journal.blockSize)));
  const seed = crc32cWord(journal.csumSeed, swapped(sequence));
  return (crc32cZeroes(seed, zeroes) ^ journal.image.ownCrc(journal.map[n]!)) >>> 0;
}

export function tagCsumOk(journal: Journal, tag: number, n: number, sequence: number): boolean {
  if (journal.csum < 2) return true;
  const { view } = journal.image;
  const crc = dataCsum(journal, n, sequence);
  return journal.csum === 3
    ? be32(view, tag + JTAG3.t_checksum) === crc
    : be16(view, tag + JTAG.t_checksum) === (crc & 0xffff);
}

export const headerType = (journal: Journal, at: number): number => be32(journal.image.view, at + JHEADER.h_blocktype);
