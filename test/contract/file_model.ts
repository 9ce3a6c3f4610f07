/**
 * What Linux's file calls do, slow and obvious: a tree of objects with maps for directories and arrays for content. The
 * rules are written down from Linux (fs/namei.c, open.c, read_write.c, attr.c, xattr.c), errors in the order in which it
 * finds them; host.test.ts has the host's own Linux play the same calls.
 *
 * `play(op, got)` gives the outcome that `got`, a file system's, should be. Where a file system is free it is followed:
 *
 *   fewer bytes read or written than asked for       as many as it said, if at least one
 *   ENOSPC where the call would have succeeded       if `full`, and nothing changes
 *   SEEK_DATA, SEEK_HOLE                             any answer that hides no byte other than zero, and is at zeroes
 *   fallocate(FALLOC_FL_ZERO_RANGE)                  EOPNOTSUPP, and nothing changes
 */
import * as E from "../../kernel/abi/errno.ts";
import * as F from "../../kernel/abi/fcntl.ts";
import * as S from "../../kernel/abi/stat.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
} from "../../kernel/fs/vfs/file_system.ts";
import { digest, FDS, type Op, pattern, statText, USER } from "./file_ops.ts";

interface Node {
  mode: number;
  uid: number;
  gid: number;
  links: number;
  readonly rdev: number;
  /** A file's bytes, a link's target. */
  data: Uint8Array;
  readonly names: Map<string, Node>;
  parent: Node;
  readonly xattrs: Map<string, Uint8Array>;
}

interface OpenFile {
  readonly node: Node;
  readonly flags: number;
  pos: number;
}

interface Task {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  umask: number;
  cwd: Node;
  readonly fds: (OpenFile | undefined)[];
}

/** Where a walk stopped: the directory, and the last name in it. */
interface Last {
  readonly dir: Node;
  readonly name: string;
  readonly slash: boolean;
}

/** An errno that ends a call. */
class Fail extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

function fail(errno: number): never {
  throw new Fail(errno);
}

const encoder = new TextEncoder();
const bytesOf = (text: string): number => encoder.encode(text).length;
const R = F.R_OK;
const W = F.W_OK;
const X = F.X_OK;

function resized(data: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  out.set(data.subarray(0, size));
  return out;
}

export class Model {
  /** ENOSPC is possible. */
  full = false;
  readonly root: Node;
  readonly tasks: Task[];
  private got = "";
  private task: Task;

  constructor() {
    this.root = this.node(S.S_IFDIR | 0o755, 0, 0);
    this.root.parent = this.root;
    this.root.links = 2;
    this.tasks = [{ uid: 0, gid: 0, groups: [] as number[] }, USER].map((cred) => ({
      ...cred,
      umask: 0o022,
      cwd: this.root,
      fds: Array.from({ length: FDS }),
    }));
    this.task = this.tasks[0]!;
  }

  private node(mode: number, uid: number, gid: number, rdev = 0): Node {
    const made: Node = {
      mode,
      uid,
      gid,
      rdev,
      links: S.isDir(mode) ? 2 : 1,
      data: new Uint8Array(0),
      names: new Map(),
      parent: undefined as unknown as Node,
      xattrs: new Map(),
    };
    return made;
  }

  play(op: Op, got: string): string {
    this.task = this.tasks[op.task]!;
    this.got = got;
    try {
      return this.call(op);
    } catch (error) {
      if (error instanceof Fail) return String(error.errno);
      throw error;
    }
  }

  /** The call is about to change something that takes room. */
  private room(): void {
    if (this.full && this.got === String(E.ENOSPC)) fail(E.ENOSPC);
  }

  /** A count of bytes: what the file system said, if it may be. */
  private count(most: number): number {
    const said = Number.parseInt(this.got, 10);
    return said >= 1 && said < most ? said : most;
  }

  // Who may do what

  private inGroup(gid: number): boolean {
    return this.task.gid === gid || this.task.groups.includes(gid);
  }

  private allows(node: Node, want: number): boolean {
    if (this.task.uid === 0) return (want & X) === 0 || S.isDir(node.mode) || (node.mode & 0o111) !== 0;
    const three = this.task.uid === node.uid ? node.mode >> 6 : this.inGroup(node.gid) ? node.mode >> 3 : node.mode;
    return (three & want) === want;
  }

