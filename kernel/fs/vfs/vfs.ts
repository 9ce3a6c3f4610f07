/**
 * The VFS: file systems under one tree, tasks with credentials and descriptors, and the calls of Linux on them. A library
 * that needs no machine:
 *
 *   const vfs = new Vfs({ memory: growingArena(), now });
 *   vfs.reset();
 *   vfs.mountRoot(vfs.attachFs(tmpfs));
 *   const task = vfs.newTask({ uid: 0, gid: 0 });
 *   const fd = finish(vfs, () => vfs.open(task, "/a", O_CREAT | O_RDWR, 0o644));
 *
 * - Every call returns 0 or what it found, or a negative errno. EIOCBQUEUED: nothing is half done; wait for waitingOn()
 *   and make the same call again (call.ts). A task makes one call at a time; others may make theirs in between
 * - cancel(task) ends a call that waits and will not be made again
 * - All state is in `memory` (state.ts) and in the file systems. To go on from saved bytes: the same constructors over
 *   memory that was loaded, the same attachFs() calls in the same order, no reset()
 *
 * Paths are text or bytes; `At` names where a path begins, as the *at() calls do. Offsets, sizes, uids are numbers.
 */
import { EINVAL, EIOCBQUEUED, ENFILE } from "../../abi/errno.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "../../abi/fcntl.ts";
import { FINISH_ROUNDS_MAX, MOUNTS_MAX } from "../../abi/limits.ts";
import type { Errno } from "../../abi/units.ts";
import { panic } from "../../lib/assert.ts";
import { PipeFs } from "../pipe.ts";
import * as attr from "./attr.ts";
import { letGo, run } from "./call.ts";
import * as change from "./change.ts";
import * as descriptors from "./descriptors.ts";
import * as dirent from "./dirent.ts";
import type { FileSystem, StatFs } from "./file_system.ts";
import * as mounts from "./mount.ts";
import { type Path, Walk } from "./namei.ts";
import { openAt } from "./open.ts";
import * as content from "./read_write.ts";
import { rename } from "./rename.ts";
import { VfsState, type VfsOptions } from "./state.ts";
import * as tasks from "./task.ts";
import * as xattr from "./xattr.ts";

export interface At {
  readonly dirfd?: number;
  readonly flags?: number;
}

const NOFOLLOW: At = { flags: AT_SYMLINK_NOFOLLOW };
const at = (path: Path, { dirfd = AT_FDCWD, flags = 0 }: At): attr.Where => ({ dirfd, path, flags });
/** A number is a descriptor, the rest a path. */
const where = (what: Path | number, how: At): attr.Where =>
  typeof what === "number" ? attr.byFd(what) : at(what, how);

export class Vfs {
  readonly state: VfsState;
  private readonly walk: Walk;
  private readonly walks: change.Walks;
  private pipes: PipeFs | undefined;
  private pipeMount = -1;

  constructor(options: VfsOptions) {
    this.state = new VfsState(options);
    this.walk = new Walk(this.state);
    this.walks = { one: this.walk, two: new Walk(this.state) };
  }

  reset(): void {
    this.state.reset();
  }

  /** Its number, for mount(). */
  attachFs(fs: FileSystem): number {
    return this.state.fileSystems.push(fs) - 1;
  }

  mountRoot(fs: number): void {
    mounts.mountRoot(this.state, fs);
  }

  /** Pipes can be made from now on; `fs` is what attachFs() gave for `pipes`. */
  mountPipes(fs: number, pipes: PipeFs): void {
    this.pipes = pipes;
    this.pipeMount = mounts.mountHidden(this.state, fs);
  }

  /** What the call that was just told EIOCBQUEUED waits for. */
  waitingOn(): { readonly fs: FileSystem; readonly token: number } | undefined {
    const fs = this.state.asked;
    return fs === undefined ? undefined : { fs, token: fs.waitingOn() };
  }

  /** Moves every file system along; true when anything happened. */
  step(): boolean {
    let moved = false;
    for (const fs of this.state.fileSystems) moved = fs.step() || moved;
    return moved;
  }

  /** Ends what a task's waiting call has in hand. EIOCBQUEUED: again. What the call had done stays done. */
  cancel(task: number): 0 | Errno {
    if (!letGo(this.state, task)) return EIOCBQUEUED;
    this.state.clearCall(task);
    return 0;
  }

  newTask(cred: tasks.TaskCred): number {
    return tasks.newTask(this.state, cred);
  }

  fork(task: number, shareFiles: boolean): number {
    return tasks.forkTask(this.state, task, shareFiles);
  }

  exit(task: number): number {
    return run(this.state, task, () => tasks.exitTask(this.state, task));
  }

  /** What execve does to descriptors. */
  exec(task: number): number {
    return run(this.state, task, () => tasks.execTask(this.state, task));
  }

