/**
 * What tasks of fuzz/syscalls.ts must see, kept beside the machine: descriptors by task and the open files behind them,
 * bytes in pipes, who is whose child, the break, sleeps. Answers come in the order in which calls took effect, since a
 * program is asked at once when its call is over: so one list of events is enough. What the model does not know (the file
 * tree) it checks for form: an errno that exists, no more bytes than asked for, nothing written outside of the buffers.
 */
import * as errno from "../kernel/abi/errno.ts";
import {
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_DIRECT,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
} from "../kernel/abi/fcntl.ts";
import type { UserTask } from "../kernel/abi/program.ts";
import { USER_BYTES } from "../kernel/abi/program.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { BRK_BASE, MMAP_BASE } from "./syscalls_program.ts";
import { Nr, syscallName } from "../kernel/abi/syscall_nr.ts";

const { EAGAIN, EBADF, ECHILD, EFAULT, EINVAL, EMFILE, ENOSYS, EPIPE } = errno;
const WNOHANG = 1;
const PIPE_BYTES = 65_536;
const PIPE_BUF = 4096;
const CHANGEABLE = O_APPEND | O_DIRECT | O_NONBLOCK;
/** Descriptors of a task, as the machine is wired. */
const FDS = 64;
const NAMED = new Map<number, string>(
  Object.entries(errno)
    .filter((entry): entry is [string, (typeof errno)["EPERM"]] => typeof entry[1] === "number")
    .filter(([name]) => name !== "EIOCBQUEUED" && !name.startsWith("EFS"))
    .map(([name, value]) => [value, name]),
);

interface Pipe {
  bytes: number[];
}

interface OpenFile {
  flags: number;
  readonly pipe: Pipe | undefined;
}

interface Descriptor {
  readonly file: OpenFile;
  cloexec: boolean;
}

interface Call {
  readonly nr: number;
  readonly args: readonly number[];
  readonly at: number;
  readonly before: Uint8Array;
  /** Bytes that the pipe has taken of a write so far. */
  put: number;
}

interface Task {
  readonly pid: number;
  readonly parent: number;
  readonly fds: Map<number, Descriptor>;
  call: Call | undefined;
  /** Said that it ends. */
  ended: boolean;
  code: number;
  /** Pages from MMAP_BASE on. */
  readonly mapped: Set<number>;
  brk: number;
  /** Its parent has been told of its end. */
  reaped: boolean;
}

const newTask = (pid: number, parent: number, fds: Map<number, Descriptor>): Task => ({
  pid,
  parent,
  fds,
  call: undefined,
  ended: false,
  code: 0,
  mapped: new Set(),
  brk: BRK_BASE,
  reaped: false,
});

/** What the model asks of the machine. */
export interface Facts {
  now(): number;
  /** The task is there, if only to end; and it is there and nobody has killed it. */
  isThere(pid: number): boolean;
  isAlive(pid: number): boolean;
  wasKilled(pid: number): boolean;
}

/** What a call's code makes of a register. */
const whole = (value: number): number => Math.trunc(value) + 0;

export class SyscallModel {
  readonly tasks = new Map<number, Task>();
  calls = 0;
  /** Answers by call and errno or "ok", for who wants to know what was reached. */
  readonly seen = new Map<string, number>();
  readonly #facts: Facts;
  readonly #answered: ReadonlySet<number>;

  /** @param answered the calls that the machine's features bring. */
  constructor(facts: Facts, answered: ReadonlySet<number>) {
    this.#facts = facts;
    this.#answered = answered;
  }

