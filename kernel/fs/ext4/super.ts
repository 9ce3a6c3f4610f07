/**
 * The superblock as numbers: what can be relied on after it was read once. Everything here is derived from fields that
 * never change while a file system lives; counters and states stay in the block.
 *
 * - readSuper(view, at, deviceBytes)   Super, or Refusal: an errno as mount(2) gives, and one line of text for people
 * - groupHasSuper(sb, group)           whether a copy of superblock and descriptors lies there
 * - descBlock(sb, n)                   where the n-th block of group descriptors lies
 * - firstBlockOf, blocksIn, groupOf    groups and blocks;   inodeBlock: see group.ts
 *
 * What holds for every Super, so that no loop over it is unbounded: sizes are powers of two in range, every group has its
 * descriptor, all blocks lie on the device, and the inode tables together are no larger than the file system.
 */
import { EFSCORRUPTED, EINVAL, EOPNOTSUPP } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le16, le32 } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import {
  COMPAT,
  EXT4_MAGIC,
  FLAGS_UNSIGNED_HASH,
  GD,
  GD_SIZE_MIN,
  GOOD_OLD_FIRST_INO,
  GOOD_OLD_INODE_SIZE,
  INCOMPAT,
  RO_COMPAT,
  SB,
} from "./layout.ts";

/** Linux's EXT4_MAX_BLOCK_LOG_SIZE: 64 KiB. */
const LOG_BLOCK_SIZE_MAX = 6;
const LOG_CLUSTER_SIZE_MAX = 20;
const CHECKSUM_CRC32C = 1;

const INCOMPAT_KNOWN =
  INCOMPAT.filetype |
  INCOMPAT.needs_recovery |
  INCOMPAT.meta_bg |
  INCOMPAT.extent |
  INCOMPAT["64bit"] |
  INCOMPAT.mmp |
  INCOMPAT.flex_bg |
  INCOMPAT.metadata_csum_seed |
  INCOMPAT.large_dir |
  INCOMPAT.inline_data;

/** With any other one the file system is read-only. Quota and project are not here: their files are not kept up to date. */
const RO_COMPAT_KNOWN =
  RO_COMPAT.sparse_super |
  RO_COMPAT.large_file |
  RO_COMPAT.huge_file |
  RO_COMPAT.uninit_bg |
  RO_COMPAT.dir_nlink |
  RO_COMPAT.extra_isize |
  RO_COMPAT.bigalloc |
  RO_COMPAT.metadata_csum |
  RO_COMPAT.orphan_present;

export interface Refusal {
  readonly errno: Errno;
  readonly reason: string;
}

export interface Super {
  readonly blockSize: number;
  readonly blocksCount: number;
  readonly firstDataBlock: number;
  /** Block that holds the primary superblock, and the byte in it. */
  readonly superBlock: number;
  readonly superOffset: number;
  readonly groups: number;
  readonly blocksPerGroup: number;
  /** Blocks in a cluster is 1 << clusterBits; 0 without bigalloc. */
  readonly clusterBits: number;
  readonly clustersPerGroup: number;
  readonly inodesCount: number;
  readonly inodesPerGroup: number;
  readonly inodeSize: number;
  readonly inodesPerBlock: number;
  /** Blocks of one group's inode table. */
  readonly itableBlocks: number;
  readonly firstIno: number;
  readonly descSize: number;
  readonly descPerBlock: number;
  readonly descBlocks: number;
  readonly reservedGdtBlocks: number;
  readonly firstMetaBg: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  readonly metadataCsum: boolean;
  /** Group descriptors have a crc16, and groups may be uninitialised. Never together with metadataCsum. */
  readonly gdtCsum: boolean;
  readonly has64bit: boolean;
  readonly hasExtents: boolean;
  /** Register that every metadata checksum starts from. */
  readonly csumSeed: number;
  readonly uuid: Uint8Array;
  readonly hashVersion: number;
  readonly hashUnsigned: boolean;
  readonly hashSeed: Int32Array;
  readonly journalIno: number;
  readonly orphanFileIno: number;
  readonly backupGroups: readonly [number, number];
  /** Groups whose bitmaps and inode tables lie together; 1 without flex_bg. */
  readonly groupsPerFlex: number;
  /** Bytes behind the first 128 that new inodes use; 0 where inodes are no larger. */
  readonly wantExtraIsize: number;
  /** Names of the ro_compat features that forbid writing; empty when writing is allowed. */
  readonly readOnlyFor: readonly string[];
}

/** EINVAL: there is no ext4; EOPNOTSUPP: one with something that is not known here; else damage. */
const refusal = (reason: string, errno: Errno = EFSCORRUPTED): Refusal => ({ errno, reason });

