/**
 * A tree of files as plainly as it can be had: objects in maps, contents in pages that exist when something was written.
 * What a file system must be like after a script, for root, without limits of space.
 *
 * - new ModelTree()
 * - tree.apply(op)       the result that Linux gives: 0, bytes, or a negative errno
 * - tree.lines()         as `orrery ext4 manifest` prints them
 * - tree.root, contentOf(file), allAttributes()
 */
import { createHash } from "node:crypto";
import {
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EOPNOTSUPP,
  EPERM,
} from "../../../kernel/abi/errno.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "../../../kernel/index.ts";
import { DIRECTORY_MODE, FILE_MODE, RENAME_WORDS, dataBytes } from "./op.ts";
import type { Op } from "./op.ts";

const PAGE_BYTES = 4096;
const LINKS_MAX = 40;
const NAME_BYTES_MAX = 255;
const SECTOR_BYTES = 512;

export class ModelNode {
  readonly type: "f" | "d" | "l";
  mode: number;
  links = 0;
  size = 0;
  readonly pages = new Map<number, Uint8Array>();
  target = "";
  readonly names = new Map<string, ModelNode>();
  readonly attributes = new Map<string, Uint8Array>();
  #hash: string | undefined;
  #hashedSize = 0;
  /** Of a directory: where it is. */
  parent: ModelNode | undefined;

  constructor(type: "f" | "d" | "l", mode: number) {
    this.type = type;
    this.mode = mode;
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    this.#hash = undefined;
    for (let done = 0; done < bytes.length;) {
      const [page, from] = [Math.floor((offset + done) / PAGE_BYTES), (offset + done) % PAGE_BYTES];
      const part = Math.min(PAGE_BYTES - from, bytes.length - done);
      this.#page(page).set(bytes.subarray(done, done + part), from);
      done += part;
    }
    this.size = Math.max(this.size, offset + bytes.length);
  }

  readAt(offset: number, length: number): Uint8Array {
    const into = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    for (let done = 0; done < into.length;) {
      const [page, from] = [Math.floor((offset + done) / PAGE_BYTES), (offset + done) % PAGE_BYTES];
      const part = Math.min(PAGE_BYTES - from, into.length - done);
      const bytes = this.pages.get(page);
      if (bytes !== undefined) into.set(bytes.subarray(from, from + part), done);
      done += part;
    }
    return into;
  }

  zero(from: number, end: number): void {
    this.#hash = undefined;
    for (const [page, bytes] of this.pages) {
      const start = page * PAGE_BYTES;
      if (start >= from && start + PAGE_BYTES <= end) this.pages.delete(page);
      else if (start < end && start + PAGE_BYTES > from)
        bytes.fill(0, Math.max(0, from - start), Math.max(0, end - start));
    }
  }

  resize(size: number): void {
    if (size < this.size) this.zero(size, Number.MAX_SAFE_INTEGER);
    this.size = size;
  }

  hash(): string {
    if (this.#hash !== undefined && this.#hashedSize === this.size) return this.#hash;
    const hash = createHash("sha256");
    for (let at = 0; at < this.size; at += 1 << 20) hash.update(this.readAt(at, 1 << 20));
    this.#hash = hash.digest("hex");
    this.#hashedSize = this.size;
    return this.#hash;
  }

  #page(page: number): Uint8Array {
    let bytes = this.pages.get(page);
    if (bytes === undefined) this.pages.set(page, (bytes = new Uint8Array(PAGE_BYTES)));
    return bytes;
  }
}

interface Handle {
  readonly node: ModelNode;
  readonly words: readonly string[];
  at: number;
}

/** Where a path leads: the directory, the last name, and what is there. `name` "": the path ends with a directory itself. */
interface Place {
  readonly dir: ModelNode;
  readonly name: string;
  readonly node: ModelNode | undefined;
  readonly slash: boolean;
}

