/**
 * Files whose data go through the journal (data=journal, or the inode's flag): their blocks are changed in the buffer
 * cache as if they were metadata, so nothing has to be ordered, and they are read from there (file_read.ts).
 *
 * - writeJournalled(fs, row, offset, from)    bytes written
 * - zeroJournalled(fs, edit, row, from, to)   within a call: bytes of one block, if that has a place; 0 or an errno
 */
import type { EditBlocks } from "../blocks.ts";
import { readCall, runCall } from "./call.ts";
import { mapBlock } from "./file.ts";
import { inodeSizeBytes } from "./inode.ts";
import { editInode, setInodeSize, touch, TOUCH_CTIME, TOUCH_MTIME } from "./inode_edit.ts";
import { ALLOC_DATA } from "./balloc.ts";
import { convertCredits, convertRun, createCredits, mapCreate, MAP_JOURNALLED } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";
import type { CallEdit, Mounted } from "./mounted.ts";

/** Blocks that one call writes: each may need a new extent, and all of them are one transaction's. */
const CALL_BLOCKS_MAX = 4;
/** Inode, superblock, the block of the old end. */
const CREDITS = 3;
const created: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

/** Address of a block of the file that may be written, and which the write covers as a whole or not; or an errno. */
function blockFor(fs: Mounted, edit: CallEdit, row: number, lblk: number, whole: boolean): number {
  const { inodes, sb, mapped } = fs;
  const ino = inodes.ino[row]!;
  const { blocks } = edit;
  const fault = mapBlock(blocks, sb, editInode(edit, ino), lblk, mapped);
  if (fault !== 0) return fault;
  const place = mapped.pblk;
  if (place === 0) {
    const error = mapCreate(edit, ino, lblk, 1, ALLOC_DATA | MAP_JOURNALLED, created);
    return error === 0 ? blocks.fresh(created.pblk) : error;
  }
  if (mapped.unwritten) {
    const error = convertRun(edit, ino, lblk, 1, true, MAP_JOURNALLED);
    return error === 0 ? blocks.fresh(place) : error;
  }
  return whole ? blocks.fresh(place) : blocks.writable(place);
}

export function zeroJournalled(fs: Mounted, edit: CallEdit, row: number, from: number, to: number): number {
  const { sb, mapped, inodes } = fs;
  const lblk = Math.floor(from / sb.blockSize);
  const fault = mapBlock(edit.blocks, sb, editInode(edit, inodes.ino[row]!), lblk, mapped);
  if (fault !== 0 || mapped.pblk === 0 || mapped.unwritten || from >= to) return fault;
  const at = edit.blocks.writable(mapped.pblk) - lblk * sb.blockSize;
  (edit.blocks as EditBlocks).bytes.fill(0, at + from, at + to);
  return 0;
}

export function writeJournalled(fs: Mounted, row: number, offset: number, from: Uint8Array): number {
  const { inodes, sb } = fs;
  const ino = inodes.ino[row]!;
  const first = Math.floor(offset / sb.blockSize);
  const length = Math.min(from.length, (first + CALL_BLOCKS_MAX) * sb.blockSize - offset);
  const end = Math.ceil((offset + length) / sb.blockSize);
  const each = readCall(fs, (edit) => Math.max(createCredits(edit, ino), convertCredits(edit, ino)));
  if (each < 0) return each;
  return runCall(fs, CREDITS + (end - first) * (1 + each), (edit) => {
    const size = inodes.size[row]!;
    // What a file that grows would show behind its old end.
    if (offset + length > size && size % sb.blockSize !== 0) {
      const stop = (Math.floor(size / sb.blockSize) + 1) * sb.blockSize;
      const zeroed = zeroJournalled(fs, edit, row, size, stop);
      if (zeroed !== 0) return zeroed;
    }
    for (let lblk = first, done = 0; lblk < end; lblk++) {
      const begin = offset + done - lblk * sb.blockSize;
      const count = Math.min(sb.blockSize - begin, length - done);
      const at = blockFor(fs, edit, row, lblk, count === sb.blockSize);
      if (at < 0) return at;
      edit.blocks.bytes.set(from.subarray(done, done + count), at + begin);
      done += count;
    }
    const grown = Math.max(size, offset + length);
    if (inodeSizeBytes(sb, edit.blocks.view, editInode(edit, ino)) !== grown) setInodeSize(edit, ino, grown);
    touch(edit, ino, TOUCH_MTIME | TOUCH_CTIME);
    edit.groups.finish();
    inodes.size[row] = grown;
    inodes.tid[row] = fs.journal.tid;
    inodes.dataTid[row] = fs.journal.tid;
    return length;
  });
}
