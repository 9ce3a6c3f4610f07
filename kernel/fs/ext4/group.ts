/**
 * Group descriptors and where they lead: fields that are split in a low and a high half read as one number.
 *
 * - descAt(blocks, sb, group)     address of the descriptor; -1 when its block is not there
 * - gd...(sb, view, at)           fields of the descriptor at an address; setGd... write them, the checksum apart
 * - groupOfInode, inodeBlock      where an inode lies; inodeAt(blocks, sb, ino) its address, -1 for a number or a table
 *                                 that cannot be
 */
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { GD } from "./layout.ts";
import { descBlock } from "./super.ts";
import type { Super } from "./super.ts";

export function descAt(blocks: Blocks, sb: Super, group: number): number {
  const at = blocks.at(descBlock(sb, Math.floor(group / sb.descPerBlock)));
  return at < 0 ? -1 : at + (group % sb.descPerBlock) * sb.descSize;
}

/** The block of descriptors that holds a group's, for writing. */
export const descBlockOf = (sb: Super, group: number): number => descBlock(sb, Math.floor(group / sb.descPerBlock));

const wide = (sb: Super, view: DataView, lo: number, hi: number): number =>
  le32(view, lo) + (sb.has64bit ? le32(view, hi) * 2 ** 32 : 0);
const count = (sb: Super, view: DataView, lo: number, hi: number): number =>
  le16(view, lo) + (sb.has64bit ? le16(view, hi) * 0x10000 : 0);
const setWide = (sb: Super, view: DataView, lo: number, hi: number, value: number): void => {
  setLe32(view, lo, value % 2 ** 32);
  if (sb.has64bit) setLe32(view, hi, Math.floor(value / 2 ** 32));
};
const setCount = (sb: Super, view: DataView, lo: number, hi: number, value: number): void => {
  setLe16(view, lo, value & 0xffff);
  if (sb.has64bit) setLe16(view, hi, value >>> 16);
};

export const gdBlockBitmap = (sb: Super, view: DataView, at: number): number =>
  wide(sb, view, at + GD.bg_block_bitmap_lo, at + GD.bg_block_bitmap_hi);
export const gdInodeBitmap = (sb: Super, view: DataView, at: number): number =>
  wide(sb, view, at + GD.bg_inode_bitmap_lo, at + GD.bg_inode_bitmap_hi);
export const gdInodeTable = (sb: Super, view: DataView, at: number): number =>
  wide(sb, view, at + GD.bg_inode_table_lo, at + GD.bg_inode_table_hi);

export const setGdBlockBitmap = (sb: Super, view: DataView, at: number, value: number): void =>
  setWide(sb, view, at + GD.bg_block_bitmap_lo, at + GD.bg_block_bitmap_hi, value);
export const setGdInodeBitmap = (sb: Super, view: DataView, at: number, value: number): void =>
  setWide(sb, view, at + GD.bg_inode_bitmap_lo, at + GD.bg_inode_bitmap_hi, value);
export const setGdInodeTable = (sb: Super, view: DataView, at: number, value: number): void =>
  setWide(sb, view, at + GD.bg_inode_table_lo, at + GD.bg_inode_table_hi, value);

export const gdFlags = (view: DataView, at: number): number => le16(view, at + GD.bg_flags);
export const setGdFlags = (view: DataView, at: number, flags: number): void => setLe16(view, at + GD.bg_flags, flags);

/** Free clusters. */
export const gdFreeBlocks = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_free_blocks_count_lo, at + GD.bg_free_blocks_count_hi);
export const gdFreeInodes = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_free_inodes_count_lo, at + GD.bg_free_inodes_count_hi);
export const gdUsedDirs = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_used_dirs_count_lo, at + GD.bg_used_dirs_count_hi);
/** Inodes at the end of the table that were never used. */
export const gdItableUnused = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_itable_unused_lo, at + GD.bg_itable_unused_hi);
export const gdBlockBitmapCsum = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_block_bitmap_csum_lo, at + GD.bg_block_bitmap_csum_hi);
export const gdInodeBitmapCsum = (sb: Super, view: DataView, at: number): number =>
  count(sb, view, at + GD.bg_inode_bitmap_csum_lo, at + GD.bg_inode_bitmap_csum_hi);
/** Of a checksum only so many bits are kept in the descriptor. */
export const bitmapCsumKept = (sb: Super, crc: number): number => (sb.has64bit ? crc >>> 0 : crc & 0xffff);

export const setGdFreeBlocks = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_free_blocks_count_lo, at + GD.bg_free_blocks_count_hi, value);
export const setGdFreeInodes = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_free_inodes_count_lo, at + GD.bg_free_inodes_count_hi, value);
export const setGdUsedDirs = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_used_dirs_count_lo, at + GD.bg_used_dirs_count_hi, value);
export const setGdItableUnused = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_itable_unused_lo, at + GD.bg_itable_unused_hi, value);
export const setGdBlockBitmapCsum = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_block_bitmap_csum_lo, at + GD.bg_block_bitmap_csum_hi, value);
export const setGdInodeBitmapCsum = (sb: Super, view: DataView, at: number, value: number): void =>
  setCount(sb, view, at + GD.bg_inode_bitmap_csum_lo, at + GD.bg_inode_bitmap_csum_hi, value);

export const groupOfInode = (sb: Super, ino: number): number => Math.floor((ino - 1) / sb.inodesPerGroup);

/** Block that holds an inode, -1 for a number that cannot be. */
export function inodeBlock(blocks: Blocks, sb: Super, ino: number): number {
  if (!(ino >= 1 && ino <= sb.inodesCount)) return -1;
  const group = groupOfInode(sb, ino);
  const desc = descAt(blocks, sb, group);
  if (desc < 0) return -1;
  const index = ino - 1 - group * sb.inodesPerGroup;
  const block = gdInodeTable(sb, blocks.view, desc) + Math.floor(index / sb.inodesPerBlock);
  return block > 0 && block < sb.blocksCount ? block : -1;
}

/** Offset of an inode in its block. */
export const inodeOffset = (sb: Super, ino: number): number =>
  (((ino - 1) % sb.inodesPerGroup) % sb.inodesPerBlock) * sb.inodeSize;

export function inodeAt(blocks: Blocks, sb: Super, ino: number): number {
  const block = inodeBlock(blocks, sb, ino);
  const at = block < 0 ? -1 : blocks.at(block);
  return at < 0 ? -1 : at + inodeOffset(sb, ino);
}
