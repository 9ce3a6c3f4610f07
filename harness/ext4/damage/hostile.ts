/**
 * Images made to wear a reader out: maps whose nodes are one block again and again, directories of four gigabytes in ten
 * blocks, trees that lead back to their root. Each checksum is right.
 *
 * - HOSTILE        what there is
 */
import { le16 } from "../../../kernel/lib/bytes.ts";
import { nextBelow } from "../../../kernel/lib/prng.ts";
import { ext4Csum, ext4DirLayout, ext4Inode, ext4InodeLayout, ext4Layout, nameHash } from "../../../kernel/index.ts";
import type { Super } from "../../../kernel/index.ts";
import type { Scratch } from "./scratch.ts";
import type { Sites } from "./sites.ts";

const { INODE, INODE_FLAG, I_BLOCK_BYTES, S_IFDIR } = ext4Layout;
const { EXTENT, EXTENT_HEADER, EXTENT_MAGIC, EXTENT_DEPTH_MAX, IND_BLOCK, TIND_BLOCK } = ext4InodeLayout;
const { DIRENT, DX_COUNTLIMIT, DX_ENTRY, DX_NODE_FAKE_BYTES, DX_ROOT_INFO, DX_ROOT_INFO_OFFSET, DX_TAIL, NAME_MAX } =
  ext4DirLayout;

/** What is made hostile. */
export interface Subject {
  readonly scratch: Scratch;
  readonly sb: Super;
  readonly sites: Sites;
}

const pick = <T>(state: Int32Array, from: readonly T[]): T => from[nextBelow(state, from.length)]!;

interface Victim {
  readonly ino: number;
  readonly at: number;
  /** A block that is written over. */
  readonly block: number;
}

/** An inode, often a directory, that loses what it had. */
function victim({ scratch, sites, sb }: Subject, state: Int32Array): Victim {
  const directories = sites.inodes.filter(({ at }) => ext4Inode.inodeType(scratch.view, at) === S_IFDIR);
  const { ino, at } = pick(state, nextBelow(state, 3) === 0 ? sites.inodes : directories);
  return { ino, at, block: sb.blocksCount - 1 - nextBelow(state, 20) };
}

/** As large as can be said. */
function grow({ scratch, sb }: Subject, at: number, state: Int32Array): void {
  scratch.set(at + INODE.i_size_lo, 4, pick(state, [2 ** 32 - sb.blockSize, 2 ** 31, 2 ** 24]));
  if (nextBelow(state, 2) === 0) scratch.set(at + INODE.i_size_high, 4, pick(state, [1, 0xffff]));
}

function seal({ scratch, sb }: Subject, { ino, at }: Victim): void {
  scratch.keep(at, sb.inodeSize);
  ext4Csum.setInodeChecksum(sb, scratch.bytes, scratch.view, at, ino);
}

const setFlags = ({ scratch }: Subject, at: number, set: number, clear: number): void =>
  scratch.set(at + INODE.i_flags, 4, (ext4Inode.inodeFlags(scratch.view, at) | set) & ~clear);

/** Every slot of every level is one block, which holds only its own number. */
function tower(subject: Subject, state: Int32Array): string {
  const it = victim(subject, state);
  const { scratch, sb } = subject;
  setFlags(subject, it.at, 0, INODE_FLAG.extents | INODE_FLAG.inline_data | INODE_FLAG.index);
  grow(subject, it.at, state);
  for (let at = 0; at < sb.blockSize; at += 4) scratch.set(it.block * sb.blockSize + at, 4, it.block);
  const from = pick(state, [0, IND_BLOCK, TIND_BLOCK]);
  for (let slot = 0; slot <= TIND_BLOCK; slot++)
    scratch.set(it.at + INODE.i_block + 4 * slot, 4, slot >= from ? it.block : 0);
  seal(subject, it);
  return `inode ${it.ino} is a tower of block ${it.block}`;
}

function node(subject: Subject, at: number, entries: number, max: number, depth: number): void {
  const { scratch } = subject;
  scratch.set(at + EXTENT_HEADER.eh_magic, 2, EXTENT_MAGIC);
  scratch.set(at + EXTENT_HEADER.eh_entries, 2, entries);
  scratch.set(at + EXTENT_HEADER.eh_max, 2, max);
  scratch.set(at + EXTENT_HEADER.eh_depth, 2, depth);
}

