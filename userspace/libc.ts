/**
 * What a program has instead of a C library: each function puts its arguments in the task's memory and makes one system
 * call; the answer is `task.result` in the next step.
 *
 *   open(t, "/srv/a", O_RDWR | O_CREAT);          next step: t.result is the descriptor, or a negative errno
 *   pwrite(t, fd, DATA_AT, 4096, offset);         next step: t.result is what was written
 *
 * A task's memory has fixed places:
 *
 *   0      never used: NULL
 *   16     what this file needs: a time, a status, a pipe's ends, the length of the text
 *   64     PATH_AT, PATH2_AT: the paths of a call, 4096 bytes each
 *   8256   STAT_AT: what stat has found
 *   8448   SCRATCH_AT: the program's own tables
 *   14336  TEXT_AT: lines that say() has gathered
 *   16384  DATA_AT: the buffer of reads and writes, up to the end
 */
import { AT_FDCWD, AT_REMOVEDIR, O_RDONLY } from "../kernel/abi/fcntl.ts";
import { USER_BYTES } from "../kernel/abi/program.ts";
import type { UserTask } from "../kernel/abi/program.ts";
import { PATH_MAX } from "../kernel/abi/stat.ts";
import { Nr } from "../kernel/abi/syscall_nr.ts";
import { NS_PER_SEC } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { le64 } from "../kernel/lib/bytes.ts";

const TIME_AT = 16;
const STATUS_AT = 32;
const PIPE_AT = 40;
const TEXT_LENGTH_AT = 48;
export const PATH_AT = 64;
export const PATH2_AT = PATH_AT + PATH_MAX;
export const STAT_AT = PATH2_AT + PATH_MAX;
export const SCRATCH_AT = 8448;
export const TEXT_AT = 14_336;
export const TEXT_BYTES = 2048;
export const SCRATCH_BYTES = TEXT_AT - SCRATCH_AT;
export const DATA_AT = TEXT_AT + TEXT_BYTES;
export const DATA_BYTES = USER_BYTES - DATA_AT;

/** clone(2): the signal of a plain fork. */
const SIGCHLD = 17;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_POPULATE = 0x8000;
/** st_size in struct stat. */
const STAT_SIZE = 48;

const encoder = new TextEncoder();
const viewOf = ({ memory }: UserTask): DataView => new DataView(memory.buffer, memory.byteOffset, memory.byteLength);

/** The text's bytes at `at`, as UTF-8; how many. More than `room` is a program's mistake. */
export function putText(memory: Uint8Array, at: number, room: number, text: string): number {
  assert(text.length <= room, "libc: a text is too long");
  for (let n = 0; n < text.length; n++) {
    const letter = text.charCodeAt(n);
    if (letter >= 0x80) return putWide(memory, at, room, text);
    memory[at + n] = letter;
  }
  return text.length;
}

/** With letters beyond ASCII. */
function putWide(memory: Uint8Array, at: number, room: number, text: string): number {
  const { read: taken, written } = encoder.encodeInto(text, memory.subarray(at, at + room));
  assert(taken === text.length, "libc: a text is too long");
  return written;
}

function putPath(t: UserTask, at: number, path: string): number {
  t.memory[at + putText(t.memory, at, PATH_MAX - 1, path)] = 0;
  return at;
}

/** A 32-bit word of the program's own. */
export function peek({ memory }: UserTask, at: number): number {
  return (memory[at]! | (memory[at + 1]! << 8) | (memory[at + 2]! << 16) | (memory[at + 3]! << 24)) >>> 0;
}
export function poke({ memory }: UserTask, at: number, value: number): void {
  memory[at] = value;
  memory[at + 1] = value >>> 8;
  memory[at + 2] = value >>> 16;
  memory[at + 3] = value >>> 24;
}

// Files.

export const open = (t: UserTask, path: string, flags = O_RDONLY, mode = 0o644): void =>
  t.call(Nr.openat, AT_FDCWD, putPath(t, PATH_AT, path), flags, mode);
export const close = (t: UserTask, fd: number): void => t.call(Nr.close, fd);
export const read = (t: UserTask, fd: number, addr = DATA_AT, bytes = DATA_BYTES): void =>
  t.call(Nr.read, fd, addr, bytes);
export const write = (t: UserTask, fd: number, addr = DATA_AT, bytes = DATA_BYTES): void =>
  t.call(Nr.write, fd, addr, bytes);
export const pread = (t: UserTask, fd: number, addr: number, bytes: number, offset: number): void =>
  t.call(Nr.pread64, fd, addr, bytes, offset);
export const pwrite = (t: UserTask, fd: number, addr: number, bytes: number, offset: number): void =>
  t.call(Nr.pwrite64, fd, addr, bytes, offset);
