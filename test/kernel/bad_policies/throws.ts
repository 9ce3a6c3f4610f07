/** Makes an ordinary mistake: it is thrown out, and the fallback does the rest. */
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { policy as base } from "./fifo_until.ts";

export const policy: PolicyFactory = (k) =>
  base(k, () => {
    throw new TypeError("x is not a function");
  });
