/** The VFS' own affairs, on tmpfs: mounts, tasks, descriptors, and exact records. What files do: test/contract/file_system.ts. */
import { describe, expect, it } from "vitest";
import {
  EBADF,
  EBUSY,
  EINVAL,
  EISDIR,
  ELOOP,
  EMFILE,
  ENODEV,
  ENOENT,
  ENOTDIR,
  EPERM,
  ERANGE,
  EROFS,
  EXDEV,
} from "../../../../kernel/abi/errno.ts";
import {
  AT_EMPTY_PATH,
  F_DUPFD,
  F_GETFD,
  F_GETFL,
  F_SETFL,
  MS_RDONLY,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_PATH,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
} from "../../../../kernel/abi/fcntl.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { Tmpfs } from "../../../../kernel/fs/tmpfs/tmpfs.ts";
import type { FileStat } from "../../../../kernel/fs/vfs/attr.ts";
import { newStat } from "../../../../kernel/fs/vfs/state.ts";
import { Vfs } from "../../../../kernel/fs/vfs/vfs.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";

const stat: FileStat = { ...newStat(), dev: 0 };
const text = (bytes: Uint8Array, length: number): string => new TextDecoder().decode(bytes.subarray(0, length));
const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);

function tmpfs(): Tmpfs {
  const fs = new Tmpfs({ memory: growingArena(), pages: 64, inodes: 64, now: () => 0 as Nanos });
  fs.reset();
  return fs;
}

/** A tree with directories /a/b and /m, and a second file system that is number 1. */
function tree(fds = 8): { readonly vfs: Vfs; readonly task: number } {
  const vfs = new Vfs({ memory: growingArena(), now: () => 0 as Nanos, fds, tasks: 4, files: 16, dentries: 8 });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(tmpfs()));
  vfs.attachFs(tmpfs());
  const task = vfs.newTask({ uid: 0, gid: 0 });
  expect([vfs.mkdir(task, "/a", 0o755), vfs.mkdir(task, "/a/b", 0o755), vfs.mkdir(task, "/m", 0o755)]).toEqual([
    0, 0, 0,
  ]);
  return { vfs, task };
}

function cwd(vfs: Vfs, task: number): string {
  const into = new Uint8Array(100);
  const length = vfs.getcwd(task, into);
  return length < 0 ? String(length) : text(into, length - 1);
}

describe("mounts", () => {
  it("cover a directory, and .. leads out of them", () => {
    const { vfs, task } = tree();
    expect(vfs.mkdir(task, "/m/hidden", 0o755)).toBe(0);
    expect(vfs.mount(task, 1, "/m")).toBe(0);
    expect(vfs.stat(task, "/m/hidden", stat)).toBe(ENOENT);
    expect([vfs.mkdir(task, "/m/x", 0o755), vfs.chdir(task, "/m/x"), cwd(vfs, task)]).toEqual([0, 0, "/m/x"]);
    expect([vfs.chdir(task, "../.."), cwd(vfs, task)]).toEqual([0, "/"]);
    expect([vfs.stat(task, "/m/../a/b", stat), vfs.stat(task, "m/../../../a", stat)]).toEqual([0, 0]);
    expect(vfs.rename(task, "/a/b", "/m/b")).toBe(EXDEV);
    expect(vfs.link(task, "/a/b", "/m/b")).toBe(EXDEV);
    expect([vfs.rmdir(task, "/m"), vfs.rename(task, "/m", "/n"), vfs.rename(task, "/a", "/m")]).toEqual([
      EBUSY,
      EBUSY,
      EBUSY,
    ]);
    expect(vfs.umount(task, "/m")).toBe(0);
    expect([vfs.stat(task, "/m/hidden", stat), vfs.stat(task, "/m/x", stat)]).toEqual([0, ENOENT]);
  });

  it("are busy while a file is open, a task stands there, or another is mounted inside", () => {
    const { vfs, task } = tree();
    vfs.attachFs(tmpfs());
    expect(vfs.mount(task, 1, "/m")).toBe(0);
    const fd = vfs.open(task, "/m/f", O_CREAT | O_RDWR, 0o644);
    expect([vfs.umount(task, "/m"), vfs.close(task, fd)]).toEqual([EBUSY, 0]);
    expect([vfs.chdir(task, "/m"), vfs.umount(task, "/m"), vfs.chdir(task, "/")]).toEqual([0, EBUSY, 0]);
    expect([vfs.mkdir(task, "/m/d", 0o755), vfs.mount(task, 2, "/m/d")]).toEqual([0, 0]);
    expect(vfs.mountsText()).toBe("tmpfs / tmpfs rw 0 0\ntmpfs /m tmpfs rw 0 0\ntmpfs /m/d tmpfs rw 0 0\n");
    expect([vfs.umount(task, "/m"), vfs.umount(task, "/m/d"), vfs.umount(task, "/m")]).toEqual([EBUSY, 0, 0]);
    expect([vfs.umount(task, "/m"), vfs.umount(task, "/"), vfs.mount(task, 9, "/m")]).toEqual([EINVAL, EINVAL, ENODEV]);
  });

  it("cover each other, the last one first, also at the root", () => {
    const { vfs, task } = tree();
    vfs.attachFs(tmpfs());
    expect([vfs.mount(task, 1, "/m"), vfs.mkdir(task, "/m/one", 0o755), vfs.mount(task, 2, "/m")]).toEqual([0, 0, 0]);
    expect([vfs.stat(task, "/m/one", stat), vfs.stat(task, "/m/../a", stat)]).toEqual([ENOENT, 0]);
    expect([vfs.umount(task, "/m"), vfs.stat(task, "/m/one", stat)]).toEqual([0, 0]);
    expect([vfs.mount(task, 2, "/"), vfs.stat(task, "/a", stat), vfs.mkdir(task, "/new", 0o755)]).toEqual([
      0,
      ENOENT,
      0,
    ]);
    expect([vfs.stat(task, "a", stat), vfs.stat(task, "/new/../../new", stat)]).toEqual([0, 0]);
  });

  it("can be read-only", () => {
    const { vfs, task } = tree();
    expect(vfs.mount(task, 1, "/m", MS_RDONLY)).toBe(0);
    expect(vfs.open(task, "/m/f", O_CREAT | O_WRONLY, 0o644)).toBe(EROFS);
    expect([vfs.mkdir(task, "/m/d", 0o755), vfs.unlink(task, "/m/d"), vfs.chmod(task, "/m", 0o700)]).toEqual([
      EROFS,
      EROFS,
      EROFS,
    ]);
    expect([vfs.access(task, "/m", 2), vfs.access(task, "/m", 5)]).toEqual([EROFS, 0]);
  });

  it("are root's to make", () => {
    const { vfs } = tree();
    const other = vfs.newTask({ uid: 5, gid: 5 });
    expect([vfs.mount(other, 1, "/m"), vfs.umount(other, "/m")]).toEqual([EPERM, EPERM]);
  });
});

