/** The file systems' part of the kernel's face. */
export { BlockImage, imageBuffer } from "./block_image.ts";
export type { Mark } from "./block_image.ts";
export type { Blocks, EditBlocks } from "./blocks.ts";
export { bareFs, BareFs } from "./bare_fs.ts";
export type { BareOptions } from "./bare_fs.ts";
export { Checker } from "./ext4/check.ts";
export type { CheckReport } from "./ext4/check.ts";
export { DAMAGE } from "./ext4/check_state.ts";
export type { Damage, DamageKind } from "./ext4/check_state.ts";
export * as ext4Csum from "./ext4/csum.ts";
export { inodeHas } from "./ext4/csum.ts";
export { lookup, walkDir } from "./ext4/dir.ts";
export { imageEdit } from "./ext4/edit.ts";
export type { Edit } from "./ext4/edit.ts";
export type { EntryVisitor } from "./ext4/dir.ts";
export type { MapVisitor } from "./ext4/extent.ts";
export {
  FC_ADD_RANGE,
  FC_DEL_RANGE,
  FC_DENTRY,
  FC_HEAD,
  FC_INODE,
  FC_TAG,
  FC_TAIL,
  FC_TL,
  tagLengthOk,
} from "./ext4/fast_commit.ts";
export { nameHash } from "./ext4/hash.ts";
export { readFile, readLink, walkMap } from "./ext4/file.ts";
export { imageOf, makeExt4 } from "./ext4/mkfs.ts";
export type { MadeExt4 } from "./ext4/mkfs.ts";
export { DEFAULT_FEATURES, MADE_FEATURES, planExt4 } from "./ext4/mkfs_plan.ts";
export type { Features, MakeOptions, Plan } from "./ext4/mkfs_plan.ts";
export { SparseBlocks } from "./sparse_blocks.ts";
export {
  descAt,
  gdBlockBitmap,
  gdFreeBlocks,
  gdFreeInodes,
  gdInodeBitmap,
  gdInodeTable,
  gdUsedDirs,
  inodeAt,
} from "./ext4/group.ts";
export * as ext4Inode from "./ext4/inode.ts";
export * as ext4Layout from "./ext4/layout.ts";
export * as ext4DirLayout from "./ext4/layout_dir.ts";
export * as ext4InodeLayout from "./ext4/layout_inode.ts";
export { Ext4 } from "./ext4/ext4.ts";
export { mountExt4, unmountExt4 } from "./ext4/mount.ts";
export { mountOptions } from "./ext4/mount_options.ts";
export type { DataMode, MountOptions } from "./ext4/mount_options.ts";
export { resolve } from "./ext4/path.ts";
export { journalMap, openJournal, recover } from "./ext4/recover.ts";
export type { Policy, Recovered } from "./ext4/recover.ts";
export { blockSizeAt, featureNames, isRefusal, readSuper } from "./ext4/super.ts";
export type { Refusal, Super } from "./ext4/super.ts";
export { blockArea, ibodyArea, walkXattrs, xattrName } from "./ext4/xattr.ts";
export { headerType, journalAt, tagBlock, tagFlags } from "./jbd2/journal.ts";
export * as jbd2Journal from "./jbd2/journal.ts";
export type { Journal } from "./jbd2/journal.ts";
export * as jbd2Layout from "./jbd2/layout.ts";
export { procFs } from "./pseudo/proc.ts";
export type { ProcOptions } from "./pseudo/proc.ts";
export { PseudoFs } from "./pseudo/pseudo_fs.ts";
export type { PseudoNode } from "./pseudo/pseudo_fs.ts";
export { attribute, numberStore, sysFs } from "./pseudo/sysfs.ts";
export { Tmpfs } from "./tmpfs/tmpfs.ts";
export type { TmpfsOptions } from "./tmpfs/state.ts";
export type { FileSystem } from "./vfs/file_system.ts";
export { IoKind } from "./block_io.ts";
export { CallEnd, WAIT } from "./blocks.ts";
export { Buffers } from "./buffers.ts";
export { Jbd2, openJbd2 } from "./jbd2/jbd2.ts";
export type { Jbd2Options } from "./jbd2/jbd2.ts";
export { isJournalFault, loadJournal } from "./jbd2/journal.ts";
export type { JournalFault } from "./jbd2/journal.ts";
export type { JournalFeatures } from "./jbd2/log_super.ts";
export { recoverJournal } from "./jbd2/recovery.ts";
export type { Recovery } from "./jbd2/recovery.ts";
export type { JournalOwner } from "./jbd2/state.ts";
export { finish, Vfs } from "./vfs/vfs.ts";
export type { At } from "./vfs/vfs.ts";
export type { FileStat } from "./vfs/attr.ts";
export type { VfsOptions } from "./vfs/state.ts";
export { newStat } from "./vfs/state.ts";
export { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "./vfs/file_system.ts";
export { Phase as CommitPhase } from "./jbd2/commit.ts";
export { Phase as CheckpointPhase } from "./jbd2/checkpoint.ts";
