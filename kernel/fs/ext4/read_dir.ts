/**
 * Directories for readdir(2): entries with cookies that stay what they are while other names come and go. "." and ".."
 * are first, at 0 and 1 or at their offsets.
 *
 * - readDir(..., dir, cookie, emit)    entries from a cookie on; the cookie to go on with, EOF_COOKIE after the last
 *
 *   in the order of hashes    2 + (hash >> 1) * 2^22 + 22 bits that tell names of one hash apart
 *   in the order of places    the offset in the directory; of an inline one, where the entry would be in its first block
 *
 * With dir_index all directories that have a hash tree, or could get one with their next name (one block, inline), are
 * read by hash, as in Linux: so a cookie outlives the directory's growth, and the splits of its leaves. Others are
 * read by place: their entries never move.
 *
 * Two names of one cookie (about one pair in 2^53) may be told twice, when the reader stops between them; none is lost.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import type { Blocks } from "../blocks.ts";
import { EOF_COOKIE } from "../vfs/file_system.ts";
import type { EmitEntry } from "../vfs/file_system.ts";
import { FILE_TYPES, direntBytes, entryFault, inlineParent, recLen } from "./dir.ts";
import { entryIno, entryNameLength, isDots } from "./dir_block.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { nameHash } from "./hash.ts";
import { HASHES_END, htreeVersion, walkLeaves } from "./htree.ts";
import { inlineRegions } from "./inline_dir.ts";
import type { Region } from "./inline_dir.ts";
import { isInline } from "./inline.ts";
import { inodeFlags, inodeSizeBytes } from "./inode.ts";
import { COMPAT, INODE_FLAG } from "./layout.ts";
import { DIRENT } from "./layout_dir.ts";
import { parentOf } from "./path.ts";
import type { Super } from "./super.ts";

const DOT = Uint8Array.of(0x2e);
const DOTDOT = Uint8Array.of(0x2e, 0x2e);
const DOTDOT_COOKIE = 1;
const NAMES_COOKIE = 2;
const APART = 2 ** 22;
const DT_DIR = 4;
const INLINE_FIRST = direntBytes(1) + direntBytes(2);

/** file_type -> d_type, which is a mode's type in its own bits. */
const D_TYPES = new Uint8Array(256);
for (const [mode, type] of Object.entries(FILE_TYPES)) D_TYPES[type] = Number(mode) >> 12;

const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };

export function readDir(blocks: Blocks, sb: Super, dir: number, cookie: number, emit: EmitEntry): number | Errno {
  const inode = inodeAt(blocks, sb, dir);
  if (inode < 0) return EFSCORRUPTED;
  if (cookie >= EOF_COOKIE) return EOF_COOKIE;
  const version = hashedBy(blocks, sb, inode);
  return version < 0
    ? readByPlace(blocks, sb, dir, inode, cookie, emit)
    : readByHash(blocks, sb, dir, inode, version, cookie, emit);
}

/** The version of the hash that orders a directory, -1 for one that is read by place. */
function hashedBy(blocks: Blocks, sb: Super, inode: number): number {
  const { view } = blocks;
  if ((sb.compat & COMPAT.dir_index) === 0) return -1;
  if ((inodeFlags(view, inode) & INODE_FLAG.index) !== 0) return htreeVersion(blocks, sb, inode);
  return isInline(view, inode) || inodeSizeBytes(sb, view, inode) === sb.blockSize ? sb.hashVersion : -1;
}

/** FNV-1a, or another hash that has nothing to do with the directory's own. */
function tellApart(bytes: Uint8Array, at: number, length: number): number {
  let hash = 0x811c9dc5;
  for (let n = at; n < at + length; n++) hash = Math.imul(hash ^ bytes[n]!, 0x01000193);
  return (hash ^ (hash >>> 22)) & (APART - 1);
}

const hashCookie = (hash: number): number => NAMES_COOKIE + (hash >>> 1) * APART;

/** Entries of some leaves that are told together, in the order of their cookies. */
class Batch {
  readonly #found: { readonly cookie: number; readonly at: number }[] = [];
  readonly #blocks: Blocks;
  readonly #sb: Super;
  readonly #version: number;
  readonly #from: number;

  constructor(blocks: Blocks, sb: Super, version: number, from: number) {
    this.#blocks = blocks;
    this.#sb = sb;
    this.#version = version;
    this.#from = from;
  }

