import { describe, expect, it } from "vitest";
import { DEVICES } from "../../../harness/blk/devices.ts";
import { qemu } from "../qemu/tools.ts";

/** Ring formats and sizes that matter; the driver's own options are crossed on the simulated devices. */
const SETTINGS = [
  ["qemu-mmio", "split", { queueSize: 128 }],
  ["qemu-mmio", "split, small, nothing negotiated", { queueSize: 8, indirect: false, eventIdx: false }],
  ["qemu-mmio", "packed", { queueSize: 64, packed: true }],
  ["qemu-pci", "split", { queueSize: 128 }],
  ["qemu-pci", "split, two queues, no indirect", { queueSize: 32, queues: 2, indirect: false }],
  ["qemu-pci", "packed, no event index", { queueSize: 128, packed: true, eventIdx: false }],
  ["qemu-nvme", "queue of 128", { queueSize: 128 }],
  ["qemu-nvme", "queue of 4", { queueSize: 4 }],
] as const;

describe.skipIf(!qemu)("random verified operations on QEMU's devices (needs qemu-system-x86)", () => {
  it.each(SETTINGS)("%s: %s", async (device, _what, settings) => {
    const driver = { indirect: true, eventIdx: true, inOrder: false, packed: false, queues: 1, ...settings };
    const opener = DEVICES.find(({ name }) => name === device)!;
    const job = { device, ops: 2000, seed: 7, sectors: 8192, driver, unmapped: false };
    const report = await opener.run!(job, () => undefined);
    expect(report).toMatchObject({ ops: 2000, mismatches: 0, firstMismatch: null, imageEqual: true });
    expect(Math.min(report.reads, report.writes, report.flushes, report.discards, report.zeroes)).toBeGreaterThan(0);
  });
});
