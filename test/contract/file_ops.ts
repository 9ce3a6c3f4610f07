/**
 * Calls on files as plain data, and what plays them: `playVfs` on the VFS; the model (file_model.ts) and the host's Linux
 * (host_judge.c) take the same data. The outcome of a call is a text: its number, and behind it what it found.
 *
 * Two tasks make the calls: 0 is root, 1 is a user (uid 1000, group 1000, also in group 50). Each has descriptors 0 to 7.
 */
import * as fc from "fast-check";
import {
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from "../../kernel/abi/fcntl.ts";
import { isDir, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG } from "../../kernel/abi/stat.ts";
import type { FileStat } from "../../kernel/fs/vfs/attr.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "../../kernel/fs/vfs/file_system.ts";
import { newStat } from "../../kernel/fs/vfs/state.ts";
import { finish, type Vfs } from "../../kernel/fs/vfs/vfs.ts";

export const FDS = 8;
export const USER = { uid: 1000, gid: 1000, groups: [50] };

export type Op = { readonly task: number } & (
  | { readonly op: "open"; readonly path: string; readonly flags: number; readonly mode: number }
  | { readonly op: "close" | "dup" | "fstat" | "fchdir" | "fsync"; readonly fd: number }
  | { readonly op: "dup2"; readonly fd: number; readonly to: number }
  | { readonly op: "read"; readonly fd: number; readonly n: number }
  | { readonly op: "write"; readonly fd: number; readonly n: number; readonly seed: number }
  | { readonly op: "pread"; readonly fd: number; readonly n: number; readonly at: number }
  | { readonly op: "pwrite"; readonly fd: number; readonly n: number; readonly seed: number; readonly at: number }
  | { readonly op: "lseek"; readonly fd: number; readonly at: number; readonly whence: number }
  | { readonly op: "ftruncate"; readonly fd: number; readonly size: number }
  | { readonly op: "fchmod"; readonly fd: number; readonly mode: number }
  | { readonly op: "fallocate"; readonly fd: number; readonly mode: number; readonly at: number; readonly n: number }
  | { readonly op: "truncate"; readonly path: string; readonly size: number }
  | { readonly op: "mkdir" | "chmod"; readonly path: string; readonly mode: number }
  | { readonly op: "mknod"; readonly path: string; readonly mode: number; readonly rdev: number }
  | { readonly op: "symlink"; readonly target: string; readonly path: string }
  | { readonly op: "link" | "rename"; readonly path: string; readonly to: string; readonly flags: number }
  | { readonly op: "unlink" | "stat"; readonly path: string; readonly flags: number }
  | { readonly op: "readlink" | "chdir" | "list" | "listxattr"; readonly path: string }
  | { readonly op: "getcwd" }
  | { readonly op: "umask"; readonly mode: number }
  | { readonly op: "access"; readonly path: string; readonly want: number }
  | { readonly op: "chown"; readonly path: string; readonly uid: number; readonly gid: number }
  | {
      readonly op: "setxattr";
      readonly path: string;
      readonly name: string;
      readonly n: number;
      readonly flags: number;
    }
  | { readonly op: "getxattr" | "removexattr"; readonly path: string; readonly name: string }
);

/** The tree that every sequence starts from. */
export const START: readonly Op[] = [
  { task: 0, op: "umask", mode: 0o022 },
  { task: 1, op: "umask", mode: 0o022 },
  { task: 0, op: "chmod", path: "/", mode: 0o755 },
  { task: 0, op: "mkdir", path: "/d", mode: 0o777 },
  { task: 0, op: "mkdir", path: "/d/e", mode: 0o777 },
  { task: 0, op: "mkdir", path: "/s", mode: 0o777 },
  { task: 0, op: "chmod", path: "/s", mode: 0o1777 },
  { task: 0, op: "mkdir", path: "/u", mode: 0o755 },
  { task: 0, op: "chown", path: "/u", uid: 1000, gid: 50 },
  { task: 0, op: "chmod", path: "/u", mode: 0o2755 },
  { task: 0, op: "mknod", path: "/d/a", mode: S_IFREG | 0o644, rdev: 0 },
  { task: 0, op: "mknod", path: "/s/a", mode: S_IFREG | 0o666, rdev: 0 },
  { task: 1, op: "mknod", path: "/u/a", mode: S_IFREG | 0o666, rdev: 0 },
  { task: 0, op: "symlink", target: "/d", path: "/u/l" },
  { task: 0, op: "symlink", target: "../s/a", path: "/d/l" },
  { task: 0, op: "chmod", path: "/s/a", mode: 0o6777 },
  { task: 0, op: "open", path: "/d/a", flags: O_RDWR, mode: 0 },
  { task: 0, op: "open", path: "/s/a", flags: O_RDWR | O_APPEND, mode: 0 },
  { task: 1, op: "open", path: "/u/a", flags: O_RDWR, mode: 0 },
  { task: 1, op: "open", path: "/s/a", flags: O_RDWR | O_DSYNC, mode: 0 },
];

const task = fc.integer({ min: 0, max: 1 });
const fd = fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.constantFrom(-1, 4, 7, 8, 99));
const name = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom("a", "b", "d", "e", "l", "s", "u") },
  { weight: 4, arbitrary: fc.constantFrom(".", "..") },
  fc.constantFrom("\u{fc}", "x".repeat(255), "x".repeat(256), "..."),
);
const usual = fc
  .tuple(fc.constantFrom("/", "/", "/d/", "/s/", "/u/", "", "./"), fc.array(name, { minLength: 1, maxLength: 3 }))
  .map(([start, names]) => start + names.join("/"));
