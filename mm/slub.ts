/**
 * Slab allocator: caches of equal objects cut from page blocks, with free lists inside the objects.
 *
 * - createCache(name, size, flags)       number of a new cache; destroyCache(cpu, cache): 0, or EBUSY while objects live
 * - alloc(cpu, cache, gfp, owner)        address of an object, or ENOMEM
 * - free(cpu, cache, addr, owner)        panics on a wrong cache, a wild pointer, a double free it can see
 * - allocBulk, freeBulk                  many at once
 * - drain(cpu), drainAll(cpu), tick(cpu) objects on CPUs' lists back to their slabs
 * - shrink(cpu, cache)                   empty slabs back to the page allocator
 * - cacheOf(addr)                        which cache, 0: none
 *
 * A CPU has two lists of free objects for each cache, active and spare, linked through the objects' first word; taking
 * and giving back are plain loads and stores. A list goes to and comes from the slabs as a whole, under the cache's
 * lock; so an object freed on another CPU than it came from needs no special care. A slab knows its own free objects
 * and how many are out (on CPUs' lists or in use):
 *
 *   per frame (a slab's first): free list head (word index, -1: none), objects out;   every frame: cache number
 *   lists of slabs (memmap's links): partial = some free and some out or kept for reuse; others are found by address
 *
 * All caches' words, lists and names are in two buffers (`buffers()`); objects are in RAM. Links are word indexes.
 */
import type { EventSink } from "../kernel/abi/machine.ts";
import type { Errno, PhysAddr, Pfn } from "../kernel/abi/units.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import { EBUSY, ENOMEM, isErr } from "../kernel/abi/errno.ts";
import { MmEv } from "../kernel/abi/events.ts";
import { SLAB_CACHES_MAX } from "../kernel/abi/limits.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert, panic } from "../kernel/lib/assert.ts";
import { GFP } from "./gfp.ts";
import { Kind, SLAB_LISTS } from "./memmap.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { cpuObjects, minPartial, orderFor, slabObjects, slabOrder } from "./slab_size.ts";
import { LIST, type SlubFast, slubFast } from "./slub_fast.ts";
import { RED_LEFT, damage, debugLink, debugSize, initFree, markAllocated, markFreed, tracks } from "./slub_debug.ts";

export const SlabFlag = { Debug: 1, Reclaimable: 2 } as const;

/** Words of a cache; the lock has a cache line of its own. */
export const CACHE = {
  lock: 0,
  size: 16,
  objectSize: 17,
  order: 18,
  flags: 19,
  limit: 20,
  link: 21,
  slabs: 22,
  partial: 23,
  minPartial: 24,
  /** Objects of all slabs, and those free in partial ones. */
  objects: 25,
  freeObjects: 26,
  words: 32,
} as const;
const ROWS = SLAB_CACHES_MAX + 1;
const NAME_BYTES = 32;
/** Objects are aligned to this. */
const ALIGN = 8;

export interface SlubBuffers {
  readonly control: SharedArrayBuffer;
  readonly frames: SharedArrayBuffer;
}

export class Slub {
  readonly pages: PageAlloc;
  readonly caches: Int32Array;
  readonly alloc: SlubFast["alloc"];
  readonly free: SlubFast["free"];
  readonly freeAny: SlubFast["freeAny"];
  /** Makes another CPU look at its requests, as PageAlloc.kick. */
  kick: (cpu: number) => void = (cpu) => this.tick(cpu);
  private readonly locks: LockOps;
  private readonly ram: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly lists: Int32Array;
  private readonly names: Uint8Array;
  /** One word a CPU: asked to drain. */
  private readonly requests: Int32Array;
  private readonly cacheOfFrame: Uint8Array;
  private readonly freeHead: Int32Array;
  private readonly out: Int32Array;
  private readonly cpus: number;
  private readonly shared: SlubBuffers;
  private readonly fast: SlubFast;
  private sink: EventSink | null = null;

