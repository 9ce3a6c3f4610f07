/**
 * Tasks as the VFS knows them: credentials, umask, working directory, and a table of descriptors that others may share.
 *
 * - newTask(v, cred)           at the root, with an empty table
 * - forkTask(v, task, share)   a copy; `share`: one table for both (CLONE_FILES)
 * - exitTask(v, task)          closes what only this task has open; a call, it may wait
 * - execTask(v, task)          closes what is marked FD_CLOEXEC; likewise
 */
import { EAGAIN, EINVAL, EIOCBQUEUED, ENOTDIR, EPERM, isErr } from "../../abi/errno.ts";
import { X_OK } from "../../abi/fcntl.ts";
import { GROUPS_MAX } from "../../abi/limits.ts";
import { isDir, S_IRWXUGO } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { haveInHand, letGo, theFile, dropWithCall } from "./call.ts";
import { pathBytes, type Path, type Walk } from "./namei.ts";
import { permission } from "./permission.ts";
import { CALL, FILE, MOUNT, TASK, type VfsState } from "./state.ts";

export interface TaskCred {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

function freeRow(v: VfsState): number {
  for (let task = 0; task < v.tasks; task++) if (v.taskGet(task, TASK.used) === 0) return task;
  return -1;
}

/** What a new task takes of memory beside its row. `table`: one that it shares, -1: its own. */
function takeMemory(v: VfsState, task: number, table: number): 0 | Errno {
  const object = v.objects.fs.alloc();
  if (isErr(object)) return object;
  if (table >= 0) v.shareTable(table);
  const own = table >= 0 ? table : v.newTable();
  if (isErr(own)) {
    v.objects.fs.free(object);
    return own;
  }
  v.taskSet(task, TASK.table, own);
  v.taskSet(task, TASK.object, object);
  return 0;
}

export function countTasks(v: VfsState): number {
  let count = 0;
  for (let task = 0; task < v.tasks; task++) count += v.taskGet(task, TASK.used);
  return count;
}

/** EAGAIN: the table of tasks is full; ENOMEM. */
export function newTask(v: VfsState, cred: TaskCred): number | Errno {
  const task = freeRow(v);
  if (task < 0) return EAGAIN;
  const root = v.mountGet(0, MOUNT.root);
  const top = v.coverOf(0, root);
  const mount = top < 0 ? 0 : top;
  const ino = v.mountGet(mount, MOUNT.root);
  const held = v.hold(mount, ino);
  if (held !== 0) return held;
  const taken = takeMemory(v, task, -1);
  if (taken !== 0) {
    v.release(mount, ino);
    return taken;
  }
  v.taskSet(task, TASK.used, 1);
  v.taskSet(task, TASK.cwdMount, mount);
  v.taskSet(task, TASK.cwdIno, ino);
  v.taskSet(task, TASK.umask, 0o022);
  setCred(v, task, cred);
  return task;
}

export function setCred(v: VfsState, task: number, cred: TaskCred): 0 | Errno {
  const { groups = [] } = cred;
  if (groups.length > GROUPS_MAX) return EINVAL;
  v.taskSet(task, TASK.uid, cred.uid);
  v.taskSet(task, TASK.gid, cred.gid);
  v.setGroups(task, groups);
  return 0;
}

export function forkTask(v: VfsState, parent: number, share: boolean): number | Errno {
  const cred = { uid: 0, gid: 0, groups: [] };
  v.credOf(parent, cred);
  const mount = v.taskGet(parent, TASK.cwdMount);
  const ino = v.taskGet(parent, TASK.cwdIno);
  const task = freeRow(v);
  if (task < 0) return EAGAIN;
  const held = v.hold(mount, ino);
  if (held !== 0) return held;
  const from = v.taskGet(parent, TASK.table);
  const taken = takeMemory(v, task, share ? from : -1);
  if (taken !== 0) {
    // The parent holds it, too: this never waits.
    v.release(mount, ino);
    return taken;
  }
  const table = v.taskGet(task, TASK.table);
  v.taskSet(task, TASK.used, 1);
  v.taskSet(task, TASK.cwdMount, mount);
  v.taskSet(task, TASK.cwdIno, ino);
  v.taskSet(task, TASK.umask, v.taskGet(parent, TASK.umask));
  setCred(v, task, cred);
  if (share) return task;
  for (let fd = 0; fd < v.fds; fd++) {
    const file = v.descriptor(from, fd);
    if (file < 0) continue;
    v.setFile(file, FILE.refs, v.fileGet(file, FILE.refs) + 1);
    v.setDescriptor(table, fd, file, v.isCloexec(from, fd));
  }
  return task;
}

/** Closes the descriptors of a table that `which` names; false: it has to wait, and goes on from there. */
function closeAll(v: VfsState, task: number, which: (table: number, fd: number) => boolean): boolean {
  const table = v.taskGet(task, TASK.table);
  for (let fd = 0; fd < v.fds; fd++) {
    if (!letGo(v, task)) return false;
    const file = v.descriptor(table, fd);
    if (file < 0 || !which(table, fd)) continue;
    v.setDescriptor(table, fd, -1, false);
    dropWithCall(v, task, file);
  }
  return letGo(v, task);
}

export function exitTask(v: VfsState, task: number): number {
  const table = v.taskGet(task, TASK.table);
  if (v.callGet(task, CALL.phase) === 0) {
    if (v.tableUsers(table) === 1 && !closeAll(v, task, () => true)) return EIOCBQUEUED;
    haveInHand(v, task, v.taskGet(task, TASK.cwdMount), v.taskGet(task, TASK.cwdIno));
    v.callSet(task, CALL.phase, 1);
  }
  if (!letGo(v, task)) return EIOCBQUEUED;
  v.leaveTable(table);
  v.objects.fs.free(v.taskGet(task, TASK.object));
  v.taskSet(task, TASK.used, 0);
  return 0;
}

export function execTask(v: VfsState, task: number): number {
  return closeAll(v, task, (table, fd) => v.isCloexec(table, fd)) ? 0 : EIOCBQUEUED;
}

export function setUmask(v: VfsState, task: number, mask: number): number {
  const old = v.taskGet(task, TASK.umask);
  v.taskSet(task, TASK.umask, mask & S_IRWXUGO);
  return old;
}

/** The place `walk` stands at becomes the task's directory; the old one goes with the call. */
function changeDir(v: VfsState, task: number, walk: Walk): 0 | Errno {
  const may = permission(v, walk.cred, walk.mount, walk.stat, X_OK);
  if (may !== 0) return may;
  const held = v.hold(walk.mount, walk.ino);
  if (held !== 0) return held;
  haveInHand(v, task, v.taskGet(task, TASK.cwdMount), v.taskGet(task, TASK.cwdIno));
  v.taskSet(task, TASK.cwdMount, walk.mount);
  v.taskSet(task, TASK.cwdIno, walk.ino);
  return 0;
}

export function chdir(v: VfsState, walk: Walk, task: number, dirfd: number, path: Path): number {
  const found = walk.start(task, dirfd, pathBytes(path)) || walk.find(true);
  if (found !== 0) return found;
  return isDir(walk.stat.mode) ? changeDir(v, task, walk) : ENOTDIR;
}

export function fchdir(v: VfsState, walk: Walk, task: number, fd: number): number {
  const file = theFile(v, task, fd, true);
  if (isErr(file)) return file;
  v.credOf(task, walk.cred);
  const placed = walk.standAt(v.fileGet(file, FILE.mount), v.fileGet(file, FILE.ino));
  if (placed !== 0) return placed;
  return isDir(walk.stat.mode) ? changeDir(v, task, walk) : ENOTDIR;
}

/** For calls that only root may make. */
export function needRoot(v: VfsState, task: number): 0 | Errno {
  return v.taskGet(task, TASK.uid) === 0 ? 0 : EPERM;
}
