/**
 * Blocks for names: first fit, a map that grows at its end. What the changes of names need, and no more.
 *
 * - initMap, mapCreate, allocBlocks, freeBlocks, cutMap
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { groupOfInode } from "./group.ts";
import { inodeFlags, inodeSectors } from "./inode.ts";
import { setEmptyTree } from "./ialloc.ts";
import { I_BLOCK_BYTES, INODE, INODE_FLAG } from "./layout.ts";
import { EXTENT, EXTENT_HEADER, NDIR_BLOCKS } from "./layout_inode.ts";
import { writableInode } from "./orphan.ts";
import { firstBlockOf } from "./super.ts";
import { sectorsIn, setSectors, truncateMap as cut } from "./truncate.ts";

export interface Run {
  block: number;
  count: number;
}

export function allocBlocks(edit: Edit, _ino: number, goal: number, _want: number, out: Run): 0 | Errno {
  const { sb, groups } = edit;
  const size = 2 ** sb.clusterBits;
  const from = goal > sb.firstDataBlock && goal < sb.blocksCount ? goal : sb.firstDataBlock;
  for (let n = 0; n < sb.blocksCount; n += size) {
    let block = from + n;
    if (block >= sb.blocksCount) block -= sb.blocksCount - sb.firstDataBlock;
    if (!groups.takeClusterOf(block)) continue;
    out.block = Math.floor(block / size) * size;
    out.count = 1;
    return 0;
  }
  return ENOSPC;
}

export function freeBlocks(edit: Edit, block: number, count: number, metadata: boolean): void {
  for (let n = 0; n < count; n++) {
    edit.groups.freeClusterOf(block + n);
    if (metadata) edit.blocks.forget(block + n);
  }
}

export function initMap(edit: Edit, ino: number): void {
  const { view, bytes } = edit.blocks;
  const at = writableInode(edit.blocks, edit.sb, ino);
  bytes.fill(0, at + INODE.i_block, at + INODE.i_block + I_BLOCK_BYTES);
  if (!edit.sb.hasExtents) return;
  setLe32(view, at + INODE.i_flags, (inodeFlags(view, at) | INODE_FLAG.extents) >>> 0);
  setEmptyTree(view, at);
}

export interface MapCreated extends Mapped {
  isNew: boolean;
}
const run: Run = { block: 0, count: 0 };

export function mapCreate(
  edit: Edit,
  ino: number,
  lblk: number,
  _want: number,
  _how: { readonly unwritten: boolean },
  out: MapCreated,
): 0 | Errno {
  const { sb, blocks } = edit;
  const { view } = blocks;
  const at = writableInode(blocks, sb, ino);
  out.isNew = false;
  const fault = mapBlock(blocks, sb, at, lblk, out);
  if (fault !== 0 || out.pblk > 0) return fault;
  assert(sb.clusterBits === 0, "mapCreate: no bigalloc");
  let goal = firstBlockOf(sb, groupOfInode(sb, ino));
  if (lblk > 0 && mapBlock(blocks, sb, at, lblk - 1, out) === 0 && out.pblk > 0) goal = out.pblk + 1;
  const result = allocBlocks(edit, ino, goal, 1, run);
  if (result !== 0) return result;
  let took = 1;
  const base = at + INODE.i_block;
  if ((inodeFlags(view, at) & INODE_FLAG.extents) !== 0) {
    const entries = le16(view, base + EXTENT_HEADER.eh_entries);
    const last = base + EXTENT_HEADER.bytes + (entries - 1) * EXTENT.bytes;
    assert(le16(view, base + EXTENT_HEADER.eh_depth) === 0, "mapCreate: only a root");
    if (
      entries > 0 &&
      le32(view, last + EXTENT.ee_start_lo) + le16(view, last + EXTENT.ee_len) === run.block &&
      le32(view, last + EXTENT.ee_block) + le16(view, last + EXTENT.ee_len) === lblk
    )
      setLe16(view, last + EXTENT.ee_len, le16(view, last + EXTENT.ee_len) + 1);
    else {
      assert(entries < 4, "mapCreate: the root is full");
      setLe32(view, last + EXTENT.bytes + EXTENT.ee_block, lblk);
      setLe16(view, last + EXTENT.bytes + EXTENT.ee_len, 1);
      setLe32(view, last + EXTENT.bytes + EXTENT.ee_start_lo, run.block);
      setLe16(view, base + EXTENT_HEADER.eh_entries, entries + 1);
    }
  } else if (lblk < NDIR_BLOCKS) setLe32(view, base + 4 * lblk, run.block);
  else {
    const per = sb.blockSize / 4;
    let slot = { block: 0, at: base + 4 * NDIR_BLOCKS, index: lblk - NDIR_BLOCKS, depth: 1 };
    if (slot.index >= per) slot = { block: 0, at: slot.at + 4, index: slot.index - per, depth: 2 };
    let address = slot.at;
    const target = run.block;
    for (let depth = slot.depth; depth > 0; depth--) {
      if (le32(view, address) === 0) {
        const more = allocBlocks(edit, ino, target + 1, 1, run);
        if (more !== 0) return more;
        took++;
        setLe32(view, address, run.block);
        blocks.fresh(run.block);
      }
      const step = per ** (depth - 1);
      address = blocks.writable(le32(view, address)) + 4 * Math.floor(slot.index / step);
      slot.index %= step;
    }
    setLe32(view, address, target);
    run.block = target;
  }
  setSectors(sb, view, at, inodeSectors(sb, view, at) + took * sectorsIn(sb));
  out.pblk = run.block;
  out.length = 1;
  out.unwritten = false;
  out.isNew = true;
  return 0;
}

export function cutMap(edit: Edit, ino: number, from: number, _budget: number): boolean {
  const at = writableInode(edit.blocks, edit.sb, ino);
  cut(edit.blocks, edit.sb, edit.groups, ino, at, from);
  return true;
}