  constructor(pages: PageAlloc, ram: ArrayBufferLike, locks: LockOps, shared?: SlubBuffers) {
    const { frames, cpus } = pages.map.shape;
    assert(ram.byteLength >= frames * PAGE_SIZE, "Slub: RAM is smaller than the memory map");
    this.pages = pages;
    this.locks = locks;
    this.cpus = cpus;
    this.ram = new Int32Array(ram);
    this.bytes = new Uint8Array(ram);
    const words = ROWS * CACHE.words + cpus * ROWS * LIST.words + cpus * 16;
    this.shared = shared ?? {
      control: new SharedArrayBuffer(words * 4 + ROWS * NAME_BYTES),
      frames: new SharedArrayBuffer(frames * 9),
    };
    const { control, frames: table } = this.shared;
    this.caches = new Int32Array(control, 0, ROWS * CACHE.words);
    this.lists = new Int32Array(control, ROWS * CACHE.words * 4, cpus * ROWS * LIST.words);
    this.requests = new Int32Array(control, (words - cpus * 16) * 4, cpus * 16);
    this.names = new Uint8Array(control, words * 4, ROWS * NAME_BYTES);
    this.freeHead = new Int32Array(table, 0, frames);
    this.out = new Int32Array(table, frames * 4, frames);
    this.cacheOfFrame = new Uint8Array(table, frames * 8, frames);
    this.fast = slubFast(
      {
        ram: this.ram,
        lists: this.lists,
        rows: ROWS,
        caches: this.caches,
        cacheWords: CACHE.words,
        limitAt: CACHE.limit,
        cacheOfFrame: this.cacheOfFrame,
      },
      {
        alloc: (cpu, cache, gfp, owner) => this.allocGeneral(cpu, cache, gfp, owner),
        free: (cpu, cache, addr, owner) => this.freeGeneral(cpu, cache, addr, owner),
      },
    );
    this.alloc = this.fast.alloc;
    this.free = this.fast.free;
    this.freeAny = this.fast.freeAny;
    if (shared !== undefined) return;
    for (let at = 0; at < this.lists.length; at += 2) this.lists[at] = -1;
  }

  buffers(): SlubBuffers {
    return this.shared;
  }

  createCache(name: string, objectSize: number, flags = 0): number {
    assert(objectSize > 0 && name.length > 0 && name.length < NAME_BYTES, "createCache: bad name or size");
    let cache = 1;
    while (cache < ROWS && this.caches[cache * CACHE.words + CACHE.size] !== 0) cache++;
    assert(cache < ROWS, "createCache: more caches than SLAB_CACHES_MAX");
    const debug = (flags & SlabFlag.Debug) !== 0;
    const size = debug ? debugSize(objectSize) : (objectSize + ALIGN - 1) & ~(ALIGN - 1);
    const at = cache * CACHE.words;
    this.caches[at + CACHE.objectSize] = objectSize;
    this.caches[at + CACHE.order] = slabOrder(size, this.cpus);
    this.caches[at + CACHE.flags] = flags;
    this.caches[at + CACHE.limit] = debug ? 0 : cpuObjects(size);
    this.caches[at + CACHE.link] = debug ? debugLink(objectSize) >> 2 : 0;
    this.caches[at + CACHE.minPartial] = minPartial(size);
    this.caches[at + CACHE.size] = size;
    for (let index = 0; index < NAME_BYTES; index++)
      this.names[cache * NAME_BYTES + index] = index < name.length ? name.charCodeAt(index) : 0;
    return cache;
  }

  /** The CPU lists of all CPUs must have been drained (drainAll) before. */
  destroyCache(cpu: number, cache: number): number | Errno {
    this.shrink(cpu, cache);
    const at = cache * CACHE.words;
    if (this.caches[at + CACHE.slabs] !== 0) return EBUSY;
    this.caches.fill(0, at, at + CACHE.words);
    return 0;
  }

  name(cache: number): string {
    const bytes = this.names.subarray(cache * NAME_BYTES, (cache + 1) * NAME_BYTES);
    return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
  }

  cacheOf(addr: number): number {
    return this.cacheOfFrame[addr >>> PAGE_SHIFT] ?? 0;
  }

  get trace(): EventSink | null {
    return this.sink;
  }

  set trace(sink: EventSink | null) {
    this.sink = sink;
    this.fast.trace(sink !== null);
  }

  /** Fills `into` from the front; returns how many it got. */
  allocBulk(cpu: number, cache: number, gfp: number, owner: number, into: Float64Array): number {
    for (let index = 0; index < into.length; index++) {
      const addr = this.alloc(cpu, cache, gfp, owner);
      if (isErr(addr)) return index;
      into[index] = addr;
    }
    return into.length;
  }

  freeBulk(cpu: number, cache: number, from: Float64Array, owner: number): void {
    for (const addr of from) this.free(cpu, cache, addr as PhysAddr, owner);
  }

