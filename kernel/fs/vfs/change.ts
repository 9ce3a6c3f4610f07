/**
 * Calls that make and remove names: mkdir, mknod, symlink, link, unlink, rmdir (rename.ts is apart). Each walks, checks,
 * and asks the file system once, so a call that waits has changed nothing. What the checks say in which order is
 * Linux's (fs/namei.c: filename_create, do_unlinkat, do_rmdir, do_linkat).
 */
import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EROFS,
  EXDEV,
  isErr,
} from "../../abi/errno.ts";
import { AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW } from "../../abi/fcntl.ts";
import {
  isDir,
  S_IALLUGO,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_IRWXUGO,
  S_ISVTX,
} from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { checkPath, Kind, type Path, pathBytes, type Walk } from "./namei.ts";
import { inherit, isReadOnly, mayCreate, mayDelete, mayLink } from "./permission.ts";
import { FILE, MOUNT, TASK, type VfsState } from "./state.ts";

/** Two walks: link and rename have two paths. */
export interface Walks {
  readonly one: Walk;
  readonly two: Walk;
}

/** What lookups of the name at the end of `walk` said is not true any more. */
export function forgetName(v: VfsState, walk: Walk): void {
  v.dcache.forget(v.mountGet(walk.mount, MOUNT.fs), walk.ino, walk.name);
}

/** Walks to a name that is not there and may be made: EEXIST before EROFS before EACCES. */
function toNewName(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path, asDir: boolean): 0 | Errno {
  const last = walk.start(task, dirfd, pathBytes(path)) || walk.toLast();
  if (last !== 0) return last;
  if (walk.kind !== Kind.Norm) return EEXIST;
  const found = walk.child();
  if (found === 0) return EEXIST;
  if (found !== ENOENT) return found;
  if (walk.slash && !asDir) return ENOENT;
  return isReadOnly(v, walk.mount) ? EROFS : 0;
}

const masked = (v: VfsState, task: number, mode: number): number => mode & ~v.taskGet(task, TASK.umask);

export function mkdir(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path, mode: number): number {
  const ready = toNewName(v, walk, task, dirfd, path, true) || mayCreate(v, walk.cred, walk.mount, walk.stat);
  if (ready !== 0) return ready;
  const own = S_IFDIR | masked(v, task, mode & (S_IRWXUGO | S_ISVTX));
  const node = { uid: walk.cred.uid, ...inherit(walk.cred, walk.stat, own) };
  const ino = v.fsOf(walk.mount).mkdir(walk.ino, walk.name, node);
  if (isErr(ino)) return ino;
  forgetName(v, walk);
  return 0;
}

export function mknod(
  v: VfsState,
  walk: Walk,
  task: number,
  dirfd: number,
  path: Path,
  mode: number,
  rdev: number,
): number {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return EPERM;
  if (![0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK].includes(type)) return EINVAL;
  const ready = toNewName(v, walk, task, dirfd, path, false) || mayCreate(v, walk.cred, walk.mount, walk.stat);
  if (ready !== 0) return ready;
  const device = type === S_IFCHR || type === S_IFBLK;
  // The device 0:0 is a whiteout, which anybody may make.
  if (device && walk.cred.uid !== 0 && !(type === S_IFCHR && rdev === 0)) return EPERM;
  const own = (type === 0 ? S_IFREG : type) | masked(v, task, mode & S_IALLUGO);
  const node = { uid: walk.cred.uid, rdev: device ? rdev : 0, ...inherit(walk.cred, walk.stat, own) };
  const ino = v.fsOf(walk.mount).create(walk.ino, walk.name, node);
  if (isErr(ino)) return ino;
  forgetName(v, walk);
  return 0;
}

