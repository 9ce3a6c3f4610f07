/** Hostile devices and drivers, a few thousand cases of each: long campaigns are `orrery blk hostile` and `orrery fuzz`. */
import { describe, expect, it } from "vitest";
import { target as driverTarget } from "../../fuzz/virtio_driver.ts";
import { target as deviceTarget } from "../../fuzz/virtio_device.ts";
import { DEVICE_ATTACKS } from "../../harness/blk/device_attacks.ts";
import { DRIVER_ATTACKS } from "../../harness/blk/driver_attacks.ts";
import { HostileDeviceRun } from "../../harness/blk/hostile_device.ts";
import { HostileDriverRun } from "../../harness/blk/hostile_driver.ts";

const CASES = 60;
const SEED = 4_000_000;

describe("the driver against a device that is hostile", () => {
  for (const attack of DEVICE_ATTACKS)
    it(attack.name, () => {
      const run = new HostileDeviceRun([attack], attack.format);
      for (let i = 0; i < CASES; i++) expect(run.run(SEED + i)).toBeUndefined();
    });
});

describe("the device against a driver that is hostile", () => {
  for (const attack of DRIVER_ATTACKS)
    it(attack.name, () => {
      const run = new HostileDriverRun(undefined, [attack]);
      for (let i = 0; i < CASES; i++) expect(run.run(SEED + i)).toBeUndefined();
    });
});

it.each([driverTarget, deviceTarget])("$name: mixed cases hold, the canary fails", (target) => {
  expect(target.run(SEED, 1500, () => {}).failure).toBeUndefined();
  expect(target.canary(SEED).failure).toBeDefined();
});
