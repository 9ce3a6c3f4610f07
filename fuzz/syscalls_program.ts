/**
 * The program of fuzz/syscalls.ts: one random system call after the other, some of them as a program should make them
 * and some with whatever can be wrong. Its draws are the task's own chance, so the machine's seed decides them all.
 *
 *   0      4096          16384     window's end
 *   | NULL | small data  | buffers |
 */
import type { UserProgram, UserTask } from "../kernel/abi/program.ts";
import { USER_BYTES } from "../kernel/abi/program.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
} from "../kernel/abi/fcntl.ts";
import { Nr, NR_MAX } from "../kernel/abi/syscall_nr.ts";

/** Words: calls that are left, the pid that counted them, the call that was made last. */
export const LEFT = 0;
const OWNER = 1;
/** Descriptors of the last pipe, one more; and where the call that may be making one has its buffer. */
const READ_END = 2;
const WRITE_END = 3;
const ENDS_AT = 4;
export const SIGCHLD = 17;
export const BRK_BASE = 0x1000_0000;
export const MMAP_BASE = 0x40_0000_0000;

/** Who is told of every call before it is made and after it. */
export interface Witness {
  called(task: UserTask, nr: number, args: readonly number[]): void;
  answered(task: UserTask): void;
  ends(task: UserTask, code: number): void;
  /** Tasks that may still be made. */
  readonly forks: number;
}

/** Numbers that no length, offset, address or descriptor should be. */
const HOSTILE = [
  -1,
  -2,
  -100,
  -4096,
  0.5,
  1.5,
  2 ** 31,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 32,
  2 ** 32 + 3,
  2 ** 47,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  2 ** 63,
  -(2 ** 63),
  1e300,
  Number.MIN_VALUE,
  -0,
  USER_BYTES,
  USER_BYTES - 1,
  USER_BYTES + 1,
];
const LENGTHS = [0, 1, 2, 7, 8, 16, 24, 100, 512, 1000, 4095, 4096, 4097, 8192, 20_000, 49_152, USER_BYTES];
const NAMES = [
  "a",
  "b",
  "c",
  "d",
  "e",
  "d/a",
  "d/b",
  "d/e/f",
  ".",
  "..",
  "",
  "/",
  "//",
  "d/../a",
  "l",
  "l/a",
  "nowhere/x",
];
const PLACES = [
  "/tmp",
  "/tmp/a",
  "/tmp/b",
  "/tmp/d",
  "/proc/meminfo",
  "/proc/mounts",
  "/proc",
  "/sys",
  "/dev",
  "/dev/kmsg",
  "/dev/none",
  "/d",
  "/a",
  "lost+found",
];
const OPEN_FLAGS = [O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK, O_DIRECT, O_DIRECTORY, O_CLOEXEC, O_SYNC, O_PATH];
const OPEN_OTHER = [O_TMPFILE, 0x4000_0000, -1, 3];
const FCNTL = [F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, 5, 1031, -1];
const ATTRIBUTES = ["user.a", "user.b", "user.", "trusted.t", "system.x", "nothing", "security.s"];

const encoder = new TextEncoder();

class Draw {
  readonly #task: UserTask;
  /** One argument in so many is hostile. */
  readonly #rarity: number;

  constructor(task: UserTask, rarity: number) {
    this.#task = task;
    this.#rarity = rarity;
  }