  drain(cpu: number): void {
    Atomics.store(this.requests, cpu * 16, 0);
    for (let cache = 1; cache < ROWS; cache++) {
      if (this.caches[cache * CACHE.words + CACHE.size] === 0) continue;
      this.flush(cpu, cache, LIST.head);
      this.flush(cpu, cache, LIST.spare);
    }
  }

  drainAll(cpu: number): void {
    for (let other = 0; other < this.cpus; other++) {
      Atomics.store(this.requests, other * 16, 1);
      if (other === cpu) this.tick(cpu);
      else this.kick(other);
    }
  }

  tick(cpu: number): void {
    if (this.requests[cpu * 16] !== 0) this.drain(cpu);
  }

  /** Returns the frames given back. */
  shrink(cpu: number, cache: number): number {
    const { map } = this.pages;
    const words = cache * CACHE.words;
    let frames = 0;
    this.locks.lock(this.caches, words);
    const list = this.partialList(cache);
    for (let slab = map.next[list]!; slab !== list;) {
      const after = map.next[slab]!;
      if (this.out[slab] === 0) {
        frames += 1 << (map.state[slab]! & 15);
        this.discard(cpu, cache, slab);
      }
      slab = after;
    }
    this.locks.unlock(this.caches, words);
    return frames;
  }

  /** Checks all free and used objects of a debugged cache; panics at the first that is damaged. */
  validate(cache: number): number {
    const words = cache * CACHE.words;
    assert((this.caches[words + CACHE.flags]! & SlabFlag.Debug) !== 0, "validate: not a debugged cache");
    let objects = 0;
    for (let slab = 0; slab < this.cacheOfFrame.length; slab++) {
      if (this.cacheOfFrame[slab] !== cache || this.pages.map.state[slab] === 0) continue;
      const free = new Set(this.freeObjects(cache, slab));
      const size = this.caches[words + CACHE.size]!;
      const count = slabObjects(this.pages.map.state[slab]! & 15, size);
      for (let index = 0; index < count; index++) {
        const object = slab * PAGE_SIZE + index * size + RED_LEFT;
        const found = damage(this.bytes, object, this.caches[words + CACHE.objectSize]!, !free.has(object >>> 2));
        if (found !== undefined) this.report(cache, object, found);
        objects++;
      }
    }
    return objects;
  }

  /** Structure of all caches: counts, free lists within their slabs, partial lists. Panics with what is wrong. */
  check(): void {
    const { map } = this.pages;
    for (let cache = 1; cache < ROWS; cache++) {
      const words = cache * CACHE.words;
      if (this.caches[words + CACHE.size] === 0) continue;
      const free = new Set<number>();
      let slabs = 0;
      let objects = 0;
      let freeInPartial = 0;
      for (let slab = 0; slab < this.cacheOfFrame.length; slab++) {
        if (this.cacheOfFrame[slab] !== cache || map.state[slab] === 0) continue;
        assert(map.state[slab]! >> 6 === Kind.Allocated, "slub: a slab's pages are free");
        const count = slabObjects(map.state[slab]! & 15, this.caches[words + CACHE.size]!);
        const listed = this.freeObjects(cache, slab);
        assert(listed.length === count - this.out[slab]!, "slub: a slab's free and outer objects are not all");
        for (const object of listed) free.add(object);
        slabs++;
        objects += count;
        freeInPartial += listed.length;
      }
      assert(this.caches[words + CACHE.slabs] === slabs, "slub: slab count is wrong");
      assert(this.caches[words + CACHE.objects] === objects, "slub: object count is wrong");
      assert(freeInPartial === this.caches[words + CACHE.freeObjects], "slub: free object count is wrong");
      let partial = 0;
      const list = this.partialList(cache);
      for (let slab = map.next[list]!; slab !== list; slab = map.next[slab]!) {
        assert(
          this.cacheOfFrame[slab] === cache && this.freeHead[slab] !== -1,
          "slub: a foreign or full slab is listed partial",
        );
        assert(map.next[map.prev[slab]!] === slab, "slub: a slab list's links disagree");
        partial++;
      }
      assert(partial === this.caches[words + CACHE.partial], "slub: partial count is wrong");
      for (let cpu = 0; cpu < this.cpus; cpu++) {
        const at = (cpu * ROWS + cache) * LIST.words;
        for (const which of [LIST.head, LIST.spare]) {
          let count = 0;
          for (let object = this.lists[at + which]!; object !== -1; object = this.ram[object]!) {
            assert(this.cacheOfFrame[object >>> 10] === cache, "slub: a CPU's list leads out of the cache");
            assert(!free.has(object), "slub: an object is free twice");
            free.add(object);
            count++;
          }
          assert(count === this.lists[at + which + 1], "slub: a CPU's list disagrees with its count");
        }
      }
    }
  }

