/**
 * What programs call: system calls by name, with text put into the task's memory. Each takes the state that comes next
 * and returns it, so that a state of program.ts is one expression. The answer is in task.result in that state.
 *
 *   0          PATH_AT       OTHER_AT      SCRATCH_AT           DATA_AT                    64 KiB
 *   | (NULL)   | a path      | another     | structures, text   | buffer of DATA_BYTES     |
 */
import { AT_FDCWD, AT_REMOVEDIR, O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from "../kernel/abi/fcntl.ts";
import { USER_BYTES } from "../kernel/abi/program.ts";
import type { UserTask } from "../kernel/abi/program.ts";
import { Nr } from "../kernel/abi/syscall_nr.ts";
import { NS_PER_SEC } from "../kernel/abi/units.ts";

export { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY };

const PATH_AT = 64;
const OTHER_AT = 4_224;
export const SCRATCH_AT = 8_384;
export const DATA_AT = 16_384;
export const DATA_BYTES = USER_BYTES - DATA_AT;
const SIGCHLD = 17;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS_POPULATE = 0x8022;
const MODE_FILE = 0o644;
const MODE_DIR = 0o755;

const encoder = new TextEncoder();

/** Text and its NUL at an address; the address. */
export function text(task: UserTask, at: number, value: string): number {
  const bytes = encoder.encode(value);
  task.memory.set(bytes, at);
  task.memory[at + bytes.length] = 0;
  return at;
}

/** The buffer of reads and writes. */
export const data = (task: UserTask, bytes = DATA_BYTES): Uint8Array => task.memory.subarray(DATA_AT, DATA_AT + bytes);

const view = (task: UserTask, at: number, bytes: number): DataView =>
  new DataView(task.memory.buffer, task.memory.byteOffset + at, bytes);

export function run<Name extends string>(task: UserTask, ns: number, next: Name): Name {
  task.run(ns);
  return next;
}

export function open<Name extends string>(task: UserTask, path: string, flags: number, next: Name): Name {
  task.call(Nr.openat, AT_FDCWD, text(task, PATH_AT, path), flags, MODE_FILE);
  return next;
}

export function close<Name extends string>(task: UserTask, fd: number, next: Name): Name {
  task.call(Nr.close, fd);
  return next;
}

/** Into the buffer. */
export function read<Name extends string>(task: UserTask, fd: number, bytes: number, next: Name): Name {
  task.call(Nr.read, fd, DATA_AT, bytes);
  return next;
}

export function pread<Name extends string>(
  task: UserTask,
  fd: number,
  bytes: number,
  offset: number,
  next: Name,
): Name {
  task.call(Nr.pread64, fd, DATA_AT, bytes, offset);
  return next;
}

/** From the buffer. */
export function write<Name extends string>(task: UserTask, fd: number, bytes: number, next: Name): Name {
  task.call(Nr.write, fd, DATA_AT, bytes);
  return next;
}

export function pwrite<Name extends string>(
  task: UserTask,
  fd: number,
  bytes: number,
  offset: number,
  next: Name,
): Name {
  task.call(Nr.pwrite64, fd, DATA_AT, bytes, offset);
  return next;
}

/** One line to a descriptor: /dev/kmsg, a log. */
export function writeText<Name extends string>(task: UserTask, fd: number, value: string, next: Name): Name {
  const bytes = encoder.encode(value);
  task.memory.set(bytes, SCRATCH_AT);
  task.call(Nr.write, fd, SCRATCH_AT, bytes.length);
  return next;
}

export function fsync<Name extends string>(task: UserTask, fd: number, next: Name): Name {
  task.call(Nr.fsync, fd);
  return next;
}

export function fdatasync<Name extends string>(task: UserTask, fd: number, next: Name): Name {
  task.call(Nr.fdatasync, fd);
  return next;
}

export function ftruncate<Name extends string>(task: UserTask, fd: number, bytes: number, next: Name): Name {
  task.call(Nr.ftruncate, fd, bytes);
  return next;
}

export function mkdir<Name extends string>(task: UserTask, path: string, next: Name): Name {
  task.call(Nr.mkdirat, AT_FDCWD, text(task, PATH_AT, path), MODE_DIR);
  return next;
}

export function unlink<Name extends string>(task: UserTask, path: string, next: Name): Name {
  task.call(Nr.unlinkat, AT_FDCWD, text(task, PATH_AT, path), 0);
  return next;
}

export function rmdir<Name extends string>(task: UserTask, path: string, next: Name): Name {
  task.call(Nr.unlinkat, AT_FDCWD, text(task, PATH_AT, path), AT_REMOVEDIR);
  return next;
}

export function rename<Name extends string>(task: UserTask, from: string, to: string, next: Name): Name {
  task.call(Nr.renameat2, AT_FDCWD, text(task, PATH_AT, from), AT_FDCWD, text(task, OTHER_AT, to), 0);
  return next;
}

/** struct stat at SCRATCH_AT. */
export function stat<Name extends string>(task: UserTask, path: string, next: Name): Name {
  task.call(Nr.newfstatat, AT_FDCWD, text(task, PATH_AT, path), SCRATCH_AT, 0);
  return next;
}

export function nanosleep<Name extends string>(task: UserTask, ns: number, next: Name): Name {
  const words = view(task, SCRATCH_AT, 16);
  words.setBigInt64(0, BigInt(Math.floor(ns / NS_PER_SEC)), true);
  words.setBigInt64(8, BigInt(Math.floor(ns % NS_PER_SEC)), true);
  task.call(Nr.nanosleep, SCRATCH_AT, 0);
  return next;
}

/** Anonymous memory, its frames taken at once; the answer is its address. */
export function mmap<Name extends string>(task: UserTask, bytes: number, next: Name): Name {
  task.call(Nr.mmap, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_POPULATE, -1, 0);
  return next;
}

export function munmap<Name extends string>(task: UserTask, address: number, bytes: number, next: Name): Name {
  task.call(Nr.munmap, address, bytes);
  return next;
}

/** The answer is the child's pid, and 0 in the child. */
export function fork<Name extends string>(task: UserTask, next: Name): Name {
  task.call(Nr.clone, SIGCHLD);
  return next;
}

/** Any child; its status at SCRATCH_AT. */
export function wait<Name extends string>(task: UserTask, next: Name): Name {
  task.call(Nr.wait4, -1, SCRATCH_AT, 0, 0);
  return next;
}

export function exit<Name extends string>(task: UserTask, code: number, next: Name): Name {
  task.call(Nr.exit_group, code);
  return next;
}
