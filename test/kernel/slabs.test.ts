/** Slab caches of a booted machine: an object for each thing that there is, none left over, ENOMEM on its way to the caller. */
import { describe, expect, it } from "vitest";
import { ENOMEM } from "../../kernel/abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserTask } from "../../kernel/abi/program.ts";
import { Nr } from "../../kernel/abi/syscall_nr.ts";
import { MACHINE_FEATURES } from "../../kernel/index.ts";
import type { BootedMachine } from "../../kernel/index.ts";
import { MOUNTS_MAX } from "../../kernel/abi/limits.ts";
import { MOUNT } from "../../kernel/fs/vfs/state.ts";
import { futexLocks } from "../../kernel/lib/lock_ops.ts";
import { Kind } from "../../kernel/process.ts";
import { bootMemory } from "../../kernel/wire_memory.ts";
import { bootSlabs } from "../../kernel/wire_slabs.ts";
import { slabRows } from "../../mm/index.ts";
import { call, compute, expectAtRest, int32, runOne, runToEnd, scripted, start, text } from "./machine_rig.ts";
import type { Body, Said, Script, Started } from "./machine_rig.ts";

const SIGCHLD = 17;
/** Sizes and objects per slab of Linux 6.1.0 (amd64, one CPU), by its /proc/slabinfo. */
const LINUX = {
  task_struct: [6144, 5, 8],
  mm_struct: [1152, 14, 4],
  signal_cache: [1152, 14, 4],
  sighand_cache: [2112, 15, 8],
  cred_jar: [192, 21, 1],
  pid: [128, 32, 1],
  files_cache: [704, 11, 2],
  filp: [256, 16, 1],
  inode_cache: [640, 12, 2],
  "kmalloc-cg-192": [192, 21, 1],
  "kmalloc-cg-1k": [1024, 8, 2],
  dentry: [192, 21, 1],
  ext4_inode_cache: [1192, 13, 4],
  shmem_inode_cache: [784, 10, 2],
};

/** What there should be, by the tables of those whose objects they are. */
function expected({ system, ext4 }: BootedMachine): Record<string, number> {
  const { processes } = system;
  const { vfs, pipes, tmpfs } = system.tree!;
  const count = (kind: number): number => processes.kind.slice(1).filter((one) => one === kind).length;
  const users = count(Kind.User);
  const tasks = users + count(Kind.Kernel) + processes.zombies;
  let names = 0;
  vfs.state.dcache.check(() => names++);
  let tables = 0;
  for (let table = 0; table < vfs.state.tasks; table++) if (vfs.state.tableUsers(table) > 0) tables++;
  const all = {
    task_struct: tasks,
    mm_struct: users,
    signal_cache: tasks,
    sighand_cache: tasks,
    cred_jar: tasks,
    pid: tasks,
    files_cache: tables,
    fs_cache: vfs.taskCount(),
    filp: vfs.openFiles(),
    inode_cache: pipes.open,
    "kmalloc-cg-192": pipes.open,
    "kmalloc-cg-1k": pipes.open,
    dentry: names,
    ext4_inode_cache: ext4!.fs.inodes.used,
    shmem_inode_cache: tmpfs.reduce((sum, { state }) => sum + state.options.inodes - state.inodesFree, 0),
  };
  return Object.fromEntries(Object.entries(all).filter(([, objects]) => objects > 0));
}

/** What there is. An ext4 may have one more, for its next inode. */
function inUse({ slabs, ext4, system }: BootedMachine): Record<string, number> {
  slabs!.slub.drainAll(system.executor.cpu());
  slabs!.slub.check();
  const objects = { ...slabs!.inUse() };
  if (ext4!.fs.inodes.hasSpare) objects["ext4_inode_cache"]!--;
  return objects;
}

/** Nobody stands in a directory, or has a file open: not even one whose fork came to nothing. */
function expectUnheld({ machine: { system } }: Started): void {
  const { state } = system.tree!.vfs;
  for (let mount = 0; mount < MOUNTS_MAX; mount++)
    expect([mount, state.mountGet(mount, MOUNT.refs)]).toEqual([mount, 0]);
}

/** A little of everything; a call that finds no memory is left out, any other error is none of its doing. */
const busy = (seen: () => void = () => {}): Body =>
  function* (t) {
    yield* call(Nr.chdir, text(t, "/tmp"));
    for (const path of [`/a${t.pid}`, `/tmp/b${t.pid}`, "/proc/meminfo"]) {
      const fd = yield* call(
        Nr.openat,
        AT_FDCWD,
        text(t, path),
        path.startsWith("/proc") ? 0 : O_RDWR | O_CREAT,
        0o644,
      );
      if (fd === ENOMEM) continue;
      expect(fd).toBeGreaterThanOrEqual(0);
      yield* call(Nr.write, fd, 4096, 3000);
      seen();
      if (path.startsWith("/a")) yield* call(Nr.fsync, fd);
      yield* call(Nr.close, fd);
      if (!path.startsWith("/proc")) yield* call(Nr.unlinkat, AT_FDCWD, text(t, path), 0);
    }
    const piped = yield* call(Nr.pipe2, 64, 0);
    if (piped === 0) yield* call(Nr.close, int32(t, 64));
    const pid = yield* call(Nr.clone, SIGCHLD);
    seen();
    if (pid !== ENOMEM) expect(yield* call(Nr.wait4, pid, 0, 0)).toBe(pid);
    yield* compute(1000);
  };