export const isRefusal = (value: object): value is Refusal => "reason" in value && "errno" in value;

const powerOfTwo = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;

/** Names of the bits of a feature word; `bit N` for those that have none here. */
export function featureNames(word: number, names: Readonly<Record<string, number>>): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    if ((word & mask) === 0) continue;
    found.push(Object.keys(names).find((name) => names[name] === mask) ?? `bit ${bit}`);
  }
  return found;
}

/** The block size that a superblock claims, 0 when it claims none that exists. */
export function blockSizeAt(view: DataView, at: number): number {
  const log = le32(view, at + SB.s_log_block_size);
  return le16(view, at + SB.s_magic) === EXT4_MAGIC && log <= LOG_BLOCK_SIZE_MAX ? 1024 << log : 0;
}

/** `at` is the address of the superblock itself, not of its block; `deviceBytes` what the device holds. */
export function readSuper(view: DataView, at: number, deviceBytes: number): Super | Refusal {
  if (le16(view, at + SB.s_magic) !== EXT4_MAGIC)
    return refusal(
      `no ext4 superblock: its magic is 0x${le16(view, at + SB.s_magic).toString(16)}, 0xef53 was expected`,
      EINVAL,
    );
  const blockSize = blockSizeAt(view, at);
  if (blockSize === 0)
    return refusal(`s_log_block_size ${le32(view, at + SB.s_log_block_size)} is above ${LOG_BLOCK_SIZE_MAX}`);
  const dynamic = le32(view, at + SB.s_rev_level) > 0;
  const compat = dynamic ? le32(view, at + SB.s_feature_compat) : 0;
  const incompat = dynamic ? le32(view, at + SB.s_feature_incompat) : 0;
  const roCompat = dynamic ? le32(view, at + SB.s_feature_ro_compat) : 0;
  const unknown = (incompat & ~INCOMPAT_KNOWN) >>> 0;
  if (unknown !== 0)
    return refusal(
      `incompatible features that are not supported: ${featureNames(unknown, INCOMPAT).join(", ")}`,
      EOPNOTSUPP,
    );
  const metadataCsum = (roCompat & RO_COMPAT.metadata_csum) !== 0;
  const checksumType = view.getUint8(at + SB.s_checksum_type);
  if (metadataCsum && checksumType !== CHECKSUM_CRC32C)
    return refusal(`unknown checksum type ${checksumType}`, EOPNOTSUPP);

  const has64bit = (incompat & INCOMPAT["64bit"]) !== 0;
  const blocksCount =
    le32(view, at + SB.s_blocks_count_lo) + (has64bit ? le32(view, at + SB.s_blocks_count_hi) * 2 ** 32 : 0);
  const firstDataBlock = le32(view, at + SB.s_first_data_block);
  const blocksPerGroup = le32(view, at + SB.s_blocks_per_group);
  const bigalloc = (roCompat & RO_COMPAT.bigalloc) !== 0;
  const logCluster = le32(view, at + SB.s_log_cluster_size);
  const clusterBits = bigalloc ? logCluster - le32(view, at + SB.s_log_block_size) : 0;
  if (bigalloc && (logCluster > LOG_CLUSTER_SIZE_MAX || clusterBits < 0))
    return refusal(`s_log_cluster_size ${logCluster} is out of range`);
  if (!bigalloc && logCluster !== le32(view, at + SB.s_log_block_size))
    return refusal(`s_log_cluster_size ${logCluster} is not that of a block, and there is no bigalloc`);
  const clustersPerGroup = bigalloc ? le32(view, at + SB.s_clusters_per_group) : blocksPerGroup;
  if (clustersPerGroup < 8 || clustersPerGroup > blockSize * 8 || clustersPerGroup % 8 !== 0)
    return refusal(`${clustersPerGroup} clusters in a group: 8 to ${blockSize * 8} in steps of 8 fit its bitmap`);
  if (blocksPerGroup !== clustersPerGroup * 2 ** clusterBits)
    return refusal(`s_blocks_per_group ${blocksPerGroup} is not s_clusters_per_group ${clustersPerGroup} in blocks`);
  const firstExpected = blockSize === 1024 && clusterBits === 0 ? 1 : 0;
  if (firstDataBlock !== firstExpected)
    return refusal(`s_first_data_block ${firstDataBlock}: ${firstExpected} was expected`);
  if (blocksCount <= firstDataBlock + 1) return refusal(`s_blocks_count ${blocksCount} is too small`);
  if (blocksCount * blockSize > deviceBytes)
    return refusal(
      `s_blocks_count ${blocksCount} of ${blockSize} bytes is more than the image's ${deviceBytes} bytes; it may be cut off`,
    );

  const inodeSize = dynamic ? le16(view, at + SB.s_inode_size) : GOOD_OLD_INODE_SIZE;
  if (!powerOfTwo(inodeSize) || inodeSize < GOOD_OLD_INODE_SIZE || inodeSize > blockSize)
    return refusal(`s_inode_size ${inodeSize} is no power of two from 128 to the block size ${blockSize}`);
  const inodesPerBlock = blockSize / inodeSize;
  const inodesPerGroup = le32(view, at + SB.s_inodes_per_group);
  if (inodesPerGroup < inodesPerBlock || inodesPerGroup > blockSize * 8 || inodesPerGroup % 8 !== 0)
    return refusal(`s_inodes_per_group ${inodesPerGroup} is out of range`);
  const groups = Math.ceil((blocksCount - firstDataBlock) / blocksPerGroup);
  const inodesCount = le32(view, at + SB.s_inodes_count);
  if (inodesCount !== groups * inodesPerGroup)
    return refusal(`s_inodes_count ${inodesCount} is not ${groups} groups of ${inodesPerGroup} inodes`);
  const itableBlocks = Math.ceil(inodesPerGroup / inodesPerBlock);
  if (groups * itableBlocks >= blocksCount)
    return refusal(`s_inodes_per_group ${inodesPerGroup}: the inode tables alone would fill the file system`);

  const descSize = has64bit ? le16(view, at + SB.s_desc_size) : GD_SIZE_MIN;
  if (!powerOfTwo(descSize) || descSize < (has64bit ? GD.bytes : GD_SIZE_MIN) || descSize > blockSize)
    return refusal(`s_desc_size ${descSize} is no power of two from ${has64bit ? GD.bytes : GD_SIZE_MIN} on`);
  const descPerBlock = blockSize / descSize;
  const descBlocks = Math.ceil(groups / descPerBlock);
  const firstMetaBg = le32(view, at + SB.s_first_meta_bg);
  if ((incompat & INCOMPAT.meta_bg) !== 0 && firstMetaBg > descBlocks)
    return refusal(`s_first_meta_bg ${firstMetaBg} is beyond the ${descBlocks} blocks of descriptors`);
  const firstIno = dynamic ? le32(view, at + SB.s_first_ino) : GOOD_OLD_FIRST_INO;
  if (firstIno < GOOD_OLD_FIRST_INO || firstIno > inodesCount)
    return refusal(`s_first_ino ${firstIno} is out of range`);
  const superBlock = blockSize === 1024 ? 1 : 0;
  const reservedGdtBlocks = le16(view, at + SB.s_reserved_gdt_blocks);
  if (reservedGdtBlocks > blockSize / 4) return refusal(`s_reserved_gdt_blocks ${reservedGdtBlocks} is out of range`);

  const uuid = new Uint8Array(view.buffer, view.byteOffset + at + SB.s_uuid, 16).slice();
  const hashSeed = new Int32Array(4);
  for (let i = 0; i < 4; i++) hashSeed[i] = le32(view, at + SB.s_hash_seed + 4 * i);
  return {
    blockSize,
    blocksCount,
    firstDataBlock,
    superBlock,
    superOffset: blockSize === 1024 ? 0 : 1024,
    groups,
    blocksPerGroup,
    clusterBits,
    clustersPerGroup,
    inodesCount,
    inodesPerGroup,
    inodeSize,
    inodesPerBlock,
    itableBlocks,
    firstIno,
    descSize,
    descPerBlock,
    descBlocks,
    reservedGdtBlocks,
    firstMetaBg,
    compat,
    incompat,
    roCompat,
    metadataCsum,
    gdtCsum: !metadataCsum && (roCompat & RO_COMPAT.uninit_bg) !== 0,
    has64bit,
    hasExtents: (incompat & INCOMPAT.extent) !== 0,
    csumSeed:
      (incompat & INCOMPAT.metadata_csum_seed) !== 0
        ? le32(view, at + SB.s_checksum_seed)
        : crc32c(0xffffffff, uuid, 0, 16),
    uuid,
    hashVersion: view.getUint8(at + SB.s_def_hash_version),
    hashUnsigned: (le32(view, at + SB.s_flags) & FLAGS_UNSIGNED_HASH) !== 0,
    hashSeed,
    journalIno: (compat & COMPAT.has_journal) !== 0 ? le32(view, at + SB.s_journal_inum) : 0,
    orphanFileIno: (compat & COMPAT.orphan_file) !== 0 ? le32(view, at + SB.s_orphan_file_inum) : 0,
    groupsPerFlex: groupsPerFlex(view, at, incompat),
    wantExtraIsize: wantExtraIsize(view, at, inodeSize),
    backupGroups: [le32(view, at + SB.s_backup_bgs), le32(view, at + SB.s_backup_bgs + 4)],
    readOnlyFor: featureNames((roCompat & ~RO_COMPAT_KNOWN) >>> 0, RO_COMPAT),
  };
}

