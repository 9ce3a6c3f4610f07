/**
 * What a machine can be built with, as data; kernel/boot.ts is its only reader. A feature that is off has its boot step
 * skipped and its module never loaded: an observer does not subscribe, a slot keeps its real default.
 */
import { panic } from "./lib/assert.ts";

export const FEATURES = {
  EVENT_LOG: { needs: [], help: "keep every event in memory, for traces and exact statistics" },
  EVENT_HASH: { needs: [], help: "SHA-256 over every event at emission: the identity of a run" },
  SCHED_STATS: { needs: [], help: "latency and slowdown histograms, counters per task" },
  SCHED_FIFO: { needs: [], help: "policy fifo" },
  SCHED_RR: { needs: [], help: "policy rr" },
  SCHED_EEVDF: { needs: [], help: "policy eevdf; cfs is always there, as the default and the fallback" },
  SCHED_CUSTOM: { needs: [], help: "a policy given as a function: the user's own" },
  SCHED_SWITCH: { needs: ["SYSFS"], help: "the policies of the house can be chosen while the machine runs" },
  MM: { needs: [], help: "page allocator; brk, mmap, munmap, madvise" },
  SLAB: { needs: ["MM"], help: "tasks, open files, inodes and names take memory of slab caches; /proc/slabinfo" },
  KSWAPD: { needs: ["MM"], help: "reclaim in the background, direct reclaim, the OOM killer" },
  COMPACTION: { needs: ["MM", "KSWAPD"], help: "compaction, direct and by kcompactd" },
  PSI: { needs: [], help: "pressure stall information: /proc/pressure" },
  BLOCK: { needs: ["MM"], help: "a disk behind virtio-blk, and the block queue" },
  EXT4: { needs: ["BLOCK"], help: "page cache, and ext4 with its journal at the root; else that is a tmpfs" },
  TMPFS: { needs: [], help: "a tmpfs at /tmp" },
  PROC: { needs: [], help: "/proc" },
  SYSFS: { needs: [], help: "/sys" },
} as const satisfies Record<string, { needs: readonly string[]; help: string }>;
export type Feature = keyof typeof FEATURES;

/** What a booted machine has when nothing else is said; a policy is chosen beside them. */
export const MACHINE_FEATURES: readonly Feature[] = [
  "EVENT_HASH",
  "SCHED_STATS",
  "SCHED_SWITCH",
  "MM",
  "SLAB",
  "KSWAPD",
  "COMPACTION",
  "PSI",
  "BLOCK",
  "EXT4",
  "TMPFS",
  "PROC",
  "SYSFS",
];

/** The wanted features as a set; one whose needs are not met is a panic that names both. */
export function resolveFeatures(wanted: Iterable<Feature>): ReadonlySet<Feature> {
  const on = new Set(wanted);
  for (const feature of on)
    for (const need of FEATURES[feature].needs as readonly Feature[])
      if (!on.has(need)) panic("a feature lacks what it needs", feature, need);
  return on;
}
