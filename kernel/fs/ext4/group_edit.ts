/**
 * Bitmaps and group descriptors, changed: runs of clusters and single inodes are taken and given back. Counts in the
 * descriptors follow at once, checksums with finish().
 *
 * - takeRange, freeRange(block, count)    every cluster that one of the blocks lies in; how many were not so already
 * - takeInode, freeInode(ino, directory)  false: it was so already, or is not there
 * - isClusterFree(block), isRangeUsed(block, count), isInodeFree(ino)
 * - finish()                        checksums of touched bitmaps and descriptors; call before anyone looks
 * - sumCounts(image, sb)            the superblock's free counts, from the descriptors: how Linux keeps them, too
 *
 * On a mounted file system it also keeps the tables of space.ts, within a call that may still be aborted:
 *
 * - begin(tid)      before each call, with the running transaction (0 without a journal)
 * - claim(n)        of what was reserved, n clusters were allocated
 * - merge()         the call stands: after finish()
 * - abort()         the call did not happen: the tables are as before it. The blocks are undone by whoever keeps them
 */
import { assert } from "../../lib/assert.ts";
import { setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
import { bitAt, firstZero, setBits } from "./bits.ts";
import { bitmapChecksum, setGroupChecksum } from "./csum.ts";
import {
  descAt,
  descBlockOf,
  gdBlockBitmap,
  gdFlags,
  gdFreeBlocks,
  gdFreeInodes,
  gdInodeBitmap,
  gdItableUnused,
  gdUsedDirs,
  groupOfInode,
  setGdBlockBitmapCsum,
  setGdFlags,
  setGdFreeBlocks,
  setGdFreeInodes,
  setGdInodeBitmapCsum,
  setGdItableUnused,
  setGdUsedDirs,
} from "./group.ts";
import { BG_BLOCK_UNINIT, BG_INODE_UNINIT, SB } from "./layout.ts";
import { RUN_UNKNOWN } from "./space.ts";
import type { Space } from "./space.ts";
import { firstBlockOf, groupOf } from "./super.ts";
import type { Super } from "./super.ts";
import { fillUninitBitmap, uninitBlockBitmap } from "./uninit.ts";

const BLOCK_BITMAP = 1;
const INODE_BITMAP = 2;

export class GroupEdit {
  readonly #image: EditBlocks;
  readonly #sb: Super;
  readonly space: Space | undefined;
  /** Groups whose block (1) and inode (2) bitmaps were touched since finish(). */
  readonly #touched = new Map<number, number>();
  /** Of this call, to be undone: groups whose clusters changed, runs that became pending (group, bit, count), sums. */
  readonly #changed = new Set<number>();
  #held: number[] = [];
  #clusters = 0;
  #inodes = 0;
  #directories = 0;
  #claimed = 0;
  #tid = 0;

  constructor(image: EditBlocks, sb: Super, space?: Space) {
    this.#image = image;
    this.#sb = sb;
    this.space = space;
  }

  begin(tid: number): void {
    assert(this.#touched.size === 0, "GroupEdit.begin: the call before did not end");
    this.#tid = tid;
  }

  merge(): void {
    assert(this.#touched.size === 0, "GroupEdit.merge: finish() comes first");
    this.#forget();
  }

  abort(): void {
    const { space } = this;
    if (space !== undefined) {
      space.add(-this.#clusters, -this.#inodes, -this.#directories);
      space.addReserved(this.#claimed);
      for (let n = 0; n < this.#held.length; n += 3)
        space.hold(this.#tid, this.#held[n]!, this.#held[n + 1]!, this.#held[n + 2]!, false);
      // Whoever looked for room in this call saw what is now undone.
      for (const group of this.#changed) space.runMax[group] = RUN_UNKNOWN;
    }
    this.#touched.clear();
    this.#forget();
  }

  #forget(): void {
    this.#changed.clear();
    if (this.#held.length > 0) this.#held = [];
    this.#clusters = this.#inodes = this.#directories = this.#claimed = 0;
  }

  /** Clusters that were taken so far, less those given back. */
  get clustersTaken(): number {
    return -this.#clusters;
  }

  /** Promises that were used so far. */
  get claimed(): number {
    return this.#claimed;
  }

  claim(clusters: number): void {
    this.space?.addReserved(-clusters);
    this.#claimed += clusters;
  }

  /** Address of a group's descriptor, to be written. */
  #desc(group: number): number {
    const { descPerBlock, descSize } = this.#sb;
    return this.#image.writable(descBlockOf(this.#sb, group)) + (group % descPerBlock) * descSize;
  }

  #touch(group: number, which: number): void {
    this.#touched.set(group, (this.#touched.get(group) ?? 0) | which);
  }

  /** Groups are only uninitialised where descriptors have checksums. */
  #isUninit(desc: number, flag: number): boolean {
    return (gdFlags(this.#image.view, desc) & flag) !== 0 && (this.#sb.gdtCsum || this.#sb.metadataCsum);
  }

  isClusterFree(block: number): boolean {
    const sb = this.#sb;
    if (block < sb.firstDataBlock || block >= sb.blocksCount) return false;
    const group = groupOf(sb, block);
    const desc = descAt(this.#image, sb, group);
    const bit = this.#bitOf(block, group);
    if (this.#isUninit(desc, BG_BLOCK_UNINIT))
      return bitAt(uninitBlockBitmap(this.#image, sb, group, desc), 0, bit) === 0;
    const at = this.#image.at(gdBlockBitmap(sb, this.#image.view, desc));
    return at >= 0 && bitAt(this.#image.bytes, at, bit) === 0;
  }

  /** Every cluster that one of the blocks lies in is there and in use. */
  isRangeUsed(block: number, count: number): boolean {
    const [image, sb] = [this.#image, this.#sb];
    if (block < sb.firstDataBlock || block + count > sb.blocksCount) return false;
    for (let from = block; from < block + count;) {
      const group = groupOf(sb, from);
      const last = Math.min(block + count, firstBlockOf(sb, group + 1)) - 1;
      const desc = descAt(image, sb, group);
      const at = this.#isUninit(desc, BG_BLOCK_UNINIT) ? -1 : image.at(gdBlockBitmap(sb, image.view, desc));
      if (at < 0) return false;
      const end = this.#bitOf(last, group) + 1;
      if (firstZero(image.view, at, this.#bitOf(from, group), end) < end) return false;
      from = last + 1;
    }
    return true;
  }

  #bitOf(block: number, group: number): number {
    return Math.floor((block - firstBlockOf(this.#sb, group)) / 2 ** this.#sb.clusterBits);
  }

  freeClusterOf(block: number): boolean {
    return this.freeRange(block, 1) === 1;
  }

  takeClusterOf(block: number): boolean {
    return this.takeRange(block, 1) === 1;
  }

  freeRange(block: number, count: number): number {
    return this.#setRange(block, count, false);
  }

  takeRange(block: number, count: number): number {
    return this.#setRange(block, count, true);
  }

  /** Blocks that are not in the file system are left out: recovery meets such numbers. */
  #setRange(block: number, count: number, used: boolean): number {
    const sb = this.#sb;
    const end = Math.min(block + count, sb.blocksCount);
    let changed = 0;
    for (let from = Math.max(block, sb.firstDataBlock); from < end;) {
      const group = groupOf(sb, from);
      const last = Math.min(end, firstBlockOf(sb, group + 1)) - 1;
      const bit = this.#bitOf(from, group);
      changed += this.#setClusters(group, bit, this.#bitOf(last, group) - bit + 1, used);
      from = last + 1;
    }
    return changed;
  }

  #setClusters(group: number, bit: number, count: number, used: boolean): number {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const desc = descAt(image, sb, group);
    const bitmap = gdBlockBitmap(sb, view, desc);
    if (image.at(bitmap) < 0) return 0;
    if (this.#isUninit(desc, BG_BLOCK_UNINIT)) {
      if (!used) return 0;
      this.#initBlockBitmap(group, bitmap);
    }
    const to = this.#desc(group);
    const changed = setBits(view, image.writable(bitmap), bit, count, used);
    if (changed === 0) return 0;
    const delta = used ? -changed : changed;
    setGdFreeBlocks(sb, view, to, gdFreeBlocks(sb, view, to) + delta);
    this.#touch(group, BLOCK_BITMAP);
    const { space } = this;
    if (space === undefined) return changed;
    this.#changed.add(group);
    space.add(delta, 0, 0);
    this.#clusters += delta;
    if (used) return changed;
    space.runMax[group] = RUN_UNKNOWN;
    if (this.#tid > 0) {
      assert(changed === count, "GroupEdit.freeRange: a cluster is free already");
      space.hold(this.#tid, group, bit, count, true);
      this.#held.push(group, bit, count);
    }
    return changed;
  }

  #initBlockBitmap(group: number, bitmap: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const to = this.#desc(group);
    const at = image.fresh(bitmap);
    fillUninitBitmap(image, sb, group, descAt(image, sb, group), image.view, at);
    setGdFlags(image.view, to, gdFlags(image.view, to) & ~BG_BLOCK_UNINIT);
    this.#touch(group, BLOCK_BITMAP);
  }

  isInodeFree(ino: number): boolean {
    const [image, sb] = [this.#image, this.#sb];
    if (ino < 1 || ino > sb.inodesCount) return false;
    const group = groupOfInode(sb, ino);
    const desc = descAt(image, sb, group);
    if (this.#isUninit(desc, BG_INODE_UNINIT)) return true;
    const at = image.at(gdInodeBitmap(sb, image.view, desc));
    return at >= 0 && bitAt(image.bytes, at, (ino - 1) % sb.inodesPerGroup) === 0;
  }

  freeInode(ino: number, directory: boolean): boolean {
    return this.#setInode(ino, directory, false);
  }

  takeInode(ino: number, directory: boolean): boolean {
    return this.#setInode(ino, directory, true);
  }

  #setInode(ino: number, directory: boolean, used: boolean): boolean {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    if (ino < 1 || ino > sb.inodesCount) return false;
    const group = groupOfInode(sb, ino);
    const desc = descAt(image, sb, group);
    const bitmap = gdInodeBitmap(sb, view, desc);
    if (image.at(bitmap) < 0) return false;
    const bit = (ino - 1) % sb.inodesPerGroup;
    if (this.#isUninit(desc, BG_INODE_UNINIT)) {
      if (!used) return false;
      this.#initInodeBitmap(group, bitmap);
    }
    if (bitAt(image.bytes, image.at(bitmap), bit) === (used ? 1 : 0)) return false;
    const to = this.#desc(group);
    setBits(view, image.writable(bitmap), bit, 1, used);
    const delta = used ? -1 : 1;
    setGdFreeInodes(sb, view, to, gdFreeInodes(sb, view, to) + delta);
    const dirs = gdUsedDirs(sb, view, to);
    const dirDelta = !directory ? 0 : used ? 1 : dirs > 0 ? -1 : 0;
    if (dirDelta !== 0) setGdUsedDirs(sb, view, to, dirs + dirDelta);
    if (used && (sb.gdtCsum || sb.metadataCsum)) {
      // What lies behind the last inode that was ever used is not looked at.
      const unused = gdItableUnused(sb, view, to);
      setGdItableUnused(sb, view, to, Math.min(unused, sb.inodesPerGroup - bit - 1));
    }
    this.#touch(group, INODE_BITMAP);
    this.space?.add(0, delta, dirDelta);
    this.#inodes += delta;
    this.#directories += dirDelta;
    return true;
  }

  #initInodeBitmap(group: number, bitmap: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const to = this.#desc(group);
    const at = image.fresh(bitmap);
    setBits(image.view, at, sb.inodesPerGroup, sb.blockSize * 8 - sb.inodesPerGroup, true);
    setGdFlags(image.view, to, gdFlags(image.view, to) & ~BG_INODE_UNINIT);
    this.#touch(group, INODE_BITMAP);
  }

  finish(): void {
    const [image, sb] = [this.#image, this.#sb];
    for (const [group, which] of this.#touched) {
      const to = this.#desc(group);
      if (sb.metadataCsum) {
        const blockBitmap = image.at(gdBlockBitmap(sb, image.view, to));
        const inodeBitmap = image.at(gdInodeBitmap(sb, image.view, to));
        if ((which & BLOCK_BITMAP) !== 0)
          setGdBlockBitmapCsum(sb, image.view, to, bitmapChecksum(sb, image.bytes, blockBitmap, sb.clustersPerGroup));
        if ((which & INODE_BITMAP) !== 0)
          setGdInodeBitmapCsum(sb, image.view, to, bitmapChecksum(sb, image.bytes, inodeBitmap, sb.inodesPerGroup));
      }
      setGroupChecksum(sb, image.bytes, image.view, to, group);
    }
    this.#touched.clear();
  }
}

/** Writes the sums into the superblock at an address that may be written. */
export function sumCounts(image: EditBlocks, sb: Super, superAt: number): void {
  const { view } = image;
  let clusters = 0;
  let inodes = 0;
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(image, sb, group);
    clusters += gdFreeBlocks(sb, view, desc);
    inodes += gdFreeInodes(sb, view, desc);
  }
  const blocks = clusters * 2 ** sb.clusterBits;
  setLe32(view, superAt + SB.s_free_blocks_count_lo, blocks % 2 ** 32);
  if (sb.has64bit) setLe32(view, superAt + SB.s_free_blocks_count_hi, Math.floor(blocks / 2 ** 32));
  setLe32(view, superAt + SB.s_free_inodes_count, inodes);
}
