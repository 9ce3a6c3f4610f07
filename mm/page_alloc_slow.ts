/**
 * What an allocation does when no zone has it above the low watermark (Linux 6.1: __alloc_pages_slowpath): wake kswapd,
 * try down to the min watermark, compact, reclaim, try again, kill, give up. How each is done is behind `hooks`;
 * all run to their end here and now: in this machine memory is given back at once or not at all.
 */
import type { TaskStalls } from "../kernel/abi/reclaim.ts";
import { MmEv } from "../kernel/abi/events.ts";
import { RECLAIM_RETRIES_MAX, RECLAIM_ROUNDS_MAX } from "../kernel/abi/limits.ts";
import { Alloc, GFP, mobilityOf } from "./gfp.ts";
import { Migrate } from "./migratetype.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { COSTLY_ORDER } from "./pcp.ts";
import { unreserveHighatomic } from "./steal.ts";
import { VM, VM_STRIDE } from "./vmstat.ts";
import { ZONE } from "./zone.ts";

export interface SlowHooks {
  wakeKswapd(cpu: number, zone: number, order: number): void;
  /** Frames given back, 0: no progress. */
  reclaim(cpu: number, gfp: number, order: number, highest: number): number;
  /** What shrinkers could give back at most. */
  reclaimablePages(): number;
  /** Tries to make a free block of `order`. `full`: whatever it costs. True: a block may be there now. */
  compact(cpu: number, order: number, highest: number, full: boolean): boolean;
  /** Kills a task. True when that gave memory back. */
  outOfMemory(cpu: number, gfp: number, order: number): boolean;
  /** The task itself frees memory (PF_MEMALLOC) or was chosen to die: alloc flags that let it use the reserve. */
  reserveFlags(cpu: number): number;
  readonly stalls: TaskStalls | null;
}

export const noHooks: SlowHooks = {
  wakeKswapd: () => undefined,
  reclaim: () => 0,
  reclaimablePages: () => 0,
  compact: () => false,
  outOfMemory: () => false,
  reserveFlags: () => 0,
  stalls: null,
};

/** Alloc flags of the slow path: the min watermark, and the reserves the request may touch. */
function slowFlags(gfp: number): number {
  const atomic = (gfp & GFP.__GFP_ATOMIC) !== 0 && (gfp & GFP.__GFP_NOMEMALLOC) === 0;
  return (
    Alloc.WmarkMin |
    (gfp & GFP.__GFP_KSWAPD_RECLAIM) |
    ((gfp & GFP.__GFP_HIGH) !== 0 ? Alloc.High : 0) |
    (atomic ? Alloc.Harder : 0)
  );
}

const ALLOCSTALL = { DMA: VM.allocstall_dma, DMA32: VM.allocstall_dma32, Normal: VM.allocstall_normal } as const;

/** A frame, its state byte still to be set; -1: ENOMEM. */
export function allocSlow(mm: PageAlloc, cpu: number, gfp: number, order: number, highest: number): number {
  const { hooks } = mm;
  const base = slowFlags(gfp);
  const wake = (): void => {
    if ((gfp & GFP.__GFP_KSWAPD_RECLAIM) !== 0)
      for (let zone = highest; zone >= 0; zone--) hooks.wakeKswapd(cpu, zone, order);
  };
  wake();
  let pfn = mm.fromFreelist(cpu, gfp, order, base, highest);
  if (pfn !== -1) return pfn;
  const reserve = (gfp & GFP.__GFP_NOMEMALLOC) === 0 ? hooks.reserveFlags(cpu) : 0;
  const flags = reserve === 0 ? base : (base & ~Alloc.WmarkMask) | reserve;
  if (reserve !== 0) pfn = mm.fromFreelist(cpu, gfp, order, flags, highest);
  if (pfn !== -1) return pfn;
  const mayWait = (gfp & GFP.__GFP_DIRECT_RECLAIM) !== 0 && reserve === 0;
  if (mayWait) {
    hooks.stalls?.memstallEnter(cpu);
    pfn = reclaimLoop(mm, cpu, gfp, order, highest, flags, wake);
    hooks.stalls?.memstallLeave(cpu);
  }
  if (pfn === -1) mm.trace?.(MmEv.AllocFailed, cpu, order, gfp, 0, 0);
  return pfn;
}