/** As Linux: a number that cannot be counts as none. */
function groupsPerFlex(view: DataView, at: number, incompat: number): number {
  const log = view.getUint8(at + SB.s_log_groups_per_flex);
  return (incompat & INCOMPAT.flex_bg) !== 0 && log <= 31 ? 2 ** log : 1;
}

/** Bytes up to i_projid, which Linux uses where it finds no sensible number in the superblock. */
const EXTRA_ISIZE = 32;

function wantExtraIsize(view: DataView, at: number, inodeSize: number): number {
  if (inodeSize === GOOD_OLD_INODE_SIZE) return 0;
  const most = inodeSize - GOOD_OLD_INODE_SIZE;
  const wanted = Math.max(le16(view, at + SB.s_want_extra_isize), le16(view, at + SB.s_min_extra_isize));
  return wanted > 0 && wanted <= most && wanted % 4 === 0 ? wanted : Math.min(EXTRA_ISIZE, most);
}

const isPowerOf = (base: number, value: number): boolean => {
  let power = base;
  while (power < value) power *= base;
  return power === value;
};

/** `backups` is given with sparse_super2. */
export function hasSuperIn(sparse: boolean, backups: readonly number[] | undefined, group: number): boolean {
  if (group === 0) return true;
  if (backups !== undefined) return backups.includes(group);
  if (group === 1 || !sparse) return true;
  return group % 2 === 1 && (isPowerOf(3, group) || isPowerOf(5, group) || isPowerOf(7, group));
}

