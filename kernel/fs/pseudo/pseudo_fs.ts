/**
 * A file system of files whose text a function gives: /proc and /sys (Linux: kernfs, seq_file). The tree is a list of
 * nodes made by whoever wires the machine; nothing can be made, removed or renamed through it.
 *
 * - new PseudoFs(type, nodes, bornSec, live)
 * - a node's `text()` is asked at each read, and the bytes from the offset on are given: a reader in several steps may see
 *   two moments. An errno from it ends the read, EIOCBQUEUED among them
 * - a node with `link` is a symbolic link to what that says; one with `device` is a character device, which is asked for
 *   and given bytes, wherever the position is
 * - a node's `write(bytes)` takes each write as a whole, wherever the position is; a node without it cannot be written
 *
 * A file's size is 0, as in Linux: readers read until nothing comes. Inode numbers of the fixed tree: 1 the root, then in
 * the order of the list, directories where they are first named.
 *
 * `live` are directories of the root that come and go by themselves, each named by a number (/proc/PID). They hold files
 * only. Nothing is kept of them: an inode number says which, and whoever asks is answered by what is there now.
 *
 *   inode of directory `id`   LIVE + id * LIVE_FILES_MAX      its file n   that + 1 + n
 *
 * One that has ended meanwhile, as in Linux: ENOENT for its names; ESRCH for reads and writes of files that are still
 * open; their attributes can be asked for.
 */
import { EINVAL, EIO, ENOENT, ENOTDIR, ENXIO, EOPNOTSUPP, EPERM, ESRCH, isErr } from "../../abi/errno.ts";
import { dirType, isDir, NAME_MAX, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { FixedFs } from "../fixed_fs.ts";
import { type EmitEntry, EOF_COOKIE, type FileSystem, type Stat } from "../vfs/file_system.ts";

export interface PseudoDevice {
  readonly rdev: number;
  readonly read: (into: Uint8Array) => number | Errno;
  readonly write: (from: Uint8Array) => number | Errno;
}

/** A file with `text`, a `link`, or a `device`. */
export interface PseudoNode {
  /** From the root, without a leading slash: "sys/kernel/ostype". */
  readonly path: string;
  readonly text?: () => string | Errno;
  readonly link?: () => string | Errno;
  readonly device?: PseudoDevice;
  /** Bytes taken, or an errno. */
  readonly write?: (text: string) => number | Errno;
  /** Permissions; 0444, or 0644 with `write`, when left out. */
  readonly permissions?: number;
}

/** Directories that come and go, named by numbers from 1 to LIVE_ID_MAX. */
export interface LiveDirs {
  /** Those that are there, in any order. */
  list(): readonly number[];
  /** The files of one: for the same number always the same names in the same order. Undefined: it is not there. */
  files(id: number): readonly PseudoNode[] | undefined;
  /** Number of the one whose call is under way; 0: none of them. */
  self?(): number;
}

interface Inode {
  readonly name: Uint8Array;
  readonly parent: number;
  readonly node: PseudoNode | undefined;
  readonly children: number[];
}

const ROOT = 1;
/** First inode number of live directories, and how many of their numbers each has. */
const LIVE = 2 ** 20;
const LIVE_FILES_MAX = 64;
const LIVE_ID_MAX = 2 ** 31 - 1;
const BLOCK = 4096;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const DOT = encoder.encode(".");
const DOTDOT = encoder.encode("..");
const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at]);

export class PseudoFs extends FixedFs implements FileSystem {
  readonly type: string;
  readonly readOnly = false;
  readonly devices = true;
  /** Row = inode number; row 0 is unused. */
  private readonly inodes: Inode[];
  /** Since when it is there: all its times, seconds since 1970. */
  private readonly bornSec: number;
  private readonly live: LiveDirs | undefined;
  /** Names of live directories are not to be remembered. */
  readonly uncached: boolean;

