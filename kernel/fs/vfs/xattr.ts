/**
 * Extended attributes: who may see and change which (Linux: fs/xattr.c, xattr_permission). The part of a name up to the
 * first dot says whose it is:
 *
 *   user.       of files and directories; as the content, by the mode bits
 *   trusted.    root's; nobody else sees that there are any
 *   security. and system.   everybody's to read, root's to change (system. is the file system's own business: ACLs)
 */
import { E2BIG, EACCES, EINVAL, ENODATA, EOPNOTSUPP, EPERM, ERANGE, EROFS, isErr } from "../../abi/errno.ts";
import { R_OK, W_OK } from "../../abi/fcntl.ts";
import { XATTR_NAME_MAX, XATTR_SIZE_MAX } from "../../abi/limits.ts";
import { isDir, isReg, S_ISVTX } from "../../abi/stat.ts";
import type { Errno } from "../../abi/units.ts";
import { type Where, walkTo } from "./attr.ts";
import { XATTR_CREATE, XATTR_REPLACE } from "./file_system.ts";
import type { Walk } from "./namei.ts";
import { allows, isReadOnly, ownsOrRoot } from "./permission.ts";
import type { VfsState } from "./state.ts";

/** Not asked of the mode bits. */
const FREE = ["trusted.", "security.", "system."];
const PREFIXES = ["user.", ...FREE];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function checkName(name: string): 0 | Errno {
  const length = encoder.encode(name).length;
  return length === 0 || length > XATTR_NAME_MAX ? ERANGE : 0;
}

function mayTouch(v: VfsState, walk: Walk, name: string, write: boolean): 0 | Errno {
  const { stat, cred } = walk;
  if (write && isReadOnly(v, walk.mount)) return EROFS;
  const denied = write ? EPERM : ENODATA;
  if (name.startsWith("trusted.") && cred.uid !== 0) return denied;
  if (name.startsWith("user.")) {
    if (!isReg(stat.mode) && !isDir(stat.mode)) return denied;
    if (write && isDir(stat.mode) && (stat.mode & S_ISVTX) !== 0 && !ownsOrRoot(cred, stat)) return EPERM;
  }
  const free = FREE.some((p) => name.startsWith(p));
  if (!free && !allows(cred, stat, write ? W_OK : R_OK)) return EACCES;
  if (write && name.startsWith("security.") && cred.uid !== 0) return EPERM;
  if (write && name.startsWith("system.") && !ownsOrRoot(cred, stat)) return EPERM;
  const prefix = PREFIXES.find((p) => name.startsWith(p));
  if (prefix === undefined) return EOPNOTSUPP;
  return prefix === name ? EINVAL : 0;
}

export function getxattr(v: VfsState, walk: Walk, task: number, where: Where, name: string, into: Uint8Array): number {
  const found = checkName(name) || walkTo(v, walk, task, where, false) || mayTouch(v, walk, name, false);
  return found === 0 ? v.fsOf(walk.mount).getxattr(walk.ino, name, into) : found;
}

export function setxattr(
  v: VfsState,
  walk: Walk,
  task: number,
  where: Where,
  name: string,
  value: Uint8Array,
  flags: number,
): number {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) return EINVAL;
  const wrong = checkName(name);
  if (wrong !== 0) return wrong;
  if (value.length > XATTR_SIZE_MAX) return E2BIG;
  const found = walkTo(v, walk, task, where, false) || mayTouch(v, walk, name, true);
  return found === 0 ? v.fsOf(walk.mount).setxattr(walk.ino, name, value, flags) : found;
}

export function removexattr(v: VfsState, walk: Walk, task: number, where: Where, name: string): number {
  const found = checkName(name) || walkTo(v, walk, task, where, false) || mayTouch(v, walk, name, true);
  return found === 0 ? v.fsOf(walk.mount).removexattr(walk.ino, name) : found;
}

/** Without what only root sees. `into` empty: how long it is. */
export function listxattr(v: VfsState, walk: Walk, task: number, where: Where, into: Uint8Array): number {
  const found = walkTo(v, walk, task, where, false);
  if (found !== 0) return found;
  const fs = v.fsOf(walk.mount);
  if (walk.cred.uid === 0) return fs.listxattr(walk.ino, into);
  const length = fs.listxattr(walk.ino, new Uint8Array(0));
  if (isErr(length)) return length;
  const all = new Uint8Array(length);
  const listed = length === 0 ? 0 : fs.listxattr(walk.ino, all);
  if (isErr(listed)) return listed;
  const names = decoder.decode(all).split("\0").slice(0, -1);
  const seen = encoder.encode(
    names
      .filter((name) => !name.startsWith("trusted."))
      .map((name) => `${name}\0`)
      .join(""),
  );
  if (into.length === 0) return seen.length;
  if (into.length < seen.length) return ERANGE;
  into.set(seen);
  return seen.length;
}
