/**
 * Changes of a file that are several transactions. What they are up to is in the inode's row, so that anybody can carry
 * them on: the call that began them, the next one that wants to change the file and finds them there, or a step of the
 * file system when the caller went away. A crash in between leaves an orphan, or a range that is partly given back.
 *
 *   Cut     blocks from `from` on go: the file was cut off, it is an orphan until they are gone
 *   Evict   the inode has no name and nobody holds it: blocks, attributes and the inode itself go
 *   Punch   blocks from..to go, the file stays as long as it is
 *   Zero    blocks from..to become unwritten, holes among them are filled
 *
 * - finishWork(fs, row)      0: nothing is left; EIOCBQUEUED; else what it failed with, and it is given up
 * - dropPages(fs, row, ...)  within a call: cached pages go, with marks and promises as its last act (forgetPages)
 * - stepWork(fs)             a bit of what waits longest; true when anything happened
 */
import { EBUSY, EIOCBQUEUED } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { PAGE_LAST, WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import { openPages, readCall, runCall } from "./call.ts";
import { cleanBlocks, forget } from "./delayed.ts";
import { mapBlock } from "./file.ts";
import { NO_MAPPING, NO_ROW, WORK } from "./icache.ts";
import { inodeLinks } from "./inode.ts";
import { editInode } from "./inode_edit.ts";
import { ALLOC_DATA, ALLOC_KEPT } from "./balloc.ts";
import {
  convertCredits,
  convertRun,
  createCredits,
  mapCreate,
  MAP_JOURNALLED,
  MAP_UNWRITTEN,
  truncateMap,
  UNMAP_CREDITS_MIN,
  unmapRange,
} from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { CallEdit, Mounted } from "./mounted.ts";
import { evictInode, orphanDel } from "./orphan_edit.ts";
import { closePagesOf } from "./rows.ts";
import { noteWait } from "./waits.ts";

const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };
/** Blocks that one transaction of a piece of work may change beside the map. */
export const EXTRA_CREDITS = 8;
const BUDGET_MAX = 256;

/** Blocks of the map and the groups that one transaction of it may change. */
const budgetOf = (fs: Mounted): number =>
  Math.max(UNMAP_CREDITS_MIN, Math.min(BUDGET_MAX, fs.journal.creditsMax - 2 * EXTRA_CREDITS));
const howOf = (fs: Mounted): number => ALLOC_KEPT | (fs.options.data === "journal" ? MAP_JOURNALLED : 0);

/** Pages first..last go when the call ends well. EIOCBQUEUED: one is in flight. */
export function dropPages(fs: Mounted, row: number, first: number, last: number): number {
  const mapping = fs.inodes.mapping[row]!;
  if (mapping === NO_MAPPING || first > last) return 0;
  const gone = fs.cache.truncate(mapping as Mapping, first, last);
  // Pinned are pages that are written away.
  return gone === EBUSY ? noteWait(fs, WAIT_WRITEBACK) : gone;
}

/** One transaction of Cut. 1: it was the last. */
function cut(fs: Mounted, row: number): number {
  const { inodes } = fs;
  const ino = inodes.ino[row]!;
  return runCall(fs, budgetOf(fs) + EXTRA_CREDITS, (edit) => {
    const through = truncateMap(edit, ino, inodes.from[row]!, howOf(fs), budgetOf(fs));
    if (typeof through !== "boolean") return through;
    // One that has lost its name meanwhile stays on record.
    if (through && inodeLinks(edit.blocks.view, editInode(edit, ino)) > 0) orphanDel(edit, ino);
    // The new size was there before: an fdatasync does not need this.
    inodes.tid[row] = fs.journal.tid;
    return through ? 1 : 0;
  });
}

function changed(fs: Mounted, row: number): void {
  fs.inodes.tid[row] = fs.journal.tid;
  fs.inodes.dataTid[row] = fs.journal.tid;
}

function evict(fs: Mounted, row: number): number {
  const { inodes } = fs;
  const ino = inodes.ino[row]!;
  if (inodes.mapping[row] !== NO_MAPPING) {
    const dropped = runCall(fs, 1, () => {
      openPages(fs);
      const gone = dropPages(fs, row, 0, PAGE_LAST);
      if (gone === 0) forget(fs, row, 0, PAGE_LAST);
      return gone;
    });
    if (dropped !== 0) return dropped;
    inodes.ordered(row, Infinity);
    const closed = closePagesOf(fs, row);
    if (closed !== 0) return closed;
  }
  return runCall(fs, budgetOf(fs) + EXTRA_CREDITS, (edit) => {
    const through = evictInode(edit, ino, budgetOf(fs), howOf(fs));
    if (typeof through !== "boolean") return through;
    return through ? 1 : 0;
  });
}

