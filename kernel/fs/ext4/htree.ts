/**
 * Hash trees of directories, reading. layout_dir.ts draws them.
 *
 * - dxRootFault, dxNodeFault       what is wrong with an inner block
 * - dxCountOffset(root)            where limit and count lie in it
 * - htreeLookup(...)               the leaves that may hold a name, in order
 * - walkLeaves(...)                the leaves from a hash on, in order
 * - lastBefore(...)                the entry of a node that a hash belongs to
 */
import { le16, le32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { nameHash } from "./hash.ts";
import { inodeSizeBytes } from "./inode.ts";
import { INCOMPAT } from "./layout.ts";
import {
  DIRENT,
  DX_COUNTLIMIT,
  DX_ENTRY,
  DX_HASH_TEA,
  DX_LEVELS_LARGE_MAX,
  DX_LEVELS_MAX,
  DX_NODE_FAKE_BYTES,
  DX_ROOT_INFO,
  DX_ROOT_INFO_OFFSET,
  DX_TAIL,
} from "./layout_dir.ts";
import type { Super } from "./super.ts";

export const dxCountOffset = (root: boolean): number =>
  root ? DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.bytes : DX_NODE_FAKE_BYTES;

/** Entries that fit. */
export const dxLimit = (sb: Super, root: boolean): number =>
  Math.floor((sb.blockSize - dxCountOffset(root) - (sb.metadataCsum ? DX_TAIL.bytes : 0)) / DX_ENTRY.bytes);

export const dxCount = (view: DataView, at: number, root: boolean): number =>
  le16(view, at + dxCountOffset(root) + DX_COUNTLIMIT.count);

export const dxLevels = (view: DataView, at: number): number =>
  view.getUint8(at + DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.indirect_levels);

export const dxHashVersion = (view: DataView, at: number): number =>
  view.getUint8(at + DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.hash_version);

/** Hash of an entry; that of the first one is 0, its place is taken. */
export const dxHash = (view: DataView, at: number, root: boolean, n: number): number =>
  n === 0 ? 0 : le32(view, at + dxCountOffset(root) + n * DX_ENTRY.bytes + DX_ENTRY.hash);

/** The upper bits of a block number are unused. */
export const dxBlock = (view: DataView, at: number, root: boolean, n: number): number =>
  le32(view, at + dxCountOffset(root) + n * DX_ENTRY.bytes + DX_ENTRY.block) & 0x0fffffff;

function countFault(sb: Super, view: DataView, at: number, root: boolean): string | undefined {
  const limit = le16(view, at + dxCountOffset(root) + DX_COUNTLIMIT.limit);
  const count = dxCount(view, at, root);
  if (limit !== dxLimit(sb, root)) return "the limit of an htree node is wrong";
  if (count === 0 || count > limit) return "the count of an htree node is out of range";
  return undefined;
}

export function dxRootFault(sb: Super, view: DataView, at: number): string | undefined {
  const info = at + DX_ROOT_INFO_OFFSET;
  if (le32(view, info + DX_ROOT_INFO.reserved_zero) !== 0) return "dx_root_info starts with a number";
  if (dxHashVersion(view, at) > DX_HASH_TEA) return "hash_version is unknown";
  if (view.getUint8(info + DX_ROOT_INFO.info_length) !== DX_ROOT_INFO.bytes) return "info_length is wrong";
  if ((view.getUint8(info + DX_ROOT_INFO.unused_flags) & 1) !== 0) return "unused_flags is set";
  const most = (sb.incompat & INCOMPAT.large_dir) !== 0 ? DX_LEVELS_LARGE_MAX : DX_LEVELS_MAX;
  if (dxLevels(view, at) > most) return "indirect_levels is too large";
  return countFault(sb, view, at, true);
}

export function dxNodeFault(sb: Super, view: DataView, at: number): string | undefined {
  if (le32(view, at + DIRENT.inode) !== 0) return "an htree node starts with an entry in use";
  return countFault(sb, view, at, false);
}

/** The hash after the last leaf. */
export const HASHES_END = 2 ** 32;

/**
 * Gives `leaf` the address and the number of each leaf block that may hold the name, until it returns true. False: the
 * tree cannot be used, or the name is not looked up by hash.
 */
export function htreeLookup(
  blocks: Blocks,
  sb: Super,
  dir: number,
  name: Uint8Array,
  leaf: (at: number, block: number) => boolean,
): boolean {
  if (name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))) return false;
  const version = htreeVersion(blocks, sb, dir);
  if (version < 0) return false;
  const hash = nameHash(sb, version, name, 0, name.length);
  // The next leaf goes on with the same hash when its own entry says so by its lowest bit.
  return walkLeaves(blocks, sb, dir, hash, (at, block, next) => !leaf(at, block) && next === hash + 1);
}

