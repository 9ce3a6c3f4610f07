import { expect, it } from "vitest";
import { EEXIST, EINVAL, ENOENT, ENOSPC, ENXIO } from "../../../../kernel/abi/errno.ts";
import { AT_FDCWD, O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from "../../../../kernel/abi/fcntl.ts";
import { Nr } from "../../../../kernel/abi/syscall_nr.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { PseudoFs, Tmpfs, Vfs } from "../../../../kernel/fs/index.ts";
import type { FileStat } from "../../../../kernel/fs/index.ts";
import { devNodes } from "../../../../kernel/fs/pseudo/dev_nodes.ts";
import { newStat } from "../../../../kernel/fs/vfs/state.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";
import { listVfs } from "../../../contract/file_ops.ts";
import { call, runToEnd, start, text } from "../../machine_rig.ts";
import type { Body } from "../../machine_rig.ts";

const now = (): Nanos => 0 as Nanos;

function dev(seed: number): { vfs: Vfs; task: number; lines: string[] } {
  const root = new Tmpfs({ memory: growingArena(), pages: 16, inodes: 16, now });
  root.reset();
  const vfs = new Vfs({ memory: growingArena(), now });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(root));
  const task = vfs.newTask({ uid: 0, gid: 0 });
  const lines: string[] = [];
  expect(vfs.mkdir(task, "/dev", 0o755)).toBe(0);
  expect(
    vfs.mount(
      task,
      vfs.attachFs(
        new PseudoFs(
          "devtmpfs",
          devNodes(seed, (line) => lines.push(line)),
          0,
        ),
      ),
      "/dev",
    ),
  ).toBe(0);
  return { vfs, task, lines };
}

/** What `bytes` hold after a read into them, and what that returned. */
function read({ vfs, task }: ReturnType<typeof dev>, path: string, count: number): [number, Uint8Array] {
  const fd = vfs.open(task, path, O_RDONLY);
  expect(fd).toBeGreaterThanOrEqual(0);
  const into = new Uint8Array(count).fill(7);
  const result = vfs.read(task, fd, into);
  expect(vfs.close(task, fd)).toBe(0);
  return [result, into];
}

function write({ vfs, task }: ReturnType<typeof dev>, path: string, what: string): number {
  const fd = vfs.open(task, path, O_WRONLY | O_TRUNC | O_APPEND | O_CREAT);
  const result = vfs.write(task, fd, new TextEncoder().encode(what));
  vfs.close(task, fd);
  return result;
}

it("null, zero, full, random and kmsg read and write as on Linux", () => {
  const rig = dev(3);
  expect(read(rig, "/dev/null", 3)).toEqual([0, Uint8Array.of(7, 7, 7)]);
  expect(read(rig, "/dev/zero", 3)).toEqual([3, new Uint8Array(3)]);
  expect(read(rig, "/dev/full", 3)).toEqual([3, new Uint8Array(3)]);
  const names = ["null", "zero", "full", "random", "urandom", "kmsg"];
  expect(names.map((name) => write(rig, `/dev/${name}`, "a line\n"))).toEqual([7, 7, ENOSPC, 7, 7, 7]);
  expect(rig.lines).toEqual(["a line\n"]);
});

it("urandom goes on at each read, is decided by the seed, and looks random", () => {
  const [one, again, other] = [dev(3), dev(3), dev(4)];
  const first = read(one, "/dev/urandom", 4096)[1];
  const second = read(one, "/dev/random", 4096)[1];
  expect(second).not.toEqual(first);
  expect([read(again, "/dev/urandom", 4096)[1], read(again, "/dev/urandom", 4096)[1]]).toEqual([first, second]);
  expect(read(other, "/dev/urandom", 4096)[1]).not.toEqual(first);
  const counts = new Uint32Array(256);
  for (const byte of first) counts[byte]!++;
  // 16 of each are expected; chi-squared of 255 degrees beyond 360 comes once in 100,000.
  expect(counts.reduce((sum, count) => sum + (count - 16) ** 2 / 16, 0)).toBeLessThan(360);
});

it("they are character devices with Linux's numbers; a node that somebody makes elsewhere has no driver", () => {
  const { vfs, task } = dev(1);
  const stat: FileStat = { ...newStat(), dev: 0 };
  expect([vfs.stat(task, "/dev/null", stat), stat.mode, stat.rdev, stat.size]).toEqual([0, 0o020666, 0x103, 0]);
  expect([vfs.stat(task, "/dev/kmsg", stat), stat.mode, stat.rdev]).toEqual([0, 0o020644, 0x10b]);
  expect(listVfs(vfs, task, "/dev")).toBe("0 ..:4 .:4 full:2 kmsg:2 null:2 random:2 urandom:2 zero:2");
  expect(vfs.open(vfs.newTask({ uid: 9, gid: 9 }), "/dev/null", O_RDWR)).toBeGreaterThanOrEqual(0);
  expect(vfs.mknod(task, "/null", 0o020666, 0x103)).toBe(0);
  expect(vfs.open(task, "/null", O_RDWR)).toBe(ENXIO);
  expect(vfs.mkdir(task, "/dev/null", 0o755)).toBe(EEXIST);
});

it("/proc/self is the caller's own directory, for each caller", async () => {
  const seen: string[] = [];
  const body: Body = function* (t) {
    const link = yield* call(Nr.readlinkat, AT_FDCWD, text(t, "/proc/self"), 8192, 100);
    const own = new TextDecoder().decode(t.memory.slice(8192, 8192 + link));
    const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/proc/self/stat"), O_RDONLY, 0);
    const length = yield* call(Nr.read, fd, 8192, 1000);
    const stat = new TextDecoder().decode(t.memory.slice(8192, 8192 + length));
    expect([own, stat.split(" ")[0]]).toEqual([`${t.pid}`, `${t.pid}`]);
    expect(yield* call(Nr.readlinkat, AT_FDCWD, text(t, "/proc/version"), 8192, 100)).toBe(EINVAL);
    seen.push(own);
    const wall = yield* call(Nr.openat, AT_FDCWD, text(t, "/dev/full"), O_WRONLY, 0);
    expect(yield* call(Nr.write, wall, 8192, 10)).toBe(ENOSPC);
  };
  const started = await start([body, body, body]);
  const { vfs, task } = started.machine.system.tree!;
  expect(vfs.readlink(task, "/proc/self", new Uint8Array(10))).toBe(ENOENT);
  runToEnd(started);
  expect(new Set(seen).size).toBe(3);
});
