/** Never comes back, while it holds a run queue's lock. */
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { policy as base } from "./fifo_until.ts";

export const policy: PolicyFactory = (k) =>
  base(k, (p) => {
    while (k.task.nice[p] !== 99) k.now();
  });
