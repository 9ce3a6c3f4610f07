/** renameat2(2): the checks in Linux's order (fs/namei.c: do_renameat2, vfs_rename), then one call of the file system. */
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, EROFS, EXDEV, isErr } from "../../abi/errno.ts";
import { W_OK } from "../../abi/fcntl.ts";
import { isDir } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { forgetName, type Walks } from "./change.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from "./file_system.ts";
import { Kind, type Path, pathBytes, type Walk } from "./namei.ts";
import { isReadOnly, mayCreate, mayDelete, permission } from "./permission.ts";
import { MOUNT, type VfsState } from "./state.ts";

export function rename(
  v: VfsState,
  walks: Walks,
  task: number,
  [fromDirfd, fromPath]: readonly [dirfd: number, path: Path],
  [toDirfd, toPath]: readonly [dirfd: number, path: Path],
  flags: number,
): number {
  const { one: from, two: to } = walks;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return EINVAL;
  if (exchange && flags !== RENAME_EXCHANGE) return EINVAL;
  const walked =
    from.start(task, fromDirfd, pathBytes(fromPath)) ||
    from.toLast() ||
    to.start(task, toDirfd, pathBytes(toPath)) ||
    to.toLast();
  if (walked !== 0) return walked;
  if (from.mount !== to.mount) return EXDEV;
  if (from.kind !== Kind.Norm) return EBUSY;
  if (to.kind !== Kind.Norm) return (flags & RENAME_NOREPLACE) !== 0 ? EEXIST : EBUSY;
  if (isReadOnly(v, from.mount)) return EROFS;
  const source = from.child();
  if (source !== 0) return source;
  const target = to.child();
  if (target !== 0 && target !== ENOENT) return target;
  const over = target === 0;
  if (over && (flags & RENAME_NOREPLACE) !== 0) return EEXIST;
  if (exchange && !over) return ENOENT;
  const wrong = checkShape(v, from, to, over, exchange);
  if (wrong !== 0) return wrong;
  // Two names of one inode: nothing to do.
  if (over && from.childIno === to.childIno) return 0;
  const may = mayRename(v, from, to, over, exchange);
  if (may !== 0) return may;
  if (v.coverOf(from.mount, from.childIno) >= 0 || (over && v.coverOf(to.mount, to.childIno) >= 0)) return EBUSY;
  const done = v.fsOf(from.mount).rename(from.ino, from.name, to.ino, to.name, flags);
  if (done !== 0) return done;
  forgetName(v, from);
  forgetName(v, to);
  if (over && !exchange && isDir(to.there.mode)) v.dcache.forgetDir(v.mountGet(to.mount, MOUNT.fs), to.childIno);
  return 0;
}

/** Trailing slashes are for directories, and neither of the two may be above the other. */
function checkShape(v: VfsState, from: Walk, to: Walk, over: boolean, exchange: boolean): 0 | Errno {
  if (exchange && to.slash && !isDir(to.there.mode)) return ENOTDIR;
  if (!isDir(from.there.mode) && (from.slash || (!exchange && to.slash))) return ENOTDIR;
  // A directory that was removed is below nothing, and takes no name either.
  const below = to.stat.links === 0 ? 0 : isBelow(v, from.mount, to.ino, from.childIno);
  if (isErr(below)) return below;
  if (below === 1) return EINVAL;
  if (!over) return 0;
  const above = isBelow(v, from.mount, from.ino, to.childIno);
  if (isErr(above)) return above;
  return above === 0 ? 0 : exchange ? EINVAL : ENOTEMPTY;
}

/** 1: the directory `dir` is `other` or below it. */
function isBelow(v: VfsState, mount: number, dir: number, other: number): number | Errno {
  const root = v.mountGet(mount, MOUNT.root);
  for (let at = dir; ;) {
    if (at === other) return 1;
    if (at === root) return 0;
    const parent = v.fsOf(mount).parent(at);
    if (isErr(parent)) return parent;
    at = parent;
  }
}

function mayRename(v: VfsState, from: Walk, to: Walk, over: boolean, exchange: boolean): 0 | Errno {
  const { cred, mount } = from;
  const asDir = isDir(from.there.mode);
  const gone = mayDelete(v, cred, mount, from.stat, from.there, asDir);
  if (gone !== 0) return gone;
  const replaced = !over
    ? mayCreate(v, cred, mount, to.stat)
    : mayDelete(v, cred, mount, to.stat, to.there, exchange ? isDir(to.there.mode) : asDir);
  if (replaced !== 0 || from.ino === to.ino) return replaced;
  // ".." of a directory that moves is written.
  const own = asDir ? permission(v, cred, mount, from.there, W_OK) : 0;
  if (own !== 0 || !exchange || !isDir(to.there.mode)) return own;
  return permission(v, cred, mount, to.there, W_OK);
}