const path = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("/d/a", "/s/a", "/u/a", "/d/l", "/u/l/a", "/d/e", "/u/b", "/s/b") },
  { weight: 20, arbitrary: usual },
  { weight: 3, arbitrary: usual.map((text) => `${text}/`) },
  { weight: 1, arbitrary: usual.map((text) => `//${text.replaceAll("/", "//")}//`) },
  { weight: 1, arbitrary: fc.constantFrom("", "/", ".", "..", "a/.", "/d/..", "/".repeat(5000), "a/".repeat(2000)) },
);
const mode = fc.constantFrom(0o644, 0o600, 0o777, 0o444, 0, 0o755, 0o4755, 0o2755, 0o2644, 0o1777, 0o070, 0o007);
const size = fc.oneof(fc.integer({ min: 0, max: 9000 }), fc.constantFrom(-1, 0, 4096, 8192, 12_288));
const length = fc.oneof(fc.integer({ min: 0, max: 6000 }), fc.constantFrom(0, 1, 4096));
const seed = fc.integer({ min: 1, max: 255 });
const accessMode = fc.constantFrom(0, O_WRONLY, O_RDWR, O_RDWR, 3);
const flags = fc
  .tuple(
    accessMode,
    fc.subarray([O_CREAT, O_CREAT | O_TRUNC, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DSYNC, O_SYNC], { maxLength: 3 }),
    fc.constantFrom(0, 0, 0, 0, 0, 0, O_DIRECTORY, O_PATH),
  )
  .map(([access, some, rare]) => some.reduce((sum, flag) => sum | flag, access | rare));
const xattrName = fc.constantFrom(
  "user.a",
  "user.b",
  "trusted.a",
  "user.",
  "nothing",
  "security.a",
  "",
  `user.${"n".repeat(251)}`,
);

type Named<Each, Name> = Each extends { readonly op: infer Names } ? (Name extends Names ? Each : never) : never;
type Plain<Name extends Op["op"]> = Omit<Named<Op, Name>, "op" | "task">;
const one = <Name extends Op["op"]>(
  op: Name,
  weight: number,
  fields: { readonly [Key in keyof Plain<Name>]: fc.Arbitrary<Plain<Name>[Key]> },
): { weight: number; arbitrary: fc.Arbitrary<Op> } => ({
  weight,
  arbitrary: fc.record({ op: fc.constant(op), task, ...fields }) as unknown as fc.Arbitrary<Op>,
});

