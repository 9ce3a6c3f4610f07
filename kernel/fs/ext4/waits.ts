/**
 * What a call that is told EIOCBQUEUED waits for, noted by whoever says so: one of the WAIT_* constants of
 * kernel/abi/page_cache.ts, in one word. It holds until the next call begins, and is a hint: the call may also be made
 * again at any other time.
 *
 * - noteWait(fs, what)     by who knows
 * - noteBlocks(fs)         a block of metadata was not there, or the buffer cache had no room for it
 * - notePages(fs)          the page cache made it wait: for a request, or for what its store noted
 */
import { EIOCBQUEUED } from "../../abi/errno.ts";
import { WAIT_ANY, WAIT_DATA, WAIT_JOURNAL, WAIT_METADATA, WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import type { Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";

/** Returns EIOCBQUEUED, for the caller to return. */
export function noteWait(fs: Mounted, what: number): typeof EIOCBQUEUED {
  fs.words[FS.WaitsFor] = what;
  return EIOCBQUEUED;
}

export function noteBlocks(fs: Mounted): void {
  noteWait(fs, fs.buffers.waitingOn === WAIT_ANY ? WAIT_JOURNAL : WAIT_METADATA);
}

export function notePages(fs: Mounted): void {
  const io = fs.cache.waitingOn();
  // Pages of a read do not count as away: data_io.ts.
  if (io >= 0) noteWait(fs, fs.ioPages[io] === 0 ? WAIT_DATA : WAIT_WRITEBACK);
}
