/** Calls on files as a program makes them: what is wrong with their arguments, errno by errno, on ext4. */
import { describe, expect, it } from "vitest";
import {
  E2BIG,
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  EISDIR,
  EMFILE,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ERANGE,
} from "../../../kernel/abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_DIRECTORY, O_PATH, O_RDWR, O_WRONLY } from "../../../kernel/abi/fcntl.ts";
import type { UserTask } from "../../../kernel/abi/program.ts";
import { USER_BYTES } from "../../../kernel/abi/program.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";
import { call, int32, int64, putTimes, runOne, text } from "../machine_rig.ts";

const END = USER_BYTES;

/** Makes calls one after the other and gives their answers; a path among the arguments is text. */
async function answers(
  calls: (task: UserTask) => readonly (readonly [nr: number, ...args: readonly (number | string)[]])[],
  look?: (task: UserTask) => void,
): Promise<number[]> {
  const found: number[] = [];
  await runOne(function* (t) {
    for (const [nr, ...args] of calls(t)) {
      const numbers = args.map((arg, n) => (typeof arg === "string" ? text(t, arg, 64 + 300 * n) : arg));
      found.push(yield* call(nr, ...numbers));
    }
    look?.(t);
  });
  return found;
}

const open = (path: string, flags = O_RDWR | O_CREAT): readonly [number, ...(number | string)[]] => [
  Nr.openat,
  AT_FDCWD,
  path,
  flags,
  0o644,
];

describe("descriptors", () => {
  it("are the lowest free ones; EBADF for what is none", async () => {
    const calls = [
      open("/a"),
      open("/b"),
      [Nr.close, 0],
      [Nr.dup, 1],
      [Nr.close, 5],
      [Nr.close, -1],
      [Nr.close, 2 ** 40],
    ];
    expect(await answers(() => calls as never)).toEqual([0, 1, 0, 0, EBADF, EBADF, EBADF]);
  });

  it("dup3: EINVAL for equal ones and other flags, EBADF beyond the table", async () => {
    const calls = [
      open("/a"),
      [Nr.dup3, 0, 0, 0],
      [Nr.dup3, 0, 9, 1],
      [Nr.dup3, 0, 64, 0],
      [Nr.dup3, 3, 4, 0],
      [Nr.dup3, 0, 63, 0],
    ];
    expect(await answers(() => calls as never)).toEqual([0, EINVAL, EINVAL, EBADF, EBADF, 63]);
  });

  it("EMFILE when the table is full, and pipe2 then makes neither end", async () => {
    const dups = Array.from({ length: 62 }, () => [Nr.dup, 0]);
    const calls = [open("/a"), ...dups, [Nr.pipe2, 4096, 0], [Nr.dup, 0], [Nr.dup, 0], open("/b")];
    expect((await answers(() => calls as never)).slice(-4)).toEqual([EMFILE, 63, EMFILE, EMFILE]);
  });
});

