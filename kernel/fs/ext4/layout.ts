/**
 * ext4 on disk, the fixed places: superblock, group descriptors, inodes, mmp, and the numbers that name them. All fields
 * little-endian, under kernel.org's names (Documentation/filesystems/ext4). Directories are in layout_dir.ts, what hangs
 * on an inode (extents, attributes, orphans) in layout_inode.ts, the journal in ../jbd2/layout.ts.
 *
 *   group 0      | boot 1 KiB | superblock | group descriptors | reserved GDT | block bitmap | inode bitmap | inodes | data ...
 *   other groups |  (a copy of both, if ext4 keeps one there)  | reserved GDT | block bitmap | inode bitmap | inodes | data ...
 *
 * With flex_bg the bitmaps and inode tables of several groups lie together in the first of them; with meta_bg each
 * descriptor block lies in the groups that it describes. With bigalloc a bit of the block bitmap is a cluster.
 */
import { record } from "../../lib/record.ts";

export const SUPER_OFFSET = 1024;
export const EXT4_MAGIC = 0xef53;

export const SB = record(1024, {
  s_inodes_count: 4,
  s_blocks_count_lo: 4,
  s_r_blocks_count_lo: 4,
  s_free_blocks_count_lo: 4,
  s_free_inodes_count: 4,
  s_first_data_block: 4,
  s_log_block_size: 4,
  s_log_cluster_size: 4,
  s_blocks_per_group: 4,
  s_clusters_per_group: 4,
  s_inodes_per_group: 4,
  s_mtime: 4,
  s_wtime: 4,
  s_mnt_count: 2,
  s_max_mnt_count: 2,
  s_magic: 2,
  s_state: 2,
  s_errors: 2,
  s_minor_rev_level: 2,
  s_lastcheck: 4,
  s_checkinterval: 4,
  s_creator_os: 4,
  s_rev_level: 4,
  s_def_resuid: 2,
  s_def_resgid: 2,
  s_first_ino: 4,
  s_inode_size: 2,
  s_block_group_nr: 2,
  s_feature_compat: 4,
  s_feature_incompat: 4,
  s_feature_ro_compat: 4,
  s_uuid: 16,
  s_volume_name: 16,
  s_last_mounted: 64,
  s_algorithm_usage_bitmap: 4,
  s_prealloc_blocks: 1,
  s_prealloc_dir_blocks: 1,
  s_reserved_gdt_blocks: 2,
  s_journal_uuid: 16,
  s_journal_inum: 4,
  s_journal_dev: 4,
  s_last_orphan: 4,
  s_hash_seed: 16,
  s_def_hash_version: 1,
  s_jnl_backup_type: 1,
  s_desc_size: 2,
  s_default_mount_opts: 4,
  s_first_meta_bg: 4,
  s_mkfs_time: 4,
  s_jnl_blocks: 68,
  s_blocks_count_hi: 4,
  s_r_blocks_count_hi: 4,
  s_free_blocks_count_hi: 4,
  s_min_extra_isize: 2,
  s_want_extra_isize: 2,
  s_flags: 4,
  s_raid_stride: 2,
  s_mmp_interval: 2,
  s_mmp_block: 8,
  s_raid_stripe_width: 4,
  s_log_groups_per_flex: 1,
  s_checksum_type: 1,
  s_encryption_level: 1,
  s_reserved_pad: 1,
  s_kbytes_written: 8,
  s_snapshot_inum: 4,
  s_snapshot_id: 4,
  s_snapshot_r_blocks_count: 8,
  s_snapshot_list: 4,
  s_error_count: 4,
  s_first_error_time: 4,
  s_first_error_ino: 4,
  s_first_error_block: 8,
  s_first_error_func: 32,
  s_first_error_line: 4,
  s_last_error_time: 4,
  s_last_error_ino: 4,
  s_last_error_line: 4,
  s_last_error_block: 8,
  s_last_error_func: 32,
  s_mount_opts: 64,
  s_usr_quota_inum: 4,
  s_grp_quota_inum: 4,
  s_overhead_blocks: 4,
  s_backup_bgs: 8,
  s_encrypt_algos: 4,
  s_encrypt_pw_salt: 16,
  s_lpf_ino: 4,
  s_prj_quota_inum: 4,
  s_checksum_seed: 4,
  s_wtime_hi: 1,
  s_mtime_hi: 1,
  s_mkfs_time_hi: 1,
  s_lastcheck_hi: 1,
  s_first_error_time_hi: 1,
  s_last_error_time_hi: 1,
  s_first_error_errcode: 1,
  s_last_error_errcode: 1,
  s_encoding: 2,
  s_encoding_flags: 2,
  s_orphan_file_inum: 4,
  s_reserved: 376,
  s_checksum: 4,
});

