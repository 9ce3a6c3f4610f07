/**
 * The groups of a new file system: where bitmaps and inode tables lie, as mke2fs puts them, the descriptors, and the
 * first bitmaps.
 *
 *   without flex_bg | super, descriptors | block bitmap | inode bitmap | inode table | data ...        in each group
 *   with flex_bg    | super, descriptors | block bitmaps of all | inode bitmaps of all | tables of all | in the first
 *
 * - writeGroups(blocks, sb, groups)    descriptors with everything of the format itself taken
 * - firstRun(blocks, sb, from, ...)    the first free blocks from there on
 *
 * With checksums on descriptors a group in which nothing else lies keeps no bitmap on disk (uninit.ts). The image is all
 * zeroes, so the inode tables are, too: BG_INODE_ZEROED, and no kernel will zero them after the first mount.
 */
import type { EditBlocks } from "../blocks.ts";
import type { Run } from "./balloc.ts";
import { firstOne, firstZero, setBits } from "./bits.ts";
import { bitmapChecksum, setGroupChecksum } from "./csum.ts";
import {
  descAt,
  descBlockOf,
  gdBlockBitmap,
  gdFlags,
  gdInodeBitmap,
  gdInodeTable,
  setGdBlockBitmap,
  setGdBlockBitmapCsum,
  setGdFlags,
  setGdFreeBlocks,
  setGdFreeInodes,
  setGdInodeBitmap,
  setGdInodeBitmapCsum,
  setGdInodeTable,
  setGdItableUnused,
} from "./group.ts";
import type { GroupEdit } from "./group_edit.ts";
import { BG_BLOCK_UNINIT, BG_INODE_UNINIT, BG_INODE_ZEROED } from "./layout.ts";
import { blocksIn, firstBlockOf, groupOf, overheadOf } from "./super.ts";
import type { Super } from "./super.ts";
import { fillUninitBitmap, uninitBlockBitmap } from "./uninit.ts";

/** Blocks, not clusters, that are in use while the tables are placed. */
class Places {
  readonly #view: DataView;
  readonly #sb: Super;

  constructor(sb: Super) {
    this.#sb = sb;
    this.#view = new DataView(new ArrayBuffer(Math.ceil(sb.blocksCount / 32) * 4));
    if (sb.firstDataBlock > 0) this.take(0, sb.firstDataBlock);
  }

