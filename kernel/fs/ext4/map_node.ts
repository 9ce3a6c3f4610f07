/**
 * The map of one file that is being changed, and the blocks that are part of it.
 *
 * - openMap(edit, ino)               FileMap: the inode may be written; EFSCORRUPTED when there is no such inode
 * - newNode(map, goal), freeNode     a block of the map itself, counted in i_blocks; not yet, or no longer, linked
 * - addClusters(map, n)              i_blocks of data
 * - closeMap(map)                    the inode's checksum; once, when all is done
 * - freeData(map, ...)               blocks of the file that are no longer mapped; a cluster when none of it is
 * - Budget                           how much a call may still change
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { ALLOC_KEPT, allocBlocks, clusterOf, freeBlocks } from "./balloc.ts";
import type { Run } from "./balloc.ts";
import { inodeSeed, setInodeChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";
import { inodeFlags, inodeGeneration, inodeSectors, inodeType } from "./inode.ts";
import { INODE_FLAG, S_IFREG } from "./layout.ts";
import { descBlockOf } from "./group.ts";
import { writableInode } from "./orphan.ts";
import { groupOf } from "./super.ts";
import { sectorsIn, setSectors } from "./truncate.ts";

export interface FileMap {
  readonly edit: Edit;
  readonly ino: number;
  /** Address of the inode. */
  readonly inode: number;
  /** Where checksums of its nodes start. */
  readonly seed: number;
  readonly hasExtents: boolean;
  /** Of ALLOC_ bits: whether nodes may come out of what is kept for the growth of maps. */
  readonly nodesHow: number;
  /** Its content is journalled as metadata is: a directory, a symbolic link, or a file with data=journal. */
  readonly journalled: boolean;
}

/** openMap, beside the ALLOC_ bits: the file's data go through the journal. */
export const MAP_JOURNALLED = 8;

export function openMap(edit: Edit, ino: number, how: number): FileMap | Errno {
  const { blocks, sb } = edit;
  const inode = writableInode(blocks, sb, ino);
  if (inode < 0) return EFSCORRUPTED;
  const flags = inodeFlags(blocks.view, inode);
  return {
    edit,
    ino,
    inode,
    seed: inodeSeed(sb, ino, inodeGeneration(blocks.view, inode)),
    hasExtents: (flags & INODE_FLAG.extents) !== 0,
    nodesHow: how & ALLOC_KEPT,
    journalled:
      (how & MAP_JOURNALLED) !== 0 ||
      (flags & INODE_FLAG.journal_data) !== 0 ||
      inodeType(blocks.view, inode) !== S_IFREG,
  };
}

export function addClusters({ edit, inode }: FileMap, clusters: number): void {
  const { blocks, sb } = edit;
  setSectors(sb, blocks.view, inode, inodeSectors(sb, blocks.view, inode) + clusters * sectorsIn(sb));
}

/** The block's number, or ENOSPC. Its content is the caller's: fresh(). */
export function newNode(map: FileMap, goal: number): number | Errno {
  const run: Run = { block: 0, count: 0 };
  const fault = allocBlocks(map.edit, goal, 1, map.nodesHow, run);
  if (fault !== 0) return fault;
  addClusters(map, 1);
  return run.block;
}

export function freeNode(map: FileMap, block: number): 0 | Errno {
  const fault = freeBlocks(map.edit, block, 1, true);
  if (fault === 0) addClusters(map, -1);
  return fault;
}

/**
 * Blocks of the file from lblk on, which lay at pblk and are no longer mapped, are given back. With bigalloc a cluster
 * goes when no block of the file is left in it: blocks of one cluster of the file lie in one cluster of the disk.
 */
export function freeData(map: FileMap, lblk: number, pblk: number, count: number, isMapped: IsMapped): 0 | Errno {
  const { sb } = map.edit;
  const size = 2 ** sb.clusterBits;
  let [from, length] = [pblk, count];
  if (size > 1) {
    const head = lblk - (lblk % size);
    const last = lblk + count - 1;
    const tail = last - (last % size);
    const tailMapped = isMapped(map, tail, tail + size);
    if (tailMapped < 0) return tailMapped as Errno;
    const headMapped = head === tail ? tailMapped : isMapped(map, head, head + size);
    if (headMapped < 0) return headMapped as Errno;
    if (headMapped > 0) {
      const cut = Math.min(length, size - (lblk - head));
      from += cut;
      length -= cut;
    }
    if (tailMapped > 0 && length > 0) length -= last - tail + 1;
    if (length <= 0) return 0;
  }
  const fault = freeBlocks(map.edit, from, length, map.journalled);
  if (fault === 0) addClusters(map, -(clusterOf(sb, from + length - 1) - clusterOf(sb, from) + 1));
  return fault;
}

/** 1 when one of the blocks [from, end) of the file is mapped, 0, or an errno. */
export type IsMapped = (map: FileMap, from: number, end: number) => number | Errno;

export function closeMap({ edit, ino, inode }: FileMap): void {
  setInodeChecksum(edit.sb, edit.blocks.bytes, edit.blocks.view, inode, ino);
}

/** A record of revocation, and what one block of them has to spare for the nodes of maps and for its own head and tail. */
const REVOKE_BYTES = 8;
const NODE_FORGETS = 40;

/**
 * Blocks that a call may still change, each counted once however often it is changed. So a long truncation stops where
 * its credits end, and goes on in another transaction.
 */
export class Budget {
  readonly #limit: number;
  readonly #known = new Set<number>();
  #extra = 0;
  #wanted: number[] = [];
  /** Journalled blocks that may still be given back: each is a record of revocation. */
  forgets: number;

  constructor(limit: number, blockSize: number) {
    this.#limit = limit;
    this.forgets = Math.floor(blockSize / REVOKE_BYTES) - NODE_FORGETS;
  }

  /** How many of `count` blocks of the file's content the call may give back now. */
  mayFree({ journalled }: FileMap, count: number): number {
    return journalled ? Math.min(count, this.forgets) : count;
  }

  /** Of a step to come: it changes this block, */
  block(block: number): void {
    this.#wanted.push(block);
  }

  /** it frees something in this block's group: bitmap and descriptor, */
  group({ sb }: Edit, block: number): void {
    const group = groupOf(sb, block);
    this.#wanted.push(-1 - group, descBlockOf(sb, group));
  }

  /** or may change so many blocks that are not known yet. */
  unknown(count: number): void {
    this.#extra += count;
  }

  /** Whether the step fits, and then it is taken. */
  take(): boolean {
    const fresh = this.#wanted.filter((block) => !this.#known.has(block));
    this.#wanted = [];
    const cost = new Set(fresh).size;
    if (this.#known.size + cost + this.#extra > this.#limit) return false;
    for (const block of fresh) this.#known.add(block);
    return true;
  }
}
