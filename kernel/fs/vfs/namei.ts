/**
 * The path walk (Linux: fs/namei.c). A Walk stands at a place, an inode of a mount, with its attributes; a path is text
 * that moves it. Nothing is held on the way: a walk that has to wait is given up and made again from its start.
 *
 *   start(task, dirfd, path)     at the root or where the path is relative to
 *   toLast()                     walks all but the last component and says what that is: name, kind, slash
 *   child()                      the inode the last component names, symbolic link or not; `there` are its attributes
 *   find(follow)                 the whole walk
 *
 *   "/a/b//c/"       at /a/b, name "c", slash true
 *   "/", "a/.", ".." kind ROOT, DOT, DOTDOT: names that nothing can be made or removed under
 *
 * Text still to be walked is `text` from `at` on, and behind a link's target the `rest` of what named the link. A link's
 * target is walked from the directory that holds the link. 40 links at most (ELOOP). A directory without links is
 * removed: nothing is in it, not even "..".
 */
import { EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, isErr } from "../../abi/errno.ts";
import { AT_FDCWD, X_OK } from "../../abi/fcntl.ts";
import { SYMLINKS_MAX } from "../../abi/limits.ts";
import { isDir, isLink, NAME_MAX, PATH_MAX } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { NOT_THERE, UNKNOWN } from "./dcache.ts";
import type { Stat } from "./file_system.ts";
import { allows, mayFollow } from "./permission.ts";
import { type Cred, FILE, MOUNT, newStat, TASK, type VfsState } from "./state.ts";

/** A path: text in UTF-8, or bytes. */
export type Path = string | Uint8Array;

