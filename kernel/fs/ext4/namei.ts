/**
 * Names of inodes, made and taken away: what the system calls of the same names do below the VFS. rename.ts moves them.
 *
 * - ext4Create(edit, dir, name, node)    a regular file, FIFO, socket or device: its number
 * - ext4Mkdir, ext4Symlink               the same for the other two
 * - ext4Tmpfile(edit, dir, node)         a file without a name, on record as an orphan
 * - ext4Link(edit, ino, dir, name)       one more name; also the first one of such a file
 * - ext4Unlink, ext4Rmdir(edit, dir, name, keep)
 *
 * What has lost its last name is an orphan. `keep` false: it is given back at once, in the same call; true: it is put on
 * record and its number is returned, and whoever runs the call evicts it when nobody holds it any more, in as many
 * transactions as it takes (evictInode). Returns 0 when there is no orphan.
 *
 * - ...Credits(sb)                       blocks that a call changes at most, by Linux's formulas
 *
 * Times and link counts are Linux's. An errno leaves the call half done: whoever runs it undoes the blocks.
 */
import { EEXIST, EFSCORRUPTED, EISDIR, EMLINK, ENOENT, ENOTDIR, ENOTEMPTY, isErr } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe16 } from "../../lib/bytes.ts";
import type { NewNode } from "../vfs/file_system.ts";
import { FILE_TYPES, lookup } from "./dir.ts";
import { addEntry, initDir, isEmptyDir, removeEntry } from "./dir_edit.ts";
import type { Edit } from "./edit.ts";
import { inodeAt } from "./group.ts";
import { newInode } from "./ialloc.ts";
import { startInlineDir } from "./inline_dir.ts";
import { inodeGid, inodeLinks, inodeMode, inodeType } from "./inode.ts";
import { TOUCH_CTIME, TOUCH_MTIME, addLink, dropLink, editInode, linksFull, sealInode, touch } from "./inode_edit.ts";
import { INODE, S_IFDIR, S_IFMT } from "./layout.ts";
import { WHOLE, evictInode, orphanAdd, orphanDel } from "./orphan_edit.ts";
import type { Super } from "./super.ts";
import { setTarget } from "./symlink.ts";

const S_ISGID = 0o2000;

/** Linux's EXT4_DATA_TRANS_BLOCKS, without quotas: a map and its groups, and the attributes of the inode. */
export const dataCredits = (sb: Super): number => (sb.hasExtents ? 20 : 8) + 6 - 2;
/** EXT4_INDEX_EXTRA_TRANS_BLOCKS: splits of a hash tree at all its levels. */
const INDEX_CREDITS = 12;
export const makeCredits = (sb: Super): number => dataCredits(sb) + INDEX_CREDITS + 3;
/** And the block of the target. */
export const symlinkCredits = (sb: Super): number => makeCredits(sb) + 4;
export const linkCredits = (sb: Super): number => dataCredits(sb) + INDEX_CREDITS + 1;
/** Also rmdir's. */
export const unlinkCredits = (sb: Super): number => dataCredits(sb);
export const renameCredits = (sb: Super): number => 2 * dataCredits(sb) + 2 * INDEX_CREDITS + 2;

/** A directory without links was removed and is only held: nothing is made in it any more. */
export const isDead = (edit: Edit, dir: number): boolean => inodeLinks(edit.blocks.view, editInode(edit, dir)) === 0;

/** The inode that a name in a directory names; EFSCORRUPTED for one that no name can name. */
export function childOf({ blocks, sb }: Edit, dir: number, name: Uint8Array): number | Errno {
  const ino = lookup(blocks, sb, dir, name);
  if (isErr(ino)) return ino;
  const at = ino < sb.firstIno ? -1 : inodeAt(blocks, sb, ino);
  const known = at >= 0 && FILE_TYPES[inodeType(blocks.view, at)] !== undefined;
  return known && inodeLinks(blocks.view, at) > 0 ? ino : EFSCORRUPTED;
}

/** 0 when a name can be made. */
function nameIsFree(edit: Edit, dir: number, name: Uint8Array): 0 | Errno {
  if (isDead(edit, dir)) return ENOENT;
  const found = lookup(edit.blocks, edit.sb, editInode(edit, dir), name);
  if (!isErr(found)) return EEXIST;
  return found === ENOENT ? 0 : found;
}

/** A directory with set-group-ID hands on its group, and to directories the bit. */
export function ownedIn(edit: Edit, dir: number, node: NewNode): NewNode {
  const { view } = edit.blocks;
  const at = editInode(edit, dir);
  if ((inodeMode(view, at) & S_ISGID) === 0) return node;
  const mode = (node.mode & S_IFMT) === S_IFDIR ? node.mode | S_ISGID : node.mode;
  return { ...node, mode, gid: inodeGid(view, at) };
}

/** Puts a new inode's name in; the inode's number. */
function named(edit: Edit, dir: number, name: Uint8Array, ino: number, node: NewNode): number | Errno {
  const result = addEntry(edit, dir, name, ino, FILE_TYPES[node.mode & S_IFMT]!);
  if (result !== 0) return result;
  touch(edit, dir, TOUCH_MTIME | TOUCH_CTIME);
  return ino;
}