const child: Body = function* (t) {
  const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/tmp"), 0, 0);
  yield* compute(20_000);
  if (fd >= 0) yield* call(Nr.close, fd);
};

it("/proc/slabinfo has Linux's caches, with its sizes and objects per slab", async () => {
  let shown = "";
  const body: Body = function* (t): Script {
    const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/proc/slabinfo"), 0, 0);
    for (let got = 1; got > 0;) {
      got = yield* call(Nr.read, fd, 8192, 4096);
      shown += new TextDecoder().decode(t.memory.slice(8192, 8192 + got));
    }
  };
  const { machine } = await runOne(body, { cpus: 1 });
  const rows = [...shown.matchAll(/^(\S+) +\d+ +\d+ +(\d+) +(\d+) +(\d+) : tunables/gm)];
  const found = Object.fromEntries(rows.map(([, name, ...numbers]) => [name, numbers.map(Number)]));
  expect(found).toEqual({ ...LINUX, fs_cache: [64, 64, 1] });
  expect(slabRows(machine.slabs!.slub).map(({ objects }) => objects)).toEqual(rows.map(() => 0));
});

it("there is an object for each thing that there is, at any moment", async () => {
  let looks = 0;
  let started: Started | undefined;
  const look = (): void => {
    if (started === undefined) return;
    expect(inUse(started.machine)).toEqual(expected(started.machine));
    looks++;
  };
  const bodies = Array.from({ length: 6 }, () => scripted(busy(look), child));
  started = await start(bodies, { cpus: 3 });
  look();
  runToEnd(started);
  expect(looks).toBe(1 + 6 * 4);
});

describe("an allocation that fails", () => {
  it("is ENOMEM of the call that needs it, and leaves nothing behind", async () => {
    const needs = {
      mm: Nr.clone,
      task: Nr.clone,
      pid: Nr.clone,
      fs: Nr.clone,
      files: Nr.clone,
      file: Nr.openat,
    } as const;
    const pipes = { pipeInode: Nr.pipe2, pipe: Nr.pipe2, pipeRing: Nr.pipe2, file: Nr.pipe2 } as const;
    for (const [kind, nr] of [...Object.entries(needs), ...Object.entries(pipes)]) {
      let started: Started | undefined;
      const made = function* (t: UserTask): Generator<Said, number, number> {
        if (nr === Nr.clone) return yield* call(nr, SIGCHLD);
        return yield* nr === Nr.pipe2 ? call(nr, 64, 0) : call(nr, AT_FDCWD, text(t, "/proc"), 0, 0);
      };
      const results: number[] = [];
      started = await start([
        scripted(function* (t) {
          const from = started!.machine.slabs!.objects[kind as keyof typeof needs];
          const { alloc } = from;
          Object.assign(from, { alloc: () => ENOMEM });
          results.push(yield* made(t));
          Object.assign(from, { alloc });
          results.push(yield* made(t));
        }),
      ]);
      runToEnd(started);
      expect([kind, results[0], results[1]! >= 0]).toEqual([kind, ENOMEM, true]);
    }
  });

  it("leaves nothing behind, whichever it is", async () => {
    let last = 0;
    for (let nth = 1; ; nth += 3) {
      const started = await start([scripted(busy(), child), scripted(busy(), child)]);
      let count = 0;
      for (const from of Object.values(started.machine.slabs!.objects)) {
        const { alloc } = from;
        Object.assign(from, { alloc: () => (++count === nth || count === nth + 1 ? ENOMEM : alloc()) });
      }
      runToEnd(started);
      expectUnheld(started);
      last = count;
      if (nth > count) break;
    }
    expect(last).toBeGreaterThan(30);
  }, 60_000);
});

