/**
 * Entries of a directory put in, taken out, and changed, in whichever of its three forms it is: inline in the inode,
 * linear blocks, or blocks below a hash tree. Inodes that the entries name are the caller's.
 *
 * - findEntry(..., name, spot)             where a name's entry is; ENOENT
 * - addEntry(edit, dir, name, ino, type)   the caller knows that the name is not there. ENOSPC
 * - removeEntry(edit, dir, name)           ENOENT
 * - replaceEntry(edit, dir, name, ino, type)    the name gets another inode; ENOENT
 * - setParent(edit, dir, parent)           ".."
 * - isEmptyDir(...)                        nothing but "." and ".."
 * - initDir(edit, dir, parent)             a new directory: its first block
 *
 * Linux's rules: the first entry with enough room is taken, a directory of one block that overflows gets an index (feature
 * dir_index), blocks are never given back. Times of the directory are the caller's, its checksums are done here.
 */
import { EFSCORRUPTED, ENOENT, ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { direntBytes, entryFault, recLen, walkDir } from "./dir.ts";
import {
  DAMAGED,
  NO_ROOM,
  findIn,
  findRoom,
  initDirBlock,
  isDots,
  leafEnd,
  putEntry,
  sealLeaf,
  takeEntry,
  typeKept,
} from "./dir_block.ts";
import type { Found } from "./dir_block.ts";
import { appendBlock, dirSeed } from "./dir_grow.ts";
import type { Appended } from "./dir_grow.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { htreeLookup } from "./htree.ts";
import { BAD_INDEX, htreeAdd, sealNode } from "./htree_edit.ts";
import { makeIndex } from "./htree_make.ts";
import { addInline, convertInlineDir, inlineRegions, setInlineParent } from "./inline_dir.ts";
import { inodeFlags, inodeSizeBytes } from "./inode.ts";
import { editInode, sealInode } from "./inode_edit.ts";
import { COMPAT, INODE, INODE_FLAG } from "./layout.ts";
import { DIRENT } from "./layout_dir.ts";
import type { Super } from "./super.ts";

/** Where an entry is: in a block of the device, or in the inode (block 0). Offsets from its start; `before` may be -1. */
export interface Spot {
  block: number;
  at: number;
  before: number;
}

const found: Found = { at: 0, before: 0 };
const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
const appended: Appended = { lblk: 0, pblk: 0 };
const spotted: Spot = { block: 0, at: 0, before: 0 };

const hasFlag = (view: DataView, inode: number, flag: number): boolean => (inodeFlags(view, inode) & flag) !== 0;

function setSpot(spot: Spot, block: number, base: number): 0 {
  spot.block = block;
  spot.at = found.at - base;
  spot.before = found.before < 0 ? -1 : found.before - base;
  return 0;
}

/** Blocks of a linear directory, in order, until `visit` returns false. EFSCORRUPTED for a map that cannot be. */
function eachBlock(blocks: Blocks, sb: Super, inode: number, visit: (block: number, at: number) => boolean): 0 | Errno {
  const count = Math.ceil(inodeSizeBytes(sb, blocks.view, inode) / sb.blockSize);
  for (let lblk = 0; lblk < count;) {
    const fault = mapBlock(blocks, sb, inode, lblk, mapped);
    if (fault !== 0) return fault;
    const { pblk, length } = mapped;
    if (pblk === 0) return EFSCORRUPTED;
    for (let n = 0; n < length && lblk < count; n++, lblk++) if (!visit(pblk + n, blocks.at(pblk + n))) return 0;
  }
  return 0;
}

/** `inode` is the directory's address. */
export function findEntry(blocks: Blocks, sb: Super, inode: number, name: Uint8Array, spot: Spot): 0 | Errno {
  const { view } = blocks;
  if (hasFlag(view, inode, INODE_FLAG.inline_data)) {
    for (const { from, end } of inlineRegions(view, sb, inode))
      if (findIn(blocks, sb, from, end, name, found)) return setSpot(spot, 0, inode);
    return ENOENT;
  }
  let isThere = false;
  const look = (block: number, at: number): boolean => {
    if (!findIn(blocks, sb, at, at + leafEnd(sb), name, found)) return false;
    setSpot(spot, block, at);
    isThere = true;
    return true;
  };
  if (hasFlag(view, inode, INODE_FLAG.index) && htreeLookup(blocks, sb, inode, name, (at, block) => look(block, at)))
    return isThere ? 0 : ENOENT;
  const fault = eachBlock(blocks, sb, inode, (block, at) => !look(block, at));
  if (isThere) return 0;
  return fault === 0 ? ENOENT : fault;
}

/** Address for writing of what a spot's offsets count from. */
const baseOf = (edit: Edit, dir: number, spot: Spot): number =>
  spot.block === 0 ? editInode(edit, dir) : edit.blocks.writable(spot.block);

function sealSpot(edit: Edit, dir: number, spot: Spot, base: number): void {
  if (spot.block === 0) sealInode(edit, dir);
  else sealLeaf(edit.blocks, edit.sb, dirSeed(edit, dir, editInode(edit, dir)), base);
}

export function removeEntry(edit: Edit, dir: number, name: Uint8Array): 0 | Errno {
  const { blocks, sb } = edit;
  const result = findEntry(blocks, sb, editInode(edit, dir), name, spotted);
  if (result !== 0) return result;
  const base = baseOf(edit, dir, spotted);
  found.at = base + spotted.at;
  found.before = spotted.before < 0 ? -1 : base + spotted.before;
  takeEntry(blocks, sb, found);
  sealSpot(edit, dir, spotted, base);
  return 0;
}

export function replaceEntry(edit: Edit, dir: number, name: Uint8Array, ino: number, type: number): 0 | Errno {
  const { blocks, sb } = edit;
  const result = findEntry(blocks, sb, editInode(edit, dir), name, spotted);
  if (result !== 0) return result;
  const base = baseOf(edit, dir, spotted);
  setLe32(blocks.view, base + spotted.at + DIRENT.inode, ino);
  blocks.bytes[base + spotted.at + DIRENT.file_type] = typeKept(sb, type);
  sealSpot(edit, dir, spotted, base);
  return 0;
}

export function setParent(edit: Edit, dir: number, parent: number): 0 | Errno {
  const { blocks, sb } = edit;
  const inode = editInode(edit, dir);
  if (hasFlag(blocks.view, inode, INODE_FLAG.inline_data)) {
    setInlineParent(edit, dir, parent);
    return 0;
  }
  if (mapBlock(blocks, sb, inode, 0, mapped) !== 0 || mapped.pblk === 0) return EFSCORRUPTED;
  const at = blocks.writable(mapped.pblk);
  const dotdot = at + recLen(sb, blocks.view, at);
  if (entryFault(sb, blocks.view, dotdot, at + sb.blockSize) !== undefined) return EFSCORRUPTED;
  setLe32(blocks.view, dotdot + DIRENT.inode, parent);
  // The root of a hash tree has another checksum.
  if (hasFlag(blocks.view, inode, INODE_FLAG.index)) sealNode(edit, dir, at, true);
  else sealLeaf(blocks, sb, dirSeed(edit, dir, inode), at);
  return 0;
}

export function addEntry(edit: Edit, dir: number, name: Uint8Array, ino: number, type: number): 0 | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const kept = typeKept(sb, type);
  const inode = editInode(edit, dir);
  if (hasFlag(view, inode, INODE_FLAG.inline_data)) {
    const added = addInline(edit, dir, name, ino, kept);
    if (added !== ENOSPC) return added;
    const result = convertInlineDir(edit, dir);
    if (result !== 0) return result;
  }
  if (hasFlag(view, inode, INODE_FLAG.index)) {
    const result = htreeAdd(edit, dir, name, ino, kept);
    if (result !== BAD_INDEX) return result;
    if (sb.metadataCsum) return EFSCORRUPTED;
    setLe32(view, inode + INODE.i_flags, inodeFlags(view, inode) & ~INODE_FLAG.index);
    sealInode(edit, dir);
  }
  return addLinear(edit, dir, name, ino, kept);
}

