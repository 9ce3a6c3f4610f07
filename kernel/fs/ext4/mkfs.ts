/**
 * mkfs: an empty ext4 as mke2fs 1.47 lays it out with the same options, the same bytes for the same options.
 *
 * - makeExt4(options)     MadeExt4: the blocks that are not zero, and the superblock; or Refusal, one line
 * - imageOf(made)         the same as an image in memory, with room for changes
 *
 * What is not as mke2fs has it: inode tables count as zeroed (they are: a new image is all zeroes), and nothing is said
 * about what was written to the device so far.
 */
import { EINVAL, ENOSPC } from "../../abi/errno.ts";
import { assert } from "../../lib/assert.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { BlockImage, imageBuffer } from "../block_image.ts";
import { SparseBlocks } from "../sparse_blocks.ts";
import { setSuperChecksum } from "./csum.ts";
import { imageEdit } from "./edit.ts";
import { GroupEdit, sumCounts } from "./group_edit.ts";
import { COMPAT, EXT4_MAGIC, FLAGS_SIGNED_HASH, INCOMPAT, RO_COMPAT, SB, STATE_VALID, SUPER_OFFSET } from "./layout.ts";
import { DX_HASH_HALF_MD4 } from "./layout_dir.ts";
import { GOOD_OLD_FIRST_INO, GOOD_OLD_INODE_SIZE } from "./layout.ts";
import { makeDirectories, makeJournal, makeOrphanFile, makeResizeInode } from "./mkfs_files.ts";
import { planExt4 } from "./mkfs_plan.ts";
import type { MakeOptions, Plan } from "./mkfs_plan.ts";
import { writeGroups } from "./mkfs_tables.ts";
import { descBlock, firstBlockOf, groupHasSuper, isRefusal, overheadOf, readSuper } from "./super.ts";
import type { Refusal, Super } from "./super.ts";

export interface MadeExt4 {
  readonly blocks: SparseBlocks;
  readonly sb: Super;
  readonly plan: Plan;
}

const ERRORS_CONTINUE = 1;
/** Mount options that stand in the superblock: user_xattr, acl. */
const DEFAULT_MOUNT_OPTIONS = 0xc;
/** i_extra_isize that reaches to i_projid. */
const EXTRA_ISIZE = 32;
const CHECKSUM_CRC32C = 1;
const LABEL_BYTES = 16;

const high = (value: number): number => Math.floor(value / 2 ** 32);

function writeSuper(blocks: SparseBlocks, at: number, plan: Plan, options: MakeOptions): void {
  const { view, bytes } = blocks;
  const put16 = (field: number, value: number): void => setLe16(view, at + field, value);
  const put32 = (field: number, value: number): void => setLe32(view, at + field, value % 2 ** 32);
  const log = Math.log2(plan.blockSize / 1024);
  put32(SB.s_inodes_count, plan.inodesPerGroup * plan.groups);
  put32(SB.s_blocks_count_lo, plan.blocksCount);
  put32(SB.s_blocks_count_hi, high(plan.blocksCount));
  put32(SB.s_r_blocks_count_lo, plan.rootBlocks);
  put32(SB.s_r_blocks_count_hi, high(plan.rootBlocks));
  put32(SB.s_first_data_block, plan.firstDataBlock);
  put32(SB.s_log_block_size, log);
  put32(SB.s_log_cluster_size, log + plan.clusterBits);
  put32(SB.s_blocks_per_group, plan.blocksPerGroup);
  put32(SB.s_clusters_per_group, plan.blocksPerGroup / 2 ** plan.clusterBits);
  put32(SB.s_inodes_per_group, plan.inodesPerGroup);
  put32(SB.s_wtime, options.now);
  view.setUint8(at + SB.s_wtime_hi, high(options.now));
  put16(SB.s_max_mnt_count, 0xffff);
  put16(SB.s_magic, EXT4_MAGIC);
  put16(SB.s_state, STATE_VALID);
  put16(SB.s_errors, ERRORS_CONTINUE);
  put32(SB.s_lastcheck, options.now);
  view.setUint8(at + SB.s_lastcheck_hi, high(options.now));
  put32(SB.s_mkfs_time, options.now);
  view.setUint8(at + SB.s_mkfs_time_hi, high(options.now));
  put32(SB.s_rev_level, 1);
  put32(SB.s_first_ino, GOOD_OLD_FIRST_INO);
  put16(SB.s_inode_size, plan.inodeSize);
  put32(SB.s_feature_compat, plan.compat);
  put32(SB.s_feature_incompat, plan.incompat);
  put32(SB.s_feature_ro_compat, plan.roCompat);
  bytes.set(options.uuid, at + SB.s_uuid);
  bytes.set((options.label ?? new Uint8Array(0)).subarray(0, LABEL_BYTES), at + SB.s_volume_name);
  put16(SB.s_reserved_gdt_blocks, plan.reservedGdtBlocks);
  bytes.set(options.hashSeed, at + SB.s_hash_seed);
  view.setUint8(at + SB.s_def_hash_version, DX_HASH_HALF_MD4);
  if ((plan.incompat & INCOMPAT["64bit"]) !== 0) put16(SB.s_desc_size, plan.descSize);
  put32(SB.s_default_mount_opts, DEFAULT_MOUNT_OPTIONS);
  if (plan.inodeSize > GOOD_OLD_INODE_SIZE) {
    put16(SB.s_min_extra_isize, EXTRA_ISIZE);
    put16(SB.s_want_extra_isize, EXTRA_ISIZE);
  }
  put32(SB.s_flags, FLAGS_SIGNED_HASH);
  if (plan.groupsPerFlex > 1) view.setUint8(at + SB.s_log_groups_per_flex, Math.log2(plan.groupsPerFlex));
  if ((plan.roCompat & RO_COMPAT.metadata_csum) !== 0) view.setUint8(at + SB.s_checksum_type, CHECKSUM_CRC32C);
  put32(SB.s_backup_bgs, plan.backupGroups[0]);
  put32(SB.s_backup_bgs + 4, plan.backupGroups[1]);
  if ((plan.incompat & INCOMPAT.metadata_csum_seed) !== 0)
    put32(SB.s_checksum_seed, crc32c(0xffffffff, options.uuid, 0, 16));
}

