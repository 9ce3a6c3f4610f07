/**
 * One block of directory entries, or a piece of an inode that holds some, writing. Addresses are such that may be written.
 *
 * - findIn(..., name, spot)    the entry of a name between two addresses
 * - findRoom(..., wanted)      an entry that has so many bytes to spare, or NO_ROOM; putEntry() puts the new one there
 * - takeEntry(..., before)     takes an entry out: its space goes to the one before it, and is wiped
 * - writeEntry, endLeaf        an entry by itself; the end of a block that is written as a whole
 * - sealLeaf                   the checksum
 * - initDirBlock(...)          the first block of a directory, or an empty further one
 */
import { le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { Blocks, EditBlocks } from "../blocks.ts";
import { setDirLeafChecksum } from "./csum.ts";
import { direntBytes, entryFault, recLen } from "./dir.ts";
import { INCOMPAT } from "./layout.ts";
import { DIRENT, DIRENT_TAIL, DIRENT_TAIL_FT, FT_DIR, FT_UNKNOWN } from "./layout_dir.ts";
import type { Super } from "./super.ts";

const DOT = 0x2e;

/** Offset at which the entries of a block end. */
export const leafEnd = (sb: Super): number => sb.blockSize - (sb.metadataCsum ? DIRENT_TAIL.bytes : 0);

/** See recLen() for blocks of 64 KiB. */
export function setRecLen(sb: Super, view: DataView, at: number, length: number): void {
  setLe16(view, at + DIRENT.rec_len, length === 0x10000 && sb.blockSize === 0x10000 ? 0xffff : length);
}

/** What a file system without the feature filetype keeps in its place. */
export const typeKept = (sb: Super, type: number): number =>
  (sb.incompat & INCOMPAT.filetype) !== 0 ? type : FT_UNKNOWN;

export function writeEntry(
  blocks: EditBlocks,
  sb: Super,
  at: number,
  length: number,
  name: Uint8Array,
  ino: number,
  type: number,
): void {
  setLe32(blocks.view, at + DIRENT.inode, ino);
  setRecLen(sb, blocks.view, at, length);
  blocks.bytes[at + DIRENT.name_len] = name.length;
  blocks.bytes[at + DIRENT.file_type] = type;
  blocks.bytes.set(name, at + DIRENT.bytes);
}

/** Where an entry was found: addresses, `before` is -1 for the first one. */
export interface Found {
  at: number;
  before: number;
}

/** Reads up to what is wrong. */
export function findIn(blocks: Blocks, sb: Super, from: number, end: number, name: Uint8Array, found: Found): boolean {
  const { view, bytes } = blocks;
  let before = -1;
  for (let at = from; at < end && entryFault(sb, view, at, end) === undefined; at += recLen(sb, view, at)) {
    if (le32(view, at + DIRENT.inode) !== 0 && isNamed(bytes, at, name)) {
      found.at = at;
      found.before = before;
      return true;
    }
    before = at;
  }
  return false;
}

function isNamed(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  if (bytes[at + DIRENT.name_len] !== name.length) return false;
  for (let n = 0; n < name.length; n++) if (bytes[at + DIRENT.bytes + n] !== name[n]) return false;
  return true;
}

export const NO_ROOM = -1;
export const DAMAGED = -2;

/** Address of the entry, NO_ROOM, or DAMAGED. */
export function findRoom(sb: Super, view: DataView, from: number, end: number, wanted: number): number {
  for (let at = from; at < end; at += recLen(sb, view, at)) {
    if (entryFault(sb, view, at, end) !== undefined) return DAMAGED;
    if (recLen(sb, view, at) - usedBytes(view, at) >= wanted) return at;
  }
  return NO_ROOM;
}

/** Bytes of rec_len that an entry needs itself: none when it is unused. */
const usedBytes = (view: DataView, at: number): number =>
  le32(view, at + DIRENT.inode) === 0 ? 0 : direntBytes(view.getUint8(at + DIRENT.name_len));

export function putEntry(blocks: EditBlocks, sb: Super, at: number, name: Uint8Array, ino: number, type: number): void {
  const { view } = blocks;
  const kept = usedBytes(view, at);
  const length = recLen(sb, view, at) - kept;
  if (kept > 0) setRecLen(sb, view, at, kept);
  writeEntry(blocks, sb, at + kept, length, name, ino, type);
}

export function takeEntry(blocks: EditBlocks, sb: Super, { at, before }: Readonly<Found>): void {
  const { view, bytes } = blocks;
  const length = recLen(sb, view, at);
  if (before >= 0) {
    setRecLen(sb, view, before, recLen(sb, view, before) + length);
    bytes.fill(0, at, at + length);
    return;
  }
  setLe32(view, at + DIRENT.inode, 0);
  bytes.fill(0, at + DIRENT.name_len, at + length);
}

export function sealLeaf(blocks: EditBlocks, sb: Super, seed: number, at: number): void {
  setDirLeafChecksum(sb, seed, blocks.bytes, blocks.view, at);
}

/** The block's last entry starts at `offset` and reaches to the end, or to the tail that is put there. */
export function endLeaf(blocks: EditBlocks, sb: Super, seed: number, at: number, offset: number): void {
  setRecLen(sb, blocks.view, at + offset, leafEnd(sb) - offset);
  if (sb.metadataCsum) {
    const tail = at + leafEnd(sb);
    blocks.bytes.fill(0, tail, tail + DIRENT_TAIL.bytes);
    setLe16(blocks.view, tail + DIRENT_TAIL.det_rec_len, DIRENT_TAIL.bytes);
    blocks.bytes[tail + DIRENT_TAIL.det_reserved_ft] = DIRENT_TAIL_FT;
  }
  sealLeaf(blocks, sb, seed, at);
}

/** `ino` 0: no "." and "..". `seed` is inodeSeed() of the directory. */
export function initDirBlock(
  blocks: EditBlocks,
  sb: Super,
  seed: number,
  block: number,
  ino: number,
  parent: number,
): void {
  const at = blocks.fresh(block);
  if (ino === 0) return endLeaf(blocks, sb, seed, at, 0);
  const type = typeKept(sb, FT_DIR);
  writeEntry(blocks, sb, at, direntBytes(1), Uint8Array.of(DOT), ino, type);
  writeEntry(blocks, sb, at + direntBytes(1), 0, Uint8Array.of(DOT, DOT), parent, type);
  endLeaf(blocks, sb, seed, at, direntBytes(1));
}

/** Address of the last of the entries between two addresses. */
export function lastEntry(sb: Super, view: DataView, from: number, end: number): number {
  let last = from;
  while (last + recLen(sb, view, last) < end) last += recLen(sb, view, last);
  return last;
}

/** Whether a name is "." or "..". */
export const isDots = (name: Uint8Array): boolean =>
  name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));

export const entryIno = (view: DataView, at: number): number => le32(view, at + DIRENT.inode);
export const entryNameLength = (view: DataView, at: number): number => view.getUint8(at + DIRENT.name_len);
