/**
 * ext4's checksums: what each covers, and what it starts from. metadata_csum is crc32c; gdt_csum is crc16 and covers
 * group descriptors only.
 *
 *   superblock     ~0, all of it before s_checksum
 *   descriptor     csumSeed, le32 group, descriptor with bg_checksum as 0; low 16 bits
 *   bitmap         csumSeed, the bytes in use; low 16 bits, all 32 with descriptors of 64 bytes
 *   inode          csumSeed, le32 ino, le32 i_generation (inodeSeed: also where the next three start), the inode with its
 *                  checksum fields as 0; low 16 bits, all 32 when i_checksum_hi exists
 *   extent node    inodeSeed, the node up to its tail, at 12 + 12 * eh_max
 *   directory leaf inodeSeed, the block up to its tail of 12 bytes
 *   htree node     inodeSeed, from the block's start to the last entry in use, then dt_reserved and four zero bytes
 *   xattr block    csumSeed, le64 block, the block with h_checksum as 0
 *   orphan block   inodeSeed of the orphan file, le64 block, the inode numbers
 *
 * Each function computes; who compares with what is stored decides what a mismatch means. `set...` functions store.
 */
import { crc16 } from "../../lib/crc16.ts";
import { crc32c, crc32cHalf, crc32cWord } from "../../lib/crc32c.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { DIRENT_TAIL, DX_COUNTLIMIT, DX_ENTRY, DX_TAIL } from "./layout_dir.ts";
import { GD, GOOD_OLD_INODE_SIZE, INODE, MMP, SB } from "./layout.ts";
import { EXTENT, EXTENT_HEADER, EXTENT_TAIL, ORPHAN_TAIL, XATTR_HEADER } from "./layout_inode.ts";
import type { Super } from "./super.ts";

export const superChecksum = (bytes: Uint8Array, at: number): number => crc32c(0xffffffff, bytes, at, SB.s_checksum);

export function setSuperChecksum(sb: Super, bytes: Uint8Array, view: DataView, at: number): void {
  if (sb.metadataCsum) setLe32(view, at + SB.s_checksum, superChecksum(bytes, at));
}

/** 0 when the file system has no checksums on descriptors. */
export function groupChecksum(sb: Super, bytes: Uint8Array, at: number, group: number): number {
  const after = GD.bg_checksum + 2;
  if (sb.metadataCsum) {
    let crc = crc32c(crc32cWord(sb.csumSeed, group), bytes, at, GD.bg_checksum);
    crc = crc32cHalf(crc, 0);
    return crc32c(crc, bytes, at + after, sb.descSize - after) & 0xffff;
  }
  if (!sb.gdtCsum) return 0;
  let crc = crc16(0xffff, sb.uuid, 0, 16);
  GROUP_WORD[0] = group;
  GROUP_WORD[1] = group >>> 8;
  GROUP_WORD[2] = group >>> 16;
  GROUP_WORD[3] = group >>> 24;
  crc = crc16(crc, GROUP_WORD, 0, 4);
  crc = crc16(crc, bytes, at, GD.bg_checksum);
  return sb.has64bit ? crc16(crc, bytes, at + after, sb.descSize - after) : crc;
}
/** Scratch of groupChecksum: written and read within one call. */
const GROUP_WORD = new Uint8Array(4);

export function setGroupChecksum(sb: Super, bytes: Uint8Array, view: DataView, at: number, group: number): void {
  if (sb.metadataCsum || sb.gdtCsum) setLe16(view, at + GD.bg_checksum, groupChecksum(sb, bytes, at, group));
}

/** Of a bitmap of `bits` bits. */
export const bitmapChecksum = (sb: Super, bytes: Uint8Array, at: number, bits: number): number =>
  crc32c(sb.csumSeed, bytes, at, bits >>> 3);

export const inodeSeed = (sb: Super, ino: number, generation: number): number =>
  crc32cWord(crc32cWord(sb.csumSeed, ino), generation);

/** Whether an inode at `at` has the field of `width` bytes at `offset`, which lies behind the first 128 bytes. */
export function inodeHas(sb: Super, view: DataView, at: number, offset: number, width: number): boolean {
  if (sb.inodeSize === GOOD_OLD_INODE_SIZE) return false;
  return offset + width <= GOOD_OLD_INODE_SIZE + le16(view, at + INODE.i_extra_isize);
}

export function inodeChecksum(sb: Super, bytes: Uint8Array, view: DataView, at: number, ino: number): number {
  let crc = inodeSeed(sb, ino, le32(view, at + INODE.i_generation));
  crc = crc32c(crc, bytes, at, INODE.l_i_checksum_lo);
  crc = crc32cHalf(crc, 0);
  crc = crc32c(crc, bytes, at + INODE.l_i_reserved, 2);
  if (sb.inodeSize === GOOD_OLD_INODE_SIZE) return crc & 0xffff;
  const hi = inodeHas(sb, view, at, INODE.i_checksum_hi, 2);
  crc = crc32c(crc, bytes, at + INODE.i_extra_isize, 2);
  let rest = INODE.i_checksum_hi;
  if (hi) {
    crc = crc32cHalf(crc, 0);
    rest += 2;
  }
  crc = crc32c(crc, bytes, at + rest, sb.inodeSize - rest);
  return hi ? crc : crc & 0xffff;
}