describe("tasks and descriptors", () => {
  it("a fork shares files and their positions, not the table; with CLONE_FILES also that", () => {
    const { vfs, task } = tree();
    const fd = vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644);
    const child = vfs.fork(task, false);
    const thread = vfs.fork(task, true);
    expect([
      vfs.write(task, fd, bytes("ab")),
      vfs.write(child, fd, bytes("cd")),
      vfs.write(thread, fd, bytes("e")),
    ]).toEqual([2, 2, 1]);
    expect([vfs.close(thread, fd), vfs.close(task, fd), vfs.write(child, fd, bytes("f"))]).toEqual([0, EBADF, 1]);
    expect([vfs.unlink(child, "/f"), vfs.exit(child)]).toEqual([0, 0]);
    const fs = vfs.state.fileSystems[0] as Tmpfs;
    fs.check();
    // The root, /a, /a/b and /m: the child's file went with it.
    expect(fs.state.inodesFree).toBe(60);
    expect(vfs.newTask({ uid: 0, gid: 0 })).toBe(child);
  });

  it("exec closes what is marked", () => {
    const { vfs, task } = tree();
    const kept = vfs.open(task, "/", O_DIRECTORY);
    const closed = vfs.open(task, "/", O_DIRECTORY | O_CLOEXEC);
    expect([vfs.fcntl(task, kept, F_GETFD), vfs.fcntl(task, closed, F_GETFD)]).toEqual([0, 1]);
    const copy = vfs.dup(task, closed);
    expect([vfs.exec(task), vfs.close(task, closed), vfs.close(task, kept), vfs.close(task, copy)]).toEqual([
      0,
      EBADF,
      0,
      0,
    ]);
  });

  it("are the lowest that is free, and as many as there are", () => {
    const { vfs, task } = tree(4);
    const open = (): number => vfs.open(task, "/a", O_DIRECTORY);
    expect([open(), open(), open(), open(), open(), vfs.dup(task, 1)]).toEqual([0, 1, 2, 3, EMFILE, EMFILE]);
    expect([vfs.close(task, 1), vfs.fcntl(task, 0, F_DUPFD, 2), vfs.fcntl(task, 0, F_DUPFD, 1)]).toEqual([
      0,
      EMFILE,
      1,
    ]);
    expect([vfs.dup2(task, 0, 0), vfs.dup3(task, 0, 0, 0), vfs.dup2(task, 0, 4), vfs.dup2(task, 9, 0)]).toEqual([
      0,
      EINVAL,
      EBADF,
      EBADF,
    ]);
    expect([vfs.dup3(task, 0, 3, O_CLOEXEC), vfs.fcntl(task, 3, F_GETFD)]).toEqual([3, 1]);
  });

  it("O_PATH names an inode and does nothing else; flags can be changed", () => {
    const { vfs, task } = tree();
    vfs.symlink(task, "/a", "/l");
    const fd = vfs.open(task, "/l", O_PATH | 0o400000);
    const into = new Uint8Array(9);
    expect([vfs.stat(task, fd, stat), stat.mode, vfs.read(task, fd, into)]).toEqual([0, 0o120777, EBADF]);
    expect([vfs.readlink(task, "", into, { dirfd: fd }), vfs.chmod(task, fd, 0), vfs.fsync(task, fd)]).toEqual([
      2,
      EBADF,
      EBADF,
    ]);
    const file = vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644);
    expect([vfs.fcntl(task, file, F_SETFL, O_APPEND), vfs.fcntl(task, file, F_GETFL)]).toEqual([0, O_APPEND | O_RDWR]);
  });

  it("O_TMPFILE has no name until it is given one", () => {
    const { vfs, task } = tree();
    const fd = vfs.open(task, "/a", O_TMPFILE | O_RDWR, 0o600);
    expect([vfs.write(task, fd, bytes("x")), vfs.stat(task, fd, stat), stat.links]).toEqual([1, 0, 0]);
    expect([vfs.link(task, "", "/a/t", AT_EMPTY_PATH, fd), vfs.stat(task, "/a/t", stat), stat.size]).toEqual([0, 0, 1]);
    const never = vfs.open(task, "/a", O_TMPFILE | O_RDWR | O_EXCL, 0o600);
    expect(vfs.link(task, "", "/a/u", AT_EMPTY_PATH, never)).toBe(ENOENT);
    expect([vfs.close(task, never), vfs.close(task, fd)]).toEqual([0, 0]);
    (vfs.state.fileSystems[0] as Tmpfs).check();
  });
});