  take(block: number, count: number): void {
    setBits(this.#view, 0, block, count, true);
  }

  isFree(block: number, count: number): boolean {
    return block + count <= this.#sb.blocksCount && firstOne(this.#view, 0, block, block + count) === block + count;
  }

  /** First free run of `count` blocks in [from, end), -1 when there is none. */
  find(from: number, end: number, count: number): number {
    for (let start = from; ;) {
      start = firstZero(this.#view, 0, start, end);
      if (start + count > end) return -1;
      const next = firstOne(this.#view, 0, start, start + count);
      if (next === start + count) return start;
      start = next;
    }
  }
}

const endOf = (sb: Super, group: number): number => firstBlockOf(sb, group) + blocksIn(sb, group);

/**
 * Where a table of `size` blocks of a group goes, when by the order of tables it should lie at `wanted` (0: anywhere).
 * All those of a flex group lie one after the other if there is room for all that are still to come.
 */
function flexStart(sb: Super, places: Places, group: number, wanted: number, size: number): number {
  const flex = Math.floor(group / sb.groupsPerFlex) * sb.groupsPerFlex;
  const first = firstBlockOf(sb, flex);
  if (wanted >= first && places.isFree(wanted, size)) return wanted;
  const last = lastOfFlex(sb, group);
  const all = Math.min((last - group + 1) * size, Math.floor(sb.blocksPerGroup / 4));
  const end = endOf(sb, last);
  const roomy = places.find(first, end, all);
  return roomy >= 0 ? roomy : places.find(first, end, size);
}

const lastOfFlex = (sb: Super, group: number): number =>
  Math.min((Math.floor(group / sb.groupsPerFlex) + 1) * sb.groupsPerFlex, sb.groups) - 1;

/** False: no place for a table, so that the file system is too small. */
function placeTables(blocks: EditBlocks, sb: Super): boolean {
  const places = new Places(sb);
  for (let group = 0; group < sb.groups; group++) {
    const overhead = overheadOf(sb, group);
    if (overhead.supers > 0) places.take(firstBlockOf(sb, group), overhead.supers);
    if (overhead.gdt > 0) places.take(overhead.from, overhead.gdt);
  }
  const isFlex = sb.groupsPerFlex > 1;
  const kinds = [
    { size: 1, get: gdBlockBitmap, set: setGdBlockBitmap },
    { size: 1, get: gdInodeBitmap, set: setGdInodeBitmap },
    { size: sb.itableBlocks, get: gdInodeTable, set: setGdInodeTable },
  ];
  for (let group = 0; group < sb.groups; group++) {
    const desc = blocks.writable(descBlockOf(sb, group)) + (group % sb.descPerBlock) * sb.descSize;
    const last = lastOfFlex(sb, group);
    const isFirst = group % sb.groupsPerFlex === 0;
    // The first of a flex group leaves room for the tables of the others before the next kind; a single group for a
    // whole flex group's.
    let next = 0;
    for (const { size, get, set } of kinds) {
      const wanted = isFirst ? next : get(sb, blocks.view, descAt(blocks, sb, group - 1)) + size;
      const from = isFlex ? flexStart(sb, places, group, wanted, size) : firstBlockOf(sb, group);
      let found = from < 0 ? -1 : places.find(from, endOf(sb, last), size);
      if (found < 0) found = places.find(firstBlockOf(sb, group), endOf(sb, group), size);
      if (found < 0) return false;
      places.take(found, size);
      set(sb, blocks.view, desc, found);
      next = found + (sb.groups === 1 ? sb.groupsPerFlex : last - group + 1);
    }
  }
  return true;
}

function zerosIn(view: DataView, at: number, end: number): number {
  let zeros = 0;
  for (let bit = firstZero(view, at, 0, end); bit < end; bit = firstZero(view, at, bit, end)) {
    const next = firstOne(view, at, bit, end);
    zeros += next - bit;
    bit = next;
  }
  return zeros;
}

/** Descriptor, and the bitmaps that every group has from the start. */
function writeGroup(blocks: EditBlocks, sb: Super, group: number): void {
  const { view, bytes } = blocks;
  const desc = descAt(blocks, sb, group);
  const hasCsum = sb.metadataCsum || sb.gdtCsum;
  const clusters = Math.ceil(blocksIn(sb, group) / 2 ** sb.clusterBits);
  const bitmap = uninitBlockBitmap(blocks, sb, group, desc);
  setGdFreeBlocks(sb, view, desc, zerosIn(new DataView(bitmap.buffer), 0, clusters));
  setGdFreeInodes(sb, view, desc, sb.inodesPerGroup);
  let flags = 0;
  if (hasCsum) {
    flags = BG_INODE_UNINIT | BG_INODE_ZEROED;
    setGdItableUnused(sb, view, desc, sb.inodesPerGroup);
  } else {
    const inodes = blocks.fresh(gdInodeBitmap(sb, view, desc));
    setBits(view, inodes, sb.inodesPerGroup, sb.blockSize * 8 - sb.inodesPerGroup, true);
  }
  // The last group may be short, and mke2fs gives it a bitmap always.
  if (hasCsum && group < sb.groups - 1) flags |= BG_BLOCK_UNINIT;
  else {
    const at = blocks.fresh(gdBlockBitmap(sb, view, desc));
    fillUninitBitmap(blocks, sb, group, desc, view, at);
    if (sb.metadataCsum) setGdBlockBitmapCsum(sb, view, desc, bitmapChecksum(sb, bytes, at, sb.clustersPerGroup));
  }
  if (sb.metadataCsum) setGdInodeBitmapCsum(sb, view, desc, 0);
  setGdFlags(view, desc, flags);
  setGroupChecksum(sb, bytes, view, desc, group);
}

export function writeGroups(blocks: EditBlocks, sb: Super, groups: GroupEdit): boolean {
  if (!placeTables(blocks, sb)) return false;
  for (let group = 0; group < sb.groups; group++) writeGroup(blocks, sb, group);
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(blocks, sb, group);
    const tables: readonly (readonly [number, number])[] = [
      [gdBlockBitmap(sb, blocks.view, desc), 1],
      [gdInodeBitmap(sb, blocks.view, desc), 1],
      [gdInodeTable(sb, blocks.view, desc), sb.itableBlocks],
    ];
    for (const [block, count] of tables) {
      // What lies in its own group is known to be there without a bitmap.
      const own = groupOf(sb, block) === group && groupOf(sb, block + count - 1) === group;
      if (!own || sb.groupsPerFlex > 1) groups.takeRange(block, count);
    }
  }
  return true;
}

/** The first free blocks from there on, up to `most`, within a group; false when there are none. */
export function firstRun(blocks: EditBlocks, sb: Super, from: number, most: number, out: Run): boolean {
  const size = 2 ** sb.clusterBits;
  for (let block = from; block < sb.blocksCount;) {
    const group = groupOf(sb, block);
    const desc = descAt(blocks, sb, group);
    const first = firstBlockOf(sb, group);
    const bit = Math.floor((block - first) / size);
    const end = Math.ceil(blocksIn(sb, group) / size);
    const isUninit = (gdFlags(blocks.view, desc) & BG_BLOCK_UNINIT) !== 0;
    const view = isUninit ? new DataView(uninitBlockBitmap(blocks, sb, group, desc).buffer) : blocks.view;
    const at = isUninit ? 0 : blocks.at(gdBlockBitmap(sb, blocks.view, desc));
    const found = firstZero(view, at, bit, end);
    if (found < end) {
      out.block = first + found * size;
      out.count = Math.min(most, (firstOne(view, at, found, end) - found) * size);
      return true;
    }
    block = firstBlockOf(sb, group + 1);
  }
  return false;
}
