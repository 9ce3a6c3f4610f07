/**
 * A file system without a machine around it: a device, a page cache of its own, a clock and chance. For tests, commands
 * on image files, and crash exploration, which makes thousands of them a second: on a device that ends everything at
 * once no call ever waits.
 *
 * - bareFs(options)      BareFs; or Refusal, when it cannot be mounted
 * - run(call)            makes a call until it does not wait any more, and the file system goes on in between
 * - vfs, task            a VFS with this file system at its root, made when it is first asked for, and root's task on it
 * - unmount()            0 when all is on the device, and clean
 * - save(), load(saved)  the file system's state as bytes, between two calls; neither the device's nor the VFS's. What is
 *                        in flight is made again by load(), on a device that has carried it out or dropped it
 *
 * Memory is taken by the size of the device, up to what a small machine would give; `pages`, `buffers` and `inodes` say
 * otherwise.
 */
import type { BlockDevice } from "../abi/block.ts";
import { SECTOR_SIZE } from "../abi/block.ts";
import { EIOCBQUEUED } from "../abi/errno.ts";
import type { Machine } from "../abi/machine.ts";
import type { Mapping, PageCache } from "../abi/page_cache.ts";
import type { Errno } from "../abi/units.ts";
import { nanos, PAGE_SIZE } from "../abi/units.ts";
import { assert } from "../lib/assert.ts";
import { type Arena, growingArena, load, privateArena, save } from "../lib/growing_arena.ts";
import { nextBelow, PRNG_WORDS, seedPrng } from "../lib/prng.ts";
import { adopt, EVICT_POLICIES, Filemap, pageCacheOf, PageFrames } from "../../mm/index.ts";
import { FileStore } from "./ext4/data_store.ts";
import { Ext4 } from "./ext4/ext4.ts";
import { NO_MAPPING } from "./ext4/icache.ts";
import { mountExt4 } from "./ext4/mount.ts";
import type { MountOptions } from "./ext4/mount_options.ts";
import { isRefusal } from "./ext4/super.ts";
import type { Refusal } from "./ext4/super.ts";
import { CALL_WORDS } from "./vfs/file_system.ts";
import { Vfs } from "./vfs/vfs.ts";

export interface BareOptions {
  readonly device: BlockDevice;
  readonly mount?: MountOptions;
  /** Of the generations of inodes. */
  readonly seed?: number;
  /** Missing: time stands still at `bootSec`. */
  readonly now?: Machine["now"];
  /** Seconds since 1970 at now() = 0. */
  readonly bootSec?: number;
  /** Lets the world go on while a call waits: virtual time, a device's worker. */
  readonly idle?: () => void;
  readonly privileged?: boolean;
  /** Events of the page cache, the journal and the file system. */
  readonly trace?: Machine["trace"];
  readonly pages?: number;
  readonly buffers?: number;
  readonly inodes?: number;
}

/** 2026-01-01: a time that is no more than a default. */
const BOOT_SEC = 1_767_225_600;
/** run() gives a call up after so many idle rounds without any progress. */
const IDLE_MAX = 20_000;

const between = (least: number, value: number, most: number): number =>
  Math.max(least, Math.min(most, Math.floor(value)));

export class BareFs {
  readonly fs: Ext4;
  readonly cache: PageCache;
  readonly #filemap: Filemap;
  readonly #memory: Arena;
  readonly #idle: () => void;
  #vfs: Vfs | undefined;
  #task = 0;

  constructor(fs: Ext4, filemap: Filemap, cache: PageCache, memory: Arena, idle: () => void) {
    this.fs = fs;
    this.cache = cache;
    this.#filemap = filemap;
    this.#memory = memory;
    this.#idle = idle;
  }

  get vfs(): Vfs {
    if (this.#vfs === undefined) {
      const memory = growingArena();
      this.#vfs = new Vfs({ memory, now: this.fs.fs.machine.now });
      this.#vfs.reset();
      this.#vfs.mountRoot(this.#vfs.attachFs(this.fs));
      this.#task = this.#vfs.newTask({ uid: 0, gid: 0 });
    }
    return this.#vfs;
  }

  get task(): number {
    void this.vfs;
    return this.#task;
  }

  save(): Uint8Array {
    return save(this.#memory);
  }

  load(saved: Uint8Array): void {
    load(this.#memory, saved);
    const mounted = this.fs.fs;
    const { inodes } = mounted;
    for (let row = 0; row < inodes.rows; row++)
      if (inodes.ino[row] !== 0 && inodes.mapping[row] !== NO_MAPPING)
        adopt(this.#filemap, inodes.mapping[row]! as Mapping, new FileStore(mounted, row));
    mounted.journal.restart();
  }

  run(call: () => number): number {
    let result = call();
    for (let idle = 0; result === EIOCBQUEUED; result = call()) {
      if (this.fs.step()) {
        idle = 0;
        continue;
      }
      assert(++idle < IDLE_MAX, "bareFs: a call waits, and nothing moves");
      this.#idle();
    }
    return result;
  }

  sync(): 0 | Errno {
    const words = new Float64Array(CALL_WORDS);
    return this.run(() => this.fs.sync(words)) as 0 | Errno;
  }

  unmount(): 0 | Errno {
    const words = new Float64Array(CALL_WORDS);
    return this.run(() => this.fs.unmount(words)) as 0 | Errno;
  }
}

export function bareFs(options: BareOptions): BareFs | Refusal {
  const { device, bootSec = BOOT_SEC, idle = () => {} } = options;
  const bytes = device.limits.sectors * SECTOR_SIZE;
  const pages = options.pages ?? between(128, bytes / PAGE_SIZE / 8, 4096);
  const buffers = options.buffers ?? between(512, bytes / PAGE_SIZE / 8, 4096);
  const inodes = options.inodes ?? between(256, bytes / PAGE_SIZE / 8, 4096);
  const memory = privateArena();
  const chance = memory.int32(PRNG_WORDS);
  seedPrng(chance, options.seed ?? 1);
  const now = options.now ?? (() => nanos(0));
  const machine: Machine = { now, below: (bound) => nextBelow(chance, bound), trace: options.trace ?? (() => {}) };
  const frames = new PageFrames(memory, pages);
  frames.reset();
  const policy = EVICT_POLICIES.find(({ name }) => name === "clock")!;
  const filemap = new Filemap({
    slots: pages,
    files: inodes,
    policy,
    seed: 1,
    frames,
    memory,
    now,
    dirtyRatio: 50,
    backgroundRatio: 25,
    trace: machine.trace,
  });
  filemap.reset();
  const cache = pageCacheOf(filemap);
  const fs = mountExt4({
    device,
    cache,
    machine,
    memory,
    bootSec,
    idle,
    buffers,
    inodes,
    pages,
    ...(options.mount === undefined ? {} : { options: options.mount }),
    ...(options.privileged === undefined ? {} : { privileged: options.privileged }),
  });
  return isRefusal(fs) ? fs : new BareFs(new Ext4(fs, device, idle), filemap, cache, memory, idle);
}