  constructor(type: string, nodes: readonly PseudoNode[], bornSec: number, live?: LiveDirs) {
    super();
    this.type = type;
    this.bornSec = bornSec;
    this.live = live;
    this.uncached = live !== undefined;
    const root = { name: encoder.encode(""), parent: ROOT, node: undefined, children: [] };
    this.inodes = [root, root];
    for (const node of nodes) {
      const names = node.path.split("/").map((name) => encoder.encode(name));
      assert(
        names.every((name) => name.length > 0 && name.length <= NAME_MAX),
        "PseudoFs: a path without a leading slash",
      );
      let dir = ROOT;
      for (const [n, name] of names.entries()) {
        const last = n === names.length - 1;
        const there = this.lookup(dir, name);
        assert(isErr(there) || (!last && this.at(there).node === undefined), "PseudoFs: two nodes of one path");
        dir = isErr(there) ? this.add(dir, name, last ? node : undefined) : there;
      }
    }
    assert(this.inodes.length <= LIVE, "PseudoFs: too many nodes");
  }

  private add(parent: number, name: Uint8Array, node: PseudoNode | undefined): number {
    const ino = this.inodes.push({ name, parent, node, children: [] }) - 1;
    this.at(parent).children.push(ino);
    return ino;
  }

  private at(ino: number): Inode {
    return this.inodes[ino]!;
  }

  /** The files of the live directory that an inode is or is in. */
  private liveFiles(ino: number): readonly PseudoNode[] | undefined {
    const files = this.live?.files(Math.floor((ino - LIVE) / LIVE_FILES_MAX));
    assert(files === undefined || files.length < LIVE_FILES_MAX, "PseudoFs: a live directory with too many files");
    return files;
  }

  /** A file's node; undefined of a directory; ENOENT of what is not there. */
  private nodeOf(ino: number): PseudoNode | undefined | Errno {
    if (ino < LIVE) return ino >= ROOT && ino < this.inodes.length ? this.at(ino).node : ENOENT;
    const files = this.liveFiles(ino);
    if (files === undefined) return ENOENT;
    const n = (ino - LIVE) % LIVE_FILES_MAX;
    return n === 0 ? undefined : (files[n - 1] ?? ENOENT);
  }

  private modeOf(node: PseudoNode | undefined): number {
    if (node === undefined) return S_IFDIR | 0o555;
    if (node.link !== undefined) return S_IFLNK | 0o777;
    if (node.device !== undefined) return S_IFCHR | (node.permissions ?? 0o666);
    return S_IFREG | (node.permissions ?? (node.write === undefined ? 0o444 : 0o644));
  }

  private liveIds(): number[] {
    return [...(this.live?.list() ?? [])].sort((a, b) => a - b);
  }

  root(): number {
    return ROOT;
  }

  getattr(ino: number, out: Stat): 0 | Errno {
    const node = this.nodeOf(ino);
    const ended = typeof node === "number";
    if (ended && (ino < LIVE || this.live === undefined)) return ENOENT;
    const isFile = ino >= LIVE && (ino - LIVE) % LIVE_FILES_MAX !== 0;
    out.ino = ino;
    out.mode = ended ? (isFile ? S_IFREG | 0o444 : S_IFDIR | 0o555) : this.modeOf(node);
    out.links = isDir(out.mode) ? 2 + this.subdirs(ino) : 1;
    out.uid = out.gid = out.rdev = out.size = out.sectors = out.generation = 0;
    out.blockSize = BLOCK;
    if (typeof node === "object" && node.device !== undefined) out.rdev = node.device.rdev;
    out.atimeSec = out.mtimeSec = out.ctimeSec = this.bornSec;
    out.atimeNsec = out.mtimeNsec = out.ctimeNsec = 0;
    return 0;
  }

  private subdirs(dir: number): number {
    if (dir >= LIVE) return 0;
    const fixed = this.at(dir).children.filter((child) => this.at(child).node === undefined).length;
    return fixed + (dir === ROOT ? (this.live?.list().length ?? 0) : 0);
  }

  setattr(): Errno {
    return EPERM;
  }

