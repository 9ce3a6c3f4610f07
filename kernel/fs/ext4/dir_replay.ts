/**
 * Names put in and taken out straight on an image, as the replay of fast commits needs it. Linear: a hash tree that gets
 * a name becomes a linear directory, its inner blocks free space; so did e2fsck.
 *
 * - removeName(image, sb, ino, dir, name, target)    true when the name was there and, if `target` is not 0, named it
 * - addName(image, sb, ino, dir, name, target, type)  0, ENOSPC when no block of the directory has room
 * - makeLinear(image, sb, ino, dir)                  gives up the hash tree
 *
 * `dir` is the address of the directory's inode, which may be written.
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
import { inodeSeed, setDirLeafChecksum } from "./csum.ts";
import { endLeaf, writeEntry } from "./dir_block.ts";
import { direntBytes, entryFault, hasDirTail, recLen } from "./dir.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { dxLevels, dxNodeFault, dxRootFault } from "./htree.ts";
import { inodeFlags, inodeGeneration, inodeSizeBytes } from "./inode.ts";
import { I_BLOCK_BYTES, INODE, INODE_FLAG } from "./layout.ts";
import { DIRENT, DIRENT_TAIL, INLINE_DOTDOT_BYTES } from "./layout_dir.ts";
import type { Super } from "./super.ts";
import { inlineTail } from "./xattr.ts";

/** Where entries lie: a block of the directory, or a part of its inode (block 0). */
interface Place {
  readonly block: number;
  readonly at: number;
  readonly end: number;
}

function placesOf(image: EditBlocks, sb: Super, dir: number): Place[] {
  const { view } = image;
  if ((inodeFlags(view, dir) & INODE_FLAG.inline_data) !== 0) {
    const start = dir + INODE.i_block;
    const tail = inlineTail(view, sb, dir);
    const places: Place[] = [{ block: 0, at: start + INLINE_DOTDOT_BYTES, end: start + I_BLOCK_BYTES }];
    if (tail !== undefined && tail.length > 0) places.push({ block: 0, at: tail.at, end: tail.at + tail.length });
    return places;
  }
  const places: Place[] = [];
  const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  const count = Math.min(Math.ceil(inodeSizeBytes(sb, view, dir) / sb.blockSize), sb.blocksCount);
  for (let lblk = 0; lblk < count;) {
    if (mapBlock(image, sb, dir, lblk, mapped) !== 0) break;
    for (let n = 0; mapped.pblk > 0 && n < mapped.length && lblk + n < count; n++) {
      const at = image.at(mapped.pblk + n);
      if (at < 0) break;
      places.push({ block: mapped.pblk + n, at, end: at + sb.blockSize });
    }
    lblk += mapped.length;
  }
  return places;
}

/** Address that may be written for one in a place. */
function writableIn(image: EditBlocks, place: Place, at: number): number {
  return place.block === 0 ? at : image.writable(place.block) + at - place.at;
}

function finishBlock(image: EditBlocks, sb: Super, seed: number, place: Place): void {
  if (place.block === 0) return;
  const at = image.writable(place.block);
  if (hasDirTail(sb, image.view, at)) setDirLeafChecksum(sb, seed, image.bytes, image.view, at);
}

const seedOf = (image: EditBlocks, sb: Super, ino: number, dir: number): number =>
  inodeSeed(sb, ino, inodeGeneration(image.view, dir));

function isNamed(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  if (bytes[at + DIRENT.name_len] !== name.length) return false;
  for (let n = 0; n < name.length; n++) if (bytes[at + DIRENT.bytes + n] !== name[n]) return false;
  return true;
}

export function removeName(
  image: EditBlocks,
  sb: Super,
  ino: number,
  dir: number,
  name: Uint8Array,
  target: number,
): boolean {
  const { view, bytes } = image;
  for (const place of placesOf(image, sb, dir)) {
    let before = -1;
    for (let at = place.at; at < place.end;) {
      if (entryFault(sb, view, at, place.end) !== undefined) break;
      const length = recLen(sb, view, at);
      const found = le32(view, at + DIRENT.inode);
      if (found !== 0 && isNamed(bytes, at, name) && (target === 0 || found === target)) {
        if (before < 0) setLe32(view, writableIn(image, place, at) + DIRENT.inode, 0);
        else setLe16(view, writableIn(image, place, before) + DIRENT.rec_len, at + length - before);
        finishBlock(image, sb, seedOf(image, sb, ino, dir), place);
        return true;
      }
      before = at;
      at += length;
    }
  }
  return false;
}

export function addName(
  image: EditBlocks,
  sb: Super,
  ino: number,
  dir: number,
  name: Uint8Array,
  target: number,
  type: number,
): 0 | Errno {
  const { view } = image;
  if ((inodeFlags(view, dir) & INODE_FLAG.index) !== 0) makeLinear(image, sb, ino, dir);
  const wanted = direntBytes(name.length);
  for (const place of placesOf(image, sb, dir)) {
    for (let at = place.at; at < place.end;) {
      if (entryFault(sb, view, at, place.end) !== undefined) break;
      const length = recLen(sb, view, at);
      const inUse = le32(view, at + DIRENT.inode) !== 0;
      const isTail =
        !inUse && place.block !== 0 && at === place.end - DIRENT_TAIL.bytes && hasDirTail(sb, view, place.at);
      const kept = inUse ? direntBytes(image.bytes[at + DIRENT.name_len]!) : 0;
      if (!isTail && length - kept >= wanted) {
        const to = writableIn(image, place, at);
        if (inUse) setLe16(view, to + DIRENT.rec_len, kept);
        writeEntry(image, sb, to + kept, length - kept, name, target, type);
        finishBlock(image, sb, seedOf(image, sb, ino, dir), place);
        return 0;
      }
      at += length;
    }
  }
  return ENOSPC;
}

export function makeLinear(image: EditBlocks, sb: Super, ino: number, dir: number): void {
  const { view } = image;
  const seed = seedOf(image, sb, ino, dir);
  const places = placesOf(image, sb, dir);
  const root = places[0];
  setLe32(view, dir + INODE.i_flags, inodeFlags(view, dir) & ~INODE_FLAG.index);
  if (root === undefined || dxRootFault(sb, view, root.at) !== undefined) return;
  const hasNodes = dxLevels(view, root.at) > 0;
  endLeaf(image, sb, seed, image.writable(root.block), direntBytes(1));
  for (const place of places.slice(1)) {
    // An inner node is one unused entry over the whole block, with a count that can be.
    if (!hasNodes || recLen(sb, view, place.at) !== sb.blockSize || dxNodeFault(sb, view, place.at) !== undefined)
      continue;
    endLeaf(image, sb, seed, image.writable(place.block), 0);
  }
}
