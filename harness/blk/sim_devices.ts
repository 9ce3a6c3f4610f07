/** Our own devices on the simulated bus, opened for a command or a test: bus, RAM, disk, device, transport, driver. */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { Errno, PhysAddr } from "../../kernel/abi/units.ts";
import {
  MMIO_BYTES,
  NvmeDevice,
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  VirtioMmioWindow,
  attachNvme,
  attachVirtioPci,
  mmioTransport,
  pciTransport,
  probeNvme,
  probeVirtioBlk,
} from "../../drivers/index.ts";
import type { ServiceModel, VirtioBlkDeviceOptions } from "../../drivers/index.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { UserError } from "../cli/exit.ts";
import type { OpenOptions, OpenedDevice } from "./devices.ts";

export const SIM_MMIO_BASE = 0xfeb00000 as PhysAddr;
export const SIM_BDF = 5 << 3;
/** Where BARs may lie. */
export const barWindow = (): { next: number; end: number } => ({ next: 0xc0000000, end: 0xd0000000 });
const RAM_BYTES = 48 << 20;
const ATOMIC_BYTES = 512;
const QUEUES_MAX = 4;

/** The parts of an opened virtio device, for tests that reach behind the driver. */
export interface SimVirtio {
  readonly bus: SimBus;
  readonly ram: SimRam;
  readonly disk: SimDisk;
  readonly device: VirtioBlkDevice;
  readonly transport: VirtioTransport;
}

export interface SimShape {
  readonly sectors: number;
  /** The disk has a volatile cache (the default). */
  readonly isVolatile?: boolean;
  readonly unmapped?: boolean;
  readonly ramBytes?: number;
  readonly service?: ServiceModel;
}

export function simVirtio(
  kind: "mmio" | "pci",
  shape: SimShape,
  options: Partial<VirtioBlkDeviceOptions> = {},
  bus = new SimBus(),
): SimVirtio {
  const ram = new SimRam(shape.ramBytes ?? RAM_BYTES, { mapped: shape.unmapped !== true });
  const cache = shape.isVolatile === false ? {} : { atomicBytes: ATOMIC_BYTES };
  const disk = new SimDisk({
    sectors: shape.sectors,
    now: bus.now,
    ...cache,
    ...(shape.service === undefined ? {} : { service: shape.service }),
  });
  const device = new VirtioBlkDevice({ dma: ram, bytes: ram.bytes }, disk, { queues: QUEUES_MAX, ...options });
  bus.addStep(device);
  const transport = kind === "mmio" ? attachMmio(bus, device) : attachPci(bus, device);
  if (typeof transport === "number") throw new Error(`our own device does not answer: ${transport}`);
  return { bus, ram, disk, device, transport };
}

function attachMmio(bus: SimBus, device: VirtioBlkDevice): VirtioTransport | Errno {
  const line = bus.line();
  bus.attach(SIM_MMIO_BASE, MMIO_BYTES, new VirtioMmioWindow(device.virtio, line));
  return mmioTransport(bus, SIM_MMIO_BASE, line);
}

function attachPci(bus: SimBus, device: VirtioBlkDevice): VirtioTransport | Errno {
  attachVirtioPci(bus, SIM_BDF, device.virtio, bus.line());
  const lines = Array.from({ length: QUEUES_MAX + 1 }, () => bus.messageLine());
  return pciTransport(bus, SIM_BDF, barWindow(), lines);
}

export function openSimVirtio(options: OpenOptions, kind: "mmio" | "pci"): OpenedDevice {
  const { ram, disk, transport } = simVirtio(kind, options);
  const driver = probeVirtioBlk(ram, transport, options.driver);
  if (typeof driver === "number") throw new UserError(`The driver does not start with these options: error ${driver}`);
  return {
    device: driver,
    readMedium: (sector, into) =>
      into.set(disk.image.subarray(sector * SECTOR_SIZE, sector * SECTOR_SIZE + into.length)),
    afterPowerCut: () => disk.crash(() => false),
    close: () => driver.close(),
  };
}

export function openSimNvme(options: OpenOptions): OpenedDevice {
  const bus = new SimBus();
  const ram = new SimRam(RAM_BYTES, { mapped: !options.unmapped });
  const disk = new SimDisk({ sectors: options.sectors, atomicBytes: ATOMIC_BYTES });
  const line = bus.line();
  const device = new NvmeDevice({ dma: ram, bytes: ram.bytes }, disk, line);
  attachNvme(bus, SIM_BDF, device);
  bus.addStep(device);
  const driver = probeNvme(ram, bus, SIM_BDF, barWindow(), line, options.driver);
  if (typeof driver === "number") throw new UserError(`The driver does not start with these options: error ${driver}`);
  return {
    device: driver,
    readMedium: (sector, into) =>
      into.set(disk.image.subarray(sector * SECTOR_SIZE, sector * SECTOR_SIZE + into.length)),
    afterPowerCut: () => disk.crash(() => false),
    close: () => driver.close(),
  };
}
