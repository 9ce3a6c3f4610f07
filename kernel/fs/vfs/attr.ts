/** Attributes: stat, statfs, chmod, chown, utimens, access (Linux: fs/stat.c, fs/attr.c, fs/open.c, fs/utimes.c). */
import { EACCES, EBADF, EINVAL, ENOENT, EPERM, EROFS, isErr } from "../../abi/errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, R_OK, UTIME_NOW, UTIME_OMIT, W_OK, X_OK } from "../../abi/fcntl.ts";
import { isDir, isLink, S_IALLUGO, S_ISGID } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { NS_PER_SEC } from "../../abi/units.ts";
import type { SetAttr, Stat, StatFs } from "./file_system.ts";
import { type Path, pathBytes, type Walk } from "./namei.ts";
import { allows, inGroup, isReadOnly, ownsOrRoot, permission, withoutPrivileges } from "./permission.ts";
import { MOUNT, type VfsState } from "./state.ts";

/** What stat(2) tells: `dev` is 1 + the number of the file system. */
export interface FileStat extends Stat {
  dev: number;
}

/** Where a call is about: a path from a directory, or (AT_EMPTY_PATH and no text) the descriptor itself. */
export interface Where {
  readonly dirfd: number;
  readonly path: Path;
  readonly flags: number;
}

/** The descriptor itself: fstat, fchmod, ... */
export const byFd = (fd: number): Where => ({ dirfd: Math.max(-1, fd), path: "", flags: AT_EMPTY_PATH });

/** `pathToo` false: a descriptor of O_PATH is none. */
export function walkTo(v: VfsState, walk: Walk, task: number, where: Where, pathToo: boolean): 0 | Errno {
  const { dirfd, path, flags } = where;
  if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) !== 0) return EINVAL;
  if (path.length > 0 || (flags & AT_EMPTY_PATH) === 0)
    return walk.start(task, dirfd, pathBytes(path)) || walk.find((flags & AT_SYMLINK_NOFOLLOW) === 0);
  if (!pathToo && dirfd >= 0 && isErr(v.fileOf(task, dirfd, false))) return EBADF;
  return walk.toDirfd(task, dirfd);
}

export function stat(v: VfsState, walk: Walk, task: number, where: Where, out: FileStat): number {
  const found = walkTo(v, walk, task, where, true);
  if (found !== 0) return found;
  Object.assign(out, walk.stat);
  out.dev = v.mountGet(walk.mount, MOUNT.fs) + 1;
  return 0;
}

export function statfs(v: VfsState, walk: Walk, task: number, where: Where, out: StatFs): number {
  return walkTo(v, walk, task, where, true) || v.fsOf(walk.mount).statfs(out);
}

export function chmod(v: VfsState, walk: Walk, task: number, where: Where, mode: number): number {
  const found = walkTo(v, walk, task, where, false);
  if (found !== 0) return found;
  const { stat, cred } = walk;
  if (isReadOnly(v, walk.mount)) return EROFS;
  if (!ownsOrRoot(cred, stat)) return EPERM;
  const own = cred.uid === 0 || inGroup(cred, stat.gid) ? S_IALLUGO : S_IALLUGO & ~S_ISGID;
  return v.fsOf(walk.mount).setattr(walk.ino, { mode: (stat.mode & ~S_IALLUGO) | (mode & own) });
}

/** -1 leaves the owner or group as it is. */
export function chown(v: VfsState, walk: Walk, task: number, where: Where, uid: number, gid: number): number {
  const found = walkTo(v, walk, task, where, false);
  if (found !== 0) return found;
  const { stat, cred } = walk;
  if (isReadOnly(v, walk.mount)) return EROFS;
  const keepsUid = uid === -1 || (uid === stat.uid && cred.uid === stat.uid);
  const mayGroup = gid === -1 || (cred.uid === stat.uid && (gid === stat.gid || inGroup(cred, gid)));
  if (cred.uid !== 0 && !(keepsUid && mayGroup)) return EPERM;
  const attr: { uid?: number; gid?: number; mode?: number } = {};
  if (uid !== -1) attr.uid = uid;
  if (gid !== -1) attr.gid = gid;
  if (!isDir(stat.mode)) attr.mode = withoutPrivileges(cred, stat);
  return v.fsOf(walk.mount).setattr(walk.ino, attr);
}

export type Time = readonly [sec: number, nsec: number];

const isTime = ([, nsec]: Time): boolean =>
  (nsec >= 0 && nsec < NS_PER_SEC) || nsec === UTIME_NOW || nsec === UTIME_OMIT;

/** Without times both become now, which whoever may write may do; times are the owner's. */
export function utimens(v: VfsState, walk: Walk, task: number, where: Where, times?: readonly [Time, Time]): number {
  if (times !== undefined) {
    if (!times.every(isTime)) return EINVAL;
    if (times.every(([, nsec]) => nsec === UTIME_OMIT)) return 0;
  }
  const found = walkTo(v, walk, task, where, false);
  if (found !== 0) return found;
  const { stat, cred } = walk;
  if (isReadOnly(v, walk.mount)) return EROFS;
  const bothNow = times === undefined || times.every(([, nsec]) => nsec === UTIME_NOW);
  if (!ownsOrRoot(cred, stat)) {
    if (!bothNow) return EPERM;
    if (!allows(cred, stat, W_OK)) return EACCES;
  }
  const attr: { -readonly [K in keyof SetAttr]: SetAttr[K] } = {};
  for (const [n, name] of (["atime", "mtime"] as const).entries()) {
    const time = times?.[n];
    if (time === undefined || time[1] === UTIME_NOW) attr[name] = v.time();
    else if (time[1] !== UTIME_OMIT) attr[name] = time;
  }
  return v.fsOf(walk.mount).setattr(walk.ino, attr);
}

export function access(v: VfsState, walk: Walk, task: number, where: Where, want: number): number {
  if ((want & ~(R_OK | W_OK | X_OK)) !== 0) return EINVAL;
  const found = walkTo(v, walk, task, where, true);
  return found === 0 ? permission(v, walk.cred, walk.mount, walk.stat, want) : found;
}

/** Bytes of a link's target, cut at the buffer; an empty path with a descriptor of the link itself (O_PATH) is allowed. */
export function readlink(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path, into: Uint8Array): number {
  if (into.length === 0) return EINVAL;
  const empty = path.length === 0;
  const found = walkTo(v, walk, task, { dirfd, path, flags: AT_SYMLINK_NOFOLLOW | (empty ? AT_EMPTY_PATH : 0) }, true);
  if (found !== 0) return found;
  if (!isLink(walk.stat.mode)) return empty ? ENOENT : EINVAL;
  const length = v.fsOf(walk.mount).readlink(walk.ino, walk.target);
  if (isErr(length)) return length;
  const count = Math.min(length, into.length);
  into.set(walk.target.subarray(0, count));
  return count;
}
