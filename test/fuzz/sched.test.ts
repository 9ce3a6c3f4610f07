/** Seeds at which the target once failed, each with what it found. */
import { expect, it } from "vitest";
import { target } from "../../fuzz/sched.ts";

it.each([["a policy that threw when it was to let a task go left its weight in the CPU's load", 102_140]])(
  "%s (seed %i)",
  (_what, seed) => {
    expect(target.run(seed, 1, () => {})).toEqual({ runs: 1 });
  },
);
