/**
 * The checker's passes over everything that is counted: links, bitmaps, the numbers in group descriptors and superblock,
 * and the orphan file. e2fsck's passes 4 and 5.
 */
import { le32 } from "../../lib/bytes.ts";
import { Verdict } from "../block_image.ts";
import { bitAt } from "./bits.ts";
import { Kind } from "./check_state.ts";
import type { CheckState } from "./check_state.ts";
import { bitmapChecksum, inodeSeed, orphanBlockChecksum } from "./csum.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import {
  bitmapCsumKept,
  descAt,
  gdBlockBitmap,
  gdBlockBitmapCsum,
  gdFlags,
  gdFreeBlocks,
  gdFreeInodes,
  gdInodeBitmap,
  gdInodeBitmapCsum,
  gdItableUnused,
  gdUsedDirs,
  inodeAt,
} from "./group.ts";
import { inodeGeneration, inodeLinks, inodeSizeBytes } from "./inode.ts";
import { BG_BLOCK_UNINIT, BG_INODE_UNINIT, INO_ROOT, RO_COMPAT, SB } from "./layout.ts";
import { ORPHAN_MAGIC, ORPHAN_TAIL } from "./layout_inode.ts";
import { blocksIn } from "./super.ts";
import { uninitBlockBitmap } from "./uninit.ts";

/** A directory with so many links says 1 (dir_nlink). */
const LINKS_MAX = 65_000;
/** So that a bitmap's answer is not mistaken for another structure's on the same slot. */
const BLOCK_BITMAP_KEY = 0x0b10cb17;
const INODE_BITMAP_KEY = 0x10de_b17a;

export function checkCounts(state: CheckState): void {
  checkLinks(state);
  let freeClusters = 0;
  let freeInodes = 0;
  for (let group = 0; group < state.sb.groups; group++) {
    const desc = descAt(state.image, state.sb, group);
    freeClusters += checkBlockBitmap(state, group, desc);
    freeInodes += checkInodeBitmap(state, group, desc);
  }
  const { sb, image } = state;
  const at = image.at(sb.superBlock) + sb.superOffset;
  const high = sb.has64bit ? le32(image.view, at + SB.s_free_blocks_count_hi) * 2 ** 32 : 0;
  const blocks = le32(image.view, at + SB.s_free_blocks_count_lo) + high;
  if (blocks !== freeClusters * 2 ** sb.clusterBits)
    state.report("count", `the superblock says ${blocks} free blocks, there are ${freeClusters * 2 ** sb.clusterBits}`);
  const inodes = le32(image.view, at + SB.s_free_inodes_count);
  if (inodes !== freeInodes)
    state.report("count", `the superblock says ${inodes} free inodes, there are ${freeInodes}`);
  if (sb.orphanFileIno !== 0) checkOrphanFile(state);
}

function checkLinks(state: CheckState): void {
  const { sb, image, links, kind, used } = state;
  for (let n = 0; n < state.usedCount; n++) {
    const ino = used[n]!;
    if (ino < sb.firstIno && ino !== INO_ROOT) continue;
    const at = inodeAt(image, sb, ino);
    const found = inodeLinks(image.view, at);
    const counted = links[ino]!;
    if (counted === 0) {
      if (ino !== sb.orphanFileIno && ino !== sb.journalIno) state.report("unattached", `inode ${ino} has no name`);
      continue;
    }
    const isMany = kind[ino] === Kind.Directory && found === 1 && (sb.roCompat & RO_COMPAT.dir_nlink) !== 0;
    if (found !== counted && !(isMany && counted > 1 && (counted >= LINKS_MAX || found === 1)))
      state.report("links", `inode ${ino} says ${found} links, and has ${counted}`);
  }
}

/** Bits set in a byte. */
const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let set = 0;
  for (let bit = 0; bit < 8; bit++) set += (byte >> bit) & 1;
  return set;
});

/** Free clusters of a group. */
/** Whether the bits from .. to are all set. A small disk has most of its bitmap there: whole bytes go at once. */
function isFilled(bytes: Uint8Array, at: number, from: number, to: number): boolean {
  for (let bit = from; bit < to;) {
    const byte = bytes[at + (bit >> 3)]!;
    if ((bit & 7) === 0 && byte === 0xff) bit += 8;
    else if (((byte >> (bit & 7)) & 1) === 0) return false;
    else bit++;
  }
  return true;
}

