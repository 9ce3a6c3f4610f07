/**
 * Blocks of a file in a block map (indirect.ts reads it): mapped and given back.
 *
 * - insertIndirect(map, lblk, pblk, length)    maps what was a hole, within one indirect block; ENOSPC before anything
 *                                              changed. EFBIG beyond the triple indirect block
 * - removeIndirect(map, from, end, budget)     from the end on; the block reached: [reached, end) is a hole now
 * - goalIndirect(map, lblk)                   where a block would best lie, -1 for anywhere
 * - slotsFrom(sb, lblk)                        blocks from there on that one indirect block maps
 *
 * An indirect block goes when nothing is left in it.
 */
import { EFBIG, EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32, setLe32 } from "../../lib/bytes.ts";
import { INODE } from "./layout.ts";
import { IND_BLOCK, NDIR_BLOCKS } from "./layout_inode.ts";
import { freeData, freeNode, newNode } from "./map_node.ts";
import type { Budget, FileMap } from "./map_node.ts";
import { firstBlockOf, groupOf } from "./super.ts";
import type { Super } from "./super.ts";

/** Indirect blocks above a block. */
const DEPTH_MAX = 3;

/** Of an insert: every indirect block on the way may be new. */
export const INDIRECT_NODES = DEPTH_MAX;

/**
 * The way to a block: levels 0 .. depth, of which level 0 is a slot in the inode and the last one the block's own.
 * block[level] is the indirect block that the slot lies in (0: the inode), 0 too where it is missing.
 */
class SlotPath {
  readonly map: FileMap;
  depth = 0;
  readonly block = new Float64Array(DEPTH_MAX + 1);
  readonly slot = new Int32Array(DEPTH_MAX + 1);
  /** Levels that are there: the slots up to this one can be read. */
  found = 0;

  constructor(map: FileMap) {
    this.map = map;
  }

  /** Blocks that a slot of a level maps. */
  span(level: number): number {
    return (this.map.edit.sb.blockSize / 4) ** (this.depth - level);
  }

  find(lblk: number): 0 | Errno {
    const { sb } = this.map.edit;
    const perBlock = sb.blockSize / 4;
    this.depth = 0;
    this.slot[0] = lblk;
    if (lblk >= NDIR_BLOCKS) {
      let rest = lblk - NDIR_BLOCKS;
      let depth = 1;
      for (; depth <= DEPTH_MAX && rest >= perBlock ** depth; depth++) rest -= perBlock ** depth;
      if (depth > DEPTH_MAX) return EFBIG;
      this.depth = depth;
      this.slot[0] = IND_BLOCK + depth - 1;
      for (let level = 1; level <= depth; level++)
        this.slot[level] = Math.floor(rest / perBlock ** (depth - level)) % perBlock;
    }
    for (this.found = 0; this.found < this.depth; this.found++) {
      const child = this.value(this.found);
      if (child === 0) return 0;
      if (child < sb.firstDataBlock || child >= sb.blocksCount) return EFSCORRUPTED;
      this.block[this.found + 1] = child;
    }
    return 0;
  }

