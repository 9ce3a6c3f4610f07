/**
 * What a new file system holds: the root, lost+found, the resize inode, the journal and the orphan file. Each takes the
 * blocks that mke2fs would take for it: the first free ones from a goal on. False: there is no room for it.
 *
 * - makeDirectories(edit)     reserved inodes, root, lost+found
 * - makeResizeInode(edit)     the reserve for descriptors, as a file
 * - makeJournal(edit, plan, superAt)       in the middle, with a copy of its map in the superblock
 * - makeOrphanFile(edit, superAt)
 */
import { assert } from "../../lib/assert.ts";
import { setBe32, setLe32, setLe16 } from "../../lib/bytes.ts";
import { JBD2_MAGIC, JBLOCK_SUPER_V2, JSB } from "../jbd2/layout.ts";
import type { Run } from "./balloc.ts";
import { inodeSeed, setInodeChecksum, setOrphanBlockChecksum } from "./csum.ts";
import { initDirBlock } from "./dir_block.ts";
import { addEntry } from "./dir_edit.ts";
import type { Edit } from "./edit.ts";
import { descAt, gdFreeBlocks } from "./group.ts";
import { initInode } from "./ialloc.ts";
import { inodeFlags, inodeSectors } from "./inode.ts";
import {
  COMPAT,
  I_BLOCK_BYTES,
  INCOMPAT,
  INODE,
  INODE_FLAG,
  INO_BAD,
  INO_JOURNAL,
  INO_RESIZE,
  INO_ROOT,
  S_IFDIR,
  S_IFREG,
  SB,
} from "./layout.ts";
import { FT_DIR } from "./layout_dir.ts";
import { DIND_BLOCK, NDIR_BLOCKS, ORPHAN_MAGIC, ORPHAN_TAIL } from "./layout_inode.ts";
import { insertRun } from "./map_edit.ts";
import type { Plan } from "./mkfs_plan.ts";
import { firstRun } from "./mkfs_tables.ts";
import { writableInode } from "./orphan.ts";
import { descBlock, firstBlockOf, groupHasSuper, groupOf } from "./super.ts";
import { sectorsIn, setSectors } from "./truncate.ts";

const OWNER = { uid: 0, gid: 0 };
const NAME = "lost+found";
const LOST_FOUND = Uint8Array.from(NAME, (letter) => letter.charCodeAt(0));
/** lost+found can take so many bytes of names without a further block, and is never a single block. */
const LOST_FOUND_BYTES = 16 * 1024;
/** Blocks of an orphan file, in parts of the file system (ext2fs_default_orphan_file_blocks). */
const ORPHAN_BLOCKS_MIN = 32;
const ORPHAN_BLOCKS_MAX = 512;
const ORPHAN_PART = 4096;

function setSize(edit: Edit, at: number, bytes: number): void {
  setLe32(edit.blocks.view, at + INODE.i_size_lo, bytes % 2 ** 32);
  setLe32(edit.blocks.view, at + INODE.i_size_high, Math.floor(bytes / 2 ** 32));
}

/** Gives an inode that has no blocks its first `count`, from `goal` on. Addresses stay: a new image's blocks never move. */
function putBlocks(edit: Edit, ino: number, goal: number, count: number): number[] | undefined {
  const { blocks, sb, groups } = edit;
  const at = writableInode(blocks, sb, ino);
  const found: number[] = [];
  const run: Run = { block: 0, count: 0 };
  for (let from = goal; found.length < count; from = run.block + run.count) {
    const most = count - found.length;
    const isFound = firstRun(blocks, sb, from, most, run) || firstRun(blocks, sb, sb.firstDataBlock, most, run);
    if (!isFound) return undefined;
    const clusters = groups.takeRange(run.block, run.count);
    if (insertRun(edit, ino, found.length, run.block, run.count, 0) !== 0) return undefined;
    setSectors(sb, blocks.view, at, inodeSectors(sb, blocks.view, at) + clusters * sectorsIn(sb));
    for (let n = 0; n < run.count; n++) found.push(run.block + n);
  }
  return found;
}

function finishInode({ blocks, sb }: Edit, at: number, ino: number, links: number): void {
  setLe16(blocks.view, at + INODE.i_links_count, links);
  setInodeChecksum(sb, blocks.bytes, blocks.view, at, ino);
}