/** s_state */
export const STATE_VALID = 1;
export const STATE_ERROR = 2;
/** Cleared at once when the kernel has begun to process the orphan list (EXT4_ORPHAN_FS). */
export const STATE_ORPHAN = 4;
/** Cleared at the start of a fast-commit replay, set again when it is through (EXT4_FC_REPLAY). */
export const STATE_FC_REPLAY = 0x20;

/** s_flags */
export const FLAGS_SIGNED_HASH = 1;
export const FLAGS_UNSIGNED_HASH = 2;

/** s_feature_compat: who does not know one may still write. */
export const COMPAT = {
  dir_prealloc: 0x1,
  imagic_inodes: 0x2,
  has_journal: 0x4,
  ext_attr: 0x8,
  resize_inode: 0x10,
  dir_index: 0x20,
  lazy_bg: 0x40,
  exclude_bitmap: 0x100,
  sparse_super2: 0x200,
  fast_commit: 0x400,
  stable_inodes: 0x800,
  orphan_file: 0x1000,
} as const;

/** s_feature_incompat: who does not know one may not even read. */
export const INCOMPAT = {
  compression: 0x1,
  filetype: 0x2,
  needs_recovery: 0x4,
  journal_dev: 0x8,
  meta_bg: 0x10,
  extent: 0x40,
  "64bit": 0x80,
  mmp: 0x100,
  flex_bg: 0x200,
  ea_inode: 0x400,
  dirdata: 0x1000,
  metadata_csum_seed: 0x2000,
  large_dir: 0x4000,
  inline_data: 0x8000,
  encrypt: 0x10000,
  casefold: 0x20000,
} as const;

/** s_feature_ro_compat: who does not know one may read only. */
export const RO_COMPAT = {
  sparse_super: 0x1,
  large_file: 0x2,
  btree_dir: 0x4,
  huge_file: 0x8,
  uninit_bg: 0x10,
  dir_nlink: 0x20,
  extra_isize: 0x40,
  quota: 0x100,
  bigalloc: 0x200,
  metadata_csum: 0x400,
  replica: 0x800,
  "read-only": 0x1000,
  project: 0x2000,
  shared_blocks: 0x4000,
  verity: 0x8000,
  orphan_present: 0x10000,
} as const;

/** A group descriptor; the fields from bg_block_bitmap_hi on exist only with 64bit, in s_desc_size >= 64 bytes. */
export const GD = record(64, {
  bg_block_bitmap_lo: 4,
  bg_inode_bitmap_lo: 4,
  bg_inode_table_lo: 4,
  bg_free_blocks_count_lo: 2,
  bg_free_inodes_count_lo: 2,
  bg_used_dirs_count_lo: 2,
  bg_flags: 2,
  bg_exclude_bitmap_lo: 4,
  bg_block_bitmap_csum_lo: 2,
  bg_inode_bitmap_csum_lo: 2,
  bg_itable_unused_lo: 2,
  bg_checksum: 2,
  bg_block_bitmap_hi: 4,
  bg_inode_bitmap_hi: 4,
  bg_inode_table_hi: 4,
  bg_free_blocks_count_hi: 2,
  bg_free_inodes_count_hi: 2,
  bg_used_dirs_count_hi: 2,
  bg_itable_unused_hi: 2,
  bg_exclude_bitmap_hi: 4,
  bg_block_bitmap_csum_hi: 2,
  bg_inode_bitmap_csum_hi: 2,
  bg_reserved: 4,
});
export const GD_SIZE_MIN = 32;

