/**
 * The file systems of a machine under one tree (boot.ts calls this): ext4 at the root when there is a disk, else a tmpfs;
 * a tmpfs at /tmp, /proc and /sys, /dev, and pipes. Directories that are missing are made.
 *
 * - bootPageCache(memory, ...)   the page cache over the machine's frames
 * - mountDisk(...)               the ext4, or Refusal; takes the machine's time while the disk works
 * - bootTree(...)                the VFS
 */
import type { EvictPolicyType } from "./abi/evict.ts";
import type { Machine } from "./abi/machine.ts";
import type { PageCache } from "./abi/page_cache.ts";
import { EIO, EIOCBQUEUED, isErr } from "./abi/errno.ts";
import { FINISH_ROUNDS_MAX } from "./abi/limits.ts";
import type { ObjectCache } from "./abi/object_cache.ts";
import { BOOT_SEC } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";
import { growingArena } from "./lib/growing_arena.ts";
import type { GrowingArena } from "./lib/growing_arena.ts";
import { Ext4 } from "./fs/ext4/ext4.ts";
import { mountExt4 } from "./fs/ext4/mount.ts";
import type { MountOptions } from "./fs/ext4/mount_options.ts";
import { isRefusal } from "./fs/ext4/super.ts";
import type { Refusal } from "./fs/ext4/super.ts";
import { PipeFs } from "./fs/pipe.ts";
import { PseudoFs } from "./fs/pseudo/pseudo_fs.ts";
import { devNodes } from "./fs/pseudo/dev_nodes.ts";
import { procFs } from "./fs/pseudo/proc.ts";
import { sysFs } from "./fs/pseudo/sysfs.ts";
import type { LiveDirs, PseudoNode } from "./fs/pseudo/pseudo_fs.ts";
import { Tmpfs } from "./fs/tmpfs/tmpfs.ts";
import { CALL_WORDS } from "./fs/vfs/file_system.ts";
import type { FileSystem } from "./fs/vfs/file_system.ts";
import { finish, Vfs } from "./fs/vfs/vfs.ts";
import type { DrivenDisk } from "./wire_disk.ts";
import type { Memory } from "./wire_memory.ts";
import type { Objects } from "./wire_slabs.ts";
import { Filemap, pageCacheOf } from "../mm/index.ts";

/** Blocks of the buffer cache, as a share of memory; the largest call must fit in them several times. */
const BUFFERS_SHARE = 16;
const BUFFERS_MIN = 512;
const BUFFERS_MAX = 2048;
const INODES = 4096;
/** Percent of memory: Linux's defaults. */
const DIRTY_RATIO = 20;
const BACKGROUND_RATIO = 10;
const PIPES = 32;
const TMPFS_INODES = 1024;

export interface CachedPages {
  readonly memory: GrowingArena;
  readonly filemap: Filemap;
  readonly cache: PageCache;
}

export function bootPageCache(memory: Memory, machine: Machine, policy: EvictPolicyType, seed: number): CachedPages {
  const arena = growingArena();
  const filemap = new Filemap({
    slots: memory.managed,
    files: INODES,
    policy,
    seed,
    frames: memory.frames,
    memory: arena,
    now: machine.now,
    dirtyRatio: DIRTY_RATIO,
    backgroundRatio: BACKGROUND_RATIO,
    trace: machine.trace,
  });
  filemap.reset();
  return { memory: arena, filemap, cache: pageCacheOf(filemap) };
}

export interface DiskMount {
  readonly disk: DrivenDisk;
  readonly memory: Memory;
  readonly pages: CachedPages;
  readonly machine: Machine;
  readonly options?: MountOptions;
  /** Memory of an inode. */
  readonly inodeObjects?: ObjectCache;
  /** Time goes on to the disk's next event. */
  readonly idle: () => void;
}

export function mountDisk({ disk, memory, pages, machine, options, inodeObjects, idle }: DiskMount): Ext4 | Refusal {
  const buffers = Math.max(BUFFERS_MIN, Math.min(BUFFERS_MAX, Math.floor(memory.managed / BUFFERS_SHARE)));
  assert(memory.reserve(buffers), "mountDisk: a new machine has memory for its buffers");
  const fs = mountExt4({
    device: disk.device,
    cache: pages.cache,
    machine,
    memory: pages.memory,
    bootSec: BOOT_SEC,
    idle,
    buffers,
    inodes: INODES,
    pages: memory.managed,
    ...(options === undefined ? {} : { options }),
    ...(inodeObjects === undefined ? {} : { inodeObjects }),
  });
  return isRefusal(fs) ? fs : new Ext4(fs, disk.device, idle);
}

