/**
 * Inodes come into memory and go.
 *
 * - roomForRow(fs)         0: one more row can be had. EIOCBQUEUED, ENFILE: as of shrinkRows(); ENOMEM
 * - holdRow(fs, ino)       the inode's row, without a look at its record; or as of roomForRow()
 * - rowOf(fs, ino)         the same, and its size is known. EIOCBQUEUED, or what the read said; outside of calls
 * - mappingOf(fs, row)     its pages in the page cache; ENFILE
 * - closePagesOf(fs, row)  drops them. EIOCBQUEUED: a read is in flight
 * - shrinkRows(fs)         takes one row out of memory that nobody needs. EIOCBQUEUED: one is on its way to be such a row;
 *                          ENFILE: all are held
 * - dropRows(fs)           takes out all that nobody needs and that have no pages; returns how many
 */
import { EFSCORRUPTED, EIOCBQUEUED, ENFILE, ENOMEM, isErr } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { PAGE_LAST, RA_WORDS, WAIT_ANY } from "../../abi/page_cache.ts";
import type { Errno } from "../../abi/units.ts";
import { RA, raInit } from "../../../mm/index.ts";
import { readCall } from "./call.ts";
import { FileStore } from "./data_store.ts";
import { inodeAt } from "./group.ts";
import { NO_MAPPING, NO_ROW, SIZE_UNKNOWN, WORK } from "./icache.ts";
import { inodeSizeBytes } from "./inode.ts";
import type { Mounted } from "./mounted.ts";
import { notePages, noteWait } from "./waits.ts";

/** Rows that are looked at for one that may go. */
const LOOKS_MAX = 64;

export function closePagesOf(fs: Mounted, row: number): 0 | Errno {
  const mapping = fs.inodes.mapping[row]!;
  if (mapping === NO_MAPPING) return 0;
  const closed = fs.cache.close(mapping as Mapping);
  if (closed === 0) fs.inodes.mapping[row] = NO_MAPPING;
  else notePages(fs);
  return closed;
}

/** Makes a row one that can leave memory: 0, EIOCBQUEUED, or ENFILE for one that cannot. */
function makeIdle(fs: Mounted, row: number): 0 | Errno {
  const { inodes, cache, marks, journal } = fs;
  if (inodes.holds[row]! > 0) return ENFILE;
  if (inodes.work[row] !== WORK.None) return EIOCBQUEUED;
  // Pages without marks may be dirty for the cache: it finds nothing to write, and then they are clean.
  const mapping = inodes.mapping[row]!;
  if (mapping !== NO_MAPPING && cache.sync(mapping as Mapping, cache.ticket(), 0, PAGE_LAST) !== 0) return EIOCBQUEUED;
  if (inodes.orderedTid[row]! > 0) {
    journal.requestCommit(inodes.orderedTid[row]!);
    return EIOCBQUEUED;
  }
  return marks.count[row] === 0 ? closePagesOf(fs, row) : EIOCBQUEUED;
}

export function shrinkRows(fs: Mounted): 0 | Errno {
  const { inodes } = fs;
  let answer: 0 | Errno = ENFILE;
  for (let looks = Math.min(LOOKS_MAX, inodes.used); looks > 0; looks--) {
    const row = inodes.oldest;
    inodes.use(row);
    const idle = makeIdle(fs, row);
    if (idle === 0) {
      inodes.remove(row);
      return 0;
    }
    if (idle === EIOCBQUEUED) answer = noteWait(fs, WAIT_ANY);
  }
  return answer;
}

export function dropRows(fs: Mounted): number {
  const { inodes, cache } = fs;
  let dropped = 0;
  for (let looks = inodes.used; looks > 0; looks--) {
    const row = inodes.oldest;
    inodes.use(row);
    const mapping = inodes.mapping[row]!;
    const isEmpty = mapping === NO_MAPPING || cache.pages(mapping as Mapping) === 0;
    if (!isEmpty || inodes.orderedTid[row]! > 0 || makeIdle(fs, row) !== 0) continue;
    inodes.remove(row);
    dropped++;
  }
  return dropped;
}

export function roomForRow(fs: Mounted): 0 | Errno {
  const { inodes } = fs;
  const { full } = inodes;
  if (full || !inodes.ready()) {
    const shrunk = shrinkRows(fs);
    if (shrunk !== 0) return full || shrunk === EIOCBQUEUED ? shrunk : ENOMEM;
  }
  return inodes.ready() ? 0 : ENOMEM;
}

export function holdRow(fs: Mounted, ino: number): number {
  const { inodes } = fs;
  const row = inodes.find(ino);
  if (row !== NO_ROW) {
    inodes.use(row);
    return row;
  }
  const room = roomForRow(fs);
  if (room !== 0) return room;
  // What runs may have changed it while it was not in memory: Linux takes the last transaction, too.
  return inodes.add(ino, SIZE_UNKNOWN, fs.journal.lastTid);
}

export function rowOf(fs: Mounted, ino: number): number {
  const { inodes, buffers, sb } = fs;
  const row = holdRow(fs, ino);
  if (row < 0 || inodes.size[row] !== SIZE_UNKNOWN) return row;
  const size = readCall(fs, () => {
    const at = inodeAt(buffers, sb, ino);
    return at < 0 ? EFSCORRUPTED : inodeSizeBytes(sb, buffers.view, at);
  });
  if (size < 0) return size;
  inodes.size[row] = size;
  return row;
}

/** Most pages of a read-ahead window; 0: nothing is read ahead. Files that are in use follow at once. */
export function setReadAhead({ inodes }: Mounted, pages: number): void {
  inodes.readAheadPages = pages;
  for (const [row, mapping] of inodes.mapping.entries())
    if (mapping !== NO_MAPPING) inodes.readAhead[row * RA_WORDS + RA.pages] = pages;
}

export function mappingOf(fs: Mounted, row: number): number {
  const { inodes, cache } = fs;
  if (inodes.mapping[row] !== NO_MAPPING) return inodes.mapping[row]!;
  let mapping = cache.open(new FileStore(fs, row), 0);
  if (mapping === ENFILE) {
    const shrunk = shrinkRows(fs);
    if (shrunk !== 0) return shrunk;
    mapping = cache.open(new FileStore(fs, row), 0);
  }
  if (isErr(mapping)) return mapping;
  inodes.mapping[row] = mapping;
  inodes.errorsSince[row] = cache.errorSample(mapping);
  raInit(inodes.readAhead, row * RA_WORDS, inodes.readAheadPages);
  return mapping;
}
