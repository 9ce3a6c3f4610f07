/**
 * Extended attributes of a tmpfs: the second fork of an inode is a row of records, newest last.
 *
 *   u16 length of the name   u32 length of the value   name   value
 *
 * A change writes the fork anew, when there are pages for it. They are few and short, and nobody waits for them.
 */
import { EEXIST, ENODATA, ENOSPC, ERANGE } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { XATTR_CREATE, XATTR_REPLACE } from "../vfs/file_system.ts";
import { dropPages, readFork, writeFork } from "./pages.ts";
import { FORK_PAGES, INODE, type TmpfsState } from "./state.ts";

const HEAD = 6;

interface Attr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

function attrsOf(fs: TmpfsState, ino: number): Attr[] {
  const fork = new Uint8Array(fs.get(ino, INODE.xattrBytes));
  readFork(fs, ino, FORK_PAGES, 0, fork);
  const view = new DataView(fork.buffer);
  const attrs: Attr[] = [];
  for (let at = 0; at < fork.length;) {
    const value = at + HEAD + le16(view, at);
    const end = value + le32(view, at + 2);
    attrs.push({ name: fork.subarray(at + HEAD, value), value: fork.subarray(value, end) });
    at = end;
  }
  return attrs;
}

const bytesOf = (attrs: readonly Attr[]): number =>
  attrs.reduce((sum, { name, value }) => sum + HEAD + name.length + value.length, 0);

function store(fs: TmpfsState, ino: number, attrs: readonly Attr[]): 0 | Errno {
  const fork = new Uint8Array(bytesOf(attrs));
  const pagesNow = Math.ceil(fs.get(ino, INODE.xattrBytes) / PAGE_SIZE);
  const pages = Math.ceil(fork.length / PAGE_SIZE);
  if (pages - pagesNow > fs.pagesFree) return ENOSPC;
  const view = new DataView(fork.buffer);
  let at = 0;
  for (const { name, value } of attrs) {
    setLe16(view, at, name.length);
    setLe32(view, at + 2, value.length);
    fork.set(name, at + HEAD);
    fork.set(value, at + HEAD + name.length);
    at += HEAD + name.length + value.length;
  }
  dropPages(fs, ino, FORK_PAGES + pages, 2 * FORK_PAGES);
  writeFork(fs, ino, FORK_PAGES, 0, fork);
  fs.set(ino, INODE.xattrBytes, fork.length);
  fs.stamp(ino, INODE.ctimeSec);
  return 0;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at]);
const encoder = new TextEncoder();

export function getXattr(fs: TmpfsState, ino: number, name: string, into: Uint8Array): number | Errno {
  const text = encoder.encode(name);
  const attr = attrsOf(fs, ino).find((a) => same(a.name, text));
  if (attr === undefined) return ENODATA;
  if (into.length > 0) {
    if (into.length < attr.value.length) return ERANGE;
    into.set(attr.value);
  }
  return attr.value.length;
}

export function setXattr(fs: TmpfsState, ino: number, name: string, value: Uint8Array, flags: number): 0 | Errno {
  const text = encoder.encode(name);
  const attrs = attrsOf(fs, ino);
  const others = attrs.filter((a) => !same(a.name, text));
  if (others.length < attrs.length && (flags & XATTR_CREATE) !== 0) return EEXIST;
  if (others.length === attrs.length && (flags & XATTR_REPLACE) !== 0) return ENODATA;
  return store(fs, ino, [...others, { name: text, value }]);
}

export function removeXattr(fs: TmpfsState, ino: number, name: string): 0 | Errno {
  const text = encoder.encode(name);
  const attrs = attrsOf(fs, ino);
  const others = attrs.filter((a) => !same(a.name, text));
  return others.length === attrs.length ? ENODATA : store(fs, ino, others);
}

export function listXattr(fs: TmpfsState, ino: number, into: Uint8Array): number | Errno {
  const attrs = attrsOf(fs, ino);
  const length = attrs.reduce((sum, { name }) => sum + name.length + 1, 0);
  if (into.length === 0) return length;
  if (into.length < length) return ERANGE;
  let at = 0;
  for (const { name } of attrs) {
    into.set(name, at);
    into[at + name.length] = 0;
    at += name.length + 1;
  }
  return length;
}