export function symlink(v: VfsState, walk: Walk, task: number, target: Path, dirfd: number, path: Path): number {
  const text = pathBytes(target);
  const ready =
    checkPath(text) || toNewName(v, walk, task, dirfd, path, false) || mayCreate(v, walk.cred, walk.mount, walk.stat);
  if (ready !== 0) return ready;
  const { gid } = inherit(walk.cred, walk.stat, S_IFLNK);
  const node = { mode: S_IFLNK | S_IRWXUGO, uid: walk.cred.uid, gid };
  const ino = v.fsOf(walk.mount).symlink(walk.ino, walk.name, node, text);
  if (isErr(ino)) return ino;
  forgetName(v, walk);
  return 0;
}

export function link(
  v: VfsState,
  walks: Walks,
  task: number,
  [oldDirfd, oldPath]: readonly [dirfd: number, path: Path],
  [newDirfd, newPath]: readonly [dirfd: number, path: Path],
  flags: number,
): number {
  const { one, two } = walks;
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) !== 0) return EINVAL;
  const text = pathBytes(oldPath);
  let linkable = false;
  if ((flags & AT_EMPTY_PATH) !== 0 && text.length === 0) {
    const placed = one.toDirfd(task, oldDirfd);
    if (placed !== 0) return placed;
    if (one.cred.uid !== 0) return ENOENT;
    const file = v.fileOf(task, oldDirfd, true);
    linkable = !isErr(file) && v.fileGet(file, FILE.linkable) === 1;
  } else {
    const found = one.start(task, oldDirfd, text) || one.find((flags & AT_SYMLINK_FOLLOW) !== 0);
    if (found !== 0) return found;
  }
  const ready = toNewName(v, two, task, newDirfd, newPath, false);
  if (ready !== 0) return ready;
  if (one.mount !== two.mount) return EXDEV;
  const may = mayLink(v, two.cred, one.stat) || mayCreate(v, two.cred, two.mount, two.stat);
  if (may !== 0) return may;
  if (isDir(one.stat.mode)) return EPERM;
  if (one.stat.links === 0 && !linkable) return ENOENT;
  const linked = v.fsOf(two.mount).link(one.ino, two.ino, two.name);
  if (linked === 0) forgetName(v, two);
  return linked;
}

export function unlink(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path, flags: number): number {
  if ((flags & ~AT_REMOVEDIR) !== 0) return EINVAL;
  return flags === 0 ? unlinkFile(v, walk, task, dirfd, path) : rmdir(v, walk, task, dirfd, path);
}

function unlinkFile(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path): number {
  const last = walk.start(task, dirfd, pathBytes(path)) || walk.toLast();
  if (last !== 0) return last;
  if (walk.kind !== Kind.Norm) return EISDIR;
  if (isReadOnly(v, walk.mount)) return EROFS;
  const found = walk.child();
  if (found !== 0) return found;
  if (walk.slash) return isDir(walk.there.mode) ? EISDIR : ENOTDIR;
  const may = mayDelete(v, walk.cred, walk.mount, walk.stat, walk.there, false);
  if (may !== 0) return may;
  if (v.coverOf(walk.mount, walk.childIno) >= 0) return EBUSY;
  const done = v.fsOf(walk.mount).unlink(walk.ino, walk.name);
  if (done === 0) forgetName(v, walk);
  return done;
}

const NOT_A_NAME = { [Kind.Norm]: 0, [Kind.Root]: EBUSY, [Kind.Dot]: EINVAL, [Kind.DotDot]: ENOTEMPTY } as const;

export function rmdir(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path): number {
  const last = walk.start(task, dirfd, pathBytes(path)) || walk.toLast();
  if (last !== 0) return last;
  if (walk.kind !== Kind.Norm) return NOT_A_NAME[walk.kind];
  if (isReadOnly(v, walk.mount)) return EROFS;
  const found = walk.child();
  if (found !== 0) return found;
  const may = mayDelete(v, walk.cred, walk.mount, walk.stat, walk.there, true);
  if (may !== 0) return may;
  if (v.coverOf(walk.mount, walk.childIno) >= 0) return EBUSY;
  const done = v.fsOf(walk.mount).rmdir(walk.ino, walk.name);
  if (done === 0) {
    forgetName(v, walk);
    v.dcache.forgetDir(v.mountGet(walk.mount, MOUNT.fs), walk.childIno);
  }
  return done;
}
