/**
 * Writing a file: as much as one call can take, by one of four ways.
 *
 *   into the page cache     blocks without a place are promised one (ENOSPC comes here, not later), or get it now with
 *                           nodelalloc: file_pages.ts
 *   through it              O_DIRECT: written before the call ends; file_direct.ts
 *   into the inode          inline data, as long as they fit: file_inline.ts
 *   into the buffer cache   journalled data: file_journalled.ts
 *
 * - writeData(fs, ino, offset, from, how)    bytes written, at least one
 * - fileFlags(fs, ino)                       i_flags of a file that is to be changed; EPERM for an immutable one, EROFS
 * - sizeMax(fs, flags)                       no byte may lie there or behind
 */
import { EFBIG, EFSCORRUPTED, EINVAL, EPERM, EROFS } from "../../abi/errno.ts";
import { IO_APPEND, IO_DIRECT } from "../vfs/file_system.ts";
import { readCall } from "./call.ts";
import { MAP_BLOCKS_MAX } from "./extent.ts";
import { writeDirect } from "./file_direct.ts";
import { NOT_INLINE, writeInline } from "./file_inline.ts";
import { writeJournalled } from "./file_journalled.ts";
import { writePages } from "./file_pages.ts";
import { isJournalled } from "./file_read.ts";
import { finishWork } from "./file_work.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags } from "./inode.ts";
import { INODE_FLAG, RO_COMPAT } from "./layout.ts";
import { NDIR_BLOCKS } from "./layout_inode.ts";
import type { Mounted } from "./mounted.ts";
import { rowOf } from "./rows.ts";

/** Bit above i_flags that this file's data are journalled. */
const JOURNALLED = 2 ** 32;

export const flagsHave = (flags: number, bit: number): boolean => ((flags % 2 ** 32) & bit) !== 0;

export function fileFlags(fs: Mounted, ino: number): number {
  if (fs.readOnly) return EROFS;
  const flags = readCall(fs, () => {
    const inode = inodeAt(fs.buffers, fs.sb, ino);
    if (inode < 0) return EFSCORRUPTED;
    return inodeFlags(fs.buffers.view, inode) + (isJournalled(fs, inode) ? JOURNALLED : 0);
  });
  return flags >= 0 && flagsHave(flags, INODE_FLAG.immutable) ? EPERM : flags;
}

/** ext4_max_size and ext4_max_bitmap_size: what the map can hold, and what i_blocks can count. */
export function sizeMax(fs: Mounted, flags: number): number {
  const { blockSize, roCompat } = fs.sb;
  const huge = (roCompat & RO_COMPAT.huge_file) !== 0;
  const counted = huge ? 2 ** 48 * blockSize : 2 ** 32 * 512;
  if (flagsHave(flags, INODE_FLAG.extents | INODE_FLAG.inline_data) && fs.sb.hasExtents)
    return Math.min(MAP_BLOCKS_MAX * blockSize, counted, Number.MAX_SAFE_INTEGER);
  const each = blockSize / 4;
  const blocks = NDIR_BLOCKS + each + each ** 2 + each ** 3;
  return Math.min(blocks, MAP_BLOCKS_MAX) * blockSize < counted
    ? Math.min(blocks, MAP_BLOCKS_MAX) * blockSize
    : counted;
}

export function writeData(fs: Mounted, ino: number, offset: number, from: Uint8Array, how: number): number {
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const flags = fileFlags(fs, ino);
  if (flags < 0) return flags;
  const append = (how & IO_APPEND) !== 0;
  if (!append && flagsHave(flags, INODE_FLAG.append)) return EPERM;
  const left = finishWork(fs, row);
  if (left !== 0) return left;
  if (from.length === 0) return 0;
  if (offset < 0) return EINVAL;
  const journalled = flags >= JOURNALLED;
  const at = append ? fs.inodes.size[row]! : offset;
  if (at >= sizeMax(fs, flags)) return EFBIG;
  const rest = sizeMax(fs, flags) - at;
  const part = from.length > rest ? from.subarray(0, rest) : from;
  const isInline = flagsHave(flags, INODE_FLAG.inline_data);
  if ((how & IO_DIRECT) !== 0 && !journalled && !isInline) return writeDirect(fs, row, at, part, append);
  const inline = writeInline(fs, row, at, part);
  if (inline !== NOT_INLINE) return inline;
  return journalled ? writeJournalled(fs, row, at, part) : writePages(fs, row, at, part);
}
