/**
 * Calls on the content of open files: read, write, seek, their length, and what is durable (Linux: fs/read_write.c,
 * fs/open.c, fs/sync.c). A read or write is one call of the file system, and may be shorter than asked for; but a pipe
 * takes all that is written to it, in as many pieces as it has room for: A bytes so far.
 *
 * With O_SYNC or O_DSYNC a write goes on as an fsync: PHASE 1, A bytes were written, B is the position behind them.
 */
import {
  EBADF,
  EFBIG,
  EINVAL,
  EIOCBQUEUED,
  EISDIR,
  ENODEV,
  ENXIO,
  EOPNOTSUPP,
  EOVERFLOW,
  ESPIPE,
  isErr,
} from "../../abi/errno.ts";
import {
  O_ACCMODE,
  O_APPEND,
  O_DIRECT,
  O_DSYNC,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_WRONLY,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
  W_OK,
} from "../../abi/fcntl.ts";
import { isDir, isFifo, isReg } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { haveInHand, theFile } from "./call.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  IO_APPEND,
  IO_DIRECT,
  IO_NONBLOCK,
} from "./file_system.ts";
import { type Path, pathBytes, type Walk } from "./namei.ts";
import { permission, withoutPrivileges } from "./permission.ts";
import { CALL, FILE, MOUNT, type VfsState } from "./state.ts";

/** Largest offset: what a number counts exactly. */
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

const howOf = (flags: number): number =>
  ((flags & O_DIRECT) === 0 ? 0 : IO_DIRECT) | ((flags & O_NONBLOCK) === 0 ? 0 : IO_NONBLOCK);
const canRead = (flags: number): boolean => (flags & O_ACCMODE) === O_RDONLY || (flags & O_ACCMODE) === O_RDWR;
const canWrite = (flags: number): boolean => (flags & O_ACCMODE) === O_WRONLY || (flags & O_ACCMODE) === O_RDWR;

/** Reads the attributes of a file into v.stat. */
const statOf = (v: VfsState, file: number): 0 | Errno =>
  v.fsOf(v.fileGet(file, FILE.mount)).getattr(v.fileGet(file, FILE.ino), v.stat);

/** `offset` undefined: at the file's position, which moves. */
export function read(v: VfsState, task: number, fd: number, into: Uint8Array, offset?: number): number {
  if (offset !== undefined && offset < 0) return EINVAL;
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  const flags = v.fileGet(file, FILE.flags);
  if (!canRead(flags)) return EBADF;
  const known = statOf(v, file);
  if (known !== 0) return known;
  if (isDir(v.stat.mode)) return EISDIR;
  if (offset !== undefined && isFifo(v.stat.mode)) return ESPIPE;
  if (into.length === 0) return 0;
  const at = offset ?? v.fileGet(file, FILE.pos);
  const count = v.fsOf(v.fileGet(file, FILE.mount)).read(v.fileGet(file, FILE.ino), at, into, howOf(flags));
  if (count > 0 && offset === undefined) v.setFile(file, FILE.pos, at + count);
  return count;
}

export function write(v: VfsState, task: number, fd: number, from: Uint8Array, offset?: number): number {
  if (offset !== undefined && offset < 0) return EINVAL;
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  if (v.callGet(task, CALL.phase) === 0) {
    const count = writeOnce(v, task, file, from, offset);
    if (count <= 0 || (v.fileGet(file, FILE.flags) & O_DSYNC) === 0) return count;
    v.callSet(task, CALL.phase, 1);
    v.callSet(task, CALL.a, count);
  }
  const dataOnly = (v.fileGet(file, FILE.flags) & O_SYNC) !== O_SYNC;
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  const synced = fs.fsync(v.fileGet(file, FILE.ino), dataOnly, v.callWords(task));
  return synced === 0 ? v.callGet(task, CALL.a) : synced;
}

function writeOnce(v: VfsState, task: number, file: number, from: Uint8Array, offset?: number): number {
  const flags = v.fileGet(file, FILE.flags);
  if (!canWrite(flags)) return EBADF;
  if (from.length === 0) return 0;
  const known = statOf(v, file) || dropPrivileges(v, task, file);
  if (known !== 0) return known;
  if (isFifo(v.stat.mode)) return offset === undefined ? writePipe(v, task, file, from) : ESPIPE;
  const append = (flags & O_APPEND) !== 0;
  const at = append ? v.stat.size : (offset ?? v.fileGet(file, FILE.pos));
  if (at > OFFSET_MAX) return EFBIG;
  const how = (append ? IO_APPEND : 0) | howOf(flags);
  const count = v.fsOf(v.fileGet(file, FILE.mount)).write(v.fileGet(file, FILE.ino), at, from, how);
  if (count > 0 && offset === undefined) v.setFile(file, FILE.pos, at + count);
  return count;
}

function writePipe(v: VfsState, task: number, file: number, from: Uint8Array): number {
  const done = v.callGet(task, CALL.a);
  const flags = v.fileGet(file, FILE.flags);
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  const count = fs.write(v.fileGet(file, FILE.ino), 0, from.subarray(done), howOf(flags));
  if (isErr(count)) return count === EIOCBQUEUED || done === 0 ? count : done;
  if (done + count === from.length || (flags & O_NONBLOCK) !== 0) return done + count;
  v.callSet(task, CALL.a, done + count);
  return EIOCBQUEUED;
}

/** Content that somebody else than root changes is no longer a program to be run as its owner. v.stat is the file's. */
function dropPrivileges(v: VfsState, task: number, file: number): 0 | Errno {
  v.credOf(task, v.cred);
  const mode = withoutPrivileges(v.cred, v.stat);
  if (v.cred.uid === 0 || !isReg(v.stat.mode) || mode === v.stat.mode) return 0;
  return v.fsOf(v.fileGet(file, FILE.mount)).setattr(v.fileGet(file, FILE.ino), { mode });
}

