/**
 * tmpfs: a file system in memory, with a size. All of it is in the tables of state.ts, nothing ever waits, and nothing
 * is written anywhere: fsync has nothing to do.
 *
 * - new Tmpfs(options)     over the memory's arrays as they are; reset() makes an empty one
 * - check()                panics when the tables disagree
 *
 * A directory takes no pages, and its size is 20 bytes a name, as Linux's says; a link's target takes a page.
 */
import { EEXIST, EFBIG, EINVAL, ENOENT, ENOSPC, ENOTEMPTY, ENXIO, isErr } from "../../abi/errno.ts";
import { dirType, isDir, NAME_MAX, S_IFCHR } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import {
  type EmitEntry,
  EOF_COOKIE,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  type FileSystem,
  IO_APPEND,
  type NewNode,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  type SetAttr,
  type Stat,
  type StatFs,
} from "../vfs/file_system.ts";
import { dropPages, nextData, nextHole, readFork, reserve, writeFork, zeroRange } from "./pages.ts";
import { FORK_PAGES, INO_ROOT, INODE, SEQ_FIRST, SIZE_MAX, TmpfsState, type TmpfsOptions } from "./state.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "./xattr.ts";

const DIR_BYTES = 40;
const NAME_BYTES = 20;
/** relatime: a day. */
const ATIME_SEC_MAX = 86_400;
const DOT = Uint8Array.of(0x2e);
const DOTDOT = Uint8Array.of(0x2e, 0x2e);
const { mtimeSec, ctimeSec } = INODE;

export class Tmpfs implements FileSystem {
  readonly type = "tmpfs";
  readonly readOnly = false;
  readonly state: TmpfsState;

  constructor(options: TmpfsOptions) {
    this.state = new TmpfsState(options);
  }

  /** Empty, with a root directory of everybody's (mode 1777). */
  reset(): void {
    this.state.reset();
    const ino = this.state.newInode(0o041777);
    this.state.set(ino, INODE.links, 2);
    this.state.set(ino, INODE.parent, ino);
  }

  check(): void {
    this.state.check();
  }

  root(): number {
    return INO_ROOT;
  }

  statfs(out: StatFs): 0 {
    const { options, pagesFree, inodesFree } = this.state;
    out.blockSize = PAGE_SIZE;
    out.blocks = options.pages;
    out.blocksFree = pagesFree;
    out.blocksAvailable = pagesFree;
    out.files = options.inodes;
    out.filesFree = inodesFree;
    out.nameMax = NAME_MAX;
    return 0;
  }

  private isThere(ino: number): boolean {
    return ino >= 1 && ino <= this.state.options.inodes && this.state.get(ino, INODE.mode) !== 0;
  }

  getattr(ino: number, out: Stat): 0 | Errno {
    if (!this.isThere(ino)) return ENOENT;
    const at = ino * INODE.words;
    const { inode } = this.state;
    out.ino = ino;
    out.mode = inode[at + INODE.mode]!;
    out.links = inode[at + INODE.links]!;
    out.uid = inode[at + INODE.uid]!;
    out.gid = inode[at + INODE.gid]!;
    out.rdev = inode[at + INODE.rdev]!;
    out.size = isDir(out.mode) ? DIR_BYTES + NAME_BYTES * inode[at + INODE.names]! : inode[at + INODE.size]!;
    out.sectors = (inode[at + INODE.pages]! * PAGE_SIZE) / 512;
    out.blockSize = PAGE_SIZE;
    out.atimeSec = inode[at + INODE.atimeSec]!;
    out.atimeNsec = inode[at + INODE.atimeNsec]!;
    out.mtimeSec = inode[at + INODE.mtimeSec]!;
    out.mtimeNsec = inode[at + INODE.mtimeNsec]!;
    out.ctimeSec = inode[at + INODE.ctimeSec]!;
    out.ctimeNsec = inode[at + INODE.ctimeNsec]!;
    out.generation = inode[at + INODE.generation]!;
    return 0;
  }