  #task(task: UserTask, parent = 0): Task {
    const known = this.tasks.get(task.pid);
    if (known !== undefined) return known;
    const fresh = newTask(task.pid, parent, new Map());
    this.tasks.set(task.pid, fresh);
    return fresh;
  }

  called(task: UserTask, nr: number, args: readonly number[]): void {
    const mine = this.#task(task);
    this.calls++;
    mine.call = {
      nr,
      args: Array.from({ length: 6 }, (_, n) => whole(args[n] ?? 0)),
      at: this.#facts.now(),
      before: task.memory.slice(),
      put: 0,
    };
  }

  /** A pipe has taken `count` more bytes of the write that a task is in. What is wrong with that; undefined: nothing. */
  put(pid: number, count: number): string | undefined {
    const { call, fds } = this.tasks.get(pid)!;
    const { args, before } = call!;
    const from = args[1]! + call!.put;
    const pipe = fds.get(args[0]!)!.file.pipe!;
    pipe.bytes.push(...before.subarray(from, from + count));
    call!.put += count;
    return this.#isHeld(pipe, O_RDONLY, false) ? undefined : `pid ${pid}: a pipe that nobody reads took ${count} bytes`;
  }

  ends(task: UserTask, code: number): void {
    const mine = this.#task(task);
    mine.ended = true;
    mine.code = code;
  }

  /** What is wrong with the answer that the task now has; undefined: nothing. */
  answered(task: UserTask): string | undefined {
    const mine = this.#task(task);
    const { call } = mine;
    if (call === undefined) return undefined;
    mine.call = undefined;
    const wrong = this.#judge(mine, call, task);
    const { result } = task;
    const key = `${syscallName(call.nr)} ${result < 0 ? (NAMED.get(result) ?? result) : "ok"}`;
    this.seen.set(key, (this.seen.get(key) ?? 0) + 1);
    return wrong === undefined
      ? undefined
      : `pid ${task.pid}: ${syscallName(call.nr)}(${call.args.join(", ")}) = ${result}: ${wrong}`;
  }

  #judge(mine: Task, call: Call, task: UserTask): string | undefined {
    const { result } = task;
    if (!this.#answered.has(call.nr)) return result === ENOSYS ? undefined : "nobody answers that number";
    if (!Number.isSafeInteger(result)) return "no whole number";
    if (result < 0 && !NAMED.has(result)) return "no errno of Linux";
    if (result === ENOSYS) return "there is such a call";
    return this.#writes(call, task) ?? this.#descriptor(mine, call, result) ?? this.#effect(mine, call, task);
  }

  /** The kernel writes into the buffers of a call and nowhere else. */
  #writes({ nr, args, before }: Call, { memory, result }: UserTask): string | undefined {
    const [from, bytes] = outputOf(nr, args, result);
    const isSame = (begin: number, end: number): boolean =>
      Buffer.compare(before.subarray(begin, end), memory.subarray(begin, end)) === 0;
    const same = bytes <= 0 ? isSame(0, USER_BYTES) : isSame(0, from) && isSame(from + bytes, USER_BYTES);
    return same ? undefined : "memory outside of the call's buffer was written";
  }

  /** Calls on a descriptor: EBADF when there is none, and only then or when it was not opened for that. */
  #descriptor({ fds }: Task, { nr, args }: Call, result: number): string | undefined {
    if (!ON_DESCRIPTORS.has(nr)) return undefined;
    const open = fds.get(args[0]!);
    if (open === undefined)
      return result === EBADF || (result === EINVAL && SAYS_EINVAL_FIRST.has(nr))
        ? undefined
        : "the descriptor is free";
    if (result !== EBADF) return undefined;
    const { flags } = open.file;
    if ((flags & O_PATH) !== 0 || (nr === Nr.dup3 && !(args[1]! >= 0 && args[1]! < FDS))) return undefined;
    const mode = flags & O_ACCMODE;
    if (READS.has(nr) && mode !== O_RDONLY && (mode === O_WRONLY || mode === O_ACCMODE)) return undefined;
    if (WRITES.has(nr) && (mode === O_RDONLY || mode === O_ACCMODE)) return undefined;
    return "the descriptor is open";
  }

  #effect(mine: Task, call: Call, task: UserTask): string | undefined {
    const { nr, args } = call;
    const { result, memory } = task;
    const { fds } = mine;
    switch (nr) {
      case Nr.openat:
        return result < 0
          ? undefined
          : this.#opened(mine, result, { flags: args[2]!, pipe: undefined }, (args[2]! & O_CLOEXEC) !== 0);
      case Nr.close:
        if (result === 0) fds.delete(args[0]!);
        return result > 0 ? "more than 0" : undefined;
      case Nr.dup:
        if (result === EMFILE) return this.#fullFrom(mine, 0);
        return result < 0 ? undefined : this.#opened(mine, result, fds.get(args[0]!)!.file, false);
      case Nr.dup3:
        return this.#dup3(mine, args, result);
      case Nr.fcntl:
        return this.#fcntl(mine, args, result);
      case Nr.pipe2:
        return this.#pipe2(mine, args, result, memory);
      case Nr.read:
        return this.#read(mine, call, result, memory);
      case Nr.write:
        return this.#write(mine, call, result);
      case Nr.pread64:
      case Nr.pwrite64:
      case Nr.getdents64:
      case Nr.readlinkat:
        return result <= Math.max(0, args[nr === Nr.readlinkat ? 3 : 2]!) ? undefined : "more than was asked for";
      case Nr.clone:
        return this.#clone(mine, args, result);
      case Nr.wait4:
        return this.#wait4(mine, call, result, memory);
      case Nr.getpid:
        return result === mine.pid ? undefined : "not its pid";
      case Nr.getppid: {
        const parent = mine.parent !== 0 && this.#mayLive(mine.parent);
        return result === 0 || (result === mine.parent && parent) ? undefined : "not its parent";
      }
      case Nr.nanosleep:
        return this.#nanosleep(call, result);
      case Nr.brk:
        return brk(mine, args, result);
      case Nr.mmap:
        return mmap(mine, args, result);
      case Nr.munmap:
      case Nr.madvise:
        return unmap(mine, call, result);
      default:
        return undefined;
    }
  }

  #mayLive(pid: number): boolean {
    return this.#facts.isThere(pid);
  }

  #lowestFree({ fds }: Task, from: number): number {
    for (let fd = from; ; fd++) if (!fds.has(fd)) return fd;
  }

  #fullFrom(mine: Task, from: number): string | undefined {
    return this.#lowestFree(mine, from) >= FDS ? undefined : "there are descriptors left";
  }

  #opened(mine: Task, fd: number, file: OpenFile, cloexec: boolean, from = 0): string | undefined {
    const lowest = this.#lowestFree(mine, from);
    mine.fds.set(fd, { file, cloexec });
    return fd === lowest ? undefined : `the lowest free descriptor is ${lowest}`;
  }

  #dup3({ fds }: Task, [from, to, flags]: readonly number[], result: number): string | undefined {
    const isLegal = (flags! & ~O_CLOEXEC) === 0 && from !== to;
    if (!isLegal) return result === EINVAL ? undefined : "EINVAL is the answer";
    if (result < 0) return result === EBADF ? undefined : "EBADF is the only other error";
    if (result !== to) return "not the descriptor that was asked for";
    fds.set(to, { file: fds.get(from!)!.file, cloexec: flags !== 0 });
    return undefined;
  }

  #fcntl(mine: Task, [fd, command, argument]: readonly number[], result: number): string | undefined {
    const open = mine.fds.get(fd!);
    if (open === undefined || result === EBADF) return undefined;
    switch (command) {
      case F_DUPFD:
      case F_DUPFD_CLOEXEC: {
        const isLegal = argument! >= 0 && argument! < FDS;
        if (!isLegal) return result === EINVAL ? undefined : "EINVAL is the answer";
        if (result === EMFILE) return this.#fullFrom(mine, argument!);
        return result < 0 ? "no such error" : this.#opened(mine, result, open.file, command !== F_DUPFD, argument);
      }
      case F_GETFD:
        return result === (open.cloexec ? FD_CLOEXEC : 0) ? undefined : `FD_CLOEXEC is ${open.cloexec}`;
      case F_SETFD:
        open.cloexec = (argument! & FD_CLOEXEC) !== 0;
        return result === 0 ? undefined : "0 is the answer";
      case F_SETFL:
        open.file.flags = (open.file.flags & ~CHANGEABLE) | (argument! & CHANGEABLE);
        return result === 0 ? undefined : "0 is the answer";
      case F_GETFL:
        return open.file.pipe === undefined || result === open.file.flags ? undefined : `they are ${open.file.flags}`;
      default:
        return undefined;
    }
  }

  #pipe2(mine: Task, [ends, flags]: readonly number[], result: number, memory: Uint8Array): string | undefined {
    if (result !== 0) return result > 0 ? "more than 0" : undefined;
    const view = new DataView(memory.buffer, memory.byteOffset);
    const [reads, writes] = [view.getInt32(ends!, true), view.getInt32(ends! + 4, true)];
    const pipe: Pipe = { bytes: [] };
    const cloexec = (flags! & O_CLOEXEC) !== 0;
    const rest = flags! & O_NONBLOCK;
    return (
      this.#opened(mine, reads, { flags: O_RDONLY | rest, pipe }, cloexec) ??
      this.#opened(mine, writes, { flags: O_WRONLY | rest, pipe }, cloexec)
    );
  }

  /** Somebody may still hold that end of a pipe: tasks that are about to end do, for a while. */
  #isHeld(pipe: Pipe, mode: number, surely: boolean): boolean {
    for (const { pid, fds, ended } of this.tasks.values()) {
      const isThere = surely ? !ended && this.#facts.isAlive(pid) : this.#mayLive(pid);
      if (!isThere) continue;
      for (const { file } of fds.values()) if (file.pipe === pipe && (file.flags & O_ACCMODE) === mode) return true;
    }
    return false;
  }

  #read({ fds }: Task, { args }: Call, result: number, memory: Uint8Array): string | undefined {
    const [fd, buffer, length] = args as [number, number, number];
    if (result > Math.max(0, length)) return "more than was asked for";
    const pipe = fds.get(fd)?.file.pipe;
    if (result === EAGAIN) return mayWait(fds.get(fd)!.file, (bytes) => bytes.length === 0);
    if (pipe === undefined || result < 0) return undefined;
    if (result === 0)
      return length === 0 || (pipe.bytes.length === 0 && !this.#isHeld(pipe, O_WRONLY, true))
        ? undefined
        : "not at an end";
    const expected = pipe.bytes.splice(0, result);
    if (expected.length < result) return "more than is in the pipe";
    if (result < length && pipe.bytes.length > 0) return "less than there is";
    return expected.every((byte, n) => memory[buffer + n] === byte) ? undefined : "not what was written to the pipe";
  }

  #write({ fds }: Task, { args, put }: Call, result: number): string | undefined {
    const [fd, , length] = args as [number, number, number];
    if (result > Math.max(0, length)) return "more than was asked for";
    const pipe = fds.get(fd)?.file.pipe;
    if (pipe === undefined) return result === EPIPE ? "that is no pipe" : undefined;
    if (result === EPIPE) return this.#isHeld(pipe, O_RDONLY, true) ? "somebody can read" : undefined;
    if (result === EAGAIN)
      return mayWait(fds.get(fd)!.file, (bytes) => PIPE_BYTES - bytes.length < (length <= PIPE_BUF ? length : 1));
    if (put !== Math.max(0, result)) return `the pipe took ${put} bytes`;
    const all = result < 0 || result === length || (fds.get(fd)!.file.flags & O_NONBLOCK) !== 0;
    if (!all && this.#isHeld(pipe, O_RDONLY, true)) return "only a part, though it may wait";
    return pipe.bytes.length <= PIPE_BYTES ? undefined : "more than a pipe holds";
  }

  #clone(mine: Task, [flags]: readonly number[], result: number): string | undefined {
    if (flags !== 17) return result === EINVAL ? undefined : "EINVAL is the answer";
    if (result < 0)
      return result === EAGAIN || result === errno.ENOMEM || result === errno.ENFILE ? undefined : "no such error";
    if (this.tasks.has(result)) return "that pid is somebody's";
    const fds = new Map([...mine.fds].map(([fd, { file, cloexec }]) => [fd, { file, cloexec }]));
    this.tasks.set(result, newTask(result, mine.pid, fds));
    return undefined;
  }

  #wait4(mine: Task, { args }: Call, result: number, memory: Uint8Array): string | undefined {
    const [pid, status, options] = args as [number, number, number];
    const mine_ = [...this.tasks.values()].filter((task) => task.parent === mine.pid && !task.reaped);
    const meant = mine_.filter((task) => pid === -1 || task.pid === pid);
    if (result === ECHILD) return meant.length === 0 ? undefined : "there are children";
    if (result < 0) return result === EINVAL || result === EFAULT ? undefined : "no such error";
    if (result === 0) return (options & WNOHANG) !== 0 && meant.length > 0 ? undefined : "nobody to wait for";
    const child = meant.find((task) => task.pid === result);
    if (child === undefined) return "no child, or one that was waited for";
    child.reaped = true;
    const killed = !child.ended || (status !== 0 && memory[status]! !== 0);
    if (status !== 0 && !killed) {
      const found = new DataView(memory.buffer, memory.byteOffset).getInt32(status, true);
      if (found !== (child.code & 0xff) << 8) return `status ${found} of a task that ended with ${child.code}`;
    }
    return killed && !this.#facts.wasKilled(result) ? "the child has not ended" : undefined;
  }

  #nanosleep({ args, at, before }: Call, result: number): string | undefined {
    if (result !== 0) return result === EINVAL || result === EFAULT ? undefined : "no such error";
    const view = new DataView(before.buffer);
    const ns = Number(view.getBigInt64(args[0]!, true)) * 1e9 + Number(view.getBigInt64(args[0]! + 8, true));
    return this.#facts.now() >= at + ns ? undefined : "it woke too early";
  }
}