  private need(node: Node, want: number): void {
    if (!this.allows(node, want)) fail(E.EACCES);
  }

  private owns(node: Node): boolean {
    return this.task.uid === 0 || this.task.uid === node.uid;
  }

  private needCreate(dir: Node): void {
    if (dir.links === 0) fail(E.ENOENT);
    this.need(dir, W | X);
  }

  private needDelete(dir: Node, victim: Node, asDir: boolean): void {
    this.need(dir, W | X);
    if ((dir.mode & S.S_ISVTX) !== 0 && !this.owns(dir) && !this.owns(victim)) fail(E.EPERM);
    if (asDir && !S.isDir(victim.mode)) fail(E.ENOTDIR);
    if (!asDir && S.isDir(victim.mode)) fail(E.EISDIR);
    if (dir.links === 0) fail(E.ENOENT);
  }

  // Paths

  private names(path: string): string[] {
    if (path === "") fail(E.ENOENT);
    if (bytesOf(path) >= S.PATH_MAX) fail(E.ENAMETOOLONG);
    return path.split("/").filter((part) => part !== "");
  }

  private child(dir: Node, name: string): Node | undefined {
    if (bytesOf(name) > S.NAME_MAX) fail(E.ENAMETOOLONG);
    return dir.links === 0 ? undefined : dir.names.get(name);
  }

  private up(dir: Node): Node {
    if (dir.links === 0) fail(E.ENOENT);
    return dir.parent;
  }

  private startOf(path: string): Node {
    return path.startsWith("/") ? this.root : this.task.cwd;
  }

  /** Walks all names but the last. `name` "/": there is none. `used` counts the links that were followed. */
  private toLast(path: string, from = this.startOf(path), used = { links: 0 }): Last {
    const left = this.names(path);
    let dir = from;
    if (left.length === 0) return { dir, name: "/", slash: true };
    for (;;) {
      const name = left.shift()!;
      this.need(dir, X);
      if (left.length === 0) return { dir, name, slash: path.endsWith("/") };
      const node = name === "." ? dir : name === ".." ? this.up(dir) : this.child(dir, name);
      if (node === undefined) fail(E.ENOENT);
      const end = S.isLink(node.mode) ? this.followed(dir, node, used) : node;
      if (!S.isDir(end.mode)) fail(E.ENOTDIR);
      dir = end;
    }
  }

  private target(link: Node): string {
    return new TextDecoder().decode(link.data);
  }

  private followed(dir: Node, link: Node, used: { links: number }): Node {
    if (++used.links > 40) fail(E.ELOOP);
    const text = this.target(link);
    return this.find(text, true, text.startsWith("/") ? this.root : dir, used);
  }

  private find(path: string, follow: boolean, from = this.startOf(path), used = { links: 0 }): Node {
    const { dir, name, slash } = this.toLast(path, from, used);
    if (name === "/" || name === ".") return dir;
    if (name === "..") return this.up(dir);
    const node = this.child(dir, name);
    if (node === undefined) fail(E.ENOENT);
    const end = S.isLink(node.mode) && (follow || slash) ? this.followed(dir, node, used) : node;
    if (slash && !S.isDir(end.mode)) fail(E.ENOTDIR);
    return end;
  }

  private isName({ name }: Last): boolean {
    return name !== "/" && name !== "." && name !== "..";
  }

  // Descriptors

  private fileOf(fd: number, pathToo = false): OpenFile {
    const file = this.task.fds[fd];
    if (file === undefined || (!pathToo && (file.flags & F.O_PATH) !== 0)) fail(E.EBADF);
    return file;
  }

  private install(file: OpenFile): number {
    const fd = this.task.fds.findIndex((f) => f === undefined);
    if (fd < 0) fail(E.EMFILE);
    this.task.fds[fd] = file;
    return fd;
  }

  private canRead(file: OpenFile): boolean {
    const access = file.flags & F.O_ACCMODE;
    return access === F.O_RDONLY || access === F.O_RDWR;
  }

  private canWrite(file: OpenFile): boolean {
    const access = file.flags & F.O_ACCMODE;
    return access === F.O_WRONLY || access === F.O_RDWR;
  }

