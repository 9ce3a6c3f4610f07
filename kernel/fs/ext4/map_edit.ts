/**
 * The map of a file, changed: one face over extents and block maps. i_blocks and the inode's checksum follow.
 *
 * - mapCreate(edit, ino, lblk, want, how, out)    what lies there, or new blocks in a hole: up to `want`, at least one
 * - convertRun(edit, ino, lblk, length, written)  mapped blocks become written (or, with extents, unwritten)
 * - insertRun(edit, ino, lblk, pblk, length, unwritten)    blocks that the caller has allocated
 * - unmapRange(edit, ino, from, end, how, budget) gives blocks back from the end on. The block reached: [reached, end) is a
 *                                                 hole. Call again, in another transaction, until it is `from`
 * - truncateMap(edit, ino, from, how, budget)     the same to the end of the file; true when done
 * - createCredits, convertCredits, UNMAP_CREDITS_MIN    blocks that one such call may change
 *
 * `how`: MAP_UNWRITTEN (with extents only), and of balloc.ts and map_node.ts ALLOC_DATA, ALLOC_RESERVED, ALLOC_KEPT,
 * MAP_JOURNALLED. Errors: ENOSPC (nothing was changed by mapCreate; of convertRun and a hole in the middle of an extent a
 * part may be done), EFBIG, EFSCORRUPTED.
 *
 * With bigalloc all blocks of one cluster of the file lie in one cluster of the disk: a hole beside a mapped block is
 * filled without an allocation.
 */
import { EFBIG, EOPNOTSUPP } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le16 } from "../../lib/bytes.ts";
import { ALLOC_RESERVED, allocBlocks, freeBlocks, GROUP_CREDITS, inodeGoal } from "./balloc.ts";
import type { Run } from "./balloc.ts";
import type { Edit } from "./edit.ts";
import { MAP_BLOCKS_MAX } from "./extent.ts";
import type { Mapped } from "./extent.ts";
import { convertExtents, goalExtents, insertExtents, insertGroups, insertNodes, removeExtents } from "./extent_edit.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeSectors } from "./inode.ts";
import { goalIndirect, INDIRECT_NODES, insertIndirect, removeIndirect, slotsFrom } from "./indirect_edit.ts";
import { INODE, INODE_FLAG, RO_COMPAT } from "./layout.ts";
import { EXTENT_DEPTH_MAX, EXTENT_HEADER } from "./layout_inode.ts";
import { addClusters, Budget, closeMap, openMap } from "./map_node.ts";
import type { FileMap } from "./map_node.ts";
import type { Super } from "./super.ts";
import { sectorsIn } from "./truncate.ts";

export { MAP_JOURNALLED } from "./map_node.ts";

/** mapCreate: new blocks read as zeroes until they are converted. */
export const MAP_UNWRITTEN = 16;

export interface Created extends Mapped {
  /** The blocks were a hole before, and hold whatever was on the disk. */
  isNew: boolean;
}

/** Where a block goes: where it would lie if the file were in one piece; the first one near its inode. */
function goalOf(map: FileMap, lblk: number): number {
  const goal = map.hasExtents ? goalExtents(map, lblk) : goalIndirect(map, lblk);
  return goal < 0 ? inodeGoal(map.edit, map.ino) : goal;
}

/** With bigalloc: the block that belongs to lblk by what else of its cluster is mapped; 0 when nothing is. */
function impliedBlock(map: FileMap, lblk: number): number | Errno {
  const { blocks, sb } = map.edit;
  const size = 2 ** sb.clusterBits;
  const start = lblk - (lblk % size);
  const found: Mapped = { pblk: 0, length: 0, unwritten: false };
  for (let at = start; at < start + size; at += found.length) {
    const fault = mapBlock(blocks, sb, map.inode, at, found);
    if (fault !== 0) return fault;
    if (found.pblk > 0) return found.pblk - (at - lblk);
  }
  return 0;
}

