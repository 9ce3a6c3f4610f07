/**
 * The machine's kernel tasks and what memory reclaim is told of the machine: who holds pages, who can be killed.
 *
 *   kswapd0         vmscan's steps while a zone is below its mark; then kcompactd takes over
 *   kcompactd0      compaction's steps
 *   jbd2/vda-8      commits and checkpoints, and what of theirs the device has ended
 *   kworker/u:flush dirty pages to the disk, the rest of calls that went away
 *   kworker/psi     averages of pressure stall information
 *   kworker/load    averages of the load
 *   reaper          puts dead tasks away that no parent waits for
 */
import type { PageCache } from "./abi/page_cache.ts";
import type { MovablePages, OomVictims, Shrinker } from "./abi/reclaim.ts";
import { NS_PER_SEC, PAGE_SIZE } from "./abi/units.ts";
import { CALL_COSTS } from "./call_cost.ts";
import type { Ext4 } from "./fs/ext4/ext4.ts";
import type { LoadAverage } from "./fs/pseudo/proc_sched.ts";
import type { KernelThread } from "./kthread.ts";
import type { MachineView } from "./machine_view.ts";
import { Kind } from "./process.ts";
import type { Processes } from "./process.ts";
import { FLUSHER, JBD2, KCOMPACTD, KSWAPD, LOAD, PSI, REAPER } from "./kthread.ts";
import type { System } from "./system.ts";
import { Wait } from "./wait.ts";
import type { Memory } from "./wire_memory.ts";
import type { Compaction, Psi, Vmscan } from "../mm/index.ts";

const SWAP_CLUSTER = 32;
const COMPACT_CLUSTER = 32;
const SIGKILL = 9;
/** Frames of a task beside its anonymous pages: its window. */
const WINDOW_FRAMES = 16;
const STEP_NS = 800;
const LOAD_STEP_NS = 500;
/** jbd2 and the flusher look once a second whether something has become due. */
const LOOK_NS = NS_PER_SEC;
const never = (): number => Infinity;

export function kswapd(system: System, vmscan: Vmscan, compaction: Compaction): KernelThread {
  return {
    name: KSWAPD,
    step(cpu) {
      if (!vmscan.awake) return 0;
      const got = vmscan.step(cpu, SWAP_CLUSTER);
      if (got > 0) system.executor.wakeAll(Wait.Memory);
      if (!vmscan.awake) {
        compaction.wake(vmscan.order);
        system.wakeThread(KCOMPACTD);
      }
      return STEP_NS + vmscan.scanned * CALL_COSTS.scanPage;
    },
    nextAtNs: never,
  };
}

/** What a direct reclaim that brought so many pages costs its caller, ns. */
export const reclaimCost = (pages: number): number => STEP_NS + (SWAP_CLUSTER + pages) * CALL_COSTS.scanPage;

export interface CompactdParts {
  readonly now: () => number;
  readonly wakeAll: (channel: number) => void;
  /** Nobody else compacts meanwhile. */
  readonly alone?: (work: () => number) => number;
}

export function kcompactd({ now, wakeAll, alone }: CompactdParts, compaction: Compaction): KernelThread {
  return {
    name: KCOMPACTD,
    step(cpu) {
      const work = (): number => compaction.step(cpu, COMPACT_CLUSTER);
      const moved = alone === undefined ? work() : alone(work);
      if (moved > 0) wakeAll(Wait.Memory);
      return moved === 0 ? 0 : STEP_NS + moved * CALL_COSTS.movePage;
    },
    // Proactive compaction looks twice a second (Linux: HPAGE_FRAG_CHECK_INTERVAL_MSEC).
    nextAtNs: () => now() + NS_PER_SEC / 2,
    asked: () => compaction.asked,
  };
}

export function jbd2(system: System, ext4: Ext4): KernelThread {
  const { executor } = system;
  return {
    name: JBD2,
    step() {
      const moved = ext4.stepJournal();
      system.wakeEnded();
      if (!moved) return 0;
      executor.wakeAll(Wait.Journal);
      executor.wakeAll(Wait.FileSystem);
      return CALL_COSTS.journalStep;
    },
    nextAtNs: () => Math.min(ext4.nextAtNs(), executor.now() + LOOK_NS),
  };
}

export function flusher(system: System, ext4: Ext4): KernelThread {
  const { executor } = system;
  return {
    name: FLUSHER,
    step() {
      const moved = ext4.stepWriteback();
      if (!moved) return 0;
      executor.wakeAll(Wait.Writeback);
      executor.wakeAll(Wait.FileSystem);
      // Write-back may need blocks, a commit, room in the log.
      system.wakeThread(JBD2);
      return CALL_COSTS.flushStep;
    },
    nextAtNs: () => Math.min(ext4.nextAtNs(), executor.now() + LOOK_NS),
  };
}

/** Averages of pressure stall information, when they are due (Linux: a delayed work of kernel/sched/psi.c). */
export function psiWorker(now: () => number, psi: Psi): KernelThread {
  return {
    name: PSI,
    step() {
      if (now() < psi.next()) return 0;
      psi.sample();
      return STEP_NS;
    },
    nextAtNs: () => psi.next(),
  };
}

/** What /proc/loadavg shows, when it is due. */
export function loadWorker({ now, times }: Pick<MachineView, "now" | "times">, load: LoadAverage): KernelThread {
  return {
    name: LOAD,
    step() {
      if (now() < load.next) return 0;
      // This one is not part of the load.
      load.tick(now(), times.runnable - 1 + times.blocked);
      return LOAD_STEP_NS;
    },
    nextAtNs: () => load.next,
  };
}

export function reaper(processes: Processes): KernelThread {
  return {
    name: REAPER,
    step: () => (typeof processes.reap(0, -1) === "number" ? 0 : CALL_COSTS.reap),
    nextAtNs: never,
  };
}

/** The page cache, as one that can shrink; it comes later than reclaim. */
export function cacheShrinker(cache: () => PageCache | undefined): Shrinker {
  return {
    name: "page cache",
    count: () => {
      const pages = cache();
      return pages === undefined ? 0 : Math.max(0, pages.cached() - pages.dirty() - pages.writeback());
    },
    scan: (pages) => cache()?.shrink(pages) ?? 0,
  };
}

export function oomVictims({
  processes,
  executor,
}: {
  readonly processes: Processes;
  readonly executor: { kill(p: number, signal: number): void };
}): OomVictims {
  const alive = (p: number): boolean => processes.kind[p] === Kind.User && processes.killed[p] === 0;
  return {
    rows: () => processes.rows,
    rssPages: (p) => (alive(p) ? processes.rss[p]! + WINDOW_FRAMES : 0),
    swapPages: () => 0,
    pageTablePages: () => 0,
    scoreAdj: (p) => processes.oomAdj[p]!,
    kill(p) {
      executor.kill(p, SIGKILL);
      return processes.shrink(p, Infinity);
    },
  };
}

/** Anonymous pages can be moved; pages of the page cache are looked for by frame and cannot yet. */
export function movablePages({ mm, ram }: Memory, processes: Processes): MovablePages {
  const bytes = new Uint8Array(ram);
  return {
    migrate(from, to, order) {
      const p = mm.map.owner[from]!;
      if (order !== 0 || p <= 0) return false;
      // Its owner may give it back at any moment until it is known to be on the owner's list, and the list is held.
      const isIts = (): boolean => processes.kind[p] === Kind.User && Atomics.load(mm.map.owner, from) === p;
      return processes.move(p, from, to, isIts, () => {
        bytes.copyWithin(to * PAGE_SIZE, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
        mm.map.owner[to] = p;
      });
    },
  };
}