  // Names

  private add(dir: Node, name: string, node: Node): void {
    dir.names.set(name, node);
    if (!S.isDir(node.mode)) return;
    node.parent = dir;
    dir.links++;
  }

  private take(dir: Node, name: string): Node {
    const node = dir.names.get(name)!;
    dir.names.delete(name);
    if (S.isDir(node.mode)) dir.links--;
    return node;
  }

  private lost(node: Node): void {
    node.links = S.isDir(node.mode) ? 0 : node.links - 1;
  }

  /** A new inode below `dir`: the umask, and what a set-group-id directory hands down. */
  private born(dir: Node, type: number, bits: number, rdev = 0): Node {
    let mode = type | (type === S.S_IFLNK ? 0o777 : bits & ~this.task.umask);
    let { gid } = this.task;
    if ((dir.mode & S.S_ISGID) !== 0) {
      gid = dir.gid;
      if (type === S.S_IFDIR) mode |= S.S_ISGID;
      else if ((mode & 0o2010) === 0o2010 && this.task.uid !== 0 && !this.inGroup(gid)) mode &= ~S.S_ISGID;
    }
    return this.node(mode, this.task.uid, gid, rdev);
  }

  private toNew(path: string, asDir: boolean): Last {
    const last = this.toLast(path);
    if (!this.isName(last)) fail(E.EEXIST);
    if (this.child(last.dir, last.name) !== undefined) fail(E.EEXIST);
    if (last.slash && !asDir) fail(E.ENOENT);
    return last;
  }

  private withoutPrivileges(node: Node): number {
    const drop = (node.mode & 0o2010) === 0o2010 || (this.task.uid !== 0 && !this.inGroup(node.gid));
    return node.mode & ~(drop ? S.S_ISUID | S.S_ISGID : S.S_ISUID);
  }

  private contentChanges(node: Node): void {
    if (this.task.uid !== 0) node.mode = this.withoutPrivileges(node);
  }

  private open(path: string, flags: number, mode: number): number {
    if ((flags & F.O_PATH) !== 0) flags &= F.O_PATH | F.O_DIRECTORY | F.O_NOFOLLOW;
    const creates = (flags & F.O_CREAT) !== 0;
    if (creates && (flags & F.O_DIRECTORY) !== 0) fail(E.EINVAL);
    this.names(path);
    if (!this.task.fds.includes(undefined)) fail(E.EMFILE);
    const follow = (flags & F.O_NOFOLLOW) === 0;
    const node = creates ? this.openCreate(path, flags, mode, follow) : this.find(path, follow);
    if (node === undefined) return this.install({ node: this.justMade!, flags, pos: 0 });
    if ((flags & F.O_DIRECTORY) !== 0 && !S.isDir(node.mode)) fail(E.ENOTDIR);
    if ((flags & F.O_PATH) === 0) this.openThere(node, flags);
    return this.install({ node, flags, pos: 0 });
  }

  private justMade: Node | undefined;

  /** undefined: it was made, and is `justMade`. */
  private openCreate(path: string, flags: number, mode: number, follow: boolean): Node | undefined {
    const exclusive = (flags & F.O_EXCL) !== 0;
    const used = { links: 0 };
    let last = this.toLast(path, undefined, used);
    let slash = last.slash;
    for (;;) {
      if (!this.isName(last)) {
        if (last.name === "..") this.up(last.dir);
        fail(exclusive ? E.EEXIST : E.EISDIR);
      }
      if (slash) fail(E.EISDIR);
      const node = this.child(last.dir, last.name);
      if (node === undefined) {
        this.needCreate(last.dir);
        this.room();
        this.justMade = this.born(last.dir, S.S_IFREG, mode & 0o7777);
        this.add(last.dir, last.name, this.justMade);
        return undefined;
      }
      if (exclusive) fail(E.EEXIST);
      if (!S.isLink(node.mode) || !follow) {
        if (S.isDir(node.mode)) fail(E.EISDIR);
        return node;
      }
      if (++used.links > 40) fail(E.ELOOP);
      const text = this.target(node);
      last = this.toLast(text, text.startsWith("/") ? this.root : last.dir, used);
      slash ||= last.slash;
    }
  }

