/**
 * How a call runs on a mounted ext4: as a whole or not at all (docs/architecture.md, decision 1).
 *
 *   begin(credits)     EIOCBQUEUED: the journal has no room now;  EROFS: it was aborted
 *     op(edit)         changes blocks, stages pages; calls groups.finish() when it is through with the map; then, when
 *                      nothing can fail any more, changes the tables
 *   merge              blocks are in the running transaction, pages are dirty; noted is what a fast commit can say of it
 *   or abort           op returned an errno, or a block has to be read first (WAIT): nothing was done
 *
 * - runCall(fs, credits, op)    what op returned, or why it did not run
 * - runAlways(fs, credits, op)  the same, on a file system that errors made read-only, too
 * - readCall(fs, op)            the same for a call that only looks
 * - openPages(fs)               within op: the page cache's call begins; it ends with this one
 *
 * A call that found no room while blocks are pending (freed in a transaction that has not committed) has to wait for that
 * commit: as Linux's ext4_should_retry_alloc().
 */
import { EFSBADCRC, EFSCORRUPTED, EIOCBQUEUED, ENOSPC, EROFS } from "../../abi/errno.ts";
import { WAIT_ANY, WAIT_JOURNAL } from "../../abi/page_cache.ts";
import { assert } from "../../lib/assert.ts";
import { CallEnd } from "../blocks.ts";
import type { CallEdit, Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";
import { noteError } from "./errors.ts";
import { noteBlocks, notePages, noteWait } from "./waits.ts";

export function openPages(fs: Mounted): void {
  assert(fs.words[FS.CacheOpen] === 0, "ext4: a call opens the page cache once");
  fs.cache.begin();
  fs.words[FS.CacheOpen] = 1;
}

function closePages(fs: Mounted, good: boolean): void {
  if (fs.words[FS.CacheOpen] === 0) return;
  fs.words[FS.CacheOpen] = 0;
  if (good) fs.cache.merge();
  else fs.cache.abort();
}

/** What op returned, or what ended it from within. */
function attempt(fs: Mounted, op: (edit: CallEdit) => number): number {
  try {
    const result = op(fs.edit);
    if (result >= 0) fs.edit.groups.finish();
    else if (result === EIOCBQUEUED && fs.words[FS.CacheOpen] === 1) notePages(fs);
    return result;
  } catch (end) {
    if (!(end instanceof CallEnd)) throw end;
    if (end.errno === EIOCBQUEUED) noteBlocks(fs);
    return end.errno;
  }
}

export function runCall(fs: Mounted, credits: number, op: (edit: CallEdit) => number): number {
  return fs.readOnly ? EROFS : runAlways(fs, credits, op);
}

/** Also when nothing else may be changed any more: what errors left to be told. */
export function runAlways(fs: Mounted, credits: number, op: (edit: CallEdit) => number): number {
  assert(fs.words[FS.InCall] === 0, "ext4: a call within a call");
  const began = fs.journal.begin(credits);
  if (began !== 0) return began === EIOCBQUEUED ? noteWait(fs, WAIT_JOURNAL) : began;
  noteWait(fs, WAIT_ANY);
  fs.words[FS.InCall] = 1;
  fs.setTime();
  fs.edit.groups.begin(fs.sb.journalIno === 0 ? 0 : fs.journal.tid);
  fs.fast.begin(fs.journal.tid);
  const result = attempt(fs, op);
  fs.words[FS.InCall] = 0;
  closePages(fs, result >= 0);
  if (result >= 0) {
    fs.edit.groups.merge();
    fs.fast.merge();
    fs.journal.merge();
    return result;
  }
  fs.edit.groups.abort();
  fs.fast.abort();
  fs.journal.abort();
  if (result === ENOSPC && fs.space.pendingClusters > 0) {
    fs.journal.requestCommit(fs.journal.tid);
    return noteWait(fs, WAIT_JOURNAL);
  }
  if (result === EFSCORRUPTED || result === EFSBADCRC) noteError(fs, result);
  return result;
}

export function readCall(fs: Mounted, op: (edit: CallEdit) => number): number {
  assert(fs.words[FS.InCall] === 0, "ext4: a call within a call");
  fs.words[FS.InCall] = 1;
  noteWait(fs, WAIT_ANY);
  fs.journal.beginRead();
  const result = attempt(fs, op);
  fs.journal.endRead();
  fs.words[FS.InCall] = 0;
  closePages(fs, result >= 0);
  if (result === EFSCORRUPTED || result === EFSBADCRC) noteError(fs, result);
  return result;
}
