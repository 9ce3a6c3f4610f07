/**
 * Hash trees of directories, writing. layout_dir.ts draws them. A name goes into the leaf of its hash; a leaf that is full
 * is split at the middle of its bytes, in the order of hashes; an index node that is full at the middle of its entries; a
 * root that is full gets one more level below it. A block is never given back. htree_make.ts makes a tree.
 *
 * - htreeAdd(edit, dir, ...)       puts a name in; BAD_INDEX when the tree cannot be used, ENOSPC when its root is full at
 *                                  the deepest level that is allowed
 * - sealNode(edit, dir, at, root)  the checksum of an index node
 *
 * Invariant: an entry's hash with its lowest bit set says that the leaf before it ends with names of that very hash. A
 * name goes before such a leaf, so that a search, which walks on from there, finds it.
 */
import { EFSCORRUPTED, ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { setDxChecksum } from "./csum.ts";
import { direntBytes, recLen } from "./dir.ts";
import {
  DAMAGED,
  NO_ROOM,
  endLeaf,
  entryIno,
  entryNameLength,
  findRoom,
  leafEnd,
  putEntry,
  sealLeaf,
  setRecLen,
} from "./dir_block.ts";
import { appendBlock, dirSeed } from "./dir_grow.ts";
import type { Appended } from "./dir_grow.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { nameHash } from "./hash.ts";
import {
  dxBlock,
  dxCount,
  dxCountOffset,
  dxHash,
  dxHashVersion,
  dxLevels,
  dxLimit,
  dxNodeFault,
  dxRootFault,
  lastBefore,
} from "./htree.ts";
import { editInode } from "./inode_edit.ts";
import { INCOMPAT } from "./layout.ts";
import {
  DIRENT,
  DX_COUNTLIMIT,
  DX_ENTRY,
  DX_LEVELS_LARGE_MAX,
  DX_LEVELS_MAX,
  DX_ROOT_INFO,
  DX_ROOT_INFO_OFFSET,
} from "./layout_dir.ts";

/** htreeAdd: the directory has to be taken as a linear one. No errno. */
export const BAD_INDEX = 1;

/** A hash and a place in the block as one number that sorts by hash. */
const PLACES = 0x10000;

const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
const appended: Appended = { lblk: 0, pblk: 0 };

/** The way from the root to a leaf, found anew for each step: nodes as blocks of the device, and the entry in each. */
class Descent {
  readonly nodes: number[] = [];
  readonly entries: number[] = [];
  leaf = 0;
  version = 0;
  hash = 0;

  get levels(): number {
    return this.nodes.length - 1;
  }
}

/** Address of a node to be read. */
const nodeAt = ({ blocks }: Edit, way: Descent, level: number): number => blocks.at(way.nodes[level]!);

function probe(edit: Edit, dir: number, name: Uint8Array): Descent | undefined {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const inode = editInode(edit, dir);
  const blockOf = (lblk: number): number =>
    mapBlock(blocks, sb, inode, lblk, mapped) === 0 && mapped.pblk > 0 ? mapped.pblk : -1;
  const way = new Descent();
  let block = blockOf(0);
  if (block < 0 || dxRootFault(sb, view, blocks.at(block)) !== undefined) return undefined;
  way.version = dxHashVersion(view, blocks.at(block));
  way.hash = nameHash(sb, way.version, name, 0, name.length);
  const levels = dxLevels(view, blocks.at(block));
  for (let level = 0; level <= levels; level++) {
    if (level > 0 && (block < 0 || dxNodeFault(sb, view, blocks.at(block)) !== undefined)) return undefined;
    const at = blocks.at(block);
    const entry = lastBefore(view, at, level === 0, way.hash);
    way.nodes.push(block);
    way.entries.push(entry);
    const child = dxBlock(view, at, level === 0, entry);
    // Block 0 is the root.
    block = child === 0 ? -1 : blockOf(child);
  }
  way.leaf = block;
  return block < 0 ? undefined : way;
}

export function htreeAdd(
  edit: Edit,
  dir: number,
  name: Uint8Array,
  ino: number,
  type: number,
): 0 | typeof BAD_INDEX | Errno {
  const { blocks, sb } = edit;
  const wanted = direntBytes(name.length);
  for (;;) {
    const way = probe(edit, dir, name);
    if (way === undefined) return BAD_INDEX;
    const from = blocks.at(way.leaf);
    const room = findRoom(sb, blocks.view, from, from + leafEnd(sb), wanted);
    if (room === DAMAGED) return EFSCORRUPTED;
    if (room !== NO_ROOM) {
      const at = blocks.writable(way.leaf);
      putEntry(blocks, sb, at + room - from, name, ino, type);
      sealLeaf(blocks, sb, dirSeed(edit, dir, editInode(edit, dir)), at);
      return 0;
    }
    const result = makeRoom(edit, dir, way);
    if (result !== 0) return result;
  }
}

/** One step towards room for a name: the leaf is split, or what must be split before it can be. */
function makeRoom(edit: Edit, dir: number, way: Descent): 0 | Errno {
  const isFull = (level: number): boolean =>
    dxCount(edit.blocks.view, nodeAt(edit, way, level), level === 0) >= dxLimit(edit.sb, level === 0);
  let level = way.levels;
  if (!isFull(level)) return splitLeaf(edit, dir, way);
  while (level > 0 && isFull(level - 1)) level--;
  return level > 0 ? splitNode(edit, dir, way, level) : addLevel(edit, dir, way);
}

/** Entry number `n` of the node at a level becomes this one; those behind it move up. */
function insertIndex(edit: Edit, dir: number, way: Descent, level: number, hash: number, lblk: number): void {
  const { blocks } = edit;
  const root = level === 0;
  const at = blocks.writable(way.nodes[level]!);
  const first = at + dxCountOffset(root);
  const count = dxCount(blocks.view, at, root);
  const to = first + (way.entries[level]! + 1) * DX_ENTRY.bytes;
  blocks.bytes.copyWithin(to + DX_ENTRY.bytes, to, first + count * DX_ENTRY.bytes);
  setLe32(blocks.view, to + DX_ENTRY.hash, hash);
  setLe32(blocks.view, to + DX_ENTRY.block, lblk);
  setLe16(blocks.view, first + DX_COUNTLIMIT.count, count + 1);
  sealNode(edit, dir, at, root);
}

export function sealNode(edit: Edit, dir: number, at: number, root: boolean): void {
  const { blocks, sb } = edit;
  const seed = dirSeed(edit, dir, editInode(edit, dir));
  setDxChecksum(sb, seed, blocks.bytes, blocks.view, at, dxCountOffset(root));
}

/** A new node below the root, or beside another, with entries copied from an address. */
function initNode(edit: Edit, dir: number, block: number, from: number, count: number): void {
  const { blocks, sb } = edit;
  const at = blocks.writable(block);
  setRecLen(sb, blocks.view, at, sb.blockSize);
  const first = at + dxCountOffset(false);
  blocks.bytes.copyWithin(first, from, from + count * DX_ENTRY.bytes);
  setLe16(blocks.view, first + DX_COUNTLIMIT.limit, dxLimit(sb, false));
  setLe16(blocks.view, first + DX_COUNTLIMIT.count, count);
  sealNode(edit, dir, at, false);
}

function splitNode(edit: Edit, dir: number, way: Descent, level: number): 0 | Errno {
  const { blocks } = edit;
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  const at = blocks.writable(way.nodes[level]!);
  const count = dxCount(blocks.view, at, false);
  const kept = count >> 1;
  const hash = dxHash(blocks.view, at, false, kept);
  initNode(edit, dir, appended.pblk, at + dxCountOffset(false) + kept * DX_ENTRY.bytes, count - kept);
  setLe16(blocks.view, at + dxCountOffset(false) + DX_COUNTLIMIT.count, kept);
  sealNode(edit, dir, at, false);
  insertIndex(edit, dir, way, level - 1, hash, appended.lblk);
  return 0;
}

function addLevel(edit: Edit, dir: number, way: Descent): 0 | Errno {
  const { blocks, sb } = edit;
  const most = (sb.incompat & INCOMPAT.large_dir) !== 0 ? DX_LEVELS_LARGE_MAX : DX_LEVELS_MAX;
  if (way.levels >= most) return ENOSPC;
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  const at = blocks.writable(way.nodes[0]!);
  const first = at + dxCountOffset(true);
  initNode(edit, dir, appended.pblk, first, dxCount(blocks.view, at, true));
  setLe16(blocks.view, first + DX_COUNTLIMIT.count, 1);
  setLe32(blocks.view, first + DX_ENTRY.block, appended.lblk);
  blocks.bytes[at + DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.indirect_levels] = way.levels + 1;
  sealNode(edit, dir, at, true);
  return 0;
}

function splitLeaf(edit: Edit, dir: number, way: Descent): 0 | Errno {
  const { blocks, sb } = edit;
  const at = blocks.writable(way.leaf);
  const old = blocks.bytes.slice(at, at + sb.blockSize);
  const view = new DataView(old.buffer);
  const keys = sortedKeys(edit, way.version, old, view);
  // Linux leaves no unused entries between others. With fewer than two names there is room once they are gone.
  if (keys.length < 2) {
    blocks.bytes.fill(0, at, at + sb.blockSize);
    packEntries(edit, dirSeed(edit, dir, editInode(edit, dir)), at, old, view, keys);
    return 0;
  }
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  const split = middleOf(keys, view);
  const hash = Math.floor(keys[split]! / PLACES);
  const continued = Math.floor(keys[split - 1]! / PLACES) === hash ? 1 : 0;
  const seed = dirSeed(edit, dir, editInode(edit, dir));
  blocks.bytes.fill(0, at, at + sb.blockSize);
  packEntries(edit, seed, at, old, view, keys.subarray(0, split));
  packEntries(edit, seed, blocks.writable(appended.pblk), old, view, keys.subarray(split));
  insertIndex(edit, dir, way, way.levels, hash + continued, appended.lblk);
  return 0;
}

/** Of the entries in use. */
function sortedKeys({ sb }: Edit, version: number, old: Uint8Array, view: DataView): Float64Array {
  const keys = new Float64Array(Math.ceil(sb.blockSize / direntBytes(1)));
  let count = 0;
  for (let at = 0; at < leafEnd(sb); at += recLen(sb, view, at)) {
    if (entryIno(view, at) === 0) continue;
    keys[count++] = nameHash(sb, version, old, at + DIRENT.bytes, entryNameLength(view, at)) * PLACES + at;
  }
  return keys.subarray(0, count).sort();
}

/** First key of the upper half: from the top on, half of the bytes in use. Each side then has room for a longest name. */
function middleOf(keys: Float64Array, view: DataView): number {
  const bytesOf = (n: number): number => direntBytes(entryNameLength(view, keys[n]! % PLACES));
  let used = 0;
  for (let n = 0; n < keys.length; n++) used += bytesOf(n);
  assert(keys.length >= 2, "middleOf: there is nothing to split");
  let split = keys.length;
  for (let moved = 0; moved + bytesOf(split - 1) / 2 <= used / 2;) moved += bytesOf(--split);
  return split;
}

function packEntries(
  { blocks, sb }: Edit,
  seed: number,
  to: number,
  old: Uint8Array,
  view: DataView,
  keys: Float64Array,
): void {
  let offset = 0;
  let last = 0;
  for (const key of keys) {
    const from = key % PLACES;
    const length = direntBytes(entryNameLength(view, from));
    blocks.bytes.set(old.subarray(from, from + length), to + offset);
    setRecLen(sb, blocks.view, to + offset, length);
    last = offset;
    offset += length;
  }
  endLeaf(blocks, sb, seed, to, last);
}
