/**
 * A simulated virtio function on PCI (VirtIO 1.2, 4.1): modern, MSI-X, revision 1.
 *
 *   BAR 1  MSI-X table                       BAR 4 (64-bit)  0x0000 common | 0x1000 ISR | 0x2000 device | 0x3000 notify
 *
 * Queue q's notification register is at 4 q. The window into the BARs (VIRTIO_PCI_CAP_PCI_CFG) works too.
 */
import type { Width } from "../../kernel/abi/bus.ts";
import { Cap, Cfg, STATUS_INTERRUPT } from "../pci/pci_layout.ts";
import { VirtioIsr } from "../../kernel/abi/virtio.ts";
import {
  CAP_BAR,
  CAP_LENGTH,
  CAP_OFFSET,
  COMMON_BYTES,
  Common,
  NO_VECTOR,
  VIRTIO_PCI_ID,
  VIRTIO_VENDOR,
  VirtioCap,
} from "../virtio/pci_layout.ts";
import type { RegisterWindow, SimBus, SimLine } from "./bus.ts";
import { SimPciFunction, SplitWindow } from "./pci_function.ts";
import { WireSink } from "./virtio_device.ts";
import type { InterruptSink, VirtioDevice } from "./virtio_device.ts";
import { setHalf } from "./virtio_mmio.ts";

const MSIX_BAR = 1;
const REGS_BAR = 4;
const BLOCK_BYTES = 0x1000;
const NOTIFY_MULTIPLIER = 4;
/** Storage class by device type; any other is unclassified. */
const classOf = (deviceId: number): number => (deviceId === 2 ? 0x010000 : 0xff0000);

class CommonWindow implements RegisterWindow {
  configVector = NO_VECTOR;
  readonly queueVectors: number[];
  readonly #device: VirtioDevice;
  readonly #vectors: number;
  #deviceSelect = 0;
  #driverSelect = 0;
  #queueSelect = 0;

  constructor(device: VirtioDevice, vectors: number) {
    this.#device = device;
    this.#vectors = vectors;
    this.queueVectors = device.queues.map(() => NO_VECTOR);
  }

  reset(): void {
    this.configVector = NO_VECTOR;
    this.queueVectors.fill(NO_VECTOR);
    this.#deviceSelect = 0;
    this.#driverSelect = 0;
    this.#queueSelect = 0;
  }

