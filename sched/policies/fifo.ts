/** First in, first out, from one queue for all CPUs, each task until it blocks (SCHED_FIFO at one priority). */
import { DSQ_GLOBAL, SLICE_INF } from "../../kernel/abi/sched.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";

export const fifo: PolicyFactory = (k) => ({
  name: "fifo",
  enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_INF, flags),
  // One that ran when this policy came goes on.
  running: (p) => {
    if (k.task.slice[p] === 0) k.task.slice[p] = SLICE_INF;
  },
});