  setattr(ino: number, attr: SetAttr): 0 | Errno {
    if (!this.isThere(ino)) return ENOENT;
    const { state } = this;
    if (attr.mode !== undefined) state.set(ino, INODE.mode, attr.mode);
    if (attr.uid !== undefined) state.set(ino, INODE.uid, attr.uid);
    if (attr.gid !== undefined) state.set(ino, INODE.gid, attr.gid);
    for (const [field, time] of [
      [INODE.atimeSec, attr.atime],
      [INODE.mtimeSec, attr.mtime],
    ] as const) {
      if (time === undefined) continue;
      state.set(ino, field, time[0]);
      state.set(ino, field + 1, time[1]);
    }
    state.stamp(ino, ctimeSec);
    return 0;
  }

  /** relatime: not older than the last change, and moved once a day. */
  private accessed(ino: number): void {
    const { state } = this;
    const was = state.get(ino, INODE.atimeSec);
    const nsec = state.get(ino, INODE.atimeNsec);
    const after = (field: number): boolean =>
      was > state.get(ino, field) || (was === state.get(ino, field) && nsec > state.get(ino, field + 1));
    const stale = !after(mtimeSec) || !after(ctimeSec);
    state.stamp(ino, INODE.atimeSec);
    if (stale || state.get(ino, INODE.atimeSec) - was >= ATIME_SEC_MAX) return;
    state.set(ino, INODE.atimeSec, was);
    state.set(ino, INODE.atimeNsec, nsec);
  }

  lookup(dir: number, name: Uint8Array): number | Errno {
    const n = this.state.findName(dir, name);
    return n < 0 ? ENOENT : this.state.nameIno(n);
  }

  parent(dir: number): number {
    return this.state.get(dir, INODE.parent);
  }

  readdir(dir: number, cookie: number, emit: EmitEntry): number {
    const { state } = this;
    this.accessed(dir);
    if (cookie < 1 && !emit(DOT, dir, dirType(state.get(dir, INODE.mode)), 1)) return 0;
    if (cookie < SEQ_FIRST && !emit(DOTDOT, this.parent(dir), dirType(state.get(dir, INODE.mode)), SEQ_FIRST)) return 1;
    for (let n = state.firstName(dir, cookie); n >= 0; n = state.nameBehind(dir, n)) {
      const seq = state.nameSeq[n]!;
      const ino = state.nameIno(n);
      if (!emit(state.nameText(n), ino, dirType(state.get(ino, INODE.mode)), seq + 1)) return seq;
    }
    return EOF_COOKIE;
  }

  readlink(ino: number, into: Uint8Array): number {
    const length = Math.min(into.length, this.state.get(ino, INODE.size));
    readFork(this.state, ino, 0, 0, into.subarray(0, length));
    this.accessed(ino);
    return length;
  }

  /** What every new name needs: 0, or why it cannot be. */
  private mayAdd(dir: number, name: Uint8Array): 0 | Errno {
    if (this.state.get(dir, INODE.links) === 0) return ENOENT;
    if (this.state.findName(dir, name) >= 0) return EEXIST;
    return this.state.namesFree > 0 ? 0 : ENOSPC;
  }

  private make(dir: number, name: Uint8Array, node: NewNode, links: number): number | Errno {
    const may = this.mayAdd(dir, name);
    if (may !== 0) return may;
    const ino = this.newNode(node, links);
    if (isErr(ino)) return ino;
    this.state.addName(dir, name, ino);
    this.state.stamp(dir, mtimeSec, ctimeSec);
    return ino;
  }

  private newNode(node: NewNode, links: number): number | Errno {
    const { state } = this;
    const ino = state.newInode(node.mode);
    if (isErr(ino)) return ino;
    state.set(ino, INODE.uid, node.uid);
    state.set(ino, INODE.gid, node.gid);
    state.set(ino, INODE.rdev, node.rdev ?? 0);
    state.set(ino, INODE.links, links);
    return ino;
  }

  create(dir: number, name: Uint8Array, node: NewNode): number | Errno {
    return this.make(dir, name, node, 1);
  }

  tmpfile(dir: number, node: NewNode): number | Errno {
    if (this.state.get(dir, INODE.links) === 0) return ENOENT;
    const ino = this.newNode(node, 0);
    if (!isErr(ino)) this.hold(ino);
    return ino;
  }

