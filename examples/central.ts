/**
 * One CPU decides for all (as scx_central): tasks wait in a list of the policy's own; when a CPU has nothing to run it
 * asks CPU 0, which hands tasks to all that ask. The others never decide anything, so they are never interrupted to do so.
 */
import { DSQ_LOCAL_ON, KICK_PREEMPT, SLICE_DFL } from "../kernel/abi/sched.ts";
import type { PolicyFactory } from "../kernel/abi/sched.ts";

const CENTRAL = 0;

export const policy: PolicyFactory = (k) => {
  /** When each task began to wait, counted in arrivals; 0: it does not. */
  const arrival = k.perTask();
  const arrivals = k.perCpu();
  /** 1: the CPU found nothing to run. */
  const asks = k.perCpu();

  /** The first waiting task that may use the CPU, 0 when there is none. */
  const firstFor = (cpu: number): number => {
    let first = 0;
    for (let p = 1; p < k.tasksMax; p++)
      if (arrival[p]! > 0 && k.task.mayUse(p, cpu) && (first === 0 || arrival[p]! < arrival[first]!)) first = p;
    return first;
  };

  return {
    name: "central",
    enqueue: (p) => {
      arrival[p] = ++arrivals[CENTRAL]!;
      if (asks.includes(1)) k.kickCpu(CENTRAL, KICK_PREEMPT);
    },
    dequeue: (p) => {
      arrival[p] = 0;
    },
    dispatch: (cpu) => {
      asks[cpu] = 1;
      if (cpu !== CENTRAL) {
        k.kickCpu(CENTRAL, KICK_PREEMPT);
        return;
      }
      // CPU 0 itself comes last: it has a task that can go on, others may have none.
      for (let other = k.cpus - 1; other >= 0; other--) {
        const p = asks[other] === 1 ? firstFor(other) : 0;
        if (p === 0) continue;
        arrival[p] = asks[other] = 0;
        k.dsqInsert(p, DSQ_LOCAL_ON | other, SLICE_DFL, 0);
      }
    },
  };
};
