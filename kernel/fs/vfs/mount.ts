/**
 * Mounts: a tree of file systems. Mount 0 is the root's; each other one covers a directory of its parent mount, and `..`
 * leads out of it. What is mounted on a mount's root covers that.
 *
 * - mountRoot(v, fs)              mount 0
 * - mountHidden(v, fs)            a mount without a place: of pipes. Its number
 * - mount(v, ..., fs, path)       root's to do
 * - umount(v, ..., path)          syncs, then goes. EBUSY while a file is open or a task stands in it, or on it another
 * - mountsText(v, walk)           /proc/mounts
 */
import { EBUSY, EINVAL, ENODEV, ENOSPC, ENOTDIR } from "../../abi/errno.ts";
import { AT_FDCWD, MS_RDONLY } from "../../abi/fcntl.ts";
import { MOUNTS_MAX } from "../../abi/limits.ts";
import { isDir } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { haveInHand } from "./call.ts";
import { placePath } from "./dirent.ts";
import { type Path, pathBytes, type Walk } from "./namei.ts";
import { isReadOnly } from "./permission.ts";
import { CALL, MOUNT, type VfsState } from "./state.ts";
import { needRoot } from "./task.ts";

function freeMount(v: VfsState): number {
  for (let mount = 0; mount < MOUNTS_MAX; mount++) if (v.mountGet(mount, MOUNT.used) === 0) return mount;
  return -1;
}

/** Values of MOUNT.used beside 0. */
const PLACED = 1;
const HIDDEN = 2;

function fill(v: VfsState, row: number, fs: number, parent: number, onIno: number, flags: number): void {
  v.mountSet(row, MOUNT.used, PLACED);
  v.mountSet(row, MOUNT.fs, fs);
  v.mountSet(row, MOUNT.parent, parent);
  v.mountSet(row, MOUNT.onIno, onIno);
  v.mountSet(row, MOUNT.root, v.fileSystems[fs]!.root());
  v.mountSet(row, MOUNT.flags, flags);
  v.mountSet(row, MOUNT.refs, 0);
}

export function mountRoot(v: VfsState, fs: number): void {
  assert(v.mountGet(0, MOUNT.used) === 0, "mountRoot: there is a root already");
  fill(v, 0, fs, 0, 0, 0);
}

export function mountHidden(v: VfsState, fs: number): number | Errno {
  const row = freeMount(v);
  if (row < 0) return ENOSPC;
  fill(v, row, fs, row, 0, 0);
  v.mountSet(row, MOUNT.used, HIDDEN);
  return row;
}

export function mount(v: VfsState, walk: Walk, task: number, fs: number, path: Path, flags: number): number {
  const may = needRoot(v, task);
  if (may !== 0) return may;
  if (v.fileSystems[fs] === undefined) return ENODEV;
  if ((flags & ~MS_RDONLY) !== 0) return EINVAL;
  const found = walk.start(task, AT_FDCWD, pathBytes(path)) || walk.find(true);
  if (found !== 0) return found;
  if (!isDir(walk.stat.mode)) return ENOTDIR;
  if (v.mountGet(walk.mount, MOUNT.fs) === fs && walk.ino === v.mountGet(walk.mount, MOUNT.root)) return EBUSY;
  const row = freeMount(v);
  if (row < 0) return ENOSPC;
  const held = v.hold(walk.mount, walk.ino);
  if (held !== 0) return held;
  fill(v, row, fs, walk.mount, walk.ino, flags);
  v.setCover(walk.mount, walk.ino, row);
  return 0;
}

/** The mount whose root the path names. */
function mountAt(v: VfsState, walk: Walk, task: number, path: Path): number | Errno {
  const found = walk.start(task, AT_FDCWD, pathBytes(path)) || walk.find(true);
  if (found !== 0) return found;
  return walk.mount === 0 || walk.ino !== v.mountGet(walk.mount, MOUNT.root) ? EINVAL : walk.mount;
}

/** A: 1 + the mount whose file system is being synced. PHASE 1: that is done. */
export function umount(v: VfsState, walk: Walk, task: number, path: Path): number {
  const may = needRoot(v, task);
  if (may !== 0) return may;
  if (v.callGet(task, CALL.a) === 0) {
    const row = mountAt(v, walk, task, path);
    if (row < 0) return row;
    if (isBusy(v, row)) return EBUSY;
    v.callSet(task, CALL.a, row + 1);
  }
  const row = v.callGet(task, CALL.a) - 1;
  // Somebody else may have unmounted it, or have come in, while this task slept.
  if (v.mountGet(row, MOUNT.used) === 0) return EINVAL;
  const synced = v.fsOf(row).sync(v.callWords(task));
  if (synced !== 0) return synced;
  if (isBusy(v, row)) return EBUSY;
  const parent = v.mountGet(row, MOUNT.parent);
  const onIno = v.mountGet(row, MOUNT.onIno);
  v.clearCover(parent, onIno);
  v.mountSet(row, MOUNT.used, 0);
  v.dcache.forgetFs(v.mountGet(row, MOUNT.fs));
  haveInHand(v, task, parent, onIno);
  return 0;
}

/** A mount on it holds its mount point, and so counts. */
const isBusy = (v: VfsState, row: number): boolean => v.mountGet(row, MOUNT.refs) > 0;

/** /proc/mounts, one line a mount: device, directory, type, options, two numbers nobody reads. */
export function mountsText(v: VfsState, walk: Walk): string | Errno {
  let text = "";
  for (let row = 0; row < MOUNTS_MAX; row++) {
    if (v.mountGet(row, MOUNT.used) !== PLACED) continue;
    const { type } = v.fileSystems[v.mountGet(row, MOUNT.fs)]!;
    const path = walk.standAt(row, v.mountGet(row, MOUNT.root)) || placePath(v, walk);
    if (typeof path === "number") return path;
    text += `${type} ${escaped(path)} ${type} ${isReadOnly(v, row) ? "ro" : "rw"} 0 0\n`;
  }
  return text;
}

/** Blanks, line ends and backslashes as three octal digits. */
const escaped = (path: Uint8Array): string =>
  new TextDecoder().decode(path).replaceAll(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
