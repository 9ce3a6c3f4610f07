/**
 * Write-back of one file's pages: blocks get their place (delayed allocation), then the data are submitted, and the
 * transaction that holds the new places may not commit before the data are on the disk (data=ordered).
 *
 *   writeBack      a request of the page cache       places, then data
 *   orderedData    the journal before a commit       data whose places are in that transaction, nothing else: what is
 *                                                    on its way is waited for, what is not yet is written "away"
 *
 * So the size on the disk grows only together with the blocks below it, and a block whose data did not arrive is never
 * seen. With data=writeback it is; only extents that were allocated unwritten are ordered there, too, for they were
 * promised to be zeroes.
 *
 * A place that was found, with its data still to be submitted when the call had to end, is kept by icache.order().
 */
import { pagesOf } from "../../abi/backing_store.ts";
import { EAGAIN, EIO, EIOCBQUEUED } from "../../abi/errno.ts";
import { FsEv } from "../../abi/events.ts";
import { IO_PAGES_MAX } from "../../abi/limits.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { readCall, runCall } from "./call.ts";
import { addAway, addIo, closeAway, closeIo, NO_AWAY, openAway, openIo } from "./data_io.ts";
import { clearDelayed, forget } from "./delayed.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { NO_ROW } from "./icache.ts";
import { inodeSizeBytes } from "./inode.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { ALLOC_DATA, ALLOC_KEPT, ALLOC_RESERVED } from "./balloc.ts";
import { convertCredits, convertRun, createCredits, mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { Mounted } from "./mounted.ts";
import { TIDS } from "./mounted.ts";
import { MARK_AWAY, MARK_DELAYED_SHIFT, MARK_DIRTY } from "./page_marks.ts";
import { noteWait } from "./waits.ts";

const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

/** The superblock, when a file of 2 GiB is the first. */
const SIZE_CREDITS = 1;

/** Data of this transaction have to be on the disk before it commits. */
export const mustOrder = (fs: Mounted, unwritten: boolean): boolean =>
  fs.journal.tid > 0 && (unwritten || fs.options.data !== "writeback");

const isDirty = (fs: Mounted, row: number, lblk: number): boolean => {
  const { perPage } = fs.marks;
  return (fs.marks.get(row, Math.floor(lblk / perPage)) & (1 << (lblk % perPage))) !== 0;
};

/** Dirty blocks in a row from lblk on, at most `most`. */
function dirtyRun(fs: Mounted, row: number, lblk: number, most: number): number {
  let run = 1;
  while (run < most && isDirty(fs, row, lblk + run)) run++;
  return run;
}

/** Looks one block up into fs.mapped. Blocks that a change of the map there may touch, or an errno. */
function look(fs: Mounted, ino: number, lblk: number): number {
  const { buffers, sb, mapped, edit } = fs;
  return readCall(fs, () => {
    const fault = mapBlock(buffers, sb, inodeAt(buffers, sb, ino), lblk, mapped);
    if (fault !== 0) return fault;
    return mapped.pblk > 0 ? convertCredits(edit, ino) : createCredits(edit, ino);
  });
}

/** The size on the disk follows the blocks that have a place, as far as the file goes. */
function raiseSize(fs: Mounted, row: number, end: number): void {
  const { edit, inodes, sb } = fs;
  const ino = inodes.ino[row]!;
  const size = Math.min(inodes.size[row]!, end * sb.blockSize);
  if (size > inodeSizeBytes(sb, edit.blocks.view, editInode(edit, ino))) setInodeSize(edit, ino, size);
  sealInode(edit, ino);
  inodes.tid[row] = fs.journal.tid;
  inodes.dataTid[row] = fs.journal.tid;
  fs.fast.inode(ino);
}

/** Gives delayed blocks from lblk on a place: some of `run`, the file's next extent. */
function allocate(fs: Mounted, row: number, lblk: number, run: number, credits: number): number {
  const ino = fs.inodes.ino[row]!;
  return runCall(fs, credits + SIZE_CREDITS, (edit) => {
    const before = edit.groups.claimed;
    const fault = mapCreate(edit, ino, lblk, run, ALLOC_DATA | ALLOC_RESERVED | ALLOC_KEPT, created);
    if (fault !== 0) return fault;
    raiseSize(fs, row, lblk + created.length);
    fs.fast.range(ino, lblk, created.length);
    edit.groups.finish();
    // Of the promises the allocation has used those for the clusters that it took. What its map gave back is none.
    const used = edit.groups.claimed - before;
    edit.groups.claim(clearDelayed(fs, row, lblk, created.length) - used);
    fs.machine.trace(FsEv.AllocateBlocks, 0, ino, lblk | 0, created.pblk | 0, created.length);
    return 0;
  });
}

/** Makes unwritten blocks that are dirty written ones. */
function convert(fs: Mounted, row: number, lblk: number, run: number, credits: number): number {
  const ino = fs.inodes.ino[row]!;
  return runCall(fs, credits + SIZE_CREDITS, (edit) => {
    const fault = convertRun(edit, ino, lblk, run, true, ALLOC_KEPT);
    if (fault !== 0) return fault;
    raiseSize(fs, row, lblk + run);
    fs.fast.range(ino, lblk, run);
    return 0;
  });
}

/**
 * Gives every dirty block of some pages its place, into fs.places. Returns the first transaction that it changed anything
 * in and whose commit must wait for the data, 0 for none, or an errno.
 */
function settle(fs: Mounted, row: number, index: number, pages: number): number {
  const { places, mapped, marks, sb } = fs;
  const ino = fs.inodes.ino[row]!;
  const first = index * marks.perPage;
  const count = pages * marks.perPage;
  let tid = 0;
  let end = 0;
  const failed = (errno: number): number => {
    if (errno === EIOCBQUEUED && tid > 0) fs.inodes.order(row, tid, index, index + pages - 1);
    return errno;
  };
  const note = (unwritten: boolean): void => {
    if (tid === 0 && mustOrder(fs, unwritten)) tid = fs.journal.tid;
  };
  for (let n = 0; n < count;) {
    if (!isDirty(fs, row, first + n)) {
      places[n++] = 0;
      continue;
    }
    const found = look(fs, ino, first + n);
    if (found < 0) return failed(found);
    const run = dirtyRun(fs, row, first + n, Math.min(mapped.length, count - n));
    if (mapped.pblk > 0 && !mapped.unwritten) {
      for (let i = 0; i < run; i++) places[n + i] = mapped.pblk + i;
      n += run;
      end = first + n;
      continue;
    }
    const { unwritten } = mapped;
    const done = unwritten ? convert(fs, row, first + n, run, found) : allocate(fs, row, first + n, run, found);
    if (done !== 0) return failed(done);
    note(unwritten);
  }
  const ended = raiseLater(fs, row, Math.min(fs.inodes.size[row]!, end * sb.blockSize));
  if (ended < 0) return failed(ended);
  if (ended > 0) note(false);
  return tid;
}

/** For data behind the end that the disk knows, in blocks that had a place. 1: it was raised. */
function raiseLater(fs: Mounted, row: number, size: number): number {
  const ino = fs.inodes.ino[row]!;
  const { buffers, sb } = fs;
  const known = readCall(fs, () => inodeSizeBytes(sb, buffers.view, inodeAt(buffers, sb, ino)));
  if (known < 0) return known;
  if (known >= size) return 0;
  const done = runCall(fs, 2, () => {
    raiseSize(fs, row, size / sb.blockSize);
    return 0;
  });
  return done === 0 ? 1 : done;
}

/** The data are lost: promises and marks of these pages go. As in Linux the pages stay, and fsync tells. */
function lose(fs: Mounted, row: number, index: number, pages: number, errno: number): number {
  forget(fs, row, index, index + pages - 1);
  return errno;
}

export function writeBack(fs: Mounted, row: number, index: number, frames: readonly Uint8Array[], io: number): number {
  const { marks, inodes } = fs;
  const pages = pagesOf(frames);
  if (fs.readOnly) return lose(fs, row, index, pages, EIO);
  if (fs.io.free < pages * marks.perPage) return EAGAIN;
  for (let at = 0; at < pages; at++) if ((marks.get(row, index + at) & MARK_AWAY) !== 0) return EAGAIN;
  const tid = settle(fs, row, index, pages);
  if (tid === EIOCBQUEUED) return EAGAIN;
  if (tid < 0) return lose(fs, row, index, pages, tid);
  // Pages that were to be ordered before keep their place in the line.
  const waits = inodes.orderedTid[row]! > 0 ? inodes.orderedLow[row]! : 0;
  openIo(fs, io, row, index, pages, tid === 0 || (waits > 0 && waits < tid) ? waits : tid);
  addIo(fs, io, true, frames);
  for (let at = index; at < index + pages; at++) marks.set(row, at, marks.get(row, at) & ~MARK_DIRTY);
  return closeIo(fs, io, true);
}

/** Writes one page away; false: not now. */
function writeAway(fs: Mounted, row: number, index: number, word: number, tid: number): boolean {
  const { marks, mapped, places, inodes, cache, sb } = fs;
  if ((word & MARK_AWAY) !== 0 || fs.io.free < marks.perPage) return false;
  const first = index * marks.perPage;
  for (let n = 0; n < marks.perPage; n++) {
    places[n] = 0;
    if ((word & (1 << n)) === 0 || (word & (1 << (n + MARK_DELAYED_SHIFT))) !== 0) continue;
    const found = look(fs, inodes.ino[row]!, first + n);
    if (found === EIOCBQUEUED) return false;
    if (found >= 0 && !mapped.unwritten) places[n] = mapped.pblk;
  }
  // What lies behind the end that the disk knows stays dirty: this transaction takes no size any more, write-back raises it.
  const known = readCall(fs, () => inodeSizeBytes(sb, fs.buffers.view, inodeAt(fs.buffers, sb, inodes.ino[row]!)));
  if (known < 0) return false;
  const grown = inodes.size[row]! > known;
  const slot = cache.peek(inodes.mapping[row]! as Mapping, index);
  assert(slot !== undefined, "ext4: a page with marks is not in the page cache");
  const away = openAway(fs, row, index, slot, tid);
  if (away === NO_AWAY) return false;
  let done = 0;
  for (let n = 0; n < marks.perPage; n++) {
    if (places[n]! === 0) continue;
    if (!grown || (first + n + 1) * sb.blockSize <= known) done |= 1 << n;
  }
  addAway(fs, away, cache.bytes(slot));
  marks.set(row, index, marks.get(row, index) & ~done);
  closeAway(fs, away);
  return true;
}

/** All that `tid` needs of one file is on its way; false: not yet. */
function submitOrdered(fs: Mounted, row: number, tid: number): boolean {
  const { inodes, marks } = fs;
  const found: number[] = [];
  marks.each(row, inodes.orderedFirst[row]!, inodes.orderedLast[row]!, (index, word) => {
    if ((word & MARK_DIRTY & ~(word >> MARK_DELAYED_SHIFT)) !== 0) found.push(index);
  });
  for (const index of found.sort((a, b) => a - b))
    if (!writeAway(fs, row, index, marks.get(row, index), tid)) return false;
  return true;
}

/** The journal asks before it writes the commit block of `tid`. 0: all its data are on the disk. */
export function orderedData(fs: Mounted, tid: number): number {
  const { inodes } = fs;
  for (let row = inodes.nextOrdered(NO_ROW); row !== NO_ROW;) {
    const next = inodes.nextOrdered(row);
    if (inodes.orderedLow[row]! <= tid) {
      if (!submitOrdered(fs, row, tid)) return EIOCBQUEUED;
      inodes.ordered(row, tid);
    }
    row = next;
  }
  return fs.pending[tid % TIDS] === 0 ? 0 : EIOCBQUEUED;
}

/** Before a call dirties so many pages. On a device that ends its writes at once there is always room afterwards. */
export function makeRoom(fs: Mounted, pages: number): 0 | Errno {
  const { cache } = fs;
  if (cache.throttle(pages) === 0) return 0;
  while (cache.flush(fs.machine.now(), IO_PAGES_MAX) > 0);
  return cache.throttle(pages) === 0 ? 0 : noteWait(fs, WAIT_WRITEBACK);
}
