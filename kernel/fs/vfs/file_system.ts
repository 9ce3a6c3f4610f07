/**
 * A file system as the VFS sees it: ext4, tmpfs, procfs, sysfs (Linux: inode_operations, file_operations and
 * super_operations in one). Inodes are numbers, names are bytes without "/" and NUL, never "." or "..".
 *
 * Each function is one call that takes effect as a whole or not at all, and ends with a negative errno when it cannot:
 *
 *   EIOCBQUEUED   nothing was done yet: sleep on waitingOn(), then make the same call with the same arguments again
 *   other errno   nothing was done
 *
 * Calls that are several transactions (a long write is cut short instead: it returns fewer bytes; truncation of a large
 * file, fsync, sync) keep what they have reached in `call`, CALL_WORDS numbers that the caller sets to 0 before the first
 * try and otherwise only carries.
 *
 * Reading (read, readdir, readlink) moves atime as the file system's mount says (relatime when it says nothing); changing
 * moves mtime and ctime.
 *
 * The VFS has checked permissions, name lengths (255 bytes), types (a directory is looked up in, a file is read) and
 * that both ends of link and rename are in this file system. The file system checks everything that is its own: ENOENT,
 * EEXIST, ENOTEMPTY, EMLINK, ENOSPC, EROFS, EFBIG, ENODATA, EOPNOTSUPP.
 */
import type { Errno } from "../../abi/units.ts";

export const CALL_WORDS = 8;

/** Times in two words: seconds since 1970 and nanoseconds. */
export interface Stat {
  ino: number;
  /** Type and permissions. */
  mode: number;
  links: number;
  uid: number;
  gid: number;
  /** Of a device: major * 2^20 + minor. */
  rdev: number;
  size: number;
  /** Sectors of 512 bytes that it takes. */
  sectors: number;
  blockSize: number;
  atimeSec: number;
  atimeNsec: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  generation: number;
}

export interface StatFs {
  blockSize: number;
  blocks: number;
  blocksFree: number;
  /** Without those kept for root. */
  blocksAvailable: number;
  files: number;
  filesFree: number;
  nameMax: number;
}

/** What setattr() changes: only fields that are there. ctime becomes now in any case. */
export interface SetAttr {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atime?: readonly [sec: number, nsec: number];
  readonly mtime?: readonly [sec: number, nsec: number];
}

/** Owner of what is made; mode is complete with its type, the umask already taken off. */
export interface NewNode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device. */
  readonly rdev?: number;
}

/** rename: flags as in renameat2(2). A whiteout is root's character device 0:0, of mode 0. */
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** fallocate: modes as in fallocate(2). */
export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 16;

/** write and read: how. */
export const IO_APPEND = 1;
export const IO_DIRECT = 2;
/** EAGAIN instead of a wait: pipes alone look at it. */
export const IO_NONBLOCK = 4;

/** setxattr: flags as in setxattr(2). */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

/**
 * Told each entry of a directory; `type` is its d_type (dirType(mode) of kernel/abi/stat.ts), 0 when that is not known;
 * `next` is the cookie behind it. False: no room, end here and come back with this entry's own cookie.
 */
export type EmitEntry = (name: Uint8Array, ino: number, type: number, next: number) => boolean;

export interface FileSystem {
  /** As in /proc/mounts. */
  readonly type: string;
  readonly readOnly: boolean;
  /** Names come and go by themselves (/proc): what lookup said is not remembered. */
  readonly uncached?: boolean;
  /** Behind its character devices it answers itself: they can be opened. */
  readonly devices?: boolean;
  root(): number;
  statfs(out: StatFs): 0 | Errno;

  getattr(ino: number, out: Stat): 0 | Errno;
  setattr(ino: number, attr: SetAttr): 0 | Errno;
  lookup(dir: number, name: Uint8Array): number | Errno;
  /** The directory that a directory is in (its ".."); of the root, itself. Not asked for one that was removed. */
  parent(dir: number): number | Errno;
  /** Entries from `cookie` on (0: the first), "." and ".." among them. The cookie to go on with; EOF_COOKIE after the last. */
  readdir(dir: number, cookie: number, emit: EmitEntry): number | Errno;
  /** Bytes of the target put into `into`, which holds PATH_MAX. */
  readlink(ino: number, into: Uint8Array): number | Errno;

  /** A regular file, FIFO, socket or device. The new inode's number. */
  create(dir: number, name: Uint8Array, node: NewNode): number | Errno;
  mkdir(dir: number, name: Uint8Array, node: NewNode): number | Errno;
  symlink(dir: number, name: Uint8Array, node: NewNode, target: Uint8Array): number | Errno;
  /** A regular file without a name (O_TMPFILE), held once for the caller; link() may name it. */
  tmpfile?(dir: number, node: NewNode): number | Errno;
  link(ino: number, dir: number, name: Uint8Array): 0 | Errno;
  unlink(dir: number, name: Uint8Array): 0 | Errno;
  rmdir(dir: number, name: Uint8Array): 0 | Errno;
  rename(from: number, name: Uint8Array, to: number, newName: Uint8Array, flags: number): 0 | Errno;

  /** In use: an inode without names lives until the last release. Counts, of an inode that is there; never waits. */
  hold(ino: number): 0 | Errno;
  release(ino: number): 0 | Errno;
  /** Bytes read; 0 at the end of the file. May be fewer than asked for at any time. */
  read(ino: number, offset: number, into: Uint8Array, how: number): number | Errno;
  /** Bytes written, at least one for a `from` that is not empty. With IO_APPEND `offset` is the file's end, whatever was given. */
  write(ino: number, offset: number, from: Uint8Array, how: number): number | Errno;
  truncate(ino: number, size: number, call: Float64Array): 0 | Errno;
  fallocate(ino: number, mode: number, offset: number, length: number, call: Float64Array): 0 | Errno;
  /** SEEK_DATA and SEEK_HOLE: the offset found; ENXIO. */
  seek(ino: number, offset: number, hole: boolean): number | Errno;
  fsync(ino: number, dataOnly: boolean, call: Float64Array): 0 | Errno;
  sync(call: Float64Array): 0 | Errno;

  /** Length of the value; it is put into `into` when that is not empty (ERANGE when it is too small). */
  getxattr(ino: number, name: string, into: Uint8Array): number | Errno;
  setxattr(ino: number, name: string, value: Uint8Array, flags: number): 0 | Errno;
  removexattr(ino: number, name: string): 0 | Errno;
  /** Names, each ended by NUL, as listxattr(2). */
  listxattr(ino: number, into: Uint8Array): number | Errno;

  /** What the call that was just told EIOCBQUEUED waits for: a token that changes hands with whoever drives the device. */
  waitingOn(): number;
  /** Moves what is in flight or due along (devices polled, journal, write-back); true when anything happened. */
  step(): boolean;
}

/** readdir: all entries were told. */
export const EOF_COOKIE = 2 ** 53 - 1;