/** bg_flags */
export const BG_INODE_UNINIT = 1;
export const BG_BLOCK_UNINIT = 2;
export const BG_INODE_ZEROED = 4;

/** An inode; the fields from i_extra_isize on exist only where s_inode_size > 128, and as far as i_extra_isize says. */
export const INODE = record(160, {
  i_mode: 2,
  i_uid: 2,
  i_size_lo: 4,
  i_atime: 4,
  i_ctime: 4,
  i_mtime: 4,
  i_dtime: 4,
  i_gid: 2,
  i_links_count: 2,
  i_blocks_lo: 4,
  i_flags: 4,
  l_i_version: 4,
  i_block: 60,
  i_generation: 4,
  i_file_acl_lo: 4,
  i_size_high: 4,
  i_obso_faddr: 4,
  l_i_blocks_high: 2,
  l_i_file_acl_high: 2,
  l_i_uid_high: 2,
  l_i_gid_high: 2,
  l_i_checksum_lo: 2,
  l_i_reserved: 2,
  i_extra_isize: 2,
  i_checksum_hi: 2,
  i_ctime_extra: 4,
  i_mtime_extra: 4,
  i_atime_extra: 4,
  i_crtime: 4,
  i_crtime_extra: 4,
  i_version_hi: 4,
  i_projid: 4,
});
/** Size of an inode of revision 0, and where i_extra_isize starts to count in larger ones. */
export const GOOD_OLD_INODE_SIZE = 128;
export const GOOD_OLD_FIRST_INO = 11;
/** Bytes of i_block. */
export const I_BLOCK_BYTES = 60;

/** i_flags */
export const INODE_FLAG = {
  immutable: 0x10,
  append: 0x20,
  encrypt: 0x800,
  /** A directory with a hash tree (EXT4_INDEX_FL). */
  index: 0x1000,
  imagic: 0x2000,
  journal_data: 0x4000,
  topdir: 0x20000,
  /** i_blocks counts file-system blocks instead of sectors. */
  huge_file: 0x40000,
  extents: 0x80000,
  verity: 0x100000,
  /** The inode is the value of an extended attribute. */
  ea_inode: 0x200000,
  inline_data: 0x10000000,
  projinherit: 0x20000000,
  casefold: 0x40000000,
} as const;

/** i_mode & S_IFMT */
export const S_IFMT = 0xf000;
export const S_IFIFO = 0x1000;
export const S_IFCHR = 0x2000;
export const S_IFDIR = 0x4000;
export const S_IFBLK = 0x6000;
export const S_IFREG = 0x8000;
export const S_IFLNK = 0xa000;
export const S_IFSOCK = 0xc000;

/** Reserved inodes. */
export const INO_BAD = 1;
export const INO_ROOT = 2;
export const INO_USR_QUOTA = 3;
export const INO_GRP_QUOTA = 4;
export const INO_BOOT_LOADER = 5;
export const INO_RESIZE = 7;
export const INO_JOURNAL = 8;

/** The multi-mount protection block; the journal's superblock apart, the only structure outside the journal's care. */
export const MMP = record(1024, {
  mmp_magic: 4,
  mmp_seq: 4,
  mmp_time: 8,
  mmp_nodename: 64,
  mmp_bdevname: 32,
  mmp_check_interval: 2,
  mmp_pad1: 2,
  mmp_pad2: 904,
  mmp_checksum: 4,
});
export const MMP_MAGIC = 0x004d4d50;
export const MMP_SEQ_CLEAN = 0xff4d4d50;
export const MMP_SEQ_FSCK = 0xe24d4d50;
