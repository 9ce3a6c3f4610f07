/**
 * Files whose data lie in the inode (feature inline_data): small ones, as long as they fit. Their changes are changes of
 * the inode, so they need no pages and no order.
 *
 * - writeInline(fs, row, offset, from)     bytes written; NOT_INLINE: it has a map now, and is written by that
 * - truncateInline(fs, row, size)          0; NOT_INLINE
 * - leaveInode(fs, row)                    the data move to a block, if they are inline: 0, or an errno
 *
 * Data that leave the inode were safe with it: the transaction that takes them out waits for them to be in their block,
 * whatever data= says.
 */
import { EFSCORRUPTED, ENOSPC } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { openPages, readCall, runCall } from "./call.ts";
import { ALLOC_DATA } from "./balloc.ts";
import { isJournalled } from "./file_read.ts";
import { inodeAt } from "./group.ts";
import { inlineTruncate, inlineWrite, isInline, mayInline, takeInline } from "./inline.ts";
import { editInode, setInodeSize, touch, TOUCH_CTIME, TOUCH_MTIME } from "./inode_edit.ts";
import { INCOMPAT } from "./layout.ts";
import { createCredits, mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { Mounted } from "./mounted.ts";
import { mappingOf } from "./rows.ts";
import { markBlock } from "./file_pages.ts";

export const NOT_INLINE = -1_000;
const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };
const CREDITS = 2;

/** 1: the data are inline; 2: they could be; 0: neither. */
function stateOf(fs: Mounted, row: number): number {
  const { sb, buffers, inodes } = fs;
  if ((sb.incompat & INCOMPAT.inline_data) === 0) return 0;
  return readCall(fs, () => {
    const inode = inodeAt(buffers, sb, inodes.ino[row]!);
    if (inode < 0) return EFSCORRUPTED;
    if (isInline(buffers.view, inode)) return 1;
    return inodes.size[row] === 0 && fs.marks.count[row] === 0 && mayInline(buffers, sb, inode) ? 2 : 0;
  });
}

export function writeInline(fs: Mounted, row: number, offset: number, from: Uint8Array): number {
  const state = stateOf(fs, row);
  if (state < 0) return state;
  if (state === 0) return NOT_INLINE;
  const { inodes } = fs;
  const ino = inodes.ino[row]!;
  const done = runCall(fs, CREDITS, (edit) => {
    const fault = inlineWrite(edit, ino, offset, from);
    if (fault === ENOSPC) return 0;
    if (fault < 0) return fault;
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    changed(fs, row, Math.max(inodes.size[row]!, offset + from.length));
    return from.length;
  });
  if (done !== 0) return done;
  const moved = state === 1 ? leaveInode(fs, row) : 0;
  return moved === 0 ? NOT_INLINE : moved;
}

export function truncateInline(fs: Mounted, row: number, size: number): number {
  const state = stateOf(fs, row);
  if (state < 0) return state;
  if (state !== 1) return NOT_INLINE;
  const ino = fs.inodes.ino[row]!;
  const done = runCall(fs, CREDITS, (edit) => {
    const fault = inlineTruncate(edit, ino, size);
    if (fault === ENOSPC) return 1;
    if (fault < 0) return fault;
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    changed(fs, row, size);
    return 0;
  });
  if (done <= 0) return done;
  const moved = leaveInode(fs, row);
  return moved === 0 ? NOT_INLINE : moved;
}

function changed(fs: Mounted, row: number, size: number): void {
  fs.inodes.size[row] = size;
  fs.inodes.tid[row] = fs.journal.tid;
  fs.inodes.dataTid[row] = fs.journal.tid;
}

export function leaveInode(fs: Mounted, row: number): number {
  const state = stateOf(fs, row);
  if (state !== 1) return Math.min(state, 0);
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  const { inodes, sb, cache } = fs;
  const ino = inodes.ino[row]!;
  const size = inodes.size[row]!;
  const blocks = Math.ceil(size / sb.blockSize);
  // Its map begins with this call.
  const each = readCall(fs, (edit) => createCredits(edit, ino));
  if (each < 0) return each;
  return runCall(fs, CREDITS + (blocks + 1) * (1 + each), (edit) => {
    openPages(fs);
    const data = takeInline(edit, ino);
    if (typeof data === "number") return data;
    const journalled = isJournalled(fs, editInode(edit, ino));
    const slot = journalled || size === 0 ? 0 : cache.fresh(mapping as Mapping, 0);
    if (slot < 0) return slot;
    if (!journalled && size > 0) cache.stage(slot as never).set(data);
    for (let lblk = 0; lblk < blocks; lblk++) {
      const error = mapCreate(edit, ino, lblk, 1, ALLOC_DATA, created);
      if (error !== 0) return error;
      const part = data.subarray(lblk * sb.blockSize, (lblk + 1) * sb.blockSize);
      if (journalled) edit.blocks.bytes.set(part, edit.blocks.fresh(created.pblk));
    }
    setInodeSize(edit, ino, size);
    touch(edit, ino, TOUCH_CTIME);
    edit.groups.finish();
    if (!journalled) for (let lblk = 0; lblk < blocks; lblk++) markBlock(fs, row, lblk);
    changed(fs, row, size);
    return 0;
  });
}