  private openThere(node: Node, flags: number): void {
    if (S.isLink(node.mode)) fail(E.ELOOP);
    const access = flags & F.O_ACCMODE;
    let want = [R, W, R | W, R | W][access]!;
    if ((flags & F.O_TRUNC) !== 0) want |= W;
    if (S.isDir(node.mode) && (want & W) !== 0) fail(E.EISDIR);
    this.need(node, want);
    if (!S.isDir(node.mode) && !S.isReg(node.mode)) fail(E.ENXIO);
    if ((flags & F.O_TRUNC) === 0 || !S.isReg(node.mode)) return;
    this.contentChanges(node);
    node.data = new Uint8Array(0);
  }

  private read(fd: number, n: number, at?: number): string {
    if (at !== undefined && at < 0) fail(E.EINVAL);
    const file = this.fileOf(fd);
    if (!this.canRead(file)) fail(E.EBADF);
    if (S.isDir(file.node.mode)) fail(E.EISDIR);
    const start = at ?? file.pos;
    const most = Math.max(0, Math.min(n, file.node.data.length - start));
    const count = most === 0 ? 0 : this.count(most);
    if (at === undefined) file.pos += count;
    return `${count} ${digest(file.node.data.subarray(start, start + count))}`;
  }

  private write(fd: number, n: number, seed: number, at?: number): number {
    if (at !== undefined && at < 0) fail(E.EINVAL);
    const file = this.fileOf(fd);
    if (!this.canWrite(file)) fail(E.EBADF);
    if (n === 0) return 0;
    this.contentChanges(file.node);
    this.room();
    const start = (file.flags & F.O_APPEND) !== 0 ? file.node.data.length : (at ?? file.pos);
    const count = this.count(n);
    const { node } = file;
    if (start + count > node.data.length) node.data = resized(node.data, start + count);
    node.data.set(pattern(seed, n).subarray(0, count), start);
    if (at === undefined) file.pos = start + count;
    return count;
  }

  private lseek(fd: number, at: number, whence: number): number {
    const file = this.fileOf(fd);
    if (whence < 0 || whence > 4) fail(E.EINVAL);
    const { data, mode } = file.node;
    if (S.isDir(mode)) {
      // Cookies are the file system's: only positions that everybody has.
      if (whence > F.SEEK_CUR) fail(E.EINVAL);
    } else if (whence > F.SEEK_END) {
      if (at < 0 || at >= data.length) fail(E.ENXIO);
      file.pos = whence === F.SEEK_DATA ? this.seekData(data, at) : this.seekHole(data, at);
      return file.pos;
    }
    const base = [0, file.pos, data.length][whence]!;
    if (base + at < 0) fail(E.EINVAL);
    file.pos = base + at;
    return file.pos;
  }

  private seekData(data: Uint8Array, at: number): number {
    const said = Number(this.got);
    const hidden = data.subarray(at, said >= at ? said : data.length).some((byte) => byte !== 0);
    if (said >= at && said < data.length && !hidden) return said;
    return hidden ? at : fail(E.ENXIO);
  }

  private seekHole(data: Uint8Array, at: number): number {
    const said = Number(this.got);
    return said >= at && said < data.length && data[said] === 0 ? said : data.length;
  }

  private resize(node: Node, size: number): void {
    this.contentChanges(node);
    if (size > node.data.length) this.room();
    node.data = resized(node.data, size);
  }

  private fallocate(fd: number, mode: number, at: number, n: number): number {
    const file = this.fileOf(fd);
    const punch = (mode & FALLOC_PUNCH_HOLE) !== 0;
    const zero = (mode & FALLOC_ZERO_RANGE) !== 0;
    const keep = (mode & FALLOC_KEEP_SIZE) !== 0;
    if (at < 0 || n <= 0) fail(E.EINVAL);
    if ((mode & ~19) !== 0 || (punch && zero) || (punch && !keep)) fail(E.EOPNOTSUPP);
    if (!this.canWrite(file)) fail(E.EBADF);
    const { node } = file;
    this.contentChanges(node);
    if (zero && this.got === String(E.EOPNOTSUPP)) fail(E.EOPNOTSUPP);
    if (!punch) this.room();
    if (!keep && at + n > node.data.length) node.data = resized(node.data, at + n);
    if (punch || zero) node.data.fill(0, at, at + n);
    return 0;
  }