function checkBlockBitmap(state: CheckState, group: number, desc: number): number {
  const { sb, image, taken } = state;
  const { bytes, view } = image;
  const first = group * sb.clustersPerGroup;
  const isTaken = (bit: number): boolean => ((taken[(first + bit) >> 3]! >> (bit & 7)) & 1) !== 0;
  const count = Math.ceil(blocksIn(sb, group) / 2 ** sb.clusterBits);
  const block = gdBlockBitmap(sb, view, desc);
  let free = 0;
  if ((gdFlags(view, desc) & BG_BLOCK_UNINIT) !== 0 && (sb.metadataCsum || sb.gdtCsum)) {
    const used = uninitBlockBitmap(image, sb, group, desc);
    let wrong = 0;
    for (let bit = 0; bit < count; bit++) {
      const isUsed = isTaken(bit);
      if (!isUsed) free++;
      if (isUsed && bitAt(used, 0, bit) === 0) wrong++;
    }
    if (wrong > 0) state.report("bitmap", `group ${group} is uninitialised, and ${wrong} of its clusters are in use`);
  } else {
    const at = image.at(block);
    let missing = 0;
    let extra = 0;
    const whole = count >> 3;
    for (let n = 0; n < whole; n++) {
      const want = taken[(first >> 3) + n]!;
      const have = bytes[at + n]!;
      free += 8 - BITS[want]!;
      if (want === have) continue;
      missing += BITS[want & ~have]!;
      extra += BITS[have & ~want]!;
    }
    for (let bit = whole * 8; bit < count; bit++) {
      const isUsed = isTaken(bit);
      const isMarked = ((bytes[at + (bit >> 3)]! >> (bit & 7)) & 1) !== 0;
      if (!isUsed) free++;
      if (isUsed === isMarked) continue;
      if (isUsed) missing++;
      else extra++;
    }
    if (missing + extra > 0)
      state.report(
        "bitmap",
        `group ${group}: ${missing} clusters in use are not marked, ${extra} marked are not in use`,
      );
    if (!isFilled(bytes, at, count, Math.min(sb.blockSize * 8, sb.clustersPerGroup)))
      state.report("bitmap", `group ${group}: the block bitmap is not filled behind its end`);
    if (
      sb.metadataCsum &&
      !bitmapCsumOk(state, block, sb.clustersPerGroup, BLOCK_BITMAP_KEY, gdBlockBitmapCsum(sb, view, desc))
    )
      state.report("checksum", `the checksum of the block bitmap of group ${group} is wrong`);
  }
  const said = gdFreeBlocks(sb, view, desc);
  if (said !== free) state.report("count", `group ${group} says ${said} free clusters, and has ${free}`);
  return free;
}

/** The bitmap's own checksum is remembered by its slot; the descriptor's copy may change beside it. */
function bitmapCsumOk(state: CheckState, block: number, bits: number, key: number, stored: number): boolean {
  const { sb, image } = state;
  const seed = (key ^ stored) | 0;
  const known = state.known(block, seed);
  if (known !== Verdict.Unknown) return known === Verdict.Good;
  const crc = bitmapCsumKept(sb, bitmapChecksum(sb, image.bytes, image.at(block), bits));
  return state.remember(block, seed, crc === stored);
}