/** Blocks of the hole at lblk, `length` of them, that can be mapped in one piece, or an errno; the first one in `run`. */
function placeRun(map: FileMap, lblk: number, length: number, how: number, run: Run): 0 | Errno {
  const { edit } = map;
  const size = 2 ** edit.sb.clusterBits;
  let want = length;
  let inCluster = 0;
  if (size > 1) {
    inCluster = lblk % size;
    const implied = impliedBlock(map, lblk);
    if (implied < 0) return implied as Errno;
    if (implied > 0) {
      run.block = implied;
      run.count = Math.min(length, size - inCluster);
      return 0;
    }
    // A last cluster that is in use already takes no part in this run.
    const last = lblk + length - 1;
    if (last - (last % size) > lblk) {
      const shared = impliedBlock(map, last);
      if (shared < 0) return shared as Errno;
      if (shared > 0) want -= (last % size) + 1;
    }
  }
  const goal = goalOf(map, lblk);
  const fault = allocBlocks(edit, Math.max(0, goal - inCluster), want + inCluster, how, run);
  if (fault !== 0) return fault;
  run.block += inCluster;
  run.count -= inCluster;
  return 0;
}

function link(map: FileMap, lblk: number, run: Run, how: number): 0 | Errno {
  return map.hasExtents
    ? insertExtents(map, lblk, run.block, run.count, (how & MAP_UNWRITTEN) !== 0)
    : insertIndirect(map, lblk, run.block, run.count);
}

/** Without huge_file i_blocks has 32 bits: whether so many blocks more, each perhaps with nodes, can still be counted. */
function countsFit({ edit, inode }: FileMap, count: number): boolean {
  const { blocks, sb } = edit;
  if ((sb.roCompat & RO_COMPAT.huge_file) !== 0) return true;
  const clusters = Math.ceil(count / 2 ** sb.clusterBits) + 1 + insertNodes(EXTENT_DEPTH_MAX);
  return inodeSectors(sb, blocks.view, inode) + clusters * sectorsIn(sb) < 2 ** 32;
}

export function mapCreate(edit: Edit, ino: number, lblk: number, want: number, how: number, out: Created): 0 | Errno {
  const { blocks, sb } = edit;
  const inode = inodeAt(blocks, sb, ino);
  assert(inode >= 0 && want > 0, "mapCreate: no inode, or nothing is wanted");
  const last = lblk + want - 1;
  if (last > MAP_BLOCKS_MAX - 1) return EFBIG;
  const looked = mapBlock(blocks, sb, inode, lblk, out);
  if (looked !== 0) return looked;
  out.isNew = false;
  out.length = Math.min(out.length, want);
  if (out.pblk > 0) return 0;
  const map = openMap(edit, ino, how);
  if (typeof map === "number") return map;
  if (!map.hasExtents && (how & MAP_UNWRITTEN) !== 0) return EOPNOTSUPP;
  const hole = map.hasExtents ? out.length : Math.min(out.length, slotsFrom(sb, lblk));
  if (!countsFit(map, hole)) return EFBIG;
  const run: Run = { block: 0, count: 0 };
  const before = edit.groups.clustersTaken;
  let fault = placeRun(map, lblk, hole, how, run);
  if (fault !== 0) return fault;
  const taken = edit.groups.clustersTaken - before;
  if (taken > 0) addClusters(map, taken);
  fault = link(map, lblk, run, how);
  if (fault !== 0) {
    if (taken > 0) {
      const ahead = run.block % 2 ** sb.clusterBits;
      freeBlocks(edit, run.block - ahead, run.count + ahead, false);
      addClusters(map, -taken);
      if ((how & ALLOC_RESERVED) !== 0) edit.groups.claim(-taken);
    }
    closeMap(map);
    return fault;
  }
  closeMap(map);
  out.pblk = run.block;
  out.length = run.count;
  out.unwritten = (how & MAP_UNWRITTEN) !== 0;
  out.isNew = true;
  return 0;
}

