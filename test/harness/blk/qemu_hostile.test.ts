import { describe, expect, it } from "vitest";
import { ORACLES } from "../../../harness/blk/devices.ts";
import { configDifferences } from "../../../harness/blk/config_oracle.ts";
import { DRIVER_ATTACKS } from "../../../harness/blk/driver_attacks.ts";
import { hostileDriver, simTarget } from "../../../harness/blk/hostile_driver.ts";
import { simVirtio } from "../../../harness/blk/sim_devices.ts";
import { qemu } from "../qemu/tools.ts";

describe.skipIf(!qemu)("a hostile driver on our device and on QEMU's (needs qemu-system-x86)", () => {
  it.each(ORACLES)("$name ends as ours does, or a reason is given", async (oracle) => {
    const report = await oracle.run(1500, 21, () => undefined);
    expect(report).toMatchObject({ cases: 1500, violations: 0, firstViolation: null });
    expect([...report.differences, ...report.config].filter(({ reason }) => reason === null)).toEqual([]);
    expect(Object.values(report.classes).filter((counts) => counts["cases"] === 0)).toEqual([]);
    expect(Object.keys(report.classes).length).toBe(DRIVER_ATTACKS.length);
  });
});

it("a difference without a reason is a violation, of configuration too (canary)", () => {
  const { transport: ours } = simVirtio("mmio", { sectors: 256 }, { queues: 1 });
  const { transport: theirs } = simVirtio("mmio", { sectors: 512 }, { queues: 2 });
  const found = configDifferences(ours, theirs);
  expect(found).toEqual([
    { what: "feature MQ", ours: 0, theirs: 1, reason: null },
    { what: "capacity, low word", ours: 256, theirs: 512, reason: null },
    { what: "num_queues", ours: 1, theirs: 2, reason: null },
  ]);
  const oracle = { ...simTarget("pci"), transport: theirs, dma: simTarget("mmio").dma };
  expect(hostileDriver(1, 1, () => undefined, oracle).violations).toBeGreaterThan(0);
});
