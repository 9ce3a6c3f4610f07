/**
 * Least attained service: of the tasks that can run, the one whose present job has used the least CPU time since it woke.
 * Nobody tells the scheduler how long a job is; with service times that vary much, those that have run long are likely
 * to run on, so short ones should not wait for them (Rai, Urvoy-Keller and Biersack 2003). No learning, one line.
 *
 * One queue for all CPUs, ordered by attained service. A waking task (attained 0) preempts the CPU it ran on when that
 * runs a job with more.
 */
import { DSQ_LOCAL, ENQ_NEW, ENQ_WAKEUP, KICK_PREEMPT } from "../kernel/abi/sched.ts";
import type { PolicyFactory } from "../kernel/abi/sched.ts";

/** Jobs that have attained the same take turns of this length. */
const SLICE_NS = 4_000_000;

export const policy: PolicyFactory = (k) => {
  const { sumExec, cpu } = k.task;
  /** sumExec when the present job began. */
  const began = k.perTask();
  let queue = -1;
  const attained = (p: number): number => sumExec[p]! - began[p]!;
  return {
    name: "las",
    init: () => {
      queue = k.createDsq();
    },
    selectCpu: (p, prev, flags) => {
      const idle = k.selectCpuDfl(p, prev, flags);
      // Somebody idles: no need to queue at all.
      if (idle >= 0) k.dsqInsert(p, DSQ_LOCAL, SLICE_NS, 0);
      return idle;
    },
    runnable: (p) => {
      began[p] = sumExec[p]!;
    },
    enqueue: (p, flags) => {
      k.dsqInsertVtime(p, queue, SLICE_NS, attained(p), flags);
      const home = cpu[p]!;
      const runs = k.running(home);
      if ((flags & (ENQ_WAKEUP | ENQ_NEW)) === 0 || runs === 0) return;
      k.account(home);
      if (attained(runs) > attained(p)) k.kickCpu(home, KICK_PREEMPT);
    },
    dispatch: (cpu) => {
      k.dsqMoveToLocal(queue, cpu);
    },
  };
};
