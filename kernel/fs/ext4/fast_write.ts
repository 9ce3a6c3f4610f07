/**
 * A fast commit is written: everything that the running transaction has changed, not only the file that is asked for, so
 * that a crash finds the file system as it was at one moment. fast_track.ts knows what changed, ../jbd2/fast_commit.ts
 * puts the frame around it.
 *
 *   ordered data are on the device -> records are gathered -> the journal takes them, one after another, in one step
 *
 *   INODE and its ranges, for each inode; then the names in their order
 *
 * - startFastCommit(fs, ino)     a number for journal.fcDone(); EIOCBQUEUED; ECANCELED: commit in full instead
 *
 * Inodes that have anything which replay would not get right are told by no record: directories, data in the inode or in
 * the journal, block maps, targets in a block of their own, files of 2 GiB and more. Nor those that share a block of the
 * inode table with the journal's inode: e2fsck 1.47 has that block in memory from before the replay, and writes it back
 * with the inode of the record, and without what the log had for the others.
 */
import { ECANCELED, EFSCORRUPTED, EIOCBQUEUED } from "../../abi/errno.ts";
import { WAIT_JOURNAL, WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { readCall } from "./call.ts";
import { FC_ADD_RANGE, FC_DEL_RANGE, FC_DENTRY, FC_INODE, FC_TAG } from "./fast_commit.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeLinks, inodeSizeBytes, inodeType } from "./inode.ts";
import { INODE_FLAG, S_IFDIR, S_IFREG } from "./layout.ts";
import { EXTENT, EXTENT_LEN_MAX } from "./layout_inode.ts";
import type { Mounted } from "./mounted.ts";
import { noteWait } from "./waits.ts";
import { orderedData } from "./writeback.ts";

/** Bytes of one fast commit's records. */
const RECORDS_MAX = 32_768;
/** The format's large_file is in the superblock. */
const SIZE_MAX = 2 ** 31;

/** Records as they are gathered: | tag 1 | length 2 | value |. Written and read within one function. */
const gathered = new Uint8Array(RECORDS_MAX);
const view = new DataView(gathered.buffer);
const HEAD_BYTES = 3;
let used = 0;

/** Where a record's value goes; -1: there are too many. */
function add(tag: number, bytes: number): number {
  const at = used + HEAD_BYTES;
  if (at + bytes > RECORDS_MAX) return -1;
  gathered[used] = tag;
  setLe16(view, used + 1, bytes);
  used = at + bytes;
  return at;
}

/** Its record lies in one block with the journal's. */
function isBesideJournal({ sb }: Mounted, ino: number): boolean {
  const perBlock = sb.blockSize / sb.inodeSize;
  return Math.floor((ino - 1) / perBlock) === Math.floor((sb.journalIno - 1) / perBlock);
}

/** Records can say what this inode is. */
function isSayable(fs: Mounted, ino: number, at: number): boolean {
  const { buffers, sb } = fs;
  if (isBesideJournal(fs, ino)) return false;
  const flags = inodeFlags(buffers.view, at);
  const type = inodeType(buffers.view, at);
  const hasExtents = (flags & INODE_FLAG.extents) !== 0;
  if (type === S_IFDIR || inodeLinks(buffers.view, at) === 0) return false;
  if ((flags & (INODE_FLAG.inline_data | INODE_FLAG.journal_data)) !== 0) return false;
  return hasExtents === (type === S_IFREG) && inodeSizeBytes(sb, buffers.view, at) < SIZE_MAX;
}

/** 0, ECANCELED, or an errno. */
function addInode(fs: Mounted, row: number): number {
  const { buffers, sb, fast } = fs;
  const ino = fast.ino[row]!;
  const at = inodeAt(buffers, sb, ino);
  if (at < 0) return EFSCORRUPTED;
  if (!isSayable(fs, ino, at)) return ECANCELED;
  // All of it: behind its fields may still be the attributes of one that had the number before.
  const to = add(FC_TAG.INODE, FC_INODE.bytes + sb.inodeSize);
  if (to < 0) return ECANCELED;
  setLe32(view, to + FC_INODE.fc_ino, ino);
  gathered.set(buffers.bytes.subarray(at, at + sb.inodeSize), to + FC_INODE.bytes);
  return addRanges(fs, ino, fast.first[row]!, fast.end[row]!);
}

function addRanges({ buffers, sb, mapped }: Mounted, ino: number, first: number, end: number): number {
  for (let lblk = first; lblk < end;) {
    const fault = mapBlock(buffers, sb, inodeAt(buffers, sb, ino), lblk, mapped);
    if (fault !== 0) return fault;
    const most = mapped.pblk === 0 ? Infinity : mapped.unwritten ? EXTENT_LEN_MAX - 1 : EXTENT_LEN_MAX;
    const length = Math.min(end - lblk, mapped.length, most);
    const [tag, bytes] =
      mapped.pblk === 0 ? [FC_TAG.DEL_RANGE, FC_DEL_RANGE.bytes] : [FC_TAG.ADD_RANGE, FC_ADD_RANGE.bytes];
    const to = add(tag, bytes);
    if (to < 0) return ECANCELED;
    setLe32(view, to + FC_ADD_RANGE.fc_ino, ino);
    if (mapped.pblk === 0) {
      setLe32(view, to + FC_DEL_RANGE.fc_lblk, lblk);
      setLe32(view, to + FC_DEL_RANGE.fc_len, length);
    } else {
      const extent = to + FC_ADD_RANGE.fc_ex;
      setLe32(view, extent + EXTENT.ee_block, lblk);
      setLe16(view, extent + EXTENT.ee_len, mapped.unwritten ? EXTENT_LEN_MAX + length : length);
      setLe16(view, extent + EXTENT.ee_start_hi, Math.floor(mapped.pblk / 2 ** 32));
      setLe32(view, extent + EXTENT.ee_start_lo, mapped.pblk % 2 ** 32);
    }
    lblk += length;
  }
  return 0;
}

function addName(fs: Mounted, row: number): number {
  const { buffers, sb, fast } = fs;
  const dir = inodeAt(buffers, sb, fast.dir[row]!);
  // Replay gives up the hash tree, and so it writes the directory's inode.
  const isIndexed = dir >= 0 && (inodeFlags(buffers.view, dir) & INODE_FLAG.index) !== 0;
  if (isIndexed && isBesideJournal(fs, fast.dir[row]!)) return ECANCELED;
  const name = fast.text(row);
  const to = add(fast.kind[row]!, FC_DENTRY.bytes + name.length);
  if (to < 0) return ECANCELED;
  setLe32(view, to + FC_DENTRY.fc_parent_ino, fast.dir[row]!);
  setLe32(view, to + FC_DENTRY.fc_ino, fast.named[row]!);
  gathered.set(name, to + FC_DENTRY.bytes);
  return 0;
}

function gather(fs: Mounted): number {
  used = 0;
  let fault = 0;
  for (let row = 0; row < fs.fast.inodes && fault === 0; row++) fault = addInode(fs, row);
  for (let row = 0; row < fs.fast.names && fault === 0; row++) fault = addName(fs, row);
  return fault;
}

/** A directory's own record is not among those that are written, so its times would not be there. */
function isDirectory({ buffers, sb }: Mounted, ino: number): boolean {
  const at = inodeAt(buffers, sb, ino);
  return at < 0 || inodeType(buffers.view, at) === S_IFDIR;
}

export function startFastCommit(fs: Mounted, ino: number): number {
  const { journal, fast } = fs;
  const { tid } = journal;
  if (!fast.usable(tid)) return ECANCELED;
  const ordered = orderedData(fs, tid);
  if (ordered !== 0) return ordered === EIOCBQUEUED ? noteWait(fs, WAIT_WRITEBACK) : ECANCELED;
  const fault = readCall(fs, () => (isDirectory(fs, ino) ? ECANCELED : gather(fs)));
  if (fault !== 0) return fault === EIOCBQUEUED ? fault : ECANCELED;
  const begun = journal.fcBegin();
  if (begun !== 0) return begun === EIOCBQUEUED ? noteWait(fs, WAIT_JOURNAL) : begun;
  const { bytes } = fs.buffers;
  for (let here = 0; here < used;) {
    const length = view.getUint16(here + 1, true);
    const to = journal.fcTag(gathered[here]!, length);
    if (to < 0) {
      journal.fcCancel();
      return ECANCELED;
    }
    here += HEAD_BYTES;
    bytes.set(gathered.subarray(here, here + length), to);
    here += length;
  }
  const number = journal.fcEnd();
  if (number === 0) return ECANCELED;
  fast.clear();
  return number;
}