function addLinear(edit: Edit, dir: number, name: Uint8Array, ino: number, type: number): 0 | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const inode = editInode(edit, dir);
  const wanted = direntBytes(name.length);
  const seed = dirSeed(edit, dir, inode);
  let room = NO_ROOM;
  const fault = eachBlock(blocks, sb, inode, (block, from) => {
    room = findRoom(sb, view, from, from + leafEnd(sb), wanted);
    if (room === NO_ROOM) return true;
    if (room !== DAMAGED) {
      const at = blocks.writable(block);
      putEntry(blocks, sb, at + room - from, name, ino, type);
      sealLeaf(blocks, sb, seed, at);
    }
    return false;
  });
  if (fault !== 0) return fault;
  if (room !== NO_ROOM) return room === DAMAGED ? EFSCORRUPTED : 0;
  if (inodeSizeBytes(sb, view, inode) === sb.blockSize && (sb.compat & COMPAT.dir_index) !== 0) {
    const result = makeIndex(edit, dir);
    if (result !== 0) return result;
    const added = htreeAdd(edit, dir, name, ino, type);
    return added === BAD_INDEX ? EFSCORRUPTED : added;
  }
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  initDirBlock(blocks, sb, seed, appended.pblk, 0, 0);
  const at = blocks.writable(appended.pblk);
  putEntry(blocks, sb, at, name, ino, type);
  sealLeaf(blocks, sb, seed, at);
  return 0;
}

/** `inode` is the directory's address. What cannot be read counts as full. */
export function isEmptyDir(blocks: Blocks, sb: Super, inode: number): boolean {
  let isEmpty = true;
  const result = walkDir(blocks, sb, inode, {
    entry(at, _ino, nameLength) {
      const from = at + DIRENT.bytes;
      isEmpty = isDots(blocks.bytes.subarray(from, from + nameLength));
      return isEmpty;
    },
  });
  return isEmpty && result === 0;
}

/** `dir` is a new inode, empty, with a map of blocks. */
export function initDir(edit: Edit, dir: number, parent: number): 0 | Errno {
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  initDirBlock(edit.blocks, edit.sb, dirSeed(edit, dir, editInode(edit, dir)), appended.pblk, dir, parent);
  return 0;
}
