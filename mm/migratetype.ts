/**
 * Migratetypes: what may become of a block of 2 MiB. Pages that cannot be moved are kept together, so that the rest
 * can be emptied. Numbers and fallback order are Linux 6.1's (mm/page_alloc.c, `fallbacks`).
 */
export const Migrate = { Unmovable: 0, Movable: 1, Reclaimable: 2, HighAtomic: 3 } as const;
export type Migrate = (typeof Migrate)[keyof typeof Migrate];

/** Types that have per-CPU lists and may merge and steal from each other. */
export const PCP_TYPES = 3;
/** Types with free lists. Linux's Isolate is only for memory hot-plug and contiguous ranges: never set here. */
export const MIGRATE_TYPES = 4;
/** Columns of /proc/pagetypeinfo. */
export const MIGRATE_NAMES = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"] as const;

/** Where a type takes blocks from when its own lists are empty: FALLBACKS[type * 2 + try]. */
export const FALLBACKS = Uint8Array.of(
  Migrate.Reclaimable,
  Migrate.Movable,
  Migrate.Reclaimable,
  Migrate.Unmovable,
  Migrate.Unmovable,
  Migrate.Movable,
);
