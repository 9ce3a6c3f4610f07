import { describe, expect, it } from "vitest";
import { ORACLES } from "../../../harness/blk/devices.ts";
import { DRIVER_ATTACKS } from "../../../harness/blk/driver_attacks.ts";
import { qemu } from "../qemu/tools.ts";

describe.skipIf(!qemu)("a hostile driver on our device and on QEMU's (needs qemu-system-x86)", () => {
  it.each(ORACLES)("$name ends as ours does, or a reason is given", async (oracle) => {
    const report = await oracle.run(1500, 21, () => undefined);
    expect(report).toMatchObject({ cases: 1500, violations: 0, firstViolation: null });
    expect(report.differences.every(({ reason }) => reason !== null)).toBe(true);
    expect(Object.values(report.classes).filter((counts) => counts["cases"] === 0)).toEqual([]);
    expect(Object.keys(report.classes).length).toBe(DRIVER_ATTACKS.length);
  });
});
