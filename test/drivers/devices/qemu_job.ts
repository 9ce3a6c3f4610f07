/** The test set in the worker that talks to QEMU: every case on the one device, each on a zeroed image. */
import { truncateSync } from "node:fs";
import type { OpenedDevice } from "../../../harness/blk/devices.ts";
import { openOnQemu } from "../../../harness/blk/qemu_device.ts";
import { QEMU_SERIAL } from "../../../harness/qemu/machines.ts";
import type { QemuWorld } from "../../../harness/qemu/world.ts";
import { SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import { CANARY, MANY, SECTORS, casesOf } from "./cases.ts";
import type { DeviceCase, DeviceKind } from "./cases.ts";

export interface CaseResult {
  readonly name: string;
  /** How it failed; null: it did not. */
  readonly failure: string | null;
}

function attempt(world: QemuWorld, one: DeviceCase): CaseResult {
  const opened: OpenedDevice[] = [];
  // Nothing is in flight between cases, and QEMU keeps no copy of the file.
  truncateSync(world.image, 0);
  truncateSync(world.image, SECTORS * SECTOR_SIZE);
  try {
    one.run({
      serial: QEMU_SERIAL,
      open: (driver) => {
        const device = openOnQemu(world, driver);
        opened.push(device);
        return device;
      },
    });
    return { name: one.name, failure: null };
  } catch (error) {
    // A QEMU that is gone fails the whole job, with the reason that the supervisor knows.
    if (error instanceof Error && error.name === "QemuGone") throw error;
    return { name: one.name, failure: String(error) };
  } finally {
    for (const one of opened) if (one.device.broken !== "closed") one.close();
  }
}

export function run(world: QemuWorld, args: unknown): CaseResult[] {
  return [MANY, ...casesOf(args as DeviceKind), CANARY].map((one) => attempt(world, one));
}