const ROOT_ENTRIES = (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes;

/** A root of indexes that all lead to one leaf, or a leaf of extents that are all the same blocks. */
function manyExtents(subject: Subject, state: Int32Array): string {
  const it = victim(subject, state);
  const { scratch, sb } = subject;
  setFlags(subject, it.at, INODE_FLAG.extents, INODE_FLAG.inline_data | INODE_FLAG.index);
  grow(subject, it.at, state);
  const root = it.at + INODE.i_block;
  const depth = pick(state, [1, 1, 2, EXTENT_DEPTH_MAX]);
  node(subject, root, ROOT_ENTRIES, ROOT_ENTRIES, depth);
  const most = Math.floor((sb.blockSize - EXTENT_HEADER.bytes - 4) / EXTENT.bytes);
  const leaf = it.block * sb.blockSize;
  const isLoop = nextBelow(state, 3) === 0;
  const step = Math.max(1, Math.min(0x7fff, pick(state, [1, 1000, sb.blocksCount - sb.firstDataBlock - 1])));
  for (let n = 0; n < ROOT_ENTRIES; n++) {
    const entry = root + EXTENT_HEADER.bytes + n * EXTENT.bytes;
    scratch.set(entry, 4, n * most * step);
    scratch.set(entry + 4, 4, it.block);
    scratch.set(entry + 8, 4, 0);
  }
  node(subject, leaf, most, most, isLoop ? depth - 1 : 0);
  for (let n = 0; n < most; n++) {
    const entry = leaf + EXTENT_HEADER.bytes + n * EXTENT.bytes;
    scratch.set(entry + EXTENT.ee_block, 4, n * step);
    scratch.set(entry + 4, 4, isLoop ? it.block : step);
    scratch.set(entry + EXTENT.ee_start_lo, 4, isLoop ? 0 : sb.firstDataBlock + 1);
  }
  scratch.keep(leaf, sb.blockSize);
  const seed = ext4Csum.inodeSeed(sb, it.ino, ext4Inode.inodeGeneration(scratch.view, it.at));
  ext4Csum.setExtentChecksum(sb, seed, scratch.bytes, scratch.view, leaf);
  seal(subject, it);
  return `inode ${it.ino} has ${ROOT_ENTRIES} indexes of depth ${depth} to block ${it.block}${isLoop ? ", a loop" : ""}`;
}

/** Every entry of every directory names a directory. */
function maze(subject: Subject, state: Int32Array): string {
  const { scratch, sb, sites } = subject;
  for (const block of sites.dirBlocks) {
    const end = block.at + sb.blockSize - DIRENT.bytes;
    for (let at = block.at; at < end;) {
      const length = le16(scratch.view, at + DIRENT.rec_len);
      if (length < DIRENT.bytes) break;
      scratch.set(at + DIRENT.inode, 4, pick(state, sites.directories));
      at += length;
    }
    scratch.keep(block.at, sb.blockSize);
    const seed = ext4Csum.inodeSeed(sb, block.ino, ext4Inode.inodeGeneration(scratch.view, block.inode));
    ext4Csum.setDirLeafChecksum(sb, seed, scratch.bytes, scratch.view, block.at);
  }
  return "directories name only directories";
}

/** A name that no image has: whoever looks for it goes on and on, if its hash is in every entry. */
export const ABSENT_NAME: Uint8Array = new Uint8Array(NAME_MAX).fill(0xfe);

/**
 * All entries of a hash tree's nodes have one hash, and lead to one block: often a leaf that was made a node and leads to
 * itself, so that a lookup has a thousand million ways.
 */
function flatHash(subject: Subject, state: Int32Array): string {
  const { scratch, sb, sites } = subject;
  const root = sites.hashNodes.find((each) => each.root);
  const leaf = sites.dirBlocks.find(({ ino }) => ino === root?.ino);
  if (root === undefined || leaf === undefined) return "no hash tree";
  const to = nextBelow(state, 3);
  const hash = pick(state, [0, 1, 0xffffffff, nameHash(sb, sb.hashVersion, ABSENT_NAME, 0, NAME_MAX) | 1]);
  const levels = nextBelow(state, 3);
  scratch.set(root.at + DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.indirect_levels, 1, levels);
  const seed = ext4Csum.inodeSeed(sb, root.ino, ext4Inode.inodeGeneration(scratch.view, root.inode));
  const fill = (at: number, offset: number): void => {
    const limit = Math.floor((sb.blockSize - offset - (sb.metadataCsum ? DX_TAIL.bytes : 0)) / DX_ENTRY.bytes);
    for (let n = 0; n < limit; n++) {
      scratch.set(at + offset + n * DX_ENTRY.bytes + DX_ENTRY.hash, 4, hash);
      scratch.set(at + offset + n * DX_ENTRY.bytes + DX_ENTRY.block, 4, to);
    }
    scratch.set(at + offset + DX_COUNTLIMIT.limit, 2, limit);
    scratch.set(at + offset + DX_COUNTLIMIT.count, 2, limit);
    scratch.keep(at, sb.blockSize);
    ext4Csum.setDxChecksum(sb, seed, scratch.bytes, scratch.view, at, offset);
  };
  fill(root.at, DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.bytes);
  if (levels > 0) {
    scratch.set(leaf.at + DIRENT.inode, 4, 0);
    scratch.set(leaf.at + DIRENT.rec_len, 2, sb.blockSize);
    scratch.set(leaf.at + DIRENT.name_len, 2, 0);
    fill(leaf.at, DX_NODE_FAKE_BYTES);
  }
  return `the hash tree of inode ${root.ino}, ${levels} levels, leads to its block ${to} only`;
}

/** Files that claim to be as large as can be, the orphan file and the journal among them. */
function large(subject: Subject, state: Int32Array): string {
  const { sites } = subject;
  for (const { ino, at } of sites.inodes) {
    if (nextBelow(state, 4) === 0) continue;
    grow(subject, at, state);
    seal(subject, { ino, at, block: 0 });
  }
  return "most inodes are as large as can be";
}

/** All inodes have the map of one: every block is shared. */
function sameMap(subject: Subject, state: Int32Array): string {
  const { scratch, sites } = subject;
  const from = pick(state, sites.inodes);
  for (const { ino, at } of sites.inodes) {
    scratch.keep(at, INODE.i_block + I_BLOCK_BYTES);
    scratch.bytes.copyWithin(at + INODE.i_block, from.at + INODE.i_block, from.at + INODE.i_block + I_BLOCK_BYTES);
    seal(subject, { ino, at, block: 0 });
  }
  return `all inodes have the map of inode ${from.ino}`;
}

export const HOSTILE: readonly ((subject: Subject, state: Int32Array) => string)[] = [
  tower,
  manyExtents,
  maze,
  flatHash,
  large,
  sameMap,
];
