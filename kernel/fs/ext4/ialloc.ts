/**
 * Inodes taken and given back. A new one lies where Linux would put it: a directory away from crowds (Orlov), anything
 * else near its directory.
 *
 * - newInode(edit, dir, node)    number, or ENOSPC: marked, its record written as Linux writes it: links 1, times now,
 *                                an empty map. What the record cannot say yet (a target, inline data) is the caller's
 * - freeInode(edit, ino)         the record stays as it is, for who clears it: mode, dtime, size are the caller's
 * - initInode(edit, ino, node, flags)    the record alone, of an inode that is marked already
 *
 * The block of an inode table in which no other inode is in use is zeroed, not read: it may never have been written.
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import type { NewNode } from "../vfs/file_system.ts";
import { firstOne, firstZero } from "./bits.ts";
import { inodeHas, setInodeChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";
import {
  descAt,
  gdFlags,
  gdFreeBlocks,
  gdFreeInodes,
  gdInodeBitmap,
  gdUsedDirs,
  groupOfInode,
  inodeAt,
  inodeBlock,
  inodeOffset,
} from "./group.ts";
import { inodeFlags, inodeType } from "./inode.ts";
import {
  BG_INODE_UNINIT,
  GOOD_OLD_INODE_SIZE,
  I_BLOCK_BYTES,
  INODE,
  INODE_FLAG,
  INO_ROOT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "./layout.ts";
import { EXTENT, EXTENT_HEADER, EXTENT_MAGIC } from "./layout_inode.ts";
import type { Space } from "./space.ts";

/** Blocks that a call of newInode() or freeInode() changes at most: bitmap, descriptor, inode table. */
export const INODE_CREDITS = 3;

/** i_flags that a new inode has from its directory (EXT4_FL_INHERITED), and those of them that suit files and others. */
const INHERITED = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x400 | INODE_FLAG.journal_data | 0x8000 | 0x10000;
const DIRSYNC = 0x10000;
const SUITS_OTHERS = 0x40 | 0x80;

/** Linux's newer form of a device number; the older one holds majors and minors below 256. */
const newDevice = (major: number, minor: number): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;

/** A time in its three fields; the nanoseconds and the seconds' bits above 31 have a place only in larger inodes. */
function setTime(edit: Edit, at: number, field: number, extra: number): void {
  const { view } = edit.blocks;
  setLe32(view, at + field, edit.sec % 2 ** 32);
  if (!inodeHas(edit.sb, view, at, extra, 4)) return;
  const epoch = Math.floor((edit.sec + 2 ** 31) / 2 ** 32) & 3;
  setLe32(view, at + extra, ((edit.nsec << 2) | epoch) >>> 0);
}

