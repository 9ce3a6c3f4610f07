/**
 * The bytes of a file, however they are kept: extents, block map, inline, or a symbolic link's own place.
 *
 * - mapBlock(...)                where a block of the file lies
 * - walkMap(...)                 all of the map, told to a visitor
 * - readFile(..., from, into)    bytes from an offset on; holes, unwritten extents read as zeroes. Returns how many
 * - readLink(...)                the target of a symbolic link
 */
import { EFSCORRUPTED, EINVAL } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { MAP_BLOCKS_MAX, mapExtent, walkExtents } from "./extent.ts";
import type { Mapped, MapVisitor } from "./extent.ts";
import { mapIndirect, walkIndirect } from "./indirect.ts";
import { inodeFlags, inodeSizeBytes, inodeType, isFastSymlink } from "./inode.ts";
import { I_BLOCK_BYTES, INODE, INODE_FLAG, S_IFLNK } from "./layout.ts";
import type { Super } from "./super.ts";
import { inlineTail } from "./xattr.ts";

export function mapBlock(blocks: Blocks, sb: Super, inode: number, lblk: number, out: Mapped): 0 | Errno {
  if (lblk > MAP_BLOCKS_MAX) {
    out.pblk = 0;
    out.length = MAP_BLOCKS_MAX;
    out.unwritten = false;
    return 0;
  }
  return (inodeFlags(blocks.view, inode) & INODE_FLAG.extents) !== 0
    ? mapExtent(blocks, sb, inode, lblk, out)
    : mapIndirect(blocks, sb, inode, lblk, out);
}

export function walkMap(blocks: Blocks, sb: Super, inode: number, visitor: MapVisitor): void {
  if ((inodeFlags(blocks.view, inode) & INODE_FLAG.extents) !== 0) walkExtents(blocks, sb, inode, visitor);
  else walkIndirect(blocks, sb, inode, visitor);
}

/** Bytes read: `into.length`, fewer at the end of the file. */
export function readFile(blocks: Blocks, sb: Super, inode: number, from: number, into: Uint8Array): number | Errno {
  const size = inodeSizeBytes(sb, blocks.view, inode);
  const wanted = Math.max(0, Math.min(into.length, size - from));
  if ((inodeFlags(blocks.view, inode) & INODE_FLAG.inline_data) !== 0)
    return readInline(blocks, sb, inode, from, into, wanted);
  if (isFastSymlink(sb, blocks.view, inode)) {
    const start = inode + INODE.i_block + from;
    into.set(blocks.bytes.subarray(start, start + wanted));
    return wanted;
  }
  const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  let done = 0;
  while (done < wanted) {
    const lblk = Math.floor((from + done) / sb.blockSize);
    const fault = mapBlock(blocks, sb, inode, lblk, mapped);
    if (fault !== 0) return fault;
    const inBlock = (from + done) % sb.blockSize;
    if (mapped.pblk === 0 || mapped.unwritten) {
      const length = Math.min(wanted - done, mapped.length * sb.blockSize - inBlock);
      into.fill(0, done, done + length);
      done += length;
      continue;
    }
    for (let n = 0; n < mapped.length && done < wanted; n++) {
      const start = n === 0 ? inBlock : 0;
      const length = Math.min(wanted - done, sb.blockSize - start);
      const at = blocks.at(mapped.pblk + n);
      if (at < 0) return EFSCORRUPTED;
      into.set(blocks.bytes.subarray(at + start, at + start + length), done);
      done += length;
    }
  }
  return done;
}

function readInline(
  blocks: Blocks,
  sb: Super,
  inode: number,
  from: number,
  into: Uint8Array,
  wanted: number,
): number | Errno {
  const tail = inlineTail(blocks.view, sb, inode);
  const have = I_BLOCK_BYTES + (tail === undefined ? 0 : tail.length);
  if (from + wanted > have) return EFSCORRUPTED;
  for (let n = 0; n < wanted; n++) {
    const offset = from + n;
    const at =
      offset < I_BLOCK_BYTES
        ? inode + INODE.i_block + offset
        : (tail === undefined ? 0 : tail.at) + offset - I_BLOCK_BYTES;
    into[n] = blocks.bytes[at]!;
  }
  return wanted;
}

/** Longest target, as PATH_MAX has it. */
export const LINK_TARGET_MAX = 4096;

export function readLink(blocks: Blocks, sb: Super, inode: number): Uint8Array | Errno {
  if (inodeType(blocks.view, inode) !== S_IFLNK) return EINVAL;
  const size = le32(blocks.view, inode + INODE.i_size_lo);
  if (size === 0 || size > LINK_TARGET_MAX) return EFSCORRUPTED;
  const target = new Uint8Array(size);
  const got = readFile(blocks, sb, inode, 0, target);
  if (got < 0) return got as Errno;
  return got === size ? target : EFSCORRUPTED;
}
