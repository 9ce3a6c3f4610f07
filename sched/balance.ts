/**
 * Work stealing for policies with per-CPU queues: a CPU that finds nothing to run takes the longest-waiting task it may
 * run from the CPU with the most waiting ones (Linux: newidle_balance). One task a call: the thief is idle, and takes
 * again when it is idle again.
 */
import type { Sched } from "./core.ts";
import { cpuAt } from "./table.ts";

/** Pulls one task to `cpu`, whose run-queue lock the caller holds; true when one came. */
export function pullTask(sched: Sched, cpu: number): boolean {
  const victim = busiestFor(sched, cpu);
  if (victim < 0) return false;
  sched.lockBoth(cpu, victim);
  let p = sched.cpu.rqHead[cpuAt(victim)]!;
  while (p !== 0 && !(sched.task.mayUse(p, cpu) && sched.task.dsq[p] === 0)) p = sched.task.rqNext[p]!;
  if (p !== 0) sched.migrate(p, victim, cpu);
  sched.unlockOther(victim);
  return p !== 0;
}

/** The CPU with the most waiting tasks, lowest number among equals; -1 when none waits anywhere else. A guess. */
function busiestFor(sched: Sched, cpu: number): number {
  let best = -1;
  let most = 0;
  for (let c = 0; c < sched.cpus; c++) {
    const waiting = sched.cpu.queued[cpuAt(c)]!;
    if (c !== cpu && waiting > most) {
      most = waiting;
      best = c;
    }
  }
  return best;
}
