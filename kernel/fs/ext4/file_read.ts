/**
 * Reading a file, and looking for its holes.
 *
 * - readData(fs, ino, offset, into, how)   bytes; through the page cache with read-ahead, or out of the inode (inline
 *                                          data), or from the buffer cache (a file whose data are journalled)
 * - seekData(fs, ino, offset, hole)        SEEK_DATA and SEEK_HOLE; blocks without a place count by what is in the cache
 * - touchRead(fs, ino)                     atime by relatime's rule
 * - isJournalled(fs, inode)
 *
 * A direct read goes through the page cache, too, so that it sees what is written there; without read-ahead, and its
 * pages do not stay.
 */
import { EFSCORRUPTED, EINVAL, EIOCBQUEUED, ENXIO } from "../../abi/errno.ts";
import { CALL_PAGES_MAX } from "../../abi/limits.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { RA_WORDS } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { IO_DIRECT } from "../vfs/file_system.ts";
import { openPages, readCall, runCall } from "./call.ts";
import { MAP_BLOCKS_MAX } from "./extent.ts";
import { mapBlock, readFile } from "./file.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeNanos, inodeSeconds, inodeType } from "./inode.ts";
import { TOUCH_ATIME, touch } from "./inode_edit.ts";
import { INODE, INODE_FLAG, S_IFREG } from "./layout.ts";
import type { Mounted } from "./mounted.ts";
import { MARK_DIRTY } from "./page_marks.ts";
import { mappingOf, rowOf } from "./rows.ts";

/** Bytes that one call reads from the buffer cache. */
const BUFFERED_BYTES_MAX = 65_536;
const DAY_SEC = 86_400;

const pageOf = (offset: number): number => Math.floor(offset / PAGE_SIZE);

export const isJournalled = (fs: Mounted, inode: number): boolean =>
  inodeType(fs.buffers.view, inode) === S_IFREG &&
  fs.sb.journalIno !== 0 &&
  (fs.options.data === "journal" || (inodeFlags(fs.buffers.view, inode) & INODE_FLAG.journal_data) !== 0);

const isUncached = (fs: Mounted, inode: number): boolean =>
  (inodeFlags(fs.buffers.view, inode) & INODE_FLAG.inline_data) !== 0 || isJournalled(fs, inode);

function readPages(
  fs: Mounted,
  row: number,
  mapping: Mapping,
  offset: number,
  into: Uint8Array,
  direct: boolean,
): number {
  openPages(fs);
  return fs.cache.read(mapping, offset, into, direct ? undefined : fs.inodes.readAhead, row * RA_WORDS);
}

export function readData(fs: Mounted, ino: number, offset: number, into: Uint8Array, how: number): number {
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const direct = (how & IO_DIRECT) !== 0;
  const unit = fs.io.limits.logicalBlockSize;
  if (direct && (offset % unit !== 0 || into.length % unit !== 0)) return EINVAL;
  const rest = fs.inodes.size[row]! - offset;
  const span = (pageOf(offset) + CALL_PAGES_MAX) * PAGE_SIZE - offset;
  const length = Math.min(into.length, rest, span);
  if (length <= 0) return 0;
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  const part = into.subarray(0, length);
  const got = readCall(fs, () => {
    const inode = inodeAt(fs.buffers, fs.sb, ino);
    if (inode < 0) return EFSCORRUPTED;
    if (isUncached(fs, inode)) return readFile(fs.buffers, fs.sb, inode, offset, part.subarray(0, BUFFERED_BYTES_MAX));
    return readPages(fs, row, mapping as Mapping, offset, part, direct);
  });
  if (direct && got > 0) fs.cache.invalidate(mapping as Mapping, pageOf(offset), pageOf(offset + got - 1));
  return got;
}

