/**
 * A mounted ext4 as the VFS sees it (vfs/file_system.ts): each call of the VFS run as a transaction on buffers and pages
 * by the parts that mounted.ts lists. Names are namei.ts's, the data of files file_*.ts's.
 *
 * Inode 0 is nobody. What lost its last name is an orphan on the disk and lives on while it is held; the last release
 * gives it back, in as many transactions as it takes, in step() when the caller does not wait.
 */
import { EIOCBQUEUED, ENFILE, ENOENT, ENOMEM, EFSCORRUPTED } from "../../abi/errno.ts";
import type { BlockDevice } from "../../abi/block.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from "../vfs/file_system.ts";
import type { EmitEntry, FileSystem, NewNode, SetAttr, Stat, StatFs } from "../vfs/file_system.ts";
import { readCall, runCall } from "./call.ts";
import { lookup } from "./dir.ts";
import type { Edit } from "./edit.ts";
import { fallocateData } from "./fallocate.ts";
import { FC_TAG } from "./fast_commit.ts";
import { createNoted, nameNoted, renameNoted } from "./fast_names.ts";
import { readLink } from "./file.ts";
import { readData, seekData, touchRead } from "./file_read.ts";
import { truncateData } from "./file_truncate.ts";
import { finishWork, stepWork } from "./file_work.ts";
import { writeData } from "./file_write.ts";
import { fsyncData, syncAll } from "./fsync.ts";
import { inodeAt } from "./group.ts";
import { LINKABLE, NAMELESS, NO_ROW, SIZE_UNKNOWN, WORK } from "./icache.ts";
import { inodeLinks } from "./inode.ts";
import { getattr, setattr } from "./inode_edit.ts";
import { INO_ROOT, S_IFMT, S_IFREG } from "./layout.ts";
import { unmountExt4 } from "./mount.ts";
import type { Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";
import {
  makeCredits,
  dataCredits,
  ext4Create,
  ext4Link,
  ext4Mkdir,
  ext4Rmdir,
  ext4Symlink,
  ext4Tmpfile,
  ext4Unlink,
  linkCredits,
  renameCredits,
  symlinkCredits,
  unlinkCredits,
} from "./namei.ts";
import { parentOf } from "./path.ts";
import { readDir } from "./read_dir.ts";
import { ext4Rename } from "./rename.ts";
import { holdRow, roomForRow } from "./rows.ts";
import { keepErrors } from "./super_state.ts";
import { statfsOf } from "./statfs.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "./xattr_edit.ts";

/** Pages that one step of the flusher starts to write. */
const FLUSH_PAGES = 64;
const HOLD_STEPS_MAX = 64;

/** What a name in a directory names; an errno when nothing. */
function nameOf({ blocks, sb }: Edit, dir: number, name: Uint8Array): number {
  const at = inodeAt(blocks, sb, dir);
  return at < 0 ? EFSCORRUPTED : lookup(blocks, sb, at, name);
}

export class Ext4 implements FileSystem {
  readonly type = "ext4";
  readonly fs: Mounted;
  readonly #device: BlockDevice;
  readonly #idle: () => void;

  constructor(fs: Mounted, device: BlockDevice, idle: () => void = () => {}) {
    this.fs = fs;
    this.#device = device;
    this.#idle = idle;
  }

  get readOnly(): boolean {
    return this.fs.readOnly;
  }

  root(): number {
    return INO_ROOT;
  }

  statfs(out: StatFs): 0 | Errno {
    return readCall(this.fs, () => statfsOf(this.fs, out)) as 0 | Errno;
  }

  getattr(ino: number, out: Stat): 0 | Errno {
    const { inodes, buffers, sb } = this.fs;
    const done = readCall(this.fs, () => getattr(buffers, sb, ino, out));
    const row = inodes.find(ino);
    // Only files are larger in memory than on the disk.
    const isFile = done === 0 && (out.mode & S_IFMT) === S_IFREG;
    if (isFile && row !== NO_ROW && inodes.size[row] !== SIZE_UNKNOWN) {
      out.size = inodes.size[row]!;
      out.sectors += (inodes.delayed[row]! * sb.blockSize * 2 ** sb.clusterBits) / 512;
    }
    return done as 0 | Errno;
  }

  /** A change of metadata: 0 or more, or an errno. */
  #change(credits: number, first: number, second: number, op: (edit: Edit) => number): number {
    const { fs } = this;
    const done = runCall(fs, credits, op);
    if (done >= 0) {
      this.#changed(first);
      if (second !== 0) this.#changed(second);
    }
    return done;
  }

  #changed(ino: number): void {
    const { inodes, journal } = this.fs;
    const row = inodes.find(ino);
    if (row !== NO_ROW) inodes.tid[row] = journal.tid;
  }

  setattr(ino: number, attr: SetAttr): 0 | Errno {
    const change = (edit: Edit): number => {
      const done = setattr(edit, ino, attr);
      this.fs.fast.inode(ino);
      return done;
    };
    return this.#change(1, ino, 0, change) as 0 | Errno;
  }

  lookup(dir: number, name: Uint8Array): number | Errno {
    const { fs } = this;
    return readCall(fs, () => {
      const at = inodeAt(fs.buffers, fs.sb, dir);
      if (at < 0) return EFSCORRUPTED;
      // A removed directory that is held has no names.
      return inodeLinks(fs.buffers.view, at) === 0 ? ENOENT : lookup(fs.buffers, fs.sb, at, name);
    });
  }

  parent(dir: number): number | Errno {
    const { fs } = this;
    return dir === INO_ROOT ? INO_ROOT : readCall(fs, () => parentOf(fs.buffers, fs.sb, dir));
  }

  readdir(dir: number, cookie: number, emit: EmitEntry): number | Errno {
    const { fs } = this;
    let reached = -1;
    const noting: EmitEntry = (name, ino, type, next) => {
      const goes = emit(name, ino, type, next);
      if (goes) reached = next;
      return goes;
    };
    const done = readCall(fs, () => readDir(fs.buffers, fs.sb, dir, cookie, noting));
    // What was told is told: the reader goes on behind it.
    if (done === EIOCBQUEUED && reached >= 0) return reached;
    if (done >= 0) touchRead(fs, dir);
    return done;
  }

  readlink(ino: number, into: Uint8Array): number | Errno {
    const { fs } = this;
    const done = readCall(fs, () => {
      const at = inodeAt(fs.buffers, fs.sb, ino);
      if (at < 0) return EFSCORRUPTED;
      const target = readLink(fs.buffers, fs.sb, at);
      if (typeof target === "number") return target;
      assert(target.length <= into.length, "ext4: readlink into less than PATH_MAX");
      into.set(target);
      return target.length;
    });
    if (done > 0) touchRead(fs, ino);
    return done;
  }

  create(dir: number, name: Uint8Array, node: NewNode): number | Errno {
    const change = (edit: Edit): number =>
      createNoted(this.fs.fast, edit, dir, name, () => ext4Create(edit, dir, name, node));
    return this.#change(makeCredits(this.fs.sb), dir, 0, change);
  }

  mkdir(dir: number, name: Uint8Array, node: NewNode): number | Errno {
    return this.#change(makeCredits(this.fs.sb), dir, 0, (edit) => ext4Mkdir(edit, dir, name, node));
  }

  symlink(dir: number, name: Uint8Array, node: NewNode, target: Uint8Array): number | Errno {
    const change = (edit: Edit): number =>
      createNoted(this.fs.fast, edit, dir, name, () => ext4Symlink(edit, dir, name, node, target));
    return this.#change(symlinkCredits(this.fs.sb), dir, 0, change);
  }

  tmpfile(dir: number, node: NewNode): number | Errno {
    const { fs } = this;
    const room = roomForRow(fs);
    if (room !== 0) return room;
    const ino = this.#change(makeCredits(fs.sb), dir, 0, (edit) => ext4Tmpfile(edit, dir, node));
    if (ino < 0) return ino;
    const row = holdRow(fs, ino);
    fs.inodes.holds[row]!++;
    fs.inodes.nameless[row] = LINKABLE;
    return ino;
  }

  link(ino: number, dir: number, name: Uint8Array): 0 | Errno {
    const { inodes } = this.fs;
    const row = inodes.find(ino);
    if (row !== NO_ROW && inodes.nameless[row] === NAMELESS) return ENOENT;
    const change = (edit: Edit): number =>
      nameNoted(this.fs.fast, edit, FC_TAG.LINK, [dir, name, ino], () => ext4Link(edit, ino, dir, name));
    const done = this.#change(linkCredits(this.fs.sb), dir, ino, change);
    if (done === 0 && row !== NO_ROW) inodes.nameless[row] = 0;
    return done as 0 | Errno;
  }

  /** After a call that may have left an inode without a name: `done` is its number, 0 for none, or an errno. */
  #released(done: number): 0 | Errno {
    if (done <= 0) return done as 0 | Errno;
    const { fs } = this;
    const row = holdRow(fs, done);
    assert(row >= 0, "ext4: there is no row for an orphan");
    fs.inodes.nameless[row] = NAMELESS;
    fs.inodes.tid[row] = fs.journal.tid;
    if (fs.inodes.holds[row] === 0) this.#evict(row);
    return 0;
  }

  #evict(row: number): void {
    this.fs.inodes.setWork(row, WORK.Evict, 0, 0);
    finishWork(this.fs, row);
  }

  unlink(dir: number, name: Uint8Array): 0 | Errno {
    const room = roomForRow(this.fs);
    if (room !== 0) return room;
    let named = 0;
    const change = (edit: Edit): number => {
      named = nameOf(edit, dir, name);
      return nameNoted(this.fs.fast, edit, FC_TAG.UNLINK, [dir, name, named], () => ext4Unlink(edit, dir, name, true));
    };
    const done = this.#change(unlinkCredits(this.fs.sb), dir, 0, change);
    if (done >= 0 && named > 0) this.#changed(named);
    return this.#released(done);
  }

  rmdir(dir: number, name: Uint8Array): 0 | Errno {
    const room = roomForRow(this.fs);
    if (room !== 0) return room;
    const change = (edit: Edit): number => ext4Rmdir(edit, dir, name, true);
    return this.#released(this.#change(unlinkCredits(this.fs.sb), dir, 0, change));
  }

  rename(from: number, name: Uint8Array, to: number, newName: Uint8Array, flags: number): 0 | Errno {
    const room = roomForRow(this.fs);
    if (room !== 0) return room;
    let moved = 0;
    let met = 0;
    const change = (edit: Edit): number => {
      moved = nameOf(edit, from, name);
      met = nameOf(edit, to, newName);
      const make = (): number => ext4Rename(edit, from, name, to, newName, flags, true);
      const isPlain = (flags & (RENAME_EXCHANGE | RENAME_WHITEOUT)) === 0;
      return isPlain ? renameNoted(this.fs.fast, edit, [from, name, moved], [to, newName, met], make) : make();
    };
    const done = this.#change(renameCredits(this.fs.sb), from, to, change);
    // A later fsync of either file owes its names, too.
    if (done >= 0 && moved > 0) this.#changed(moved);
    if (done >= 0 && met > 0) this.#changed(met);
    return this.#released(done);
  }

  /** When all rows are in use, what can be done at once is done to free one. */
  hold(ino: number): 0 | Errno {
    let row = holdRow(this.fs, ino);
    for (let tries = 0; row === EIOCBQUEUED && tries < HOLD_STEPS_MAX && this.step(); tries++)
      row = holdRow(this.fs, ino);
    if (row < 0) return row === ENOMEM ? ENOMEM : ENFILE;
    this.fs.inodes.holds[row]!++;
    return 0;
  }

  release(ino: number): 0 | Errno {
    const { inodes } = this.fs;
    const row = inodes.find(ino);
    assert(row !== NO_ROW && inodes.holds[row]! > 0, "ext4: release of an inode that nobody holds");
    if (--inodes.holds[row]! === 0 && inodes.nameless[row] !== 0) this.#evict(row);
    return 0;
  }

  read(ino: number, offset: number, into: Uint8Array, how: number): number | Errno {
    const done = readData(this.fs, ino, offset, into, how);
    if (done > 0) touchRead(this.fs, ino);
    return done;
  }

  write(ino: number, offset: number, from: Uint8Array, how: number): number | Errno {
    return writeData(this.fs, ino, offset, from, how);
  }

  truncate(ino: number, size: number, call: Float64Array): 0 | Errno {
    return truncateData(this.fs, ino, size, call) as 0 | Errno;
  }

  fallocate(ino: number, mode: number, offset: number, length: number, call: Float64Array): 0 | Errno {
    return fallocateData(this.fs, ino, mode, offset, length, call) as 0 | Errno;
  }

  seek(ino: number, offset: number, hole: boolean): number | Errno {
    return seekData(this.fs, ino, offset, hole);
  }

  fsync(ino: number, dataOnly: boolean, call: Float64Array): 0 | Errno {
    return fsyncData(this.fs, ino, dataOnly, call) as 0 | Errno;
  }

  sync(call: Float64Array): 0 | Errno {
    return syncAll(this.fs, call) as 0 | Errno;
  }

  getxattr(ino: number, name: string, into: Uint8Array): number | Errno {
    const { fs } = this;
    return readCall(fs, () => getXattr(fs.buffers, fs.sb, ino, name, into));
  }

  setxattr(ino: number, name: string, value: Uint8Array, flags: number): 0 | Errno {
    const change = (edit: Edit): number => setXattr(edit, ino, name, value, flags);
    return this.#change(dataCredits(this.fs.sb), ino, 0, change) as 0 | Errno;
  }

  removexattr(ino: number, name: string): 0 | Errno {
    return this.#change(dataCredits(this.fs.sb), ino, 0, (edit) => removeXattr(edit, ino, name)) as 0 | Errno;
  }

  listxattr(ino: number, into: Uint8Array): number | Errno {
    const { fs } = this;
    return readCall(fs, () => listXattr(fs.buffers, fs.sb, ino, into));
  }

  /** One of the WAIT_* constants of kernel/abi/page_cache.ts. */
  waitingOn(): number {
    return this.fs.words[FS.WaitsFor]!;
  }

  step(): boolean {
    const moved = this.stepJournal();
    return this.stepWriteback() || moved;
  }

  /** What is jbd2's to do, and to take what has ended on the device. */
  stepJournal(): boolean {
    const { fs } = this;
    const moved = fs.journal.step();
    if (fs.journal.aborted !== 0) fs.words[FS.ReadOnly] = 1;
    return moved;
  }

  /** What is the flusher's to do: dirty pages, what is left of calls that went away, errors for the superblock. */
  stepWriteback(): boolean {
    const { fs } = this;
    let moved = stepWork(fs);
    moved = keepErrors(fs) || moved;
    return fs.cache.dirty() > 0 && fs.cache.flush(fs.machine.now(), FLUSH_PAGES) > 0 ? true : moved;
  }

  /**
   * After step() was made until it did nothing: when it has something to do again though no call is made and no request
   * ends. Now, when the write-back has asked the journal for something; else by the clock: a commit is due, committed
   * blocks go home, pages have been dirty for too long. Infinity: never.
   */
  nextAtNs(): number {
    const { journal, cache, machine } = this.fs;
    return Math.min(journal.nextAtNs, cache.nextFlushNs(machine.now()));
  }

  /** Fast commits since the mount. */
  get fastCommits(): number {
    return this.fs.journal.fastCommits;
  }

  /** Errors that were found since the mount. */
  get errorsSeen(): number {
    return this.fs.words[FS.Errors]!;
  }

  /** errors=panic has struck: whoever runs the machine stops it. */
  get panicked(): boolean {
    return this.fs.words[FS.Panicked] === 1;
  }

  /** Everything on the disk, and clean. Nobody may hold anything. `call` as of sync(). */
  unmount(call: Float64Array): 0 | Errno {
    const done = unmountExt4(this.fs, this.#device, call, this.#idle) as 0 | Errno;
    if (done !== EIOCBQUEUED) this.fs.inodes.giveBack();
    return done;
  }
}
