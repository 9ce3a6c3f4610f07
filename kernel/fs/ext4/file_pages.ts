/**
 * Writing into the page cache: the delayed way, and with nodelalloc the one that chooses the place now, a page a call.
 *
 * - writePages(fs, row, offset, from)     bytes written, as many as one call may; or an errno, and nothing was done
 * - coverTail(fs, edit, row)              within a call that moves the end of the file further: zeroes behind the old
 *                                         end. The block that holds them when it has a place on the disk, or NO_TAIL
 * - markBlock(fs, row, lblk)              a block that has a place, and whose page the call has staged, is dirty, and on
 *                                         the disk before the running transaction commits
 *
 * A call may change CALL_STAGES_MAX pages: one is for the page of the old end.
 */
import { isErr } from "../../abi/errno.ts";
import { FsEv } from "../../abi/events.ts";
import { CALL_STAGES_MAX } from "../../abi/limits.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { openPages, readCall, runCall } from "./call.ts";
import { clusterOf, isDelayed, newClusters, setDelayed } from "./delayed.ts";
import { mapBlock } from "./file.ts";
import { inodeSizeBytes } from "./inode.ts";
import { editInode, sealInode, setInodeSize, touch, TOUCH_CTIME, TOUCH_MTIME } from "./inode_edit.ts";
import { ALLOC_DATA } from "./balloc.ts";
import { createCredits, mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { CallEdit, Mounted } from "./mounted.ts";
import { mappingOf } from "./rows.ts";
import { mustOrder, makeRoom } from "./writeback.ts";

const pageOf = (offset: number): number => Math.floor(offset / PAGE_SIZE);
const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

export const NO_TAIL = -1;
/** Inode, and the superblock, when a file of 2 GiB is the first. */
const WRITE_CREDITS = 2;
/** Runs of blocks without a place, of one call: first and number, then -1. Written and read within it. */
const runs = new Float64Array(2 * CALL_STAGES_MAX * 4 + 2);

export function markBlock(fs: Mounted, row: number, lblk: number): void {
  const { perPage } = fs.marks;
  const index = Math.floor(lblk / perPage);
  fs.marks.set(row, index, fs.marks.get(row, index) | (1 << (lblk % perPage)));
  // Also with data=writeback: these are bytes of this file that were cut off.
  if (mustOrder(fs, true)) fs.inodes.order(row, fs.journal.tid, index, index);
}

export function coverTail(fs: Mounted, edit: CallEdit, row: number): number {
  const { inodes, sb, cache, mapped } = fs;
  const size = inodes.size[row]!;
  if (size % sb.blockSize === 0) return NO_TAIL;
  const block = Math.floor(size / sb.blockSize);
  // A page of a delayed block is in the cache, with zeroes behind the end.
  if (isDelayed(fs, row, block)) return NO_TAIL;
  const fault = mapBlock(edit.blocks, sb, editInode(edit, inodes.ino[row]!), block, mapped);
  if (fault !== 0) return fault;
  if (mapped.pblk === 0 || mapped.unwritten) return NO_TAIL;
  const index = pageOf(size);
  const slot = cache.edit(inodes.mapping[row]! as Mapping, index);
  if (isErr(slot)) return slot;
  cache.stage(slot).fill(0, size - index * PAGE_SIZE);
  return block;
}

/** Puts `from` into staged pages. `size` is that before the call. */
function stagePages(fs: Mounted, mapping: Mapping, size: number, offset: number, from: Uint8Array): number {
  const { cache } = fs;
  const last = pageOf(offset + from.length - 1);
  for (let index = pageOf(offset), done = 0; index <= last; index++) {
    const start = index * PAGE_SIZE;
    const at = offset + done - start;
    const length = Math.min(PAGE_SIZE - at, from.length - done);
    const whole = length === PAGE_SIZE || start >= size;
    const slot = whole ? cache.fresh(mapping, index) : cache.edit(mapping, index);
    if (isErr(slot)) return slot;
    const stage = length === PAGE_SIZE ? cache.stageWhole(slot) : cache.stage(slot);
    if (start < size && size < start + PAGE_SIZE) stage.fill(0, size - start);
    stage.set(length === from.length ? from : from.subarray(done, done + length), at);
    done += length;
  }
  return 0;
}

/** Finds the blocks of first..end without a place, puts their runs into `runs`. Promises that they need, or an errno. */
function findRuns(fs: Mounted, edit: CallEdit, row: number, first: number, end: number): number {
  const { inodes, sb, mapped, marks } = fs;
  const inode = editInode(edit, inodes.ino[row]!);
  let promises = 0;
  let count = 0;
  let counted = -1;
  for (let lblk = first; lblk < end;) {
    // A dirty block has its place or its promise.
    if ((marks.get(row, Math.floor(lblk / marks.perPage)) & (1 << (lblk % marks.perPage))) !== 0) {
      lblk++;
      continue;
    }
    const fault = mapBlock(edit.blocks, sb, inode, lblk, mapped);
    if (fault !== 0) return fault;
    let stop = Math.min(end, lblk + mapped.length);
    if (mapped.pblk === 0) {
      for (let n = lblk + 1; n < stop; n++) if (isDelayed(fs, row, n)) stop = n;
      promises += newClusters(fs, row, lblk, stop - lblk, counted);
      counted = clusterOf(fs, stop - 1);
      runs[2 * count] = lblk;
      runs[2 * count + 1] = stop - lblk;
      count++;
    }
    lblk = stop;
  }
  runs[2 * count] = -1;
  return promises;
}

/** nodelalloc: the runs get their place, and the size on the disk follows. */
function placeRuns(fs: Mounted, edit: CallEdit, row: number, end: number): number {
  const ino = fs.inodes.ino[row]!;
  let placed = 0;
  for (let n = 0; runs[n]! >= 0; n += 2) {
    for (let lblk = runs[n]!, stop = lblk + runs[n + 1]!; lblk < stop; lblk += created.length) {
      const fault = mapCreate(edit, ino, lblk, stop - lblk, ALLOC_DATA, created);
      if (fault !== 0) return fault;
      fs.fast.range(ino, lblk, created.length);
      placed++;
    }
  }
  if (placed > 0 && inodeSizeBytes(edit.sb, edit.blocks.view, editInode(edit, ino)) < end) setInodeSize(edit, ino, end);
  return placed;
}

function markWritten(fs: Mounted, row: number, first: number, end: number): void {
  const { marks } = fs;
  for (let lblk = first; lblk < end;) {
    const index = Math.floor(lblk / marks.perPage);
    const stop = Math.min(end, (index + 1) * marks.perPage);
    let word = marks.get(row, index);
    for (; lblk < stop; lblk++) word |= 1 << (lblk % marks.perPage);
    marks.set(row, index, word);
  }
}

export function writePages(fs: Mounted, row: number, offset: number, from: Uint8Array): number {
  const { inodes, sb, marks } = fs;
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  const { delalloc } = fs.options;
  const span = delalloc ? CALL_STAGES_MAX - 1 : 1;
  const length = Math.min(from.length, (pageOf(offset) + span) * PAGE_SIZE - offset);
  const part = length === from.length ? from : from.subarray(0, length);
  const room = makeRoom(fs, pageOf(offset + length - 1) - pageOf(offset) + 1);
  if (room !== 0) return room;
  const ino = inodes.ino[row]!;
  const first = Math.floor(offset / sb.blockSize);
  const end = Math.ceil((offset + length) / sb.blockSize);
  const each = delalloc ? 0 : readCall(fs, (edit) => createCredits(edit, ino));
  if (each < 0) return each;
  return runCall(fs, WRITE_CREDITS + marks.perPage * each, (edit) => {
    openPages(fs);
    const size = inodes.size[row]!;
    const grown = Math.max(size, offset + length);
    const promises = findRuns(fs, edit, row, first, end);
    if (promises < 0) return promises;
    let tail = NO_TAIL;
    if (offset > size && Math.floor(size / sb.blockSize) < first) {
      tail = coverTail(fs, edit, row);
      if (tail < NO_TAIL) return tail;
    }
    // Before blocks get a place: a page that is read now must not show what was there.
    const staged = stagePages(fs, mapping as Mapping, size, offset, part);
    if (staged !== 0) return staged;
    const placed = delalloc ? 0 : placeRuns(fs, edit, row, grown);
    if (placed < 0) return placed;
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    sealInode(edit, ino);
    edit.groups.finish();
    if (delalloc && promises > 0) {
      const promised = fs.space.reserve(promises, edit.privileged);
      if (promised !== 0) return promised;
      inodes.delayed[row]! += promises;
      fs.machine.trace(FsEv.DaReserve, 0, ino, promises, fs.space.reservedClusters, 0);
      for (let n = 0; runs[n]! >= 0; n += 2) setDelayed(fs, row, runs[n]!, runs[n + 1]!);
    }
    markWritten(fs, row, first, end);
    if (tail !== NO_TAIL) markBlock(fs, row, tail);
    inodes.size[row] = grown;
    inodes.tid[row] = fs.journal.tid;
    fs.fast.inode(ino);
    if (placed > 0) {
      inodes.dataTid[row] = fs.journal.tid;
      if (mustOrder(fs, false)) inodes.order(row, fs.journal.tid, pageOf(offset), pageOf(offset + length - 1));
    }
    return length;
  });
}