describe("read and write", () => {
  it("say EBADF before EFAULT, and EFAULT for what does not lie within", async () => {
    const calls = [
      open("/a"),
      [Nr.write, 9, 0, 10],
      [Nr.write, 0, 0, 10],
      [Nr.write, 0, END - 9, 10],
      [Nr.write, 0, END - 10, 10],
      [Nr.write, 0, 64, -1],
      [Nr.write, 0, 64, 2 ** 40],
      [Nr.write, 0, -5, 10],
      [Nr.write, 0, 0, 0],
      [Nr.pread64, 0, 0, 10, 0],
      [Nr.pread64, 0, 64, 10, -1],
      [Nr.pwrite64, 0, 64, 10, -1],
      [Nr.pread64, 0, 64, 100, 4],
    ];
    expect(await answers(() => calls as never)).toEqual([
      0,
      EBADF,
      EFAULT,
      EFAULT,
      10,
      EFAULT,
      EFAULT,
      EFAULT,
      0,
      EFAULT,
      EINVAL,
      EINVAL,
      6,
    ]);
  });

  it("of a directory, and in the other direction", async () => {
    const calls = [open("/", O_DIRECTORY), open("/a", O_WRONLY | O_CREAT), open("/a", O_PATH)];
    const more = [
      [Nr.read, 0, 4096, 10],
      [Nr.write, 0, 4096, 10],
      [Nr.read, 1, 4096, 10],
      [Nr.read, 2, 4096, 10],
      [Nr.getdents64, 1, 4096, 100],
      [Nr.getdents64, 0, 4096, 8],
      [Nr.getdents64, 0, 0, 100],
    ];
    expect((await answers(() => [...calls, ...more] as never)).slice(3)).toEqual([
      EISDIR,
      EBADF,
      EBADF,
      EBADF,
      ENOTDIR,
      EINVAL,
      EINVAL,
    ]);
  });

  it("give back what was written, through the disk", async () => {
    await runOne(function* (t) {
      const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/data"), O_RDWR | O_CREAT, 0o600);
      for (let n = 0; n < 30_000; n++) t.memory[4096 + n] = n % 253;
      expect(yield* call(Nr.write, fd, 4096, 30_000)).toBe(30_000);
      expect(yield* call(Nr.fsync, fd)).toBe(0);
      expect(yield* call(Nr.lseek, fd, 100, 0)).toBe(100);
      expect(yield* call(Nr.read, fd, 40_000, 1000)).toBe(1000);
      for (let n = 0; n < 1000; n++) expect(t.memory[40_000 + n]).toBe((100 + n) % 253);
      expect(yield* call(Nr.fstat, fd, 8192)).toBe(0);
      expect([int64(t, 8192 + 48), int32(t, 8192 + 16) & 0o777]).toEqual([30_000, 0o600]);
    });
  });
});

describe("paths", () => {
  it("EFAULT, ENAMETOOLONG, ENOENT, EEXIST, ENOTDIR, EISDIR", async () => {
    const long = "n".repeat(256);
    const calls = [
      [Nr.openat, AT_FDCWD, 0, 0],
      [Nr.openat, AT_FDCWD, END, 0],
      open(`/${long}`),
      open("/none", 0),
      open(""),
      [Nr.mkdirat, AT_FDCWD, "/d", 0o755],
      [Nr.mkdirat, AT_FDCWD, "/d", 0o755],
      open("/a"),
      open("/a/b"),
      open("/d"),
      [Nr.openat, 77, "a", 0],
      [Nr.openat, 0, "a", 0],
      [Nr.openat, 77, "/a", 0],
    ];
    expect(await answers(() => calls as never)).toEqual([
      EFAULT,
      EFAULT,
      ENAMETOOLONG,
      ENOENT,
      ENOENT,
      0,
      EEXIST,
      0,
      ENOTDIR,
      EISDIR,
      EBADF,
      ENOTDIR,
      1,
    ]);
  });

  it("readlinkat and getcwd into buffers that are too small or none", async () => {
    const calls = [
      [Nr.symlinkat, "/somewhere", AT_FDCWD, "/l"],
      [Nr.readlinkat, AT_FDCWD, "/l", 4096, 0],
      [Nr.readlinkat, AT_FDCWD, "/l", 4096, -1],
      [Nr.readlinkat, AT_FDCWD, "/l", 0, 10],
      [Nr.readlinkat, AT_FDCWD, "/l", 4096, 4],
      [Nr.getcwd, 4096, 1],
      [Nr.getcwd, 0, 10],
      [Nr.getcwd, 4096, 2],
    ];
    expect(await answers(() => calls as never)).toEqual([0, EINVAL, EINVAL, EFAULT, 4, ERANGE, EFAULT, 2]);
  });
});