/** hash_version of a directory's tree, -1 when its root cannot be used. */
export function htreeVersion(blocks: Blocks, sb: Super, dir: number): number {
  const root = mapBlock(blocks, sb, dir, 0, mapped) === 0 && mapped.pblk > 0 ? blocks.at(mapped.pblk) : -1;
  return root < 0 || dxRootFault(sb, blocks.view, root) !== undefined ? -1 : dxHashVersion(blocks.view, root);
}
const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };

/**
 * The leaves from the one of a hash on, in the order of hashes, until `leaf` returns false. `next` is the hash of the leaf
 * that follows as its entry has it, HASHES_END after the last one. False: the tree cannot be used.
 */
export function walkLeaves(
  blocks: Blocks,
  sb: Super,
  dir: number,
  hash: number,
  leaf: (at: number, block: number, next: number) => boolean,
): boolean {
  const { view } = blocks;
  const blockAt = (lblk: number): number =>
    mapBlock(blocks, sb, dir, lblk, mapped) === 0 && mapped.pblk > 0 ? blocks.at(mapped.pblk) : -1;
  const root = blockAt(0);
  if (root < 0 || dxRootFault(sb, view, root) !== undefined) return false;
  const levels = dxLevels(view, root);
  /** Path from the root: node addresses and entries. */
  const nodes = [root];
  const entries = [lastBefore(view, root, true, hash)];
  for (let level = 0; level < levels; level++) {
    const node = blockAt(dxBlock(view, nodes[level]!, level === 0, entries[level]!));
    if (node < 0 || dxNodeFault(sb, view, node) !== undefined) return false;
    nodes.push(node);
    entries.push(lastBefore(view, node, false, hash));
  }
  // Entries that all have the name's hash and lead to one block would be followed for minutes: a leaf has one entry.
  for (let left = Math.min(inodeSizeBytes(sb, view, dir) / sb.blockSize, sb.blocksCount); left > 0; left--) {
    const block = blockAt(dxBlock(view, nodes[levels]!, levels === 0, entries[levels]!));
    if (block < 0) return false;
    const pblk = mapped.pblk;
    let level = levels;
    while (level >= 0 && entries[level]! + 1 >= dxCount(view, nodes[level]!, level === 0)) level--;
    const next = level < 0 ? HASHES_END : dxHash(view, nodes[level]!, level === 0, entries[level]! + 1);
    if (!leaf(block, pblk, next) || level < 0) return true;
    entries[level]!++;
    for (; level < levels; level++) {
      const node = blockAt(dxBlock(view, nodes[level]!, level === 0, entries[level]!));
      if (node < 0 || dxNodeFault(sb, view, node) !== undefined) return false;
      nodes[level + 1] = node;
      entries[level + 1] = 0;
    }
  }
  return false;
}

/** Last entry whose hash is not above the given one; the first one stands for 0. */
export function lastBefore(view: DataView, at: number, root: boolean, hash: number): number {
  let low = 1;
  let high = dxCount(view, at, root) - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (dxHash(view, at, root, middle) > hash) high = middle - 1;
    else low = middle + 1;
  }
  return low - 1;
}