  private rename(path: string, to: string, flags: number): number {
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if ((flags & ~7) !== 0 || (exchange && flags !== RENAME_EXCHANGE)) fail(E.EINVAL);
    const from = this.toLast(path);
    const into = this.toLast(to);
    if (!this.isName(from)) fail(E.EBUSY);
    if (!this.isName(into)) fail((flags & RENAME_NOREPLACE) !== 0 ? E.EEXIST : E.EBUSY);
    const node = this.child(from.dir, from.name);
    if (node === undefined) fail(E.ENOENT);
    const over = this.child(into.dir, into.name);
    if (over !== undefined && (flags & RENAME_NOREPLACE) !== 0) fail(E.EEXIST);
    if (exchange) {
      if (over === undefined) fail(E.ENOENT);
      if (into.slash && !S.isDir(over.mode)) fail(E.ENOTDIR);
    }
    const asDir = S.isDir(node.mode);
    if (!asDir && (from.slash || (!exchange && into.slash))) fail(E.ENOTDIR);
    if (this.isBelow(into.dir, node)) fail(E.EINVAL);
    if (over !== undefined && this.isBelow(from.dir, over)) fail(exchange ? E.EINVAL : E.ENOTEMPTY);
    if (node === over) return 0;
    this.needDelete(from.dir, node, asDir);
    if (over === undefined) this.needCreate(into.dir);
    else this.needDelete(into.dir, over, exchange ? S.isDir(over.mode) : asDir);
    if (from.dir !== into.dir) {
      if (asDir) this.need(node, W);
      if (exchange && S.isDir(over!.mode)) this.need(over!, W);
    }
    if (!exchange && over !== undefined && over.names.size > 0) fail(E.ENOTEMPTY);
    this.room();
    this.take(from.dir, from.name);
    if (over !== undefined) this.take(into.dir, into.name);
    this.add(into.dir, into.name, node);
    if (exchange) this.add(from.dir, from.name, over!);
    else if (over !== undefined) this.lost(over);
    if ((flags & RENAME_WHITEOUT) !== 0) this.add(from.dir, from.name, this.node(S.S_IFCHR, 0, 0));
    return 0;
  }

  private isBelow(dir: Node, other: Node): boolean {
    for (let at = dir; ; at = at.parent) {
      if (at === other) return true;
      if (at === this.root || at.links === 0) return false;
    }
  }

  private unlink(path: string, flags: number): number {
    if ((flags & ~F.AT_REMOVEDIR) !== 0) fail(E.EINVAL);
    const last = this.toLast(path);
    const { dir, name, slash } = last;
    const asDir = flags !== 0;
    if (!this.isName(last)) fail(!asDir ? E.EISDIR : name === "/" ? E.EBUSY : name === "." ? E.EINVAL : E.ENOTEMPTY);
    const node = this.child(dir, name);
    if (node === undefined) fail(E.ENOENT);
    if (!asDir && slash) fail(S.isDir(node.mode) ? E.EISDIR : E.ENOTDIR);
    this.needDelete(dir, node, asDir);
    if (node.names.size > 0) fail(E.ENOTEMPTY);
    this.lost(this.take(dir, name));
    return 0;
  }

  private link(path: string, to: string, flags: number): number {
    if ((flags & ~F.AT_SYMLINK_FOLLOW) !== 0) fail(E.EINVAL);
    const node = this.find(path, flags !== 0);
    const last = this.toNew(to, false);
    this.needCreate(last.dir);
    if (S.isDir(node.mode)) fail(E.EPERM);
    this.room();
    this.add(last.dir, last.name, node);
    node.links++;
    return 0;
  }

  private chmod(node: Node, mode: number): number {
    if (!this.owns(node)) fail(E.EPERM);
    const strip = this.task.uid !== 0 && !this.inGroup(node.gid);
    node.mode = (node.mode & S.S_IFMT) | (mode & (strip ? 0o5777 : 0o7777));
    return 0;
  }