function brk(mine: Task, [asked]: readonly number[], result: number): string | undefined {
  const isLegal = asked! >= BRK_BASE;
  if (result === mine.brk) return isLegal && asked! < mine.brk ? "it can always shrink" : undefined;
  mine.brk = result;
  return isLegal && result === asked ? undefined : "neither what was asked for nor what it was";
}

function mmap({ mapped }: Task, [, length, , flags]: readonly number[], result: number): string | undefined {
  if (!(length! > 0)) return result === EINVAL ? undefined : "EINVAL is the answer";
  if (result < 0) return result === errno.ENOMEM || (flags! & 0x30) !== 0x20 ? undefined : "no such error";
  const first = (result - MMAP_BASE) / PAGE_SIZE;
  if (!Number.isInteger(first) || first < 0) return "not the address of a page";
  for (let page = first; page < first + length! / PAGE_SIZE; page++) {
    if (mapped.has(page)) return "these pages are mapped already";
    mapped.add(page);
  }
  return undefined;
}

/** munmap and madvise. */
function unmap({ mapped }: Task, { nr, args }: Call, result: number): string | undefined {
  const [address, length] = args as [number, number];
  if (result > 0) return "more than 0";
  const [first, end] = [(address - MMAP_BASE) / PAGE_SIZE, (address - MMAP_BASE + length) / PAGE_SIZE];
  if (!Number.isInteger(first) || first < 0 || length < 0)
    return result === EINVAL ? undefined : "EINVAL is the answer";
  if (result === EINVAL)
    return nr === Nr.madvise || length === 0 || end > 2 ** 34 ? undefined : "there is nothing wrong";
  const inside = [...mapped].filter((page) => page >= first && page < end);
  if (nr === Nr.madvise) return result !== 0 || inside.length >= end - first ? undefined : "not all of that is mapped";
  if (result === 0) for (const page of inside) mapped.delete(page);
  return undefined;
}

