/**
 * getdents64(2) and getcwd(2).
 *
 * A record of getdents64 (struct linux_dirent64), little-endian, padded with zeroes to a multiple of 8:
 *
 *   0    8    d_ino
 *   8    8    d_off      position behind this entry: a cookie of the file system
 *   16   2    d_reclen   bytes of the record
 *   18   1    d_type
 *   19   n+1  d_name     with its NUL
 */
import { EINVAL, ENOENT, ENOTDIR, ERANGE, isErr } from "../../abi/errno.ts";
import { isDir, PATH_MAX } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { record } from "../../lib/record.ts";
import { theFile } from "./call.ts";
import { EOF_COOKIE } from "./file_system.ts";
import { AT_FDCWD } from "../../abi/fcntl.ts";
import type { Walk } from "./namei.ts";
import { FILE, MOUNT, type VfsState } from "./state.ts";

const DIRENT = record(19, { ino: 8, off: 8, reclen: 2, type: 1 });
const SLASH = 0x2f;
const UNREACHED = new Uint8Array(0);

function setLe64(view: DataView, at: number, value: number): void {
  setLe32(view, at, value);
  setLe32(view, at + 4, Math.floor(value / 2 ** 32));
}

/** Bytes put into `into`; 0 at the end. EINVAL: there is no room for even one entry. */
export function getdents(v: VfsState, task: number, fd: number, into: Uint8Array): number {
  const file = theFile(v, task, fd);
  if (isErr(file)) return file;
  const ino = v.fileGet(file, FILE.ino);
  const fs = v.fsOf(v.fileGet(file, FILE.mount));
  const known = fs.getattr(ino, v.stat);
  if (known !== 0) return known;
  if (!isDir(v.stat.mode)) return ENOTDIR;
  if (v.stat.links === 0) return ENOENT;
  if (v.fileGet(file, FILE.pos) >= EOF_COOKIE) return 0;
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  let at = 0;
  let refused = false;
  const pos = fs.readdir(ino, v.fileGet(file, FILE.pos), (name, child, type, next) => {
    const length = Math.ceil((DIRENT.bytes + name.length + 1) / 8) * 8;
    refused = at + length > into.length;
    if (refused) return false;
    setLe64(view, at + DIRENT.ino, child);
    setLe64(view, at + DIRENT.off, next);
    setLe16(view, at + DIRENT.reclen, length);
    into[at + DIRENT.type] = type;
    into.set(name, at + DIRENT.bytes);
    into.fill(0, at + DIRENT.bytes + name.length, at + length);
    at += length;
    return true;
  });
  if (isErr(pos)) return pos;
  if (at === 0 && refused) return EINVAL;
  v.setFile(file, FILE.pos, pos);
  return at;
}

/** The name under which `walk`'s parent has `ino`. The walk stands at the parent. */
function nameIn(v: VfsState, walk: Walk, ino: number): Uint8Array | Errno {
  let found: Uint8Array = UNREACHED;
  const told = v.fsOf(walk.mount).readdir(walk.ino, 0, (name, child) => {
    const itself = name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
    if (child === ino && !itself) found = name.slice();
    return found === UNREACHED;
  });
  return isErr(told) ? told : found;
}

/** The path of the directory that `walk` stands at. ENOENT: it was removed. */
export function placePath(v: VfsState, walk: Walk): Uint8Array | Errno {
  if (walk.stat.links === 0) return ENOENT;
  const parts: Uint8Array[] = [];
  for (;;) {
    let { mount, ino } = walk;
    while (mount !== 0 && ino === v.mountGet(mount, MOUNT.root)) {
      ino = v.mountGet(mount, MOUNT.onIno);
      mount = v.mountGet(mount, MOUNT.parent);
    }
    if (mount === 0 && ino === v.mountGet(0, MOUNT.root)) break;
    const up = walk.up();
    if (up !== 0) return up;
    const name = nameIn(v, walk, ino);
    if (typeof name === "number") return name;
    if (name === UNREACHED) return ENOENT;
    parts.push(name);
  }
  const path = new Uint8Array(parts.reduce((sum, part) => sum + 1 + part.length, 0) || 1).fill(SLASH);
  let at = 1;
  for (const part of parts.reverse()) {
    path.set(part, at);
    at += part.length + 1;
  }
  return path;
}

/** The path of the task's directory, with its NUL; its length. */
export function getcwd(v: VfsState, walk: Walk, task: number, into: Uint8Array): number {
  const path = walk.toDirfd(task, AT_FDCWD) || placePath(v, walk);
  if (typeof path === "number") return path;
  if (path.length + 1 > Math.min(into.length, PATH_MAX)) return ERANGE;
  into.set(path);
  into[path.length] = 0;
  return path.length + 1;
}
