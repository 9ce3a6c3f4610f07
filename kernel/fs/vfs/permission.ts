/**
 * Who may do what: mode bits, owner, groups, and root (Linux: generic_permission, may_create, may_delete, check_sticky,
 * with all of root's capabilities or none).
 */
import { EACCES, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS } from "../../abi/errno.ts";
import { MS_RDONLY, R_OK, W_OK, X_OK } from "../../abi/fcntl.ts";
import { isDir, isLink, isReg, S_ISGID, S_ISUID, S_ISVTX, S_IWGRP, S_IWOTH, S_IXGRP, S_IXUGO } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import type { Stat } from "./file_system.ts";
import { type Cred, MOUNT, type VfsState } from "./state.ts";

export const isRoot = (cred: Cred): boolean => cred.uid === 0;
export const inGroup = (cred: Cred, gid: number): boolean => cred.gid === gid || cred.groups.includes(gid);
export const ownsOrRoot = (cred: Cred, stat: Stat): boolean => isRoot(cred) || cred.uid === stat.uid;

export function isReadOnly(v: VfsState, mount: number): boolean {
  return (v.mountGet(mount, MOUNT.flags) & MS_RDONLY) !== 0 || v.fsOf(mount).readOnly;
}

/** Do the mode bits let `cred` do all of `want` (R_OK, W_OK, X_OK)? */
export function allows(cred: Cred, stat: Stat, want: number): boolean {
  if (isRoot(cred)) return (want & X_OK) === 0 || isDir(stat.mode) || (stat.mode & S_IXUGO) !== 0;
  const shift = cred.uid === stat.uid ? 6 : inGroup(cred, stat.gid) ? 3 : 0;
  return (want & ~(stat.mode >>> shift) & (R_OK | W_OK | X_OK)) === 0;
}

/** A file system that cannot be written is said first, then what the bits say. Devices and pipes are not its content. */
export function permission(v: VfsState, cred: Cred, mount: number, stat: Stat, want: number): 0 | Errno {
  const content = isReg(stat.mode) || isDir(stat.mode) || isLink(stat.mode);
  if ((want & W_OK) !== 0 && content && isReadOnly(v, mount)) return EROFS;
  return allows(cred, stat, want) ? 0 : EACCES;
}

/** A new name in the directory `dir`. */
export function mayCreate(v: VfsState, cred: Cred, mount: number, dir: Stat): 0 | Errno {
  if (dir.links === 0) return ENOENT;
  return permission(v, cred, mount, dir, W_OK | X_OK);
}

/** The name of `victim` goes from `dir`; `asDir`: it must be a directory, or else must not be one. */
export function mayDelete(v: VfsState, cred: Cred, mount: number, dir: Stat, victim: Stat, asDir: boolean): 0 | Errno {
  const may = permission(v, cred, mount, dir, W_OK | X_OK);
  if (may !== 0) return may;
  if ((dir.mode & S_ISVTX) !== 0 && !ownsOrRoot(cred, dir) && !ownsOrRoot(cred, victim)) return EPERM;
  if (asDir && !isDir(victim.mode)) return ENOTDIR;
  if (!asDir && isDir(victim.mode)) return EISDIR;
  return dir.links === 0 ? ENOENT : 0;
}

/** The group of a new inode, and its mode: a set-group-id directory hands its group down, and to directories the bit. */
export function inherit(cred: Cred, dir: Stat, mode: number): { readonly mode: number; readonly gid: number } {
  if ((dir.mode & S_ISGID) === 0) return { mode, gid: cred.gid };
  if (isDir(mode)) return { mode: mode | S_ISGID, gid: dir.gid };
  const strip = (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP) && !isRoot(cred) && !inGroup(cred, dir.gid);
  return { mode: strip ? mode & ~S_ISGID : mode, gid: dir.gid };
}

/** The mode without what a change of content or owner takes away: set-user-id, and set-group-id of a program. */
export function withoutPrivileges(cred: Cred, stat: Stat): number {
  const dropGroup =
    (stat.mode & S_ISGID) !== 0 && ((stat.mode & S_IXGRP) !== 0 || (!isRoot(cred) && !inGroup(cred, stat.gid)));
  return stat.mode & ~(S_ISUID | (dropGroup ? S_ISGID : 0));
}

/** fs.protected_hardlinks: may `cred` make another name of this inode? */
export function mayLink(v: VfsState, cred: Cred, stat: Stat): 0 | Errno {
  if (v.protect.hardlinks !== true || ownsOrRoot(cred, stat)) return 0;
  const privileged = (stat.mode & S_ISUID) !== 0 || (stat.mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  return isReg(stat.mode) && !privileged && allows(cred, stat, R_OK | W_OK) ? 0 : EPERM;
}

/** fs.protected_symlinks: may the link at the end of a path be followed? */
export function mayFollow(v: VfsState, cred: Cred, dir: Stat, link: Stat): 0 | Errno {
  const open = (dir.mode & (S_ISVTX | S_IWOTH)) === (S_ISVTX | S_IWOTH);
  if (v.protect.symlinks !== true || !open || cred.uid === link.uid || dir.uid === link.uid) return 0;
  return EACCES;
}

/** fs.protected_regular: may O_CREAT open what is there? Root is asked, too. */
export function mayReopen(v: VfsState, cred: Cred, dir: Stat, stat: Stat): 0 | Errno {
  const { regular = 0 } = v.protect;
  if ((dir.mode & S_ISVTX) === 0 || !isReg(stat.mode) || regular === 0) return 0;
  if (stat.uid === dir.uid || stat.uid === cred.uid) return 0;
  return (dir.mode & S_IWOTH) !== 0 || ((dir.mode & S_IWGRP) !== 0 && regular >= 2) ? EACCES : 0;
}