export const groupHasSuper = (sb: Super, group: number): boolean =>
  hasSuperIn(
    (sb.roCompat & RO_COMPAT.sparse_super) !== 0,
    (sb.compat & COMPAT.sparse_super2) !== 0 ? sb.backupGroups : undefined,
    group,
  );

export const firstBlockOf = (sb: Super, group: number): number => sb.firstDataBlock + group * sb.blocksPerGroup;

export const blocksIn = (sb: Super, group: number): number =>
  Math.min(sb.blocksPerGroup, sb.blocksCount - firstBlockOf(sb, group));

export const groupOf = (sb: Super, block: number): number =>
  Math.floor((block - sb.firstDataBlock) / sb.blocksPerGroup);

const usesMetaBg = (sb: Super, n: number): boolean => (sb.incompat & INCOMPAT.meta_bg) !== 0 && n >= sb.firstMetaBg;

export function descBlock(sb: Super, n: number): number {
  if (!usesMetaBg(sb, n)) return sb.superBlock + 1 + n;
  return metaBgDescBlock(sb, n * sb.descPerBlock);
}

/** Where group `group`, one of the first two or the last of its meta group, keeps the descriptors of the meta group. */
function metaBgDescBlock(sb: Super, group: number): number {
  // With 1 KiB blocks and bigalloc block 0 is part of group 0, and the superblock lies in block 1.
  const before = (groupHasSuper(sb, group) ? 1 : 0) + (group === 0 && sb.superBlock > sb.firstDataBlock ? 1 : 0);
  return firstBlockOf(sb, group) + before;
}

/**
 * Blocks at the start of a group that superblock and descriptors, with their reserve, take: `from` is the first one of
 * descriptors, `gdt` their number. Without a copy there both are empty.
 */
export function overheadOf(sb: Super, group: number): { readonly supers: number; readonly from: number; gdt: number } {
  const first = firstBlockOf(sb, group);
  const has = groupHasSuper(sb, group);
  const supers = has ? (group === 0 ? sb.superBlock - sb.firstDataBlock + 1 : 1) : 0;
  const n = Math.floor(group / sb.descPerBlock);
  if (usesMetaBg(sb, n)) {
    const inMeta = group % sb.descPerBlock;
    const holds = inMeta === 0 || inMeta === 1 || inMeta === sb.descPerBlock - 1;
    return { supers, from: first + supers, gdt: holds ? 1 : 0 };
  }
  const whole = (sb.incompat & INCOMPAT.meta_bg) !== 0 ? sb.firstMetaBg : sb.descBlocks;
  return { supers, from: first + supers, gdt: has ? whole + sb.reservedGdtBlocks : 0 };
}
