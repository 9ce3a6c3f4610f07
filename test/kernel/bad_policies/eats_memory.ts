/** Takes memory until there is none. */
import type { PolicyFactory } from "../../../kernel/abi/sched.ts";
import { policy as base } from "./fifo_until.ts";

export const policy: PolicyFactory = (k) =>
  base(k, () => {
    const kept: number[][] = [];
    for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => i + 0.5));
  });
