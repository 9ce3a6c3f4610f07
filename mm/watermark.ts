/** The full watermark check (Linux 6.1: __zone_watermark_ok): enough frames, and for higher orders a block that fits. */
import { Alloc } from "./gfp.ts";
import { Migrate, PCP_TYPES } from "./migratetype.ts";
import { ZONE } from "./zone.ts";

export function watermarkOk(words: Int32Array, order: number, mark: number, highest: number, flags: number): boolean {
  const harder = (flags & (Alloc.Harder | Alloc.Oom)) !== 0;
  const usable = words[ZONE.free]! - ((1 << order) - 1) - (harder ? 0 : words[ZONE.highatomic]!);
  let min = mark;
  if ((flags & Alloc.High) !== 0) min -= min >> 1;
  if (harder) min -= (flags & Alloc.Oom) !== 0 ? min >> 1 : min >> 2;
  if (usable <= min + words[ZONE.reserve + highest]!) return false;
  if (order === 0) return true;
  for (let type = 0; type < PCP_TYPES; type++) if (words[ZONE.mask + type]! >>> order !== 0) return true;
  return harder && words[ZONE.mask + Migrate.HighAtomic]! >>> order !== 0;
}
