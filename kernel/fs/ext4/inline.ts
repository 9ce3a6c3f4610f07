/**
 * Inline data, writing: the first 60 bytes lie in i_block, the rest is the value of the attribute system.data in the
 * inode. So a file or directory has inline data exactly when it has that attribute, be it empty, and the flag.
 *
 * - inlineMost(...)                    bytes that fit into an inode now, 0 when it can have no inline data
 * - mayInline(...)                     whether a file may become inline: it has neither data nor blocks
 * - inlineWrite(edit, ino, offset, from)   ENOSPC when it does not fit: convert it first. i_size follows
 * - inlineTruncate(edit, ino, size)    up or down; ENOSPC as above
 * - inlineRead: readFile() of file.ts
 * - takeInline(edit, ino)              the data out of the inode, which then is an empty file with a map of blocks and its
 *                                      old i_size: the caller puts them where its data go
 * - convertInline(edit, ino)           the same, and the data into a block: for images, where data are blocks like others
 * - setInlineTail(edit, ino, value)    the attribute; inlineTail() of xattr.ts reads it
 *
 * Checksums of the inode are done here, times are the caller's.
 */
import { EFSCORRUPTED, ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { setLe32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import type { Edit } from "./edit.ts";
import { readFile } from "./file.ts";
import { setEmptyTree } from "./ialloc.ts";
import { inodeFlags, inodeSectors, inodeSizeBytes, inodeType } from "./inode.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { INCOMPAT, INODE, INODE_FLAG, I_BLOCK_BYTES, S_IFREG } from "./layout.ts";
import { XATTR_INDEX_SYSTEM, XATTR_INLINE_NAME, XATTR_MAGIC } from "./layout_inode.ts";
import { mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { Super } from "./super.ts";
import { inlineTail, xattrEntryBytes } from "./xattr.ts";
import { ibodyMagic, ibodySpace, isItem, listBytes, readItems, setIbodyMagic, writeItems } from "./xattr_list.ts";
import type { XattrItem } from "./xattr_list.ts";

const DATA = Uint8Array.from(XATTR_INLINE_NAME, (letter) => letter.charCodeAt(0));
const EMPTY = new Uint8Array(0);

const mapped: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

export const isInline = (view: DataView, inode: number): boolean =>
  (inodeFlags(view, inode) & INODE_FLAG.inline_data) !== 0;

const isData = (item: XattrItem): boolean => isItem(item, XATTR_INDEX_SYSTEM, DATA);

/** Attributes in the inode beside system.data; undefined when there is no room for any, or they are damaged. */
function others(blocks: Blocks, sb: Super, inode: number): XattrItem[] | undefined {
  const area = ibodySpace(blocks.view, sb, inode);
  if (area === undefined) return undefined;
  if (ibodyMagic(blocks.view, area) !== XATTR_MAGIC) return [];
  return readItems(blocks.bytes, blocks.view, area)?.filter((item) => !isData(item));
}

export function inlineMost(blocks: Blocks, sb: Super, inode: number): number {
  if ((sb.incompat & INCOMPAT.inline_data) === 0) return 0;
  const area = ibodySpace(blocks.view, sb, inode);
  const items = others(blocks, sb, inode);
  if (area === undefined || items === undefined) return 0;
  const left = area.end - area.first - listBytes(items) - xattrEntryBytes(DATA.length);
  return left < 0 ? 0 : I_BLOCK_BYTES + (left & ~3);
}

export function mayInline(blocks: Blocks, sb: Super, inode: number): boolean {
  const { view } = blocks;
  const isEmpty = inodeSizeBytes(sb, view, inode) === 0 && inodeSectors(sb, view, inode) === 0;
  return isEmpty && inodeType(view, inode) === S_IFREG && inlineMost(blocks, sb, inode) > 0;
}

/** `value` undefined takes the attribute away. The caller knows that it fits; inlineMost() says so. */
export function setInlineTail(edit: Edit, ino: number, value: Uint8Array | undefined): void {
  const { blocks, sb } = edit;
  const inode = editInode(edit, ino);
  const area = ibodySpace(blocks.view, sb, inode);
  const items = others(blocks, sb, inode);
  assert(area !== undefined && items !== undefined, "setInlineTail: an inode without room for it");
  if (value !== undefined) items.unshift({ index: XATTR_INDEX_SYSTEM, name: DATA, value });
  assert(listBytes(items) <= area.end - area.first, "setInlineTail: it does not fit");
  writeItems(blocks.bytes, blocks.view, area, items, false);
  setIbodyMagic(blocks.view, area, items.length > 0 ? XATTR_MAGIC : 0);
}

/** An inode without data becomes an inline one of 60 zeroes. */
export function startInline(edit: Edit, ino: number): void {
  const { view, bytes } = edit.blocks;
  const inode = editInode(edit, ino);
  setInlineTail(edit, ino, EMPTY);
  bytes.fill(0, inode + INODE.i_block, inode + INODE.i_block + I_BLOCK_BYTES);
  setLe32(
    view,
    inode + INODE.i_flags,
    ((inodeFlags(view, inode) & ~INODE_FLAG.extents) | INODE_FLAG.inline_data) >>> 0,
  );
}

/** The tail gets a length, filled with zeroes where it is new. */
function resizeTail(edit: Edit, ino: number, length: number): void {
  const { blocks, sb } = edit;
  const tail = inlineTail(blocks.view, sb, editInode(edit, ino));
  if (tail !== undefined && tail.length === length) return;
  const value = new Uint8Array(length);
  if (tail !== undefined) value.set(blocks.bytes.subarray(tail.at, tail.at + Math.min(tail.length, length)));
  setInlineTail(edit, ino, value);
}

/** Bytes from an offset on, into both parts. */
function putBytes(edit: Edit, ino: number, offset: number, from: Uint8Array): void {
  const { blocks, sb } = edit;
  const inode = editInode(edit, ino);
  const inBlock = Math.max(0, Math.min(from.length, I_BLOCK_BYTES - offset));
  blocks.bytes.set(from.subarray(0, inBlock), inode + INODE.i_block + offset);
  if (inBlock === from.length) return;
  const tail = inlineTail(blocks.view, sb, inode);
  assert(tail !== undefined, "putBytes: inline data has a tail");
  blocks.bytes.set(from.subarray(inBlock), tail.at + offset + inBlock - I_BLOCK_BYTES);
}

export function inlineWrite(edit: Edit, ino: number, offset: number, from: Uint8Array): 0 | Errno {
  const { blocks, sb } = edit;
  const inode = editInode(edit, ino);
  const end = offset + from.length;
  if (end > inlineMost(blocks, sb, inode)) return ENOSPC;
  if (!isInline(blocks.view, inode)) startInline(edit, ino);
  const size = inodeSizeBytes(sb, blocks.view, inode);
  if (end > size) {
    resizeTail(edit, ino, Math.max(0, end - I_BLOCK_BYTES));
    setInodeSize(edit, ino, end);
  }
  putBytes(edit, ino, offset, from);
  sealInode(edit, ino);
  return 0;
}

export function inlineTruncate(edit: Edit, ino: number, size: number): 0 | Errno {
  const { blocks, sb } = edit;
  const inode = editInode(edit, ino);
  assert(isInline(blocks.view, inode), "inlineTruncate: the data are elsewhere");
  if (others(blocks, sb, inode) === undefined) return EFSCORRUPTED;
  if (size > inlineMost(blocks, sb, inode)) return ENOSPC;
  resizeTail(edit, ino, Math.max(0, size - I_BLOCK_BYTES));
  // What a file that grows again must not show.
  if (size < I_BLOCK_BYTES) blocks.bytes.fill(0, inode + INODE.i_block + size, inode + INODE.i_block + I_BLOCK_BYTES);
  setInodeSize(edit, ino, size);
  sealInode(edit, ino);
  return 0;
}

export function takeInline(edit: Edit, ino: number): Uint8Array | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const inode = editInode(edit, ino);
  const size = inodeSizeBytes(sb, view, inode);
  if (size > I_BLOCK_BYTES + sb.inodeSize) return EFSCORRUPTED;
  const data = new Uint8Array(size);
  const got = readFile(blocks, sb, inode, 0, data);
  if (got !== data.length || others(blocks, sb, inode) === undefined) return EFSCORRUPTED;
  setInlineTail(edit, ino, undefined);
  const flags = inodeFlags(view, inode) & ~INODE_FLAG.inline_data;
  setLe32(view, inode + INODE.i_flags, (flags | (sb.hasExtents ? INODE_FLAG.extents : 0)) >>> 0);
  if (sb.hasExtents) setEmptyTree(view, inode);
  else blocks.bytes.fill(0, inode + INODE.i_block, inode + INODE.i_block + I_BLOCK_BYTES);
  sealInode(edit, ino);
  return data;
}

export function convertInline(edit: Edit, ino: number): 0 | Errno {
  const data = takeInline(edit, ino);
  if (typeof data === "number") return data;
  if (data.length === 0) return 0;
  const result = mapCreate(edit, ino, 0, 1, 0, mapped);
  if (result !== 0) return result;
  edit.blocks.bytes.set(data, edit.blocks.fresh(mapped.pblk));
  sealInode(edit, ino);
  return 0;
}
