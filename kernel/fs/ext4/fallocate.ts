/**
 * fallocate: room for a range, a hole in it, or zeroes. Whole blocks are done by the map: they become unwritten, or go;
 * the bytes at both ends of a hole or of zeroes are written as such.
 *
 * - fallocateData(fs, ino, mode, offset, length, call)
 *
 *   call   0: phase 0 begins, 1 dirty pages of the range are written, 2 the map is worked on
 *          1: the page cache's ticket        2: next block
 *
 * Modes: 0, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE with or without FALLOC_KEEP_SIZE.
 */
import { EFBIG, EINVAL, EIOCBQUEUED, EOPNOTSUPP, EPERM, isErr } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "../vfs/file_system.ts";
import { openPages, readCall, runCall } from "./call.ts";
import { mapBlock } from "./file.ts";
import { leaveInode } from "./file_inline.ts";
import { zeroJournalled } from "./file_journalled.ts";
import { coverTail, markBlock, NO_TAIL } from "./file_pages.ts";
import { isJournalled } from "./file_read.ts";
import { finishWork } from "./file_work.ts";
import { fileFlags, flagsHave, sizeMax } from "./file_write.ts";
import { inodeAt } from "./group.ts";
import { NO_MAPPING, WORK } from "./icache.ts";
import { inodeFlags, inodeSizeBytes } from "./inode.ts";
import { editInode, setInodeSize, touch, TOUCH_CTIME, TOUCH_MTIME } from "./inode_edit.ts";
import { INODE_FLAG } from "./layout.ts";
import { ALLOC_DATA } from "./balloc.ts";
import { createCredits, mapCreate, MAP_UNWRITTEN } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { CallEdit, Mounted } from "./mounted.ts";
import { mappingOf, rowOf } from "./rows.ts";
import { noteWait } from "./waits.ts";

const KNOWN = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE;
const CREDITS = 6;
const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

/** What is dirty in the range gets its place: 0, EIOCBQUEUED. */
function writeRange(fs: Mounted, row: number, offset: number, length: number, ticket: number): number {
  const mapping = fs.inodes.mapping[row]!;
  if (mapping === NO_MAPPING) return 0;
  const last = Math.floor((offset + length - 1) / PAGE_SIZE);
  const written = fs.cache.sync(mapping as Mapping, ticket, Math.floor(offset / PAGE_SIZE), last);
  return written === EIOCBQUEUED ? noteWait(fs, WAIT_WRITEBACK) : written;
}

/** The file reaches at least to `size`, within a call. The block to be marked, NO_TAIL, or an errno. */
function extend(fs: Mounted, edit: CallEdit, row: number, size: number): number {
  const ino = fs.inodes.ino[row]!;
  if (size <= fs.inodes.size[row]!) return NO_TAIL;
  const tail = isJournalled(fs, editInode(edit, ino)) ? NO_TAIL : coverTail(fs, edit, row);
  if (tail < NO_TAIL) return tail;
  if (inodeSizeBytes(fs.sb, edit.blocks.view, editInode(edit, ino)) < size) setInodeSize(edit, ino, size);
  return tail;
}

function extended(fs: Mounted, row: number, size: number, tail: number): void {
  const { inodes } = fs;
  if (tail !== NO_TAIL) markBlock(fs, row, tail);
  inodes.size[row] = Math.max(inodes.size[row]!, size);
  inodes.tid[row] = fs.journal.tid;
  inodes.dataTid[row] = fs.journal.tid;
}

/** Unwritten blocks for the first hole from `lblk` on. The block reached, or an errno. */
function fillHole(fs: Mounted, row: number, lblk: number, end: number, size: number): number {
  const { inodes, sb, mapped } = fs;
  const ino = inodes.ino[row]!;
  const credits = readCall(fs, (edit) => createCredits(edit, ino));
  if (credits < 0) return credits;
  return runCall(fs, credits + CREDITS, (edit) => {
    openPages(fs);
    const fault = mapBlock(edit.blocks, sb, editInode(edit, ino), lblk, mapped);
    if (fault !== 0) return fault;
    let reached = Math.min(end, lblk + mapped.length);
    if (mapped.pblk === 0) {
      const error = mapCreate(edit, ino, lblk, reached - lblk, ALLOC_DATA | MAP_UNWRITTEN, created);
      if (error !== 0) return error;
      reached = Math.min(reached, lblk + created.length);
    }
    const to = Math.min(size, reached * sb.blockSize);
    const tail = extend(fs, edit, row, to);
    if (tail < NO_TAIL) return tail;
    touch(edit, ino, TOUCH_CTIME);
    edit.groups.finish();
    extended(fs, row, to, tail);
    return reached;
  });
}

function allocateRange(
  fs: Mounted,
  row: number,
  offset: number,
  length: number,
  keep: boolean,
  call: Float64Array,
): number {
  const { sb } = fs;
  const end = Math.ceil((offset + length) / sb.blockSize);
  if (call[0] === 1) {
    call[0] = 2;
    call[2] = Math.floor(offset / sb.blockSize);
  }
  while (call[2]! < end) {
    const reached = fillHole(fs, row, call[2]!, end, keep ? 0 : offset + length);
    if (reached < 0) return reached;
    call[2] = reached;
  }
  return 0;
}

