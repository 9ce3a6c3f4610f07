import { expect, it } from "vitest";
import { target } from "../../fuzz/nbd_server.ts";

it("no hostile client harms the NBD server", () => {
  expect(target.run(1, 20_000, () => undefined)).toEqual({ runs: 20_000 });
});

it("an export larger than its disk is found (canary)", () => {
  expect(target.canary(1).failure?.message).toMatch(/reached a disk of 65536/);
});
