/**
 * open(2). What it does in which order is what a caller sees as errno, so it is Linux's order (fs/namei.c: path_openat):
 *
 *   descriptor and file to be had -> walk to the last name -> look it up -> make it, or check what is there ->
 *   hold it -> empty it (O_TRUNC; may wait many times) -> descriptor
 *
 * From the hold on the call goes on where it was: PHASE 1, with A = 1 while the file is still to be emptied.
 */
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENFILE,
  ENOENT,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  EROFS,
  isErr,
} from "../../abi/errno.ts";
import {
  O_ACCMODE,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_TMPFILE,
  O_TRUNC,
  R_OK,
  W_OK,
  X_OK,
} from "../../abi/fcntl.ts";
import { isChar, isDir, isLink, isReg, S_IALLUGO, S_IFREG } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { haveInHand } from "./call.ts";
import { install } from "./descriptors.ts";
import { checkPath, Kind, type Path, pathBytes, type Walk } from "./namei.ts";
import { inherit, isReadOnly, mayCreate, mayFollow, mayReopen, permission, withoutPrivileges } from "./permission.ts";
import { CALL, MOUNT, TASK, type VfsState } from "./state.ts";

const PATH_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
const TMPFILE_BIT = O_TMPFILE & ~O_DIRECTORY;
/** What is asked of the file, by O_ACCMODE. 3 asks for both and gives neither, as in Linux. */
const WANT = [R_OK, W_OK, R_OK | W_OK, R_OK | W_OK];

export function openAt(
  v: VfsState,
  walk: Walk,
  task: number,
  dirfd: number,
  path: Path,
  flags: number,
  mode: number,
): number {
  if ((flags & O_PATH) !== 0) flags &= PATH_FLAGS;
  const text = pathBytes(path);
  if (v.callGet(task, CALL.phase) === 0) {
    const held = checkOpen(v, task, text, flags) || toHold(v, walk, task, dirfd, text, flags, mode);
    if (held !== 0) return held;
    v.callSet(task, CALL.phase, 1);
  }
  if (v.callGet(task, CALL.a) === 1) {
    const fs = v.fsOf(v.callGet(task, CALL.mount) - 1);
    const emptied = fs.truncate(v.callGet(task, CALL.ino), 0, v.callWords(task));
    if (emptied !== 0) return emptied;
    v.callSet(task, CALL.a, 0);
  }
  return install(v, task, flags & ~(O_CREAT | O_EXCL | O_TRUNC), (flags & TMPFILE_BIT) !== 0 && (flags & O_EXCL) === 0);
}

/** What is known before the walk. */
function checkOpen(v: VfsState, task: number, text: Uint8Array, flags: number): 0 | Errno {
  if ((flags & TMPFILE_BIT) !== 0) {
    if ((flags & O_DIRECTORY) === 0 || (flags & O_CREAT) !== 0 || (flags & O_ACCMODE) === O_RDONLY) return EINVAL;
  } else if ((flags & (O_CREAT | O_DIRECTORY)) === (O_CREAT | O_DIRECTORY)) return EINVAL;
  const wrong = checkPath(text);
  if (wrong !== 0) return wrong;
  const fd = v.freeDescriptor(v.taskGet(task, TASK.table), 0);
  if (isErr(fd)) return fd;
  return v.filesLeft ? 0 : ENFILE;
}

/** Walks, makes or checks, and has the inode in hand. */
function toHold(
  v: VfsState,
  walk: Walk,
  task: number,
  dirfd: number,
  text: Uint8Array,
  flags: number,
  mode: number,
): 0 | Errno {
  const started = walk.start(task, dirfd, text);
  if (started !== 0) return started;
  if ((flags & TMPFILE_BIT) !== 0) return tmpfile(v, walk, task, mode);
  if ((flags & O_PATH) !== 0) return walk.find((flags & O_NOFOLLOW) === 0) || plainHold(v, walk, task, flags);
  const made = (flags & O_CREAT) !== 0 ? create(v, walk, task, flags, mode) : walk.find((flags & O_NOFOLLOW) === 0);
  if (isErr(made)) return made;
  if (made > 0) {
    const held = v.hold(walk.mount, made);
    if (held === 0) haveInHand(v, task, walk.mount, made);
    return held;
  }
  const may = mayOpen(v, walk, flags);
  if (may !== 0) return may;
  const empties = (flags & O_TRUNC) !== 0 && isReg(walk.stat.mode);
  if (empties) {
    const kept = withoutPrivileges(walk.cred, walk.stat);
    const done =
      kept === walk.stat.mode || walk.cred.uid === 0 ? 0 : v.fsOf(walk.mount).setattr(walk.ino, { mode: kept });
    if (done !== 0) return done;
  }
  const held = plainHold(v, walk, task, flags);
  if (held === 0 && empties) v.callSet(task, CALL.a, 1);
  return held;
}