export class ModelTree {
  readonly root = new ModelNode("d", DIRECTORY_MODE);
  readonly #handles = new Map<string, Handle>();

  constructor() {
    this.root.parent = this.root;
  }

  /** The place that a path names, or an errno. A link at its end is followed when `follow` says so. */
  #walk(path: string, follow: boolean, links = 0, from = this.root): Place | number {
    let dir = path.startsWith("/") ? this.root : from;
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    const slash = path.endsWith("/") || path.endsWith("/.");
    if (parts.length === 0) return { dir, name: "", node: dir, slash: true };
    for (const [n, name] of parts.entries()) {
      const last = n === parts.length - 1;
      if (dir.type !== "d") return ENOTDIR;
      if (Buffer.byteLength(name) > NAME_BYTES_MAX) return ENAMETOOLONG;
      if (name === "..") {
        dir = dir.parent!;
        if (last) return { dir, name: "", node: dir, slash: true };
        continue;
      }
      const node = dir.names.get(name);
      if (node?.type === "l" && (!last || follow || slash)) {
        if (links >= LINKS_MAX) return ELOOP;
        const rest = parts.slice(n + 1).join("/");
        const on = `${node.target}${rest === "" ? "" : `/${rest}`}${slash ? "/" : ""}`;
        return this.#walk(on, follow, links + 1, dir);
      }
      if (last) return { dir, name, node, slash };
      if (node === undefined) return ENOENT;
      dir = node;
    }
    return ENOENT;
  }

  /** An existing thing. */
  #find(path: string, follow = true): ModelNode | number {
    const place = this.#walk(path, follow);
    if (typeof place === "number") return place;
    if (place.node === undefined) return ENOENT;
    return place.slash && place.node.type !== "d" ? ENOTDIR : place.node;
  }

  #handle(path: string): Handle | undefined {
    return this.#handles.get(path.slice(1));
  }

  /** The file that an operation works on, by handle or path. */
  #file(path: string): ModelNode | number {
    if (!path.startsWith("@")) return this.#find(path);
    return this.#handle(path)?.node ?? EBADF;
  }

  /** The same, to be written: by a handle only if that was opened for it. */
  #toWrite(path: string): ModelNode | number {
    const node = this.#file(path);
    if (typeof node === "number") return node;
    const handle = path.startsWith("@") ? this.#handle(path) : undefined;
    if (handle !== undefined && !handle.words.includes("w") && !handle.words.includes("rw")) return EBADF;
    return node.type === "d" ? EISDIR : node;
  }

  apply(op: Op): number {
    switch (op.name) {
      case "creat":
        return this.#creat(op.path, op.mode < 0 ? FILE_MODE : op.mode, ["creat", "trunc", "w"], (node) =>
          Number(!node),
        );
      case "open":
        return this.#open(op);
      case "close":
        return this.#handles.delete(op.path.slice(1)) ? 0 : EBADF;
      case "write":
        return this.#write(op);
      case "pwrite":
      case "mmapwrite":
      case "dwrite":
        return this.#pwrite(op);
      case "append":
        return this.#append(op);
      case "read":
        return this.#read(op);
      case "truncate":
        return this.#truncate(op);
      case "fallocate":
        return this.#fallocate(op);
      case "rename":
        return this.#rename(op);
      case "link":
        return this.#link(op);
      case "symlink":
        return this.#make(op.path, () => {
          const node = new ModelNode("l", 0o777);
          node.target = op.to;
          return node;
        });
      case "mkdir":
        return this.#make(op.path, () => new ModelNode("d", op.mode < 0 ? DIRECTORY_MODE : op.mode), true);
      case "unlink":
        return this.#unlink(op.path);
      case "rmdir":
        return this.#rmdir(op.path);
      case "setxattr":
      case "removexattr":
        return this.#xattr(op);
      case "sync":
        return 0;
      default: {
        const node = this.#file(op.path);
        return typeof node === "number" ? node : 0;
      }
    }
  }

  #creat(path: string, mode: number, words: readonly string[], open: (node: ModelNode) => number): number {
    const place = this.#walk(path, !words.includes("excl") || !words.includes("creat"));
    if (typeof place === "number") return place;
    const { dir, name, slash } = place;
    let { node } = place;
    const writes = words.includes("w") || words.includes("rw");
    if (node === undefined) {
      if (!words.includes("creat")) return ENOENT;
      if (slash) return EISDIR;
      node = new ModelNode("f", mode);
      node.links = 1;
      dir.names.set(name, node);
      return open(node);
    }
    if (words.includes("creat") && words.includes("excl")) return EEXIST;
    if (node.type === "l") return ELOOP;
    if (node.type === "d" && (words.includes("creat") || writes || words.includes("trunc"))) return EISDIR;
    if (slash && node.type !== "d") return ENOTDIR;
    if (words.includes("trunc") && node.type === "f") node.resize(0);
    return open(node);
  }

  #open({ path, to, open, mode }: Op): number {
    if (this.#handles.has(to)) return EBADF;
    const words = open.some((word) => word === "w" || word === "rw") ? open : ["r", ...open];
    return this.#creat(path, mode < 0 ? FILE_MODE : mode, words, (node) => {
      this.#handles.set(to, { node, words, at: 0 });
      return 0;
    });
  }

  #write({ path, data }: Op): number {
    const node = this.#toWrite(path);
    if (typeof node === "number") return node;
    const bytes = dataBytes(data!);
    const handle = path.startsWith("@") ? this.#handle(path) : undefined;
    const at = handle === undefined ? 0 : handle.words.includes("append") ? node.size : handle.at;
    if (handle?.words.includes("direct") === true && (at % SECTOR_BYTES !== 0 || bytes.length % SECTOR_BYTES !== 0))
      return EINVAL;
    if (bytes.length > 0) node.writeAt(at, bytes);
    if (handle !== undefined) handle.at = at + bytes.length;
    return bytes.length;
  }

  #pwrite({ name, path, offset, data }: Op): number {
    const node = this.#toWrite(path);
    if (typeof node === "number") return node;
    const bytes = dataBytes(data!);
    const handle = path.startsWith("@") ? this.#handle(path) : undefined;
    const direct = name === "dwrite" || handle?.words.includes("direct") === true;
    if (direct && (offset % SECTOR_BYTES !== 0 || bytes.length % SECTOR_BYTES !== 0)) return EINVAL;
    // A mapping ends with the file.
    if (name === "mmapwrite" && offset + bytes.length > node.size) return EINVAL;
    const at = handle?.words.includes("append") === true ? node.size : offset;
    if (bytes.length > 0) node.writeAt(at, bytes);
    return bytes.length;
  }

  #append({ path, data }: Op): number {
    const node = this.#toWrite(path);
    if (typeof node === "number") return node;
    const bytes = dataBytes(data!);
    if (bytes.length > 0) node.writeAt(node.size, bytes);
    return bytes.length;
  }

  #read({ path, offset, length }: Op): number {
    const node = this.#file(path);
    if (typeof node === "number") return node;
    if (node.type === "d") return EISDIR;
    const handle = path.startsWith("@") ? this.#handle(path) : undefined;
    if (handle !== undefined && !handle.words.includes("r") && !handle.words.includes("rw")) return EBADF;
    return Math.max(0, Math.min(length, node.size - offset));
  }

  /** What read gives. */
  bytesOf({ path, offset, length }: Op): Uint8Array {
    const node = this.#file(path);
    return typeof node === "number" ? new Uint8Array(0) : node.readAt(offset, length);
  }

  #truncate({ path, length }: Op): number {
    const handle = path.startsWith("@") ? this.#handle(path) : undefined;
    const node = this.#file(path);
    if (typeof node === "number") return node;
    if (handle !== undefined && (node.type === "d" || (!handle.words.includes("w") && !handle.words.includes("rw"))))
      return EINVAL;
    if (node.type === "d") return EISDIR;
    node.resize(length);
    return 0;
  }

  #fallocate({ path, offset, length, flags }: Op): number {
    const node = this.#toWrite(path);
    if (typeof node === "number") return node;
    if (length === 0) return EINVAL;
    const punch = (flags & FALLOC_PUNCH_HOLE) !== 0;
    const zero = (flags & FALLOC_ZERO_RANGE) !== 0;
    const keep = (flags & FALLOC_KEEP_SIZE) !== 0;
    if (punch && zero) return EOPNOTSUPP;
    if (punch && !keep) return EOPNOTSUPP;
    if (punch || zero) node.zero(offset, offset + length);
    if (!keep) node.size = Math.max(node.size, offset + length);
    return 0;
  }

  /** Puts something new at a path. */
  #make(path: string, make: () => ModelNode, directory = false): number {
    const place = this.#walk(path, false);
    if (typeof place === "number") return place;
    const { dir, name, node, slash } = place;
    if (node !== undefined) return EEXIST;
    if (slash && !directory) return ENOENT;
    const made = make();
    made.links = 1;
    if (made.type === "d") made.parent = dir;
    dir.names.set(name, made);
    return 0;
  }

  #link({ path, to }: Op): number {
    const node = this.#find(path, false);
    if (typeof node === "number") return node;
    const place = this.#walk(to, false);
    if (typeof place === "number") return place;
    if (place.node !== undefined) return EEXIST;
    if (place.slash) return ENOENT;
    if (node.type === "d") return EPERM;
    node.links++;
    place.dir.names.set(place.name, node);
    return 0;
  }

  #unlink(path: string): number {
    const place = this.#walk(path, false);
    if (typeof place === "number") return place;
    const { dir, name, node, slash } = place;
    if (name === "") return EISDIR;
    if (node === undefined) return ENOENT;
    if (slash) return node.type === "d" ? EISDIR : ENOTDIR;
    if (node.type === "d") return EISDIR;
    node.links--;
    dir.names.delete(name);
    return 0;
  }

  #rmdir(path: string): number {
    const place = this.#walk(path.replace(/(.)\/+$/, "$1"), false);
    if (typeof place === "number") return place;
    const { dir, name, node } = place;
    if (name === "") return /\.\.\/*$/.test(path) ? ENOTEMPTY : /\.\/*$/.test(path) ? EINVAL : EBUSY_ROOT;
    if (node === undefined) return ENOENT;
    if (node.type !== "d") return ENOTDIR;
    if (node.names.size > 0) return ENOTEMPTY;
    node.links = 0;
    dir.names.delete(name);
    return 0;
  }

  #rename({ path, to, flags }: Op): number {
    const from = this.#walk(path, false);
    if (typeof from === "number") return from;
    const into = this.#walk(to, false);
    if (typeof into === "number") return into;
    const exchange = (flags & RENAME_WORDS.exchange) !== 0;
    const keep = (flags & RENAME_WORDS.noreplace) !== 0;
    if (exchange && keep) return EINVAL;
    if (from.name === "" || into.name === "") return EBUSY_ROOT;
    const { node } = from;
    if (node === undefined) return ENOENT;
    if (keep && into.node !== undefined) return EEXIST;
    if (exchange && into.node === undefined) return ENOENT;
    if (node.type !== "d" && (from.slash || (into.slash && !exchange))) return ENOTDIR;
    if (isBelow(into.dir, node)) return EINVAL;
    if (into.node !== undefined && isBelow(from.dir, into.node)) return exchange ? EINVAL : ENOTEMPTY;
    if (into.node === node) return 0;
    const other = into.node;
    if (exchange) {
      from.dir.names.set(from.name, other!);
      into.dir.names.set(into.name, node);
      if (other!.type === "d") other!.parent = from.dir;
    } else {
      if (other !== undefined) {
        if (node.type === "d" && other.type !== "d") return ENOTDIR;
        if (node.type !== "d" && other.type === "d") return EISDIR;
        if (other.names.size > 0) return ENOTEMPTY;
        other.links--;
      }
      from.dir.names.delete(from.name);
      into.dir.names.set(into.name, node);
    }
    if (node.type === "d") node.parent = into.dir;
    return 0;
  }

  #xattr({ name, path, attribute, data }: Op): number {
    const node = this.#file(path);
    if (typeof node === "number") return node;
    if (!/^(user|trusted|security)\../.test(attribute)) return EOPNOTSUPP;
    if (name === "setxattr") node.attributes.set(attribute, dataBytes(data!).slice());
    else if (!node.attributes.delete(attribute)) return ENODATA;
    return 0;
  }

  /** Each path with its line, unsorted. */
  entries(): (readonly [path: string, line: string])[] {
    const found: (readonly [string, string])[] = [];
    const walk = (dir: ModelNode, prefix: string): void => {
      for (const [name, node] of dir.names) {
        const path = `${prefix}${Buffer.from(name).toString("latin1")}`;
        found.push([path, `${lineOf(node)} ${path}`]);
        if (node.type === "d") walk(node, `${path}/`);
      }
    };
    walk(this.root, "");
    return found;
  }

  lines(): string[] {
    return this.entries()
      .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
      .map(([, line]) => line);
  }

  /** All paths that lead to the thing at a path or handle, as in lines. */
  namesOf(path: string): string[] {
    const wanted = this.#file(path);
    const found: string[] = [];
    const walk = (dir: ModelNode, prefix: string): void => {
      for (const [name, node] of dir.names) {
        const here = `${prefix}${Buffer.from(name).toString("latin1")}`;
        if (node === wanted) found.push(here);
        if (node.type === "d") walk(node, `${here}/`);
      }
    };
    if (typeof wanted !== "number") walk(this.root, "");
    return found;
  }

  /** A path without links and dots, as in lines; whether something is there or not. */
  placeOf(path: string): string {
    const place = this.#walk(path, false);
    if (typeof place === "number") return path;
    const parts = place.name === "" ? [] : [place.name];
    for (let dir = place.dir; dir !== this.root; dir = dir.parent!) {
      const name = [...dir.parent!.names].find(([, node]) => node === dir)?.[0];
      if (name === undefined) return path;
      parts.unshift(name);
    }
    return parts.map((part) => Buffer.from(part).toString("latin1")).join("/");
  }

  /** "path attribute length sha256" of each, sorted. */
  attributeLines(): string[] {
    const found: string[] = [];
    const walk = (node: ModelNode, path: string): void => {
      for (const [name, value] of node.attributes) found.push(attributeLine(path, name, value));
      for (const [name, child] of node.names) walk(child, path === "" ? name : `${path}/${name}`);
    };
    walk(this.root, "");
    return found.sort();
  }
}

/** rename and rmdir of the root, or of a path that ends with "." or "..". */
const EBUSY_ROOT = -16;

export const attributeLine = (path: string, name: string, value: Uint8Array): string =>
  `${path} ${name} ${value.length} ${createHash("sha256").update(value).digest("hex")}`;

function lineOf(node: ModelNode): string {
  const mode = node.mode.toString(8);
  if (node.type === "f") return `f ${mode} ${node.size} ${node.hash()}`;
  return node.type === "l" ? `l ${mode} - ${Buffer.from(node.target).toString("latin1")}` : `d ${mode} - -`;
}

/** Whether a directory is `above`, or lies somewhere in it. */
function isBelow(dir: ModelNode, above: ModelNode): boolean {
  for (let at = dir; ; at = at.parent!) {
    if (at === above) return true;
    if (at.parent === at || at.parent === undefined) return false;
  }
}