export function ext4Create(edit: Edit, dir: number, name: Uint8Array, node: NewNode): number | Errno {
  const fault = nameIsFree(edit, dir, name);
  if (fault !== 0) return fault;
  const ino = newInode(edit, dir, ownedIn(edit, dir, node));
  return isErr(ino) ? ino : named(edit, dir, name, ino, node);
}

export function ext4Mkdir(edit: Edit, dir: number, name: Uint8Array, node: NewNode): number | Errno {
  const { blocks, sb } = edit;
  const fault = nameIsFree(edit, dir, name);
  if (fault !== 0) return fault;
  if (linksFull(sb, blocks.view, editInode(edit, dir))) return EMLINK;
  const ino = newInode(edit, dir, ownedIn(edit, dir, node));
  if (isErr(ino)) return ino;
  setLe16(blocks.view, editInode(edit, ino) + INODE.i_links_count, 2);
  if (!startInlineDir(edit, ino, dir)) {
    const result = initDir(edit, ino, dir);
    if (result !== 0) return result;
  }
  sealInode(edit, ino);
  const result = named(edit, dir, name, ino, node);
  if (isErr(result)) return result;
  addLink(blocks.view, editInode(edit, dir));
  sealInode(edit, dir);
  return ino;
}

export function ext4Symlink(
  edit: Edit,
  dir: number,
  name: Uint8Array,
  node: NewNode,
  target: Uint8Array,
): number | Errno {
  const fault = nameIsFree(edit, dir, name);
  if (fault !== 0) return fault;
  const ino = newInode(edit, dir, ownedIn(edit, dir, node));
  if (isErr(ino)) return ino;
  const result = setTarget(edit, ino, target);
  return result === 0 ? named(edit, dir, name, ino, node) : result;
}

export function ext4Tmpfile(edit: Edit, dir: number, node: NewNode): number | Errno {
  const ino = newInode(edit, dir, ownedIn(edit, dir, node));
  if (isErr(ino)) return ino;
  setLe16(edit.blocks.view, editInode(edit, ino) + INODE.i_links_count, 0);
  sealInode(edit, ino);
  orphanAdd(edit, ino);
  return ino;
}

/** Whether a file without links may be given one is for the caller to know. */
export function ext4Link(edit: Edit, ino: number, dir: number, name: Uint8Array): 0 | Errno {
  const { blocks, sb } = edit;
  const fault = nameIsFree(edit, dir, name);
  if (fault !== 0) return fault;
  const at = editInode(edit, ino);
  if (linksFull(sb, blocks.view, at)) return EMLINK;
  const result = addEntry(edit, dir, name, ino, FILE_TYPES[inodeType(blocks.view, at)]!);
  if (result !== 0) return result;
  if (inodeLinks(blocks.view, at) === 0) orphanDel(edit, ino);
  addLink(blocks.view, at);
  touch(edit, ino, TOUCH_CTIME);
  touch(edit, dir, TOUCH_MTIME | TOUCH_CTIME);
  return 0;
}

/** After its link count went down: 0, or its number when it lives on without a name. */
export function letGo(edit: Edit, ino: number, keep: boolean): number | Errno {
  touch(edit, ino, TOUCH_CTIME);
  if (inodeLinks(edit.blocks.view, editInode(edit, ino)) > 0) return 0;
  if (keep) {
    orphanAdd(edit, ino);
    return ino;
  }
  const done = evictInode(edit, ino, WHOLE);
  return typeof done === "number" ? done : 0;
}

export function ext4Unlink(edit: Edit, dir: number, name: Uint8Array, keep: boolean): number | Errno {
  const { blocks } = edit;
  const ino = childOf(edit, editInode(edit, dir), name);
  if (isErr(ino)) return ino;
  const at = editInode(edit, ino);
  if (inodeType(blocks.view, at) === S_IFDIR) return EISDIR;
  const result = removeEntry(edit, dir, name);
  if (result !== 0) return result;
  touch(edit, dir, TOUCH_MTIME | TOUCH_CTIME);
  dropLink(blocks.view, at);
  return letGo(edit, ino, keep);
}

export function ext4Rmdir(edit: Edit, dir: number, name: Uint8Array, keep: boolean): number | Errno {
  const { blocks, sb } = edit;
  const ino = childOf(edit, editInode(edit, dir), name);
  if (isErr(ino)) return ino;
  const at = editInode(edit, ino);
  if (inodeType(blocks.view, at) !== S_IFDIR) return ENOTDIR;
  if (!isEmptyDir(blocks, sb, at)) return ENOTEMPTY;
  const result = removeEntry(edit, dir, name);
  if (result !== 0) return result;
  dropLink(blocks.view, editInode(edit, dir));
  touch(edit, dir, TOUCH_MTIME | TOUCH_CTIME);
  setLe16(blocks.view, at + INODE.i_links_count, 0);
  return letGo(edit, ino, keep);
}
