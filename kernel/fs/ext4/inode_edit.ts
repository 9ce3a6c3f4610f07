/**
 * Fields of an inode, writing: the counterpart of inode.ts. Addresses are those of writableInode().
 *
 * - editInode(edit, ino)          address for writing; panics for a number that cannot be: the caller has looked it up
 * - sealInode(edit, ino)          the checksum: once after the last change of an inode in a call
 * - touch(edit, ino, TOUCH_...)   times become now
 * - setTime, setInodeSize, setOwner, setDevice, deviceOf
 * - addLink, dropLink             link counts with ext4's rule for directories: past 65,000 an indexed one says 1, and 1
 *                                 stays 1 (dir_nlink); linksFull() says when that is not allowed
 * - getattr(...), setattr(...)    as the VFS asks for them
 *
 *   time    i_Xtime | signed 32 bits of seconds |   i_Xtime_extra | 30 bits of nanoseconds, 2 bits of 2^32 seconds |
 *   device  i_block | major << 8 + minor | 0 |  or  | 0 | minor & 255, major << 8, minor >> 8 << 20 |
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import type { SetAttr, Stat } from "../vfs/file_system.ts";
import { inodeHas, setInodeChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";
import { inodeAt } from "./group.ts";
import {
  inodeFlags,
  inodeGeneration,
  inodeGid,
  inodeLinks,
  inodeMode,
  inodeNanos,
  inodeSeconds,
  inodeSectors,
  inodeSizeBytes,
  inodeType,
  inodeUid,
} from "./inode.ts";
import { INCOMPAT, INODE, INODE_FLAG, RO_COMPAT, SB, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG } from "./layout.ts";
import { writableInode } from "./orphan.ts";
import { setSuperFeature } from "./super_edit.ts";
import type { Super } from "./super.ts";

/** EXT4_LINK_MAX */
export const LINKS_MAX = 65_000;
const MINOR_BITS = 20;
const SECONDS_MIN = -(2 ** 31);
const SECONDS_MAX_OLD = 2 ** 31 - 1;
/** With the two further bits, in 2446. */
const SECONDS_MAX = 2 ** 34 - 2 ** 31 - 1;

export function editInode(edit: Edit, ino: number): number {
  const at = writableInode(edit.blocks, edit.sb, ino);
  assert(at >= 0, "editInode: no such inode");
  return at;
}

export function sealInode(edit: Edit, ino: number): void {
  setInodeChecksum(edit.sb, edit.blocks.bytes, edit.blocks.view, editInode(edit, ino), ino);
}

/** `field` and `extra` are the offsets of the time's two fields. What they cannot hold is clamped, as Linux does. */
export function setTime(
  sb: Super,
  view: DataView,
  at: number,
  field: number,
  extra: number,
  sec: number,
  nsec: number,
): void {
  const wide = inodeHas(sb, view, at, extra, 4);
  const kept = Math.max(SECONDS_MIN, Math.min(sec, wide ? SECONDS_MAX : SECONDS_MAX_OLD));
  const low = kept | 0;
  setLe32(view, at + field, low);
  if (wide) setLe32(view, at + extra, ((nsec << 2) | (((kept - low) / 2 ** 32) & 3)) >>> 0);
}

export const TOUCH_ATIME = 1;
export const TOUCH_MTIME = 2;
export const TOUCH_CTIME = 4;

export function touch(edit: Edit, ino: number, what: number): void {
  const { sb, sec, nsec } = edit;
  const { view } = edit.blocks;
  const at = editInode(edit, ino);
  if ((what & TOUCH_ATIME) !== 0) setTime(sb, view, at, INODE.i_atime, INODE.i_atime_extra, sec, nsec);
  if ((what & TOUCH_MTIME) !== 0) setTime(sb, view, at, INODE.i_mtime, INODE.i_mtime_extra, sec, nsec);
  if ((what & TOUCH_CTIME) !== 0) setTime(sb, view, at, INODE.i_ctime, INODE.i_ctime_extra, sec, nsec);
  sealInode(edit, ino);
}

/** A regular file of 2 GiB and more marks the file system (large_file). The checksum is the caller's. */
export function setInodeSize(edit: Edit, ino: number, size: number): void {
  const { sb, blocks } = edit;
  const at = editInode(edit, ino);
  const type = inodeType(blocks.view, at);
  setLe32(blocks.view, at + INODE.i_size_lo, size % 2 ** 32);
  const wide = type === S_IFREG || (type === S_IFDIR && (sb.incompat & INCOMPAT.large_dir) !== 0);
  assert(wide || size < 2 ** 32, "setInodeSize: the high half is not for this type");
  if (wide) setLe32(blocks.view, at + INODE.i_size_high, Math.floor(size / 2 ** 32));
  if (size >= 2 ** 31) setSuperFeature(edit, SB.s_feature_ro_compat, RO_COMPAT.large_file, true);
}

