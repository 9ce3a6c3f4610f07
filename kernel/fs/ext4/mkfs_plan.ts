/**
 * The geometry of a new ext4, by mke2fs's rules (e2fsprogs 1.47: misc/mke2fs.c, lib/ext2fs/initialize.c): from a size and
 * options to the numbers of the superblock. Nothing is written here.
 *
 * - planExt4(options)     Plan; or Refusal, one line that says what contradicts what
 * - DEFAULT_FEATURES      what mke2fs.conf gives an ext4
 *
 * As mke2fs does, a last group that is too small for its own tables is left out, and a file system that is too small for
 * a journal gets none; `notes` say so.
 */
import { EINVAL } from "../../abi/errno.ts";
import { COMPAT, GD, GD_SIZE_MIN, GOOD_OLD_FIRST_INO, GOOD_OLD_INODE_SIZE, INCOMPAT, RO_COMPAT } from "./layout.ts";
import { JOURNAL_BLOCKS_MIN } from "../jbd2/journal.ts";
import { hasSuperIn } from "./super.ts";
import type { Refusal } from "./super.ts";

export interface Features {
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
}

export const DEFAULT_FEATURES: Features = {
  compat: COMPAT.has_journal | COMPAT.ext_attr | COMPAT.resize_inode | COMPAT.dir_index,
  incompat: INCOMPAT.filetype | INCOMPAT.extent | INCOMPAT["64bit"] | INCOMPAT.flex_bg,
  roCompat:
    RO_COMPAT.sparse_super |
    RO_COMPAT.large_file |
    RO_COMPAT.huge_file |
    RO_COMPAT.dir_nlink |
    RO_COMPAT.extra_isize |
    RO_COMPAT.metadata_csum,
};

/** What can be made: all that can be read and written, apart from mmp. */
export const MADE_FEATURES: Features = {
  compat:
    DEFAULT_FEATURES.compat | COMPAT.sparse_super2 | COMPAT.fast_commit | COMPAT.orphan_file | COMPAT.stable_inodes,
  incompat:
    DEFAULT_FEATURES.incompat |
    INCOMPAT.meta_bg |
    INCOMPAT.metadata_csum_seed |
    INCOMPAT.large_dir |
    INCOMPAT.inline_data,
  roCompat: DEFAULT_FEATURES.roCompat | RO_COMPAT.uninit_bg | RO_COMPAT.bigalloc,
};

export interface MakeOptions {
  readonly sizeBytes: number;
  /** 1024 to 65536; default as mke2fs: 1024 below 512 MiB, else 4096. */
  readonly blockSize?: number;
  /** With bigalloc; default 16 blocks. */
  readonly clusterSize?: number;
  readonly features?: Features;
  readonly inodeSize?: number;
  /** Number of inodes, or bytes of the file system for each. */
  readonly inodes?: number;
  readonly inodeRatio?: number;
  readonly journalBytes?: number;
  readonly blocksPerGroup?: number;
  /** With flex_bg; default 16. */
  readonly groupsPerFlex?: number;
  /** Kept for root, in hundredths; default 5. */
  readonly reservedPercent?: number;
  /** At most 16 bytes. */
  readonly label?: Uint8Array;
  /** 16 bytes each. */
  readonly uuid: Uint8Array;
  readonly hashSeed: Uint8Array;
  /** Seconds since 1970. */
  readonly now: number;
}

export interface Plan extends Features {
  readonly blockSize: number;
  readonly clusterBits: number;
  readonly firstDataBlock: number;
  readonly blocksCount: number;
  readonly rootBlocks: number;
  readonly groups: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly inodeSize: number;
  readonly itableBlocks: number;
  readonly descSize: number;
  readonly descBlocks: number;
  readonly reservedGdtBlocks: number;
  readonly groupsPerFlex: number;
  readonly backupGroups: readonly [number, number];
  readonly journalBlocks: number;
  readonly fastCommitBlocks: number;
  readonly notes: readonly string[];
}

const MIB = 2 ** 20;
/** mke2fs.conf: below, file systems are "floppy" and "small", from there on "big" and "huge". */
const FLOPPY_BYTES = 3 * MIB;
const SMALL_BYTES = 512 * MIB;
const BIG_BYTES = 4 * 2 ** 40;
const HUGE_BYTES = 16 * 2 ** 40;

const defaultBlockSize = (bytes: number): number => (bytes < SMALL_BYTES ? 1024 : 4096);

function defaultInodeRatio(bytes: number): number {
  if (bytes < FLOPPY_BYTES) return 8192;
  if (bytes < SMALL_BYTES) return 4096;
  if (bytes < BIG_BYTES) return 16384;
  return bytes < HUGE_BYTES ? 32768 : 65536;
}