  below(bound: number): number {
    return this.#task.below(bound);
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** What `sane` gives, or something that it never would. */
  #mostly(sane: () => number): number {
    return this.below(this.#rarity) === 0 ? this.of(HOSTILE) : sane();
  }

  fd(): number {
    const { words } = this.#task;
    if (this.below(4) === 0) return words[this.of([READ_END, WRITE_END])]! - 1;
    return this.#mostly(() => this.below(this.of([3, 3, 6, 6, 10, 66])));
  }

  dirfd(): number {
    return this.below(4) === 0 ? this.fd() : AT_FDCWD;
  }

  length(): number {
    return this.#mostly(() => this.of(LENGTHS));
  }

  offset(): number {
    return this.#mostly(() => this.below(4) * 4096 + this.below(3) * 511);
  }

  flags(values: readonly number[]): number {
    return this.#mostly(() => (this.below(3) === 0 ? this.of(values) : 0));
  }

  buffer(): number {
    return this.#mostly(() => (this.below(12) === 0 ? 0 : 4096 + this.below(USER_BYTES - 4096)));
  }

  /** A buffer and its length, within the window for once. */
  span(): readonly [buffer: number, length: number] {
    const length = this.length();
    const isFit = length >= 0 && length < USER_BYTES - 4096 && this.below(4) > 0;
    return [isFit ? 4096 + this.below(USER_BYTES - 4096 - length) : this.buffer(), length];
  }

  /** Room for something small. */
  small(): number {
    return this.#mostly(() => (this.below(10) === 0 ? 0 : 4096 + 8 * this.below(1024)));
  }

  #text(text: string): number {
    const at = 64 + this.below(2000);
    this.#task.memory.set(encoder.encode(`${text}\0`), at);
    return at;
  }

  path(): number {
    return this.#mostly(() => {
      const kind = this.below(24);
      if (kind === 0) return this.#text("n".repeat(this.of([254, 255, 256, 1000])));
      if (kind === 1) return this.#text("d/".repeat(this.of([100, 1023])) + "a");
      if (kind === 2) return 1 + this.below(USER_BYTES - 1);
      if (kind === 3) return 0;
      return this.#text(kind < 10 ? this.of(PLACES) : this.of(NAMES));
    });
  }

  attribute(): number {
    return this.#mostly(() => this.#text(this.of(ATTRIBUTES)));
  }

  any(): number {
    return this.of([
      () => this.fd(),
      () => this.length(),
      () => this.offset(),
      () => this.buffer(),
      () => this.path(),
      () => this.of(HOSTILE),
    ])();
  }

  openFlags(): number {
    if (this.below(20) === 0) return this.of(OPEN_OTHER);
    let flags = this.of([O_RDWR, O_RDWR | O_CREAT, O_WRONLY | O_CREAT, 0]);
    while (this.below(3) === 0) flags |= this.of(OPEN_FLAGS);
    return flags;
  }

  /** Two 64-bit words. */
  times(nanoseconds: number): number {
    const at = 4096 + 16 * this.below(256);
    const view = new DataView(this.#task.memory.buffer, this.#task.memory.byteOffset);
    view.setBigInt64(at, BigInt(this.below(8) === 0 ? this.of([-1, 1, 10, 2 ** 40]) : 0), true);
    view.setBigInt64(
      at + 8,
      BigInt(this.below(8) === 0 ? this.of([-1, 999_999_999, 1e9, 2 ** 50]) : nanoseconds),
      true,
    );
    return at;
  }

  sleep(): number {
    return this.#mostly(() => this.times(this.of([0, 1, 1000, 50_000, 2_000_000, 30_000_000])));
  }

  utimes(): number {
    return this.#mostly(() => (this.below(3) === 0 ? 0 : this.times(this.of([0, 5, 2 ** 30 - 1, 2 ** 30 - 2]))));
  }

  pages(): number {
    return this.#mostly(() => 4096 * this.of([0, 1, 2, 16, 100, 1000, 2500, 4500, 20_000]) + this.below(3));
  }

  heap(): number {
    return this.#mostly(() => (this.below(3) === 0 ? 0 : BRK_BASE + this.pages()));
  }

  mapped(): number {
    return this.#mostly(() => MMAP_BASE + 4096 * this.below(64));
  }

  pid(): number {
    return this.#mostly(() => this.of([-1, -1, -1, 0, -2, this.below(40), this.#task.pid]));
  }
}

