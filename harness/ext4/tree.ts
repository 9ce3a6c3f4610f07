/**
 * The tree of files in an image, read without mounting it. Names are bytes: strings here hold one byte a character, and
 * are printed as such.
 *
 * - walkTree(image, sb, visit)      every path but the root, directories before what is in them, unsorted
 * - manifest(image, sb)             one line a path, sorted by path: type, mode, size, sha256 or target, path
 * - errnoText(errno)                "EUCLEAN: structure needs cleaning"
 */
import { createHash } from "node:crypto";
import * as ERRNO from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { ext4DirLayout, ext4Inode, ext4Layout, inodeAt, readFile, readLink, walkDir } from "../../kernel/index.ts";
import type { BlockImage, EntryVisitor, Super } from "../../kernel/index.ts";
import { EXIT, UserError } from "../cli/exit.ts";

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK, INO_ROOT, INODE } = ext4Layout;
const READ_BYTES = 1 << 20;
/** Deeper than any path that a system call takes. */
const DEPTH_MAX = 4096;

export const TYPE_LETTERS: Readonly<Record<number, string>> = {
  [S_IFREG]: "f",
  [S_IFDIR]: "d",
  [S_IFLNK]: "l",
  [S_IFCHR]: "c",
  [S_IFBLK]: "b",
  [S_IFIFO]: "p",
  [S_IFSOCK]: "s",
};

const MEANINGS: Readonly<Record<number, string>> = {
  [ERRNO.ENOENT]: "no such file or directory",
  [ERRNO.ENOTDIR]: "not a directory",
  [ERRNO.ELOOP]: "too many symbolic links",
  [ERRNO.ENAMETOOLONG]: "a name is longer than 255 bytes",
  [ERRNO.EFSCORRUPTED]: "the image is damaged there; try ext4 check",
};

export const errnoText = (errno: Errno): string => MEANINGS[errno] ?? `error ${errno}`;

export const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

export interface Found {
  readonly path: string;
  readonly ino: number;
  /** Address of the inode. */
  readonly at: number;
}

/** Used entries of a directory, "." and ".." left out; sorted by name. */
export function entriesOf(image: BlockImage, sb: Super, dir: number): { name: string; ino: number }[] | Errno {
  const found: { name: string; ino: number }[] = [];
  const visitor: EntryVisitor = {
    entry(at, ino, length) {
      const from = at + ext4DirLayout.DIRENT.bytes;
      const name = latin(image.bytes.subarray(from, from + length));
      if (name !== "." && name !== "..") found.push({ name, ino });
      return true;
    },
  };
  const result = walkDir(image, sb, dir, visitor);
  if (result !== 0) return result;
  return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

export function walkTree(image: BlockImage, sb: Super, visit: (found: Found) => void): void {
  const seen = new Set([INO_ROOT]);
  const walk = (dir: number, prefix: string, depth: number): void => {
    const entries = entriesOf(image, sb, dir);
    if (!Array.isArray(entries)) throw damaged(prefix === "" ? "/" : prefix, entries);
    for (const { name, ino } of entries) {
      const path = `${prefix}${name}`;
      const at = inodeAt(image, sb, ino);
      if (at < 0) throw damaged(path, ERRNO.EFSCORRUPTED);
      visit({ path, ino, at });
      if (ext4Inode.inodeType(image.view, at) !== S_IFDIR) continue;
      if (seen.has(ino) || depth > DEPTH_MAX) throw damaged(path, ERRNO.EFSCORRUPTED);
      seen.add(ino);
      walk(at, `${path}/`, depth + 1);
    }
  };
  const root = inodeAt(image, sb, INO_ROOT);
  if (root < 0 || ext4Inode.inodeType(image.view, root) !== S_IFDIR) throw damaged("/", ERRNO.EFSCORRUPTED);
  walk(root, "", 0);
}

export const damaged = (path: string, errno: Errno): UserError =>
  new UserError(`cannot read ${path}: ${errnoText(errno)}`, EXIT.invariant);

/** Every piece of a file's content, in order; `take` may return false to stop. */
export function eachPiece(image: BlockImage, sb: Super, { path, at }: Found, take: (piece: Uint8Array) => void): void {
  const size = ext4Inode.inodeSizeBytes(sb, image.view, at);
  // A file without holes is no larger than the image; with them this much is what can be waited for.
  if (size > SPARSE_BYTES_MAX)
    throw new UserError(`${path} claims ${size} bytes; files up to ${SPARSE_BYTES_MAX} are read`, EXIT.invariant);
  const buffer = new Uint8Array(Math.min(READ_BYTES, Math.max(size, 1)));
  for (let done = 0; done < size;) {
    const got = readFile(image, sb, at, done, buffer.subarray(0, Math.min(buffer.length, size - done)));
    if (isErr(got)) throw damaged(path, got);
    take(buffer.subarray(0, got));
    done += got;
  }
}
const SPARSE_BYTES_MAX = 2 ** 36;

/** Each path with its line, unsorted. */
export function manifestEntries(image: BlockImage, sb: Super): (readonly [path: string, line: string])[] {
  const entries: (readonly [string, string])[] = [];
  walkTree(image, sb, (found) => {
    entries.push([found.path, `${manifestHead(image, sb, found)} ${found.path}`]);
  });
  return entries;
}

export const manifest = (image: BlockImage, sb: Super): string[] =>
  manifestEntries(image, sb)
    .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
    .map(([, line]) => line);

function manifestHead(image: BlockImage, sb: Super, found: Found): string {
  const { view } = image;
  const type = ext4Inode.inodeType(view, found.at);
  const letter = TYPE_LETTERS[type];
  if (letter === undefined) throw damaged(found.path, ERRNO.EFSCORRUPTED);
  const mode = (ext4Inode.inodeMode(view, found.at) & 0o7777).toString(8);
  if (type === S_IFREG) {
    const hash = createHash("sha256");
    eachPiece(image, sb, found, (piece) => hash.update(piece));
    return `f ${mode} ${ext4Inode.inodeSizeBytes(sb, view, found.at)} ${hash.digest("hex")}`;
  }
  if (type === S_IFLNK) {
    const target = readLink(image, sb, found.at);
    if (typeof target === "number") throw damaged(found.path, target);
    return `l ${mode} - ${latin(target)}`;
  }
  if (type === S_IFCHR || type === S_IFBLK) return `${letter} ${mode} - ${deviceText(view, found.at)}`;
  return `${letter} ${mode} - -`;
}

/** Old numbers of 16 bits lie in the first word of i_block, new ones in the second. */
export function deviceText(view: DataView, at: number): string {
  const old = view.getUint32(at + INODE.i_block, true);
  if (old !== 0) return `${(old >>> 8) & 0xff}:${old & 0xff}`;
  const wide = view.getUint32(at + INODE.i_block + 4, true);
  return `${(wide >>> 8) & 0xfff}:${(wide & 0xff) | ((wide >>> 12) & 0xfff00)}`;
}
