/**
 * Fields of an inode at an address, wherever its parts lie. Reading only; layout.ts draws it, group.ts finds it.
 */
import { le16, le32 } from "../../lib/bytes.ts";
import { INCOMPAT, INODE, INODE_FLAG, RO_COMPAT, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, I_BLOCK_BYTES } from "./layout.ts";
import { inodeHas } from "./csum.ts";
import type { Super } from "./super.ts";

export const inodeMode = (view: DataView, at: number): number => le16(view, at + INODE.i_mode);
export const inodeType = (view: DataView, at: number): number => le16(view, at + INODE.i_mode) & S_IFMT;
export const inodeLinks = (view: DataView, at: number): number => le16(view, at + INODE.i_links_count);
export const inodeFlags = (view: DataView, at: number): number => le32(view, at + INODE.i_flags);
export const inodeGeneration = (view: DataView, at: number): number => le32(view, at + INODE.i_generation);
export const inodeDtime = (view: DataView, at: number): number => le32(view, at + INODE.i_dtime);
export const inodeUid = (view: DataView, at: number): number =>
  le16(view, at + INODE.i_uid) + le16(view, at + INODE.l_i_uid_high) * 0x10000;
export const inodeGid = (view: DataView, at: number): number =>
  le16(view, at + INODE.i_gid) + le16(view, at + INODE.l_i_gid_high) * 0x10000;

/** The high half counts for regular files, and for directories with large_dir. */
export function inodeSizeBytes(sb: Super, view: DataView, at: number): number {
  const low = le32(view, at + INODE.i_size_lo);
  const type = inodeType(view, at);
  const wide = type === S_IFREG || (type === S_IFDIR && (sb.incompat & INCOMPAT.large_dir) !== 0);
  return wide ? low + le32(view, at + INODE.i_size_high) * 2 ** 32 : low;
}

/** Space that i_blocks says the inode takes, in sectors of 512 bytes. */
export function inodeSectors(sb: Super, view: DataView, at: number): number {
  const low = le32(view, at + INODE.i_blocks_lo);
  if ((sb.roCompat & RO_COMPAT.huge_file) === 0) return low;
  const count = low + le16(view, at + INODE.l_i_blocks_high) * 2 ** 32;
  return (inodeFlags(view, at) & INODE_FLAG.huge_file) !== 0 ? count * (sb.blockSize / 512) : count;
}

/** Block of extended attributes, 0 for none. */
export const inodeFileAcl = (sb: Super, view: DataView, at: number): number =>
  le32(view, at + INODE.i_file_acl_lo) + (sb.has64bit ? le16(view, at + INODE.l_i_file_acl_high) * 2 ** 32 : 0);

/** A symbolic link whose target lies in i_block: it has no blocks of its own but for attributes. */
export function isFastSymlink(sb: Super, view: DataView, at: number): boolean {
  if (inodeType(view, at) !== S_IFLNK || (inodeFlags(view, at) & INODE_FLAG.inline_data) !== 0) return false;
  return le32(view, at + INODE.i_size_lo) < I_BLOCK_BYTES && (inodeFlags(view, at) & INODE_FLAG.extents) === 0
    ? inodeSectors(sb, view, at) === 0 || inodeSectors(sb, view, at) === aclSectors(sb, view, at)
    : false;
}

const aclSectors = (sb: Super, view: DataView, at: number): number =>
  inodeFileAcl(sb, view, at) === 0 ? 0 : (sb.blockSize << sb.clusterBits) / 512;

/** True when i_block is a map of blocks, by extents or indirect: not inline data, a fast symlink, or a device. */
export function hasBlockMap(sb: Super, view: DataView, at: number): boolean {
  const type = inodeType(view, at);
  if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK) return false;
  return (inodeFlags(view, at) & INODE_FLAG.inline_data) === 0 && !isFastSymlink(sb, view, at);
}

/**
 * A time in seconds since 1970, nanoseconds in its fraction lost; `extra` is the offset of the field with the further
 * bits: two that extend the seconds to 2446, thirty of nanoseconds.
 */
export function inodeSeconds(sb: Super, view: DataView, at: number, field: number, extra: number): number {
  const low = view.getInt32(at + field, true);
  return inodeHas(sb, view, at, extra, 4) ? low + (le32(view, at + extra) & 3) * 2 ** 32 : low;
}

export const inodeNanos = (sb: Super, view: DataView, at: number, extra: number): number =>
  inodeHas(sb, view, at, extra, 4) ? le32(view, at + extra) >>> 2 : 0;