/** The list of bad blocks: empty, and no more than its times. */
function makeBadBlocks({ blocks, sb, sec }: Edit): void {
  const at = writableInode(blocks, sb, INO_BAD);
  for (const field of [INODE.i_atime, INODE.i_ctime, INODE.i_mtime]) setLe32(blocks.view, at + field, sec % 2 ** 32);
  setInodeChecksum(sb, blocks.bytes, blocks.view, at, INO_BAD);
}

export function makeDirectories(edit: Edit): boolean {
  const { blocks, sb, groups } = edit;
  for (let ino = 1; ino < sb.firstIno; ino++) groups.takeInode(ino, ino === INO_ROOT);
  const lost = sb.firstIno;
  groups.takeInode(lost, true);
  makeBadBlocks(edit);
  initInode(edit, INO_ROOT, { mode: S_IFDIR | 0o755, ...OWNER }, 0);
  initInode(edit, lost, { mode: S_IFDIR | 0o700, ...OWNER }, 0);
  // Never inline, whatever the features say: Linux refuses a root without blocks.
  const [root] = putBlocks(edit, INO_ROOT, sb.firstDataBlock, 1) ?? [];
  if (root === undefined) return false;
  initDirBlock(blocks, sb, inodeSeed(sb, INO_ROOT, 0), root, INO_ROOT, INO_ROOT);
  const rootAt = writableInode(blocks, sb, INO_ROOT);
  setSize(edit, rootAt, sb.blockSize);
  finishInode(edit, rootAt, INO_ROOT, 3);
  let count = Math.min(NDIR_BLOCKS, Math.max(2, Math.ceil(LOST_FOUND_BYTES / sb.blockSize)));
  // mke2fs lets it grow so many times, and with inline_data the first time is only to its first block.
  if ((sb.incompat & INCOMPAT.inline_data) !== 0) count--;
  const found = putBlocks(edit, lost, sb.firstDataBlock, count);
  if (found === undefined) return false;
  for (const [n, block] of found.entries())
    initDirBlock(blocks, sb, inodeSeed(sb, lost, 0), block, n === 0 ? lost : 0, INO_ROOT);
  const lostAt = writableInode(blocks, sb, lost);
  setSize(edit, lostAt, count * sb.blockSize);
  finishInode(edit, lostAt, lost, 2);
  return addEntry(edit, INO_ROOT, LOST_FOUND, lost, FT_DIR) === 0;
}

/**
 * A double indirect block names the reserved blocks of group 0 at the places of their number in the table of descriptors;
 * each of those, as an indirect block, names its copies in the other groups. So they are in use, and a resizer finds them.
 */
export function makeResizeInode(edit: Edit): boolean {
  const { blocks, sb, groups } = edit;
  if ((sb.compat & COMPAT.resize_inode) === 0) return true;
  const { view } = blocks;
  const goal = 3 + sb.reservedGdtBlocks + sb.descBlocks + sb.itableBlocks;
  const run: Run = { block: 0, count: 0 };
  if (!firstRun(blocks, sb, goal, 1, run)) return false;
  const double = run.block;
  groups.takeRange(double, 1);
  initInode(edit, INO_RESIZE, { mode: S_IFREG | 0o600, ...OWNER }, 0);
  const at = writableInode(blocks, sb, INO_RESIZE);
  blocks.bytes.fill(0, at + INODE.i_block, at + INODE.i_block + I_BLOCK_BYTES);
  setLe32(view, at + INODE.i_flags, inodeFlags(view, at) & ~INODE_FLAG.extents);
  setLe32(view, at + INODE.i_block + 4 * DIND_BLOCK, double);
  const perBlock = sb.blockSize / 4;
  const doubleAt = blocks.fresh(double);
  let count = 1;
  for (let n = 0; n < sb.reservedGdtBlocks; n++) {
    const primary = descBlock(sb, 0) + sb.descBlocks + n;
    setLe32(view, doubleAt + 4 * ((sb.descBlocks + n) % perBlock), primary);
    const to = blocks.fresh(primary);
    count++;
    let slot = 0;
    for (let group = 1; group < sb.groups; group++) {
      if (!groupHasSuper(sb, group)) continue;
      setLe32(view, to + 4 * slot++, primary + group * sb.blocksPerGroup);
      count++;
    }
  }
  setSize(edit, at, (perBlock * perBlock + perBlock + NDIR_BLOCKS) * sb.blockSize);
  setSectors(sb, view, at, count * sectorsIn(sb));
  finishInode(edit, at, INO_RESIZE, 1);
  return true;
}