export function lseek(v: VfsState, task: number, fd: number, offset: number, whence: number): number {
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  if (!(whence >= SEEK_SET && whence <= SEEK_HOLE)) return EINVAL;
  const known = statOf(v, file);
  if (known !== 0) return known;
  if (isFifo(v.stat.mode)) return ESPIPE;
  const pos = seekTo(v, file, offset, whence);
  if (isErr(pos)) return pos;
  v.setFile(file, FILE.pos, pos);
  return pos;
}

/** Positions in a directory are cookies: they are set to what was told before, or moved from where they are. */
function seekTo(v: VfsState, file: number, offset: number, whence: number): number | Errno {
  const directory = isDir(v.stat.mode);
  if (whence === SEEK_DATA || whence === SEEK_HOLE) {
    if (directory) return EINVAL;
    if (offset < 0 || offset >= v.stat.size) return ENXIO;
    return v.fsOf(v.fileGet(file, FILE.mount)).seek(v.fileGet(file, FILE.ino), offset, whence === SEEK_HOLE);
  }
  if (directory && whence === SEEK_END) return EINVAL;
  const base = whence === SEEK_SET ? 0 : whence === SEEK_CUR ? v.fileGet(file, FILE.pos) : v.stat.size;
  if (base + offset > OFFSET_MAX) return whence === SEEK_SET ? EINVAL : EOVERFLOW;
  return base + offset < 0 ? EINVAL : base + offset;
}

export function fsync(v: VfsState, task: number, fd: number, dataOnly: boolean): number {
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  return fs.fsync(v.fileGet(file, FILE.ino), dataOnly, v.callWords(task));
}

/** Every mount in turn: A is the one it has come to. */
export function sync(v: VfsState, task: number, mounts: number): number {
  for (; v.callGet(task, CALL.a) < mounts; v.callSet(task, CALL.a, v.callGet(task, CALL.a) + 1)) {
    const mount = v.callGet(task, CALL.a);
    if (v.mountGet(mount, MOUNT.used) === 0) continue;
    if (v.fsOf(mount).sync(v.callWords(task)) === EIOCBQUEUED) return EIOCBQUEUED;
    v.callWords(task).fill(0);
  }
  return 0;
}

export function ftruncate(v: VfsState, task: number, fd: number, size: number): number {
  if (size < 0) return EINVAL;
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  if (v.callGet(task, CALL.phase) === 0) {
    const known = statOf(v, file);
    if (known !== 0) return known;
    if (!isReg(v.stat.mode) || !canWrite(v.fileGet(file, FILE.flags))) return EINVAL;
    const dropped = dropPrivileges(v, task, file);
    if (dropped !== 0) return dropped;
    v.callSet(task, CALL.phase, 1);
  }
  return fs.truncate(v.fileGet(file, FILE.ino), size, v.callWords(task));
}

export function truncate(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path, size: number): number {
  if (size < 0) return EINVAL;
  if (v.callGet(task, CALL.phase) === 0) {
    const held = toTruncate(v, walk, task, dirfd, path);
    if (held !== 0) return held;
    v.callSet(task, CALL.phase, 1);
  }
  const fs = v.fsOf(v.callGet(task, CALL.mount) - 1);
  return fs.truncate(v.callGet(task, CALL.ino), size, v.callWords(task));
}

function toTruncate(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path): 0 | Errno {
  const found = walk.start(task, dirfd, pathBytes(path)) || walk.find(true);
  if (found !== 0) return found;
  if (isDir(walk.stat.mode)) return EISDIR;
  if (!isReg(walk.stat.mode)) return EINVAL;
  const may = permission(v, walk.cred, walk.mount, walk.stat, W_OK);
  if (may !== 0) return may;
  const mode = withoutPrivileges(walk.cred, walk.stat);
  if (walk.cred.uid !== 0 && mode !== walk.stat.mode) {
    const dropped = v.fsOf(walk.mount).setattr(walk.ino, { mode });
    if (dropped !== 0) return dropped;
  }
  const held = v.hold(walk.mount, walk.ino);
  if (held === 0) haveInHand(v, task, walk.mount, walk.ino);
  return held;
}

export function fallocate(v: VfsState, task: number, fd: number, mode: number, offset: number, length: number): number {
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  if (v.callGet(task, CALL.phase) === 0) {
    const may = checkFallocate(v, task, file, mode, offset, length);
    if (may !== 0) return may;
    v.callSet(task, CALL.phase, 1);
  }
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  return fs.fallocate(v.fileGet(file, FILE.ino), mode, offset, length, v.callWords(task));
}

function checkFallocate(
  v: VfsState,
  task: number,
  file: number,
  mode: number,
  offset: number,
  length: number,
): 0 | Errno {
  if (offset < 0 || length <= 0) return EINVAL;
  const change = mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE);
  if ((mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) return EOPNOTSUPP;
  if (change === (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) return EOPNOTSUPP;
  if (change === FALLOC_PUNCH_HOLE && (mode & FALLOC_KEEP_SIZE) === 0) return EOPNOTSUPP;
  if (!canWrite(v.fileGet(file, FILE.flags))) return EBADF;
  const known = statOf(v, file);
  if (known !== 0) return known;
  if (isFifo(v.stat.mode)) return ESPIPE;
  if (isDir(v.stat.mode)) return EISDIR;
  if (!isReg(v.stat.mode)) return ENODEV;
  if (offset + length > OFFSET_MAX) return EFBIG;
  return dropPrivileges(v, task, file);
}
