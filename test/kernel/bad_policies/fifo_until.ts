/** FIFO that does something bad at its 200th enqueue, on whatever CPU that comes. */
import { DSQ_GLOBAL, SLICE_DFL } from "../../../kernel/abi/sched.ts";
import type { SchedKernel, SchedPolicy } from "../../../kernel/abi/sched.ts";

const AT = 200;

export function policy(k: SchedKernel, bad: (p: number) => void): SchedPolicy {
  const calls = k.words(1);
  return {
    name: "bad",
    enqueue: (p, flags) => {
      if (Atomics.add(calls, 0, 1) === AT) bad(p);
      k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags);
    },
  };
}