export function makeExt4(options: MakeOptions): MadeExt4 | Refusal {
  assert(options.uuid.length === 16 && options.hashSeed.length === 16, "makeExt4: a uuid has 16 bytes");
  const plan = planExt4(options);
  if (isRefusal(plan)) return plan;
  const blocks = new SparseBlocks(plan.blockSize, plan.blocksCount);
  const superBlock = Math.floor(SUPER_OFFSET / plan.blockSize);
  const superAt = blocks.fresh(superBlock) + (SUPER_OFFSET % plan.blockSize);
  writeSuper(blocks, superAt, plan, options);
  const sb = readSuper(blocks.view, superAt, plan.blocksCount * plan.blockSize);
  if (isRefusal(sb)) return { errno: EINVAL, reason: sb.reason };
  const tooSmall: Refusal = {
    errno: ENOSPC,
    reason: `${options.sizeBytes} bytes are too few for what these options need`,
  };
  const groups = new GroupEdit(blocks, sb);
  if (!writeGroups(blocks, sb, groups)) return tooSmall;
  groups.finish();
  // Only now is there anything to be allocated from.
  const edit = imageEdit(blocks, sb, { sec: options.now });
  sumCounts(blocks, sb, superAt);
  const journalBlocks = plan.journalBlocks + plan.fastCommitBlocks;
  if (options.journalBytes !== undefined && journalBlocks > edit.groups.space!.freeClusters * 2 ** (sb.clusterBits - 1))
    return { errno: ENOSPC, reason: `a journal of ${journalBlocks} blocks takes more than half of what is free` };
  setLe32(blocks.view, superAt + SB.s_overhead_blocks, overheadOfAll(sb, superAt, blocks.view, plan));
  const journal = (sb.compat & COMPAT.has_journal) !== 0;
  const done =
    makeDirectories(edit) &&
    makeResizeInode(edit) &&
    (!journal || makeJournal(edit, plan, superAt)) &&
    ((sb.compat & COMPAT.orphan_file) === 0 || makeOrphanFile(edit, superAt));
  if (!done) return tooSmall;
  edit.groups.finish();
  sumCounts(blocks, sb, superAt);
  setSuperChecksum(sb, blocks.bytes, blocks.view, superAt);
  writeCopies(blocks, sb, superAt);
  const made = readSuper(blocks.view, superAt, plan.blocksCount * plan.blockSize);
  assert(!isRefusal(made), "makeExt4: what was made is refused");
  return { blocks, sb: made, plan };
}

/** Clusters of the format's own and of the journal: s_overhead_clusters. Only tables are in use yet. */
function overheadOfAll(sb: Super, superAt: number, view: DataView, plan: Plan): number {
  const free = view.getUint32(superAt + SB.s_free_blocks_count_lo, true);
  const freeHigh = sb.has64bit ? view.getUint32(superAt + SB.s_free_blocks_count_hi, true) * 2 ** 32 : 0;
  const size = 2 ** sb.clusterBits;
  return (sb.blocksCount - free - freeHigh) / size + Math.ceil((plan.journalBlocks + plan.fastCommitBlocks) / size);
}

/** The copies of superblock and descriptors in other groups. */
function writeCopies(blocks: SparseBlocks, sb: Super, superAt: number): void {
  const { bytes, view } = blocks;
  for (let group = 1; group < sb.groups; group++) {
    if (groupHasSuper(sb, group)) {
      const to = blocks.fresh(firstBlockOf(sb, group));
      bytes.copyWithin(to, superAt, superAt + SB.bytes);
      setLe16(view, to + SB.s_block_group_nr, group);
      setSuperChecksum(sb, bytes, view, to);
    }
    const { from, gdt } = overheadOf(sb, group);
    const isMeta = (sb.incompat & INCOMPAT.meta_bg) !== 0;
    const count = isMeta ? gdt : Math.min(gdt, sb.descBlocks);
    for (let n = 0; n < count; n++) {
      const own = isMeta ? descBlock(sb, Math.floor(group / sb.descPerBlock)) : descBlock(sb, n);
      if (own === from + n) continue;
      const source = blocks.at(own);
      bytes.copyWithin(blocks.fresh(from + n), source, source + sb.blockSize);
    }
  }
}

export function imageOf({ blocks, sb }: MadeExt4): BlockImage {
  const buffer = imageBuffer(sb.blocksCount * sb.blockSize);
  blocks.each((block, content) => buffer.set(content, block * sb.blockSize));
  return new BlockImage(buffer, sb.blockSize, sb.blocksCount);
}
