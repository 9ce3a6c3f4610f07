/**
 * truncate: the new size is there at once and for everybody; blocks behind it go in further transactions (file_work.ts),
 * and until they are gone the file is on record as an orphan.
 *
 * - truncateData(fs, ino, size, call)    call[0]: 1 when the size is set and blocks are still to go
 *
 * Bytes behind the new end in its block become zeroes, in the cache and, before the new size can be there, on the disk.
 */
import { EFBIG, EINVAL, EPERM, isErr } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { PAGE_LAST } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { openPages, runCall } from "./call.ts";
import { cleanBlocks, forget, isDelayed } from "./delayed.ts";
import { mapBlock } from "./file.ts";
import { NOT_INLINE, truncateInline } from "./file_inline.ts";
import { zeroJournalled } from "./file_journalled.ts";
import { coverTail, markBlock, NO_TAIL } from "./file_pages.ts";
import { isJournalled } from "./file_read.ts";
import { dropPages, finishWork } from "./file_work.ts";
import { fileFlags, flagsHave, sizeMax } from "./file_write.ts";
import { WORK } from "./icache.ts";
import { editInode, setInodeSize, touch, TOUCH_CTIME, TOUCH_MTIME } from "./inode_edit.ts";
import { inodeSectors } from "./inode.ts";
import { INODE_FLAG } from "./layout.ts";
import type { CallEdit, Mounted } from "./mounted.ts";
import { orphanAdd } from "./orphan_edit.ts";
import { mappingOf, rowOf } from "./rows.ts";

/** Inode, superblock or block of the orphan file, the orphan before, a journalled block. */
const CREDITS = 6;

/** Zeroes behind `size` in its page, which stays; the block of it that has a place on the disk, or NO_TAIL. */
function zeroBehind(fs: Mounted, edit: CallEdit, row: number, size: number): number {
  const { inodes, sb, cache, mapped } = fs;
  if (size % PAGE_SIZE === 0) return NO_TAIL;
  const index = Math.floor(size / PAGE_SIZE);
  const slot = cache.edit(inodes.mapping[row]! as Mapping, index);
  if (isErr(slot)) return slot;
  cache.stage(slot).fill(0, size - index * PAGE_SIZE);
  const block = Math.floor(size / sb.blockSize);
  if (size % sb.blockSize === 0 || isDelayed(fs, row, block)) return NO_TAIL;
  const fault = mapBlock(edit.blocks, sb, editInode(edit, inodes.ino[row]!), block, mapped);
  if (fault !== 0) return fault;
  return mapped.pblk > 0 && !mapped.unwritten ? block : NO_TAIL;
}

/** Within a call: the pages of a file that becomes shorter or longer. The block to be marked, NO_TAIL, or an errno. */
function changePages(fs: Mounted, edit: CallEdit, row: number, size: number): number {
  const old = fs.inodes.size[row]!;
  if (size > old) return coverTail(fs, edit, row);
  if (size === old) return NO_TAIL;
  const tail = zeroBehind(fs, edit, row, size);
  if (tail < NO_TAIL) return tail;
  const gone = dropPages(fs, row, Math.ceil(size / PAGE_SIZE), PAGE_LAST);
  return gone === 0 ? tail : gone;
}

function setSize(fs: Mounted, row: number, size: number): number {
  const { inodes, sb, marks } = fs;
  const ino = inodes.ino[row]!;
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  return runCall(fs, CREDITS, (edit) => {
    const old = inodes.size[row]!;
    const journalled = isJournalled(fs, editInode(edit, ino));
    openPages(fs);
    const tail = journalled ? NO_TAIL : changePages(fs, edit, row, size);
    if (tail < NO_TAIL) return tail;
    if (journalled) {
      const from = Math.min(size, old);
      const end = Math.ceil(from / sb.blockSize) * sb.blockSize;
      const zeroed = zeroJournalled(fs, edit, row, from, end);
      if (zeroed !== 0) return zeroed;
    }
    setInodeSize(edit, ino, size);
    const cuts = size < old || inodeSectors(sb, edit.blocks.view, editInode(edit, ino)) > 0;
    if (cuts && size <= old) orphanAdd(edit, ino);
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    if (size < old && !journalled) {
      forget(fs, row, Math.ceil(size / PAGE_SIZE), PAGE_LAST);
      const end = Math.ceil(size / sb.blockSize);
      cleanBlocks(fs, row, end, Math.ceil(size / PAGE_SIZE) * marks.perPage);
    }
    if (tail !== NO_TAIL) markBlock(fs, row, tail);
    inodes.size[row] = size;
    if (size !== old) inodes.dataTid[row] = fs.journal.tid;
    if (size > old && !journalled) fs.fast.inode(ino);
    inodes.tid[row] = fs.journal.tid;
    if (cuts && size <= old) inodes.setWork(row, WORK.Cut, Math.ceil(size / sb.blockSize), 0);
    return 0;
  });
}

export function truncateData(fs: Mounted, ino: number, size: number, call: Float64Array): number {
  if (size < 0) return EINVAL;
  const row = rowOf(fs, ino);
  if (row < 0) return row;
  const left = finishWork(fs, row);
  if (left !== 0 || call[0] === 1) return left;
  const flags = fileFlags(fs, ino);
  if (flags < 0) return flags;
  if (flagsHave(flags, INODE_FLAG.append)) return EPERM;
  if (size > sizeMax(fs, flags)) return EFBIG;
  const inline = truncateInline(fs, row, size);
  if (inline !== NOT_INLINE) return inline;
  const set = setSize(fs, row, size);
  if (set !== 0) return set;
  call[0] = 1;
  return finishWork(fs, row);
}
