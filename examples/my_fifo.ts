/**
 * The smallest policy there is: one queue for all CPUs, first come first served, 20 ms a turn (as scx_simple's FIFO
 * mode). Copy it and change it: orrery sched fair "0:0:0 0:2000:8000" --policy ./examples/my_fifo.ts
 */
import { DSQ_GLOBAL, SLICE_DFL } from "../kernel/abi/sched.ts";
import type { PolicyFactory } from "../kernel/abi/sched.ts";

export const policy: PolicyFactory = (k) => ({
  name: "my_fifo",
  enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags),
});
