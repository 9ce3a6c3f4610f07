/**
 * The checker's pass over superblock and group descriptors: their checksums, and where they put bitmaps and inode tables.
 * Takes the format's own blocks. False when an inode table is nowhere: the later passes would be noise.
 */
import { le16, le32 } from "../../lib/bytes.ts";
import { groupChecksum, superChecksum } from "./csum.ts";
import { METADATA } from "./check_state.ts";
import type { CheckState } from "./check_state.ts";
import { descAt, gdBlockBitmap, gdFlags, gdInodeBitmap, gdInodeTable, gdItableUnused } from "./group.ts";
import {
  BG_INODE_UNINIT,
  COMPAT,
  GD,
  GOOD_OLD_INODE_SIZE,
  INCOMPAT,
  MMP,
  MMP_MAGIC,
  RO_COMPAT,
  SB,
  STATE_ERROR,
} from "./layout.ts";
import { mmpChecksum } from "./csum.ts";
import { blocksIn, featureNames, firstBlockOf, overheadOf } from "./super.ts";

export function checkGroups(state: CheckState): boolean {
  checkSuper(state);
  const { sb, image } = state;
  let usable = true;
  for (let group = 0; group < sb.groups; group++) {
    const overhead = overheadOf(sb, group);
    if (overhead.supers > 0)
      state.claim(firstBlockOf(sb, group), Math.min(overhead.supers, blocksIn(sb, group)), METADATA);
    if (overhead.gdt > 0) {
      const most = firstBlockOf(sb, group) + blocksIn(sb, group) - overhead.from;
      if (overhead.gdt > most) state.report("superblock", `the descriptors do not fit group ${group}`);
      state.claim(overhead.from, Math.max(0, Math.min(overhead.gdt, most)), METADATA);
    }
  }
  for (let group = 0; group < sb.groups; group++) {
    const at = descAt(image, sb, group);
    if (at < 0) {
      state.report("group", `group ${group} has no descriptor`);
      usable = false;
      continue;
    }
    if (groupChecksum(sb, image.bytes, at, group) !== le16(image.view, at + GD.bg_checksum) && hasGroupCsum(state))
      state.report("checksum", `the checksum of group descriptor ${group} is wrong`);
    if (!place(state, group, "block bitmap", gdBlockBitmap(sb, image.view, at), 1)) usable = false;
    if (!place(state, group, "inode bitmap", gdInodeBitmap(sb, image.view, at), 1)) usable = false;
    if (!place(state, group, "inode table", gdInodeTable(sb, image.view, at), sb.itableBlocks)) usable = false;
    if (gdItableUnused(sb, image.view, at) > sb.inodesPerGroup)
      state.report("group", `group ${group} claims more unused inodes than it has`);
    const says = (gdFlags(image.view, at) & BG_INODE_UNINIT) !== 0 || gdItableUnused(sb, image.view, at) > 0;
    if (!hasGroupCsum(state) && says)
      state.report("group", `group ${group} is uninitialised without checksums on descriptors`);
  }
  return usable;
}

const hasGroupCsum = ({ sb }: CheckState): boolean => sb.metadataCsum || sb.gdtCsum;

function place(state: CheckState, group: number, what: string, block: number, length: number): boolean {
  const { sb } = state;
  const [first, end] =
    (sb.incompat & INCOMPAT.flex_bg) !== 0
      ? [sb.firstDataBlock + 1, sb.blocksCount]
      : [firstBlockOf(sb, group), firstBlockOf(sb, group) + blocksIn(sb, group)];
  if (block < first || block + length > end) {
    state.report("group", `the ${what} of group ${group} cannot lie at block ${block}`);
    return false;
  }
  state.claim(block, length, METADATA);
  return true;
}