/** How each call is made when it is made well; the rest of its arguments is 0. */
const CALLS: readonly (readonly [weight: number, nr: number, args: (d: Draw) => readonly number[]])[] = [
  [14, Nr.openat, (d) => [d.dirfd(), d.path(), d.openFlags(), d.of([0o644, 0o777, 0, 0o4755])]],
  [8, Nr.close, (d) => [d.fd()]],
  [16, Nr.read, (d) => [d.fd(), ...d.span()]],
  [18, Nr.write, (d) => [d.fd(), ...d.span()]],
  [4, Nr.pread64, (d) => [d.fd(), ...d.span(), d.offset()]],
  [5, Nr.pwrite64, (d) => [d.fd(), ...d.span(), d.offset()]],
  [3, Nr.lseek, (d) => [d.fd(), d.offset(), d.flags([1, 2, 3, 4, 5])]],
  [3, Nr.fsync, (d) => [d.fd()]],
  [2, Nr.fdatasync, (d) => [d.fd()]],
  [1, Nr.sync, () => []],
  [
    6,
    Nr.pipe2,
    (d) => [d.small(), d.of([0, O_CLOEXEC, O_NONBLOCK, O_NONBLOCK, O_NONBLOCK, O_NONBLOCK | O_CLOEXEC, O_DIRECT])],
  ],
  [3, Nr.dup, (d) => [d.fd()]],
  [3, Nr.dup3, (d) => [d.fd(), d.fd(), d.flags([O_CLOEXEC])]],
  [3, Nr.fcntl, (d) => [d.fd(), d.of(FCNTL), d.below(4) === 0 ? d.of([O_NONBLOCK, O_APPEND, -1]) : d.fd()]],
  [3, Nr.mkdirat, (d) => [d.dirfd(), d.path(), 0o755]],
  [4, Nr.unlinkat, (d) => [d.dirfd(), d.path(), d.flags([AT_REMOVEDIR])]],
  [3, Nr.renameat2, (d) => [d.dirfd(), d.path(), d.dirfd(), d.path(), d.flags([1, 2, 4])]],
  [2, Nr.linkat, (d) => [d.dirfd(), d.path(), d.dirfd(), d.path(), d.flags([0x400])]],
  [2, Nr.symlinkat, (d) => [d.path(), d.dirfd(), d.path()]],
  [2, Nr.readlinkat, (d) => [d.dirfd(), d.path(), d.buffer(), d.length()]],
  [3, Nr.newfstatat, (d) => [d.dirfd(), d.path(), d.small(), d.flags([0x100, 0x1000])]],
  [3, Nr.fstat, (d) => [d.fd(), d.small()]],
  [1, Nr.statfs, (d) => [d.path(), d.small()]],
  [1, Nr.fstatfs, (d) => [d.fd(), d.small()]],
  [3, Nr.getdents64, (d) => [d.fd(), ...d.span()]],
  [2, Nr.ftruncate, (d) => [d.fd(), d.offset()]],
  [2, Nr.truncate, (d) => [d.path(), d.offset()]],
  [2, Nr.fallocate, (d) => [d.fd(), d.flags([1, 3, 16, 17]), d.offset(), d.length()]],
  [1, Nr.faccessat, (d) => [d.dirfd(), d.path(), d.below(8)]],
  [2, Nr.chdir, (d) => [d.path()]],
  [1, Nr.fchdir, (d) => [d.fd()]],
  [1, Nr.getcwd, (d) => [d.buffer(), d.length()]],
  [1, Nr.umask, (d) => [d.of([0o022, 0, 0o777, -1])]],
  [1, Nr.fchmod, (d) => [d.fd(), 0o600]],
  [1, Nr.fchmodat, (d) => [d.dirfd(), d.path(), 0o711]],
  [1, Nr.fchown, (d) => [d.fd(), d.any(), 1]],
  [1, Nr.fchownat, (d) => [d.dirfd(), d.path(), 1, d.any(), 0]],
  [2, Nr.utimensat, (d) => [d.dirfd(), d.path(), d.utimes(), d.flags([0x100])]],
  [2, Nr.setxattr, (d) => [d.path(), d.attribute(), d.buffer(), d.length(), d.flags([1, 2])]],
  [1, Nr.lsetxattr, (d) => [d.path(), d.attribute(), d.buffer(), d.length(), 0]],
  [1, Nr.fsetxattr, (d) => [d.fd(), d.attribute(), d.buffer(), d.length(), 0]],
  [1, Nr.getxattr, (d) => [d.path(), d.attribute(), d.buffer(), d.length()]],
  [1, Nr.fgetxattr, (d) => [d.fd(), d.attribute(), d.buffer(), d.length()]],
  [1, Nr.listxattr, (d) => [d.path(), d.buffer(), d.length()]],
  [1, Nr.flistxattr, (d) => [d.fd(), d.buffer(), d.length()]],
  [1, Nr.removexattr, (d) => [d.path(), d.attribute()]],
  [1, Nr.fremovexattr, (d) => [d.fd(), d.attribute()]],
  [3, Nr.nanosleep, (d) => [d.sleep(), 0]],
  [1, Nr.clock_gettime, (d) => [d.of([0, 1, 1, 99, -1]), d.small()]],
  [2, Nr.sched_yield, () => []],
  [1, Nr.setpriority, (d) => [d.of([0, 0, 1]), d.of([0, 0, 5, -1]), d.any()]],
  [1, Nr.getpid, () => []],
  [1, Nr.getppid, () => []],
  [4, Nr.brk, (d) => [d.heap()]],
  [4, Nr.mmap, (d) => [0, d.pages(), 3, d.of([0x22, 0x8022, 0x8022, 2, 0x32]), -1, 0]],
  [4, Nr.munmap, (d) => [d.mapped(), d.pages()]],
  [4, Nr.madvise, (d) => [d.mapped(), d.pages(), d.of([4, 23, 23, 0, 99])]],
  [4, Nr.clone, (d) => [d.of([SIGCHLD, SIGCHLD, SIGCHLD, 0, 0x100])]],
  [5, Nr.wait4, (d) => [d.pid(), d.small(), d.of([0, 1, 1, 1, 2, -1]), 0]],
];
const WEIGHTS = CALLS.reduce((sum, [weight]) => sum + weight, 0);

