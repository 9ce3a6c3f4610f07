/**
 * What a task has of the slab caches, one object of each (Linux: kernel/fork.c): its address space's, which goes when it
 * exits, and those that stay until it is reaped. A row of addresses, in units of 8 bytes, 0: none; the first is the
 * address space's.
 *
 * - takeObjects(caches, row, first)    objects first.. of a row: 0, or ENOMEM, and then there are none
 * - giveObjects(caches, row, first, end)    objects first..end back
 */
import { ENOMEM, isErr } from "./abi/errno.ts";
import type { ObjectCache } from "./abi/object_cache.ts";
import type { Errno } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";

/** Most caches that a task has objects of. */
export const TASK_OBJECTS = 6;
/** Objects of a row from which on they stay until the task is reaped; those of a kernel task. */
export const LASTING = 1;
const UNIT = 8;

export function takeObjects(caches: readonly ObjectCache[], row: Int32Array, first: number): 0 | Errno {
  assert(caches.length <= TASK_OBJECTS, "takeObjects: more caches than a row has words");
  for (let n = first; n < caches.length; n++) {
    const addr = caches[n]!.alloc();
    if (isErr(addr)) {
      giveObjects(caches, row, first, n);
      return ENOMEM;
    }
    row[n] = addr / UNIT;
  }
  return 0;
}

export function giveObjects(caches: readonly ObjectCache[], row: Int32Array, first: number, end = caches.length): void {
  for (let n = first; n < end; n++) {
    if (row[n] !== 0) caches[n]!.free(row[n]! * UNIT);
    row[n] = 0;
  }
}
