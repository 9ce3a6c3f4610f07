/**
 * What happens on a CPU of a parallel machine when memory is short: the page cache is the storage worker's, so nothing is
 * reclaimed here. kswapd, which works there, is woken; the call fails for now, its task sleeps on Wait.Memory and tries
 * again when kswapd has got frames. A task is killed only when the page cache has no pages left to give.
 *
 * Compaction works here: it moves anonymous pages alone, whose owners' lists have locks. One CPU at a time does, by a lock
 * that is taken before a list's and a zone's, and that nobody waits for with another lock in hand.
 */
import type { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { tryLock, unlock } from "../lib/lock.ts";
import type { RacingTasks } from "./racing_tasks.ts";
import type { MachineShare, Tables } from "./share.ts";
import type { LockOps } from "../lib/lock_ops.ts";
import type { KernelThread } from "../kthread.ts";
import { kcompactd, movablePages, oomVictims } from "../threads.ts";
import { attachReclaim } from "../../mm/index.ts";

/** Pages of the page cache that it may keep: not worth waiting for. */
const CACHE_MIN = 64;

/** Answers kcompactd, which works on CPUs; undefined: there is no compaction. */
export function attachCpuReclaim(
  tables: Tables,
  tasks: RacingTasks,
  share: MachineShare,
  arena: Arena,
  locks: LockOps,
): KernelThread | undefined {
  const { memory, port, processes, sleepers, times } = tables;
  const oomLock = arena.i32(1);
  const compactLock = arena.i32(1);
  if (!share.features.includes("KSWAPD")) return undefined;
  const { mm } = memory!;
  const cache = { name: "page cache", count: () => port.clean, scan: () => 0 };
  const found = oomVictims({ processes, executor: tasks });
  // Its row is its own until it has left the table, which takes the same lock.
  const victims = { ...found, kill: (p: number) => sleepers.locked(() => found.kill(p)) };
  const movable = movablePages(memory!, processes);
  const { vmscan, compaction } = attachReclaim(mm, { shrinkers: [cache], victims, movable }, share.mm);
  assert(mm.config.cpus === share.cpus + 1, "attachCpuReclaim: storage has lists of its own");
  const { hooks } = mm;
  const compacts = share.features.includes("COMPACTION");
  mm.hooks = {
    ...hooks,
    wakeKswapd: (cpu, zone, order) => {
      if (vmscan.awake) return;
      vmscan.wake(cpu, zone, order);
      port.ring();
    },
    reclaim: () => 0,
    stalls: times.psi ?? null,
    compact: (cpu, order, highest, full) => {
      // Whoever compacts already works for all.
      if (!compacts || !tryLock(compactLock, 0)) return false;
      const made = hooks.compact(cpu, order, highest, full);
      unlock(compactLock, 0);
      return made;
    },
    outOfMemory: (cpu, gfp, order) => {
      if (port.cached > CACHE_MIN || !tryLock(oomLock, 0)) return false;
      const killed = hooks.outOfMemory(cpu, gfp, order);
      unlock(oomLock, 0);
      return killed;
    },
  };
  if (!compacts) return undefined;
  const alone = (work: () => number): number => {
    locks.lock(compactLock, 0);
    const moved = work();
    locks.unlock(compactLock, 0);
    return moved;
  };
  return kcompactd({ now: tasks.now, wakeAll: (channel) => tasks.wakeAll(channel), alone }, compaction);
}
