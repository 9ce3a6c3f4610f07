/**
 * Inline directories, writing. The parent's number lies in the first four bytes of i_block, entries behind it up to byte
 * 60, further ones in the value of system.data, which then has all the room that the inode has.
 *
 * - startInlineDir(edit, dir, parent)      a new directory; false when there is no room
 * - inlineRegions(view, sb, inode)         the addresses between which entries lie
 * - addInline(edit, dir, name, ino, type)  ENOSPC when it is full
 * - setInlineParent(edit, dir, parent)
 * - convertInlineDir(edit, dir)            into a first block, each entry where INLINE_SHIFT says it was: ENOSPC
 */
import { EFSCORRUPTED, ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe32 } from "../../lib/bytes.ts";
import { direntBytes } from "./dir.ts";
import {
  DAMAGED,
  NO_ROOM,
  endLeaf,
  findRoom,
  initDirBlock,
  leafEnd,
  lastEntry,
  putEntry,
  setRecLen,
} from "./dir_block.ts";
import { appendBlock, dirSeed } from "./dir_grow.ts";
import type { Appended } from "./dir_grow.ts";
import type { Edit } from "./edit.ts";
import { inlineMost, setInlineTail, startInline, takeInline } from "./inline.ts";
import { inlineParent } from "./dir.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { INODE, I_BLOCK_BYTES } from "./layout.ts";
import { INLINE_DOTDOT_BYTES } from "./layout_dir.ts";
import type { Super } from "./super.ts";
import { inlineTail } from "./xattr.ts";

export interface Region {
  readonly from: number;
  readonly end: number;
}

const appended: Appended = { lblk: 0, pblk: 0 };

export function inlineRegions(view: DataView, sb: Super, inode: number): Region[] {
  const start = inode + INODE.i_block;
  const regions = [{ from: start + INLINE_DOTDOT_BYTES, end: start + I_BLOCK_BYTES }];
  const tail = inlineTail(view, sb, inode);
  if (tail !== undefined && tail.length > 0) regions.push({ from: tail.at, end: tail.at + tail.length });
  return regions;
}

export function startInlineDir(edit: Edit, dir: number, parent: number): boolean {
  const { blocks, sb } = edit;
  const inode = editInode(edit, dir);
  if (inlineMost(blocks, sb, inode) === 0) return false;
  startInline(edit, dir);
  setInlineParent(edit, dir, parent);
  const first = inode + INODE.i_block + INLINE_DOTDOT_BYTES;
  setRecLen(sb, blocks.view, first, I_BLOCK_BYTES - INLINE_DOTDOT_BYTES);
  setInodeSize(edit, dir, I_BLOCK_BYTES);
  sealInode(edit, dir);
  return true;
}

export function setInlineParent(edit: Edit, dir: number, parent: number): void {
  setLe32(edit.blocks.view, editInode(edit, dir) + INODE.i_block, parent);
  sealInode(edit, dir);
}

export function addInline(edit: Edit, dir: number, name: Uint8Array, ino: number, type: number): 0 | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const inode = editInode(edit, dir);
  const wanted = direntBytes(name.length);
  const [first] = inlineRegions(view, sb, inode);
  let room = findRoom(sb, view, first!.from, first!.end, wanted);
  if (room === NO_ROOM) {
    const second = inlineRegions(view, sb, inode)[1] ?? openTail(edit, dir);
    if (second !== undefined) room = findRoom(sb, view, second.from, second.end, wanted);
  }
  if (room < 0) return room === DAMAGED ? EFSCORRUPTED : ENOSPC;
  putEntry(blocks, sb, room, name, ino, type);
  sealInode(edit, dir);
  return 0;
}

/** All that is left in the inode becomes one unused entry. */
function openTail(edit: Edit, dir: number): Region | undefined {
  const { blocks, sb } = edit;
  const inode = editInode(edit, dir);
  const length = inlineMost(blocks, sb, inode) - I_BLOCK_BYTES;
  if (length < direntBytes(1)) return undefined;
  setInlineTail(edit, dir, new Uint8Array(length));
  setInodeSize(edit, dir, I_BLOCK_BYTES + length);
  const region = inlineRegions(blocks.view, sb, inode)[1]!;
  setRecLen(sb, blocks.view, region.from, length);
  return region;
}

/** Offset in the block of what was at offset INLINE_DOTDOT_BYTES: behind "." and "..". */
export const INLINE_SHIFT = direntBytes(1) + direntBytes(2);

export function convertInlineDir(edit: Edit, dir: number): 0 | Errno {
  const { blocks, sb } = edit;
  const inode = editInode(edit, dir);
  const parent = inlineParent(blocks.view, inode);
  const data = takeInline(edit, dir);
  if (typeof data === "number") return data;
  setInodeSize(edit, dir, 0);
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  const seed = dirSeed(edit, dir, inode);
  initDirBlock(blocks, sb, seed, appended.pblk, dir, parent);
  const at = blocks.writable(appended.pblk);
  setRecLen(sb, blocks.view, at + direntBytes(1), direntBytes(2));
  const entries = data.subarray(INLINE_DOTDOT_BYTES);
  blocks.bytes.set(entries, at + INLINE_SHIFT);
  const end = at + INLINE_SHIFT + entries.length;
  const last = lastEntry(sb, blocks.view, at, end);
  blocks.bytes.fill(0, end, at + leafEnd(sb));
  endLeaf(blocks, sb, seed, at, last - at);
  return 0;
}
