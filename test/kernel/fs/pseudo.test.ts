import { expect, it } from "vitest";
import { EACCES, EINVAL, EIO, EIOCBQUEUED, ENOENT, ENOTDIR, EPERM } from "../../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../../kernel/abi/fcntl.ts";
import type { Errno, Nanos } from "../../../kernel/abi/units.ts";
import { procFs, attribute, numberStore, sysFs, Tmpfs, Vfs } from "../../../kernel/fs/index.ts";
import type { FileStat } from "../../../kernel/fs/index.ts";
import { newStat } from "../../../kernel/fs/vfs/state.ts";
import { growingArena } from "../../../kernel/lib/growing_arena.ts";
import { listVfs } from "../../contract/file_ops.ts";

const now = (): Nanos => 0 as Nanos;

/** A tree on tmpfs with /proc and /sys; `knob` is a number that /sys shows and sets. */
function machine(extra: () => string | Errno = () => "x"): { vfs: Vfs; task: number; knob: { value: number } } {
  const fs = new Tmpfs({ memory: growingArena(), pages: 16, inodes: 16, now });
  fs.reset();
  const vfs = new Vfs({ memory: growingArena(), now, protect: { hardlinks: true, regular: 2 } });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(fs));
  const knob = { value: 7 };
  const store = numberStore(1, 100, (value) => (knob.value = value));
  const sys = sysFs([attribute("kernel/knob", () => knob.value, store), attribute("kernel/fixed", () => "word")]);
  const proc = procFs({ vfs, version: "Orrery version 1", nodes: [{ path: "extra", text: extra }] });
  const task = vfs.newTask({ uid: 0, gid: 0 });
  for (const [dir, it] of [
    ["/proc", proc],
    ["/sys", sys],
  ] as const) {
    expect(vfs.mkdir(task, dir, 0o555)).toBe(0);
    expect(vfs.mount(task, vfs.attachFs(it), dir)).toBe(0);
  }
  return { vfs, task, knob };
}

function contentOf(vfs: Vfs, task: number, path: string, step = 7): string {
  const fd = vfs.open(task, path, 0);
  expect(fd).toBeGreaterThanOrEqual(0);
  let text = "";
  const into = new Uint8Array(step);
  for (let n = 0; (n = vfs.read(task, fd, into)) > 0;) text += new TextDecoder().decode(into.subarray(0, n));
  vfs.close(task, fd);
  return text;
}

it("/proc tells of the VFS, however it is read", () => {
  const { vfs, task } = machine();
  expect(contentOf(vfs, task, "/proc/version")).toBe("Orrery version 1\n");
  const mounts = "tmpfs / tmpfs rw 0 0\nproc /proc proc rw 0 0\nsysfs /sys sysfs rw 0 0\n";
  expect([contentOf(vfs, task, "/proc/mounts"), contentOf(vfs, task, "/proc/mounts", 1000)]).toEqual([mounts, mounts]);
  expect(contentOf(vfs, task, "/proc/filesystems")).toBe("nodev\ttmpfs\nnodev\tproc\nnodev\tsysfs\n");
  expect(contentOf(vfs, task, "/proc/sys/fs/protected_regular")).toBe("2\n");
  expect(listVfs(vfs, task, "/proc")).toBe("0 ..:4 .:4 extra:8 filesystems:8 mounts:8 sys:4 version:8");
});

it("a file's size is 0, and nothing can be made or removed", () => {
  const { vfs, task } = machine();
  const stat: FileStat = { ...newStat(), dev: 0 };
  expect([vfs.stat(task, "/proc/version", stat), stat.size, stat.mode]).toEqual([0, 0, 0o100444]);
  expect([vfs.stat(task, "/proc/sys", stat), stat.links, stat.dev]).toEqual([0, 3, 2]);
  expect([vfs.open(task, "/proc/x", 0), vfs.open(task, "/proc/version/x", 0)]).toEqual([ENOENT, ENOTDIR]);
  expect([vfs.open(task, "/proc/x", O_CREAT | O_RDWR, 0o644), vfs.mkdir(task, "/proc/x", 0o755)]).toEqual([
    EACCES,
    EPERM,
  ]);
  expect([vfs.unlink(task, "/proc/version"), vfs.rename(task, "/proc/version", "/proc/v")]).toEqual([EPERM, EPERM]);
  expect(vfs.chmod(task, "/proc/version", 0o777)).toBe(EPERM);
});

it("/sys shows and sets, refuses what is no value, and users may not write", () => {
  const { vfs, task, knob } = machine();
  const set = (who: number, path: string, text: string): number => {
    const fd = vfs.open(who, path, O_WRONLY | O_TRUNC);
    if (fd < 0) return fd;
    const result = vfs.write(who, fd, new TextEncoder().encode(text));
    vfs.close(who, fd);
    return result;
  };
  expect([set(task, "/sys/kernel/knob", "12\n"), knob.value, contentOf(vfs, task, "/sys/kernel/knob")]).toEqual([
    3,
    12,
    "12\n",
  ]);
  expect([set(task, "/sys/kernel/knob", "101"), set(task, "/sys/kernel/knob", "-1"), knob.value]).toEqual([
    EINVAL,
    EINVAL,
    12,
  ]);
  expect([set(task, "/sys/kernel/fixed", "x"), contentOf(vfs, task, "/sys/kernel/fixed")]).toEqual([EIO, "word\n"]);
  const user = vfs.newTask({ uid: 9, gid: 9 });
  expect([set(user, "/sys/kernel/knob", "5"), contentOf(vfs, user, "/sys/kernel/knob")]).toEqual([EACCES, "12\n"]);
});

it("a text that has to be waited for, or fails, ends the read so", () => {
  const answers: (string | Errno)[] = [EIOCBQUEUED, "late", EIO];
  const { vfs, task } = machine(() => answers.shift()!);
  const fd = vfs.open(task, "/proc/extra", 0);
  const into = new Uint8Array(9);
  expect([vfs.read(task, fd, into), vfs.read(task, fd, into), vfs.read(task, fd, into)]).toEqual([EIOCBQUEUED, 4, EIO]);
});
