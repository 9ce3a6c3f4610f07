/**
 * Balancing for policies with per-CPU queues, by whoever has less to do: tasks are pulled, never pushed.
 *
 * - pullTask(sched, cpu)   an idle CPU takes the longest-waiting task it may run from the CPU with the most waiting ones
 *                          (Linux: newidle_balance). One task a call: it takes again when it is idle again
 * - pullLoad(sched, cpu)   a busy CPU compares weights at a tick, now and then, and takes what evens them out (Linux:
 *                          load_balance with imbalance_pct 117; a heavier task is moved only after earlier attempts failed)
 */
import type { Sched } from "./core.ts";
import { cpuAt } from "./table.ts";

/** Linux: the busiest CPU must have this part more, in percent, before anything moves. */
const IMBALANCE_PERCENT = 117;
/** A busy CPU looks every cpus * 16 ms (balance interval cpus ms, busy factor 16), at most this often apart. */
const INTERVAL_NS = 16_000_000;
const INTERVAL_NS_MAX = 512_000_000;

/** Pulls one task to `cpu`, whose run-queue lock the caller holds; true when one came. */
export function pullTask(sched: Sched, cpu: number): boolean {
  const victim = busiestFor(sched, cpu, waitingOn);
  if (victim < 0) return false;
  if (!sched.lockOther(cpu, victim)) {
    sched.lookAgain(cpu);
    return false;
  }
  try {
    const p = nextToMove(sched, sched.cpu.rqHead[cpuAt(victim)]!, cpu);
    if (p !== 0) sched.migrate(p, victim, cpu);
    return p !== 0;
  } finally {
    sched.unlockOther(victim);
  }
}

/** Evens out the load between `cpu`, whose run-queue lock the caller holds, and the most loaded CPU. */
export function pullLoad(sched: Sched, cpu: number): void {
  const at = cpuAt(cpu);
  const { balanceAt, balanceFailed, rqHead } = sched.cpu;
  balanceAt[at] = sched.now() + Math.min(INTERVAL_NS_MAX, sched.cpus * INTERVAL_NS);
  const victim = busiestFor(sched, cpu, loadOf);
  if (victim < 0 || loadOf(sched, victim) * 100 <= loadOf(sched, cpu) * IMBALANCE_PERCENT) {
    balanceFailed[at] = 0;
    return;
  }
  if (!sched.lockOther(cpu, victim)) {
    balanceAt[at] = 0;
    return;
  }
  try {
    let excess = (loadOf(sched, victim) - loadOf(sched, cpu)) / 2;
    let moved = 0;
    let p = nextToMove(sched, rqHead[cpuAt(victim)]!, cpu);
    while (p !== 0 && excess > 0) {
      const after = sched.task.rqNext[p]!;
      const weight = sched.task.loadWeight[p]!;
      if (weight / 2 ** Math.min(balanceFailed[at]!, 20) <= excess) {
        sched.migrate(p, victim, cpu);
        excess -= weight;
        moved++;
      }
      p = nextToMove(sched, after, cpu);
    }
    balanceFailed[at] = moved === 0 ? balanceFailed[at]! + 1 : 0;
  } finally {
    sched.unlockOther(victim);
  }
}

const waitingOn = (sched: Sched, cpu: number): number => sched.cpu.queued[cpuAt(cpu)]!;

/** Weight of all that waits or runs on a CPU. */
function loadOf(sched: Sched, cpu: number): number {
  const curr = sched.cpu.curr[cpuAt(cpu)]!;
  return sched.cpu.queuedLoad[cpuAt(cpu)]! + (curr === 0 ? 0 : sched.task.loadWeight[curr]!);
}

/** First task from `p` on that waits in the policy's queue and may use `cpu`; 0 when there is none. */
function nextToMove(sched: Sched, p: number, cpu: number): number {
  while (p !== 0 && !(sched.task.mayUse(p, cpu) && sched.task.dsq[p] === 0)) p = sched.task.rqNext[p]!;
  return p;
}

/** The other CPU with tasks waiting that has the most of `what`, the lowest number among equals; -1: none. A guess. */
function busiestFor(sched: Sched, cpu: number, what: (sched: Sched, cpu: number) => number): number {
  let best = -1;
  let most = 0;
  for (let c = 0; c < sched.cpus; c++) {
    const value = c === cpu || waitingOn(sched, c) === 0 ? 0 : what(sched, c);
    if (value > most) {
      most = value;
      best = c;
    }
  }
  return best;
}