  private chown(node: Node, uid: number, gid: number): number {
    if (this.task.uid !== 0) {
      const mine = node.uid === this.task.uid;
      if (uid !== -1 && !(mine && uid === node.uid)) fail(E.EPERM);
      if (gid !== -1 && !(mine && (gid === node.gid || this.inGroup(gid)))) fail(E.EPERM);
    }
    if (!S.isDir(node.mode)) node.mode = this.withoutPrivileges(node);
    if (uid !== -1) node.uid = uid;
    if (gid !== -1) node.gid = gid;
    return 0;
  }

  /** The inode whose attribute `name` may be read or changed. */
  private xattrNode(path: string, name: string, write: boolean): Node {
    if (name === "" || bytesOf(name) > 255) fail(E.ERANGE);
    const node = this.find(path, true);
    const denied = write ? E.EPERM : E.ENODATA;
    const root = this.task.uid === 0;
    const [prefix] = /^[a-z]+\.|/.exec(name)!;
    if (prefix === "trusted." && !root) fail(denied);
    if (prefix === "user.") {
      if (!S.isReg(node.mode) && !S.isDir(node.mode)) fail(denied);
      if (write && S.isDir(node.mode) && (node.mode & S.S_ISVTX) !== 0 && !this.owns(node)) fail(E.EPERM);
    }
    if (!["trusted.", "security."].includes(prefix)) this.need(node, write ? W : R);
    if (prefix === "security." && write && !root) fail(E.EPERM);
    if (!["user.", "trusted.", "security."].includes(prefix)) fail(E.EOPNOTSUPP);
    return name === prefix ? fail(E.EINVAL) : node;
  }

  private setxattr(path: string, name: string, n: number, flags: number): number {
    if ((flags & ~3) !== 0) fail(E.EINVAL);
    const node = this.xattrNode(path, name, true);
    if (flags === 1 && node.xattrs.has(name)) fail(E.EEXIST);
    if (flags === 2 && !node.xattrs.has(name)) fail(E.ENODATA);
    this.room();
    node.xattrs.set(name, pattern(1, n));
    return 0;
  }

  private cwdPath(): string {
    if (this.task.cwd.links === 0) fail(E.ENOENT);
    let path = "";
    for (let at = this.task.cwd; at !== this.root; at = at.parent)
      path = `/${[...at.parent.names].find(([, node]) => node === at)![0]}${path}`;
    return path === "" ? "/" : path;
  }

  private list(path: string): string {
    const fd = this.open(path, F.O_DIRECTORY, 0);
    const { node } = this.task.fds[fd]!;
    this.task.fds[fd] = undefined;
    if (node.links === 0) fail(E.ENOENT);
    const names = [".:4", "..:4", ...[...node.names].map(([name, child]) => `${name}:${S.dirType(child.mode)}`)];
    return `0 ${names.sort().join(" ")}`;
  }

  private statOf(node: Node): string {
    return statText({ ...node, size: node.data.length });
  }