/** EAGAIN: with O_NONBLOCK alone, and where it would wait. */
const mayWait = ({ flags, pipe }: OpenFile, waits: (bytes: readonly number[]) => boolean): string | undefined =>
  pipe !== undefined && (flags & O_NONBLOCK) !== 0 && waits(pipe.bytes) ? undefined : "it has not to wait";

const READS = new Set<number>([Nr.read, Nr.pread64, Nr.getdents64]);
const WRITES = new Set<number>([Nr.write, Nr.pwrite64, Nr.ftruncate, Nr.fallocate]);
const ON_DESCRIPTORS = new Set<number>([
  ...READS,
  ...WRITES,
  Nr.close,
  Nr.dup,
  Nr.dup3,
  Nr.fcntl,
  Nr.lseek,
  Nr.fsync,
  Nr.fdatasync,
  Nr.fstat,
  Nr.fstatfs,
  Nr.fchdir,
  Nr.fchmod,
  Nr.fchown,
  Nr.fsetxattr,
  Nr.fgetxattr,
  Nr.flistxattr,
  Nr.fremovexattr,
]);
/** Linux, too, looks at these calls' other arguments first. */
const SAYS_EINVAL_FIRST = new Set<number>([Nr.dup3, Nr.pread64, Nr.pwrite64, Nr.ftruncate]);

