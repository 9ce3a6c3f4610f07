/**
 * rename and renameat2 below the VFS, as Linux does it: the new name first, then the old one goes; a directory that moves
 * gets another ".." and its parents other link counts.
 *
 * - ext4Rename(edit, from, name, to, newName, flags, keep)    `keep` and the result as of ext4Unlink (namei.ts), for what
 *                                                             the new name named before
 *
 * Two names of one inode are left as they are. RENAME_WHITEOUT leaves a character device 0:0 under the old name.
 */
import { EEXIST, EFSCORRUPTED, EINVAL, EISDIR, EMLINK, ENOENT, ENOTDIR, ENOTEMPTY, isErr } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe16 } from "../../lib/bytes.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from "../vfs/file_system.ts";
import { FILE_TYPES } from "./dir.ts";
import { addEntry, isEmptyDir, removeEntry, replaceEntry, setParent } from "./dir_edit.ts";
import type { Edit } from "./edit.ts";
import { newInode } from "./ialloc.ts";
import { inodeType } from "./inode.ts";
import { TOUCH_CTIME, TOUCH_MTIME, addLink, dropLink, editInode, linksFull, touch } from "./inode_edit.ts";
import { INODE, INO_ROOT, S_IFCHR, S_IFDIR } from "./layout.ts";
import { FT_CHR } from "./layout_dir.ts";
import { childOf, isDead, letGo, ownedIn } from "./namei.ts";
import { parentOf } from "./path.ts";

const isDir = (edit: Edit, ino: number): boolean => inodeType(edit.blocks.view, editInode(edit, ino)) === S_IFDIR;

const typeOf = (edit: Edit, ino: number): number => FILE_TYPES[inodeType(edit.blocks.view, editInode(edit, ino))]!;

/** Whether a directory is another one or lies somewhere below it. EFSCORRUPTED when ".." does not lead to the root. */
function isWithin(edit: Edit, dir: number, ancestor: number): boolean | Errno {
  const { blocks, sb } = edit;
  let here = dir;
  for (let steps = 0; steps < sb.inodesCount; steps++) {
    if (here === ancestor) return true;
    if (here === INO_ROOT) return false;
    const up = parentOf(blocks, sb, here);
    if (isErr(up)) return up;
    here = up;
  }
  return EFSCORRUPTED;
}

/** 0 when a directory `ino` may move into `to`. */
function mayMove(edit: Edit, ino: number, to: number): 0 | Errno {
  const within = isWithin(edit, to, ino);
  if (typeof within === "number") return within;
  return within ? EINVAL : 0;
}

export function ext4Rename(
  edit: Edit,
  from: number,
  name: Uint8Array,
  to: number,
  newName: Uint8Array,
  flags: number,
  keep: boolean,
): number | Errno {
  const { blocks, sb } = edit;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (exchange && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0) return EINVAL;
  const ino = childOf(edit, editInode(edit, from), name);
  if (isErr(ino)) return ino;
  if (isDead(edit, to)) return ENOENT;
  const found = childOf(edit, editInode(edit, to), newName);
  if (isErr(found) && found !== ENOENT) return found;
  const target = isErr(found) ? 0 : found;
  if (target !== 0 && (flags & RENAME_NOREPLACE) !== 0) return EEXIST;
  if (target === 0 && exchange) return ENOENT;
  if (target === ino) return 0;
  const moves = from !== to && isDir(edit, ino);
  if (moves) {
    const fault = mayMove(edit, ino, to);
    if (fault !== 0) return fault;
  }
  if (exchange) return exchangeNames(edit, from, name, ino, to, newName, target);
  if (target !== 0) {
    const fault = mayReplace(edit, ino, target);
    if (fault !== 0) return fault;
  } else if (moves && linksFull(sb, blocks.view, editInode(edit, to))) return EMLINK;
  return move(edit, from, name, ino, to, newName, target, (flags & RENAME_WHITEOUT) !== 0, keep);
}

function mayReplace(edit: Edit, ino: number, target: number): 0 | Errno {
  const { blocks, sb } = edit;
  if (!isDir(edit, ino)) return isDir(edit, target) ? EISDIR : 0;
  if (!isDir(edit, target)) return ENOTDIR;
  return isEmptyDir(blocks, sb, editInode(edit, target)) ? 0 : ENOTEMPTY;
}

function move(
  edit: Edit,
  from: number,
  name: Uint8Array,
  ino: number,
  to: number,
  newName: Uint8Array,
  target: number,
  whiteout: boolean,
  keep: boolean,
): number | Errno {
  const { view } = edit.blocks;
  const type = typeOf(edit, ino);
  let result = target === 0 ? addEntry(edit, to, newName, ino, type) : replaceEntry(edit, to, newName, ino, type);
  if (result !== 0) return result;
  if (whiteout) {
    const left = newInode(edit, from, ownedIn(edit, from, { mode: S_IFCHR, uid: 0, gid: 0 }));
    if (isErr(left)) return left;
    result = replaceEntry(edit, from, name, left, FT_CHR);
  } else result = removeEntry(edit, from, name);
  if (result !== 0) return result;
  if (isDir(edit, ino)) {
    if (from !== to) {
      result = setParent(edit, ino, to);
      if (result !== 0) return result;
    }
    dropLink(view, editInode(edit, from));
    if (target === 0) addLink(view, editInode(edit, to));
  }
  touch(edit, ino, TOUCH_CTIME);
  touch(edit, from, TOUCH_MTIME | TOUCH_CTIME);
  touch(edit, to, TOUCH_MTIME | TOUCH_CTIME);
  if (target === 0) return 0;
  const at = editInode(edit, target);
  if (isDir(edit, target)) setLe16(view, at + INODE.i_links_count, 0);
  else dropLink(view, at);
  return letGo(edit, target, keep);
}

function exchangeNames(
  edit: Edit,
  from: number,
  name: Uint8Array,
  ino: number,
  to: number,
  newName: Uint8Array,
  target: number,
): 0 | Errno {
  const { view } = edit.blocks;
  const [oneIsDir, otherIsDir] = [isDir(edit, ino), isDir(edit, target)];
  if (from !== to) {
    if (otherIsDir) {
      const fault = mayMove(edit, target, from);
      if (fault !== 0) return fault;
    }
    // The one that gets a directory for something else has one more "..".
    const gains = oneIsDir && !otherIsDir ? to : otherIsDir && !oneIsDir ? from : 0;
    if (gains !== 0) {
      if (linksFull(edit.sb, view, editInode(edit, gains))) return EMLINK;
      addLink(view, editInode(edit, gains));
      dropLink(view, editInode(edit, gains === to ? from : to));
    }
  }
  let result = replaceEntry(edit, to, newName, ino, typeOf(edit, ino));
  if (result === 0) result = replaceEntry(edit, from, name, target, typeOf(edit, target));
  if (result === 0 && from !== to && oneIsDir) result = setParent(edit, ino, to);
  if (result === 0 && from !== to && otherIsDir) result = setParent(edit, target, from);
  if (result !== 0) return result;
  for (const one of [ino, target]) touch(edit, one, TOUCH_CTIME);
  for (const dir of [from, to]) touch(edit, dir, TOUCH_MTIME | TOUCH_CTIME);
  return 0;
}
