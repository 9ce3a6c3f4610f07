/**
 * What every FileSystem owes, seen through the VFS: `fileSystemContract(type)` in a test file. Random sequences of calls
 * against an obvious model (file_model.ts); the same when the file system has to wait at any call, when it is small and
 * fills up, and when everything is saved and loaded after each call.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ENOSPC } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, SEEK_SET } from "../../kernel/abi/fcntl.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import type { FileStat } from "../../kernel/fs/vfs/attr.ts";
import type { FileSystem, StatFs } from "../../kernel/fs/vfs/file_system.ts";
import { newStat, type Protect } from "../../kernel/fs/vfs/state.ts";
import { finish, Vfs } from "../../kernel/fs/vfs/vfs.ts";
import { type GrowingArena, growingArena, load, save } from "../../kernel/lib/growing_arena.ts";
import { Model } from "./file_model.ts";
import { anyOp, FDS, listVfs, type Op, playVfs, START, USER } from "./file_ops.ts";
import { waitingFs } from "./waiting_fs.ts";

export interface FileSystemMade {
  readonly fs: FileSystem;
  /** All of its state as bytes, and back; without it, it is not tried. */
  readonly save?: () => Uint8Array;
  readonly load?: (saved: Uint8Array) => void;
  /** Panics when its structures disagree. */
  readonly check?: () => void;
}

export interface FileSystemType {
  readonly name: string;
  /** Empty but for a root directory. `small`: it shall be full after some ten files or 200 KiB. */
  make(small: boolean, now: () => Nanos): FileSystemMade;
  /** Names other than "." and ".." in a new root directory (lost+found). */
  readonly rootNames?: readonly string[];
}

const SEED = 20_261_128;

interface World {
  readonly vfs: Vfs;
  readonly tasks: readonly number[];
  readonly made: FileSystemMade;
  readonly memory: GrowingArena;
  readonly clock: { now: number };
}

export function vfsOn(made: FileSystemMade, clock: { now: number }, protect: Protect = {}): World {
  const memory = growingArena();
  const vfs = new Vfs({
    memory,
    now: () => clock.now as Nanos,
    tasks: 3,
    files: 2 * FDS,
    fds: FDS,
    dentries: 12,
    protect,
  });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(made.fs));
  const tasks = [vfs.newTask({ uid: 0, gid: 0 }), vfs.newTask(USER)];
  return { vfs, tasks, made, memory, clock };
}

function worldOf(type: FileSystemType, small: boolean, wrap: (fs: FileSystem) => FileSystem = (fs) => fs): World {
  const clock = { now: 1e9 };
  const made = type.make(small, () => clock.now as Nanos);
  return vfsOn({ ...made, fs: wrap(made.fs) }, clock);
}

/** What the dcache would answer is what the file system says. */
function checkDcache({ vfs, made }: World): void {
  vfs.state.dcache.check((_, dir, name, ino) => {
    const real = made.fs.lookup(dir, name);
    if (real !== ino && !(real < 0 && ino < 0)) throw new Error(`dcache: ${ino} instead of ${real}`);
  });
}

/** Every path of the model, looked at through the VFS. */
function compareTrees(model: Model, { vfs, tasks }: World): void {
  const walk = (path: string): void => {
    const look: readonly Op[] = [
      { op: "stat", task: 0, path, flags: 0x100 },
      { op: "readlink", task: 0, path },
      { op: "listxattr", task: 0, path },
      { op: "list", task: 0, path },
    ];
    for (const op of look) {
      const got = playVfs(vfs, tasks, op);
      expect({ path, op: op.op, got }).toEqual({ path, op: op.op, got: model.play(op, got) });
    }
    const isLink = !model.play(look[1]!, "").startsWith("-");
    if (isLink) return;
    const listed = model.play(look[3]!, "");
    if (!listed.startsWith("0 ")) return;
    for (const entry of listed.slice(2).split(" ")) {
      const name = entry.slice(0, entry.lastIndexOf(":"));
      if (name !== "." && name !== "..") walk(path === "/" ? `/${name}` : `${path}/${name}`);
    }
  };
  // Descriptors of the sequence would leave no room for list().
  for (const task of [0, 1])
    for (let fd = 0; fd < FDS; fd++) {
      const close: Op = { op: "close", task, fd };
      expect(playVfs(vfs, tasks, close)).toBe(model.play(close, ""));
    }
  walk("/");
}

