/**
 * The tables of the VFS, in arrays asked of a memory: tasks (credentials, directory, what a waiting call has reached),
 * descriptor tables, open files, mounts, and the directory cache. File systems are code with tables of their own; here
 * they are numbers, given by attachFs() in the same order whenever the tables are used again.
 *
 *   task -- table --> descriptors -- file + 1 --> files (position, flags) -- mount, ino --> a file system's inode, held
 *
 * Each open file, each task's directory, each mount point and each inode a waiting call has in hand is one hold on an
 * inode (FileSystem.hold), and counts in its mount's REFS: a mount without any can go.
 */
import { EBADF, EIOCBQUEUED, EMFILE, ENFILE, isErr } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import { O_PATH } from "../../abi/fcntl.ts";
import { GROUPS_MAX, MOUNTS_MAX } from "../../abi/limits.ts";
import { NO_MEMORY, type ObjectCache } from "../../abi/object_cache.ts";
import type { Errno, Nanos } from "../../abi/units.ts";
import { NS_PER_SEC } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { KeyTable } from "../../lib/key_table.ts";
import { layout } from "../../lib/layout.ts";
import { Dcache } from "./dcache.ts";
import { CALL_WORDS, type FileSystem, type Stat } from "./file_system.ts";

export const TASK = layout("used", "table", "cwdMount", "cwdIno", "umask", "uid", "gid", "groups", "object");
/**
 * What a call that had to wait has reached, kept until it ends; all 0 between calls. FILE (row + 1) is a file that the
 * call counts in, MOUNT (+ 1) and INO an inode it holds: both are let go when it ends (call.ts). FS begins the words
 * that the file system keeps for itself.
 */
export const CALL = layout("phase", "ending", "result", "file", "mount", "ino", "a", "b", "fs");
export const CALL_ROW = CALL.fs + CALL_WORDS;
export const FILE = layout("refs", "mount", "ino", "flags", "pos", "linkable", "next", "object");
export const MOUNT = layout("used", "fs", "parent", "onIno", "root", "flags", "refs");

/** Keys of the table of mount points. */
const MOUNT_UNIT = 2 ** 40;

/** Linux's fs.protected_*: what others may do in sticky directories and to other people's files. All are off by default. */
export interface Protect {
  /** Links only to files that one owns, or may read and write. */
  readonly hardlinks?: boolean;
  /** In sticky directories that everybody may write, only one's own or the directory's owner's links are followed. */
  readonly symlinks?: boolean;
  /** O_CREAT does not open somebody else's file in a sticky directory: 1 that all may write, 2 or that a group may. */
  readonly regular?: number;
}

/** Memory of what the VFS has: of an open file, a table of descriptors, a task's directory and umask, a name. */
export interface VfsObjects {
  readonly file: ObjectCache;
  readonly files: ObjectCache;
  readonly fs: ObjectCache;
  readonly dentry: ObjectCache;
}

export interface VfsOptions {
  readonly memory: EvictMemory;
  /** Rows: tasks, open files, descriptors of one table, names in the directory cache. */
  readonly tasks?: number;
  readonly files?: number;
  readonly fds?: number;
  readonly dentries?: number;
  /** Time since boot, and when that was in seconds since 1970. */
  readonly now: () => Nanos;
  readonly bootSec?: number;
  readonly protect?: Protect;
  /** Missing: they take none. */
  readonly objects?: VfsObjects;
}

const NO_OBJECTS: VfsObjects = { file: NO_MEMORY, files: NO_MEMORY, fs: NO_MEMORY, dentry: NO_MEMORY };

/** Who asks: read from a task's row before each walk. */
export interface Cred {
  uid: number;
  gid: number;
  readonly groups: number[];
}

export const newStat = (): Stat => ({
  ino: 0,
  mode: 0,
  links: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  sectors: 0,
  blockSize: 0,
  atimeSec: 0,
  atimeNsec: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  ctimeSec: 0,
  ctimeNsec: 0,
  generation: 0,
});

export class VfsState {
  readonly tasks: number;
  readonly files: number;
  readonly fds: number;
  readonly dcache: Dcache;
  readonly fileSystems: FileSystem[] = [];
  readonly protect: Protect;
  readonly objects: VfsObjects;
  private readonly options: VfsOptions;
  private readonly task: Float64Array;
  private readonly groups: Float64Array;
  private readonly call: Float64Array;
  private readonly tableRefs: Int32Array;
  private readonly tableObject: Float64Array;
  /** 1 + file; 0: free. */
  private readonly descriptors: Int32Array;
  private readonly cloexec: Uint8Array;
  private readonly file: Float64Array;
  /** [0] 1 + first free file. */
  private readonly fileFree: Int32Array;
  private readonly mount: Float64Array;
  /** Mount and inode -> the mount that covers it. */
  private readonly covers: KeyTable;
  /** Of an open file and its task, within one attempt. */
  readonly stat: Stat = newStat();
  readonly cred: Cred = { uid: 0, gid: 0, groups: [] };
  /** The file system that a call asked last: where it waits when it waits. Not kept between calls. */
  asked: FileSystem | undefined;
  /** The task whose call was made last. Likewise. */
  caller = -1;

