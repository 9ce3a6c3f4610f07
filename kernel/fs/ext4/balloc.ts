/**
 * Blocks taken and given back: runs that lie together, near a goal.
 *
 * - allocBlocks(edit, goal, want, how, out)    1 to `want` blocks in one run within a group; ENOSPC. With bigalloc whole
 *                                              clusters are taken, and all their blocks told, up to the last one wanted
 * - freeBlocks(edit, block, count, metadata)   whole clusters; metadata must not come back through a replay. EFSCORRUPTED
 *                                              when one of them is not in use, or not there: nothing is freed then
 * - inodeGoal(edit, ino)                       where a file begins that has no blocks
 *
 * Where a run is looked for:
 *
 *   1  at the goal itself, if that is free: a file that grows stays in one piece, however short the piece
 *   2  in the goal's group behind the goal, then in it and the following ones: the first run of the whole length
 *   3  where the longest run of all is: it is shorter than wanted, and the caller comes again for the rest
 *
 * What is found out about a group is remembered in space.runMax, an upper bound of its longest run, so that a full file
 * system is searched once and not at each call. Clusters whose freeing has not committed count as taken.
 */
import { EFSCORRUPTED, ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { firstOne, firstZero } from "./bits.ts";
import type { Edit } from "./edit.ts";
import { descAt, gdBlockBitmap, gdFlags, gdFreeBlocks, groupOfInode, inodeAt } from "./group.ts";
import { spaceOf } from "./ialloc.ts";
import { inodeType } from "./inode.ts";
import { BG_BLOCK_UNINIT, S_IFREG } from "./layout.ts";
import { TAKE_KEPT, TAKE_PRIVILEGED } from "./space.ts";
import { blocksIn, firstBlockOf, groupOf } from "./super.ts";
import type { Super } from "./super.ts";
import { fillUninitBitmap } from "./uninit.ts";

/** A run of blocks. */
export interface Run {
  block: number;
  count: number;
}

/** How: for a file's data, which leave the first group of a flex group to metadata; 0 is metadata. */
export const ALLOC_DATA = 1;
/** The clusters were reserved before: they come out of what was promised. */
export const ALLOC_RESERVED = 2;
/** May have the last blocks of all: for the map of data that were promised a place. */
export const ALLOC_KEPT = 4;

/** From so many groups in a flex group on its first one is for metadata (EXT4_FLEX_SIZE_DIR_ALLOC_SCHEME). */
const FLEX_METADATA_MIN = 4;

/** Blocks that an allocation or the freeing of a run in one group changes: the bitmap and the descriptor. */
export const GROUP_CREDITS = 2;

/** A search in one group: where its bitmap is, and the best run so far. */
class Search {
  view: DataView;
  at = 0;
  bit = 0;
  length = 0;

  constructor(view: DataView) {
    this.view = view;
  }

  /** The first free run of `want` bits in [from, end), else the longest one. True: one of the whole length. */
  find(from: number, end: number, want: number): boolean {
    this.length = 0;
    for (let start = firstZero(this.view, this.at, from, end); start < end;) {
      const stop = firstOne(this.view, this.at, start, Math.min(end, start + want));
      if (stop - start > this.length) {
        this.bit = start;
        this.length = stop - start;
        if (this.length === want) return true;
      }
      start = firstZero(this.view, this.at, stop, end);
    }
    return false;
  }
}

const clustersIn = (sb: Super, group: number): number => Math.ceil(blocksIn(sb, group) / 2 ** sb.clusterBits);

/** Points a search at a group's bitmap as allocation sees it: on disk, or put together in the space's scratch. */
function open(edit: Edit, group: number, search: Search): void {
  const { blocks, sb } = edit;
  const space = spaceOf(edit);
  const desc = descAt(blocks, sb, group);
  const isUninit = (gdFlags(blocks.view, desc) & BG_BLOCK_UNINIT) !== 0 && (sb.metadataCsum || sb.gdtCsum);
  const bitmap = gdBlockBitmap(sb, blocks.view, desc);
  const at = isUninit ? 0 : blocks.at(bitmap);
  assert(at >= 0, "allocBlocks: a block bitmap lies outside of the file system");
  search.view = blocks.view;
  search.at = at;
  if (!isUninit && !space.hasPending(group)) return;
  const { scratch } = space;
  if (isUninit) fillUninitBitmap(blocks, sb, group, desc, scratch, 0);
  else for (let n = 0; n < sb.blockSize; n += 4) scratch.setUint32(n, blocks.view.getUint32(at + n, true), true);
  search.view = scratch;
  search.at = 0;
  if (!space.hasPending(group)) return;
  const words = Math.ceil(sb.clustersPerGroup / 32);
  for (let n = 0; n < words; n++)
    scratch.setUint32(4 * n, scratch.getUint32(4 * n, true) | space.pendingWord(group, n), true);
}

/** Steps 1 and 2 in the goal's own group. */
function nearGoal(edit: Edit, goal: number, want: number, search: Search): boolean {
  const { sb } = edit;
  const group = groupOf(sb, goal);
  const bit = Math.floor((goal - firstBlockOf(sb, group)) / 2 ** sb.clusterBits);
  const end = clustersIn(sb, group);
  open(edit, group, search);
  const stop = firstOne(search.view, search.at, bit, Math.min(end, bit + want));
  if (stop > bit) {
    search.bit = bit;
    search.length = stop - bit;
    return true;
  }
  return search.find(bit, end, want);
}

/** The group, with the run in `search`; -1 when no cluster at all can be had. */
function findRun(edit: Edit, goal: number, want: number, how: number, search: Search): number {
  const { blocks, sb } = edit;
  const { runMax } = spaceOf(edit);
  const home = groupOf(sb, goal);
  if (runMax[home]! > 0 && nearGoal(edit, goal, want, search)) return home;
  const isData = (how & ALLOC_DATA) !== 0 && sb.groupsPerFlex >= FLEX_METADATA_MIN;
  for (let n = 0; n < sb.groups; n++) {
    const group = (home + n) % sb.groups;
    if (runMax[group]! < want || (isData && n > 0 && group % sb.groupsPerFlex === 0)) continue;
    if (gdFreeBlocks(sb, blocks.view, descAt(blocks, sb, group)) < want) continue;
    open(edit, group, search);
    if (search.find(0, clustersIn(sb, group), want)) return group;
    runMax[group] = search.length;
  }
  for (;;) {
    let best = home;
    for (let n = 1; n < sb.groups; n++) {
      const group = (home + n) % sb.groups;
      if (runMax[group]! > runMax[best]!) best = group;
    }
    const bound = runMax[best]!;
    if (bound === 0) return -1;
    open(edit, best, search);
    if (search.find(0, clustersIn(sb, best), want)) return best;
    runMax[best] = search.length;
    // Bounds only become lower: when this one was exact, no other run is longer.
    if (search.length === bound) return best;
  }
}

export function allocBlocks(edit: Edit, goal: number, want: number, how: number, out: Run): 0 | Errno {
  const { sb, groups } = edit;
  assert(want > 0, "allocBlocks: nothing is wanted");
  const size = 2 ** sb.clusterBits;
  const space = spaceOf(edit);
  let clusters = Math.ceil(want / size);
  if ((how & ALLOC_RESERVED) === 0) {
    const who = ((how & ALLOC_KEPT) !== 0 ? TAKE_KEPT : 0) | (edit.privileged ? TAKE_PRIVILEGED : 0);
    clusters = space.takeable(clusters, who);
    if (clusters === 0) return ENOSPC;
  }
  const from = goal >= sb.firstDataBlock && goal < sb.blocksCount ? goal : sb.firstDataBlock;
  const search = new Search(edit.blocks.view);
  const group = findRun(edit, from, Math.min(clusters, sb.clustersPerGroup), how, search);
  if (group < 0) return ENOSPC;
  out.block = firstBlockOf(sb, group) + search.bit * size;
  out.count = Math.min(want, search.length * size);
  const taken = groups.takeRange(out.block, out.count);
  assert(taken === search.length, "allocBlocks: a cluster was taken already");
  if ((how & ALLOC_RESERVED) !== 0) groups.claim(taken);
  return 0;
}

export function freeBlocks(edit: Edit, block: number, count: number, metadata: boolean): 0 | Errno {
  const { blocks, groups } = edit;
  if (!groups.isRangeUsed(block, count)) return EFSCORRUPTED;
  if (metadata) for (let n = 0; n < count; n++) blocks.forget(block + n);
  groups.freeRange(block, count);
  return 0;
}

/** Number of a block's cluster in the whole file system. */
export const clusterOf = (sb: Super, block: number): number =>
  Math.floor((block - sb.firstDataBlock) / 2 ** sb.clusterBits);

export function inodeGoal(edit: Edit, ino: number): number {
  const { blocks, sb } = edit;
  let group = groupOfInode(sb, ino);
  if (sb.groupsPerFlex >= FLEX_METADATA_MIN) {
    group -= group % sb.groupsPerFlex;
    const isFile = inodeType(blocks.view, inodeAt(blocks, sb, ino)) === S_IFREG;
    if (isFile && group + 1 < sb.groups) group++;
  }
  return firstBlockOf(sb, group);
}
