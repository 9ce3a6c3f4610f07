/**
 * Reclaim, compaction and the OOM killer behind the page allocator's slow path.
 *
 * - attachReclaim(mm, parts)   makes them, hooks them in; returns what a machine steps (vmscan, compaction)
 *
 * `parts` are the machine's: who holds movable pages, what can be shrunk, who can be killed, who is told of stalls.
 */
import type { MovablePages, OomVictims, Shrinker, TaskStalls } from "../kernel/abi/reclaim.ts";
import { MmEv } from "../kernel/abi/events.ts";
import { Compaction } from "./compaction.ts";
import { badness, selectVictim } from "./oom_kill.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { Vmscan } from "./vmscan.ts";
import { VM, VM_STRIDE } from "./vmstat.ts";
import { ZONE } from "./zone.ts";

export interface ReclaimParts {
  readonly movable?: MovablePages;
  readonly shrinkers?: readonly Shrinker[];
  readonly victims?: OomVictims;
  readonly stalls?: TaskStalls;
  /** Alloc flags for a CPU whose task frees memory itself or was chosen to die. */
  readonly reserveFlags?: (cpu: number) => number;
}

const unmovable: MovablePages = { migrate: () => false };

export function attachReclaim(
  mm: PageAlloc,
  parts: ReclaimParts,
  shared?: { readonly vmscan: SharedArrayBuffer; readonly compaction: SharedArrayBuffer },
): { readonly vmscan: Vmscan; readonly compaction: Compaction } {
  const vmscan = new Vmscan(mm, shared?.vmscan);
  const compaction = new Compaction(mm, parts.movable ?? unmovable, shared?.compaction);
  for (const shrinker of parts.shrinkers ?? []) vmscan.register(shrinker);
  const { victims } = parts;
  mm.hooks = {
    wakeKswapd: (cpu, zone, order) => vmscan.wake(cpu, zone, order),
    reclaim: (cpu) => vmscan.direct(cpu),
    reclaimablePages: () => vmscan.reclaimable(),
    compact: (cpu, order, highest, full) => compaction.direct(cpu, order, highest, full),
    outOfMemory: (cpu) => {
      if (victims === undefined) return false;
      const total = mm.zones.reduce((sum, { words }) => sum + words[ZONE.managed]!, 0);
      const row = selectVictim(victims, total);
      if (row === -1) return false;
      const points = badness(victims, row, total);
      const freed = victims.kill(row);
      mm.counters[cpu * VM_STRIDE + VM.oom_kill]!++;
      mm.trace?.(MmEv.OomKill, cpu, row, points, freed, 0);
      return freed > 0;
    },
    reserveFlags: parts.reserveFlags ?? (() => 0),
    stalls: parts.stalls ?? null,
  };
  return { vmscan, compaction };
}
