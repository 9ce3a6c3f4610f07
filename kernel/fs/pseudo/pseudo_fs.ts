/**
 * A file system of files whose text a function gives: /proc and /sys (Linux: kernfs, seq_file). The tree is a list of
 * nodes made by whoever wires the machine; nothing can be made, removed or renamed through it.
 *
 * - new PseudoFs(type, nodes, now)
 * - a node's `text()` is asked at each read, and the bytes from the offset on are given: a reader in several steps may see
 *   two moments. An errno from it ends the read, EIOCBQUEUED among them
 * - a node's `write(bytes)` takes each write as a whole, wherever the position is; a node without it cannot be written
 *
 * A file's size is 0, as in Linux: readers read until nothing comes. The tree is fixed, so inode numbers are: 1 the root,
 * then in the order of the list, directories where they are first named.
 */
import { EACCES, EINVAL, EIO, ENODATA, ENOENT, ENXIO, EOPNOTSUPP, EPERM, isErr } from "../../abi/errno.ts";
import { dirType, isDir, NAME_MAX, S_IFDIR, S_IFREG } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { type EmitEntry, EOF_COOKIE, type FileSystem, type Stat, type StatFs } from "../vfs/file_system.ts";

export interface PseudoNode {
  /** From the root, without a leading slash: "sys/kernel/ostype". */
  readonly path: string;
  readonly text: () => string | Errno;
  /** Bytes taken, or an errno. */
  readonly write?: (text: string) => number | Errno;
}

interface Inode {
  readonly name: Uint8Array;
  readonly parent: number;
  readonly node: PseudoNode | undefined;
  readonly children: number[];
}

const ROOT = 1;
const BLOCK = 4096;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const DOT = encoder.encode(".");
const DOTDOT = encoder.encode("..");
const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at]);

export class PseudoFs implements FileSystem {
  readonly type: string;
  readonly readOnly = false;
  /** Row = inode number; row 0 is unused. */
  private readonly inodes: Inode[];
  /** Since when it is there: all its times, seconds since 1970. */
  private readonly bornSec: number;

  constructor(type: string, nodes: readonly PseudoNode[], bornSec: number) {
    this.type = type;
    this.bornSec = bornSec;
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
  }

  private add(parent: number, name: Uint8Array, node: PseudoNode | undefined): number {
    const ino = this.inodes.push({ name, parent, node, children: [] }) - 1;
    this.at(parent).children.push(ino);
    return ino;
  }

  private at(ino: number): Inode {
    return this.inodes[ino]!;
  }

  private modeOf(ino: number): number {
    const { node } = this.at(ino);
    if (node === undefined) return S_IFDIR | 0o555;
    return S_IFREG | (node.write === undefined ? 0o444 : 0o644);
  }

  root(): number {
    return ROOT;
  }

  statfs(out: StatFs): 0 {
    const nothing = { blocks: 0, blocksFree: 0, blocksAvailable: 0, files: 0, filesFree: 0 };
    Object.assign(out, nothing, { blockSize: BLOCK, nameMax: NAME_MAX });
    return 0;
  }

  getattr(ino: number, out: Stat): 0 | Errno {
    if (ino < ROOT || ino >= this.inodes.length) return ENOENT;
    const subdirs = this.at(ino).children.filter((child) => this.at(child).node === undefined).length;
    out.ino = ino;
    out.mode = this.modeOf(ino);
    out.links = isDir(out.mode) ? 2 + subdirs : 1;
    out.uid = out.gid = out.rdev = out.size = out.sectors = out.generation = 0;
    out.blockSize = BLOCK;
    out.atimeSec = out.mtimeSec = out.ctimeSec = this.bornSec;
    out.atimeNsec = out.mtimeNsec = out.ctimeNsec = 0;
    return 0;
  }

  setattr(): Errno {
    return EPERM;
  }

  lookup(dir: number, name: Uint8Array): number | Errno {
    return this.at(dir).children.find((ino) => same(this.at(ino).name, name)) ?? ENOENT;
  }

  parent(dir: number): number {
    return this.at(dir).parent;
  }

  /** Cookie: 0 ".", 1 "..", then 2 + which child. */
  readdir(dir: number, cookie: number, emit: EmitEntry): number {
    const { children, parent } = this.at(dir);
    const all = [[DOT, dir], [DOTDOT, parent], ...children.map((ino) => [this.at(ino).name, ino] as const)] as const;
    for (let at = cookie; at < all.length; at++) {
      const [name, ino] = all[at]!;
      if (!emit(name, ino, dirType(this.modeOf(ino)), at + 1)) return at;
    }
    return EOF_COOKIE;
  }

  readlink(): Errno {
    return EINVAL;
  }

  create(): Errno {
    return EACCES;
  }

  mkdir(): Errno {
    return EPERM;
  }

  symlink(): Errno {
    return EPERM;
  }

  link(): Errno {
    return EPERM;
  }

  unlink(): Errno {
    return EPERM;
  }

  rmdir(): Errno {
    return EPERM;
  }

  rename(): Errno {
    return EPERM;
  }

  hold(): 0 {
    return 0;
  }

  release(): 0 {
    return 0;
  }

  read(ino: number, offset: number, into: Uint8Array): number | Errno {
    const text = this.at(ino).node!.text();
    if (typeof text === "number") return text;
    const part = encoder.encode(text).subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  write(ino: number, _offset: number, from: Uint8Array): number | Errno {
    const { write } = this.at(ino).node!;
    return write === undefined ? EIO : write(decoder.decode(from.slice()));
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

  sync(): 0 {
    return 0;
  }

  getxattr(): Errno {
    return ENODATA;
  }

  setxattr(): Errno {
    return EOPNOTSUPP;
  }

  removexattr(): Errno {
    return EOPNOTSUPP;
  }

  listxattr(): number {
    return 0;
  }

  waitingOn(): number {
    return 0;
  }

  step(): boolean {
    return false;
  }
}
