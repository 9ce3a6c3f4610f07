/**
 * Extent trees, reading: a look-up, and a walk over all of one. layout_inode.ts draws them.
 *
 * - mapExtent(...)      where one block of a file lies, and for how many the answer holds
 * - walkExtents(...)    every extent and node in order of the file's blocks, told to a visitor
 *
 * Neither trusts the tree: a node must have the magic, the depth that its parent promised, and entries that fit; what it
 * maps must ascend and lie on the device. As every entry must begin after the one before ended, in the whole tree, a
 * node that is reached twice fails at its first entry: the walk ends on any input.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le16, le32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { INODE, I_BLOCK_BYTES } from "./layout.ts";
import { EXTENT, EXTENT_DEPTH_MAX, EXTENT_HEADER, EXTENT_INDEX, EXTENT_LEN_MAX, EXTENT_MAGIC } from "./layout_inode.ts";
import type { Super } from "./super.ts";

/** Answer of a look-up: pblk 0 is a hole. */
export interface Mapped {
  pblk: number;
  /** Blocks from the one that was asked on for which it holds, at least 1. */
  length: number;
  unwritten: boolean;
}

export interface MapVisitor {
  /** Blocks of the file from lblk on lie from pblk on. False ends the walk. */
  run(lblk: number, pblk: number, length: number, unwritten: boolean): boolean;
  /** A block that is part of the map itself; `at` is its address. False: do not look into it. */
  node(block: number, at: number, depth: number): boolean;
  /** The map is wrong there; the walk goes on beside it where it can. */
  mapDamage(what: string, block: number): void;
}

export const MAP_BLOCKS_MAX = 2 ** 32 - 1;
const ROOT_ENTRIES = (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes;

export const extentStart = (view: DataView, entry: number): number =>
  le32(view, entry + EXTENT.ee_start_lo) + le16(view, entry + EXTENT.ee_start_hi) * 2 ** 32;

export const extentLength = (view: DataView, entry: number): number => {
  const length = le16(view, entry + EXTENT.ee_len);
  return length > EXTENT_LEN_MAX ? length - EXTENT_LEN_MAX : length;
};

export const extentUnwritten = (view: DataView, entry: number): boolean =>
  le16(view, entry + EXTENT.ee_len) > EXTENT_LEN_MAX;

export const indexLeaf = (view: DataView, entry: number): number =>
  le32(view, entry + EXTENT_INDEX.ei_leaf_lo) + le16(view, entry + EXTENT_INDEX.ei_leaf_hi) * 2 ** 32;

export const extentEntriesMax = (sb: Super): number => Math.floor((sb.blockSize - EXTENT_HEADER.bytes) / EXTENT.bytes);

/** What is wrong with a node's header, undefined when nothing is. */
export function extentHeaderFault(
  sb: Super,
  view: DataView,
  at: number,
  root: boolean,
  depth: number,
): string | undefined {
  if (le16(view, at + EXTENT_HEADER.eh_magic) !== EXTENT_MAGIC) return "eh_magic is wrong";
  const most = root ? ROOT_ENTRIES : extentEntriesMax(sb);
  const max = le16(view, at + EXTENT_HEADER.eh_max);
  const entries = le16(view, at + EXTENT_HEADER.eh_entries);
  if (max === 0 || max > most) return "eh_max is out of range";
  if (entries > max) return "eh_entries is above eh_max";
  const found = le16(view, at + EXTENT_HEADER.eh_depth);
  if (root ? found > EXTENT_DEPTH_MAX : found !== depth) return "eh_depth is wrong";
  if (entries === 0 && found > 0) return "an index node is empty";
  return undefined;
}

/** Last entry of a node that starts at or before lblk, -1 when the first one starts after it. */
function entryBefore(view: DataView, at: number, lblk: number): number {
  let low = 0;
  let high = le16(view, at + EXTENT_HEADER.eh_entries) - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const start = le32(view, at + EXTENT_HEADER.bytes + middle * EXTENT.bytes);
    if (start <= lblk) low = middle + 1;
    else high = middle - 1;
  }
  return high;
}