export const lseek = (t: UserTask, fd: number, offset: number, whence: number): void =>
  t.call(Nr.lseek, fd, offset, whence);
export const ftruncate = (t: UserTask, fd: number, size: number): void => t.call(Nr.ftruncate, fd, size);
export const fsync = (t: UserTask, fd: number): void => t.call(Nr.fsync, fd);
export const fdatasync = (t: UserTask, fd: number): void => t.call(Nr.fdatasync, fd);
export const sync = (t: UserTask): void => t.call(Nr.sync);
/** Entries of a directory, as struct linux_dirent64, in the data buffer. */
export const getdents = (t: UserTask, fd: number): void => t.call(Nr.getdents64, fd, DATA_AT, DATA_BYTES);
export const mkdir = (t: UserTask, path: string, mode = 0o755): void =>
  t.call(Nr.mkdirat, AT_FDCWD, putPath(t, PATH_AT, path), mode);
export const unlink = (t: UserTask, path: string): void => t.call(Nr.unlinkat, AT_FDCWD, putPath(t, PATH_AT, path), 0);
export const rmdir = (t: UserTask, path: string): void =>
  t.call(Nr.unlinkat, AT_FDCWD, putPath(t, PATH_AT, path), AT_REMOVEDIR);
export const rename = (t: UserTask, from: string, to: string): void =>
  t.call(Nr.renameat2, AT_FDCWD, putPath(t, PATH_AT, from), AT_FDCWD, putPath(t, PATH2_AT, to), 0);
export const link = (t: UserTask, from: string, to: string): void =>
  t.call(Nr.linkat, AT_FDCWD, putPath(t, PATH_AT, from), AT_FDCWD, putPath(t, PATH2_AT, to), 0);
export const stat = (t: UserTask, path: string): void =>
  t.call(Nr.newfstatat, AT_FDCWD, putPath(t, PATH_AT, path), STAT_AT, 0);
/** Of the last stat. */
export const statSize = (t: UserTask): number => le64(viewOf(t), STAT_AT + STAT_SIZE);
export const pipe = (t: UserTask, flags = 0): void => t.call(Nr.pipe2, PIPE_AT, flags);
/** Of the last pipe. */
export const pipeEnds = (t: UserTask): [readFd: number, writeFd: number] => [peek(t, PIPE_AT), peek(t, PIPE_AT + 4)];

// Tasks and time.

export function nanosleep(t: UserTask, ns: number): void {
  const view = viewOf(t);
  view.setBigInt64(TIME_AT, BigInt(Math.floor(ns / NS_PER_SEC)), true);
  view.setBigInt64(TIME_AT + 8, BigInt(Math.floor(ns % NS_PER_SEC)), true);
  t.call(Nr.nanosleep, TIME_AT, 0);
}
export const schedYield = (t: UserTask): void => t.call(Nr.sched_yield);
/** The copy goes on at the same step with result 0; its parent with the copy's pid. */
export const fork = (t: UserTask): void => t.call(Nr.clone, SIGCHLD);
/** For any child. */
export const wait = (t: UserTask): void => t.call(Nr.wait4, -1, STATUS_AT, 0);
/** Of the last wait: its exit code times 256, or the signal that killed it. */
export const waitStatus = (t: UserTask): number => peek(t, STATUS_AT);
export const exit = (t: UserTask, code = 0): void => t.call(Nr.exit_group, code);

// Memory as demand: the addresses that these answer lie outside of the task's 64 KiB.

/** 0 asks where it is. */
export const brk = (t: UserTask, address: number): void => t.call(Nr.brk, address);
export const mmap = (t: UserTask, bytes: number): void =>
  t.call(Nr.mmap, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
export const mmapPopulate = (t: UserTask, bytes: number): void =>
  t.call(Nr.mmap, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS | MAP_POPULATE, -1, 0);
export const munmap = (t: UserTask, address: number, bytes: number): void => t.call(Nr.munmap, address, bytes);

// Text, gathered line by line and written in one call.

/** Bytes gathered so far. */
export const saidBytes = (t: UserTask): number => peek(t, TEXT_LENGTH_AT);
export function say(t: UserTask, text: string): void {
  const length = saidBytes(t);
  poke(t, TEXT_LENGTH_AT, length + putText(t.memory, TEXT_AT + length, TEXT_BYTES - length, text));
}
/** Forgets what was gathered. */
export const unsay = (t: UserTask): void => poke(t, TEXT_LENGTH_AT, 0);
/** Writes what was gathered. No call when there is nothing, or no file to write it to. */
export function tell(t: UserTask, fd: number): void {
  const length = saidBytes(t);
  unsay(t);
  if (length > 0 && fd >= 0) write(t, fd, TEXT_AT, length);
}
