/**
 * The slab allocator's fast path: one object off or onto the CPU's active list, with plain loads and stores. Whatever is
 * unusual goes to `slow`: an empty or a full list, a debugged cache (whose lists hold nothing), events that are traced.
 *
 * Closes over the arrays, for the reason given in mm/buddy_lists.ts. What the words mean is said in mm/slub.ts.
 */
import type { Errno, PhysAddr } from "../kernel/abi/units.ts";
import { PAGE_SHIFT } from "../kernel/abi/units.ts";

/** A CPU's words for one cache: active head and count, spare head and count. */
export const LIST = { head: 0, count: 1, spare: 2, spareCount: 3, words: 4 } as const;

export interface SlubFast {
  readonly alloc: (cpu: number, cache: number, gfp: number, owner: number) => PhysAddr | Errno;
  /** Panics on an object of another cache, before anything is changed. */
  readonly free: (cpu: number, cache: number, addr: PhysAddr, owner: number) => void;
  /** An object of whatever cache; false: the address is in no slab. */
  readonly freeAny: (cpu: number, addr: PhysAddr, owner: number) => boolean;
  readonly trace: (on: boolean) => void;
}

export interface SlubSlow {
  alloc(cpu: number, cache: number, gfp: number, owner: number): PhysAddr | Errno;
  free(cpu: number, cache: number, addr: PhysAddr, owner: number): void;
}

/** Where the fast path looks: a CPU's row of `lists` has one LIST for each of `rows` caches. */
export interface SlubArrays {
  readonly ram: Int32Array;
  readonly lists: Int32Array;
  readonly rows: number;
  /** Most objects on an active list: `caches[cache * cacheWords + limitAt]`. */
  readonly caches: Int32Array;
  readonly cacheWords: number;
  readonly limitAt: number;
  readonly cacheOfFrame: Uint8Array;
}

export function slubFast(arrays: SlubArrays, slow: SlubSlow): SlubFast {
  const { ram, lists, rows, caches, cacheWords, limitAt, cacheOfFrame } = arrays;
  /** Rows there are here; none while events are traced. */
  let served = rows;

  function alloc(cpu: number, cache: number, gfp: number, owner: number): PhysAddr | Errno {
    const at = (cpu * rows + cache) << 2;
    const object = lists[at]!;
    if (object < 0 || cache >= served) return slow.alloc(cpu, cache, gfp, owner);
    lists[at] = ram[object]!;
    lists[at + 1]!--;
    return (object * 4) as PhysAddr;
  }

  /** The object is of that cache. */
  function put(cpu: number, cache: number, addr: PhysAddr, owner: number): void {
    const at = (cpu * rows + cache) << 2;
    const object = addr >>> 2;
    const head = lists[at]!;
    const count = lists[at + 1]!;
    if (object === head || count >= caches[cache * cacheWords + limitAt]! || cache >= served) {
      slow.free(cpu, cache, addr, owner);
    } else {
      ram[object] = head;
      lists[at] = object;
      lists[at + 1] = count + 1;
    }
  }

  function free(cpu: number, cache: number, addr: PhysAddr, owner: number): void {
    if (cacheOfFrame[addr >>> PAGE_SHIFT] === cache) put(cpu, cache, addr, owner);
    else slow.free(cpu, cache, addr, owner);
  }

  function freeAny(cpu: number, addr: PhysAddr, owner: number): boolean {
    const cache = cacheOfFrame[addr >>> PAGE_SHIFT] ?? 0;
    if (cache === 0) return false;
    put(cpu, cache, addr, owner);
    return true;
  }

  return {
    alloc,
    free,
    freeAny,
    trace: (on) => {
      served = on ? 0 : rows;
    },
  };
}