describe("paths", () => {
  it("getcwd() follows a renamed directory, and knows a removed one", () => {
    const { vfs, task } = tree();
    expect([vfs.chdir(task, "/a/b"), vfs.rename(task, "/a", "/z"), cwd(vfs, task)]).toEqual([0, 0, "/z/b"]);
    expect(vfs.getcwd(task, new Uint8Array(4))).toBe(ERANGE);
    expect([vfs.rmdir(task, "/z/b"), cwd(vfs, task), vfs.mkdir(task, "x", 0o755)]).toEqual([0, String(ENOENT), ENOENT]);
    expect([vfs.stat(task, ".", stat), stat.links, vfs.stat(task, "..", stat)]).toEqual([0, 0, ENOENT]);
  });

  it("symbolic links: 40 are followed and no more", () => {
    const { vfs, task } = tree();
    vfs.symlink(task, "/a", "/l0");
    for (let n = 1; n <= 40; n++) vfs.symlink(task, `l${n - 1}`, `/l${n}`);
    expect([vfs.stat(task, "/l39", stat), vfs.stat(task, "/l40", stat), vfs.lstat(task, "/l40", stat)]).toEqual([
      0,
      ELOOP,
      0,
    ]);
    expect([
      vfs.stat(task, "/l5/b/", stat),
      vfs.stat(task, "/l5/b/../../m", stat),
      vfs.open(task, "/l1/", O_WRONLY),
    ]).toEqual([0, 0, EISDIR]);
    vfs.symlink(task, "self/x", "/self");
    expect([vfs.stat(task, "/self", stat), vfs.stat(task, "/l1/b/x/y", stat)]).toEqual([ELOOP, ENOENT]);
    vfs.mknod(task, "/f", 0o100644);
    expect([vfs.stat(task, "/f/", stat), vfs.stat(task, "/f/..", stat)]).toEqual([ENOTDIR, ENOTDIR]);
  });
});

it("getdents64() writes Linux's records", () => {
  const { vfs, task } = tree();
  vfs.mknod(task, "/a/file", 0o100644);
  const fd = vfs.open(task, "/a", O_DIRECTORY);
  const into = new Uint8Array(200).fill(0xff);
  expect(vfs.getdents64(task, fd, into.subarray(0, 23))).toBe(EINVAL);
  expect(vfs.getdents64(task, fd, into)).toBe(24 + 24 + 24 + 24);
  vfs.stat(task, "/a/file", stat);
  const view = new DataView(into.buffer, 72);
  expect([view.getUint32(0, true), view.getUint32(4, true), view.getUint16(16, true), into[72 + 18]]).toEqual([
    stat.ino,
    0,
    24,
    8,
  ]);
  expect([...into.subarray(72 + 19, 96)]).toEqual([...bytes("file"), 0]);
  expect(into[96]).toBe(0xff);
  expect([into[18], into[24 + 18], into[48 + 18]]).toEqual([4, 4, 4]);
  expect(vfs.getdents64(task, fd, into)).toBe(0);
  // One at a time, each from the position the one before told.
  const names: string[] = [];
  for (let off = 0; names.length < 9;) {
    const one = new Uint8Array(24);
    expect(vfs.lseek(task, fd, off, 0)).toBe(off);
    if (vfs.getdents64(task, fd, one) === 0) break;
    names.push(text(one.subarray(19), one.subarray(19).indexOf(0)));
    off = new DataView(one.buffer).getUint32(8, true);
  }
  expect(names).toEqual([".", "..", "b", "file"]);
});