  private partialList(cache: number): number {
    return this.pages.map.slabLists + cache * SLAB_LISTS - SLAB_LISTS;
  }

  private freeObjects(cache: number, slab: number): number[] {
    const link = this.caches[cache * CACHE.words + CACHE.link]!;
    const size = this.caches[cache * CACHE.words + CACHE.size]!;
    const most = slabObjects(this.pages.map.state[slab]! & 15, size);
    const objects: number[] = [];
    for (let object = this.freeHead[slab]!; object !== -1; object = this.ram[object + link]!) {
      if (objects.length >= most || this.slabAround(cache, object * 4) !== slab)
        panic(`slub: the free list of a slab of ${this.name(cache)} is damaged`, object * 4);
      objects.push(object);
    }
    return objects;
  }

  /** First frame of the slab around an address: of the cache's usual order, or the least when memory was short. */
  private slabAround(cache: number, addr: number): number {
    const pfn = addr >>> PAGE_SHIFT;
    const order = this.caches[cache * CACHE.words + CACHE.order]!;
    const usual = (pfn >>> order) << order;
    return (this.pages.map.state[usual]! & 0xcf) === ((Kind.Allocated << 6) | order) &&
      this.cacheOfFrame[usual] === cache
      ? usual
      : this.pages.map.blockAround(pfn as Pfn);
  }

  private allocGeneral(cpu: number, cache: number, gfp: number, owner: number): PhysAddr | Errno {
    const at = (cpu * ROWS + cache) * LIST.words;
    const object = this.lists[at]! < 0 ? this.allocSlow(cpu, cache, gfp, owner) : this.takeActive(at);
    if (object < 0) return ENOMEM;
    const bytes = this.caches[cache * CACHE.words + CACHE.objectSize]!;
    this.sink?.(MmEv.KmemCacheAlloc, cpu, object >>> 1, bytes, cache, owner);
    return (object * 4) as PhysAddr;
  }

  private takeActive(at: number): number {
    const object = this.lists[at]!;
    this.lists[at] = this.ram[object]!;
    this.lists[at + LIST.count]!--;
    return object;
  }

  private allocSlow(cpu: number, cache: number, gfp: number, owner: number): number {
    this.tick(cpu);
    const lists = this.lists;
    const at = (cpu * ROWS + cache) * LIST.words;
    if (lists[at + LIST.spare]! >= 0) {
      this.swap(at);
      return this.takeActive(at);
    }
    const words = cache * CACHE.words;
    this.locks.lock(this.caches, words);
    if (this.pages.map.next[this.partialList(cache)] === this.partialList(cache)) {
      // Pages are taken without the lock: reclaim may free objects of this very cache.
      this.locks.unlock(this.caches, words);
      const slab = this.newSlab(cpu, cache, gfp, owner);
      if (slab < 0) return -1;
      this.locks.lock(this.caches, words);
      this.adopt(cache, slab);
    }
    if ((this.caches[words + CACHE.flags]! & SlabFlag.Debug) !== 0) return this.takeChecked(cpu, cache, owner);
    const object = this.takeList(at, cache);
    this.locks.unlock(this.caches, words);
    return object;
  }

  private swap(at: number): void {
    const lists = this.lists;
    const head = lists[at]!;
    const count = lists[at + LIST.count]!;
    lists[at] = lists[at + LIST.spare]!;
    lists[at + LIST.count] = lists[at + LIST.spareCount]!;
    lists[at + LIST.spare] = head;
    lists[at + LIST.spareCount] = count;
  }

  /** The free list of the first partial slab becomes the CPU's; returns one object of it. */
  private takeList(at: number, cache: number): number {
    const { map } = this.pages;
    const words = cache * CACHE.words;
    const slab = map.next[this.partialList(cache)]!;
    const object = this.freeHead[slab]!;
    const total = slabObjects(map.state[slab]! & 15, this.caches[words + CACHE.size]!);
    const got = total - this.out[slab]!;
    this.unlist(cache, slab);
    this.freeHead[slab] = -1;
    this.out[slab] = total;
    this.caches[words + CACHE.freeObjects]! -= got;
    this.lists[at] = this.ram[object]!;
    this.lists[at + LIST.count] = got - 1;
    return object;
  }

