/**
 * The compactor one would write first, as a measure for ours: slide every movable page from the bottom of memory to the
 * free places at its top until both meet. It neither asks whether a block can be emptied nor how much is in it.
 */
import type { Pfn } from "../../kernel/abi/units.ts";
import { Kind, Migrate, type PageAlloc } from "../../mm/index.ts";
import type { Holder } from "./holder.ts";

/** Returns the frames moved. */
export function slide(mm: PageAlloc, holder: Holder): number {
  const { state } = mm.map;
  mm.drainAll(0);
  let moved = 0;
  let top = mm.map.shape.frames - 1;
  for (let at = 0; at < top;) {
    const byte = state[at]!;
    const kind = byte >> 6;
    const order = byte & 15;
    const frames = kind === Kind.Tail ? 1 : 1 << order;
    if (kind === Kind.Allocated && ((byte >> 4) & 3) === Migrate.Movable) {
      // The free place must be whole and aligned for the page's order.
      let to = (((top + 1) >>> order) << order) - frames;
      while (to > at && !mm.carve(to as Pfn, order, Migrate.Movable, mm.map.owner[at]!)) to -= frames;
      if (to <= at) return moved;
      top = order === 0 ? to : top;
      if (holder.migrate(at as Pfn, to as Pfn, order)) {
        mm.free(0, at as Pfn, order);
        moved += frames;
      } else mm.free(0, to as Pfn, order);
    }
    at += frames;
  }
  return moved;
}
