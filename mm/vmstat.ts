/**
 * Event counters, a row of float64 for each CPU (plain stores by its owner; exact to 2^53), and their names and order
 * in /proc/vmstat. Only what is really counted is there.
 */
const NAMES = [
  "pgalloc_dma",
  "pgalloc_dma32",
  "pgalloc_normal",
  "allocstall_dma",
  "allocstall_dma32",
  "allocstall_normal",
  "pgfree",
  "pgsteal_kswapd",
  "pgsteal_direct",
  "pgscan_kswapd",
  "pgscan_direct",
  "slabs_scanned",
  "kswapd_low_wmark_hit_quickly",
  "kswapd_high_wmark_hit_quickly",
  "pageoutrun",
  "oom_kill",
  "pgmigrate_success",
  "pgmigrate_fail",
  "compact_migrate_scanned",
  "compact_free_scanned",
  "compact_isolated",
  "compact_stall",
  "compact_fail",
  "compact_success",
  "compact_daemon_wake",
  "compact_daemon_migrate_scanned",
  "compact_daemon_free_scanned",
] as const;

export type VmEvent = (typeof NAMES)[number];

/** Name -> column. */
export const VM = Object.freeze(Object.fromEntries(NAMES.map((name, column) => [name, column]))) as {
  readonly [Name in VmEvent]: number;
};
/** A CPU's row fills whole cache lines. */
export const VM_STRIDE = 32;

/** Sums over all CPUs, in /proc/vmstat's order. */
export function vmEvents(counters: Float64Array): Readonly<Record<VmEvent, number>> {
  const sums = {} as Record<VmEvent, number>;
  for (const [column, name] of NAMES.entries()) {
    let sum = 0;
    for (let row = column; row < counters.length; row += VM_STRIDE) sum += counters[row]!;
    sums[name] = sum;
  }
  return sums;
}