/** Plays `ops` on both; throws at the first call that ends otherwise than the model says. */
function compare(world: World, model: Model, ops: readonly Op[], after: (op: Op) => void = () => {}): void {
  for (const [n, op] of [...START, ...ops].entries()) {
    world.clock.now += 1e6;
    const got = playVfs(world.vfs, world.tasks, op);
    const want = model.play(op, got);
    if (got !== want) throw new Error(`call ${n - START.length}, ${JSON.stringify(op)}: ${got} instead of ${want}`);
    after(op);
  }
}

const sequence = fc.array(anyOp, { maxLength: 60, size: "max" });

export function fileSystemContract(type: FileSystemType, runs = 150): void {
  const cleared = (world: World): World => {
    for (const name of type.rootNames ?? [])
      finish(world.vfs, () => world.vfs.unlink(world.tasks[0]!, `/${name}`, { flags: 0x200 }));
    return world;
  };
  const make = (small: boolean, wrap?: (fs: FileSystem) => FileSystem): World => cleared(worldOf(type, small, wrap));

  describe(`file system ${type.name}`, () => {
    it("does what the model does, call by call, and its own structures agree", () => {
      fc.assert(
        fc.property(sequence, (ops) => {
          const world = make(false);
          const model = new Model();
          compare(world, model, ops, () => {
            world.made.check?.();
            checkDcache(world);
          });
          compareTrees(model, world);
        }),
        { seed: SEED, numRuns: runs },
      );
    });

    it("does the same when any call may have to wait", () => {
      let waits = 0;
      fc.assert(
        fc.property(sequence, fc.nat(), fc.integer({ min: 2, max: 9 }), (ops, seed, once) => {
          const world = make(false, (fs) => waitingFs(fs, seed, once, () => waits++));
          const model = new Model();
          compare(world, model, ops);
          compareTrees(model, world);
        }),
        { seed: SEED + 1, numRuns: Math.ceil(runs / 3) },
      );
      expect(waits).toBeGreaterThan(0);
    });

    it("does the same when it fills up: ENOSPC changes nothing", () => {
      let full = 0;
      fc.assert(
        fc.property(fc.array(anyOp, { minLength: 30, maxLength: 120, size: "max" }), (ops) => {
          const world = make(true);
          const model = new Model();
          model.full = true;
          const filler: Op[] = Array.from({ length: 12 }, (_, n) => [
            { op: "open", task: 0, path: `/d/fill${n}`, flags: O_CREAT | O_RDWR, mode: 0o644 } satisfies Op,
            { op: "pwrite", task: 0, fd: 2, n: 20_000, seed: n, at: 0 } satisfies Op,
            { op: "close", task: 0, fd: 2 } satisfies Op,
          ]).flat();
          compare(world, model, [...filler, ...ops], () => world.made.check?.());
          compareTrees(model, world);
          const out: StatFs = {
            blockSize: 0,
            blocks: 0,
            blocksFree: 0,
            blocksAvailable: 0,
            files: 0,
            filesFree: 0,
            nameMax: 0,
          };
          expect(world.vfs.statfs(world.tasks[0]!, "/", out)).toBe(0);
          expect(out.blocksFree).toBeLessThan(out.blocks);
          if (playVfs(world.vfs, world.tasks, { op: "truncate", task: 0, path: "/d/fill1", size: 20_000 }) === "0")
            full++;
        }),
        { seed: SEED + 2, numRuns: Math.ceil(runs / 3) },
      );
      expect(full).toBeGreaterThan(0);
    });

    it("a small one says ENOSPC, and takes more when something was removed", () => {
      const { vfs, tasks } = make(true);
      const task = tasks[0]!;
      const fd = vfs.open(task, "/big", O_CREAT | O_RDWR, 0o644);
      const piece = new Uint8Array(16_384).fill(1);
      let written = 0;
      let count = 0;
      while ((count = finish(vfs, () => vfs.write(task, fd, piece))) > 0 && written < 2 ** 24) written += count;
      expect(count).toBe(ENOSPC);
      expect(written).toBeGreaterThan(0);
      expect(finish(vfs, () => vfs.ftruncate(task, fd, 0))).toBe(0);
      expect(finish(vfs, () => vfs.sync(task))).toBe(0);
      expect(vfs.lseek(task, fd, 0, SEEK_SET)).toBe(0);
      expect(finish(vfs, () => vfs.write(task, fd, piece))).toBeGreaterThan(0);
    });

    it("an unlinked file lives until its last descriptor is closed, then its room is free again", () => {
      const { vfs, tasks, made } = make(true);
      const task = tasks[0]!;
      const call = (make: () => number): number => finish(vfs, make);
      const free = (): number => {
        const out = {} as StatFs;
        call(() => vfs.sync(task));
        made.fs.statfs(out);
        return out.blocksFree;
      };
      const before = free();
      const fd = call(() => vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644));
      const twin = call(() => vfs.dup(task, fd));
      expect(call(() => vfs.write(task, fd, new Uint8Array(40_000).fill(7)))).toBeGreaterThan(0);
      expect([call(() => vfs.unlink(task, "/f")), call(() => vfs.close(task, fd))]).toEqual([0, 0]);
      const into = new Uint8Array(10);
      expect(call(() => vfs.pread(task, twin, into, 0))).toBe(10);
      expect(into[9]).toBe(7);
      expect(free()).toBeLessThan(before);
      expect(call(() => vfs.close(task, twin))).toBe(0);
      for (let n = 0; n < 1000 && vfs.step(); n++);
      expect(free()).toBe(before);
    });

    it("times: what utimens() sets is kept; a change moves mtime and ctime, chmod only ctime", () => {
      const { vfs, tasks, clock } = make(false);
      const task = tasks[0]!;
      const stat: FileStat = { ...newStat(), dev: 0 };
      const fd = finish(vfs, () => vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644));
      const times = (): number[] => {
        finish(vfs, () => vfs.stat(task, fd, stat));
        return [stat.atimeSec, stat.mtimeSec, stat.ctimeSec];
      };
      clock.now = 50e9;
      expect(
        finish(vfs, () =>
          vfs.utimens(task, "/f", [
            [7, 5],
            [9, 6],
          ]),
        ),
      ).toBe(0);
      expect([times(), stat.atimeNsec, stat.mtimeNsec]).toEqual([[7, 9, 50], 5, 6]);
      clock.now = 60e9;
      finish(vfs, () => vfs.chmod(task, fd, 0o600));
      expect(times()).toEqual([7, 9, 60]);
      clock.now = 70e9;
      finish(vfs, () => vfs.write(task, fd, new Uint8Array(1)));
      expect(times()).toEqual([7, 70, 70]);
      clock.now = 80e9;
      finish(vfs, () => vfs.utimens(task, "/f"));
      expect(times()).toEqual([80, 80, 80]);
      clock.now = 90e9;
      finish(vfs, () => vfs.link(task, "/f", "/g"));
      expect(times()).toEqual([80, 80, 90]);
    });

    it("a sparse file of a hundred gigabytes is a size and two blocks", () => {
      const { vfs, tasks } = make(false);
      const task = tasks[0]!;
      const fd = finish(vfs, () => vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644));
      const far = 100 * 2 ** 30 + 12_345;
      expect(finish(vfs, () => vfs.pwrite(task, fd, Uint8Array.of(1, 2, 3), far))).toBe(3);
      const into = new Uint8Array(10).fill(9);
      expect(finish(vfs, () => vfs.pread(task, fd, into, far - 4))).toBe(7);
      expect([...into]).toEqual([0, 0, 0, 0, 1, 2, 3, 9, 9, 9]);
      const data = finish(vfs, () => vfs.lseek(task, fd, 0, 3));
      expect(data).toBeGreaterThan(far - 70_000);
      expect(finish(vfs, () => vfs.ftruncate(task, fd, far + 1))).toBe(0);
      expect(finish(vfs, () => vfs.pread(task, fd, into, far - 1))).toBe(2);
    });

    it("a file that was cut and grows again reads zeroes from where it was cut", () => {
      const { vfs, tasks } = make(false);
      const task = tasks[0]!;
      const fd = finish(vfs, () => vfs.open(task, "/f", O_CREAT | O_RDWR, 0o644));
      for (const cut of [0, 1, 100, 1024, 4095, 4096, 4097, 9000]) {
        expect(finish(vfs, () => vfs.pwrite(task, fd, new Uint8Array(10_000).fill(3), 0))).toBe(10_000);
        expect(finish(vfs, () => vfs.ftruncate(task, fd, cut))).toBe(0);
        if (cut % 2 === 0) expect(finish(vfs, () => vfs.ftruncate(task, fd, 10_000))).toBe(0);
        else expect(finish(vfs, () => vfs.pwrite(task, fd, Uint8Array.of(0), 9_999))).toBe(1);
        const into = new Uint8Array(10_001);
        expect(finish(vfs, () => vfs.pread(task, fd, into, 0))).toBe(10_000);
        expect([cut, into.indexOf(0), into.lastIndexOf(3)]).toEqual([cut, cut, cut - 1]);
      }
    });

    it("readdir of 300 names tells each once, whatever room there is", () => {
      const { vfs, tasks } = make(false);
      const task = tasks[0]!;
      finish(vfs, () => vfs.mkdir(task, "/many", 0o755));
      const names = Array.from({ length: 300 }, (_, n) => `name-${n}-${"y".repeat(n % 40)}`);
      for (const name of names) expect(finish(vfs, () => vfs.mknod(task, `/many/${name}`, 0o100644))).toBe(0);
      const want = [".:4", "..:4", ...names.map((name) => `${name}:8`)].sort();
      expect(listVfs(vfs, task, "/many")).toBe(`0 ${want.join(" ")}`);
      for (const name of names) expect(finish(vfs, () => vfs.unlink(task, `/many/${name}`))).toBe(0);
      expect(finish(vfs, () => vfs.rmdir(task, "/many"))).toBe(0);
    });
  });

  const tried = type.make(false, () => 0 as Nanos);
  describe.skipIf(tried.save === undefined)(`file system ${type.name} (without save: skipped)`, () => {
    it("saved and loaded after each call, with the VFS, it goes on the same", () => {
      fc.assert(
        fc.property(sequence, (ops) => {
          const model = new Model();
          const worlds = [make(false), make(false)] as const;
          for (const op of [...START, ...ops]) {
            const [here, there] = worlds;
            load(there.memory, save(here.memory));
            there.made.load!(here.made.save!());
            there.clock.now = here.clock.now += 1e6;
            const got = playVfs(there.vfs, there.tasks, op);
            expect({ op, got }).toEqual({ op, got: playVfs(here.vfs, here.tasks, op) });
            expect({ op, got }).toEqual({ op, got: model.play(op, got) });
          }
          compareTrees(model, worlds[1]);
        }),
        { seed: SEED + 3, numRuns: Math.ceil(runs / 8) },
      );
    });
  });
}
