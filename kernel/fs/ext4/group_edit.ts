/**
 * Freeing and taking of blocks and inodes by recovery, straight in the bitmaps of an image: no journal runs yet, or it
 * was just replayed. Counts in the group descriptors follow at once, checksums with finish().
 *
 * - freeClusterOf(block), takeClusterOf(block)    one cluster by any of its blocks; false: it was so already, or is not there
 * - freeInode(ino, directory), takeInode(ino, directory)
 * - finish()                        checksums of touched bitmaps and descriptors; call before anyone looks
 * - sumCounts(image, sb)            the superblock's free counts, from the descriptors: how Linux keeps them, too
 */
import { setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
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
import { groupOf } from "./super.ts";
import type { Super } from "./super.ts";
import { uninitBlockBitmap } from "./uninit.ts";

export class GroupEdit {
  readonly #image: EditBlocks;
  readonly #sb: Super;
  /** Groups whose block (1) and inode (2) bitmaps were touched. */
  readonly #touched = new Map<number, number>();

  constructor(image: EditBlocks, sb: Super) {
    this.#image = image;
    this.#sb = sb;
  }

  /** Address of a group's descriptor, to be written. */
  #desc(group: number): number {
    const { descPerBlock, descSize } = this.#sb;
    return this.#image.writable(descBlockOf(this.#sb, group)) + (group % descPerBlock) * descSize;
  }

  isClusterFree(block: number): boolean {
    const sb = this.#sb;
    if (block < sb.firstDataBlock || block >= sb.blocksCount) return false;
    const group = groupOf(sb, block);
    const desc = descAt(this.#image, sb, group);
    if ((gdFlags(this.#image.view, desc) & BG_BLOCK_UNINIT) !== 0 && (sb.gdtCsum || sb.metadataCsum))
      return !uninitBlockBitmap(this.#image, sb, group, desc).has(this.#bitOf(block, group));
    const at = this.#image.at(gdBlockBitmap(sb, this.#image.view, desc));
    const bit = this.#bitOf(block, group);
    return at >= 0 && (this.#image.bytes[at + (bit >> 3)]! & (1 << (bit & 7))) === 0;
  }

  #bitOf(block: number, group: number): number {
    const sb = this.#sb;
    return Math.floor((block - sb.firstDataBlock - group * sb.blocksPerGroup) / 2 ** sb.clusterBits);
  }

  freeClusterOf(block: number): boolean {
    return this.#setCluster(block, false);
  }

  takeClusterOf(block: number): boolean {
    return this.#setCluster(block, true);
  }

  #setCluster(block: number, used: boolean): boolean {
    const [image, sb] = [this.#image, this.#sb];
    if (block < sb.firstDataBlock || block >= sb.blocksCount) return false;
    const group = groupOf(sb, block);
    const desc = descAt(image, sb, group);
    const bitmap = gdBlockBitmap(sb, image.view, desc);
    if (image.at(bitmap) < 0) return false;
    if ((gdFlags(image.view, desc) & BG_BLOCK_UNINIT) !== 0) {
      if (!used) return false;
      this.#initBlockBitmap(group, bitmap);
    }
    const bit = this.#bitOf(block, group);
    if (((image.bytes[image.at(bitmap) + (bit >> 3)]! >> (bit & 7)) & 1) === (used ? 1 : 0)) return false;
    const at = image.writable(bitmap);
    image.bytes[at + (bit >> 3)]! ^= 1 << (bit & 7);
    const to = this.#desc(group);
    setGdFreeBlocks(sb, image.view, to, gdFreeBlocks(sb, image.view, to) + (used ? -1 : 1));
    this.#touched.set(group, (this.#touched.get(group) ?? 0) | 1);
    return true;
  }

  #initBlockBitmap(group: number, bitmap: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const used = uninitBlockBitmap(image, sb, group, descAt(image, sb, group));
    const at = image.writable(bitmap);
    image.bytes.fill(0, at, at + sb.blockSize);
    for (const bit of used) image.bytes[at + (bit >> 3)]! |= 1 << (bit & 7);
    const to = this.#desc(group);
    setGdFlags(image.view, to, gdFlags(image.view, to) & ~BG_BLOCK_UNINIT);
  }

  isInodeFree(ino: number): boolean {
    const [image, sb] = [this.#image, this.#sb];
    if (ino < 1 || ino > sb.inodesCount) return false;
    const group = groupOfInode(sb, ino);
    const desc = descAt(image, sb, group);
    if ((gdFlags(image.view, desc) & BG_INODE_UNINIT) !== 0) return true;
    const at = image.at(gdInodeBitmap(sb, image.view, desc));
    const bit = (ino - 1) % sb.inodesPerGroup;
    return at >= 0 && (image.bytes[at + (bit >> 3)]! & (1 << (bit & 7))) === 0;
  }

  freeInode(ino: number, directory: boolean): boolean {
    return this.#setInode(ino, directory, false);
  }

  takeInode(ino: number, directory: boolean): boolean {
    return this.#setInode(ino, directory, true);
  }

  #setInode(ino: number, directory: boolean, used: boolean): boolean {
    const [image, sb] = [this.#image, this.#sb];
    if (ino < 1 || ino > sb.inodesCount) return false;
    const group = groupOfInode(sb, ino);
    const desc = descAt(image, sb, group);
    const bitmap = gdInodeBitmap(sb, image.view, desc);
    if (image.at(bitmap) < 0) return false;
    const bit = (ino - 1) % sb.inodesPerGroup;
    if ((gdFlags(image.view, desc) & BG_INODE_UNINIT) !== 0) {
      if (!used) return false;
      const at = image.writable(bitmap);
      image.bytes.fill(0, at, at + (sb.inodesPerGroup >> 3));
      image.bytes.fill(0xff, at + (sb.inodesPerGroup >> 3), at + sb.blockSize);
      const to = this.#desc(group);
      setGdFlags(image.view, to, gdFlags(image.view, to) & ~BG_INODE_UNINIT);
    }
    if (((image.bytes[image.at(bitmap) + (bit >> 3)]! >> (bit & 7)) & 1) === (used ? 1 : 0)) return false;
    const at = image.writable(bitmap);
    image.bytes[at + (bit >> 3)]! ^= 1 << (bit & 7);
    const to = this.#desc(group);
    const { view } = image;
    setGdFreeInodes(sb, view, to, gdFreeInodes(sb, view, to) + (used ? -1 : 1));
    if (directory) setGdUsedDirs(sb, view, to, Math.max(0, gdUsedDirs(sb, view, to) + (used ? 1 : -1)));
    if (used && (sb.gdtCsum || sb.metadataCsum)) {
      // What lies behind the last inode that was ever used is not looked at.
      const unused = gdItableUnused(sb, view, to);
      setGdItableUnused(sb, view, to, Math.min(unused, sb.inodesPerGroup - bit - 1));
    }
    this.#touched.set(group, (this.#touched.get(group) ?? 0) | 2);
    return true;
  }

  finish(): void {
    const [image, sb] = [this.#image, this.#sb];
    for (const [group, which] of this.#touched) {
      const to = this.#desc(group);
      if (sb.metadataCsum) {
        const blockBitmap = image.at(gdBlockBitmap(sb, image.view, to));
        const inodeBitmap = image.at(gdInodeBitmap(sb, image.view, to));
        if ((which & 1) !== 0)
          setGdBlockBitmapCsum(sb, image.view, to, bitmapChecksum(sb, image.bytes, blockBitmap, sb.clustersPerGroup));
        if ((which & 2) !== 0)
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
