/**
 * fsync, fdatasync, sync: nothing but waiting for the right things, in the right order.
 *
 *   Data      what was dirty at the ticket is written, and has a place (its transaction is the running one by then)
 *   Fast      the running transaction's changes are written as a fast commit, if they can be (fast_write.ts)
 *   Commit    the transaction that changed the inode last is durable; of fdatasync the one that its data need; of what is
 *             no plain file, or has journalled data, all that runs
 *   Flush     when no commit was needed, or it was under way already and its flush may have come before the data's end
 *
 * - fsyncData(fs, ino, dataOnly, call)     a failed write is told once
 * - syncAll(fs, call)                      the same for everything
 *
 *   call   0: phase   1: ticket   2: transaction   3: a flush is needed after it   4: what failed   5: number of the flush
 *          or of the fast commit
 */
import { ECANCELED, EFSCORRUPTED, EIO, EIOCBQUEUED } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { PAGE_LAST, WAIT_COMMIT, WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import { readCall } from "./call.ts";
import { startFastCommit } from "./fast_write.ts";
import { isJournalled } from "./file_read.ts";
import { finishWork } from "./file_work.ts";
import { inodeAt } from "./group.ts";
import { NO_MAPPING, NO_ROW } from "./icache.ts";
import { inodeType } from "./inode.ts";
import { S_IFREG } from "./layout.ts";
import type { Mounted } from "./mounted.ts";
import { rowOf } from "./rows.ts";
import { noteWait } from "./waits.ts";

const Phase = { Begin: 0, Data: 1, Fast: 2, FastEnd: 3, Commit: 4, Flush: 5, End: 6 } as const;
const C = { phase: 0, ticket: 1, tid: 2, flush: 3, failed: 4, number: 5 } as const;

/** The error of a file's writes that was not told yet. */
function errorOf(fs: Mounted, row: number): number {
  const { inodes, cache } = fs;
  let error = inodes.fault[row]!;
  inodes.fault[row] = 0;
  const mapping = inodes.mapping[row]!;
  if (mapping === NO_MAPPING) return error;
  const told = cache.errorReport(mapping as Mapping, inodes.errorsSince[row]!);
  inodes.errorsSince[row] = cache.errorSample(mapping as Mapping);
  if (told !== 0) error = told;
  return error;
}

/** From a transaction that has to be durable on. */
function commitFrom(fs: Mounted, call: Float64Array, tid: number): void {
  const { journal } = fs;
  call[C.tid] = tid;
  call[C.phase] = Phase.Commit;
  if (journal.committed(tid)) {
    call[C.flush] = 1;
    return;
  }
  // One that runs is still to be flushed; of one that commits the flush may be over.
  call[C.flush] = tid === journal.tid ? 0 : 1;
  journal.requestCommit(tid);
}

/**
 * 1: all that runs is committed, as Linux does it for what is no plain file, and up to 6.3 for files with journalled data;
 * 0: only what the inode needs; or an errno.
 */
function commitsAll(fs: Mounted, ino: number): number {
  const { buffers, sb } = fs;
  if (sb.journalIno === 0) return 0;
  return readCall(fs, () => {
    const at = inodeAt(buffers, sb, ino);
    if (at < 0) return EFSCORRUPTED;
    return inodeType(buffers.view, at) !== S_IFREG || isJournalled(fs, at) ? 1 : 0;
  });
}

/** EIOCBQUEUED, or the phase is a later one. */
function fastCommit(fs: Mounted, ino: number, call: Float64Array): number {
  const { journal } = fs;
  if (call[C.phase] === Phase.Fast) {
    // It may have been closed meanwhile.
    const started = call[C.tid] === journal.tid ? startFastCommit(fs, ino) : ECANCELED;
    if (started === EIOCBQUEUED && journal.aborted === 0) return started;
    if (started > 0) {
      call[C.number] = started;
      call[C.phase] = Phase.FastEnd;
    } else commitFrom(fs, call, call[C.tid]!);
  }
  if (call[C.phase] === Phase.FastEnd) {
    const done = journal.fcDone(call[C.number]!);
    if (done === EIOCBQUEUED && journal.aborted === 0) return noteWait(fs, WAIT_COMMIT);
    // The data were there before its flush.
    if (done === 0) call[C.phase] = Phase.End;
    else commitFrom(fs, call, call[C.tid]!);
  }
  return 0;
}

function finish(fs: Mounted, call: Float64Array): number {
  const { journal } = fs;
  if (call[C.phase] === Phase.Commit) {
    if (journal.aborted !== 0) return EIO;
    if (!journal.committed(call[C.tid]!)) {
      journal.requestCommit(call[C.tid]!);
      return noteWait(fs, WAIT_COMMIT);
    }
    if (call[C.flush] === 1) {
      call[C.number] = journal.askFlush();
      call[C.phase] = Phase.Flush;
    } else call[C.phase] = Phase.End;
  }
  if (call[C.phase] === Phase.Flush) {
    const flushed = journal.flushed(call[C.number]!);
    if (flushed === EIOCBQUEUED) return noteWait(fs, WAIT_COMMIT);
    if (flushed !== 0 && call[C.failed] === 0) call[C.failed] = flushed;
    call[C.phase] = Phase.End;
  }
  return call[C.failed]!;
}

export function fsyncData(fs: Mounted, ino: number, dataOnly: boolean, call: Float64Array): number {
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const { inodes, cache } = fs;
  if (call[C.phase] === Phase.Begin) {
    call[C.ticket] = cache.ticket();
    call[C.phase] = Phase.Data;
  }
  if (call[C.phase] === Phase.Data) {
    const left = finishWork(fs, row);
    if (left === EIOCBQUEUED) return left;
    const mapping = inodes.mapping[row]!;
    if (mapping !== NO_MAPPING) {
      const written = cache.sync(mapping as Mapping, call[C.ticket]!, 0, PAGE_LAST);
      if (written !== 0) return noteWait(fs, WAIT_WRITEBACK);
    }
    const all = commitsAll(fs, ino);
    if (all < 0) return all;
    call[C.failed] = errorOf(fs, row);
    if (fs.readOnly && fs.journal.aborted === 0 && call[C.failed] === 0) {
      call[C.phase] = Phase.End;
      return 0;
    }
    if (all === 1) {
      commitFrom(fs, call, fs.journal.tid);
      // There are no data but those of the journal.
      call[C.flush] = 0;
    } else {
      call[C.tid] = dataOnly ? inodes.dataTid[row]! : inodes.tid[row]!;
      call[C.phase] = Phase.Fast;
    }
  }
  const fast = fastCommit(fs, ino, call);
  return fast === EIOCBQUEUED ? fast : finish(fs, call);
}

/** Starts to write every file's dirty pages; 0 when all that was dirty at the ticket is written. */
function writeAll(fs: Mounted, ticket: number): number {
  const { inodes, cache, marks } = fs;
  let waits = 0;
  for (let row = 0; row < inodes.rows; row++) {
    if (inodes.ino[row] === 0 || inodes.mapping[row] === NO_MAPPING || marks.count[row] === 0) continue;
    if (cache.sync(inodes.mapping[row]! as Mapping, ticket, 0, PAGE_LAST) !== 0) waits = noteWait(fs, WAIT_WRITEBACK);
  }
  return waits;
}

export function syncAll(fs: Mounted, call: Float64Array): number {
  if (call[C.phase] === Phase.Begin) {
    call[C.ticket] = fs.cache.ticket();
    call[C.phase] = Phase.Data;
  }
  if (call[C.phase] === Phase.Data) {
    const written = writeAll(fs, call[C.ticket]!);
    if (written !== 0) return written;
    if (fs.readOnly && fs.journal.aborted === 0) return 0;
    commitFrom(fs, call, fs.journal.tid);
  }
  return finish(fs, call);
}

/** Nothing is left to do for any inode: for unmount. */
export function settleWork(fs: Mounted): number {
  for (let row = fs.inodes.nextWork; row !== NO_ROW; row = fs.inodes.nextWork) {
    const left = finishWork(fs, row);
    if (left === EIOCBQUEUED) return left;
  }
  return 0;
}