/** Where a call that answers `result` may have written. */
function outputOf(nr: number, args: readonly number[], result: number): readonly [from: number, bytes: number] {
  const at = (n: number, bytes: number): readonly [number, number] => [args[n]!, args[n] === 0 ? 0 : bytes];
  switch (nr) {
    case Nr.read:
    case Nr.pread64:
    case Nr.getdents64:
      return at(1, result);
    case Nr.readlinkat:
      return at(2, result);
    case Nr.getcwd:
      return at(0, result);
    case Nr.getxattr:
    case Nr.lgetxattr:
    case Nr.fgetxattr:
      return at(2, args[3] === 0 ? 0 : result);
    case Nr.listxattr:
    case Nr.llistxattr:
    case Nr.flistxattr:
      return at(1, args[2] === 0 ? 0 : result);
    default:
  }
  if (result < 0) return [0, 0];
  switch (nr) {
    case Nr.newfstatat:
      return at(2, 128);
    case Nr.fstat:
      return at(1, 128);
    case Nr.statfs:
    case Nr.fstatfs:
      return at(1, 120);
    case Nr.pipe2:
      return at(0, 8);
    case Nr.wait4:
      return at(1, result > 0 ? 4 : 0);
    case Nr.clock_gettime:
      return at(1, 16);
    default:
      return [0, 0];
  }
}
