/** Our own devices as worlds of the test set. */
import { openSimNvme, openSimVirtio } from "../../../harness/blk/sim_devices.ts";
import type { OpenedDevice } from "../../../harness/blk/devices.ts";
import { SECTORS } from "./cases.ts";
import type { DeviceKind, DriverOptions, TestWorld } from "./cases.ts";

export interface SimRow {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly unmapped: boolean;
  readonly world: TestWorld;
}

type Open = (options: { sectors: number; driver: DriverOptions; unmapped: boolean }) => OpenedDevice;

const OPENERS: readonly (readonly [name: string, kind: DeviceKind, serial: string, open: Open])[] = [
  ["sim-mmio", "virtio", "orrery-sim", (options) => openSimVirtio(options, "mmio")],
  ["sim-pci", "virtio", "orrery-sim", (options) => openSimVirtio(options, "pci")],
  ["sim-nvme", "nvme", "orrery-sim", openSimNvme],
];

/** Each with memory that the driver maps, and with memory that it must copy to and from. */
export const SIM_ROWS: readonly SimRow[] = OPENERS.flatMap(([name, kind, serial, open]) =>
  [false, true].map((unmapped) => ({
    name: unmapped ? `${name}, unmapped memory` : name,
    kind,
    unmapped,
    world: { serial, open: (driver) => open({ sectors: SECTORS, driver, unmapped }) },
  })),
);
