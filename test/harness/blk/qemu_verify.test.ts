import { describe, expect, it } from "vitest";
import { DEVICES } from "../../../harness/blk/devices.ts";
import { qemu } from "../qemu/tools.ts";

/** What the command can ask for; the whole test set runs in test/drivers/devices_qemu.test.ts. */
const SETTINGS = [
  ["qemu-mmio", "packed, small", { queueSize: 8, packed: true, indirect: false, eventIdx: false }],
  ["qemu-pci", "split, two queues", { queueSize: 32, queues: 2 }],
  ["qemu-nvme", "queue of 128", { queueSize: 128 }],
] as const;

describe.skipIf(!qemu)("random verified operations on QEMU's devices (needs qemu-system-x86)", () => {
  it.each(SETTINGS)("%s: %s", async (device, _what, settings) => {
    const driver = { indirect: true, eventIdx: true, inOrder: false, packed: false, queues: 1, ...settings };
    const opener = DEVICES.find(({ name }) => name === device)!;
    const job = { device, ops: 1000, seed: 7, sectors: 8192, driver, unmapped: false };
    const report = await opener.run!(job, () => undefined);
    expect(report).toMatchObject({ ops: 1000, mismatches: 0, firstMismatch: null, imageEqual: true });
    expect(Math.min(report.reads, report.writes, report.flushes, report.discards, report.zeroes)).toBeGreaterThan(0);
  });
});
