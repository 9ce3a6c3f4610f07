/**
 * Balancing for policies with per-CPU queues, by whoever has less to do: tasks are pulled, never pushed.
 *
 * - pullTask(cpu)   an idle CPU takes the longest-waiting task it may run from the CPU with the most waiting ones
 *                   (Linux: newidle_balance). One task a call: it takes again when it is idle again
 * - pullLoad(cpu)   a busy CPU compares weights at a tick, now and then, and takes what evens them out (Linux:
 *                   load_balance with imbalance_pct 117; a heavier task is moved only after earlier attempts failed)
 */
import { NO_DSQ } from "./dsq.ts";
import { RESCHED } from "./run_queue.ts";
import type { RunQueues } from "./run_queue.ts";
import type { SchedState } from "./state.ts";
import { cpuAt } from "./table.ts";

/** Linux: the busiest CPU must have this part more, in percent, before anything moves. */
const IMBALANCE_PERCENT = 117;
/** A busy CPU looks every cpus * 16 ms (balance interval cpus ms, busy factor 16), at most this often apart. */
const INTERVAL_NS = 16_000_000;
const INTERVAL_NS_MAX = 512_000_000;

export interface Balancer {
  /** Pulls one task to `cpu`, whose run-queue lock the caller holds; true when one came. */
  readonly pullTask: (cpu: number) => boolean;
  /** Evens out the load between `cpu`, whose run-queue lock the caller holds, and the most loaded CPU. */
  readonly pullLoad: (cpu: number) => void;
}

export function balancer(
  s: SchedState,
  rq: RunQueues,
  migrate: (p: number, from: number, to: number) => void,
): Balancer {
  const { cpus } = s;
  const { now } = s.world;
  const { dsq: dsqOf, rqNext, loadWeight, mayUse } = s.task;
  const { curr, queued, queuedLoad, rqHead, balanceAt, balanceFailed } = s.cpu;

  function pullTask(cpu: number): boolean {
    const victim = busiestFor(cpu, waitingOn);
    if (victim < 0) return false;
    if (!lockOther(cpu, victim)) {
      // It could not look everywhere: it looks once more before it idles.
      rq.resched(cpu, RESCHED);
      return false;
    }
    try {
      const p = nextToMove(rqHead[cpuAt(victim)]!, cpu);
      if (p !== 0) migrate(p, victim, cpu);
      return p !== 0;
    } finally {
      rq.unlock(victim);
    }
  }

  function pullLoad(cpu: number): void {
    const at = cpuAt(cpu);
    balanceAt[at] = now() + Math.min(INTERVAL_NS_MAX, cpus * INTERVAL_NS);
    const victim = busiestFor(cpu, loadOf);
    if (victim < 0 || loadOf(victim) * 100 <= loadOf(cpu) * IMBALANCE_PERCENT) {
      balanceFailed[at] = 0;
      return;
    }
    if (!lockOther(cpu, victim)) {
      balanceAt[at] = 0;
      return;
    }
    try {
      let excess = (loadOf(victim) - loadOf(cpu)) / 2;
      let moved = 0;
      let p = nextToMove(rqHead[cpuAt(victim)]!, cpu);
      while (p !== 0 && excess > 0) {
        const after = rqNext[p]!;
        const weight = loadWeight[p]!;
        if (weight / 2 ** Math.min(balanceFailed[at]!, 20) <= excess) {
          migrate(p, victim, cpu);
          excess -= weight;
          moved++;
        }
        p = nextToMove(after, cpu);
      }
      balanceFailed[at] = moved === 0 ? balanceFailed[at]! + 1 : 0;
    } finally {
      rq.unlock(victim);
    }
  }

  /**
   * Takes another CPU's run-queue lock beside that of `held`. Up in the order of CPUs it waits; down it lets its own go
   * first, but only an idle CPU can: one in the middle of a switch may not be seen there, and just tries. False: not taken.
   */
  function lockOther(held: number, other: number): boolean {
    if (other > held) rq.lock(other);
    else if (curr[cpuAt(held)] !== 0) return rq.tryLock(other);
    else {
      rq.unlock(held);
      rq.lock(other);
      rq.lock(held);
    }
    return true;
  }

  const waitingOn = (cpu: number): number => queued[cpuAt(cpu)]!;

  /** Weight of all that waits or runs on a CPU. */
  function loadOf(cpu: number): number {
    const p = curr[cpuAt(cpu)]!;
    return queuedLoad[cpuAt(cpu)]! + (p === 0 ? 0 : loadWeight[p]!);
  }

  /** First task from `p` on that waits in the policy's queue and may use `cpu`; 0 when there is none. */
  function nextToMove(p: number, cpu: number): number {
    let next = p;
    while (next !== 0 && !(mayUse(next, cpu) && dsqOf[next] === NO_DSQ)) next = rqNext[next]!;
    return next;
  }

  /** The other CPU with tasks waiting that has the most of `what`, the lowest number among equals; -1: none. A guess. */
  function busiestFor(cpu: number, what: (cpu: number) => number): number {
    let best = -1;
    let most = 0;
    for (let c = 0; c < cpus; c++) {
      const value = c === cpu || waitingOn(c) === 0 ? 0 : what(c);
      if (value > most) {
        most = value;
        best = c;
      }
    }
    return best;
  }

  return { pullTask, pullLoad };
}
