/** A page cache, files on memory stores, and a policy that notes what it is told: what the tests of mm/filemap start from. */
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import type { Mapping, PageCache, Slot } from "../../kernel/abi/page_cache.ts";
import { RA_WORDS } from "../../kernel/abi/page_cache.ts";
import type { Errno, Nanos } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { type GrowingArena, growingArena } from "../../kernel/lib/growing_arena.ts";
import {
  EVICT_POLICIES,
  Filemap,
  type FilemapOptions,
  MemoryStore,
  PageFrames,
  pageCacheOf,
  type PlainFile,
  raInit,
} from "../../mm/index.ts";

export const LRU = EVICT_POLICIES.find((type) => type.name === "lru")!;

/** LRU that writes down its calls, as `hit 3`. */
export function noting(calls: string[]): EvictPolicyType {
  return {
    ...LRU,
    create(options, memory) {
      const policy = LRU.create(options, memory);
      return {
        reset: () => policy.reset(),
        evict: (key) => policy.evict(key),
        remove: (slot) => policy.remove(slot),
        check: () => policy.check(),
        hit(slot) {
          calls.push("hit");
          policy.hit(slot);
        },
        insert(slot, key) {
          calls.push(`insert ${key % 2 ** 32}`);
          policy.insert(slot, key);
        },
      };
    },
  };
}

export interface Rig {
  readonly fm: Filemap;
  readonly cache: PageCache;
  readonly frames: PageFrames;
  readonly memory: GrowingArena;
  readonly clock: { now: number };
}

export function rig(
  slots: number,
  options: Partial<FilemapOptions> & { readonly memory?: GrowingArena; readonly frameCount?: number } = {},
): Rig {
  const memory = options.memory ?? growingArena();
  const frames = new PageFrames(memory, options.frameCount ?? slots);
  const clock = { now: 0 };
  const now = (): Nanos => clock.now as Nanos;
  const fm = new Filemap({ slots, files: 8, policy: LRU, seed: 1, frames, memory, now, ...options });
  if (options.memory === undefined) {
    frames.reset();
    fm.reset();
  }
  return { fm, cache: pageCacheOf(fm), frames, memory, clock };
}

/** A file of `pages` pages on the disk, page i filled with i + 1. */
export function fileOn(cache: PageCache, pages: number, journal = 0, raPages = 0): PlainFile & { store: MemoryStore } {
  const store = new MemoryStore(1, undefined, journal > 0);
  store.cache = cache;
  store.setSize(pages * PAGE_SIZE);
  for (let index = 0; index < pages; index++) store.writePages(index, [new Uint8Array(PAGE_SIZE).fill(index + 1)], 0);
  store.requests = 0;
  const ra = new Int32Array(RA_WORDS);
  raInit(ra, 0, raPages);
  return { cache, mapping: cache.open(store, journal) as Mapping, store, ra, errorsSince: 0 };
}

/** One call on one page: its first byte, or the errno. `change` stages a byte. */
export function touch(file: PlainFile, index: number, change?: number, transaction = 0): number {
  const { cache, mapping } = file;
  cache.begin();
  const slot: Slot | Errno = change === undefined ? cache.page(mapping, index) : cache.edit(mapping, index);
  if (slot < 0) {
    cache.abort();
    return slot;
  }
  if (change !== undefined) cache.stage(slot as Slot, transaction)[0] = change;
  const byte = cache.bytes(slot as Slot)[0]!;
  cache.merge();
  return byte;
}