/** Bytes from..to, within one block, become zeroes. The block to be marked, NO_TAIL, or an errno. */
function zeroBytes(fs: Mounted, edit: CallEdit, row: number, from: number, to: number): number {
  const { inodes, sb, cache, mapped } = fs;
  const stop = Math.min(to, inodes.size[row]!);
  if (from >= stop) return NO_TAIL;
  const inode = editInode(edit, inodes.ino[row]!);
  if (isJournalled(fs, inode)) {
    const zeroed = zeroJournalled(fs, edit, row, from, stop);
    return zeroed === 0 ? NO_TAIL : zeroed;
  }
  const block = Math.floor(from / sb.blockSize);
  const fault = mapBlock(edit.blocks, sb, inode, block, mapped);
  if (fault !== 0) return fault;
  const index = Math.floor(from / PAGE_SIZE);
  const hasPlace = mapped.pblk > 0 && !mapped.unwritten;
  const slot = cache.edit(inodes.mapping[row]! as Mapping, index);
  if (isErr(slot)) return slot;
  cache.stage(slot).fill(0, from - index * PAGE_SIZE, stop - index * PAGE_SIZE);
  return hasPlace ? block : NO_TAIL;
}

/** Cached bytes of pages that stay though whole blocks of them go. */
function zeroCached(fs: Mounted, row: number, from: number, to: number): number {
  const { inodes, cache } = fs;
  const mapping = inodes.mapping[row]! as Mapping;
  const size = inodes.size[row]!;
  const firstWhole = Math.ceil(from / PAGE_SIZE);
  const lastWhole = Math.floor(to / PAGE_SIZE);
  const edge = (begin: number, end: number): number => {
    const stop = Math.min(end, size);
    if (begin >= stop) return 0;
    const index = Math.floor(begin / PAGE_SIZE);
    const slot = cache.edit(mapping, index);
    if (isErr(slot)) return slot;
    cache.stage(slot).fill(0, begin - index * PAGE_SIZE, stop - index * PAGE_SIZE);
    return 0;
  };
  if (firstWhole > lastWhole) return edge(from, to);
  const before = from < firstWhole * PAGE_SIZE ? edge(from, firstWhole * PAGE_SIZE) : 0;
  if (before !== 0) return before;
  return to > lastWhole * PAGE_SIZE ? edge(lastWhole * PAGE_SIZE, to) : 0;
}

/** The ends of the range are zeroed, and its whole blocks become work. */
function beginRange(fs: Mounted, row: number, offset: number, length: number, zero: boolean, grow: number): number {
  const { inodes, sb } = fs;
  const ino = inodes.ino[row]!;
  const end = offset + length;
  const first = Math.ceil(offset / sb.blockSize);
  // Behind the end of the file the last block is given back as a whole.
  const last = Math.floor(
    (end >= inodes.size[row]! && !zero ? Math.ceil(end / sb.blockSize) * sb.blockSize : end) / sb.blockSize,
  );
  return runCall(fs, CREDITS + 2, (edit) => {
    openPages(fs);
    const head = zeroBytes(fs, edit, row, offset, Math.min(end, first * sb.blockSize));
    if (head < NO_TAIL) return head;
    const foot = last >= first ? zeroBytes(fs, edit, row, Math.max(offset, last * sb.blockSize), end) : NO_TAIL;
    if (foot < NO_TAIL) return foot;
    const journalled = isJournalled(fs, editInode(edit, ino));
    const cached = last > first && !journalled ? zeroCached(fs, row, first * sb.blockSize, last * sb.blockSize) : 0;
    if (cached !== 0) return cached;
    const tail = extend(fs, edit, row, grow);
    if (tail < NO_TAIL) return tail;
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    if (head !== NO_TAIL) markBlock(fs, row, head);
    if (foot !== NO_TAIL) markBlock(fs, row, foot);
    extended(fs, row, grow, tail);
    if (last > first) inodes.setWork(row, zero ? WORK.Zero : WORK.Punch, first, last);
    return 0;
  });
}

export function fallocateData(
  fs: Mounted,
  ino: number,
  mode: number,
  offset: number,
  length: number,
  call: Float64Array,
): number {
  const punch = (mode & FALLOC_PUNCH_HOLE) !== 0;
  const zero = (mode & FALLOC_ZERO_RANGE) !== 0;
  const keep = (mode & FALLOC_KEEP_SIZE) !== 0;
  if ((mode & ~KNOWN) !== 0 || (punch && (zero || !keep))) return EOPNOTSUPP;
  if (offset < 0 || length <= 0) return EINVAL;
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const left = finishWork(fs, row);
  if (left !== 0 || call[0] === 3) return left;
  const flags = fileFlags(fs, ino);
  if (flags < 0) return flags;
  if (flagsHave(flags, INODE_FLAG.append) && (punch || zero)) return EPERM;
  if (offset + length > sizeMax(fs, flags)) return EFBIG;
  const moved = leaveInode(fs, row);
  if (moved !== 0) return moved;
  const hasExtents = readCall(fs, () => {
    const inode = inodeAt(fs.buffers, fs.sb, ino);
    return (inodeFlags(fs.buffers.view, inode) & INODE_FLAG.extents) !== 0 ? 1 : 0;
  });
  if (hasExtents < 0) return hasExtents;
  if (hasExtents === 0 && !punch) return EOPNOTSUPP;
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  if (call[0] === 0) {
    call[0] = 1;
    call[1] = fs.cache.ticket();
  }
  const written = writeRange(fs, row, offset, length, call[1]!);
  if (written !== 0) return written;
  if (!punch && !zero) return allocateRange(fs, row, offset, length, keep, call);
  const began = beginRange(fs, row, offset, length, zero, zero && !keep ? offset + length : 0);
  if (began !== 0) return began;
  call[0] = 3;
  return finishWork(fs, row);
}
