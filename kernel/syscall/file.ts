/**
 * System calls on files: arguments of the riscv64 ABI, decoded, to the VFS (Linux: fs/*.c, SYSCALL_DEFINE). A call that
 * has to wait sleeps on the channel that its file system names.
 */
import { E2BIG, EBADF, EFAULT, EINVAL, EIOCBQUEUED } from "../abi/errno.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../abi/fcntl.ts";
import { XATTR_SIZE_MAX } from "../abi/limits.ts";
import { Nr } from "../abi/syscall_nr.ts";
import type { FileStat } from "../fs/vfs/attr.ts";
import type { StatFs } from "../fs/vfs/file_system.ts";
import { newStat } from "../fs/vfs/state.ts";
import type { Vfs } from "../fs/vfs/vfs.ts";
import { claim, pathAt, putInt32, putStat, putStatfs, splitTimes, xattrNameAt } from "../uaccess.ts";
import type { CallGroup, CallKernel } from "./call.ts";

export interface FileCallParts {
  readonly kernel: CallKernel;
  readonly vfs: Vfs;
  /** The channel on which to wait for what the VFS says; and lets what the call has queued go to the disk. */
  readonly waitChannel: () => number;
  /** After each call that may have queued something. */
  readonly pushed: () => void;
}

type Path = Uint8Array;
const NOWHERE: StatFs = {
  blockSize: 0,
  blocks: 0,
  blocksFree: 0,
  blocksAvailable: 0,
  files: 0,
  filesFree: 0,
  nameMax: 0,
};

/** A uid or gid: 32 bits, all set for "as it is". */
const id = (value: number): number => ((value | 0) === -1 ? -1 : value >>> 0);

