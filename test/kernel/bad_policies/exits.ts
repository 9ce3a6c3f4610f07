/** Ends its thread in the middle of a pick. */
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { policy as base } from "./fifo_until.ts";

export const policy: PolicyFactory = (k) => base(k, () => process.exit(7));