function draw(d: Draw): readonly [nr: number, args: readonly number[]] {
  let at = d.below(WEIGHTS + 3);
  for (const [weight, nr, args] of CALLS) {
    if (at < weight) return [nr, args(d)];
    at -= weight;
  }
  // Any number at all, and any arguments.
  const nr = d.of([d.below(NR_MAX + 1), d.below(NR_MAX + 1), NR_MAX + 1, 5000, -1, 0.5, 2 ** 32 + Nr.close]);
  return [
    nr === Nr.exit || nr === Nr.exit_group || nr === Nr.clone ? Nr.getpid : nr,
    Array.from({ length: 6 }, () => d.any()),
  ];
}

/** `rarity`: one argument in so many is hostile. */
export function randomProgram(rarity: number, witness: Witness): UserProgram {
  return {
    name: "fuzz",
    step(task) {
      const { words } = task;
      witness.answered(task);
      if (words[ENDS_AT]! > 0 && task.result === 0) {
        const view = new DataView(task.memory.buffer, task.memory.byteOffset);
        words[READ_END] = view.getInt32(words[ENDS_AT]!, true) + 1;
        words[WRITE_END] = view.getInt32(words[ENDS_AT]! + 4, true) + 1;
      }
      words[ENDS_AT] = 0;
      if (words[OWNER] !== task.pid) {
        // A child has less to do, so that the family ends.
        if (words[OWNER] !== 0) words[LEFT] = Math.min(words[LEFT]!, 4 + task.below(20));
        words[OWNER] = task.pid;
      }
      if (words[LEFT]! <= 0) {
        const code = task.below(3) === 0 ? 0 : task.below(300);
        witness.ends(task, code);
        if (code !== 0) task.call(task.below(2) === 0 ? Nr.exit : Nr.exit_group, code);
        return;
      }
      words[LEFT]!--;
      if (task.below(6) === 0) {
        task.run(1 + task.below(400_000));
        return;
      }
      const [nr, args] = draw(new Draw(task, rarity));
      if (nr === Nr.clone && witness.forks <= 0) {
        task.run(1000);
        return;
      }
      if (nr === Nr.pipe2) words[ENDS_AT] = args[0]!;
      // Content that tells one write from another.
      if (nr === Nr.write) task.memory.fill(task.below(256), 4096 + task.below(30_000), 40_000 + task.below(20_000));
      witness.called(task, nr, args);
      task.call(nr, ...args);
    },
  };
}
