/**
 * kmalloc: objects of any size, from slab caches of 8 to 8192 bytes (with 96 and 192 between, as Linux has them), and
 * from whole page blocks above.
 *
 * - kmalloc(cpu, bytes, gfp, owner)   address, or ENOMEM
 * - kfree(cpu, addr, owner)           panics on a pointer that is no allocation's start, as far as it can see
 */
import type { Errno, PhysAddr, Pfn } from "../kernel/abi/units.ts";
import { isErr } from "../kernel/abi/errno.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert, panic } from "../kernel/lib/assert.ts";
import { GFP } from "./gfp.ts";
import { Kind } from "./memmap.ts";
import { orderFor } from "./slab_size.ts";
import { CACHE, type Slub } from "./slub.ts";

export const KMALLOC_SIZES = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192] as const;
export const KMALLOC_BYTES_MAX = 8192;

const label = (bytes: number): string => `kmalloc-${bytes >= 1024 ? `${bytes / 1024}k` : bytes}`;

export class Kmalloc {
  readonly slub: Slub;
  /** Cache for a size: index is bytes rounded up to 8, divided by 8. */
  private readonly cacheFor = new Uint8Array(KMALLOC_BYTES_MAX / 8 + 1);

  /** Makes the caches, or finds those that a restored Slub already has. */
  constructor(slub: Slub, flags = 0) {
    this.slub = slub;
    const known = new Map<string, number>();
    for (let cache = 1; cache * CACHE.words < slub.caches.length; cache++)
      if (slub.caches[cache * CACHE.words + CACHE.size] !== 0) known.set(slub.name(cache), cache);
    let from = 0;
    for (const bytes of KMALLOC_SIZES) {
      const cache = known.get(label(bytes)) ?? slub.createCache(label(bytes), bytes, flags);
      this.cacheFor.fill(cache, from, bytes / 8 + 1);
      from = bytes / 8 + 1;
    }
  }

  kmalloc(cpu: number, bytes: number, gfp: number, owner: number): PhysAddr | Errno {
    if (bytes > KMALLOC_BYTES_MAX) return this.large(cpu, bytes, gfp, owner);
    return this.slub.alloc(cpu, this.cacheFor[(bytes + 7) >>> 3]!, gfp, owner);
  }

  kfree(cpu: number, addr: PhysAddr, owner: number): void {
    if (!this.slub.freeAny(cpu, addr, owner)) this.freeLarge(cpu, addr);
  }

  private large(cpu: number, bytes: number, gfp: number, owner: number): PhysAddr | Errno {
    assert(bytes > 0, "kmalloc: a size below 0");
    const pfn = this.slub.pages.alloc(cpu, gfp | GFP.__GFP_COMP, orderFor(bytes), owner);
    return isErr(pfn) ? pfn : ((pfn * PAGE_SIZE) as PhysAddr);
  }

  private freeLarge(cpu: number, addr: number): void {
    const { pages } = this.slub;
    const state = pages.map.state[addr / PAGE_SIZE];
    if (state === undefined || state >> 6 !== Kind.Allocated)
      panic("kfree: wild or double free", `0x${addr.toString(16)}`);
    pages.free(cpu, (addr / PAGE_SIZE) as Pfn, state & 15);
  }
}