/** First block of the group with most room around the middle (get_midpoint_journal_block); without extents the first. */
function journalGoal({ blocks, sb }: Edit): number {
  if (!sb.hasExtents) return sb.firstDataBlock;
  const freeIn = (group: number): number => gdFreeBlocks(sb, blocks.view, descAt(blocks, sb, group));
  const middle = groupOf(sb, Math.floor((sb.blocksCount - sb.firstDataBlock) / 2));
  let start = Math.max(0, middle - 1);
  let group = middle;
  if (sb.groupsPerFlex > 1 && middle > sb.groupsPerFlex) {
    start = middle - (middle % sb.groupsPerFlex);
    while (start < sb.groups && freeIn(start) === 0) start++;
    if (start === sb.groups) start = 0;
    group = start;
  }
  const end = Math.min(group + 1, sb.groups - 1);
  let best = start;
  for (let n = start + 1; n <= end; n++) if (freeIn(n) > freeIn(best)) best = n;
  return firstBlockOf(sb, best);
}

export function makeJournal(edit: Edit, plan: Plan, superAt: number): boolean {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const count = plan.journalBlocks + plan.fastCommitBlocks;
  initInode(edit, INO_JOURNAL, { mode: S_IFREG | 0o600, ...OWNER }, 0);
  const [first] = putBlocks(edit, INO_JOURNAL, journalGoal(edit), count) ?? [];
  if (first === undefined) return false;
  const at = writableInode(blocks, sb, INO_JOURNAL);
  setSize(edit, at, count * sb.blockSize);
  finishInode(edit, at, INO_JOURNAL, 1);
  const to = blocks.fresh(first);
  setBe32(view, to + JSB.h_magic, JBD2_MAGIC);
  setBe32(view, to + JSB.h_blocktype, JBLOCK_SUPER_V2);
  setBe32(view, to + JSB.s_blocksize, sb.blockSize);
  setBe32(view, to + JSB.s_maxlen, count);
  setBe32(view, to + JSB.s_nr_users, 1);
  setBe32(view, to + JSB.s_first, 1);
  setBe32(view, to + JSB.s_sequence, 1);
  setBe32(view, to + JSB.s_num_fc_blks, plan.fastCommitBlocks);
  blocks.bytes.set(sb.uuid, to + JSB.s_uuid);
  blocks.bytes.copyWithin(superAt + SB.s_jnl_blocks, at + INODE.i_block, at + INODE.i_block + I_BLOCK_BYTES);
  setLe32(view, superAt + SB.s_jnl_blocks + I_BLOCK_BYTES, Math.floor((count * sb.blockSize) / 2 ** 32));
  setLe32(view, superAt + SB.s_jnl_blocks + I_BLOCK_BYTES + 4, (count * sb.blockSize) % 2 ** 32);
  view.setUint8(superAt + SB.s_jnl_backup_type, 1);
  setLe32(view, superAt + SB.s_journal_inum, INO_JOURNAL);
  return true;
}

export function makeOrphanFile(edit: Edit, superAt: number): boolean {
  const { blocks, sb, groups } = edit;
  const { view } = blocks;
  const ino = sb.firstIno + 1;
  if (!groups.takeInode(ino, false)) return false;
  initInode(edit, ino, { mode: S_IFREG | 0o600, ...OWNER }, 0);
  const size = 2 ** sb.clusterBits;
  const wanted = Math.min(ORPHAN_BLOCKS_MAX, Math.max(ORPHAN_BLOCKS_MIN, Math.floor(sb.blocksCount / ORPHAN_PART)));
  const count = Math.ceil(wanted / size) * size;
  const found = putBlocks(edit, ino, sb.firstDataBlock, count);
  if (found === undefined) return false;
  const seed = inodeSeed(sb, ino, 0);
  for (const block of found) {
    const to = blocks.fresh(block);
    setLe32(view, to + sb.blockSize - ORPHAN_TAIL.bytes + ORPHAN_TAIL.ob_magic, ORPHAN_MAGIC);
    setOrphanBlockChecksum(sb, seed, blocks.bytes, view, to, block);
  }
  const at = writableInode(blocks, sb, ino);
  setSize(edit, at, count * sb.blockSize);
  finishInode(edit, at, ino, 1);
  assert(sb.orphanFileIno === 0, "makeOrphanFile: there is one already");
  setLe32(view, superAt + SB.s_orphan_file_inum, ino);
  return true;
}
