/** First in, first out, from one queue for all CPUs, each task until it blocks (SCHED_FIFO at one priority). */
import { DSQ_GLOBAL, SLICE_INF } from "../../kernel/abi/sched.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";

export const fifo: PolicyFactory = (k) => ({
  name: "fifo",
  enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_INF, flags),
});