it("an inode comes into memory in the place of another when there is none for it", async () => {
  let started: Started | undefined;
  const results: number[] = [];
  started = await start([
    function* (t) {
      const { slabs, ext4 } = started!.machine;
      const { inodes } = ext4!.fs;
      const from = slabs!.objects.ext4Inode;
      const { alloc, free } = from;
      let freed = 0;
      for (let n = 0; n < 20; n++) {
        const fd = yield* call(Nr.openat, AT_FDCWD, text(t, `/f${n}`), O_RDWR | O_CREAT, 0o644);
        // Nobody needs the first ten any more; from then on there is memory for as many as there are.
        if (n < 10) yield* call(Nr.close, fd);
        else results.push(fd);
        if (n !== 9) continue;
        expect(inodes.ready()).toBe(true);
        Object.assign(from, {
          alloc: () => (freed-- > 0 ? alloc() : ENOMEM),
          free: (addr: number) => {
            freed = Math.max(freed, 0) + 1;
            free(addr);
          },
        });
      }
    },
  ]);
  runToEnd(started);
  expect(results).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

it("an inode that has no place is ENOMEM", async () => {
  let started: Started | undefined;
  await start([
    function* (t) {
      const { slabs, ext4 } = started!.machine;
      expect(yield* call(Nr.openat, AT_FDCWD, text(t, "/a"), O_RDWR | O_CREAT, 0o644)).toBe(0);
      Object.assign(slabs!.objects.ext4Inode, { alloc: () => ENOMEM });
      const results: number[] = [];
      for (let n = 0; n < 4; n++)
        results.push(yield* call(Nr.openat, AT_FDCWD, text(t, `/b${n}`), O_RDWR | O_CREAT, 0o644));
      expect(results.at(-1)).toBe(ENOMEM);
      expect(results.filter((fd) => fd < 0 && fd !== ENOMEM)).toEqual([]);
      expect(ext4!.fs.inodes.hasSpare).toBe(false);
    },
  ]).then((made) => (started = made));
  runToEnd(started!);
});

it("workers share the caches: nobody touches another's list, and the slabs have a lock", () => {
  const memory = bootMemory(32 * 2 ** 20, 2, () => 0, futexLocks);
  const mine = bootSlabs(memory, () => 0, null, futexLocks);
  let locked = 0;
  const counting = {
    ...futexLocks,
    lock: (words: Int32Array, at: number) => {
      locked++;
      futexLocks.lock(words, at);
    },
  };
  const theirs = bootSlabs(memory, () => 1, null, counting, mine.slub.buffers());
  const addr = mine.objects.file.alloc();
  mine.objects.file.free(addr);
  // An object on a CPU's list counts as one in use.
  const onList = { filp: 16 };
  expect(mine.inUse()).toEqual(onList);
  theirs.settle();
  expect(theirs.inUse()).toEqual(onList);
  mine.slub.tick(0);
  expect([theirs.inUse(), theirs.frames() > 0]).toEqual([{}, true]);
  theirs.settle();
  expect([mine.frames(), locked > 0]).toEqual([0, true]);
  const elsewhere = theirs.objects.file.alloc();
  mine.objects.file.free(elsewhere);
  mine.settleAll();
  mine.slub.check();
  expect([mine.inUse(), theirs.frames()]).toEqual([{}, 0]);
});

it("drop_caches 2 gives names and inodes back that nobody uses", async () => {
  const counts: number[] = [];
  let started: Started | undefined;
  const look = (): void => {
    const objects = inUse(started!.machine);
    counts.push(objects["dentry"] ?? 0, objects["ext4_inode_cache"] ?? 0);
  };
  started = await start([
    function* (t) {
      for (let n = 0; n < 50; n++) {
        const fd = yield* call(Nr.openat, AT_FDCWD, text(t, `/f${n}`), O_RDWR | O_CREAT, 0o644);
        yield* call(Nr.write, fd, 4096, 1);
        yield* call(Nr.close, fd);
        expect(yield* call(Nr.newfstatat, AT_FDCWD, text(t, `/f${n}`), 4096, 0)).toBe(0);
      }
      yield* call(Nr.sync);
      const kept = yield* call(Nr.openat, AT_FDCWD, text(t, "/f7"), O_RDWR, 0);
      for (const what of ["2", "3"]) {
        look();
        const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/proc/sys/vm/drop_caches"), O_WRONLY, 0);
        t.memory.set(new TextEncoder().encode(what), 4096);
        expect(yield* call(Nr.write, fd, 4096, 1)).toBe(1);
        look();
        yield* call(Nr.close, fd);
      }
      expect(yield* call(Nr.read, kept, 8192, 10)).toBe(1);
    },
  ]);
  runToEnd(started);
  const [names, inodes, namesThen, inodesThen, , , namesLast, inodesLast] = counts;
  expect([names! >= 50, inodes! >= 50, namesThen, namesLast]).toEqual([true, true, 0, 0]);
  // Inodes with pages stay until their pages have gone.
  expect(inodesThen).toBeGreaterThanOrEqual(50);
  expect(inodesLast).toBeLessThan(10);
});

it("a machine without SLAB has no such file, and is at rest as well", async () => {
  const started = await start(
    [
      function* (t) {
        expect(yield* call(Nr.openat, AT_FDCWD, text(t, "/proc/slabinfo"), 0, 0)).toBe(-2);
      },
    ],
    { features: MACHINE_FEATURES.filter((feature) => feature !== "SLAB") },
  );
  expect(started.machine.slabs).toBeUndefined();
  started.machine.system.run(1e9);
  expectAtRest(started);
});