  /** A vector the function does not have reads back as NO_VECTOR (4.1.5.1.2.1). */
  #vector(value: number): number {
    return value < this.#vectors ? value : NO_VECTOR;
  }

  read(offset: number, width: Width): number {
    const device = this.#device;
    const select = this.#queueSelect;
    const queue = device.queues[select];
    switch (offset) {
      case Common.DeviceFeatureSelect:
        return this.#deviceSelect;
      case Common.DeviceFeature:
        return device.featureWord(this.#deviceSelect);
      case Common.DriverFeatureSelect:
        return this.#driverSelect;
      case Common.DriverFeature:
        return device.acceptedWord(this.#driverSelect);
      case Common.ConfigMsixVector:
        return this.configVector;
      case Common.NumQueues:
        return device.queues.length;
      case Common.DeviceStatus:
        return width === 1 ? device.status : 0;
      case Common.ConfigGeneration:
        return device.generation;
      case Common.QueueSelect:
        return select;
      case Common.QueueSize:
        return queue?.size ?? 0;
      case Common.QueueMsixVector:
        return this.queueVectors[select] ?? NO_VECTOR;
      case Common.QueueEnable:
        return queue?.isEnabled === true ? 1 : 0;
      case Common.QueueNotifyOff:
        return queue === undefined ? 0 : select;
      case Common.QueueDesc:
        return (queue?.desc ?? 0) % 2 ** 32;
      case Common.QueueDesc + 4:
        return Math.floor((queue?.desc ?? 0) / 2 ** 32);
      case Common.QueueDriver:
        return (queue?.driver ?? 0) % 2 ** 32;
      case Common.QueueDriver + 4:
        return Math.floor((queue?.driver ?? 0) / 2 ** 32);
      case Common.QueueDevice:
        return (queue?.device ?? 0) % 2 ** 32;
      case Common.QueueDevice + 4:
        return Math.floor((queue?.device ?? 0) / 2 ** 32);
      default:
        return 0;
    }
  }

  write(offset: number, _width: Width, value: number): void {
    const device = this.#device;
    const select = this.#queueSelect;
    const queue = device.queues[select];
    switch (offset) {
      case Common.DeviceFeatureSelect:
        this.#deviceSelect = value;
        return;
      case Common.DriverFeatureSelect:
        this.#driverSelect = value;
        return;
      case Common.DriverFeature:
        device.acceptWord(this.#driverSelect, value);
        return;
      case Common.ConfigMsixVector:
        this.configVector = this.#vector(value);
        return;
      case Common.DeviceStatus:
        device.setStatus(value & 0xff);
        return;
      case Common.QueueSelect:
        this.#queueSelect = value & 0xffff;
        return;
      case Common.QueueMsixVector:
        if (queue !== undefined) this.queueVectors[select] = this.#vector(value);
        return;
      case Common.QueueEnable:
        if (value === 1) device.enableQueue(select);
        return;
      case Common.QueueReset:
        if (value === 1) device.resetQueue(select);
        return;
      default:
    }
    if (queue === undefined || queue.isEnabled) return;
    if (offset === Common.QueueSize) queue.size = value & 0xffff;
    else if ((offset | 4) === (Common.QueueDesc | 4)) queue.desc = setHalf(queue.desc, (offset & 4) !== 0, value);
    else if ((offset | 4) === (Common.QueueDriver | 4)) queue.driver = setHalf(queue.driver, (offset & 4) !== 0, value);
    else if ((offset | 4) === (Common.QueueDevice | 4)) queue.device = setHalf(queue.device, (offset & 4) !== 0, value);
  }
}

/** Makes the function and puts it on the bus. `line` is its INTx wire, used while MSI-X is off. */
export function attachVirtioPci(bus: SimBus, bdf: number, device: VirtioDevice, line: SimLine): SimPciFunction {
  const vectors = device.queues.length + 1;
  const common = new CommonWindow(device, vectors);
  const wire = new WireSink(() => line.raise());
  const identity = {
    vendor: VIRTIO_VENDOR,
    device: VIRTIO_PCI_ID + device.model.deviceId,
    revision: 1,
    classCode: classOf(device.model.deviceId),
  };
  const windowCap = { at: 0 };
  const isWindow = (offset: number): boolean => windowCap.at !== 0 && offset === windowCap.at + 16;
  const pciFunction = new SimPciFunction(bus, identity, {
    beforeRead: (offset, width) => {
      // The header's interrupt status is the OR of the ISR's bits (4.1.4.5.1).
      const status = pciFunction.config[Cfg.Status]! & ~STATUS_INTERRUPT;
      pciFunction.config[Cfg.Status] = status | (wire.pending === 0 ? 0 : STATUS_INTERRUPT);
      if (isWindow(offset)) throughWindow(pciFunction, windowCap.at, width as Width, false);
    },
    afterWrite: (offset, width) => {
      if (isWindow(offset)) throughWindow(pciFunction, windowCap.at, width as Width, true);
    },
  });
  const sink: InterruptSink = {
    queueUsed: (queue) => {
      if (!pciFunction.signal(common.queueVectors[queue]!)) wire.queueUsed();
    },
    configChanged: () => {
      // The ISR bit is set whichever way the notification goes (4.1.4.5.1).
      wire.pending |= VirtioIsr.Config;
      if (!pciFunction.signal(common.configVector)) wire.configChanged();
    },
    reset: () => {
      wire.reset();
      common.reset();
    },
  };
  device.irq = sink;
  const registers = new SplitWindow([
    { at: 0, bytes: BLOCK_BYTES, window: common },
    { at: 0x1000, bytes: BLOCK_BYTES, window: isrWindow(wire) },
    { at: 0x2000, bytes: BLOCK_BYTES, window: configWindow(device) },
    { at: 0x3000, bytes: BLOCK_BYTES, window: notifyWindow(device) },
  ]);
  pciFunction.addBar(REGS_BAR, 4 * BLOCK_BYTES, true, registers);
  pciFunction.addCap(Cap.Vendor, vendorCap(VirtioCap.Common, 0, COMMON_BYTES));
  pciFunction.addCap(Cap.Vendor, vendorCap(VirtioCap.Isr, 0x1000, 1));
  pciFunction.addCap(Cap.Vendor, vendorCap(VirtioCap.Device, 0x2000, device.model.configBytes));
  const notifyBytes = device.queues.length * NOTIFY_MULTIPLIER;
  pciFunction.addCap(Cap.Vendor, vendorCap(VirtioCap.Notify, 0x3000, notifyBytes, NOTIFY_MULTIPLIER));
  windowCap.at = pciFunction.addCap(Cap.Vendor, vendorCap(VirtioCap.PciCfg, 0, 0, 0));
  pciFunction.allow(windowCap.at + CAP_BAR, 16);
  pciFunction.addMsix(MSIX_BAR, vectors);
  bus.attachFunction(bdf, pciFunction);
  return pciFunction;
}

function vendorCap(type: number, offset: number, bytes: number, extra?: number): Uint8Array {
  const cap = new DataView(new ArrayBuffer(extra === undefined ? 16 : 20));
  cap.setUint8(2, cap.byteLength);
  cap.setUint8(3, type);
  cap.setUint8(CAP_BAR, REGS_BAR);
  cap.setUint32(CAP_OFFSET, offset, true);
  cap.setUint32(CAP_LENGTH, bytes, true);
  if (extra !== undefined) cap.setUint32(16, extra, true);
  return new Uint8Array(cap.buffer, 2);
}

const isrWindow = (wire: WireSink): RegisterWindow => ({
  read: (offset) => {
    if (offset !== 0) return 0;
    const { pending } = wire;
    wire.pending = 0;
    return pending;
  },
  write: () => {},
});

const configWindow = (device: VirtioDevice): RegisterWindow => ({
  read: (offset, width) => device.readConfig(offset, width),
  write: (offset, width, value) => device.model.configWrite(offset, width, value),
});

const notifyWindow = (device: VirtioDevice): RegisterWindow => ({
  read: () => 0,
  write: (offset) => device.notify(Math.floor(offset / NOTIFY_MULTIPLIER)),
});

/** 4.1.4.9: access to pci_cfg_data is access to the register that the capability's bar, offset and length point at. */
function throughWindow(pciFunction: SimPciFunction, at: number, width: Width, isWrite: boolean): void {
  const view = new DataView(pciFunction.config.buffer);
  const window = pciFunction.bar(view.getUint8(at + CAP_BAR));
  if (window === undefined || view.getUint32(at + CAP_LENGTH, true) !== width) return;
  const offset = view.getUint32(at + CAP_OFFSET, true);
  if (isWrite) window.write(offset, width, view.getUint32(at + 16, true) % 2 ** (8 * width));
  else view.setUint32(at + 16, window.read(offset, width), true);
}