  /** Tasks, and open files of all of them. */
  taskCount(): number {
    return tasks.countTasks(this.state);
  }

  openFiles(): number {
    return this.state.openFiles;
  }

  setCred(task: number, cred: tasks.TaskCred): number {
    return tasks.setCred(this.state, task, cred);
  }

  /** The old one. */
  umask(task: number, mask: number): number {
    return tasks.setUmask(this.state, task, mask);
  }

  mount(task: number, fs: number, path: Path, flags = 0): number {
    return run(this.state, task, () => mounts.mount(this.state, this.walk, task, fs, path, flags));
  }

  umount(task: number, path: Path): number {
    return run(this.state, task, () => mounts.umount(this.state, this.walk, task, path));
  }

  /** /proc/mounts. */
  mountsText(): string | Errno {
    return mounts.mountsText(this.state, this.walks.two);
  }

  open(task: number, path: Path, flags: number, mode = 0, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => openAt(this.state, this.walk, task, dirfd, path, flags, mode));
  }

  creat(task: number, path: Path, mode: number): number {
    return this.open(task, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
  }

  close(task: number, fd: number): number {
    // Asked again after it waited, the descriptor is free already: run() only lets the file go.
    return run(this.state, task, () => descriptors.close(this.state, task, fd));
  }

  /** The two descriptors, for reading and for writing; an errno. `flags`: O_CLOEXEC, O_NONBLOCK. */
  pipe2(task: number, flags: number): readonly [number, number] | Errno {
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) !== 0) return EINVAL;
    if (this.pipes === undefined || this.pipeMount < 0) return ENFILE;
    const pipe = this.pipes.makePipe();
    if (pipe < 0) return pipe as Errno;
    const ends: [number, number][] = [
      [PipeFs.readEnd(pipe), O_RDONLY | (flags & O_NONBLOCK)],
      [PipeFs.writeEnd(pipe), O_WRONLY | (flags & O_NONBLOCK)],
    ];
    const made = descriptors.openPair(this.state, task, this.pipeMount, ends, (flags & O_CLOEXEC) !== 0);
    if (typeof made === "number") for (const [ino] of ends) this.pipes.release(ino);
    return made;
  }

  /** The descriptor names a file, and not only a place (O_PATH). */
  isOpen(task: number, fd: number): boolean {
    return this.state.fileOf(task, fd, false) >= 0;
  }

  dup(task: number, fd: number): number {
    return run(this.state, task, () => descriptors.dup(this.state, task, fd));
  }

  dup2(task: number, fd: number, to: number): number {
    return run(this.state, task, () => descriptors.dup2(this.state, task, fd, to));
  }

  dup3(task: number, fd: number, to: number, flags: number): number {
    return run(this.state, task, () => descriptors.dup3(this.state, task, fd, to, flags));
  }

  fcntl(task: number, fd: number, command: number, argument = 0): number {
    return run(this.state, task, () => descriptors.fcntl(this.state, task, fd, command, argument));
  }

  read(task: number, fd: number, into: Uint8Array): number {
    return run(this.state, task, () => content.read(this.state, task, fd, into));
  }

  write(task: number, fd: number, from: Uint8Array): number {
    return run(this.state, task, () => content.write(this.state, task, fd, from));
  }

  pread(task: number, fd: number, into: Uint8Array, offset: number): number {
    return run(this.state, task, () => content.read(this.state, task, fd, into, offset));
  }

  pwrite(task: number, fd: number, from: Uint8Array, offset: number): number {
    return run(this.state, task, () => content.write(this.state, task, fd, from, offset));
  }

  lseek(task: number, fd: number, offset: number, whence: number): number {
    return run(this.state, task, () => content.lseek(this.state, task, fd, offset, whence));
  }

  fsync(task: number, fd: number): number {
    return run(this.state, task, () => content.fsync(this.state, task, fd, false));
  }

  fdatasync(task: number, fd: number): number {
    return run(this.state, task, () => content.fsync(this.state, task, fd, true));
  }

  sync(task: number): number {
    return run(this.state, task, () => content.sync(this.state, task, MOUNTS_MAX));
  }

  truncate(task: number, path: Path, size: number, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => content.truncate(this.state, this.walk, task, dirfd, path, size));
  }

  ftruncate(task: number, fd: number, size: number): number {
    return run(this.state, task, () => content.ftruncate(this.state, task, fd, size));
  }

  fallocate(task: number, fd: number, mode: number, offset: number, length: number): number {
    return run(this.state, task, () => content.fallocate(this.state, task, fd, mode, offset, length));
  }

  getdents64(task: number, fd: number, into: Uint8Array): number {
    return run(this.state, task, () => dirent.getdents(this.state, task, fd, into));
  }

  /** Length of the path with its NUL. */
  getcwd(task: number, into: Uint8Array): number {
    return run(this.state, task, () => dirent.getcwd(this.state, this.walk, task, into));
  }

  chdir(task: number, path: Path): number {
    return run(this.state, task, () => tasks.chdir(this.state, this.walk, task, AT_FDCWD, path));
  }

  fchdir(task: number, fd: number): number {
    return run(this.state, task, () => tasks.fchdir(this.state, this.walk, task, fd));
  }

  mkdir(task: number, path: Path, mode: number, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => change.mkdir(this.state, this.walk, task, dirfd, path, mode));
  }

  mknod(task: number, path: Path, mode: number, rdev = 0, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => change.mknod(this.state, this.walk, task, dirfd, path, mode, rdev));
  }

  symlink(task: number, target: Path, path: Path, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => change.symlink(this.state, this.walk, task, target, dirfd, path));
  }

  link(task: number, from: Path, to: Path, flags = 0, fromFd = AT_FDCWD, toFd = AT_FDCWD): number {
    return run(this.state, task, () => change.link(this.state, this.walks, task, [fromFd, from], [toFd, to], flags));
  }

  /** `flags` AT_REMOVEDIR: rmdir. */
  unlink(task: number, path: Path, { dirfd = AT_FDCWD, flags = 0 }: At = {}): number {
    return run(this.state, task, () => change.unlink(this.state, this.walk, task, dirfd, path, flags));
  }

  rmdir(task: number, path: Path): number {
    return run(this.state, task, () => change.rmdir(this.state, this.walk, task, AT_FDCWD, path));
  }

  rename(task: number, from: Path, to: Path, flags = 0, fromFd = AT_FDCWD, toFd = AT_FDCWD): number {
    return run(this.state, task, () => rename(this.state, this.walks, task, [fromFd, from], [toFd, to], flags));
  }

  /** stat, fstatat; of a descriptor, fstat. */
  stat(task: number, what: Path | number, out: attr.FileStat, how: At = {}): number {
    return run(this.state, task, () => attr.stat(this.state, this.walk, task, where(what, how), out));
  }

  lstat(task: number, path: Path, out: attr.FileStat): number {
    return this.stat(task, path, out, NOFOLLOW);
  }

  statfs(task: number, what: Path | number, out: StatFs): number {
    return run(this.state, task, () => attr.statfs(this.state, this.walk, task, where(what, {}), out));
  }

  access(task: number, path: Path, want: number, how: At = {}): number {
    return run(this.state, task, () => attr.access(this.state, this.walk, task, at(path, how), want));
  }

  readlink(task: number, path: Path, into: Uint8Array, { dirfd = AT_FDCWD }: At = {}): number {
    return run(this.state, task, () => attr.readlink(this.state, this.walk, task, dirfd, path, into));
  }

  chmod(task: number, what: Path | number, mode: number, how: At = {}): number {
    return run(this.state, task, () => attr.chmod(this.state, this.walk, task, where(what, how), mode));
  }

  /** -1: leave it. */
  chown(task: number, what: Path | number, uid: number, gid: number, how: At = {}): number {
    return run(this.state, task, () => attr.chown(this.state, this.walk, task, where(what, how), uid, gid));
  }

  /** Access and modification time; undefined: now. */
  utimens(task: number, what: Path | number, times?: readonly [attr.Time, attr.Time], how: At = {}): number {
    return run(this.state, task, () => attr.utimens(this.state, this.walk, task, where(what, how), times));
  }

  getxattr(task: number, what: Path | number, name: string, into: Uint8Array, how: At = {}): number {
    return run(this.state, task, () => xattr.getxattr(this.state, this.walk, task, where(what, how), name, into));
  }

  setxattr(task: number, what: Path | number, name: string, value: Uint8Array, flags = 0, how: At = {}): number {
    return run(this.state, task, () =>
      xattr.setxattr(this.state, this.walk, task, where(what, how), name, value, flags),
    );
  }

  removexattr(task: number, what: Path | number, name: string, how: At = {}): number {
    return run(this.state, task, () => xattr.removexattr(this.state, this.walk, task, where(what, how), name));
  }

  listxattr(task: number, what: Path | number, into: Uint8Array, how: At = {}): number {
    return run(this.state, task, () => xattr.listxattr(this.state, this.walk, task, where(what, how), into));
  }
}

/** Makes a call until it does not wait, moving the file systems along in between: the bare library's driver. */
export function finish(vfs: Vfs, call: () => number): number {
  for (let round = 0; round < FINISH_ROUNDS_MAX; round++) {
    const result = call();
    if (result !== EIOCBQUEUED) return result;
    vfs.step();
  }
  return panic("finish: a call waits for something that never comes");
}
