/** What the tests of the VirtIO specification share: a started driver, and one whose register accesses are recorded. */
import {
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  VirtioMmioWindow,
  blockRequest,
  mmioTransport,
  pollUntilEnded,
  probeVirtioBlk,
} from "../../../drivers/index.ts";
import type { VirtioBlk, VirtioBlkDeviceOptions, VirtioBlkOptions } from "../../../drivers/index.ts";
import { Mmio } from "../../../drivers/virtio/mmio_layout.ts";
import { SIM_MMIO_BASE, simVirtio } from "../../../harness/blk/sim_devices.ts";
import { BlockOp, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import type { MmioBus, Width } from "../../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../../kernel/abi/units.ts";
import { VirtioStatus } from "../../../kernel/abi/virtio.ts";
import { expect } from "vitest";

export const SECTORS = 1024;
export const READY = VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk;

export function start(
  kind: "mmio" | "pci",
  device: Partial<VirtioBlkDeviceOptions> = {},
  driver: Partial<VirtioBlkOptions> = {},
): ReturnType<typeof simVirtio> & { driver: VirtioBlk } {
  const sim = simVirtio(kind, { sectors: SECTORS, ramBytes: 16 << 20 }, device);
  const probed = probeVirtioBlk(sim.ram, sim.transport, { queueSize: 16, ...driver });
  if (typeof probed === "number") throw new Error(`the driver does not start: ${probed}`);
  return { ...sim, driver: probed };
}

export function run(driver: VirtioBlk, ...requests: BlockRequest[]): (number | undefined)[] {
  expect(pollUntilEnded(driver, requests, () => driver.wait(1e6), 100)).toBe(0);
  return requests.map(({ result }) => result);
}

export const bytes = (value: number, sectors = 1): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(value);

/** Register accesses of a driver, as they came. */
class Recorder implements MmioBus {
  readonly log: { write: boolean; width: Width; offset: number; value: number }[] = [];
  readonly #bus: MmioBus;
  readonly #base: number;

  constructor(bus: MmioBus, base: number) {
    this.#bus = bus;
    this.#base = base;
  }

  read(width: Width, addr: PhysAddr): number {
    const value = this.#bus.read(width, addr);
    this.log.push({ write: false, width, offset: addr - this.#base, value });
    return value;
  }

  write(width: Width, addr: PhysAddr, value: number): void {
    this.log.push({ write: true, width, offset: addr - this.#base, value });
    this.#bus.write(width, addr, value);
  }
}

export function recorded(): { recorder: Recorder; driver: VirtioBlk } {
  const bus = new SimBus();
  const ram = new SimRam(16 << 20);
  const device = new VirtioBlkDevice(
    { dma: ram, bytes: ram.bytes },
    new SimDisk({ sectors: SECTORS, atomicBytes: 512 }),
  );
  const line = bus.line();
  bus.attach(SIM_MMIO_BASE, 0x200, new VirtioMmioWindow(device.virtio, line));
  const recorder = new Recorder(bus, SIM_MMIO_BASE);
  const transport = mmioTransport(recorder, SIM_MMIO_BASE, line);
  if (typeof transport === "number") throw new Error("no device");
  const driver = probeVirtioBlk(ram, transport, { queueSize: 16 });
  if (typeof driver === "number") throw new Error("the driver does not start");
  run(driver, blockRequest(BlockOp.Write, 0, bytes(1)), blockRequest(BlockOp.Flush, 0, undefined));
  driver.setWriteCache(false);
  driver.resetQueue(0);
  return { recorder, driver };
}

export const WRITE_ONLY: readonly number[] = [
  Mmio.DeviceFeaturesSel,
  Mmio.DriverFeatures,
  Mmio.DriverFeaturesSel,
  Mmio.QueueSel,
  Mmio.QueueNum,
  Mmio.QueueNotify,
  Mmio.InterruptAck,
  Mmio.QueueDescLow,
  Mmio.QueueDescHigh,
  Mmio.QueueDriverLow,
  Mmio.QueueDriverHigh,
  Mmio.QueueDeviceLow,
  Mmio.QueueDeviceHigh,
];
export const READ_ONLY: readonly number[] = [
  Mmio.MagicValue,
  Mmio.Version,
  Mmio.DeviceId,
  Mmio.VendorId,
  Mmio.DeviceFeatures,
  Mmio.QueueNumMax,
  Mmio.InterruptStatus,
  Mmio.ConfigGeneration,
];