const OPS = [
  one("open", 14, { path, flags, mode }),
  one("close", 4, { fd }),
  one("dup", 1, { fd }),
  one("dup2", 2, { fd, to: fd }),
  one("fstat", 3, { fd }),
  one("fchdir", 1, { fd }),
  one("fsync", 1, { fd }),
  one("read", 4, { fd, n: length }),
  one("write", 8, { fd, n: length, seed }),
  one("pread", 3, { fd, n: length, at: size }),
  one("pwrite", 5, { fd, n: length, seed, at: size }),
  one("lseek", 5, {
    fd,
    at: fc.oneof(size, fc.integer({ min: -5000, max: -1 })),
    whence: fc.constantFrom(SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 5, -1),
  }),
  one("ftruncate", 3, { fd, size }),
  one("fchmod", 1, { fd, mode }),
  one("truncate", 3, { path, size }),
  one("mkdir", 6, { path, mode }),
  one("chmod", 4, { path, mode }),
  one("mknod", 3, {
    path,
    mode: fc.constantFrom(S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFDIR, 0, 0o030000).map((type) => type | 0o640),
    rdev: fc.constantFrom(0, 259),
  }),
  one("symlink", 4, { target: path, path }),
  one("link", 5, { path, to: path, flags: fc.constantFrom(0, 0, AT_SYMLINK_FOLLOW, 1) }),
  one("rename", 10, {
    path,
    to: path,
    flags: fc.constantFrom(
      0,
      0,
      0,
      RENAME_NOREPLACE,
      RENAME_EXCHANGE,
      RENAME_EXCHANGE | RENAME_NOREPLACE,
      64,
      RENAME_WHITEOUT,
    ),
  }),
  one("unlink", 7, { path, flags: fc.constantFrom(0, 0, AT_REMOVEDIR, 1) }),
  one("stat", 4, { path, flags: fc.constantFrom(0, AT_SYMLINK_NOFOLLOW) }),
  one("readlink", 2, { path }),
  one("chdir", 3, { path }),
  one("list", 3, { path }),
  one("getcwd", 2, {}),
  one("umask", 1, { mode }),
  one("access", 2, { path, want: fc.integer({ min: 0, max: 8 }) }),
  one("chown", 3, { path, uid: fc.constantFrom(-1, 0, 1000, 7), gid: fc.constantFrom(-1, 0, 1000, 50, 7) }),
  one("setxattr", 3, {
    path,
    name: xattrName,
    n: fc.constantFrom(0, 5, 300),
    flags: fc.constantFrom(0, XATTR_CREATE, XATTR_REPLACE, 4),
  }),
  one("getxattr", 2, { path, name: xattrName }),
  one("removexattr", 1, { path, name: xattrName }),
  one("listxattr", 1, { path }),
];
const PUNCH = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
const fallocate = (modes: number[]): { weight: number; arbitrary: fc.Arbitrary<Op> } =>
  one("fallocate", 4, { fd, mode: fc.constantFrom(...modes), at: size, n: length });

/** Operations that every file system can do. */
export const anyOp = fc.oneof(
  ...OPS,
  fallocate([0, FALLOC_KEEP_SIZE, PUNCH, FALLOC_ZERO_RANGE, FALLOC_PUNCH_HOLE, 8, 18]),
);
/** Operations in which Linux's own tmpfs is exact: it takes what fallocate() reserved for holes. */
export const hostOp = fc.oneof(...OPS, fallocate([PUNCH, FALLOC_PUNCH_HOLE, 18]));

/** What write puts down: never the same at two places of a page. */
export function pattern(seed: number, n: number): Uint8Array {
  const bytes = new Uint8Array(n);
  for (let at = 0; at < n; at++) bytes[at] = seed + at * 7 + (at >>> 8);
  return bytes;
}

/** FNV-1a of what was read, for a short outcome. */
export function digest(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16);
}

/** Size of a directory and of a special file is the file system's own affair. */
export const statText = (stat: Pick<FileStat, "mode" | "links" | "uid" | "gid" | "size" | "rdev">): string =>
  `0 ${stat.mode.toString(8)} ${stat.links} ${stat.uid} ${stat.gid} ${isDir(stat.mode) ? "-" : stat.size} ${stat.rdev}`;

const decoder = new TextDecoder();

/** Names of a directory through getdents64, sorted, with their types; or the errno of the first call that failed. */
export function listVfs(vfs: Vfs, task: number, path: string): string {
  const fd = finish(vfs, () => vfs.open(task, path, O_DIRECTORY));
  if (fd < 0) return String(fd);
  const names: string[] = [];
  const into = new Uint8Array(600);
  const view = new DataView(into.buffer);
  let length = 0;
  while ((length = finish(vfs, () => vfs.getdents64(task, fd, into))) > 0)
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const name = into.subarray(at + 19, into.indexOf(0, at + 19));
      names.push(`${decoder.decode(name)}:${into[at + 18]}`);
    }
  finish(vfs, () => vfs.close(task, fd));
  return length < 0 ? String(length) : `0 ${names.sort().join(" ")}`;
}

const withDigest = (into: Uint8Array, n: number): string => (n < 0 ? String(n) : `${n} ${digest(into.subarray(0, n))}`);