/** Blocks of a journal, 0 where none fits (ext2fs_default_journal_size). */
function defaultJournalBlocks(blocks: number): number {
  if (blocks < 2048) return 0;
  const sizes: readonly (readonly [below: number, journal: number])[] = [
    [32768, 1024],
    [256 * 1024, 4096],
    [512 * 1024, 8192],
    [4096 * 1024, 16384],
    [8192 * 1024, 32768],
    [16384 * 1024, 65536],
    [32768 * 1024, 131072],
  ];
  return sizes.find(([below]) => blocks < below)?.[1] ?? 262144;
}
const JOURNAL_BLOCKS_MAX = 10_240_000;
/** Blocks of the log for each one of fast commits. */
const FAST_COMMIT_RATIO = 64;
/** A last group needs so many blocks beyond its own tables. */
const LAST_GROUP_SPARE = 50;
const BLOCKS_PER_GROUP_MAX = 65528;
const GROW_FACTOR = 1024;
const GROUPS_PER_FLEX = 16;
const CLUSTER_BLOCKS = 16;

const refuse = (reason: string): Refusal => ({ errno: EINVAL, reason });
const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

const has = (word: number, bit: number): boolean => (word & bit) !== 0;

/** What two features, or one without the other, make impossible. */
function contradiction({ compat, incompat, roCompat }: Features): string | undefined {
  const { compat: c, incompat: i, roCompat: r } = MADE_FEATURES;
  if (((compat & ~c) | (incompat & ~i) | (roCompat & ~r)) !== 0) return "a feature is asked for that cannot be made";
  if (has(roCompat, RO_COMPAT.metadata_csum) && has(roCompat, RO_COMPAT.uninit_bg))
    return "metadata_csum and uninit_bg exclude each other: leave one out with ^";
  if (has(roCompat, RO_COMPAT.bigalloc) && !has(incompat, INCOMPAT.extent)) return "bigalloc needs extent";
  if (has(compat, COMPAT.resize_inode) && has(incompat, INCOMPAT.meta_bg))
    return "meta_bg and resize_inode exclude each other: add ^resize_inode";
  if (has(incompat, INCOMPAT.metadata_csum_seed) && !has(roCompat, RO_COMPAT.metadata_csum))
    return "metadata_csum_seed needs metadata_csum";
  if (has(compat, COMPAT.resize_inode) && !has(roCompat, RO_COMPAT.sparse_super) && !has(compat, COMPAT.sparse_super2))
    return "resize_inode needs sparse_super: add ^resize_inode";
  if (has(compat, COMPAT.fast_commit) && !has(compat, COMPAT.has_journal)) return "fast_commit needs has_journal";
  if (has(compat, COMPAT.orphan_file) && !has(compat, COMPAT.has_journal)) return "orphan_file needs has_journal";
  if (has(incompat, INCOMPAT["64bit"]) && !has(incompat, INCOMPAT.extent)) return "64bit needs extent: add ^64bit";
  return undefined;
}

interface Sizes {
  readonly blockSize: number;
  readonly clusterBits: number;
  readonly inodeSize: number;
  readonly blocksPerGroup: number;
}

function sizesOf(options: MakeOptions, features: Features): Sizes | Refusal {
  const blockSize = options.blockSize ?? defaultBlockSize(options.sizeBytes);
  if (!isPowerOfTwo(blockSize) || blockSize < 1024 || blockSize > 65536)
    return refuse(`a block size of ${blockSize} is none of 1024, 2048, 4096, ..., 65536`);
  const bigalloc = (features.roCompat & RO_COMPAT.bigalloc) !== 0;
  if (options.clusterSize !== undefined && !bigalloc)
    return refuse(`a cluster size of ${options.clusterSize} needs the feature bigalloc`);
  const clusterSize = bigalloc ? (options.clusterSize ?? blockSize * CLUSTER_BLOCKS) : blockSize;
  if (!isPowerOfTwo(clusterSize) || clusterSize < blockSize || clusterSize > 2 ** 29)
    return refuse(`a cluster size of ${clusterSize} is no power of two from the block size ${blockSize} on`);
  const inodeSize = options.inodeSize ?? 256;
  if (!isPowerOfTwo(inodeSize) || inodeSize < GOOD_OLD_INODE_SIZE || inodeSize > blockSize)
    return refuse(`an inode size of ${inodeSize} is no power of two from 128 to the block size ${blockSize}`);
  if (inodeSize === GOOD_OLD_INODE_SIZE && (features.incompat & INCOMPAT.inline_data) !== 0)
    return refuse("inline_data needs inodes larger than 128 bytes");
  const clusterBits = Math.log2(clusterSize / blockSize);
  const most = Math.min(blockSize * 8, BLOCKS_PER_GROUP_MAX) * 2 ** clusterBits;
  const blocksPerGroup = options.blocksPerGroup ?? most;
  if (blocksPerGroup % (8 * 2 ** clusterBits) !== 0 || blocksPerGroup > most || blocksPerGroup < 256 * 2 ** clusterBits)
    return refuse(
      `${blocksPerGroup} blocks in a group: ${256 * 2 ** clusterBits} to ${most} in steps of ${8 * 2 ** clusterBits} are possible`,
    );
  return { blockSize, clusterBits, inodeSize, blocksPerGroup };
}

