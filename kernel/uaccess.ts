/**
 * What a task says about its own memory is a claim, checked here and nowhere else (Linux: uaccess). `memory` is the
 * window of the task that made the call; addresses are offsets in it, 0 is NULL.
 *
 * - claim(memory, addr, bytes)       the bytes themselves, EFAULT when they do not lie within
 * - pathAt(memory, addr)             a path up to its NUL: EFAULT, ENAMETOOLONG
 * - timespecAt, putStat, putInt32    structures of the riscv64 ABI, little-endian
 */
import { EFAULT, EINVAL, ENAMETOOLONG, ERANGE, isErr } from "./abi/errno.ts";
import { PATH_MAX } from "./abi/stat.ts";
import type { Errno } from "./abi/units.ts";
import { NS_PER_SEC } from "./abi/units.ts";
import { record } from "./lib/record.ts";
import type { FileStat } from "./fs/vfs/attr.ts";
import type { StatFs } from "./fs/vfs/file_system.ts";

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function claim(memory: Uint8Array, addr: number, bytes: number): Uint8Array | Errno {
  const isWithin = Number.isInteger(addr) && bytes >= 0 && addr > 0 && addr + bytes <= memory.length;
  return isWithin ? memory.subarray(addr, addr + bytes) : EFAULT;
}

/** Up to `max` bytes without the NUL that ends them; `tooLong` when there is none. */
function textAt(memory: Uint8Array, addr: number, max: number, tooLong: Errno): Uint8Array | Errno {
  if (!(Number.isInteger(addr) && addr > 0 && addr < memory.length)) return EFAULT;
  const end = memory.indexOf(0, addr);
  if (end >= 0 && end - addr < max) return memory.subarray(addr, end);
  return end < 0 && memory.length - addr < max ? EFAULT : tooLong;
}

export const pathAt = (memory: Uint8Array, addr: number): Uint8Array | Errno =>
  textAt(memory, addr, PATH_MAX, ENAMETOOLONG);

/** Longest name of an attribute with its namespace. */
const XATTR_TEXT_MAX = 256;

export function xattrNameAt(memory: Uint8Array, addr: number): string | Errno {
  const name = textAt(memory, addr, XATTR_TEXT_MAX, ERANGE);
  if (typeof name === "number") return name;
  return name.length === 0 ? ERANGE : String.fromCharCode(...name);
}

/** struct timespec: two 64-bit words. Nanoseconds in all; EINVAL for a time that is none. */
export function timespecAt(memory: Uint8Array, addr: number): number | Errno {
  const bytes = claim(memory, addr, 16);
  if (typeof bytes === "number") return bytes;
  const [sec, nsec] = splitTimes(bytes);
  return sec < 0 || nsec < 0 || nsec >= NS_PER_SEC ? EINVAL : sec * NS_PER_SEC + nsec;
}

/** The signed 64-bit words of some bytes, as far as a number counts exactly. */
export function splitTimes(bytes: Uint8Array): [number, number] {
  const view = viewOf(bytes);
  return [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))];
}

export function putTimespec(memory: Uint8Array, addr: number, ns: number, sinceSec = 0): 0 | Errno {
  const bytes = claim(memory, addr, 16);
  if (typeof bytes === "number") return bytes;
  const view = viewOf(bytes);
  view.setBigInt64(0, BigInt(sinceSec + Math.floor(ns / NS_PER_SEC)), true);
  view.setBigInt64(8, BigInt(Math.floor(ns % NS_PER_SEC)), true);
  return 0;
}

export function putInt32(memory: Uint8Array, addr: number, ...values: readonly number[]): 0 | Errno {
  const bytes = claim(memory, addr, 4 * values.length);
  if (typeof bytes === "number") return bytes;
  const view = viewOf(bytes);
  for (const [at, value] of values.entries()) view.setInt32(4 * at, value, true);
  return 0;
}

/** struct stat (include/uapi/asm-generic/stat.h), 128 bytes. */
const STAT = record(128, {
  dev: 8,
  ino: 8,
  mode: 4,
  nlink: 4,
  uid: 4,
  gid: 4,
  rdev: 8,
  pad1: 8,
  size: 8,
  blksize: 4,
  pad2: 4,
  blocks: 8,
  atime: 8,
  atimeNsec: 8,
  mtime: 8,
  mtimeNsec: 8,
  ctime: 8,
  ctimeNsec: 8,
  unused: 8,
});

export function putStat(memory: Uint8Array, addr: number, stat: FileStat): 0 | Errno {
  const bytes = claim(memory, addr, STAT.bytes);
  if (typeof bytes === "number") return bytes;
  bytes.fill(0);
  const view = viewOf(bytes);
  const put64 = (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true);
  put64(STAT.dev, stat.dev);
  put64(STAT.ino, stat.ino);
  view.setUint32(STAT.mode, stat.mode, true);
  view.setUint32(STAT.nlink, stat.links, true);
  view.setUint32(STAT.uid, stat.uid, true);
  view.setUint32(STAT.gid, stat.gid, true);
  put64(STAT.rdev, stat.rdev);
  put64(STAT.size, stat.size);
  view.setInt32(STAT.blksize, stat.blockSize, true);
  put64(STAT.blocks, stat.sectors);
  put64(STAT.atime, stat.atimeSec);
  put64(STAT.atimeNsec, stat.atimeNsec);
  put64(STAT.mtime, stat.mtimeSec);
  put64(STAT.mtimeNsec, stat.mtimeNsec);
  put64(STAT.ctime, stat.ctimeSec);
  put64(STAT.ctimeNsec, stat.ctimeNsec);
  return 0;
}

/** struct statfs (include/uapi/asm-generic/statfs.h): fifteen 64-bit words and the file system's own magic number 0. */
export function putStatfs(memory: Uint8Array, addr: number, stat: StatFs): 0 | Errno {
  const bytes = claim(memory, addr, 120);
  if (isErr(bytes as number)) return bytes as Errno;
  const view = viewOf(bytes as Uint8Array);
  const { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax } = stat;
  const words = [0, blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, 0, nameMax, blockSize, 0];
  for (let at = 0; at < 15; at++) view.setBigInt64(8 * at, BigInt(words[at] ?? 0), true);
  return 0;
}