  lookup(dir: number, name: Uint8Array): number | Errno {
    if (dir >= LIVE) {
      if ((dir - LIVE) % LIVE_FILES_MAX !== 0) return ENOTDIR;
      const text = decoder.decode(name.slice());
      const n = this.liveFiles(dir)?.findIndex(({ path }) => path === text) ?? -1;
      return n < 0 ? ENOENT : dir + 1 + n;
    }
    const fixed = this.at(dir).children.find((ino) => same(this.at(ino).name, name));
    return fixed ?? (dir === ROOT ? this.lookupLive(decoder.decode(name.slice())) : ENOENT);
  }

  private lookupLive(name: string): number | Errno {
    const id = Number(name);
    if (!/^[1-9]\d*$/.test(name) || id > LIVE_ID_MAX) return ENOENT;
    return this.live?.files(id) === undefined ? ENOENT : LIVE + id * LIVE_FILES_MAX;
  }

  parent(dir: number): number {
    return dir >= LIVE ? ROOT : this.at(dir).parent;
  }

  /** Cookie: 0 ".", 1 "..", then 2 + which child; in the root then 2 + children + the number of a live directory. */
  readdir(dir: number, cookie: number, emit: EmitEntry): number | Errno {
    const all: [name: Uint8Array, ino: number][] = [
      [DOT, dir],
      [DOTDOT, this.parent(dir)],
    ];
    if (dir >= LIVE) {
      const files = this.liveFiles(dir);
      if (files === undefined) return ENOENT;
      for (const [n, { path }] of files.entries()) all.push([encoder.encode(path), dir + 1 + n]);
    } else for (const ino of this.at(dir).children) all.push([this.at(ino).name, ino]);
    for (let at = cookie; at < all.length; at++) {
      const [name, ino] = all[at]!;
      const node = this.nodeOf(ino);
      if (typeof node !== "number" && !emit(name, ino, dirType(this.modeOf(node)), at + 1)) return at;
    }
    if (dir !== ROOT) return EOF_COOKIE;
    for (const id of this.liveIds()) {
      const at = all.length + id;
      if (at < cookie) continue;
      const name = encoder.encode(`${id}`);
      if (!emit(name, LIVE + id * LIVE_FILES_MAX, dirType(this.modeOf(undefined)), at + 1)) return at;
    }
    return EOF_COOKIE;
  }

  hold(): 0 {
    return 0;
  }

  release(): 0 {
    return 0;
  }

  override readlink(ino: number, into: Uint8Array): number | Errno {
    const node = this.nodeOf(ino);
    if (typeof node === "number") return node;
    if (node?.link === undefined) return EINVAL;
    const target = node.link();
    return typeof target === "number" ? target : encoder.encodeInto(target, into).written;
  }

  /** The node of a file that is or was there: ESRCH when its directory has ended. */
  private open(ino: number): PseudoNode | Errno {
    const node = this.nodeOf(ino);
    if (node === ENOENT) return ESRCH;
    assert(node !== undefined, "PseudoFs: a directory is no file");
    return node;
  }

  read(ino: number, offset: number, into: Uint8Array): number | Errno {
    const node = this.open(ino);
    if (typeof node === "number") return node;
    if (node.device !== undefined) return node.device.read(into);
    const text = node.text!();
    if (typeof text === "number") return text;
    const part = encoder.encode(text).subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  write(ino: number, _offset: number, from: Uint8Array): number | Errno {
    const node = this.open(ino);
    if (typeof node === "number") return node;
    if (node.device !== undefined) return node.device.write(from);
    // What is no UTF-8 is longer as text.
    return node.write === undefined ? EIO : Math.min(from.length, node.write(decoder.decode(from.slice())));
  }

  /** O_TRUNC comes with every `echo x > file` and does nothing. */
  truncate(): 0 {
    return 0;
  }

  fallocate(): Errno {
    return EOPNOTSUPP;
  }

  seek(): Errno {
    return ENXIO;
  }

  fsync(): 0 {
    return 0;
  }
}