export function planExt4(options: MakeOptions): Plan | Refusal {
  const features = options.features ?? DEFAULT_FEATURES;
  const wrong = contradiction(features);
  if (wrong !== undefined) return refuse(wrong);
  const sizes = sizesOf(options, features);
  if ("reason" in sizes) return sizes;
  const { blockSize, clusterBits, inodeSize } = sizes;
  let { compat, incompat } = features;
  const notes: string[] = [];
  const has64bit = (incompat & INCOMPAT["64bit"]) !== 0;
  const descSize = has64bit ? GD.bytes : GD_SIZE_MIN;
  const firstDataBlock = blockSize === 1024 && clusterBits === 0 ? 1 : 0;
  const asked = Math.floor(options.sizeBytes / blockSize);
  const wantedBlocks = Math.floor(asked / 2 ** clusterBits) * 2 ** clusterBits;
  const limit = has64bit ? 2 ** 48 : 2 ** 32;
  if (wantedBlocks >= limit) return refuse(`${wantedBlocks} blocks need the feature 64bit`);
  const ratio = Math.max(options.inodeRatio ?? defaultInodeRatio(options.sizeBytes), blockSize * 2 ** clusterBits);
  const inodes = options.inodes ?? Math.floor((wantedBlocks * blockSize) / ratio);
  const flexBg = (incompat & INCOMPAT.flex_bg) !== 0;
  const groupsPerFlex = flexBg ? (options.groupsPerFlex ?? GROUPS_PER_FLEX) : 1;
  if (!isPowerOfTwo(groupsPerFlex)) return refuse(`${groupsPerFlex} groups in a flex group is no power of two`);

  const backup2 = (compat & COMPAT.sparse_super2) !== 0;
  const sparse = (features.roCompat & RO_COMPAT.sparse_super) !== 0;
  let { blocksPerGroup } = sizes;
  const rootWanted = Math.floor((wantedBlocks * (options.reservedPercent ?? 5)) / 100);
  let rootBlocks = rootWanted;
  for (let blocksCount = wantedBlocks; ;) {
    const groups = Math.ceil((blocksCount - firstDataBlock) / blocksPerGroup);
    if (groups < 1) return refuse(`${options.sizeBytes} bytes are too few for a file system`);
    const descBlocks = Math.ceil(groups / (blockSize / descSize));
    let perGroup = Math.ceil(inodes / groups);
    if (perGroup > blockSize * 8) {
      if (clusterBits > 0 || blocksPerGroup <= 256)
        return refuse(`${inodes} inodes are more than ${groups} groups can hold`);
      blocksPerGroup -= 8;
      blocksCount = wantedBlocks;
      continue;
    }
    // At least one beside the reserved ones.
    perGroup = Math.max(perGroup, Math.ceil((GOOD_OLD_FIRST_INO + 1) / groups));
    const { inodesPerGroup, itableBlocks } = roundInodes(perGroup, groups, inodeSize, blockSize);
    if (inodesPerGroup * groups >= 2 ** 32) return refuse(`${inodesPerGroup * groups} inodes are more than 2^32 - 1`);
    let reserved = 0;
    if ((compat & COMPAT.resize_inode) !== 0)
      reserved = reservedGdt(blocksCount, blocksPerGroup, blockSize, descSize, firstDataBlock, descBlocks);
    if (reserved + descBlocks > (blocksPerGroup * 3) / 4) {
      notes.push("the descriptors would fill their groups: meta_bg instead of resize_inode");
      incompat |= INCOMPAT.meta_bg;
      compat &= ~COMPAT.resize_inode;
      reserved = 0;
    }
    const gdt = (incompat & INCOMPAT.meta_bg) !== 0 ? 1 : descBlocks;
    if (3 + itableBlocks + reserved + gdt > blocksPerGroup)
      return refuse(`${inodes} inodes are too many: their tables do not fit the groups`);
    const backupGroups = backup2 ? backupsOf(groups) : ([0, 0] as const);
    const lastHas = backup2 ? groups > 1 : hasSuperIn(sparse, backup2 ? backupGroups : undefined, groups - 1);
    const needed = 2 + itableBlocks + (lastHas ? 1 + descBlocks + reserved : 0);
    const rest = (blocksCount - firstDataBlock) % blocksPerGroup;
    if (groups === 1 && rest > 0 && rest < needed)
      return refuse(`${options.sizeBytes} bytes are too few for a file system with ${inodes} inodes`);
    if (rest > 0 && rest < needed + LAST_GROUP_SPARE) {
      if (groups === 1) return refuse(`${options.sizeBytes} bytes are too few for a file system`);
      blocksCount -= rest;
      rootBlocks = Math.floor((((100 * rootWanted) / wantedBlocks) * blocksCount) / 100);
      continue;
    }
    const journal = journalOf(options, compat, blocksCount, blockSize, notes);
    if ("reason" in journal) return journal;
    if (journal.journalBlocks === 0) compat &= ~(COMPAT.has_journal | COMPAT.fast_commit | COMPAT.orphan_file);
    return {
      ...sizes,
      blocksPerGroup,
      compat,
      incompat,
      roCompat: features.roCompat,
      firstDataBlock,
      blocksCount,
      rootBlocks,
      groups,
      inodesPerGroup,
      itableBlocks,
      descSize,
      descBlocks,
      reservedGdtBlocks: reserved,
      groupsPerFlex,
      backupGroups,
      ...journal,
      notes,
    };
  }
}