/** An extent tree without extents, at an inode's i_block. */
export function setEmptyTree(view: DataView, inode: number): void {
  const at = inode + INODE.i_block;
  for (let n = 0; n < I_BLOCK_BYTES; n += 4) setLe32(view, at + n, 0);
  setLe16(view, at + EXTENT_HEADER.eh_magic, EXTENT_MAGIC);
  setLe16(view, at + EXTENT_HEADER.eh_max, (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes);
}

function writeRecord(edit: Edit, at: number, ino: number, node: NewNode, flags: number): void {
  const { blocks, sb } = edit;
  const { view, bytes } = blocks;
  bytes.fill(0, at, at + sb.inodeSize);
  setLe16(view, at + INODE.i_mode, node.mode);
  setLe16(view, at + INODE.i_uid, node.uid & 0xffff);
  setLe16(view, at + INODE.l_i_uid_high, node.uid >>> 16);
  setLe16(view, at + INODE.i_gid, node.gid & 0xffff);
  setLe16(view, at + INODE.l_i_gid_high, node.gid >>> 16);
  setLe16(view, at + INODE.i_links_count, 1);
  setLe32(view, at + INODE.i_generation, edit.below(2 ** 32));
  if (sb.inodeSize > GOOD_OLD_INODE_SIZE) setLe16(view, at + INODE.i_extra_isize, sb.wantExtraIsize);
  setTime(edit, at, INODE.i_atime, INODE.i_atime_extra);
  setTime(edit, at, INODE.i_mtime, INODE.i_mtime_extra);
  setTime(edit, at, INODE.i_ctime, INODE.i_ctime_extra);
  if (inodeHas(sb, view, at, INODE.i_crtime, 4)) setTime(edit, at, INODE.i_crtime, INODE.i_crtime_extra);
  const type = node.mode & S_IFMT;
  const hasMap = type === S_IFREG || type === S_IFDIR || type === S_IFLNK;
  setLe32(view, at + INODE.i_flags, flags | (hasMap && sb.hasExtents ? INODE_FLAG.extents : 0));
  if (hasMap && sb.hasExtents) setEmptyTree(view, at);
  if (type === S_IFCHR || type === S_IFBLK) {
    const [major, minor] = [Math.floor((node.rdev ?? 0) / 2 ** 20), (node.rdev ?? 0) % 2 ** 20];
    if (major < 256 && minor < 256) setLe32(view, at + INODE.i_block, major * 256 + minor);
    else setLe32(view, at + INODE.i_block + 4, newDevice(major, minor));
  }
  setInodeChecksum(sb, bytes, view, at, ino);
}

/** Address of an inode's record that is about to be written as a whole. */
function recordAt(edit: Edit, ino: number, fresh: boolean): number {
  const block = inodeBlock(edit.blocks, edit.sb, ino);
  assert(block > 0, "ialloc: the inode has no place in a table");
  return (fresh ? edit.blocks.fresh(block) : edit.blocks.writable(block)) + inodeOffset(edit.sb, ino);
}

export function initInode(edit: Edit, ino: number, node: NewNode, flags: number): void {
  writeRecord(edit, recordAt(edit, ino, false), ino, node, flags);
}

export function newInode(edit: Edit, dir: number, node: NewNode): number | Errno {
  const { blocks, sb } = edit;
  const parentAt = inodeAt(blocks, sb, dir);
  assert(parentAt >= 0, "newInode: there is no such directory");
  const type = node.mode & S_IFMT;
  const parentFlags = inodeFlags(blocks.view, parentAt);
  const isTop = dir === INO_ROOT || (parentFlags & INODE_FLAG.topdir) !== 0;
  const start = type === S_IFDIR ? orlovGroup(edit, dir, isTop) : nearGroup(edit, dir);
  if (start < 0) return ENOSPC;
  for (let n = 0; n < sb.groups; n++) {
    const group = (start + n) % sb.groups;
    const ino = freeInGroup(edit, group);
    if (ino === 0) continue;
    const fresh = isTableBlockUnused(edit, group, ino);
    const taken = edit.groups.takeInode(ino, type === S_IFDIR);
    assert(taken, "newInode: the inode was not free");
    const inherited = parentFlags & INHERITED;
    const flags = type === S_IFDIR ? inherited : type === S_IFREG ? inherited & ~DIRSYNC : inherited & SUITS_OTHERS;
    writeRecord(edit, recordAt(edit, ino, fresh), ino, node, flags);
    return ino;
  }
  return ENOSPC;
}

export function freeInode(edit: Edit, ino: number): void {
  const at = inodeAt(edit.blocks, edit.sb, ino);
  assert(at >= 0, "freeInode: there is no such inode");
  const freed = edit.groups.freeInode(ino, inodeType(edit.blocks.view, at) === S_IFDIR);
  assert(freed, "freeInode: the inode is free already");
}

const isUninit = (edit: Edit, desc: number): boolean =>
  (gdFlags(edit.blocks.view, desc) & BG_INODE_UNINIT) !== 0 && (edit.sb.metadataCsum || edit.sb.gdtCsum);

/** The first free inode of a group that is not reserved, 0 when there is none. */
function freeInGroup(edit: Edit, group: number): number {
  const { blocks, sb } = edit;
  const desc = descAt(blocks, sb, group);
  if (gdFreeInodes(sb, blocks.view, desc) === 0) return 0;
  const first = group * sb.inodesPerGroup + 1;
  const from = Math.max(0, sb.firstIno - first);
  if (from >= sb.inodesPerGroup) return 0;
  if (isUninit(edit, desc)) return first + from;
  const bit = firstZero(blocks.view, blocks.at(gdInodeBitmap(sb, blocks.view, desc)), from, sb.inodesPerGroup);
  return bit < sb.inodesPerGroup ? first + bit : 0;
}

/** No other inode in the block of the table is in use. */
function isTableBlockUnused(edit: Edit, group: number, ino: number): boolean {
  const { blocks, sb } = edit;
  const desc = descAt(blocks, sb, group);
  if (isUninit(edit, desc)) return true;
  const bit = (ino - 1) % sb.inodesPerGroup;
  const from = bit - (bit % sb.inodesPerBlock);
  const end = Math.min(from + sb.inodesPerBlock, sb.inodesPerGroup);
  return firstOne(blocks.view, blocks.at(gdInodeBitmap(sb, blocks.view, desc)), from, end) === end;
}

export function spaceOf(edit: Edit): Space {
  const { space } = edit.groups;
  assert(space !== undefined, "ext4: nothing is allocated without the tables of space.ts");
  return space;
}

interface FlexStats {
  inodes: number;
  clusters: number;
  directories: number;
}

function statsOf({ blocks, sb }: Edit, flex: number, out: FlexStats): void {
  out.inodes = out.clusters = out.directories = 0;
  const end = Math.min((flex + 1) * sb.groupsPerFlex, sb.groups);
  for (let group = flex * sb.groupsPerFlex; group < end; group++) {
    const desc = descAt(blocks, sb, group);
    out.inodes += gdFreeInodes(sb, blocks.view, desc);
    out.clusters += gdFreeBlocks(sb, blocks.view, desc);
    out.directories += gdUsedDirs(sb, blocks.view, desc);
  }
}

/** The first group of a flex group that has a free inode. */
function groupIn(edit: Edit, flex: number): number {
  const { blocks, sb } = edit;
  const end = Math.min((flex + 1) * sb.groupsPerFlex, sb.groups);
  for (let group = flex * sb.groupsPerFlex; group < end; group++)
    if (gdFreeInodes(sb, blocks.view, descAt(blocks, sb, group)) > 0) return group;
  return -1;
}

/**
 * Group for a new directory, -1 when no inode is free. One right below the root goes where fewest directories are among
 * the flex groups of at least average room; any other one near its parent, unless that is crowded (Linux:
 * find_group_orlov).
 */
function orlovGroup(edit: Edit, dir: number, isTop: boolean): number {
  const { sb } = edit;
  const space = spaceOf(edit);
  const flexes = Math.ceil(sb.groups / sb.groupsPerFlex);
  const inodes = Math.floor(space.freeInodes / flexes);
  const clusters = Math.floor(space.freeClusters / flexes);
  const parent = Math.floor(groupOfInode(sb, dir) / sb.groupsPerFlex);
  const stats: FlexStats = { inodes: 0, clusters: 0, directories: 0 };
  if (isTop) {
    const from = edit.below(flexes);
    let best = -1;
    let fewest = sb.inodesPerGroup * sb.groupsPerFlex;
    for (let n = 0; n < flexes; n++) {
      const flex = (from + n) % flexes;
      statsOf(edit, flex, stats);
      if (stats.inodes === 0 || stats.directories >= fewest) continue;
      if (stats.inodes < inodes || stats.clusters < clusters) continue;
      best = flex;
      fewest = stats.directories;
    }
    if (best >= 0) return groupIn(edit, best);
  }
  const most = Math.floor(space.directories / flexes) + (sb.inodesPerGroup * sb.groupsPerFlex) / 16;
  const leastInodes = Math.max(1, inodes - (sb.inodesPerGroup * sb.groupsPerFlex) / 4);
  const leastClusters = Math.max(0, clusters - (sb.clustersPerGroup * sb.groupsPerFlex) / 4);
  let roomiest = -1;
  for (let n = 0; n < flexes; n++) {
    const flex = (parent + n) % flexes;
    statsOf(edit, flex, stats);
    if (stats.inodes >= leastInodes && stats.clusters >= leastClusters && stats.directories < most)
      return groupIn(edit, flex);
    if (roomiest < 0 && stats.inodes > 0 && stats.inodes >= inodes) roomiest = flex;
  }
  for (let flex = 0; roomiest < 0 && flex < flexes; flex++) if (groupIn(edit, flex) >= 0) roomiest = flex;
  return roomiest < 0 ? -1 : groupIn(edit, roomiest);
}

/** Group for anything else: that of the directory, or one of its flex group; then wherever an inode is (find_group_other). */
function nearGroup(edit: Edit, dir: number): number {
  const { blocks, sb } = edit;
  const home = groupOfInode(sb, dir);
  if (sb.groupsPerFlex > 1) {
    const near = groupIn(edit, Math.floor(home / sb.groupsPerFlex));
    if (near >= 0) return near;
  }
  const suits = (group: number): boolean => {
    const desc = descAt(blocks, sb, group);
    return gdFreeInodes(sb, blocks.view, desc) > 0 && gdFreeBlocks(sb, blocks.view, desc) > 0;
  };
  if (suits(home)) return home;
  let group = (home + dir) % sb.groups;
  for (let step = 1; step < sb.groups; step *= 2) {
    group = (group + step) % sb.groups;
    if (suits(group)) return group;
  }
  for (let n = 0; n < sb.groups; n++) {
    const next = (home + n) % sb.groups;
    if (gdFreeInodes(sb, blocks.view, descAt(blocks, sb, next)) > 0) return next;
  }
  return -1;
}