/** Pages that lie wholly in the blocks from..to of Punch and Zero. */
function dropRange(fs: Mounted, row: number): number {
  const { inodes, marks } = fs;
  const first = Math.ceil(inodes.from[row]! / marks.perPage);
  const last = Math.floor(inodes.to[row]! / marks.perPage) - 1;
  openPages(fs);
  return dropPages(fs, row, first, last);
}

function punch(fs: Mounted, row: number): number {
  const { inodes } = fs;
  const ino = inodes.ino[row]!;
  return runCall(fs, budgetOf(fs) + EXTRA_CREDITS, (edit) => {
    const dropped = dropRange(fs, row);
    if (dropped !== 0) return dropped;
    const to = inodes.to[row]!;
    const reached = unmapRange(edit, ino, inodes.from[row]!, to, howOf(fs), budgetOf(fs));
    if (reached < 0) return reached;
    edit.groups.finish();
    cleanBlocks(fs, row, inodes.from[row]!, to);
    changed(fs, row);
    // It is given back from the end on.
    if (reached > inodes.from[row]!) inodes.to[row] = reached;
    return reached <= inodes.from[row]! ? 1 : 0;
  });
}

/** Makes the file's next extent of the range unwritten. */
function zeroSome(fs: Mounted, edit: CallEdit, row: number): number {
  const { inodes, mapped, sb } = fs;
  const ino = inodes.ino[row]!;
  const from = inodes.from[row]!;
  const fault = mapBlock(edit.blocks, sb, editInode(edit, ino), from, mapped);
  if (fault !== 0) return fault;
  const run = Math.min(mapped.length, inodes.to[row]! - from);
  if (mapped.pblk > 0) {
    const error = mapped.unwritten ? 0 : convertRun(edit, ino, from, run, false, 0);
    return error === 0 ? from + run : error;
  }
  const error = mapCreate(edit, ino, from, run, ALLOC_DATA | MAP_UNWRITTEN, created);
  return error === 0 ? from + Math.min(run, created.length) : error;
}

function zero(fs: Mounted, row: number): number {
  const { inodes } = fs;
  const ino = inodes.ino[row]!;
  const credits = readCall(fs, (edit) => Math.max(createCredits(edit, ino), convertCredits(edit, ino)));
  if (credits < 0) return credits;
  return runCall(fs, credits + EXTRA_CREDITS, (edit) => {
    const dropped = dropRange(fs, row);
    if (dropped !== 0) return dropped;
    const reached = zeroSome(fs, edit, row);
    if (reached < 0) return reached;
    edit.groups.finish();
    cleanBlocks(fs, row, inodes.from[row]!, reached);
    changed(fs, row);
    inodes.from[row] = reached;
    return reached >= inodes.to[row]! ? 1 : 0;
  });
}

const STEPS = { [WORK.Cut]: cut, [WORK.Evict]: evict, [WORK.Punch]: punch, [WORK.Zero]: zero } as const;

/** One transaction of what is left. 1: there is more, 0: it is through; else as finishWork(). */
function someWork(fs: Mounted, row: number): number {
  const { inodes } = fs;
  const work = inodes.work[row]!;
  if (work === WORK.None) return 0;
  const done = STEPS[work as keyof typeof STEPS](fs, row);
  if (done === 0) return 1;
  if (done === EIOCBQUEUED) return done;
  inodes.setWork(row, WORK.None, 0, 0);
  if (work === WORK.Evict && done === 1) inodes.remove(row);
  return done === 1 ? 0 : done;
}

export function finishWork(fs: Mounted, row: number): number {
  let left = someWork(fs, row);
  while (left === 1) left = someWork(fs, row);
  return left;
}

export function stepWork(fs: Mounted): boolean {
  const row = fs.inodes.nextWork;
  if (row === NO_ROW) return false;
  const left = someWork(fs, row);
  if (left === EIOCBQUEUED) fs.inodes.deferWork(row);
  return left !== EIOCBQUEUED;
}