  /** Writes nothing: reset() makes a tree without mounts and tasks. */
  constructor(options: VfsOptions) {
    const { memory, tasks = 64, files = 1024, fds = 256, dentries = 2048 } = options;
    this.options = options;
    this.protect = options.protect ?? {};
    this.objects = options.objects ?? NO_OBJECTS;
    this.tasks = tasks;
    this.files = files;
    this.fds = fds;
    this.task = memory.float64(tasks * TASK.words);
    this.groups = memory.float64(tasks * GROUPS_MAX);
    this.call = memory.float64(tasks * CALL_ROW);
    this.tableRefs = memory.int32(tasks);
    this.tableObject = memory.float64(tasks);
    this.descriptors = memory.int32(tasks * fds);
    this.cloexec = memory.uint8(tasks * fds);
    this.file = memory.float64(files * FILE.words);
    this.fileFree = memory.int32(1);
    this.mount = memory.float64(MOUNTS_MAX * MOUNT.words);
    this.covers = new KeyTable(memory, MOUNTS_MAX);
    this.dcache = new Dcache(memory, dentries, this.objects.dentry);
  }

  reset(): void {
    for (const words of [this.task, this.groups, this.call, this.file, this.mount]) words.fill(0);
    for (const words of [this.tableRefs, this.descriptors]) words.fill(0);
    this.cloexec.fill(0);
    this.covers.clear();
    this.dcache.reset();
    for (let row = 0; row < this.files; row++) this.setFile(row, FILE.next, row + 1 < this.files ? row + 2 : 0);
    this.fileFree[0] = this.files > 0 ? 1 : 0;
  }

  /** Seconds since 1970 and nanoseconds. */
  time(): [sec: number, nsec: number] {
    const ns = this.options.now();
    const seconds = Math.floor(ns / NS_PER_SEC);
    return [(this.options.bootSec ?? 0) + seconds, ns - seconds * NS_PER_SEC];
  }

  taskGet(task: number, field: number): number {
    return this.task[task * TASK.words + field]!;
  }

  taskSet(task: number, field: number, value: number): void {
    this.task[task * TASK.words + field] = value;
  }

  isTask(task: number): boolean {
    return task >= 0 && task < this.tasks && this.taskGet(task, TASK.used) === 1;
  }

  /** Reads a task's credentials into `out`. */
  credOf(task: number, out: Cred): void {
    out.uid = this.taskGet(task, TASK.uid);
    out.gid = this.taskGet(task, TASK.gid);
    out.groups.length = this.taskGet(task, TASK.groups);
    for (let n = 0; n < out.groups.length; n++) out.groups[n] = this.groups[task * GROUPS_MAX + n]!;
  }

  setGroups(task: number, groups: readonly number[]): void {
    assert(groups.length <= GROUPS_MAX, "setGroups: more groups than a task may have");
    this.taskSet(task, TASK.groups, groups.length);
    for (const [n, gid] of groups.entries()) this.groups[task * GROUPS_MAX + n] = gid;
  }

  callGet(task: number, field: number): number {
    return this.call[task * CALL_ROW + field]!;
  }

  callSet(task: number, field: number, value: number): void {
    this.call[task * CALL_ROW + field] = value;
  }

  /** The words of the call that belong to the file system. */
  callWords(task: number): Float64Array {
    return this.call.subarray(task * CALL_ROW + CALL.fs, (task + 1) * CALL_ROW);
  }

  clearCall(task: number): void {
    this.call.fill(0, task * CALL_ROW, (task + 1) * CALL_ROW);
  }

  tableUsers(table: number): number {
    return this.tableRefs[table]!;
  }

  /** An empty table with one user. There are as many as tasks, so one is free. */
  newTable(): number | Errno {
    const addr = this.objects.files.alloc();
    if (isErr(addr)) return addr;
    const table = this.tableRefs.indexOf(0);
    assert(table >= 0, "Vfs: more tables than tasks");
    this.tableObject[table] = addr;
    this.tableRefs[table] = 1;
    return table;
  }

