/**
 * Weighted fair queueing from one queue (as scx_simple's vtime mode): a task's virtual time goes on by what it runs,
 * divided by its weight; who is furthest behind runs next. A sleeper may save up one slice and no more.
 */
import { SLICE_DFL } from "../kernel/abi/sched.ts";
import type { PolicyFactory } from "../kernel/abi/sched.ts";

/** The weight of nice 0. */
const WEIGHT_0 = 100;

export const policy: PolicyFactory = (k) => {
  const { dsqVtime, weight, sumExec } = k.task;
  /** The furthest that any task's virtual time had come when it began to run: the clock of the whole machine. */
  const clock = k.perCpu();
  const startedAt = k.perTask();
  let queue = -1;
  return {
    name: "vtime",
    init: () => {
      queue = k.createDsq();
    },
    enable: (p) => {
      dsqVtime[p] = clock[0]!;
    },
    enqueue: (p, flags) => {
      const vtime = Math.max(dsqVtime[p]!, clock[0]! - SLICE_DFL);
      k.dsqInsertVtime(p, queue, SLICE_DFL, vtime, flags);
    },
    dispatch: (cpu) => {
      k.dsqMoveToLocal(queue, cpu);
    },
    running: (p) => {
      clock[0] = Math.max(clock[0]!, dsqVtime[p]!);
      startedAt[p] = sumExec[p]!;
    },
    stopping: (p) => {
      dsqVtime[p]! += ((sumExec[p]! - startedAt[p]!) * WEIGHT_0) / weight[p]!;
    },
  };
};