/** atime moves when it is not behind the others, or a day old: relatime. Best effort, as nothing waits for it. */
export function touchRead(fs: Mounted, ino: number): void {
  const { buffers, sb, options } = fs;
  if (options.atime === "no" || fs.readOnly) return;
  fs.setTime();
  const due = readCall(fs, () => {
    const { view } = buffers;
    const at = inodeAt(buffers, sb, ino);
    if (at < 0) return 0;
    if (options.atime === "strict") return 1;
    const sec = inodeSeconds(sb, view, at, INODE.i_atime, INODE.i_atime_extra);
    const nsec = inodeNanos(sb, view, at, INODE.i_atime_extra);
    const isBehind = (field: number, extra: number): boolean => {
      const other = inodeSeconds(sb, view, at, field, extra);
      return sec < other || (sec === other && nsec <= inodeNanos(sb, view, at, extra));
    };
    const due = isBehind(INODE.i_mtime, INODE.i_mtime_extra) || isBehind(INODE.i_ctime, INODE.i_ctime_extra);
    return due || sec + DAY_SEC <= fs.edit.sec ? 1 : 0;
  });
  if (due !== 1) return;
  const touched = runCall(fs, 1, (edit) => {
    touch(edit, ino, TOUCH_ATIME);
    fs.fast.inode(ino);
    return 0;
  });
  const row = fs.inodes.find(ino);
  if (touched === 0 && row >= 0) fs.inodes.tid[row] = fs.journal.tid;
}

/** A block without written content on the disk is data when the page cache has some for it. */
const isCached = (fs: Mounted, row: number, lblk: number): boolean => {
  const { marks } = fs;
  const word = marks.get(row, Math.floor(lblk / marks.perPage));
  return (word & MARK_DIRTY & (1 << (lblk % marks.perPage))) !== 0;
};

/** First block from lblk on, below end, that is what is looked for; end when there is none, or an errno. */
function findBlock(fs: Mounted, row: number, inode: number, lblk: number, end: number, hole: boolean): number {
  const { buffers, sb, mapped, marks } = fs;
  for (let here = lblk; here < end;) {
    const fault = mapBlock(buffers, sb, inode, here, mapped);
    if (fault !== 0) return fault;
    const stop = Math.min(end, here + mapped.length);
    if (mapped.pblk > 0 && !mapped.unwritten) {
      if (!hole) return here;
      here = stop;
      continue;
    }
    if (marks.count[row] === 0) {
      if (hole) return here;
      here = stop;
      continue;
    }
    let found = -1;
    if (hole) {
      for (let at = here; at < stop && found < 0; at++) if (!isCached(fs, row, at)) found = at;
    } else {
      let first = Infinity;
      marks.each(row, Math.floor(here / marks.perPage), Math.floor((stop - 1) / marks.perPage), (index) => {
        for (let at = Math.max(here, index * marks.perPage); at < Math.min(stop, (index + 1) * marks.perPage); at++)
          if (isCached(fs, row, at)) first = Math.min(first, at);
      });
      if (first < Infinity) found = first;
    }
    if (found >= 0) return found;
    here = stop;
  }
  return end;
}

export function seekData(fs: Mounted, ino: number, offset: number, hole: boolean): number {
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const size = fs.inodes.size[row]!;
  if (offset < 0 || offset >= size) return ENXIO;
  const { sb } = fs;
  const found = readCall(fs, () => {
    const inode = inodeAt(fs.buffers, sb, ino);
    if (inode < 0) return EFSCORRUPTED;
    if ((inodeFlags(fs.buffers.view, inode) & INODE_FLAG.inline_data) !== 0) return hole ? size : offset;
    const end = Math.min(MAP_BLOCKS_MAX, Math.ceil(size / sb.blockSize));
    const block = findBlock(fs, row, inode, Math.floor(offset / sb.blockSize), end, hole);
    return block < 0 ? block : Math.max(offset, Math.min(size, block * sb.blockSize));
  });
  if (found === EIOCBQUEUED || found < 0) return found;
  return !hole && found >= size ? ENXIO : found;
}