describe("attributes", () => {
  it("utimensat without a path is of the descriptor, and chown takes 32 bits", async () => {
    const calls = [
      open("/a"),
      [Nr.utimensat, 0, 0, 0, 0],
      [Nr.utimensat, 0, 0, 0, 0x100],
      [Nr.utimensat, -5, 0, 0, 0],
      [Nr.utimensat, 9, 0, 0, 0],
      [Nr.utimensat, AT_FDCWD, 0, 0, 0],
      [Nr.utimensat, 0, "/a", 0, 0],
      [Nr.fchown, 0, 2 ** 32 + 5, -1],
      [Nr.fchown, 0, 2 ** 32 - 1, 7],
      [Nr.fstat, 0, 8192],
    ];
    const owner: number[] = [];
    const look = (t: UserTask): void => void owner.push(int32(t, 8192 + 24), int32(t, 8192 + 28));
    expect(await answers(() => calls as never, look)).toEqual([0, 0, EINVAL, EBADF, EBADF, EFAULT, 0, 0, 0, 0]);
    expect(owner).toEqual([5, 7]);
  });

  it("of a file: E2BIG, ERANGE, ENODATA, EFAULT, and room may be offered larger than memory has it", async () => {
    const calls = [
      open("/a"),
      [Nr.setxattr, "/a", "user.k", 4096, 65_537, 0],
      [Nr.setxattr, "/a", "user.k", 4096, -1, 0],
      [Nr.setxattr, "/a", "user.k", 0, 5, 0],
      [Nr.setxattr, "/a", "user.k", 4096, 5, 0],
      [Nr.getxattr, "/a", "user.k", 0, 0],
      [Nr.getxattr, "/a", "user.k", 8192, 4],
      [Nr.getxattr, "/a", "user.k", 8192, 5],
      [Nr.getxattr, "/a", "user.k", END - 5, 65_536],
      [Nr.getxattr, "/a", "user.k", END - 4, 65_536],
      [Nr.getxattr, "/a", "user.none", 8192, 5],
      [Nr.getxattr, "/a", 0, 8192, 5],
      [Nr.fgetxattr, 9, 0, 8192, 5],
      [Nr.fgetxattr, 0, "user.k", 8192, 2 ** 50],
      [Nr.listxattr, "/a", 8192, 3],
      [Nr.flistxattr, 0, END - 7, 100],
    ];
    expect(await answers(() => calls as never)).toEqual([
      0,
      E2BIG,
      E2BIG,
      EFAULT,
      0,
      5,
      ERANGE,
      5,
      5,
      EFAULT,
      ENODATA,
      EFAULT,
      EBADF,
      5,
      ERANGE,
      7,
    ]);
  });

  it("times are what utimensat sets, and now from the machine's first second on", async () => {
    await runOne(function* (t) {
      yield* call(Nr.openat, AT_FDCWD, text(t, "/a"), O_RDWR | O_CREAT, 0o600);
      const first = int64;
      expect(yield* call(Nr.newfstatat, AT_FDCWD, 64, 8192, 0)).toBe(0);
      expect(first(t, 8192 + 88)).toBeGreaterThanOrEqual(1_767_225_600);
      putTimes(t, 4096, 5, 6);
      putTimes(t, 4112, 7, 8);
      expect(yield* call(Nr.utimensat, AT_FDCWD, 64, 4096, 0)).toBe(0);
      expect(yield* call(Nr.newfstatat, AT_FDCWD, 64, 8192, 0)).toBe(0);
      expect([72, 80, 88, 96].map((at) => int64(t, 8192 + at))).toEqual([5, 6, 7, 8]);
      expect(yield* call(Nr.utimensat, AT_FDCWD, 64, END - 8, 0)).toBe(EFAULT);
    });
  });
});

it("a call writes nothing when its answer has no room: fstat, pipe2", async () => {
  const calls = [open("/a"), [Nr.fstat, 0, END - 100], [Nr.pipe2, END - 7, 0], [Nr.pipe2, 0, 0], [Nr.dup, 0]];
  expect(await answers(() => calls as never)).toEqual([0, EFAULT, EFAULT, EFAULT, 1]);
});
