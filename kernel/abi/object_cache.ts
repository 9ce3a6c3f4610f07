/**
 * Memory of kernel objects of one kind (Linux: struct kmem_cache): a slab cache in a booted machine. Elsewhere objects
 * are rows of tables alone, and take none.
 *
 * - alloc()        address of an object, or ENOMEM
 * - free(addr)     what alloc() gave
 */
import type { Errno } from "./units.ts";

export interface ObjectCache {
  readonly alloc: () => number | Errno;
  readonly free: (addr: number) => void;
}

/** All objects of a bare library lie at 0. */
export const NO_MEMORY: ObjectCache = { alloc: () => 0, free: () => undefined };