  private call(op: Op): string {
    const { task } = this;
    switch (op.op) {
      case "open":
        return String(this.open(op.path, op.flags, op.mode));
      case "close":
        this.fileOf(op.fd, true);
        task.fds[op.fd] = undefined;
        return "0";
      case "dup":
        return String(this.install(this.fileOf(op.fd, true)));
      case "dup2": {
        const file = this.fileOf(op.fd, true);
        if (op.to < 0 || op.to >= FDS) fail(E.EBADF);
        task.fds[op.to] = file;
        return String(op.to);
      }
      case "fstat":
        return this.statOf(this.fileOf(op.fd, true).node);
      case "fchdir": {
        const { node } = this.fileOf(op.fd, true);
        if (!S.isDir(node.mode)) fail(E.ENOTDIR);
        this.need(node, X);
        task.cwd = node;
        return "0";
      }
      case "fsync":
        this.fileOf(op.fd);
        return "0";
      case "read":
        return this.read(op.fd, op.n);
      case "pread":
        return this.read(op.fd, op.n, op.at);
      case "write":
        return String(this.write(op.fd, op.n, op.seed));
      case "pwrite":
        return String(this.write(op.fd, op.n, op.seed, op.at));
      case "lseek":
        return String(this.lseek(op.fd, op.at, op.whence));
      case "ftruncate": {
        if (op.size < 0) fail(E.EINVAL);
        const file = this.fileOf(op.fd);
        if (!S.isReg(file.node.mode) || !this.canWrite(file)) fail(E.EINVAL);
        this.resize(file.node, op.size);
        return "0";
      }
      case "fchmod":
        return String(this.chmod(this.fileOf(op.fd).node, op.mode));
      case "fallocate":
        return String(this.fallocate(op.fd, op.mode, op.at, op.n));
      case "truncate": {
        if (op.size < 0) fail(E.EINVAL);
        const node = this.find(op.path, true);
        if (S.isDir(node.mode)) fail(E.EISDIR);
        if (!S.isReg(node.mode)) fail(E.EINVAL);
        this.need(node, W);
        this.resize(node, op.size);
        return "0";
      }
      case "mkdir": {
        const { dir, name } = this.toNew(op.path, true);
        this.needCreate(dir);
        this.room();
        this.add(dir, name, this.born(dir, S.S_IFDIR, op.mode & 0o1777));
        return "0";
      }
      case "mknod": {
        const type = op.mode & S.S_IFMT;
        if (type === S.S_IFDIR) fail(E.EPERM);
        if (![0, S.S_IFREG, S.S_IFCHR, S.S_IFBLK, S.S_IFIFO, S.S_IFSOCK].includes(type)) fail(E.EINVAL);
        const { dir, name } = this.toNew(op.path, false);
        this.needCreate(dir);
        const device = type === S.S_IFCHR || type === S.S_IFBLK;
        if (device && task.uid !== 0 && !(type === S.S_IFCHR && op.rdev === 0)) fail(E.EPERM);
        this.room();
        this.add(dir, name, this.born(dir, type === 0 ? S.S_IFREG : type, op.mode & 0o7777, device ? op.rdev : 0));
        return "0";
      }
      case "symlink": {
        this.names(op.target);
        const { dir, name } = this.toNew(op.path, false);
        this.needCreate(dir);
        this.room();
        const node = this.born(dir, S.S_IFLNK, 0);
        node.data = encoder.encode(op.target);
        this.add(dir, name, node);
        return "0";
      }
      case "link":
        return String(this.link(op.path, op.to, op.flags));
      case "rename":
        return String(this.rename(op.path, op.to, op.flags));
      case "unlink":
        return String(this.unlink(op.path, op.flags));
      case "stat":
        return this.statOf(this.find(op.path, op.flags === 0));
      case "readlink": {
        const node = this.find(op.path, false);
        if (!S.isLink(node.mode)) fail(E.EINVAL);
        return `${node.data.length} ${this.target(node)}`;
      }
      case "chdir": {
        const node = this.find(op.path, true);
        if (!S.isDir(node.mode)) fail(E.ENOTDIR);
        this.need(node, X);
        task.cwd = node;
        return "0";
      }
      case "list":
        return this.list(op.path);
      case "getcwd": {
        const path = this.cwdPath();
        return `${bytesOf(path)} ${path}`;
      }
      case "umask": {
        const old = task.umask;
        task.umask = op.mode & 0o777;
        return String(old);
      }
      case "access": {
        if (op.want > 7) fail(E.EINVAL);
        this.need(this.find(op.path, true), op.want);
        return "0";
      }
      case "chmod":
        return String(this.chmod(this.find(op.path, true), op.mode));
      case "chown":
        return String(this.chown(this.find(op.path, true), op.uid, op.gid));
      case "setxattr":
        return String(this.setxattr(op.path, op.name, op.n, op.flags));
      case "getxattr": {
        const value = this.xattrNode(op.path, op.name, false).xattrs.get(op.name);
        return value === undefined ? fail(E.ENODATA) : `${value.length} ${digest(value)}`;
      }
      case "removexattr":
        if (!this.xattrNode(op.path, op.name, true).xattrs.delete(op.name)) fail(E.ENODATA);
        return "0";
      default: {
        const all = [...this.find(op.path, true).xattrs.keys()];
        const names = all.filter((name) => task.uid === 0 || !name.startsWith("trusted."));
        return `${bytesOf(names.join("\0")) + (names.length > 0 ? 1 : 0)} ${names.sort().join(" ")}`;
      }
    }
  }
}