export function inodeChecksumStored(sb: Super, view: DataView, at: number): number {
  const lo = le16(view, at + INODE.l_i_checksum_lo);
  return inodeHas(sb, view, at, INODE.i_checksum_hi, 2) ? lo + le16(view, at + INODE.i_checksum_hi) * 0x10000 : lo;
}

export function setInodeChecksum(sb: Super, bytes: Uint8Array, view: DataView, at: number, ino: number): void {
  if (!sb.metadataCsum) return;
  const crc = inodeChecksum(sb, bytes, view, at, ino);
  setLe16(view, at + INODE.l_i_checksum_lo, crc & 0xffff);
  if (inodeHas(sb, view, at, INODE.i_checksum_hi, 2)) setLe16(view, at + INODE.i_checksum_hi, crc >>> 16);
}

/** Offset of an extent node's tail from the node's start. The caller has checked that eh_max fits the block. */
export const extentTailOffset = (view: DataView, at: number): number =>
  EXTENT_HEADER.bytes + EXTENT.bytes * le16(view, at + EXTENT_HEADER.eh_max);

/** Of an extent node that is a block, not of the root in the inode. */
export const extentChecksum = (seed: number, bytes: Uint8Array, view: DataView, at: number): number =>
  crc32c(seed, bytes, at, extentTailOffset(view, at));

export function setExtentChecksum(sb: Super, seed: number, bytes: Uint8Array, view: DataView, at: number): void {
  if (!sb.metadataCsum) return;
  setLe32(view, at + extentTailOffset(view, at) + EXTENT_TAIL.et_checksum, extentChecksum(seed, bytes, view, at));
}

/** Of a directory block that ends with a tail: a linear one, or a leaf of a hash tree. */
export const dirLeafChecksum = (sb: Super, seed: number, bytes: Uint8Array, at: number): number =>
  crc32c(seed, bytes, at, sb.blockSize - DIRENT_TAIL.bytes);

export function setDirLeafChecksum(sb: Super, seed: number, bytes: Uint8Array, view: DataView, at: number): void {
  if (!sb.metadataCsum) return;
  const tail = at + sb.blockSize - DIRENT_TAIL.bytes;
  setLe32(view, tail + DIRENT_TAIL.det_checksum, dirLeafChecksum(sb, seed, bytes, at));
}

/** Of an htree node whose limit and count lie at `countOffset` in its block; both were checked to fit. */
export function dxChecksum(seed: number, bytes: Uint8Array, view: DataView, at: number, countOffset: number): number {
  const count = le16(view, at + countOffset + DX_COUNTLIMIT.count);
  const tail = at + dxTailOffset(view, at, countOffset);
  let crc = crc32c(seed, bytes, at, countOffset + count * DX_ENTRY.bytes);
  crc = crc32cWord(crc, le32(view, tail + DX_TAIL.dt_reserved));
  return crc32cWord(crc, 0);
}

export const dxTailOffset = (view: DataView, at: number, countOffset: number): number =>
  countOffset + le16(view, at + countOffset + DX_COUNTLIMIT.limit) * DX_ENTRY.bytes;

export function setDxChecksum(
  sb: Super,
  seed: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  countOffset: number,
): void {
  if (!sb.metadataCsum) return;
  const tail = at + dxTailOffset(view, at, countOffset);
  setLe32(view, tail + DX_TAIL.dt_checksum, dxChecksum(seed, bytes, view, at, countOffset));
}

const withBlock = (seed: number, block: number): number =>
  crc32cWord(crc32cWord(seed, (block % 2 ** 32) | 0), Math.floor(block / 2 ** 32));

export function xattrBlockChecksum(sb: Super, bytes: Uint8Array, at: number, block: number): number {
  let crc = crc32c(withBlock(sb.csumSeed, block), bytes, at, XATTR_HEADER.h_checksum);
  crc = crc32cWord(crc, 0);
  return crc32c(crc, bytes, at + XATTR_HEADER.h_reserved, sb.blockSize - XATTR_HEADER.h_reserved);
}

export function setXattrBlockChecksum(sb: Super, bytes: Uint8Array, view: DataView, at: number, block: number): void {
  if (sb.metadataCsum) setLe32(view, at + XATTR_HEADER.h_checksum, xattrBlockChecksum(sb, bytes, at, block));
}

export const orphanBlockChecksum = (sb: Super, seed: number, bytes: Uint8Array, at: number, block: number): number =>
  crc32c(withBlock(seed, block), bytes, at, sb.blockSize - ORPHAN_TAIL.bytes);

export function setOrphanBlockChecksum(
  sb: Super,
  seed: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  block: number,
): void {
  if (!sb.metadataCsum) return;
  const tail = at + sb.blockSize - ORPHAN_TAIL.bytes;
  setLe32(view, tail + ORPHAN_TAIL.ob_checksum, orphanBlockChecksum(sb, seed, bytes, at, block));
}

export const mmpChecksum = (sb: Super, bytes: Uint8Array, at: number): number =>
  crc32c(sb.csumSeed, bytes, at, MMP.mmp_checksum);
