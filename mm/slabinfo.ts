/** /proc/slabinfo, version 2.1, and the same as data. Objects on CPUs' lists count as active, as in Linux. */
import { slabObjects } from "./slab_size.ts";
import { CACHE, SlabFlag, type Slub } from "./slub.ts";

export interface SlabRow {
  readonly name: string;
  readonly activeObjects: number;
  readonly objects: number;
  readonly objectSize: number;
  readonly objectsPerSlab: number;
  readonly pagesPerSlab: number;
  readonly slabs: number;
  /** Its shrinker gives the memory back when asked. */
  readonly reclaimable: boolean;
}

export function slabRows(slub: Slub): SlabRow[] {
  const rows: SlabRow[] = [];
  for (let at = CACHE.words, cache = 1; at < slub.caches.length; at += CACHE.words, cache++) {
    const size = slub.caches[at + CACHE.size]!;
    if (size === 0) continue;
    const order = slub.caches[at + CACHE.order]!;
    const objects = slub.caches[at + CACHE.objects]!;
    rows.push({
      name: slub.name(cache),
      activeObjects: objects - slub.caches[at + CACHE.freeObjects]!,
      objects,
      objectSize: size,
      objectsPerSlab: slabObjects(order, size),
      pagesPerSlab: 1 << order,
      slabs: slub.caches[at + CACHE.slabs]!,
      reclaimable: (slub.caches[at + CACHE.flags]! & SlabFlag.Reclaimable) !== 0,
    });
  }
  return rows;
}

const cell = (value: number, width: number): string => String(value).padStart(width);

export function slabinfo(slub: Slub): string {
  const lines = slabRows(slub).map(
    (row) =>
      `${row.name.padEnd(17)} ${cell(row.activeObjects, 6)} ${cell(row.objects, 6)} ${cell(row.objectSize, 6)} ` +
      `${cell(row.objectsPerSlab, 4)} ${cell(row.pagesPerSlab, 4)} : tunables ${cell(0, 4)} ${cell(0, 4)} ${cell(0, 4)} ` +
      `: slabdata ${cell(row.slabs, 6)} ${cell(row.slabs, 6)} ${cell(0, 6)}\n`,
  );
  return (
    `slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> ` +
    `: tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n${lines.join("")}`
  );
}