export function setOwner(view: DataView, at: number, uid: number, gid: number): void {
  setLe16(view, at + INODE.i_uid, uid & 0xffff);
  setLe16(view, at + INODE.l_i_uid_high, uid >>> 16);
  setLe16(view, at + INODE.i_gid, gid & 0xffff);
  setLe16(view, at + INODE.l_i_gid_high, gid >>> 16);
}

/** `rdev` is major * 2^20 + minor. */
export function setDevice(view: DataView, at: number, rdev: number): void {
  const [major, minor] = [rdev >>> MINOR_BITS, rdev & (2 ** MINOR_BITS - 1)];
  const old = major < 256 && minor < 256;
  setLe32(view, at + INODE.i_block, old ? (major << 8) | minor : 0);
  setLe32(view, at + INODE.i_block + 4, old ? 0 : ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0);
}

export function deviceOf(view: DataView, at: number): number {
  const type = inodeType(view, at);
  if (type !== S_IFCHR && type !== S_IFBLK) return 0;
  const old = le32(view, at + INODE.i_block);
  if (old !== 0) return ((old >>> 8) & 0xff) * 2 ** MINOR_BITS + (old & 0xff);
  const wide = le32(view, at + INODE.i_block + 4);
  return ((wide >>> 8) & 0xfff) * 2 ** MINOR_BITS + ((wide & 0xff) | ((wide >>> 12) & 0xfff00));
}

const isIndexed = (view: DataView, at: number): boolean => (inodeFlags(view, at) & INODE_FLAG.index) !== 0;

/** No further link may be made: EMLINK. For a directory: no further directory in it. */
export function linksFull(sb: Super, view: DataView, at: number): boolean {
  if (inodeLinks(view, at) < LINKS_MAX) return false;
  return !(inodeType(view, at) === S_IFDIR && (sb.roCompat & RO_COMPAT.dir_nlink) !== 0 && isIndexed(view, at));
}

export function addLink(view: DataView, at: number): void {
  let links = inodeLinks(view, at) + 1;
  // A directory that is in use has 1 only by this rule, and then keeps it.
  if (inodeType(view, at) === S_IFDIR && (links === 2 || (links > LINKS_MAX && isIndexed(view, at)))) links = 1;
  setLe16(view, at + INODE.i_links_count, links);
}

export function dropLink(view: DataView, at: number): void {
  const links = inodeLinks(view, at);
  // Below two a directory's count says nothing: it has "." and its name.
  if (inodeType(view, at) === S_IFDIR && links <= 2) return;
  assert(links > 0, "dropLink: there is none");
  setLe16(view, at + INODE.i_links_count, links - 1);
}

export function getattr(blocks: Blocks, sb: Super, ino: number, out: Stat): 0 | Errno {
  const { view } = blocks;
  const at = inodeAt(blocks, sb, ino);
  if (at < 0) return EFSCORRUPTED;
  out.ino = ino;
  out.mode = inodeMode(view, at);
  out.links = inodeLinks(view, at);
  out.uid = inodeUid(view, at);
  out.gid = inodeGid(view, at);
  out.rdev = deviceOf(view, at);
  out.size = inodeSizeBytes(sb, view, at);
  out.sectors = inodeSectors(sb, view, at);
  out.blockSize = sb.blockSize;
  out.atimeSec = inodeSeconds(sb, view, at, INODE.i_atime, INODE.i_atime_extra);
  out.atimeNsec = inodeNanos(sb, view, at, INODE.i_atime_extra);
  out.mtimeSec = inodeSeconds(sb, view, at, INODE.i_mtime, INODE.i_mtime_extra);
  out.mtimeNsec = inodeNanos(sb, view, at, INODE.i_mtime_extra);
  out.ctimeSec = inodeSeconds(sb, view, at, INODE.i_ctime, INODE.i_ctime_extra);
  out.ctimeNsec = inodeNanos(sb, view, at, INODE.i_ctime_extra);
  out.generation = inodeGeneration(view, at);
  return 0;
}

export function setattr(edit: Edit, ino: number, attr: SetAttr): 0 | Errno {
  const { sb } = edit;
  const { view } = edit.blocks;
  const at = writableInode(edit.blocks, sb, ino);
  if (at < 0) return EFSCORRUPTED;
  if (attr.mode !== undefined)
    setLe16(view, at + INODE.i_mode, (le16(view, at + INODE.i_mode) & S_IFMT) | (attr.mode & ~S_IFMT));
  setOwner(view, at, attr.uid ?? inodeUid(view, at), attr.gid ?? inodeGid(view, at));
  if (attr.atime !== undefined) setTime(sb, view, at, INODE.i_atime, INODE.i_atime_extra, ...attr.atime);
  if (attr.mtime !== undefined) setTime(sb, view, at, INODE.i_mtime, INODE.i_mtime_extra, ...attr.mtime);
  touch(edit, ino, TOUCH_CTIME);
  return 0;
}
