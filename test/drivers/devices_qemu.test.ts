/** The test set of the block drivers (devices/cases.ts) on QEMU's devices: one QEMU each, all cases in its worker. */
import { beforeAll, describe, expect, it } from "vitest";
import type { QemuDeviceName } from "../../harness/qemu/machines.ts";
import { onQemu } from "../../harness/qemu/supervisor.ts";
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { qemu } from "../harness/qemu/tools.ts";
import { CANARY, MANY, QUEUES, QUEUE_SIZE, SECTORS, casesOf } from "./devices/cases.ts";
import type { DeviceKind } from "./devices/cases.ts";
import type { CaseResult } from "./devices/qemu_job.ts";

const QEMU_ROWS: readonly (readonly [name: QemuDeviceName, kind: DeviceKind])[] = [
  ["qemu-mmio", "virtio"],
  ["qemu-pci", "virtio"],
  ["qemu-nvme", "nvme"],
];

describe.skipIf(!qemu).each(QEMU_ROWS)("%s (needs qemu-system-x86)", (device, kind) => {
  let results = new Map<string, string | null>();
  beforeAll(async () => {
    const answer = await onQemu({
      device,
      options: { queues: QUEUES, queueSize: QUEUE_SIZE, packed: true },
      diskBytes: SECTORS * SECTOR_SIZE,
      job: new URL("./devices/qemu_job.ts", import.meta.url),
      args: kind,
    });
    results = new Map((answer as CaseResult[]).map(({ name, failure }) => [name, failure]));
  }, 120_000);
  it.each([MANY, ...casesOf(kind)])("$name", ({ name }) => expect(results.get(name)).toBe(null));
  it(CANARY.name, () => expect(results.get(CANARY.name)).toContain("imageEqual: false"));
});