  mkdir(dir: number, name: Uint8Array, node: NewNode): number | Errno {
    const ino = this.make(dir, name, node, 2);
    if (isErr(ino)) return ino;
    this.state.set(ino, INODE.parent, dir);
    this.addLinks(dir, 1);
    return ino;
  }

  symlink(dir: number, name: Uint8Array, node: NewNode, target: Uint8Array): number | Errno {
    if (target.length > 0 && this.state.pagesFree === 0) return this.mayAdd(dir, name) || ENOSPC;
    const ino = this.make(dir, name, node, 1);
    if (isErr(ino)) return ino;
    this.state.set(ino, INODE.size, writeFork(this.state, ino, 0, 0, target));
    return ino;
  }

  private addLinks(ino: number, count: number): void {
    this.state.set(ino, INODE.links, this.state.get(ino, INODE.links) + count);
  }

  link(ino: number, dir: number, name: Uint8Array): 0 | Errno {
    const may = this.mayAdd(dir, name);
    if (may !== 0) return may;
    this.state.addName(dir, name, ino);
    this.addLinks(ino, 1);
    this.state.stamp(dir, mtimeSec, ctimeSec);
    this.state.stamp(ino, ctimeSec);
    return 0;
  }

  /** The inode lost a name; the last one takes a directory's "." along. */
  private unlinked(ino: number): void {
    const { state } = this;
    if (isDir(state.get(ino, INODE.mode))) {
      this.addLinks(state.get(ino, INODE.parent), -1);
      state.set(ino, INODE.links, 0);
    } else this.addLinks(ino, -1);
    state.stamp(ino, ctimeSec);
    this.freeUnused(ino);
  }

  private freeUnused(ino: number): void {
    if (this.state.get(ino, INODE.links) === 0 && this.state.get(ino, INODE.holds) === 0) this.state.freeInode(ino);
  }

  unlink(dir: number, name: Uint8Array): 0 | Errno {
    const n = this.state.findName(dir, name);
    if (n < 0) return ENOENT;
    const ino = this.state.nameIno(n);
    this.state.removeName(n);
    this.state.stamp(dir, mtimeSec, ctimeSec);
    this.unlinked(ino);
    return 0;
  }

  rmdir(dir: number, name: Uint8Array): 0 | Errno {
    const n = this.state.findName(dir, name);
    if (n < 0) return ENOENT;
    return this.state.get(this.state.nameIno(n), INODE.names) > 0 ? ENOTEMPTY : this.unlink(dir, name);
  }

  rename(from: number, name: Uint8Array, to: number, newName: Uint8Array, flags: number): 0 | Errno {
    const { state } = this;
    const n = state.findName(from, name);
    if (n < 0 || state.get(to, INODE.links) === 0) return ENOENT;
    const ino = state.nameIno(n);
    const over = state.findName(to, newName);
    if ((flags & RENAME_EXCHANGE) !== 0) return over < 0 ? ENOENT : this.exchange(n, over, from, to);
    if (over >= 0) {
      if ((flags & RENAME_NOREPLACE) !== 0) return EEXIST;
      if (state.get(state.nameIno(over), INODE.names) > 0) return ENOTEMPTY;
    }
    const whiteout = (flags & RENAME_WHITEOUT) !== 0;
    // The old row is the whiteout's or becomes free, so only a whiteout needs one more, and an inode.
    if (whiteout && ((over < 0 && state.namesFree === 0) || state.inodesFree === 0)) return ENOSPC;
    if (whiteout) state.setNameIno(n, this.newNode({ mode: S_IFCHR, uid: 0, gid: 0 }, 1));
    else state.removeName(n);
    this.moved(ino, from, to);
    if (over < 0) state.addName(to, newName, ino);
    else {
      const gone = state.nameIno(over);
      state.setNameIno(over, ino);
      this.unlinked(gone);
    }
    state.stamp(from, mtimeSec, ctimeSec);
    state.stamp(to, mtimeSec, ctimeSec);
    state.stamp(ino, ctimeSec);
    return 0;
  }