  shareTable(table: number): void {
    this.tableRefs[table]!++;
  }

  leaveTable(table: number): void {
    if (--this.tableRefs[table]! === 0) this.objects.files.free(this.tableObject[table]!);
  }

  /** The file of a descriptor, or -1. */
  descriptor(table: number, fd: number): number {
    return fd >= 0 && fd < this.fds && Number.isInteger(fd) ? this.descriptors[table * this.fds + fd]! - 1 : -1;
  }

  /** `file` -1: free. */
  setDescriptor(table: number, fd: number, file: number, cloexec: boolean): void {
    this.descriptors[table * this.fds + fd] = file + 1;
    this.cloexec[table * this.fds + fd] = cloexec ? 1 : 0;
  }

  isCloexec(table: number, fd: number): boolean {
    return this.cloexec[table * this.fds + fd] === 1;
  }

  /** Lowest free descriptor from `from` on. */
  freeDescriptor(table: number, from: number): number | Errno {
    for (let fd = from; fd < this.fds; fd++) if (this.descriptors[table * this.fds + fd] === 0) return fd;
    return EMFILE;
  }

  fileGet(file: number, field: number): number {
    return this.file[file * FILE.words + field]!;
  }

  setFile(file: number, field: number, value: number): void {
    this.file[file * FILE.words + field] = value;
  }

  /** Rows of open files in use. */
  get openFiles(): number {
    let open = 0;
    for (let row = 0; row < this.files; row++) if (this.fileGet(row, FILE.refs) > 0) open++;
    return open;
  }

  get filesLeft(): boolean {
    return this.fileFree[0] !== 0;
  }

  /** A row with one reference; the hold on the inode is the caller's and becomes the file's. */
  newFile(mount: number, ino: number, flags: number): number | Errno {
    const row = this.fileFree[0]! - 1;
    if (row < 0) return ENFILE;
    const object = this.objects.file.alloc();
    if (isErr(object)) return object;
    this.fileFree[0] = this.fileGet(row, FILE.next);
    for (const [field, value] of [
      [FILE.refs, 1],
      [FILE.mount, mount],
      [FILE.ino, ino],
      [FILE.flags, flags],
      [FILE.pos, 0],
      [FILE.linkable, 0],
      [FILE.object, object],
    ] as const)
      this.setFile(row, field, value);
    return row;
  }

  freeFile(row: number): void {
    this.objects.file.free(this.fileGet(row, FILE.object));
    this.setFile(row, FILE.next, this.fileFree[0]!);
    this.setFile(row, FILE.refs, 0);
    this.fileFree[0] = row + 1;
  }

  /** The file of a task's descriptor; one opened with O_PATH only when `pathToo`. */
  fileOf(task: number, fd: number, pathToo: boolean): number | Errno {
    const file = this.descriptor(this.taskGet(task, TASK.table), fd);
    if (file < 0 || (!pathToo && (this.fileGet(file, FILE.flags) & O_PATH) !== 0)) return EBADF;
    return file;
  }

  mountGet(mount: number, field: number): number {
    return this.mount[mount * MOUNT.words + field]!;
  }

  mountSet(mount: number, field: number, value: number): void {
    this.mount[mount * MOUNT.words + field] = value;
  }

  /** The file system of a mount, which is now being asked. */
  fsOf(mount: number): FileSystem {
    const fs = this.fileSystems[this.mountGet(mount, MOUNT.fs)];
    assert(fs !== undefined, "Vfs: a mount of a file system that was not attached");
    this.asked = fs;
    return fs;
  }

  /** The mount that covers an inode, or -1. */
  coverOf(mount: number, ino: number): number {
    return this.covers.size === 0 ? -1 : this.covers.get(mount * MOUNT_UNIT + ino);
  }

  setCover(mount: number, ino: number, by: number): void {
    this.covers.set(mount * MOUNT_UNIT + ino, by);
  }

  clearCover(mount: number, ino: number): void {
    this.covers.delete(mount * MOUNT_UNIT + ino);
  }

  hold(mount: number, ino: number): 0 | Errno {
    const held = this.fsOf(mount).hold(ino);
    if (held === 0) this.mountSet(mount, MOUNT.refs, this.mountGet(mount, MOUNT.refs) + 1);
    return held;
  }

  /** False: it has to wait, and is still held. Whatever else the file system says, it is let go. */
  release(mount: number, ino: number): boolean {
    if (this.fsOf(mount).release(ino) === EIOCBQUEUED) return false;
    this.mountSet(mount, MOUNT.refs, this.mountGet(mount, MOUNT.refs) - 1);
    return true;
  }
}
