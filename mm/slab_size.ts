/**
 * How large a slab is and how many objects a CPU may keep, by Linux 6.1's rules (mm/slub.c: calculate_order,
 * set_cpu_partial, set_min_partial).
 */
import { PAGE_SIZE } from "../kernel/abi/units.ts";

const SLAB_ORDER_MAX = 3;
const LEFTOVER_FIRST = 16;
const LEFTOVER_LAST = 4;
const PARTIAL_MIN = 5;
const PARTIAL_MAX = 10;

const objectsIn = (order: number, size: number): number => Math.floor((PAGE_SIZE << order) / size);

/** Smallest order that holds `bytes`. */
export function orderFor(bytes: number): number {
  let order = 0;
  while (PAGE_SIZE * 2 ** order < bytes) order++;
  return order;
}

/** First order from that of `objects` objects on whose waste is at most a `fraction`th; beyond the largest: none. */
function fittingOrder(size: number, objects: number, fraction: number): number {
  let order = orderFor(objects * size);
  for (; order <= SLAB_ORDER_MAX; order++) {
    const slab = PAGE_SIZE << order;
    if (slab % size <= slab / fraction) break;
  }
  return order;
}

export function slabOrder(size: number, cpus: number): number {
  const wanted = 4 * (32 - Math.clz32(cpus) + 1);
  for (let objects = Math.min(wanted, objectsIn(SLAB_ORDER_MAX, size)); objects > 1; objects--)
    for (let fraction = LEFTOVER_FIRST; fraction >= LEFTOVER_LAST; fraction >>= 1) {
      const order = fittingOrder(size, objects, fraction);
      if (order <= SLAB_ORDER_MAX) return order;
    }
  return orderFor(size);
}

export const slabObjects = (order: number, size: number): number => objectsIn(order, size);

/** Objects one of a CPU's two lists may hold before it is given back. */
export function cpuObjects(size: number): number {
  if (size >= PAGE_SIZE) return 6;
  if (size >= 1024) return 24;
  return size >= 256 ? 52 : 120;
}

/** Empty slabs beyond this many partial ones go back to the page allocator. */
export const minPartial = (size: number): number =>
  Math.min(PARTIAL_MAX, Math.max(PARTIAL_MIN, (31 - Math.clz32(size)) >> 1));
