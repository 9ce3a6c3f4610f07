/**
 * Directories, reading. Leaves of a hash tree are blocks of entries, and its inner blocks look like one unused entry; so
 * a walk over all blocks reads both kinds. htree.ts finds one name without it.
 *
 * - entryFault(...)                what is wrong with the entry at an address; undefined when it can be trusted
 * - walkEntries(..., visitor)      the entries between two addresses
 * - walkDir(..., visitor)          all entries of a directory, "." and ".." included (an inline one has neither)
 * - lookup(..., name)              the inode number of a name
 */
import { EFSCORRUPTED, ENOENT } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le16, le32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { htreeLookup } from "./htree.ts";
import { inodeFlags, inodeSizeBytes } from "./inode.ts";
import {
  I_BLOCK_BYTES,
  INODE,
  INODE_FLAG,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from "./layout.ts";
import {
  DIRENT,
  DIRENT_TAIL,
  DIRENT_TAIL_FT,
  FT_BLK,
  FT_CHR,
  FT_DIR,
  FT_FIFO,
  FT_LNK,
  FT_REG,
  FT_SOCK,
  INLINE_DOTDOT_BYTES,
  NAME_MAX,
} from "./layout_dir.ts";
import type { Super } from "./super.ts";
import { inlineTail } from "./xattr.ts";

export interface EntryVisitor {
  /** A used entry; its name is at `at + DIRENT.bytes`. False ends the walk. */
  entry(at: number, ino: number, nameLength: number, fileType: number): boolean;
}

/** i_mode's type -> file_type */
export const FILE_TYPES: Readonly<Record<number, number>> = {
  [S_IFREG]: FT_REG,
  [S_IFDIR]: FT_DIR,
  [S_IFCHR]: FT_CHR,
  [S_IFBLK]: FT_BLK,
  [S_IFIFO]: FT_FIFO,
  [S_IFSOCK]: FT_SOCK,
  [S_IFLNK]: FT_LNK,
};

/** Bytes that an entry with such a name needs. */
export const direntBytes = (nameLength: number): number => (DIRENT.bytes + nameLength + 3) & ~3;

/** In blocks of 64 KiB a whole block does not fit the field: 0 and 65535 stand for it. */
export function recLen(sb: Super, view: DataView, at: number): number {
  const raw = le16(view, at + DIRENT.rec_len);
  if (sb.blockSize < 0x10000) return raw;
  return raw === 0 || raw === 0xffff ? sb.blockSize : (raw & 0xfffc) | ((raw & 3) << 16);
}

export function entryFault(sb: Super, view: DataView, at: number, end: number): string | undefined {
  if (at + DIRENT.bytes > end) return "an entry is cut off by the end of its block";
  const length = recLen(sb, view, at);
  if (length < direntBytes(1)) return "rec_len is too small";
  if (length % 4 !== 0) return "rec_len is no multiple of four";
  if (at + length > end) return "rec_len reaches beyond the block";
  if (direntBytes(view.getUint8(at + DIRENT.name_len)) > length) return "name_len is larger than rec_len allows";
  if (le32(view, at + DIRENT.inode) > sb.inodesCount) return "the inode number is out of range";
  return undefined;
}

/** Whether a block of entries ends with a checksum's tail. */
export function hasDirTail(sb: Super, view: DataView, at: number): boolean {
  const tail = at + sb.blockSize - DIRENT_TAIL.bytes;
  return (
    le32(view, tail + DIRENT_TAIL.det_reserved_zero1) === 0 &&
    le16(view, tail + DIRENT_TAIL.det_rec_len) === DIRENT_TAIL.bytes &&
    view.getUint8(tail + DIRENT_TAIL.det_reserved_zero2) === 0 &&
    view.getUint8(tail + DIRENT_TAIL.det_reserved_ft) === DIRENT_TAIL_FT
  );
}

/** "stopped" when the visitor ended it, undefined when all was read, else what is wrong. */
export function walkEntries(
  sb: Super,
  view: DataView,
  from: number,
  end: number,
  visitor: EntryVisitor,
): string | undefined {
  for (let at = from; at < end;) {
    const fault = entryFault(sb, view, at, end);
    if (fault !== undefined) return fault;
    const ino = le32(view, at + DIRENT.inode);
    if (ino !== 0) {
      const nameLength = view.getUint8(at + DIRENT.name_len);
      if (!visitor.entry(at, ino, nameLength, view.getUint8(at + DIRENT.file_type))) return STOPPED;
    }
    at += recLen(sb, view, at);
  }
  return undefined;
}
export const STOPPED = "stopped";

/** Reads on after a damaged block, and then says so. */
export function walkDir(blocks: Blocks, sb: Super, dir: number, visitor: EntryVisitor): 0 | Errno {
  const { view } = blocks;
  if ((inodeFlags(view, dir) & INODE_FLAG.inline_data) !== 0) return walkInlineDir(blocks, sb, dir, visitor);
  const count = Math.ceil(inodeSizeBytes(sb, view, dir) / sb.blockSize);
  const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  let result: 0 | Errno = 0;
  // A map whose blocks are one block again and again would be walked for minutes: no directory is larger than the whole.
  let left = sb.blocksCount;
  for (let lblk = 0; lblk < count;) {
    const fault = mapBlock(blocks, sb, dir, lblk, mapped);
    if (fault !== 0) return fault;
    if (mapped.pblk === 0) {
      lblk += mapped.length;
      continue;
    }
    for (let n = 0; n < mapped.length && lblk < count; n++, lblk++) {
      const at = blocks.at(mapped.pblk + n);
      if (at < 0 || left-- === 0) return EFSCORRUPTED;
      const ended = walkEntries(sb, view, at, at + sb.blockSize, visitor);
      if (ended === STOPPED) return 0;
      if (ended !== undefined) result = EFSCORRUPTED;
    }
  }
  return result;
}

function walkInlineDir(blocks: Blocks, sb: Super, dir: number, visitor: EntryVisitor): 0 | Errno {
  const { view } = blocks;
  const start = dir + INODE.i_block;
  const first = walkEntries(sb, view, start + INLINE_DOTDOT_BYTES, start + I_BLOCK_BYTES, visitor);
  if (first === STOPPED) return 0;
  const tail = inlineTail(view, sb, dir);
  const second =
    tail === undefined || tail.length === 0
      ? undefined
      : walkEntries(sb, view, tail.at, tail.at + tail.length, visitor);
  return first === undefined && (second === undefined || second === STOPPED) ? 0 : EFSCORRUPTED;
}

/** Parent of an inline directory, which has no "..". */
export const inlineParent = (view: DataView, dir: number): number => le32(view, dir + INODE.i_block);

/** Compares names; keeps the number of the one that is equal. */
class Finder implements EntryVisitor {
  readonly #bytes: Uint8Array;
  readonly #name: Uint8Array;
  ino = 0;

  constructor(bytes: Uint8Array, name: Uint8Array) {
    this.#bytes = bytes;
    this.#name = name;
  }

  entry(at: number, ino: number, nameLength: number): boolean {
    const name = this.#name;
    if (nameLength !== name.length) return true;
    for (let n = 0; n < nameLength; n++) if (this.#bytes[at + DIRENT.bytes + n] !== name[n]) return true;
    this.ino = ino;
    return false;
  }
}

/** Number of the inode, or ENOENT; EFSCORRUPTED when the name is not in what can be read of a damaged directory. */
export function lookup(blocks: Blocks, sb: Super, dir: number, name: Uint8Array): number | Errno {
  if (name.length === 0 || name.length > NAME_MAX) return ENOENT;
  const finder = new Finder(blocks.bytes, name);
  if ((inodeFlags(blocks.view, dir) & INODE_FLAG.index) !== 0) {
    const found = htreeLookup(blocks, sb, dir, name, (at) => {
      walkEntries(sb, blocks.view, at, at + sb.blockSize, finder);
      return finder.ino !== 0;
    });
    if (found) return finder.ino === 0 ? ENOENT : finder.ino;
  }
  // Linear, or the index cannot be used: "." and ".." are not in it, and a damaged one does not lose names.
  const result = walkDir(blocks, sb, dir, finder);
  if (finder.ino !== 0) return finder.ino;
  return result === 0 ? ENOENT : result;
}