  /** One object of the first partial slab, for a debugged cache; looked at before it is taken. Drops the lock. */
  private takeChecked(cpu: number, cache: number, owner: number): number {
    const words = cache * CACHE.words;
    const bytes = this.caches[words + CACHE.objectSize]!;
    const slab = this.pages.map.next[this.partialList(cache)]!;
    const object = this.freeHead[slab]!;
    const found = damage(this.bytes, object * 4, bytes, false);
    if (found === undefined) {
      this.freeHead[slab] = this.ram[object + this.caches[words + CACHE.link]!]!;
      this.out[slab]!++;
      this.caches[words + CACHE.freeObjects]!--;
      if (this.freeHead[slab] === -1) this.unlist(cache, slab);
      markAllocated(this.bytes, object * 4, bytes, owner, cpu);
    }
    this.locks.unlock(this.caches, words);
    if (found !== undefined) this.report(cache, object * 4, found);
    return object;
  }

  private newSlab(cpu: number, cache: number, gfp: number, owner: number): number {
    const words = cache * CACHE.words;
    const size = this.caches[words + CACHE.size]!;
    const usual = this.caches[words + CACHE.order]!;
    const least = orderFor(size);
    const mobility = (this.caches[words + CACHE.flags]! & SlabFlag.Reclaimable) !== 0 ? GFP.__GFP_RECLAIMABLE : 0;
    const plain = (gfp & ~(GFP.__GFP_MOVABLE | GFP.__GFP_RECLAIMABLE | GFP.__GFP_ZERO)) | mobility;
    // A large slab is only a wish: no reclaim for it while a small one would do.
    const wish = (plain & ~(GFP.__GFP_DIRECT_RECLAIM | GFP.__GFP_NOFAIL)) | GFP.__GFP_NORETRY | GFP.__GFP_NOWARN;
    let order = usual;
    let pfn = this.pages.alloc(cpu, order > least ? wish : plain, order, owner);
    if (isErr(pfn) && order > least) {
      order = least;
      pfn = this.pages.alloc(cpu, plain, order, owner);
    }
    if (isErr(pfn)) return -1;
    const objects = slabObjects(order, size);
    const link = this.caches[words + CACHE.link]!;
    const debug = (this.caches[words + CACHE.flags]! & SlabFlag.Debug) !== 0;
    const first = (pfn * PAGE_SIZE + (debug ? RED_LEFT : 0)) / 4;
    for (let index = 0; index < objects; index++) {
      const object = first + (index * size) / 4;
      if (debug) initFree(this.bytes, object * 4, this.caches[words + CACHE.objectSize]!);
      this.ram[object + link] = index + 1 < objects ? object + size / 4 : -1;
    }
    this.freeHead[pfn] = first;
    this.out[pfn] = 0;
    this.cacheOfFrame.fill(cache, pfn, pfn + (1 << order));
    this.sink?.(MmEv.SlabNew, cpu, pfn, order, cache, objects);
    return pfn;
  }

  private adopt(cache: number, slab: number): void {
    const words = cache * CACHE.words;
    const objects = slabObjects(this.pages.map.state[slab]! & 15, this.caches[words + CACHE.size]!);
    this.caches[words + CACHE.slabs]!++;
    this.caches[words + CACHE.objects]! += objects;
    this.caches[words + CACHE.freeObjects]! += objects;
    this.enlist(cache, slab);
  }

  private enlist(cache: number, slab: number): void {
    const { next, prev } = this.pages.map;
    const list = this.partialList(cache);
    const first = next[list]!;
    next[slab] = first;
    prev[slab] = list;
    prev[first] = slab;
    next[list] = slab;
    this.caches[cache * CACHE.words + CACHE.partial]!++;
  }

  private unlist(cache: number, slab: number): void {
    const { next, prev } = this.pages.map;
    next[prev[slab]!] = next[slab]!;
    prev[next[slab]!] = prev[slab]!;
    this.caches[cache * CACHE.words + CACHE.partial]!--;
  }