  gather({ from, end }: Region): void {
    const { view, bytes } = this.#blocks;
    for (
      let at = from;
      at < end && entryFault(this.#sb, view, at, end) === undefined;
      at += recLen(this.#sb, view, at)
    ) {
      if (entryIno(view, at) === 0) continue;
      const [name, length] = [at + DIRENT.bytes, entryNameLength(view, at)];
      if (isDots(bytes.subarray(name, name + length))) continue;
      const hash = nameHash(this.#sb, this.#version, bytes, name, length);
      const cookie = hashCookie(hash) + tellApart(bytes, name, length);
      if (cookie >= this.#from) this.#found.push({ cookie, at });
    }
  }

  /** The cookie of the entry that found no room, or `after`: what follows the last one. */
  tell(emit: EmitEntry, after: number): number {
    const found = this.#found.sort((one, other) => one.cookie - other.cookie || one.at - other.at);
    for (const [n, { cookie, at }] of found.entries())
      if (!tellEntry(this.#blocks, at, found[n + 1]?.cookie ?? after, emit)) return cookie;
    found.length = 0;
    return after;
  }
}

function tellEntry({ view, bytes }: Blocks, at: number, next: number, emit: EmitEntry): boolean {
  const name = at + DIRENT.bytes;
  const type = D_TYPES[view.getUint8(at + DIRENT.file_type)]!;
  return emit(bytes.subarray(name, name + entryNameLength(view, at)), entryIno(view, at), type, next);
}

function readByHash(
  blocks: Blocks,
  sb: Super,
  dir: number,
  inode: number,
  version: number,
  cookie: number,
  emit: EmitEntry,
): number | Errno {
  if (cookie === 0 && !emit(DOT, dir, DT_DIR, DOTDOT_COOKIE)) return 0;
  if (cookie <= DOTDOT_COOKIE) {
    const parent = parentOf(blocks, sb, dir);
    if (parent < 0) return parent;
    if (!emit(DOTDOT, parent, DT_DIR, NAMES_COOKIE)) return DOTDOT_COOKIE;
  }
  const batch = new Batch(blocks, sb, version, Math.max(cookie, NAMES_COOKIE));
  if ((inodeFlags(blocks.view, inode) & INODE_FLAG.index) === 0) {
    for (const region of regionsOf(blocks, sb, inode)) batch.gather(region);
    return batch.tell(emit, EOF_COOKIE);
  }
  const hash = Math.floor((Math.max(cookie, NAMES_COOKIE) - NAMES_COOKIE) / APART) * 2;
  let result: number = EOF_COOKIE;
  const usable = walkLeaves(blocks, sb, inode, hash, (at, _block, next) => {
    batch.gather({ from: at, end: at + sb.blockSize });
    // Leaves that share a hash are told as one.
    if ((next & 1) !== 0) return true;
    const after = next === HASHES_END ? EOF_COOKIE : hashCookie(next);
    result = batch.tell(emit, after);
    return result === after;
  });
  return usable ? result : EFSCORRUPTED;
}

/** All of a directory without a tree that is inline or has one block. */
function regionsOf(blocks: Blocks, sb: Super, inode: number): Region[] {
  if (isInline(blocks.view, inode)) return inlineRegions(blocks.view, sb, inode);
  if (mapBlock(blocks, sb, inode, 0, mapped) !== 0 || mapped.pblk === 0) return [];
  const from = blocks.at(mapped.pblk);
  return [{ from, end: from + sb.blockSize }];
}

/** Offset of an entry of a region, and what is told from `cookie` on; where it ended. */
function tellRegion(
  blocks: Blocks,
  sb: Super,
  { from, end }: Region,
  offset: number,
  cookie: number,
  emit: EmitEntry,
): number {
  const { view } = blocks;
  for (let at = from; at < end && entryFault(sb, view, at, end) === undefined; at += recLen(sb, view, at)) {
    const place = offset + at - from;
    if (place < cookie || entryIno(view, at) === 0) continue;
    if (!tellEntry(blocks, at, place + recLen(sb, view, at), emit)) return place;
  }
  return offset + end - from;
}

function readByPlace(
  blocks: Blocks,
  sb: Super,
  dir: number,
  inode: number,
  cookie: number,
  emit: EmitEntry,
): number | Errno {
  if (isInline(blocks.view, inode)) return readInlineByPlace(blocks, sb, dir, inode, cookie, emit);
  const size = inodeSizeBytes(sb, blocks.view, inode);
  for (let offset = Math.floor(cookie / sb.blockSize) * sb.blockSize; offset < size; offset += sb.blockSize) {
    const fault = mapBlock(blocks, sb, inode, offset / sb.blockSize, mapped);
    if (fault !== 0) return fault;
    if (mapped.pblk === 0) continue;
    const from = blocks.at(mapped.pblk);
    const reached = tellRegion(blocks, sb, { from, end: from + sb.blockSize }, offset, cookie, emit);
    if (reached < offset + sb.blockSize) return reached;
  }
  return EOF_COOKIE;
}

function readInlineByPlace(
  blocks: Blocks,
  sb: Super,
  dir: number,
  inode: number,
  cookie: number,
  emit: EmitEntry,
): number | Errno {
  const second = direntBytes(1);
  if (cookie === 0 && !emit(DOT, dir, DT_DIR, second)) return 0;
  if (cookie <= second && !emit(DOTDOT, inlineParent(blocks.view, inode), DT_DIR, INLINE_FIRST)) return second;
  let offset = INLINE_FIRST;
  for (const region of inlineRegions(blocks.view, sb, inode)) {
    const end = offset + region.end - region.from;
    const reached = tellRegion(blocks, sb, region, offset, cookie, emit);
    if (reached < end) return reached;
    offset = end;
  }
  return EOF_COOKIE;
}
