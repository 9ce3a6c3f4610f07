import { expect, it } from "vitest";
import { target } from "../../fuzz/ftrace.ts";

it("fuzz ftrace: a short campaign finds nothing, and the canary is found", () => {
  let done = 0;
  expect(target.run(1, 600, (count) => (done = count))).toEqual({ runs: 600 });
  expect(done).toBe(600);
  expect(target.canary(1).failure?.message).toMatch(/not what is read back/);
});