/** Plays one call on the VFS. `tasks` are the two task numbers. */
export function playVfs(vfs: Vfs, tasks: readonly number[], op: Op): string {
  const task = tasks[op.task]!;
  const call = (make: () => number): number => finish(vfs, make);
  const stat: FileStat = { ...newStat(), dev: 0 };
  const buffer = new Uint8Array(5000);
  const withText = (length: number): string =>
    length < 0 ? String(length) : `${length} ${decoder.decode(buffer.slice(0, length))}`;
  switch (op.op) {
    case "open":
      return String(call(() => vfs.open(task, op.path, op.flags, op.mode)));
    case "close":
      return String(call(() => vfs.close(task, op.fd)));
    case "dup":
      return String(call(() => vfs.dup(task, op.fd)));
    case "dup2":
      return String(call(() => vfs.dup2(task, op.fd, op.to)));
    case "fstat": {
      const result = call(() => vfs.stat(task, op.fd, stat));
      return result < 0 ? String(result) : statText(stat);
    }
    case "fchdir":
      return String(call(() => vfs.fchdir(task, op.fd)));
    case "fsync":
      return String(call(() => vfs.fsync(task, op.fd)));
    case "read": {
      const into = new Uint8Array(op.n);
      return withDigest(
        into,
        call(() => vfs.read(task, op.fd, into)),
      );
    }
    case "pread": {
      const into = new Uint8Array(op.n);
      return withDigest(
        into,
        call(() => vfs.pread(task, op.fd, into, op.at)),
      );
    }
    case "write":
      return String(call(() => vfs.write(task, op.fd, pattern(op.seed, op.n))));
    case "pwrite":
      return String(call(() => vfs.pwrite(task, op.fd, pattern(op.seed, op.n), op.at)));
    case "lseek":
      return String(call(() => vfs.lseek(task, op.fd, op.at, op.whence)));
    case "ftruncate":
      return String(call(() => vfs.ftruncate(task, op.fd, op.size)));
    case "fchmod":
      return String(call(() => vfs.chmod(task, op.fd, op.mode)));
    case "fallocate":
      return String(call(() => vfs.fallocate(task, op.fd, op.mode, op.at, op.n)));
    case "truncate":
      return String(call(() => vfs.truncate(task, op.path, op.size)));
    case "mkdir":
      return String(call(() => vfs.mkdir(task, op.path, op.mode)));
    case "chmod":
      return String(call(() => vfs.chmod(task, op.path, op.mode)));
    case "mknod":
      return String(call(() => vfs.mknod(task, op.path, op.mode, op.rdev)));
    case "symlink":
      return String(call(() => vfs.symlink(task, op.target, op.path)));
    case "link":
      return String(call(() => vfs.link(task, op.path, op.to, op.flags)));
    case "rename":
      return String(call(() => vfs.rename(task, op.path, op.to, op.flags)));
    case "unlink":
      return String(call(() => vfs.unlink(task, op.path, { flags: op.flags })));
    case "stat": {
      const result = call(() => vfs.stat(task, op.path, stat, { flags: op.flags }));
      return result < 0 ? String(result) : statText(stat);
    }
    case "readlink":
      return withText(call(() => vfs.readlink(task, op.path, buffer)));
    case "chdir":
      return String(call(() => vfs.chdir(task, op.path)));
    case "list":
      return listVfs(vfs, task, op.path);
    case "getcwd": {
      const length = call(() => vfs.getcwd(task, buffer));
      return length < 0 ? String(length) : withText(length - 1);
    }
    case "umask":
      return String(vfs.umask(task, op.mode));
    case "access":
      return String(call(() => vfs.access(task, op.path, op.want)));
    case "chown":
      return String(call(() => vfs.chown(task, op.path, op.uid, op.gid)));
    case "setxattr":
      return String(call(() => vfs.setxattr(task, op.path, op.name, pattern(1, op.n), op.flags)));
    case "getxattr":
      return withDigest(
        buffer,
        call(() => vfs.getxattr(task, op.path, op.name, buffer)),
      );
    case "removexattr":
      return String(call(() => vfs.removexattr(task, op.path, op.name)));
    default: {
      const length = call(() => vfs.listxattr(task, op.path, buffer));
      const names = decoder
        .decode(buffer.slice(0, Math.max(0, length)))
        .split("\0")
        .slice(0, -1);
      return length < 0 ? String(length) : `${length} ${names.sort().join(" ")}`;
    }
  }
}