/** `inode` is the address of the inode. 0, or an errno when the tree is damaged on the way. */
export function mapExtent(blocks: Blocks, sb: Super, inode: number, lblk: number, out: Mapped): 0 | Errno {
  const { view } = blocks;
  let at = inode + INODE.i_block;
  let root = true;
  let depth = le16(view, at + EXTENT_HEADER.eh_depth);
  /** First block that a later entry of some ancestor maps: a hole ends there. */
  let end = MAP_BLOCKS_MAX;
  for (;;) {
    if (extentHeaderFault(sb, view, at, root, depth) !== undefined) return EFSCORRUPTED;
    const entries = le16(view, at + EXTENT_HEADER.eh_entries);
    const found = entryBefore(view, at, lblk);
    const first = at + EXTENT_HEADER.bytes;
    if (found + 1 < entries) end = Math.min(end, le32(view, first + (found + 1) * EXTENT.bytes));
    if (found < 0) break;
    const entry = first + found * EXTENT.bytes;
    if (depth === 0) {
      const start = le32(view, entry + EXTENT.ee_block);
      const length = extentLength(view, entry);
      if (lblk >= start + length) break;
      const pblk = extentStart(view, entry);
      if (pblk + length > sb.blocksCount || pblk < sb.firstDataBlock) return EFSCORRUPTED;
      out.pblk = pblk + lblk - start;
      out.length = start + length - lblk;
      out.unwritten = extentUnwritten(view, entry);
      return 0;
    }
    const child = indexLeaf(view, entry);
    at = child < sb.blocksCount ? blocks.at(child) : -1;
    if (at < 0) return EFSCORRUPTED;
    root = false;
    depth--;
  }
  out.pblk = 0;
  out.length = Math.max(1, end - lblk);
  out.unwritten = false;
  return 0;
}

export function walkExtents(blocks: Blocks, sb: Super, inode: number, visitor: MapVisitor): void {
  const root = inode + INODE.i_block;
  const fault = extentHeaderFault(sb, blocks.view, root, true, 0);
  if (fault !== undefined) return visitor.mapDamage(fault, 0);
  const depth = le16(blocks.view, root + EXTENT_HEADER.eh_depth);
  walkNode(blocks, sb, root, depth, 0, MAP_BLOCKS_MAX + 1, 0, visitor);
}

/** Entries of one node, which map only blocks of the file in [from, end). Returns where they ended, -1 to stop. */
function walkNode(
  blocks: Blocks,
  sb: Super,
  at: number,
  depth: number,
  from: number,
  end: number,
  block: number,
  visitor: MapVisitor,
): number {
  const { view } = blocks;
  const entries = le16(view, at + EXTENT_HEADER.eh_entries);
  let next = from;
  for (let n = 0; n < entries; n++) {
    const entry = at + EXTENT_HEADER.bytes + n * EXTENT.bytes;
    const start = le32(view, entry);
    if (start < next || start >= end) {
      visitor.mapDamage(depth === 0 ? "extents overlap or do not ascend" : "indexes do not ascend", block);
      return next;
    }
    if (depth === 0) {
      const length = extentLength(view, entry);
      const pblk = extentStart(view, entry);
      if (length === 0) visitor.mapDamage("an extent is empty", block);
      else if (start + length > end) visitor.mapDamage("an extent is longer than its index allows", block);
      else if (pblk < sb.firstDataBlock || pblk + length > sb.blocksCount || pblk === 0)
        visitor.mapDamage("an extent lies outside of the file system", block);
      else if (!visitor.run(start, pblk, length, extentUnwritten(view, entry))) return -1;
      next = start + Math.max(1, length);
      continue;
    }
    const child = indexLeaf(view, entry);
    const childAt = child < sb.blocksCount && child > 0 ? blocks.at(child) : -1;
    if (childAt < 0) visitor.mapDamage("an index points outside of the file system", block);
    else if (visitor.node(child, childAt, depth - 1)) {
      const fault = extentHeaderFault(sb, view, childAt, false, depth - 1);
      if (fault !== undefined) visitor.mapDamage(fault, child);
      else {
        const last = n + 1 < entries ? le32(view, entry + EXTENT_INDEX.bytes) : end;
        const ended = walkNode(blocks, sb, childAt, depth - 1, start, last, child, visitor);
        if (ended < 0) return -1;
        next = Math.max(next, ended);
      }
    }
    next = Math.max(next, start + 1);
  }
  return next;
}