function reclaimLoop(
  mm: PageAlloc,
  cpu: number,
  gfp: number,
  order: number,
  highest: number,
  flags: number,
  wake: () => void,
): number {
  const { hooks } = mm;
  const costly = order > COSTLY_ORDER;
  const type = mobilityOf(gfp);
  const stall = cpu * VM_STRIDE;
  const compact = (full: boolean): number => {
    mm.counters[stall + VM.compact_stall]!++;
    mm.drainAll(cpu);
    const made = hooks.compact(cpu, order, highest, full);
    const found = made ? mm.fromFreelist(cpu, gfp, order, flags, highest) : -1;
    mm.counters[stall + (found === -1 ? VM.compact_fail : VM.compact_success)]!++;
    return found;
  };
  // A block that movable pages are in the way of: make room before pages that are in use are thrown out.
  if (order > 0 && (costly || type !== Migrate.Movable)) {
    const found = compact(false);
    if (found !== -1) return found;
  }
  for (let idle = 0, round = 0; idle < RECLAIM_RETRIES_MAX && round < RECLAIM_ROUNDS_MAX; round++) {
    wake();
    mm.counters[stall + ALLOCSTALL[mm.config.zones[highest]!.name]]!++;
    mm.trace?.(MmEv.DirectReclaimBegin, cpu, order, gfp, 0, 0);
    const reclaimed = hooks.reclaim(cpu, gfp, order, highest);
    mm.trace?.(MmEv.DirectReclaimEnd, cpu, reclaimed, 0, 0, 0);
    let pfn = reclaimed > 0 ? mm.fromFreelist(cpu, gfp, order, flags, highest) : -1;
    if (pfn === -1 && idle === 0) {
      // What is pinned in per-CPU lists or kept for atomic requests is free memory too.
      mm.drainAll(cpu);
      unreserve(mm, highest, type, false);
      pfn = mm.fromFreelist(cpu, gfp, order, flags, highest);
    }
    if (pfn === -1 && order > 0) pfn = compact(idle > 0);
    if (pfn !== -1) return pfn;
    if ((gfp & GFP.__GFP_NORETRY) !== 0) return -1;
    if (costly && (gfp & GFP.__GFP_RETRY_MAYFAIL) === 0) return -1;
    // Single pages come with each reclaimed page; a larger block may never form, so for those every round counts.
    idle = reclaimed > 0 && order === 0 ? 0 : idle + 1;
    if (idle < RECLAIM_RETRIES_MAX && reclaimable(mm, highest, order)) continue;
    if (unreserve(mm, highest, type, true)) continue;
    const mayKill = !costly && (gfp & GFP.__GFP_RETRY_MAYFAIL) === 0 && (gfp & GFP.__GFP_FS) !== 0;
    if (!mayKill || !hooks.outOfMemory(cpu, gfp, order)) break;
    idle = 0;
    mm.drainAll(cpu);
    pfn = mm.fromFreelist(cpu, gfp, order, flags, highest);
    if (pfn !== -1) return pfn;
  }
  // The caller cannot bear a failure: the last frames are for it (Linux goes on for ever).
  return (gfp & GFP.__GFP_NOFAIL) === 0 ? -1 : mm.fromFreelist(cpu, gfp, order, flags | Alloc.NoWatermarks, highest);
}

/** Would the zones be above min if all that shrinkers hold were given back? (should_reclaim_retry) */
function reclaimable(mm: PageAlloc, highest: number, order: number): boolean {
  const held = mm.hooks.reclaimablePages();
  for (let zone = highest; zone >= 0; zone--) {
    const { words } = mm.zones[zone]!;
    if (held > 0 && words[ZONE.free]! + held > words[ZONE.min]! + (1 << order)) return true;
  }
  return false;
}

function unreserve(mm: PageAlloc, highest: number, type: number, force: boolean): boolean {
  const { locks } = mm.config;
  for (let zone = highest; zone >= 0; zone--) {
    const buddy = mm.zones[zone]!;
    locks.lock(buddy.words, ZONE.lock);
    const done = unreserveHighatomic(buddy, mm.grouping ? type : Migrate.Unmovable, force);
    locks.unlock(buddy.words, ZONE.lock);
    if (done) return true;
  }
  return false;
}