/** Place in `used` of the first inode that is no smaller. */
function usedFrom({ used, usedCount }: CheckState, ino: number): number {
  let low = 0;
  let high = usedCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (used[middle]! < ino) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Free inodes of a group. */
function checkInodeBitmap(state: CheckState, group: number, desc: number): number {
  const { sb, image, kind } = state;
  const { bytes, view } = image;
  const first = group * sb.inodesPerGroup + 1;
  const block = gdInodeBitmap(sb, view, desc);
  const at = image.at(block);
  const hasCsum = sb.metadataCsum || sb.gdtCsum;
  const uninit = hasCsum && (gdFlags(view, desc) & BG_INODE_UNINIT) !== 0;
  let used = 0;
  let dirs = 0;
  let missing = 0;
  let last = 0;
  for (let n = usedFrom(state, first); n < state.usedCount; n++) {
    const bit = state.used[n]! - first;
    if (bit >= sb.inodesPerGroup) break;
    used++;
    last = bit + 1;
    if (kind[first + bit] === Kind.Directory) dirs++;
    if (uninit || ((bytes[at + (bit >> 3)]! >> (bit & 7)) & 1) === 0) missing++;
  }
  let marked = 0;
  if (!uninit) for (let n = 0; n < sb.inodesPerGroup >> 3; n++) marked += BITS[bytes[at + n]!]!;
  const free = sb.inodesPerGroup - used;
  const extra = marked - (used - missing);
  if (missing + extra > 0)
    state.report("bitmap", `group ${group}: ${missing} inodes in use are not marked, ${extra} marked are not in use`);
  if (!uninit) {
    for (let bit = sb.inodesPerGroup; bit < sb.blockSize * 8; bit += 8)
      if (bytes[at + (bit >> 3)] !== 0xff) {
        state.report("bitmap", `group ${group}: the inode bitmap is not filled behind its end`);
        break;
      }
    if (
      sb.metadataCsum &&
      !bitmapCsumOk(state, block, sb.inodesPerGroup, INODE_BITMAP_KEY, gdInodeBitmapCsum(sb, view, desc))
    )
      state.report("checksum", `the checksum of the inode bitmap of group ${group} is wrong`);
  }
  if (hasCsum && last > sb.inodesPerGroup - gdItableUnused(sb, view, desc))
    state.report("group", `group ${group} has inodes in use where it says there were never any`);
  const said = gdFreeInodes(sb, view, desc);
  if (said !== free) state.report("count", `group ${group} says ${said} free inodes, and has ${free}`);
  const saidDirs = gdUsedDirs(sb, view, desc);
  if (saidDirs !== dirs) state.report("count", `group ${group} says ${saidDirs} directories, and has ${dirs}`);
  return free;
}

function checkOrphanFile(state: CheckState): void {
  const { sb, image } = state;
  const { view } = image;
  const at = inodeAt(image, sb, sb.orphanFileIno);
  if (at < 0 || state.kind[sb.orphanFileIno] === Kind.Unused)
    return state.report("orphan", `there is no orphan file at inode ${sb.orphanFileIno}`);
  const seed = inodeSeed(sb, sb.orphanFileIno, inodeGeneration(view, at));
  const size = inodeSizeBytes(sb, view, at);
  if (size % sb.blockSize !== 0) state.report("orphan", `the orphan file has a size of ${size}`);
  const isPresent = (sb.roCompat & RO_COMPAT.orphan_present) !== 0;
  const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  const count = Math.min(Math.floor(size / sb.blockSize), sb.blocksCount);
  for (let lblk = 0; lblk < count; lblk++) {
    if (mapBlock(image, sb, at, lblk, mapped) !== 0 || mapped.pblk === 0)
      return state.report("orphan", `block ${lblk} of the orphan file is not there`);
    const from = image.at(mapped.pblk);
    const tail = from + sb.blockSize - ORPHAN_TAIL.bytes;
    if (le32(view, tail + ORPHAN_TAIL.ob_magic) !== ORPHAN_MAGIC)
      state.report("orphan", `block ${lblk} of the orphan file has no magic`);
    else if (
      sb.metadataCsum &&
      orphanBlockChecksum(sb, seed, image.bytes, from, mapped.pblk) !== le32(view, tail + ORPHAN_TAIL.ob_checksum)
    )
      state.report("checksum", `the checksum of block ${lblk} of the orphan file is wrong`);
    // With orphan_present the next mount will see to them, as to a list.
    if (isPresent) continue;
    for (let n = 0; n < (sb.blockSize - ORPHAN_TAIL.bytes) / 4; n++)
      if (le32(view, from + 4 * n) !== 0) {
        state.report("orphan", `the orphan file names inode ${le32(view, from + 4 * n)}, and is not marked`);
        break;
      }
  }
}
