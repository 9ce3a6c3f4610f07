/** Finds an invariant broken. */
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { panic } from "../../../kernel/lib/assert.ts";
import { policy as base } from "./fifo_until.ts";

export const policy: PolicyFactory = (k) => base(k, () => panic("the sky has fallen"));