  private freeGeneral(cpu: number, cache: number, addr: PhysAddr, owner: number): void {
    if (this.cacheOfFrame[addr >>> PAGE_SHIFT] !== cache) this.wrongCache(cache, addr);
    const words = cache * CACHE.words;
    const lists = this.lists;
    const at = (cpu * ROWS + cache) * LIST.words;
    const object = addr >>> 2;
    if ((this.caches[words + CACHE.flags]! & SlabFlag.Debug) !== 0) {
      this.tick(cpu);
      this.freeChecked(cpu, cache, addr, owner);
    } else {
      if (object === lists[at])
        panic(`slub: double free of an object of ${this.name(cache)}`, `0x${addr.toString(16)}`);
      if (lists[at + LIST.count]! >= this.caches[words + CACHE.limit]!) this.makeRoom(cpu, cache, at);
      this.ram[object] = lists[at]!;
      lists[at] = object;
      lists[at + LIST.count]!++;
    }
    this.sink?.(MmEv.KmemCacheFree, cpu, addr >>> 3, 0, cache, 0);
  }

  /** The active list is full: what lies longest, the spare, goes back to the slabs. */
  private makeRoom(cpu: number, cache: number, at: number): void {
    this.tick(cpu);
    if (this.lists[at + LIST.count]! < this.caches[cache * CACHE.words + CACHE.limit]!) return;
    this.flush(cpu, cache, LIST.spare);
    this.swap(at);
  }

  private freeChecked(cpu: number, cache: number, addr: number, owner: number): void {
    const words = cache * CACHE.words;
    const size = this.caches[words + CACHE.size]!;
    const bytes = this.caches[words + CACHE.objectSize]!;
    const slab = this.slabAround(cache, addr);
    const offset = addr - slab * PAGE_SIZE - RED_LEFT;
    if (offset < 0 || offset % size !== 0) this.report(cache, addr, "free of a pointer that is no object");
    this.locks.lock(this.caches, words);
    const isFree = this.freeObjects(cache, slab).includes(addr >>> 2);
    const found = isFree ? "double free" : damage(this.bytes, addr, bytes, true);
    if (found === undefined) {
      markFreed(this.bytes, addr, bytes, owner, cpu);
      this.putObject(cpu, cache, addr >>> 2);
    }
    this.locks.unlock(this.caches, words);
    if (found !== undefined) this.report(cache, addr, found);
  }

  /** A CPU's active or spare list back to the slabs. */
  private flush(cpu: number, cache: number, which: number): void {
    const at = (cpu * ROWS + cache) * LIST.words + which;
    let object = this.lists[at]!;
    if (object < 0) return;
    this.locks.lock(this.caches, cache * CACHE.words);
    while (object >= 0) {
      const after = this.ram[object]!;
      this.putObject(cpu, cache, object);
      object = after;
    }
    this.locks.unlock(this.caches, cache * CACHE.words);
    this.lists[at] = -1;
    this.lists[at + 1] = 0;
  }

  private putObject(cpu: number, cache: number, object: number): void {
    const words = cache * CACHE.words;
    const slab = this.slabAround(cache, object * 4);
    const head = this.freeHead[slab]!;
    this.ram[object + this.caches[words + CACHE.link]!] = head;
    this.freeHead[slab] = object;
    this.out[slab]!--;
    this.caches[words + CACHE.freeObjects]!++;
    if (head === -1) this.enlist(cache, slab);
    if (this.out[slab] === 0 && this.caches[words + CACHE.partial]! > this.caches[words + CACHE.minPartial]!)
      this.discard(cpu, cache, slab);
  }

  /** An empty slab back to the page allocator; the cache's lock is held. */
  private discard(cpu: number, cache: number, slab: number): void {
    const words = cache * CACHE.words;
    const order = this.pages.map.state[slab]! & 15;
    const objects = slabObjects(order, this.caches[words + CACHE.size]!);
    this.unlist(cache, slab);
    this.caches[words + CACHE.slabs]!--;
    this.caches[words + CACHE.objects]! -= objects;
    this.caches[words + CACHE.freeObjects]! -= objects;
    this.cacheOfFrame.fill(0, slab, slab + (1 << order));
    this.pages.free(cpu, slab as Pfn, order);
  }

  private wrongCache(cache: number, addr: number): never {
    const other = this.cacheOf(addr);
    const at = `0x${addr.toString(16)}`;
    if (other === 0) panic(`slub: wild free of ${at} to ${this.name(cache)}: in no slab`);
    panic(`slub: wrong cache: ${at} is of ${this.name(other)}, freed to ${this.name(cache)}`);
  }

  private report(cache: number, addr: number, what: string): never {
    const who = tracks(this.bytes, addr, this.caches[cache * CACHE.words + CACHE.objectSize]!);
    panic(`slub: ${what} in ${this.name(cache)} object 0x${addr.toString(16)}, ${who}`);
  }
}