  private exchange(n: number, over: number, from: number, to: number): 0 {
    const { state } = this;
    const [ino, other] = [state.nameIno(n), state.nameIno(over)];
    state.setNameIno(n, other);
    state.setNameIno(over, ino);
    this.moved(ino, from, to);
    this.moved(other, to, from);
    state.stamp(from, mtimeSec, ctimeSec);
    state.stamp(to, mtimeSec, ctimeSec);
    state.stamp(ino, ctimeSec);
    state.stamp(other, ctimeSec);
    return 0;
  }

  /** A directory's ".." follows it. */
  private moved(ino: number, from: number, to: number): void {
    if (!isDir(this.state.get(ino, INODE.mode))) return;
    this.addLinks(from, -1);
    this.addLinks(to, 1);
    this.state.set(ino, INODE.parent, to);
  }

  hold(ino: number): 0 {
    this.state.set(ino, INODE.holds, this.state.get(ino, INODE.holds) + 1);
    return 0;
  }

  release(ino: number): 0 {
    this.state.set(ino, INODE.holds, this.state.get(ino, INODE.holds) - 1);
    this.freeUnused(ino);
    return 0;
  }

  read(ino: number, offset: number, into: Uint8Array): number {
    const length = Math.min(into.length, this.state.get(ino, INODE.size) - offset);
    this.accessed(ino);
    if (length <= 0) return 0;
    readFork(this.state, ino, 0, offset, into.subarray(0, length));
    return length;
  }

  write(ino: number, offset: number, from: Uint8Array, how: number): number | Errno {
    const size = this.state.get(ino, INODE.size);
    const start = (how & IO_APPEND) !== 0 ? size : offset;
    if (from.length === 0) return 0;
    if (start >= SIZE_MAX) return EFBIG;
    const done = writeFork(this.state, ino, 0, start, from.subarray(0, SIZE_MAX - start));
    if (done === 0) return ENOSPC;
    this.state.set(ino, INODE.size, Math.max(size, start + done));
    this.state.stamp(ino, mtimeSec, ctimeSec);
    return done;
  }

  truncate(ino: number, size: number): 0 | Errno {
    if (size > SIZE_MAX) return EFBIG;
    const was = this.state.get(ino, INODE.size);
    if (size <= was) {
      // Also pages reserved beyond the end go.
      dropPages(this.state, ino, Math.ceil(size / PAGE_SIZE), FORK_PAGES);
      zeroRange(this.state, ino, size, SIZE_MAX, false);
    }
    this.state.set(ino, INODE.size, size);
    this.state.stamp(ino, mtimeSec, ctimeSec);
    return 0;
  }

  fallocate(ino: number, mode: number, offset: number, length: number): 0 | Errno {
    const { state } = this;
    const end = offset + length;
    if (length <= 0) return EINVAL;
    if (end > SIZE_MAX) return EFBIG;
    if ((mode & FALLOC_PUNCH_HOLE) !== 0) zeroRange(state, ino, offset, end, true);
    else {
      const done = reserve(state, ino, offset, end);
      if (done !== 0) return done;
      if ((mode & FALLOC_ZERO_RANGE) !== 0) zeroRange(state, ino, offset, end, false);
      if ((mode & FALLOC_KEEP_SIZE) === 0) state.set(ino, INODE.size, Math.max(state.get(ino, INODE.size), end));
    }
    state.stamp(ino, mtimeSec, ctimeSec);
    return 0;
  }

  seek(ino: number, offset: number, hole: boolean): number | Errno {
    const size = this.state.get(ino, INODE.size);
    if (offset >= size) return ENXIO;
    if (!hole) return nextData(this.state, ino, offset, size);
    return nextHole(this.state, ino, offset, size);
  }

  fsync(): 0 {
    return 0;
  }

  sync(): 0 {
    return 0;
  }

  getxattr(ino: number, name: string, into: Uint8Array): number | Errno {
    return getXattr(this.state, ino, name, into);
  }

  setxattr(ino: number, name: string, value: Uint8Array, flags: number): 0 | Errno {
    return setXattr(this.state, ino, name, value, flags);
  }

  removexattr(ino: number, name: string): 0 | Errno {
    return removeXattr(this.state, ino, name);
  }

  listxattr(ino: number, into: Uint8Array): number | Errno {
    return listXattr(this.state, ino, into);
  }

  waitingOn(): number {
    return 0;
  }

  step(): boolean {
    return false;
  }
}