export interface TreeParts {
  readonly machine: Machine;
  readonly tasks: number;
  /** Missing: a tmpfs is the root. */
  readonly root?: FileSystem;
  readonly idle: () => void;
  /** Missing: not mounted. */
  readonly tmpPages?: number;
  readonly proc?: { readonly nodes: readonly PseudoNode[]; readonly pids: LiveDirs };
  readonly sys?: readonly PseudoNode[];
  readonly version: string;
  /** Of /dev/urandom. */
  readonly seed: number;
  /** A line for the console, /dev/kmsg. */
  readonly console: (text: string) => void;
  readonly pipeMoved: () => void;
  /** Missing: what is open and known by name takes no memory. */
  readonly objects?: Objects;
}

export interface Tree {
  readonly vfs: Vfs;
  readonly pipes: PipeFs;
  readonly tmpfs: readonly Tmpfs[];
  /** Root's task on it: the kernel's own. */
  readonly task: number;
}

export function bootTree(parts: TreeParts): Tree {
  const { machine, idle, objects } = parts;
  const memory = growingArena();
  const vfs = new Vfs({
    memory,
    now: machine.now,
    bootSec: BOOT_SEC,
    tasks: parts.tasks,
    fds: 64,
    files: 2048,
    ...(objects === undefined ? {} : { objects }),
  });
  vfs.reset();
  const mounted: Tmpfs[] = [];
  const tmpfs = (pages: number): Tmpfs => {
    const fs = new Tmpfs({
      memory: growingArena(),
      pages,
      inodes: TMPFS_INODES,
      now: machine.now,
      bootSec: BOOT_SEC,
      ...(objects === undefined ? {} : { inodeObjects: objects.tmpfsInode }),
    });
    fs.reset();
    mounted.push(fs);
    return fs;
  };
  vfs.mountRoot(vfs.attachFs(parts.root ?? tmpfs(parts.tmpPages ?? TMPFS_INODES)));
  const task = vfs.newTask({ uid: 0, gid: 0 });
  const run = (call: () => number): number =>
    finish(vfs, () => {
      idle();
      return call();
    });
  const mountAt = (path: string, fs: FileSystem): void => {
    run(() => vfs.mkdir(task, path, 0o755));
    const done = run(() => vfs.mount(task, vfs.attachFs(fs), path));
    assert(!isErr(done), "bootTree: a file system cannot be mounted where it belongs");
  };
  if (parts.root === undefined || !parts.root.readOnly) {
    mountAt("/dev", new PseudoFs("devtmpfs", devNodes(parts.seed, parts.console), BOOT_SEC));
    if (parts.tmpPages !== undefined) mountAt("/tmp", tmpfs(parts.tmpPages));
    if (parts.proc !== undefined)
      mountAt("/proc", procFs({ vfs, version: parts.version, ...parts.proc, bornSec: BOOT_SEC }));
    if (parts.sys !== undefined) mountAt("/sys", sysFs(parts.sys, BOOT_SEC));
  }
  const pipes = new PipeFs(memory, PIPES, parts.pipeMoved, objects);
  pipes.reset();
  vfs.mountPipes(vfs.attachFs(pipes), pipes);
  return { vfs, pipes, tmpfs: mounted, task };
}

/** Unmounts everything when nobody has anything open: 0, or an errno. `turn` lets journal and disk go on. */
export function unmountTree({ vfs, tmpfs, task }: Tree, ext4: Ext4 | undefined, turn: () => void): number {
  const poll = (call: () => number): number => {
    for (let round = 0; round < FINISH_ROUNDS_MAX; round++) {
      const result = call();
      if (result !== EIOCBQUEUED) return result;
      turn();
    }
    return EIO;
  };
  for (const path of ["/sys", "/proc", "/tmp", "/dev"]) poll(() => vfs.umount(task, path));
  const left = poll(() => vfs.exit(task));
  vfs.state.dcache.forgetAll();
  for (const { state } of tmpfs) state.giveBack();
  if (left !== 0 || ext4 === undefined) return left;
  const words = new Float64Array(CALL_WORDS);
  return poll(() => ext4.unmount(words));
}
