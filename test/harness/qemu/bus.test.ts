import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { onQemu } from "../../../harness/qemu/supervisor.ts";
import type { OnQemu } from "../../../harness/qemu/supervisor.ts";
import type { QemuDeviceName } from "../../../harness/qemu/machines.ts";
import { qemu } from "./tools.ts";

const JOB = new URL("./probe_worker.ts", import.meta.url);
const probe = (device: QemuDeviceName, args: string, more: Partial<OnQemu> = {}): Promise<unknown> =>
  onQemu({ device, diskBytes: 1 << 20, job: JOB, args, ...more });
const leftovers = (): string[] => readdirSync("/dev/shm").filter((name) => name.startsWith(`orrery-${process.pid}-`));

it.skipIf(!qemu)("reads a virtio-mmio transport's identity (needs qemu-system-x86)", async () => {
  expect(await probe("qemu-mmio", "magic")).toEqual([0x74726976, 2, 2, 0x554d4551]);
});

it.skipIf(!qemu)("reads the PCI devices by bytes, words and longs (needs qemu-system-x86)", async () => {
  expect(await probe("qemu-pci", "vendor")).toEqual([0x1af4, 0x1042, 0x10421af4]);
  expect(await probe("qemu-nvme", "vendor")).toEqual([0x1b36, 0x0010, 0x00101b36]);
});

it.skipIf(!qemu)(
  "memory is shared with QEMU, zeroed, aligned, and 16-bit stores arrive whole (needs qemu-system-x86)",
  async () => {
    expect(await probe("qemu-mmio", "memory")).toEqual({
      aligned: true,
      seenByQemu: 0x312a231c,
      exact: 2 ** 52 + 5,
      values: Array.from({ length: 8 }, () => true),
      reused: true,
      zeroed: true,
    });
  },
);

it.skipIf(!qemu)(
  "an interrupt that does not come is false, on a line and on a vector (needs qemu-system-x86)",
  async () => {
    expect(await probe("qemu-mmio", "silentIrq")).toEqual([false, false]);
    expect(await probe("qemu-pci", "silentIrq")).toEqual([false, false]);
  },
);

it.skipIf(!qemu).each(["spin", "ask"])(
  "a QEMU that is killed ends a job that only does: %s, within a second (needs qemu-system-x86)",
  async (job) => {
    let killedAt = 0;
    const run = probe("qemu-mmio", job, {
      started: ({ pid }) =>
        setTimeout(() => {
          killedAt = performance.now();
          process.kill(pid, "SIGKILL");
        }, 700),
    });
    await expect(run).rejects.toThrow("QEMU ended by SIGKILL");
    expect(performance.now() - killedAt).toBeLessThan(1000);
    expect(leftovers()).toEqual([]);
  },
);

it.skipIf(!qemu).each(["spin", "ask"])(
  "a QEMU that is stopped is given up after the time-out: %s (needs qemu-system-x86)",
  async (job) => {
    const run = probe("qemu-pci", job, {
      timeoutMs: 400,
      started: ({ pid }) => setTimeout(() => process.kill(pid, "SIGSTOP"), 700),
    });
    await expect(run).rejects.toThrow("QEMU did not answer for 400 ms");
    expect(leftovers()).toEqual([]);
  },
);

it.skipIf(!qemu)("a refused command is a panic, not a wrong value (needs qemu-system-x86)", async () => {
  await expect(probe("qemu-mmio", "refused")).rejects.toThrow("qtest: QEMU refused");
});

it.skipIf(!qemu)("a QEMU that refuses its options says why (needs qemu-system-x86)", async () => {
  await expect(probe("qemu-pci", "vendor", { options: { queueSize: 3 } })).rejects.toThrow(/QEMU ended.*queue-size/);
});
