/**
 * The drivers of the house on QEMU's devices: `qemu-mmio`, `qemu-pci`, `qemu-nvme`. A QEMU blocks the thread that talks
 * to it, so whole jobs are carried out in a worker under harness/qemu/supervisor.ts.
 *
 * - openOnQemu(world, options)   in the worker: transport and driver on QEMU's bus
 * - hostileOnQemu(...)           in the main thread: the same hostile driver on our device and on QEMU's
 * - verifyOnQemu(name, job, progress)   in the main thread: a verify job, start to end
 * - loadOnQemu(name, plan, progress)    in the main thread: the load of bench blk
 */
import { closeSync, openSync, readSync } from "node:fs";
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { VIRTIO_BLK_DEFAULTS, mmioTransport, pciTransport, probeNvme, probeVirtioBlk } from "../../drivers/index.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { UserError } from "../cli/exit.ts";
import { RAM_BYTES } from "../qemu/machines.ts";
import type { QemuDeviceName, QemuDeviceOptions } from "../qemu/machines.ts";
import { onQemu } from "../qemu/supervisor.ts";
import type { QemuWorld } from "../qemu/world.ts";
import type { OpenedDevice } from "./devices.ts";
import { HOSTILE_SECTORS } from "./hostile_driver.ts";
import type { HostileDriverReport } from "./hostile_driver.ts";
import { LOAD_SECTORS } from "./load.ts";
import type { LoadFigures, LoadPlan } from "./load.ts";
import type { VerifyJob, VerifyReport } from "./verify.ts";

type DriverOptions = Readonly<Record<string, number | boolean>>;

/** A ring of our driver may be smaller than QEMU's, never larger; QEMU wants a power of two from 2 to 1024. */
export function qemuOptions(driver: DriverOptions): QemuDeviceOptions {
  const wanted = Number(driver["queueSize"] ?? 128);
  return {
    queueSize: 2 ** Math.ceil(Math.log2(wanted)),
    queues: Number(driver["queues"] ?? 1),
    packed: driver["packed"] === true,
  };
}

/** One vector for the configuration, one for each queue. */
export function transportOn(world: QemuWorld, queues: number): VirtioTransport | Errno {
  const { mmio, mmioBase, pci, bdf, pciMemory } = world;
  return world.name === "qemu-mmio"
    ? mmioTransport(mmio, mmioBase, world.wire())
    : pciTransport(pci, bdf, pciMemory, world.messages(1 + queues));
}

function probe(world: QemuWorld, driver: DriverOptions): (OpenedDevice["device"] & { close(): void }) | Errno {
  const { dma, pci, bdf, pciMemory } = world;
  if (world.name === "qemu-nvme") return probeNvme(dma, pci, bdf, pciMemory, world.wire(), driver);
  const transport = transportOn(world, qemuOptions(driver).queues);
  return typeof transport === "number" ? transport : probeVirtioBlk(dma, transport, driver);
}

/** Bounce buffers of all slots must fit the machine's memory, and leave room for rings. */
function checkMemory({ queues, queueSize }: QemuDeviceOptions): void {
  if (queues * queueSize * VIRTIO_BLK_DEFAULTS.dataBytes <= RAM_BYTES / 2) return;
  throw new UserError(`${queues} queues of ${queueSize} entries are more than the machine's memory holds; use fewer`);
}

export function openOnQemu(world: QemuWorld, driver: DriverOptions): OpenedDevice {
  checkMemory(qemuOptions(driver));
  const device = probe(world, driver);
  if (typeof device === "number")
    throw new UserError(`the driver does not start on ${world.name} with these options: error ${device}`);
  const image = openSync(world.image, "r");
  return {
    device,
    readMedium: (sector, into) => {
      const got = readSync(image, into, 0, into.length, sector * SECTOR_SIZE);
      into.fill(0, got);
    },
    close: () => {
      device.close();
      closeSync(image);
    },
  };
}

export async function verifyOnQemu(
  device: QemuDeviceName,
  job: VerifyJob,
  progress: (done: number) => void,
): Promise<VerifyReport> {
  const timeoutMs = job.qemuTimeoutMs;
  const report = await onQemu({
    device,
    options: qemuOptions(job.driver),
    diskBytes: job.sectors * SECTOR_SIZE,
    job: modulePath("./qemu_verify_job.ts", import.meta.url),
    args: job,
    progress,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return report as VerifyReport;
}

export async function loadOnQemu(
  device: QemuDeviceName,
  plan: LoadPlan,
  progress: (step: number) => void,
): Promise<LoadFigures[]> {
  const figures = await onQemu({
    device,
    diskBytes: LOAD_SECTORS * SECTOR_SIZE,
    job: modulePath("./qemu_load_job.ts", import.meta.url),
    args: plan,
    progress,
  });
  return figures as LoadFigures[];
}

export async function hostileOnQemu(
  device: QemuDeviceName,
  cases: number,
  seed: number,
  progress: (done: number) => void,
): Promise<HostileDriverReport> {
  const report = await onQemu({
    device,
    diskBytes: HOSTILE_SECTORS * SECTOR_SIZE,
    job: modulePath("./qemu_hostile_job.ts", import.meta.url),
    args: { cases, seed },
    progress,
  });
  return report as HostileDriverReport;
}