/** The table's blocks are filled, and the bitmap has whole bytes. */
function roundInodes(
  wanted: number,
  groups: number,
  inodeSize: number,
  blockSize: number,
): { readonly inodesPerGroup: number; readonly itableBlocks: number } {
  for (let perGroup = wanted; ; perGroup += 8) {
    const filled = (Math.ceil((perGroup * inodeSize) / blockSize) * blockSize) / inodeSize;
    const inodesPerGroup = Math.min(blockSize * 8, Math.max(8, filled - (filled % 8)));
    if (inodesPerGroup * groups < GOOD_OLD_FIRST_INO + 1) continue;
    return { inodesPerGroup, itableBlocks: Math.ceil((inodesPerGroup * inodeSize) / blockSize) };
  }
}

/** Room for the descriptors of a file system that has grown by a factor of 1024. */
function reservedGdt(
  blocks: number,
  blocksPerGroup: number,
  blockSize: number,
  descSize: number,
  firstDataBlock: number,
  descBlocks: number,
): number {
  const most = Math.min(blocks * GROW_FACTOR, 2 ** 32 - 1);
  const groups = Math.ceil((most - firstDataBlock) / blocksPerGroup);
  return Math.min(Math.ceil(groups / (blockSize / descSize)) - descBlocks, blockSize / 4);
}

/** sparse_super2: the first and the last group have copies. */
function backupsOf(groups: number): readonly [number, number] {
  if (groups < 2) return [0, 0];
  return groups === 2 ? [1, 0] : [1, groups - 1];
}

function journalOf(
  options: MakeOptions,
  compat: number,
  blocks: number,
  blockSize: number,
  notes: string[],
): { readonly journalBlocks: number; readonly fastCommitBlocks: number } | Refusal {
  if ((compat & COMPAT.has_journal) === 0) {
    if (options.journalBytes !== undefined)
      return refuse("a journal size is given, and the feature has_journal is not");
    return { journalBlocks: 0, fastCommitBlocks: 0 };
  }
  const usual = defaultJournalBlocks(blocks);
  if (usual === 0) {
    notes.push(`${blocks} blocks are too few for a journal: it is left out`);
    return { journalBlocks: 0, fastCommitBlocks: 0 };
  }
  const journalBlocks = options.journalBytes === undefined ? usual : Math.floor(options.journalBytes / blockSize);
  if (journalBlocks < JOURNAL_BLOCKS_MIN || journalBlocks > JOURNAL_BLOCKS_MAX)
    return refuse(
      `a journal of ${journalBlocks} blocks: ${JOURNAL_BLOCKS_MIN} to ${JOURNAL_BLOCKS_MAX} blocks of ${blockSize} bytes are possible`,
    );
  const fastCommitBlocks = (compat & COMPAT.fast_commit) !== 0 ? Math.floor(usual / FAST_COMMIT_RATIO) : 0;
  return { journalBlocks, fastCommitBlocks };
}