function checkSuper(state: CheckState): void {
  const { sb, image } = state;
  const { view } = image;
  const at = image.at(sb.superBlock) + sb.superOffset;
  if (sb.metadataCsum && superChecksum(image.bytes, at) !== le32(view, at + SB.s_checksum))
    state.report("checksum", "the checksum of the superblock is wrong");
  if ((le16(view, at + SB.s_state) & STATE_ERROR) !== 0)
    state.report("superblock", "the file system is marked as having errors");
  if (sb.metadataCsum && (sb.roCompat & RO_COMPAT.uninit_bg) !== 0)
    state.report("superblock", "metadata_csum and uninit_bg exclude each other");
  if ((sb.incompat & INCOMPAT.metadata_csum_seed) !== 0 && !sb.metadataCsum)
    state.report("superblock", "metadata_csum_seed needs metadata_csum");
  if ((sb.compat & COMPAT.resize_inode) === 0 && sb.reservedGdtBlocks !== 0)
    state.report("superblock", "blocks are reserved for descriptors without resize_inode");
  if ((sb.compat & COMPAT.resize_inode) !== 0 && (sb.incompat & INCOMPAT.meta_bg) !== 0)
    state.report("superblock", "resize_inode and meta_bg exclude each other");
  if ((sb.incompat & INCOMPAT.needs_recovery) !== 0) state.report("journal", "the journal has not been replayed");
  if (le32(view, at + SB.s_last_orphan) !== 0)
    state.report("orphan", `inode ${le32(view, at + SB.s_last_orphan)} is on the orphan list`);
  const reservedHigh = sb.has64bit ? le32(view, at + SB.s_r_blocks_count_hi) * 2 ** 32 : 0;
  const reserved = le32(view, at + SB.s_r_blocks_count_lo) + reservedHigh;
  if (reserved > sb.blocksCount / 2) state.report("superblock", `${reserved} blocks are reserved, more than half`);
  const unknown = featureNames(sb.compat & ~COMPAT_KNOWN, COMPAT);
  if (unknown.length > 0) state.report("superblock", `unknown compatible features: ${unknown.join(", ")}`);
  if (le32(view, at + SB.s_rev_level) > REV_MAX)
    state.report("superblock", `s_rev_level ${le32(view, at + SB.s_rev_level)} is unknown`);
  if (le32(view, at + SB.s_clusters_per_group) !== sb.clustersPerGroup)
    state.report("superblock", `s_clusters_per_group is not s_blocks_per_group, and there is no bigalloc`);
  const extra = Math.max(le16(view, at + SB.s_min_extra_isize), le16(view, at + SB.s_want_extra_isize));
  if (extra > Math.max(0, sb.inodeSize - GOOD_OLD_INODE_SIZE))
    state.report("superblock", `inodes cannot have an i_extra_isize of ${extra}`);
  if (view.getUint8(at + SB.s_log_groups_per_flex) > LOG_FLEX_MAX)
    state.report("superblock", `s_log_groups_per_flex ${view.getUint8(at + SB.s_log_groups_per_flex)} is too large`);
  if ((sb.incompat & INCOMPAT.mmp) !== 0) checkMmp(state, at);
}
/** EXT4_DYNAMIC_REV, the only one after the first. */
const REV_MAX = 1;
const LOG_FLEX_MAX = 31;
const COMPAT_KNOWN = Object.values(COMPAT).reduce((all, bit) => all | bit, 0);

function checkMmp(state: CheckState, superAt: number): void {
  const { sb, image } = state;
  const block = le32(image.view, superAt + SB.s_mmp_block);
  if (block <= sb.firstDataBlock || block >= sb.blocksCount || le32(image.view, superAt + SB.s_mmp_block + 4) !== 0)
    return state.report("superblock", `the mmp block cannot be block ${block}`);
  state.claim(block, 1, METADATA);
  const at = image.at(block);
  if (le32(image.view, at + MMP.mmp_magic) !== MMP_MAGIC) state.report("superblock", "the mmp block has no magic");
  else if (sb.metadataCsum && mmpChecksum(sb, image.bytes, at) !== le32(image.view, at + MMP.mmp_checksum))
    state.report("checksum", "the checksum of the mmp block is wrong");
}
