/**
 * The slab caches of a machine's kernel objects (boot.ts calls this), with the names and sizes that Linux 6.1 has on
 * 64 bits: those of /proc/slabinfo of a 6.1.0 amd64 kernel, but for fs_cache, which that one merges with others.
 *
 * - bootSlabs(memory, cpu, ...)      the caches, over the page allocator
 * - settle()                         objects on CPUs' lists back to their slabs, empty slabs back to the page allocator: frames
 * - settleAll()                      the same by one for all CPUs, none of which is at work
 * - inUse()                          objects that somebody has, by cache; exact after settleAll()
 */
import type { EventSink } from "./abi/machine.ts";
import type { ObjectCache } from "./abi/object_cache.ts";
import type { PhysAddr } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";
import { noLocks } from "./lib/lock_ops.ts";
import type { LockOps } from "./lib/lock_ops.ts";
import type { Memory } from "./wire_memory.ts";
import { GFP, SlabFlag, slabRows, Slub } from "../mm/index.ts";
import type { SlubBuffers } from "../mm/index.ts";

/** GFP_KERNEL: may reclaim. */
const MAY_WAIT = GFP.__GFP_RECLAIM | GFP.__GFP_IO | GFP.__GFP_FS;
/** Within a file system's work, as the page cache: reclaim would ask that very file system. */
const AT_ONCE = GFP.__GFP_KSWAPD_RECLAIM | GFP.__GFP_NOWARN;
const OWNER_KERNEL = 0;

const KINDS = {
  task: { name: "task_struct", bytes: 6144, gfp: MAY_WAIT },
  mm: { name: "mm_struct", bytes: 1152, gfp: MAY_WAIT },
  signal: { name: "signal_cache", bytes: 1152, gfp: MAY_WAIT },
  sighand: { name: "sighand_cache", bytes: 2112, gfp: MAY_WAIT },
  cred: { name: "cred_jar", bytes: 192, gfp: MAY_WAIT },
  pid: { name: "pid", bytes: 128, gfp: MAY_WAIT },
  files: { name: "files_cache", bytes: 704, gfp: MAY_WAIT },
  fs: { name: "fs_cache", bytes: 64, gfp: MAY_WAIT },
  file: { name: "filp", bytes: 256, gfp: MAY_WAIT },
  pipeInode: { name: "inode_cache", bytes: 640, gfp: MAY_WAIT, reclaimable: true },
  pipe: { name: "kmalloc-cg-192", bytes: 192, gfp: MAY_WAIT },
  pipeRing: { name: "kmalloc-cg-1k", bytes: 1024, gfp: MAY_WAIT },
  dentry: { name: "dentry", bytes: 192, gfp: AT_ONCE, reclaimable: true },
  ext4Inode: { name: "ext4_inode_cache", bytes: 1192, gfp: AT_ONCE, reclaimable: true },
  tmpfsInode: { name: "shmem_inode_cache", bytes: 784, gfp: AT_ONCE },
} as const;

export type Objects = { readonly [Kind in keyof typeof KINDS]: ObjectCache };

export interface Slabs {
  readonly slub: Slub;
  readonly objects: Objects;
  /** What a task has of them, the address space's object first (task_objects.ts). */
  readonly tasks: { readonly caches: readonly ObjectCache[] };
  settle(): number;
  settleAll(): void;
  inUse(): Readonly<Record<string, number>>;
  /** Frames of all slabs. */
  frames(): number;
}

/** `shared`: the caches as another worker has made them. */
export function bootSlabs(
  { mm, ram }: Pick<Memory, "mm" | "ram">,
  cpu: () => number,
  trace: EventSink | null,
  locks: LockOps = noLocks,
  shared?: SlubBuffers,
): Slabs {
  const slub = new Slub(mm, ram, locks, shared);
  slub.trace = trace;
  // Other workers look at their requests when they next go to the slabs.
  if (shared !== undefined) slub.kick = () => {};
  const made = Object.entries(KINDS).map(([kind, { name, bytes, gfp, ...how }], index) => {
    const flags = "reclaimable" in how ? SlabFlag.Reclaimable : 0;
    const cache = shared === undefined ? slub.createCache(name, bytes, flags) : index + 1;
    assert(slub.name(cache) === name, "bootSlabs: a cache has another number than it should");
    const objects: ObjectCache = {
      alloc: () => slub.alloc(cpu(), cache, gfp, OWNER_KERNEL),
      free: (addr) => slub.free(cpu(), cache, addr as PhysAddr, OWNER_KERNEL),
    };
    return [kind, objects] as const;
  });
  const objects = Object.fromEntries(made) as Objects;
  const shrink = (): number => made.reduce((frames, _, index) => frames + slub.shrink(cpu(), index + 1), 0);
  const { mm: space, task, signal, sighand, cred, pid } = objects;
  return {
    slub,
    objects,
    tasks: { caches: [space, task, signal, sighand, cred, pid] },
    settle() {
      slub.drainAll(cpu());
      return shrink();
    },
    settleAll() {
      for (let other = 0; other < mm.config.cpus; other++) slub.drain(other);
      shrink();
    },
    inUse() {
      const rows = slabRows(slub).filter(({ activeObjects }) => activeObjects > 0);
      return Object.fromEntries(rows.map(({ name, activeObjects }) => [name, activeObjects]));
    },
    frames: () => slabRows(slub).reduce((sum, { slabs, pagesPerSlab }) => sum + slabs * pagesPerSlab, 0),
  };
}
