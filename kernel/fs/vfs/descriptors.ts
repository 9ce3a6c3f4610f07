/**
 * Descriptors: small numbers that name open files (Linux: fs/file.c). Descriptors made by dup share the file and so its
 * position and flags; FD_CLOEXEC is the descriptor's own.
 */
import { EBADF, EINVAL, isErr } from "../../abi/errno.ts";
import {
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  O_APPEND,
  O_CLOEXEC,
  O_DIRECT,
  O_NONBLOCK,
} from "../../abi/fcntl.ts";
import type { Errno } from "../../abi/units.ts";
import { dropWithCall } from "./call.ts";
import { CALL, FILE, MOUNT, TASK, type VfsState } from "./state.ts";

const CHANGEABLE = O_APPEND | O_DIRECT | O_NONBLOCK;

export function close(v: VfsState, task: number, fd: number): number {
  const table = v.taskGet(task, TASK.table);
  const file = v.descriptor(table, fd);
  if (file < 0) return EBADF;
  v.setDescriptor(table, fd, -1, false);
  dropWithCall(v, task, file);
  return 0;
}

function dupFrom(v: VfsState, task: number, file: number, from: number, cloexec: boolean): number | Errno {
  const table = v.taskGet(task, TASK.table);
  const fd = v.freeDescriptor(table, from);
  if (isErr(fd)) return fd;
  v.setFile(file, FILE.refs, v.fileGet(file, FILE.refs) + 1);
  v.setDescriptor(table, fd, file, cloexec);
  return fd;
}

export function dup(v: VfsState, task: number, fd: number): number {
  const file = v.fileOf(task, fd, true);
  return isErr(file) ? file : dupFrom(v, task, file, 0, false);
}

/** What `to` named before is closed with the call. */
function replace(v: VfsState, task: number, file: number, to: number, cloexec: boolean): number {
  const table = v.taskGet(task, TASK.table);
  const old = v.descriptor(table, to);
  v.setFile(file, FILE.refs, v.fileGet(file, FILE.refs) + 1);
  v.setDescriptor(table, to, file, cloexec);
  if (old >= 0) dropWithCall(v, task, old);
  return to;
}

export function dup2(v: VfsState, task: number, fd: number, to: number): number {
  const file = v.fileOf(task, fd, true);
  if (isErr(file)) return file;
  if (!(to >= 0 && to < v.fds)) return EBADF;
  return fd === to ? to : replace(v, task, file, to, false);
}

export function dup3(v: VfsState, task: number, fd: number, to: number, flags: number): number {
  if ((flags & ~O_CLOEXEC) !== 0 || fd === to) return EINVAL;
  if (!(to >= 0 && to < v.fds)) return EBADF;
  const file = v.fileOf(task, fd, true);
  return isErr(file) ? file : replace(v, task, file, to, flags !== 0);
}

export function fcntl(v: VfsState, task: number, fd: number, command: number, argument: number): number {
  const table = v.taskGet(task, TASK.table);
  const file = v.fileOf(task, fd, true);
  if (isErr(file)) return file;
  const flags = v.fileGet(file, FILE.flags);
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      if (!(argument >= 0 && argument < v.fds)) return EINVAL;
      return dupFrom(v, task, file, argument, command === F_DUPFD_CLOEXEC);
    case F_GETFD:
      return v.isCloexec(table, fd) ? FD_CLOEXEC : 0;
    case F_SETFD:
      v.setDescriptor(table, fd, file, (argument & FD_CLOEXEC) !== 0);
      return 0;
    case F_GETFL:
      return flags;
    case F_SETFL: {
      const settable = v.fileOf(task, fd, false);
      if (isErr(settable)) return settable;
      v.setFile(file, FILE.flags, (flags & ~CHANGEABLE) | (argument & CHANGEABLE));
      return 0;
    }
    default:
      return EINVAL;
  }
}

/** An open file from the inode that the call has in hand, under the lowest free descriptor. */
export function install(v: VfsState, task: number, flags: number, linkable: boolean): number {
  const table = v.taskGet(task, TASK.table);
  const fd = v.freeDescriptor(table, 0);
  if (isErr(fd)) return fd;
  const file = v.newFile(v.callGet(task, CALL.mount) - 1, v.callGet(task, CALL.ino), flags & ~O_CLOEXEC);
  if (isErr(file)) return file;
  v.setFile(file, FILE.linkable, linkable ? 1 : 0);
  v.callSet(task, CALL.mount, 0);
  v.setDescriptor(table, fd, file, (flags & O_CLOEXEC) !== 0);
  return fd;
}

/** Two new files on the inodes of one mount, which are held for them already, and their descriptors; or neither. */
export function openPair(
  v: VfsState,
  task: number,
  mount: number,
  ends: readonly [ino: number, flags: number][],
  cloexec: boolean,
): readonly [number, number] | Errno {
  const table = v.taskGet(task, TASK.table);
  const made: number[] = [];
  for (const [ino, flags] of ends) {
    const fd = v.freeDescriptor(table, 0);
    const file = isErr(fd) ? fd : v.newFile(mount, ino, flags);
    if (isErr(file)) {
      for (const other of made) {
        v.freeFile(v.descriptor(table, other));
        v.setDescriptor(table, other, -1, false);
      }
      return file;
    }
    v.setDescriptor(table, fd, file, cloexec);
    made.push(fd);
  }
  v.mountSet(mount, MOUNT.refs, v.mountGet(mount, MOUNT.refs) + ends.length);
  return [made[0]!, made[1]!];
}
