/**
 * From a path to an inode number, without a VFS: for commands and tests that read an image.
 *
 * - resolve(..., path, follow)    "/a/b", "a/b", "." and ".." allowed; `follow` says whether a symbolic link at the end
 *                                 is followed. Links within the path always are, 40 at most
 */
import { EFSCORRUPTED, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import type { Blocks } from "../blocks.ts";
import { inlineParent, lookup } from "./dir.ts";
import { readLink } from "./file.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeType } from "./inode.ts";
import { INO_ROOT, INODE_FLAG, S_IFDIR, S_IFLNK } from "./layout.ts";
import { NAME_MAX } from "./layout_dir.ts";
import type { Super } from "./super.ts";

const LINKS_MAX = 40;
const DOTDOT = Uint8Array.of(0x2e, 0x2e);

export function resolve(blocks: Blocks, sb: Super, path: Uint8Array, follow: boolean): number | Errno {
  const left = partsOf(path);
  /** Directories walked through: ".." of one that is inline or damaged is the one before. */
  const trail = [INO_ROOT];
  let links = 0;
  while (left.length > 0) {
    const name = left.pop()!;
    const here = trail.at(-1)!;
    const at = inodeAt(blocks, sb, here);
    if (at < 0) return EFSCORRUPTED;
    if (inodeType(blocks.view, at) !== S_IFDIR) return ENOTDIR;
    if (name.length > NAME_MAX) return ENAMETOOLONG;
    if (name.length === 1 && name[0] === 0x2e) continue;
    if (name.length === 2 && name[0] === 0x2e && name[1] === 0x2e) {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const ino = lookup(blocks, sb, at, name);
    if (ino < 0) return ino;
    const child = inodeAt(blocks, sb, ino);
    if (child < 0) return EFSCORRUPTED;
    if (inodeType(blocks.view, child) === S_IFLNK && (follow || left.length > 0)) {
      if (++links > LINKS_MAX) return ELOOP;
      const target = readLink(blocks, sb, child);
      if (typeof target === "number") return target;
      if (target[0] === 0x2f) trail.length = 1;
      left.push(...partsOf(target));
      continue;
    }
    trail.push(ino);
  }
  return trail.at(-1)!;
}

/** Last part first. */
function partsOf(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let n = 0; n <= path.length; n++) {
    if (n < path.length && path[n] !== 0x2f) continue;
    if (n > start) parts.push(path.subarray(start, n));
    start = n + 1;
  }
  return parts.reverse();
}

/** The directory that a directory says it is in; ENOENT when it does not say. */
export function parentOf(blocks: Blocks, sb: Super, ino: number): number | Errno {
  const at = inodeAt(blocks, sb, ino);
  if (at < 0) return ENOENT;
  if ((inodeFlags(blocks.view, at) & INODE_FLAG.inline_data) !== 0) return inlineParent(blocks.view, at);
  return lookup(blocks, sb, at, DOTDOT);
}