  #at(level: number, writable: boolean): number {
    const { edit, inode } = this.map;
    if (level === 0) return inode + INODE.i_block;
    return writable ? edit.blocks.writable(this.block[level]!) : edit.blocks.at(this.block[level]!);
  }

  value(level: number, slot = this.slot[level]!): number {
    return le32(this.map.edit.blocks.view, this.#at(level, false) + 4 * slot);
  }

  set(level: number, slot: number, value: number): void {
    setLe32(this.map.edit.blocks.view, this.#at(level, true) + 4 * slot, value);
  }

  /** Slots in a level's block, or of this depth in the inode. */
  slots(level: number): number {
    return level > 0 ? this.map.edit.sb.blockSize / 4 : this.depth === 0 ? NDIR_BLOCKS : this.slot[0]! + 1;
  }

  isEmpty(level: number): boolean {
    const { view } = this.map.edit.blocks;
    const at = this.#at(level, false);
    for (let n = 0; n < this.slots(level); n++) if (le32(view, at + 4 * n) !== 0) return false;
    return true;
  }
}

export function slotsFrom(sb: Super, lblk: number): number {
  if (lblk < NDIR_BLOCKS) return NDIR_BLOCKS - lblk;
  const perBlock = sb.blockSize / 4;
  return perBlock - ((lblk - NDIR_BLOCKS) % perBlock);
}

/** Where a block of a hole would best lie: behind what is mapped before it in its block, else by that; -1 for anywhere. */
export function goalIndirect(map: FileMap, lblk: number): number {
  const path = new SlotPath(map);
  if (path.find(lblk) !== 0) return -1;
  const { depth, found } = path;
  if (found < depth) return found > 0 ? path.block[found]! : -1;
  const slot = path.slot[depth]!;
  for (let n = 1; n <= slot; n++) {
    const before = path.value(depth, slot - n);
    if (before !== 0) return before + n;
  }
  return depth > 0 ? path.block[depth]! : -1;
}

export function insertIndirect(map: FileMap, lblk: number, pblk: number, length: number): 0 | Errno {
  const path = new SlotPath(map);
  const fault = path.find(lblk);
  if (fault !== 0) return fault;
  const made: number[] = [];
  for (let level = path.found; level < path.depth; level++) {
    const block = newNode(map, pblk);
    if (block < 0) {
      for (const node of made) freeNode(map, node);
      return block as Errno;
    }
    made.push(block);
  }
  const first = path.found;
  for (const [n, block] of made.entries()) {
    map.edit.blocks.fresh(block);
    path.set(first + n, path.slot[first + n]!, block);
    path.block[first + n + 1] = block;
  }
  const slot = path.slot[path.depth]!;
  for (let n = 0; n < length; n++) if (path.value(path.depth, slot + n) !== 0) return EFSCORRUPTED;
  for (let n = 0; n < length; n++) path.set(path.depth, slot + n, pblk + n);
  return 0;
}

/** No clusters with block maps: nobody asks. */
const neverMapped = (): number => 0;

/** The run that ends with the block at the path, towards the front: as long as it is one run, in one group, from `from` on. */
function runBefore(path: SlotPath, lblk: number, from: number): number {
  const { sb } = path.map.edit;
  const { depth } = path;
  const slot = path.slot[depth]!;
  const last = path.value(depth);
  const groupStart = firstBlockOf(sb, groupOf(sb, last));
  const first = depth === 0 ? 0 : slot - Math.min(slot, lblk - from);
  let count = 1;
  while (
    slot - count >= first &&
    lblk - count >= from &&
    last - count >= groupStart &&
    path.value(depth, slot - count) === last - count
  )
    count++;
  return count;
}

export function removeIndirect(map: FileMap, from: number, end: number, budget: Budget): number | Errno {
  const { edit } = map;
  const { sb } = edit;
  const path = new SlotPath(map);
  const perBlock = sb.blockSize / 4;
  const most = NDIR_BLOCKS + perBlock + perBlock ** 2 + perBlock ** 3;
  for (let reached = Math.min(end, most); reached > from;) {
    const lblk = reached - 1;
    const lost = path.find(lblk);
    if (lost !== 0) return lost;
    if (path.found < path.depth || path.value(path.depth) === 0) {
      // A hole as wide as what is missing.
      const span = path.span(path.found);
      const start = path.depth === 0 ? lblk : lblk - ((lblk - firstOf(path, perBlock)) % span);
      reached = Math.max(from, start);
      continue;
    }
    const count = budget.mayFree(map, runBefore(path, lblk, from));
    if (count === 0) return reached;
    const pblk = path.value(path.depth) - count + 1;
    for (let level = path.depth; level > 0; level--) {
      budget.block(path.block[level]!);
      budget.group(edit, path.block[level]!);
    }
    budget.group(edit, pblk);
    if (!budget.take()) return reached;
    if (pblk < sb.firstDataBlock || pblk + count > sb.blocksCount) return EFSCORRUPTED;
    const slot = path.slot[path.depth]!;
    for (let n = 0; n < count; n++) path.set(path.depth, slot - n, 0);
    let fault = freeData(map, lblk - count + 1, pblk, count, neverMapped);
    for (let level = path.depth; level > 0 && fault === 0 && path.isEmpty(level); level--) {
      fault = freeNode(map, path.block[level]!);
      path.set(level - 1, path.slot[level - 1]!, 0);
    }
    if (fault !== 0) return fault;
    if (map.journalled) budget.forgets -= count;
    reached = lblk - count + 1;
  }
  return from;
}

/** First block of the file that the tree of the path's depth maps. */
function firstOf(path: SlotPath, perBlock: number): number {
  let first = NDIR_BLOCKS;
  for (let depth = 1; depth < path.depth; depth++) first += perBlock ** depth;
  return first;
}