export const Kind = { Norm: 0, Root: 1, Dot: 2, DotDot: 3 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

const SLASH = 0x2f;
const DOT = 0x2e;
const encoder = new TextEncoder();
const NOTHING: Uint8Array = new Uint8Array(0);

export const pathBytes = (path: Path): Uint8Array => (typeof path === "string" ? encoder.encode(path) : path);

/** 0, or why it is no path at all. A caller that takes C strings ends them at the NUL. */
export function checkPath(text: Uint8Array): 0 | Errno {
  if (text.length === 0) return ENOENT;
  if (text.length >= PATH_MAX) return ENAMETOOLONG;
  return text.includes(0) ? EINVAL : 0;
}

function kindOf(name: Uint8Array): Kind {
  if (name.length > 2 || name[0] !== DOT) return Kind.Norm;
  if (name.length === 1) return Kind.Dot;
  return name[1] === DOT ? Kind.DotDot : Kind.Norm;
}

export class Walk {
  mount = 0;
  ino = 0;
  /** Of the place. */
  stat: Stat = newStat();
  /** After child(): the inode found, and its attributes. */
  childIno = 0;
  there: Stat = newStat();
  name: Uint8Array = NOTHING;
  kind: Kind = Kind.Root;
  /** Slashes follow the last component: it is followed, and must be a directory. */
  slash = false;
  readonly cred: Cred = { uid: 0, gid: 0, groups: [] };
  private readonly v: VfsState;
  private text: Uint8Array = NOTHING;
  private at = 0;
  private rest: Uint8Array[] = [];
  private links = 0;
  /** A link's target, as it is read. */
  readonly target = new Uint8Array(PATH_MAX);

  constructor(v: VfsState) {
    this.v = v;
  }

  start(task: number, dirfd: number, path: Uint8Array): 0 | Errno {
    this.v.credOf(task, this.cred);
    this.rest = [];
    this.links = 0;
    this.slash = false;
    const wrong = checkPath(path);
    if (wrong !== 0) return wrong;
    this.text = path;
    this.at = 0;
    if (path[0] === SLASH) return this.toRoot();
    const placed = this.toDirfd(task, dirfd);
    if (placed !== 0) return placed;
    return isDir(this.stat.mode) ? 0 : ENOTDIR;
  }

  /** Stands at a descriptor's inode, or the task's directory. */
  toDirfd(task: number, dirfd: number): 0 | Errno {
    const { v } = this;
    v.credOf(task, this.cred);
    if (dirfd === AT_FDCWD) return this.standAt(v.taskGet(task, TASK.cwdMount), v.taskGet(task, TASK.cwdIno));
    const file = v.fileOf(task, dirfd, true);
    if (isErr(file)) return file;
    return this.standAt(v.fileGet(file, FILE.mount), v.fileGet(file, FILE.ino));
  }

  standAt(mount: number, ino: number): 0 | Errno {
    this.mount = mount;
    this.ino = ino;
    return this.v.fsOf(mount).getattr(ino, this.stat);
  }

  /** To the mount on top of where it stands, if it is covered. */
  private across(mount: number, ino: number): 0 | Errno {
    const { v } = this;
    let by = v.coverOf(mount, ino);
    if (by < 0) return 0;
    let top = by;
    while ((by = v.coverOf(top, v.mountGet(top, MOUNT.root))) >= 0) top = by;
    return this.standAt(top, v.mountGet(top, MOUNT.root));
  }

  private toRoot(): 0 | Errno {
    const root = this.v.mountGet(0, MOUNT.root);
    return this.v.coverOf(0, root) >= 0 ? this.across(0, root) : this.standAt(0, root);
  }

  toLast(): 0 | Errno {
    for (;;) {
      while (this.text[this.at] === SLASH) this.at++;
      if (this.at >= this.text.length) {
        const before = this.rest.pop();
        if (before === undefined) {
          this.kind = Kind.Root;
          return 0;
        }
        this.text = before;
        this.at = 0;
        continue;
      }
      if (!allows(this.cred, this.stat, X_OK)) return EACCES;
      let end = this.at;
      while (end < this.text.length && this.text[end] !== SLASH) end++;
      this.name = this.text.subarray(this.at, end);
      this.kind = kindOf(this.name);
      this.at = end;
      while (this.text[this.at] === SLASH) this.at++;
      if (this.at >= this.text.length && this.rest.length === 0) {
        this.slash ||= this.at > end;
        return 0;
      }
      const stepped = this.stepOver();
      if (stepped !== 0) return stepped;
    }
  }

  /** A component that others follow: it leads to a directory. */
  private stepOver(): 0 | Errno {
    if (this.kind === Kind.Dot) return 0;
    if (this.kind === Kind.DotDot) return this.up();
    const found = this.child();
    if (found !== 0) return found;
    if (isLink(this.there.mode)) return this.enterLink();
    const entered = this.enter();
    if (entered !== 0) return entered;
    return isDir(this.stat.mode) ? 0 : ENOTDIR;
  }

  /** Looks the last component up where it stands. */
  child(): 0 | Errno {
    const { v, mount, ino, name } = this;
    if (name.length > NAME_MAX) return ENAMETOOLONG;
    if (this.stat.links === 0) return ENOENT;
    const fs = v.fsOf(mount);
    const index = v.mountGet(mount, MOUNT.fs);
    let child = fs.uncached === true ? UNKNOWN : v.dcache.find(index, ino, name);
    if (child === UNKNOWN) {
      child = fs.lookup(ino, name);
      if (child !== ENOENT && isErr(child)) return child;
      if (isErr(child)) child = NOT_THERE;
      if (fs.uncached !== true) v.dcache.put(index, ino, name, child);
    }
    if (child === NOT_THERE) return ENOENT;
    this.childIno = child;
    return fs.getattr(child, this.there);
  }

  /** Moves to what child() found, and to what is mounted there. */
  enter(): 0 | Errno {
    [this.stat, this.there] = [this.there, this.stat];
    this.ino = this.childIno;
    return this.across(this.mount, this.ino);
  }

  /** What child() found is a link: its target is walked next, from here. */
  enterLink(): 0 | Errno {
    if (++this.links > SYMLINKS_MAX) return ELOOP;
    const length = this.v.fsOf(this.mount).readlink(this.childIno, this.target);
    if (isErr(length)) return length;
    if (length === 0) return ENOENT;
    if (this.at < this.text.length) this.rest.push(this.text.subarray(this.at));
    this.text = this.target.slice(0, length);
    this.at = 0;
    return this.text[0] === SLASH ? this.toRoot() : 0;
  }

  /** "..": out of a mount to where it is mounted; the root is its own. */
  up(): 0 | Errno {
    const { v } = this;
    let { mount, ino } = this;
    while (ino === v.mountGet(mount, MOUNT.root)) {
      if (mount === 0) return this.toRoot();
      ino = v.mountGet(mount, MOUNT.onIno);
      mount = v.mountGet(mount, MOUNT.parent);
    }
    if (mount === this.mount && this.stat.links === 0) return ENOENT;
    const parent = v.fsOf(mount).parent(ino);
    if (isErr(parent)) return parent;
    const moved = this.standAt(mount, parent);
    return moved === 0 ? this.across(mount, parent) : moved;
  }

  /** After toLast(): the rest of the walk. */
  finish(follow: boolean): 0 | Errno {
    for (;;) {
      if (this.kind === Kind.DotDot) return this.up();
      if (this.kind !== Kind.Norm) return 0;
      const found = this.child();
      if (found !== 0) return found;
      if (!isLink(this.there.mode) || !(follow || this.slash)) break;
      const linked = mayFollow(this.v, this.cred, this.stat, this.there) || this.enterLink() || this.toLast();
      if (linked !== 0) return linked;
    }
    const entered = this.enter();
    if (entered !== 0) return entered;
    return this.slash && !isDir(this.stat.mode) ? ENOTDIR : 0;
  }

  find(follow: boolean): 0 | Errno {
    return this.toLast() || this.finish(follow);
  }
}
