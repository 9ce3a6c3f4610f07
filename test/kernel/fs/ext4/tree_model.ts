/**
 * The obvious model of a tree of names: maps. What namei, rename and attributes do must be what it says, errno included.
 * Names and values are text, one letter a byte. Numbers of inodes are the file system's: the model is told them.
 *
 * - apply(rig, model, step)      one step on both; throws when they disagree
 * - expectSame(rig, model)       the whole tree, read with readDir, lookup, getattr, readLink, and the attributes
 */
import { expect } from "vitest";
import { EEXIST, EINVAL, EISDIR, ENODATA, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY } from "../../../../kernel/abi/errno.ts";
import { lookup } from "../../../../kernel/fs/ext4/dir.ts";
import { readLink } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { getattr } from "../../../../kernel/fs/ext4/inode_edit.ts";
import {
  INCOMPAT,
  INO_ROOT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../../../../kernel/fs/ext4/layout.ts";
import {
  dataCredits,
  ext4Create,
  ext4Link,
  ext4Mkdir,
  ext4Rmdir,
  ext4Symlink,
  ext4Unlink,
  linkCredits,
  makeCredits,
  renameCredits,
  symlinkCredits,
  unlinkCredits,
} from "../../../../kernel/fs/ext4/namei.ts";
import { EVICT_CREDITS, evictInode } from "../../../../kernel/fs/ext4/orphan_edit.ts";
import { UNMAP_CREDITS_MIN } from "../../../../kernel/fs/ext4/map_edit.ts";
import { readDir } from "../../../../kernel/fs/ext4/read_dir.ts";
import { ext4Rename } from "../../../../kernel/fs/ext4/rename.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "../../../../kernel/fs/ext4/xattr_edit.ts";
import {
  EOF_COOKIE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "../../../../kernel/fs/vfs/file_system.ts";
import type { Stat } from "../../../../kernel/fs/vfs/file_system.ts";
import { colliding } from "./rig.ts";
import type { Rig } from "./rig.ts";

export const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
export const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

export interface Node {
  readonly mode: number;
  readonly rdev: number;
  readonly target: string;
  readonly names: Map<string, number>;
  readonly attributes: Map<string, string>;
  links: number;
}
export type Model = Map<number, Node>;

/** Plain numbers: which of what there is. */
export interface Step {
  readonly do:
    | "create"
    | "mkdir"
    | "symlink"
    | "link"
    | "unlink"
    | "rmdir"
    | "rename"
    | "setxattr"
    | "removexattr"
    | "burst"
    | "clear";
  readonly dir: number;
  readonly to: number;
  readonly name: number;
  readonly newName: number;
  readonly how: number;
}
/** Doubled as they should happen. */
export const STEPS: readonly Step["do"][] = [
  "create",
  "mkdir",
  "mkdir",
  "symlink",
  "link",
  "link",
  "unlink",
  "rmdir",
  "rename",
  "rename",
  "rename",
  "rename",
  "setxattr",
  "setxattr",
  "removexattr",
  "burst",
  "clear",
];

const newNode = (mode: number, links: number, target = "", rdev = 0): Node => ({
  mode,
  rdev,
  target,
  links,
  names: new Map(),
  attributes: new Map(),
});
const isDir = (node: Node): boolean => (node.mode & S_IFMT) === S_IFDIR;

/** What a new file system holds. */
export function newModel(rig: Rig): Model {
  const found = lookup(rig.image, rig.sb, inodeAt(rig.image, rig.sb, INO_ROOT), bytesOf("lost+found"));
  const root = newNode(S_IFDIR | 0o755, 3);
  root.names.set("lost+found", found);
  return new Map([
    [INO_ROOT, root],
    [found, newNode(S_IFDIR | 0o700, 2)],
  ]);
}

/** Short ones that come again, long ones, and ones of one TEA hash. */
function nameOf(n: number): string {
  const kind = n % 4;
  const which = Math.floor(n / 4) % 12;
  if (kind === 0) return textOf(colliding(which));
  if (kind === 1) return `${which}`.padEnd(1 + which * 23, "long");
  return `n${which}`;
}

/** Most of the time one that is there. */
function pick(names: readonly string[], n: number): string {
  return n % 4 !== 0 && names.length > 0 ? names[Math.floor(n / 4) % names.length]! : nameOf(Math.floor(n / 4));
}

const MODES = [S_IFREG | 0o644, S_IFIFO | 0o600, S_IFSOCK | 0o755, S_IFCHR | 0o666, S_IFBLK | 0o660];
const RDEVS = [0, 5 * 2 ** 20 + 1, 259 * 2 ** 20 + 70_000];
const ATTRIBUTES = ["user.a", "user.much longer than the others", "trusted.b", "security.capability"];
const LENGTHS = [0, 1, 8, 30, 60, 100, 400, 900, 3000];
const RENAMES = [0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT];
const OWNER = { uid: 1000, gid: 70_000 };

export function apply(rig: Rig, model: Model, step: Step): void {
  const dirs = [...model].filter(([, node]) => isDir(node)).map(([ino]) => ino);
  const dir = dirs[step.dir % dirs.length]!;
  const node = model.get(dir)!;
  const there = [...node.names.keys()];
  // What is to be made mostly is not there, and what is to go is.
  const makes = ["create", "mkdir", "symlink", "link"].includes(step.do);
  const ofDirs = there.filter((one) => isDir(model.get(node.names.get(one)!)!));
  const name = makes ? nameOf(step.name) : pick(step.do === "rmdir" && step.to % 4 !== 0 ? ofDirs : there, step.name);
  if (step.do === "burst") {
    for (let n = 0; n < 40; n++) create(rig, model, dir, `burst ${step.name} ${n}`.padEnd(n * 4, "."), step.how + n);
    return;
  }
  if (step.do === "clear") {
    for (const one of [...node.names.keys()].slice(0, 40)) unlink(rig, model, dir, one, step.how % 2 === 0);
    return;
  }
  if (step.do === "create") return create(rig, model, dir, name, step.how);
  if (step.do === "mkdir") return mkdir(rig, model, dir, name);
  if (step.do === "symlink") return symlink(rig, model, dir, name, step.how);
  if (step.do === "link") {
    const files = [...model].filter(([, one]) => !isDir(one)).map(([ino]) => ino);
    if (files.length > 0) link(rig, model, dir, name, files[step.to % files.length]!);
    return;
  }
  if (step.do === "unlink") return unlink(rig, model, dir, name, step.how % 2 === 0);
  if (step.do === "rmdir") return rmdir(rig, model, dir, name, step.how % 2 === 0);
  if (step.do === "rename") {
    const empty = emptyDirs(model);
    // Often enough a directory over an empty one.
    if (step.how % 4 === 3 && empty.length > 0 && ofDirs.length > 0) {
      const [to, newName] = empty[step.to % empty.length]!;
      return rename(rig, model, dir, pick(ofDirs, step.name), to, newName, step.newName);
    }
    const to = dirs[step.to % dirs.length]!;
    return rename(rig, model, dir, name, to, pick([...model.get(to)!.names.keys()], step.newName), step.how);
  }
  attribute(rig, model, [...model.keys()][step.to % model.size]!, step);
}

/** Where they are: directory and name. */
function emptyDirs(model: Model): [number, string][] {
  const found: [number, string][] = [];
  for (const [dir, { names }] of model)
    for (const [name, ino] of names) {
      const node = model.get(ino)!;
      if (isDir(node) && node.names.size === 0) found.push([dir, name]);
    }
  return found;
}

/** A number, or the errno the model expects; ENOSPC may always be, and then nothing happened. */
function agree(found: number, expected: number): boolean {
  if (found === ENOSPC) return false;
  expect(Math.min(found, 0)).toBe(expected);
  return expected === 0;
}

const whyNotNew = (node: Node, name: string): number => (node.names.has(name) ? EEXIST : 0);

function create(rig: Rig, model: Model, dir: number, name: string, how: number): void {
  const node = model.get(dir)!;
  const mode = MODES[how % MODES.length]!;
  const rdev = (mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK ? RDEVS[how % RDEVS.length]! : 0;
  const ino = rig.call((edit) => ext4Create(edit, dir, bytesOf(name), { ...OWNER, mode, rdev }), makeCredits(rig.sb));
  if (!agree(ino, whyNotNew(node, name))) return;
  model.set(ino, newNode(mode, 1, "", rdev));
  node.names.set(name, ino);
}

function mkdir(rig: Rig, model: Model, dir: number, name: string): void {
  const node = model.get(dir)!;
  const ino = rig.call(
    (edit) => ext4Mkdir(edit, dir, bytesOf(name), { ...OWNER, mode: S_IFDIR | 0o755 }),
    makeCredits(rig.sb),
  );
  if (!agree(ino, whyNotNew(node, name))) return;
  model.set(ino, newNode(S_IFDIR | 0o755, 2));
  node.names.set(name, ino);
  node.links++;
}

function symlink(rig: Rig, model: Model, dir: number, name: string, how: number): void {
  const node = model.get(dir)!;
  const target = "target".padEnd(1 + (how % 120), "/t");
  const mode = S_IFLNK | 0o777;
  const ino = rig.call(
    (edit) => ext4Symlink(edit, dir, bytesOf(name), { ...OWNER, mode }, bytesOf(target)),
    symlinkCredits(rig.sb),
  );
  if (!agree(ino, whyNotNew(node, name))) return;
  model.set(ino, newNode(mode, 1, target));
  node.names.set(name, ino);
}

function link(rig: Rig, model: Model, dir: number, name: string, ino: number): void {
  const [node, linked] = [model.get(dir)!, model.get(ino)!];
  const result = rig.call((edit) => ext4Link(edit, ino, dir, bytesOf(name)), linkCredits(rig.sb));
  if (!agree(result, whyNotNew(node, name))) return;
  node.names.set(name, ino);
  linked.links++;
}

/** What the call said became an orphan is evicted by further calls, in pieces. */
function evict(rig: Rig, orphan: number): void {
  if (orphan <= 0) return;
  for (let done = 0, tries = 0; done === 0; tries++) {
    expect(tries).toBeLessThan(1000);
    const credits = UNMAP_CREDITS_MIN + EVICT_CREDITS;
    done = rig.call((edit) => Number(evictInode(edit, orphan, UNMAP_CREDITS_MIN)), credits);
  }
}

function drop(model: Model, ino: number): void {
  const node = model.get(ino)!;
  node.links = isDir(node) ? 0 : node.links - 1;
  if (node.links === 0) model.delete(ino);
}

function unlink(rig: Rig, model: Model, dir: number, name: string, keep: boolean): void {
  const node = model.get(dir)!;
  const ino = node.names.get(name);
  const expected = ino === undefined ? ENOENT : isDir(model.get(ino)!) ? EISDIR : 0;
  const result = rig.call(
    (edit) => ext4Unlink(edit, dir, bytesOf(name), keep),
    keep ? unlinkCredits(rig.sb) : Infinity,
  );
  if (!agree(result, expected)) return;
  expect(result).toBe(keep && model.get(ino!)!.links === 1 ? ino : 0);
  evict(rig, result);
  node.names.delete(name);
  drop(model, ino!);
}

function rmdir(rig: Rig, model: Model, dir: number, name: string, keep: boolean): void {
  const node = model.get(dir)!;
  const ino = node.names.get(name);
  const removed = model.get(ino ?? 0);
  const expected = removed === undefined ? ENOENT : !isDir(removed) ? ENOTDIR : removed.names.size > 0 ? ENOTEMPTY : 0;
  const result = rig.call((edit) => ext4Rmdir(edit, dir, bytesOf(name), keep), keep ? unlinkCredits(rig.sb) : Infinity);
  if (!agree(result, expected)) return;
  evict(rig, result);
  node.names.delete(name);
  node.links--;
  drop(model, ino!);
}

function isWithin(model: Model, dir: number, ancestor: number): boolean {
  if (dir === ancestor) return true;
  return [...model.get(ancestor)!.names.values()].some((ino) => isDir(model.get(ino)!) && isWithin(model, dir, ino));
}

function whyNotRename(model: Model, from: number, name: string, to: number, newName: string, flags: number): number {
  const ino = model.get(from)!.names.get(name);
  const target = model.get(to)!.names.get(newName);
  if (ino === undefined) return ENOENT;
  const [node, other] = [model.get(ino)!, model.get(target ?? 0)];
  if (other !== undefined && flags === RENAME_NOREPLACE) return EEXIST;
  if (other === undefined && flags === RENAME_EXCHANGE) return ENOENT;
  if (node === other) return 0;
  if (isDir(node) && from !== to && isWithin(model, to, ino)) return EINVAL;
  if (flags === RENAME_EXCHANGE) return isDir(other!) && from !== to && isWithin(model, from, target!) ? EINVAL : 0;
  if (other === undefined) return 0;
  if (!isDir(node)) return isDir(other) ? EISDIR : 0;
  return !isDir(other) ? ENOTDIR : other.names.size > 0 ? ENOTEMPTY : 0;
}

function rename(rig: Rig, model: Model, from: number, name: string, to: number, newName: string, how: number): void {
  const flags = RENAMES[how % RENAMES.length]!;
  const keep = how % 2 === 0;
  const expected = whyNotRename(model, from, name, to, newName, flags);
  const result = rig.call(
    (edit) => ext4Rename(edit, from, bytesOf(name), to, bytesOf(newName), flags, keep),
    keep ? renameCredits(rig.sb) : Infinity,
  );
  if (!agree(result, expected)) return;
  evict(rig, result);
  const [source, sink] = [model.get(from)!, model.get(to)!];
  const ino = source.names.get(name)!;
  const target = sink.names.get(newName);
  if (ino === target) return;
  const moved = isDir(model.get(ino)!);
  if (flags === RENAME_EXCHANGE) {
    const back = isDir(model.get(target!)!);
    source.names.set(name, target!);
    sink.names.set(newName, ino);
    source.links += Number(back) - Number(moved);
    sink.links += Number(moved) - Number(back);
    return;
  }
  source.names.delete(name);
  sink.names.set(newName, ino);
  if (moved) {
    source.links--;
    if (target === undefined) sink.links++;
  }
  if (target !== undefined) drop(model, target);
  if (flags !== RENAME_WHITEOUT) return;
  const left = lookup(rig.image, rig.sb, inodeAt(rig.image, rig.sb, from), bytesOf(name));
  model.set(left, newNode(S_IFCHR, 1));
  source.names.set(name, left);
}

function attribute(rig: Rig, model: Model, ino: number, step: Step): void {
  const { attributes } = model.get(ino)!;
  const name = ATTRIBUTES[step.name % ATTRIBUTES.length]!;
  if (step.do === "removexattr") {
    const result = rig.call((edit) => removeXattr(edit, ino, name), dataCredits(rig.sb));
    if (agree(result, attributes.has(name) ? 0 : ENODATA)) attributes.delete(name);
    return;
  }
  const value = `${step.how}`.padEnd(LENGTHS[step.newName % LENGTHS.length]!, "value");
  const flags = [0, 0, XATTR_CREATE, XATTR_REPLACE][step.dir % 4]!;
  const expected =
    flags === XATTR_CREATE && attributes.has(name)
      ? EEXIST
      : flags === XATTR_REPLACE && !attributes.has(name)
        ? ENODATA
        : 0;
  if (
    agree(
      rig.call((edit) => setXattr(edit, ino, name, bytesOf(value), flags)),
      expected,
    )
  )
    attributes.set(name, value);
}

const stat = {} as Stat;

export function expectSame(rig: Rig, model: Model): void {
  const { image, sb } = rig;
  const hasTypes = (sb.incompat & INCOMPAT.filetype) !== 0;
  for (const [ino, node] of model) {
    expect(getattr(image, sb, ino, stat)).toBe(0);
    expect([ino, stat.mode, stat.links, stat.rdev]).toEqual([ino, node.mode, node.links, node.rdev]);
    expect(attributesOf(rig, ino)).toEqual(Object.fromEntries(node.attributes));
    const at = inodeAt(image, sb, ino);
    if ((node.mode & S_IFMT) === S_IFLNK) expect(textOf(readLink(image, sb, at) as Uint8Array)).toBe(node.target);
    if (!isDir(node)) continue;
    const found = new Map<string, number>();
    let count = 0;
    const end = readDir(image, sb, ino, 0, (name, child, type) => {
      count++;
      if (count > 2) found.set(textOf(name), child);
      if (count > 2 && hasTypes) expect(type).toBe(model.get(child)!.mode >> 12);
      return true;
    });
    expect(end).toBe(EOF_COOKIE);
    expect(count).toBe(node.names.size + 2);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(node.names));
    for (const [name, child] of node.names) expect(lookup(image, sb, at, bytesOf(name))).toBe(child);
  }
}

function attributesOf({ image, sb }: Rig, ino: number): Record<string, string> {
  const list = new Uint8Array(4096);
  const length = listXattr(image, sb, ino, list);
  expect(length).toBe(listXattr(image, sb, ino, new Uint8Array(0)));
  const names = textOf(list.subarray(0, length)).split("\0").slice(0, -1);
  const value = new Uint8Array(4096);
  return Object.fromEntries(
    names.map((name) => [name, textOf(value.subarray(0, getXattr(image, sb, ino, name, value)))]),
  );
}

/** A step on a file system that is damaged: it may end with any errno, and must end. */
export function attempt(rig: Rig, model: Model, step: Step): void {
  const inodes = [...model.keys()];
  const dirs = inodes.filter((ino) => isDir(model.get(ino)!));
  const dir = dirs[step.dir % dirs.length]!;
  const to = step.do === "rename" ? dirs[step.to % dirs.length]! : inodes[step.to % inodes.length]!;
  const name = bytesOf(pick([...model.get(dir)!.names.keys()], step.name));
  const newName = bytesOf(pick([...model.get(to)!.names.keys()], step.newName));
  const made = { ...OWNER, mode: S_IFREG | 0o644 };
  const isADir = (ino: number): boolean =>
    getattr(rig.image, rig.sb, ino, stat) === 0 && (stat.mode & S_IFMT) === S_IFDIR && stat.links > 0;
  rig.call((edit) => {
    if (step.do === "setxattr") return setXattr(edit, to, "user.a", name, 0);
    if (step.do === "removexattr") return removeXattr(edit, to, "user.a");
    if (!isADir(dir)) return 0;
    if (step.do === "create") return ext4Create(edit, dir, name, made);
    if (step.do === "mkdir") return ext4Mkdir(edit, dir, name, { ...made, mode: S_IFDIR | 0o755 });
    if (step.do === "symlink") return ext4Symlink(edit, dir, name, { ...made, mode: S_IFLNK | 0o777 }, newName);
    if (step.do === "link") return isADir(to) || stat.links === 0 ? 0 : ext4Link(edit, to, dir, name);
    if (step.do === "unlink") return ext4Unlink(edit, dir, name, step.how % 2 === 0);
    if (step.do === "rmdir") return ext4Rmdir(edit, dir, name, step.how % 2 === 0);
    if (step.do === "rename")
      return isADir(to) ? ext4Rename(edit, dir, name, to, newName, RENAMES[step.how % 6]!, step.how % 2 === 0) : 0;
    let left = 2000;
    return readDir(rig.image, rig.sb, dir, 0, () => left-- > 0);
  });
}