function changed<Result>(edit: Edit, ino: number, how: number, change: (map: FileMap) => Result): Result | Errno {
  const map = openMap(edit, ino, how);
  if (typeof map === "number") return map;
  const result = change(map);
  closeMap(map);
  return result;
}

export function insertRun(edit: Edit, ino: number, lblk: number, pblk: number, length: number, how: number): 0 | Errno {
  return changed(edit, ino, how, (map) => {
    for (let done = 0; done < length;) {
      const count = map.hasExtents ? length : Math.min(length - done, slotsFrom(edit.sb, lblk + done));
      const fault = link(map, lblk + done, { block: pblk + done, count }, how);
      if (fault !== 0) return fault;
      done += count;
    }
    return 0;
  });
}

export function convertRun(
  edit: Edit,
  ino: number,
  lblk: number,
  length: number,
  written: boolean,
  how: number,
): 0 | Errno {
  return changed(edit, ino, how, (map) => {
    // A block map knows no unwritten blocks.
    if (!map.hasExtents) return written ? 0 : EOPNOTSUPP;
    return convertExtents(map, lblk, length, written);
  });
}

export function unmapRange(
  edit: Edit,
  ino: number,
  from: number,
  end: number,
  how: number,
  budget: number,
): number | Errno {
  assert(budget >= UNMAP_CREDITS_MIN, "unmapRange: with so few credits nothing can be done");
  // One is the inode's.
  const left = new Budget(budget - 1, edit.sb.blockSize);
  return changed(edit, ino, how, (map) =>
    map.hasExtents ? removeExtents(map, from, end, left) : removeIndirect(map, from, end, left),
  );
}

export function truncateMap(edit: Edit, ino: number, from: number, how: number, budget: number): boolean | Errno {
  const reached = unmapRange(edit, ino, from, MAP_BLOCKS_MAX, how, budget);
  return reached < 0 ? (reached as Errno) : reached <= from;
}

/** Bitmaps and descriptors of so many groups, each of which may be another one; of descriptors there are only so many. */
const groupCredits = (sb: Super, groups: number): number =>
  Math.min(groups, sb.groups) + Math.min(groups, sb.descBlocks);

function treeDepth(edit: Edit, ino: number): number {
  const { blocks, sb } = edit;
  const inode = inodeAt(blocks, sb, ino);
  if ((inodeFlags(blocks.view, inode) & INODE_FLAG.extents) === 0) return -1;
  return Math.min(EXTENT_DEPTH_MAX, le16(blocks.view, inode + INODE.i_block + EXTENT_HEADER.eh_depth));
}

/** For one mapCreate(), whatever it maps: inode, map, the data's group. */
export function createCredits(edit: Edit, ino: number): number {
  const depth = treeDepth(edit, ino);
  const nodes = depth < 0 ? INDIRECT_NODES : insertNodes(depth);
  const groups = depth < 0 ? INDIRECT_NODES : insertGroups(depth);
  return 1 + nodes + groupCredits(edit.sb, groups + 1);
}

/** For one convertRun() within one extent: two splits of it. */
export function convertCredits(edit: Edit, ino: number): number {
  const depth = treeDepth(edit, ino);
  if (depth < 0) return 1;
  const deeper = Math.min(EXTENT_DEPTH_MAX, depth + 1);
  return (
    1 + insertNodes(depth) + insertNodes(deeper) + groupCredits(edit.sb, insertGroups(depth) + insertGroups(deeper) + 1)
  );
}

/** The least that unmapRange() can work with: the inode, and one extent split in a tree of any depth. */
export const UNMAP_CREDITS_MIN =
  1 +
  EXTENT_DEPTH_MAX * (1 + GROUP_CREDITS) +
  GROUP_CREDITS +
  insertNodes(EXTENT_DEPTH_MAX) +
  GROUP_CREDITS * insertGroups(EXTENT_DEPTH_MAX);