export function fileCalls({ kernel, vfs, waitChannel, pushed }: FileCallParts): CallGroup {
  const { processes } = kernel;
  const stat: FileStat = { ...newStat(), dev: 0 };
  const statfs: StatFs = { ...NOWHERE };
  const arg = (p: number, n: number): number => processes.argument(p, n);
  const memory = (p: number): Uint8Array => processes.memory(p);
  const task = (p: number): number => processes.vfsTask[p]!;

  /** A call of the VFS; waits where that waits. */
  const ask =
    (code: (p: number, task: number) => number) =>
    (p: number): number => {
      const done = code(p, task(p));
      pushed();
      if (done === EIOCBQUEUED) kernel.sleep(p, waitChannel());
      return done;
    };
  /** The same of a path in argument `n`. */
  const withPath = (n: number, code: (p: number, task: number, path: Path) => number): ((p: number) => number) =>
    ask((p, t) => {
      const path = pathAt(memory(p), arg(p, n));
      return typeof path === "number" ? path : code(p, t, path);
    });
  /** Of two. */
  const withPaths = (n: number, m: number, code: (p: number, t: number, a: Path, b: Path) => number) =>
    withPath(n, (p, t, a) => {
      const b = pathAt(memory(p), arg(p, m));
      return typeof b === "number" ? b : code(p, t, a, b);
    });
  /**
   * Of a buffer: its address in argument n, its length in n + 1. What is wrong with the rest of the call is told first,
   * as in Linux: the call is made without a byte.
   */
  const withBuffer = (n: number, code: (p: number, task: number, bytes: Uint8Array) => number) =>
    ask((p, t) => {
      const bytes = claim(memory(p), arg(p, n), arg(p, n + 1));
      if (typeof bytes !== "number") return code(p, t, bytes);
      const without = code(p, t, memory(p).subarray(0, 0));
      return without < 0 || arg(p, n + 1) === 0 ? without : bytes;
    });
  const answerStat = (p: number, addr: number, done: number): number =>
    done === 0 ? putStat(memory(p), addr, stat) : done;
  const answerStatfs = (p: number, addr: number, done: number): number =>
    done === 0 ? putStatfs(memory(p), addr, statfs) : done;

  /** The three of each call on attributes: by path, by path without following, by descriptor. */
  type Xattr = (p: number, t: number, what: Path | number, name: string, flags: number) => number;
  const xattr = (numbers: readonly [number, number, number], code: Xattr): CallGroup => {
    const named = (p: number, t: number, what: Path | number, flags: number): number => {
      const name = xattrNameAt(memory(p), arg(p, 1));
      return typeof name === "number" ? name : code(p, t, what, name, flags);
    };
    return [
      [numbers[0], withPath(0, (p, t, path) => named(p, t, path, 0))],
      [numbers[1], withPath(0, (p, t, path) => named(p, t, path, AT_SYMLINK_NOFOLLOW))],
      [numbers[2], ask((p, t) => (vfs.isOpen(t, arg(p, 0)) ? named(p, t, arg(p, 0), 0) : EBADF))],
    ];
  };
  /**
   * Room for a value or names: its address in argument n, its size in n + 1; size 0 asks how long it is. Only what is
   * put there has to lie within the task's memory, and not all that was offered.
   */
  const intoRoom = (p: number, n: number, code: (into: Uint8Array) => number): number => {
    const bytes = memory(p);
    const [addr, size] = [arg(p, n), arg(p, n + 1)];
    if (size === 0) return code(bytes.subarray(0, 0));
    const within = addr > 0 && addr < bytes.length ? Math.min(bytes.length - addr, XATTR_SIZE_MAX) : 0;
    if (size > 0 && size <= within) return code(bytes.subarray(addr, addr + size));
    const room = bytes.subarray(addr, addr + within);
    const length = code(bytes.subarray(0, 0));
    return length <= 0 ? length : length > within ? EFAULT : code(room);
  };
  /** A value in arguments 2 and 3. */
  const valueAt = (p: number): Uint8Array | number => {
    const size = arg(p, 3);
    if (size === 0) return memory(p).subarray(0, 0);
    return size > 0 && size <= XATTR_SIZE_MAX ? claim(memory(p), arg(p, 2), size) : E2BIG;
  };
  const listed = (p: number, t: number, what: Path | number, flags: number): number =>
    intoRoom(p, 1, (into) => vfs.listxattr(t, what, into, { flags }));

  return [
    [Nr.openat, withPath(1, (p, t, path) => vfs.open(t, path, arg(p, 2), arg(p, 3), { dirfd: arg(p, 0) }))],
    [Nr.close, ask((p, t) => vfs.close(t, arg(p, 0)))],
    [Nr.read, withBuffer(1, (p, t, into) => vfs.read(t, arg(p, 0), into))],
    [Nr.write, withBuffer(1, (p, t, from) => vfs.write(t, arg(p, 0), from))],
    [Nr.pread64, withBuffer(1, (p, t, into) => vfs.pread(t, arg(p, 0), into, arg(p, 3)))],
    [Nr.pwrite64, withBuffer(1, (p, t, from) => vfs.pwrite(t, arg(p, 0), from, arg(p, 3)))],
    [Nr.lseek, ask((p, t) => vfs.lseek(t, arg(p, 0), arg(p, 1), arg(p, 2)))],
    [Nr.fsync, ask((p, t) => vfs.fsync(t, arg(p, 0)))],
    [Nr.fdatasync, ask((p, t) => vfs.fdatasync(t, arg(p, 0)))],
    [Nr.sync, ask((_, t) => vfs.sync(t))],
    [Nr.truncate, withPath(0, (p, t, path) => vfs.truncate(t, path, arg(p, 1)))],
    [Nr.ftruncate, ask((p, t) => vfs.ftruncate(t, arg(p, 0), arg(p, 1)))],
    [Nr.fallocate, ask((p, t) => vfs.fallocate(t, arg(p, 0), arg(p, 1), arg(p, 2), arg(p, 3)))],
    [Nr.getdents64, withBuffer(1, (p, t, into) => vfs.getdents64(t, arg(p, 0), into))],
    [Nr.dup, ask((p, t) => vfs.dup(t, arg(p, 0)))],
    [Nr.dup3, ask((p, t) => vfs.dup3(t, arg(p, 0), arg(p, 1), arg(p, 2)))],
    [Nr.fcntl, ask((p, t) => vfs.fcntl(t, arg(p, 0), arg(p, 1), arg(p, 2)))],
    [
      Nr.getcwd,
      (p) => {
        const into = claim(memory(p), arg(p, 0), arg(p, 1));
        return typeof into === "number" ? into : ask((_, t) => vfs.getcwd(t, into))(p);
      },
    ],
    [Nr.chdir, withPath(0, (_, t, path) => vfs.chdir(t, path))],
    [Nr.fchdir, ask((p, t) => vfs.fchdir(t, arg(p, 0)))],
    [Nr.umask, (p) => vfs.umask(task(p), arg(p, 0))],
    [Nr.mkdirat, withPath(1, (p, t, path) => vfs.mkdir(t, path, arg(p, 2), { dirfd: arg(p, 0) }))],
    [Nr.unlinkat, withPath(1, (p, t, path) => vfs.unlink(t, path, { dirfd: arg(p, 0), flags: arg(p, 2) }))],
    [Nr.renameat2, withPaths(1, 3, (p, t, from, to) => vfs.rename(t, from, to, arg(p, 4), arg(p, 0), arg(p, 2)))],
    [Nr.linkat, withPaths(1, 3, (p, t, from, to) => vfs.link(t, from, to, arg(p, 4), arg(p, 0), arg(p, 2)))],
    [Nr.symlinkat, withPaths(0, 2, (p, t, target, path) => vfs.symlink(t, target, path, { dirfd: arg(p, 1) }))],
    [
      Nr.readlinkat,
      withPath(1, (p, t, path) => {
        const into = arg(p, 3) > 0 ? claim(memory(p), arg(p, 2), arg(p, 3)) : EINVAL;
        return typeof into === "number" ? into : vfs.readlink(t, path, into, { dirfd: arg(p, 0) });
      }),
    ],
    [
      Nr.newfstatat,
      withPath(1, (p, t, path) =>
        answerStat(p, arg(p, 2), vfs.stat(t, path, stat, { dirfd: arg(p, 0), flags: arg(p, 3) })),
      ),
    ],
    [Nr.fstat, ask((p, t) => (arg(p, 0) < 0 ? EBADF : answerStat(p, arg(p, 1), vfs.stat(t, arg(p, 0), stat))))],
    [Nr.statfs, withPath(0, (p, t, path) => answerStatfs(p, arg(p, 1), vfs.statfs(t, path, statfs)))],
    [Nr.fstatfs, ask((p, t) => (arg(p, 0) < 0 ? EBADF : answerStatfs(p, arg(p, 1), vfs.statfs(t, arg(p, 0), statfs))))],
    [Nr.faccessat, withPath(1, (p, t, path) => vfs.access(t, path, arg(p, 2), { dirfd: arg(p, 0) }))],
    [Nr.fchmod, ask((p, t) => (arg(p, 0) < 0 ? EBADF : vfs.chmod(t, arg(p, 0), arg(p, 1))))],
    [Nr.fchmodat, withPath(1, (p, t, path) => vfs.chmod(t, path, arg(p, 2), { dirfd: arg(p, 0) }))],
    [Nr.fchown, ask((p, t) => (arg(p, 0) < 0 ? EBADF : vfs.chown(t, arg(p, 0), id(arg(p, 1)), id(arg(p, 2)))))],
    [
      Nr.fchownat,
      withPath(1, (p, t, path) =>
        vfs.chown(t, path, id(arg(p, 2)), id(arg(p, 3)), { dirfd: arg(p, 0), flags: arg(p, 4) }),
      ),
    ],
    [Nr.utimensat, (p) => utimensat(p)],
    ...xattr([Nr.setxattr, Nr.lsetxattr, Nr.fsetxattr], (p, t, what, name, flags) => {
      const value = valueAt(p);
      return typeof value === "number" ? value : vfs.setxattr(t, what, name, value, arg(p, 4), { flags });
    }),
    ...xattr([Nr.getxattr, Nr.lgetxattr, Nr.fgetxattr], (p, t, what, name, flags) =>
      intoRoom(p, 2, (into) => vfs.getxattr(t, what, name, into, { flags })),
    ),
    ...xattr([Nr.removexattr, Nr.lremovexattr, Nr.fremovexattr], (_, t, what, name, flags) =>
      vfs.removexattr(t, what, name, { flags }),
    ),
    [Nr.listxattr, withPath(0, (p, t, path) => listed(p, t, path, 0))],
    [Nr.llistxattr, withPath(0, (p, t, path) => listed(p, t, path, AT_SYMLINK_NOFOLLOW))],
    [Nr.flistxattr, ask((p, t) => (vfs.isOpen(t, arg(p, 0)) ? listed(p, t, arg(p, 0), 0) : EBADF))],
    [
      Nr.pipe2,
      (p) => {
        const ends = claim(memory(p), arg(p, 0), 8);
        if (typeof ends === "number") return ends;
        const made = vfs.pipe2(task(p), arg(p, 1));
        return typeof made === "number" ? made : putInt32(memory(p), arg(p, 0), made[0], made[1]);
      },
    ],
  ];

  /** Two struct timespec, or NULL for now; no path: the descriptor itself. */
  function utimensat(p: number): number {
    const addr = arg(p, 2);
    const words = addr === 0 ? undefined : claim(memory(p), addr, 32);
    if (typeof words === "number") return words;
    const times = words && ([splitTimes(words), splitTimes(words.subarray(16))] as const);
    const [dirfd, flags] = [arg(p, 0), arg(p, 3)];
    if (arg(p, 1) === 0 && dirfd !== AT_FDCWD) {
      if (flags !== 0) return EINVAL;
      return ask((_, t) => (vfs.isOpen(t, dirfd) ? vfs.utimens(t, dirfd, times) : EBADF))(p);
    }
    const path = pathAt(memory(p), arg(p, 1));
    if (typeof path === "number") return path;
    return ask((_, t) => vfs.utimens(t, path, times, { dirfd, flags }))(p);
  }
}