function plainHold(v: VfsState, walk: Walk, task: number, flags: number): 0 | Errno {
  if ((flags & O_DIRECTORY) !== 0 && !isDir(walk.stat.mode)) return ENOTDIR;
  const held = v.hold(walk.mount, walk.ino);
  if (held === 0) haveInHand(v, task, walk.mount, walk.ino);
  return held;
}

/** O_CREAT: the number of an inode that was made; 0: it was there, and `walk` stands at it. */
function create(v: VfsState, walk: Walk, task: number, flags: number, mode: number): number | Errno {
  const exclusive = (flags & O_EXCL) !== 0;
  const last = walk.toLast();
  if (last !== 0) return last;
  for (;;) {
    if (walk.kind !== Kind.Norm) {
      const there = walk.finish(true);
      return there !== 0 ? there : exclusive ? EEXIST : EISDIR;
    }
    if (walk.slash) return EISDIR;
    const found = walk.child();
    if (found === ENOENT) return makeFile(v, walk, task, mode);
    if (found !== 0) return found;
    if (exclusive) return EEXIST;
    if (!isLink(walk.there.mode) || (flags & O_NOFOLLOW) !== 0) break;
    const linked = mayFollow(v, walk.cred, walk.stat, walk.there) || walk.enterLink() || walk.toLast();
    if (linked !== 0) return linked;
  }
  const may = isDir(walk.there.mode) ? 0 : mayReopen(v, walk.cred, walk.stat, walk.there);
  if (may !== 0) return may;
  const entered = walk.enter();
  if (entered !== 0) return entered;
  return isDir(walk.stat.mode) ? EISDIR : 0;
}

function makeFile(v: VfsState, walk: Walk, task: number, mode: number): number | Errno {
  if (isReadOnly(v, walk.mount)) return EROFS;
  const may = mayCreate(v, walk.cred, walk.mount, walk.stat);
  if (may !== 0) return may;
  const masked = S_IFREG | (mode & S_IALLUGO & ~v.taskGet(task, TASK.umask));
  const node = { uid: walk.cred.uid, ...inherit(walk.cred, walk.stat, masked) };
  const ino = v.fsOf(walk.mount).create(walk.ino, walk.name, node);
  if (!isErr(ino)) v.dcache.forget(v.mountGet(walk.mount, MOUNT.fs), walk.ino, walk.name);
  return ino;
}

function mayOpen(v: VfsState, walk: Walk, flags: number): 0 | Errno {
  const { stat } = walk;
  if ((flags & O_DIRECTORY) !== 0 && !isDir(stat.mode)) return ENOTDIR;
  if (isLink(stat.mode)) return ELOOP;
  const want = WANT[flags & O_ACCMODE]! | ((flags & O_TRUNC) === 0 ? 0 : W_OK);
  if (isDir(stat.mode) && (want & W_OK) !== 0) return EISDIR;
  const may = permission(v, walk.cred, walk.mount, stat, want);
  if (may !== 0) return may;
  if (isDir(stat.mode) || isReg(stat.mode)) return 0;
  // There are no pipes behind other nodes, and drivers only in the file system itself.
  return isChar(stat.mode) && v.fsOf(walk.mount).devices === true ? 0 : ENXIO;
}

/** O_TMPFILE: the path names the directory. The inode comes held. */
function tmpfile(v: VfsState, walk: Walk, task: number, mode: number): 0 | Errno {
  const found = walk.find(true);
  if (found !== 0) return found;
  if (!isDir(walk.stat.mode)) return ENOTDIR;
  if (isReadOnly(v, walk.mount)) return EROFS;
  const may = permission(v, walk.cred, walk.mount, walk.stat, W_OK | X_OK);
  if (may !== 0) return may;
  const fs = v.fsOf(walk.mount);
  if (fs.tmpfile === undefined) return EOPNOTSUPP;
  const masked = S_IFREG | (mode & S_IALLUGO & ~v.taskGet(task, TASK.umask));
  const ino = fs.tmpfile(walk.ino, { uid: walk.cred.uid, ...inherit(walk.cred, walk.stat, masked) });
  if (isErr(ino)) return ino;
  v.mountSet(walk.mount, MOUNT.refs, v.mountGet(walk.mount, MOUNT.refs) + 1);
  haveInHand(v, task, walk.mount, ino);
  return 0;
}
