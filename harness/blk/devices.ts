/**
 * Block devices that commands can name: `--device NAME` -> how to open it. Whatever is opened is driven by the drivers of
 * the house through a BlockDevice, and can show the medium behind the device, so that the bytes are compared at the end.
 *
 * A device that lives in another program (QEMU) blocks its thread: it has `run` and `load`, which carry out a
 * whole job in a worker under a supervisor, and its `open` is called there.
 */
import type { BlockDevice } from "../../kernel/abi/block.ts";
import { panic } from "../../kernel/lib/assert.ts";
import { QEMU_DEVICES } from "../qemu/machines.ts";
import type { QemuDeviceName } from "../qemu/machines.ts";
import type { HostileDriverReport } from "./hostile_driver.ts";
import type { LoadFigures, LoadPlan } from "./load.ts";
import type { VerifyJob, VerifyReport } from "./verify.ts";

export interface OpenOptions {
  readonly sectors: number;
  /** Queues, ring format and so on: whatever the driver has options for. */
  readonly driver: Readonly<Record<string, number | boolean>>;
  /** DMA memory that cannot be mapped (our bus only): the drivers' other path. */
  readonly unmapped: boolean;
}

export interface OpenedDevice {
  readonly device: BlockDevice & {
    readonly broken: string | undefined;
    wait(timeoutNs: number): boolean;
  };
  /** Copies the medium's bytes from a sector on, past the driver. */
  readonly readMedium: (sector: number, into: Uint8Array) => void;
  /** What would be on the medium after a power cut now that loses all it may; missing: nobody can know. */
  readonly afterPowerCut?: () => Uint8Array;
  readonly close: () => void;
}

export interface DeviceOpener {
  readonly name: string;
  readonly help: string;
  open(options: OpenOptions): OpenedDevice | Promise<OpenedDevice>;
  /** Carries out the whole job elsewhere; missing: in this thread. */
  run?(job: VerifyJob, progress: (done: number) => void): Promise<VerifyReport>;
  /** The load of bench blk, likewise. */
  readonly load?: (plan: LoadPlan, progress: (step: number) => void) => Promise<LoadFigures[]>;
}

const simulated = async (): Promise<typeof import("./sim_devices.ts")> => import("./sim_devices.ts");

/** QEMU's devices are opened in the worker, by qemu_device.ts; here whole jobs are sent there. */
const onQemu = (name: QemuDeviceName): DeviceOpener => ({
  name,
  help: QEMU_DEVICES[name].help,
  open: () => panic("a QEMU device is opened in its worker", name),
  run: async (job, progress) => (await import("./qemu_device.ts")).verifyOnQemu(name, job, progress),
  load: async (plan, progress) => (await import("./qemu_device.ts")).loadOnQemu(name, plan, progress),
});

/** Modules load when a device is opened. */
export const DEVICES: readonly DeviceOpener[] = [
  {
    name: "sim-mmio",
    help: "our virtio-blk device over virtio-mmio",
    open: async (options) => (await simulated()).openSimVirtio(options, "mmio"),
  },
  {
    name: "sim-pci",
    help: "our virtio-blk device over PCI with MSI-X",
    open: async (options) => (await simulated()).openSimVirtio(options, "pci"),
  },
  {
    name: "sim-nvme",
    help: "our NVMe controller",
    open: async (options) => (await simulated()).openSimNvme(options),
  },
  onQemu("qemu-mmio"),
  onQemu("qemu-pci"),
  onQemu("qemu-nvme"),
];

/** Other people's devices that answer the same hostile drivers as ours, for comparison. */
export interface HostileOracle {
  readonly name: string;
  readonly help: string;
  run(cases: number, seed: number, progress: (done: number) => void): Promise<HostileDriverReport>;
}

const oracleOnQemu = (name: string, device: QemuDeviceName): HostileOracle => ({
  name,
  help: QEMU_DEVICES[device].help,
  run: async (cases, seed, progress) => (await import("./qemu_device.ts")).hostileOnQemu(device, cases, seed, progress),
});

export const ORACLES: readonly HostileOracle[] = [
  oracleOnQemu("qemu", "qemu-mmio"),
  oracleOnQemu("qemu-pci", "qemu-pci"),
];
