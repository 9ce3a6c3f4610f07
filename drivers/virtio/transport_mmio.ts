/**
 * virtio-mmio, driver side (VirtIO 1.2, 4.2): a device behind one window of 32-bit registers and one interrupt line.
 * - mmioTransport(bus, base, irq)   the device's transport, or ENOSYS: no version 2 device there
 */
import type { IrqLine, MmioBus, Width } from "../../kernel/abi/bus.ts";
import { ENOSYS } from "../../kernel/abi/errno.ts";
import type { Errno, PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioIsr } from "../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { MMIO_MAGIC_VALUE, MMIO_VERSION, Mmio } from "./mmio_layout.ts";

/** Reads of the status or of a queue's reset before the device is given up. */
const RESET_POLLS_MAX = 1_000;

export function mmioTransport(bus: MmioBus, base: PhysAddr, irq: IrqLine): VirtioTransport | Errno {
  const at = (offset: number): PhysAddr => (base + offset) as PhysAddr;
  if (bus.read(4, at(Mmio.MagicValue)) !== MMIO_MAGIC_VALUE) return ENOSYS;
  // Version 1 is the legacy interface; device id 0 is a place without a device (4.2.2.2).
  if (bus.read(4, at(Mmio.Version)) !== MMIO_VERSION) return ENOSYS;
  const deviceId = bus.read(4, at(Mmio.DeviceId));
  return deviceId === 0 ? ENOSYS : new MmioTransport(bus, base, irq, deviceId);
}

class MmioTransport implements VirtioTransport {
  readonly deviceId: number;
  readonly #bus: MmioBus;
  readonly #base: number;
  readonly #irq: IrqLine;
  #configChanged = false;
  #queueUsed = false;

  constructor(bus: MmioBus, base: PhysAddr, irq: IrqLine, deviceId: number) {
    this.#bus = bus;
    this.#base = base;
    this.#irq = irq;
    this.deviceId = deviceId;
  }

  #read(offset: number, width: Width = 4): number {
    return this.#bus.read(width, (this.#base + offset) as PhysAddr);
  }

  #write(offset: number, value: number, width: Width = 4): void {
    this.#bus.write(width, (this.#base + offset) as PhysAddr, value);
  }

  features(): bigint {
    this.#write(Mmio.DeviceFeaturesSel, 0);
    const low = this.#read(Mmio.DeviceFeatures);
    this.#write(Mmio.DeviceFeaturesSel, 1);
    return BigInt(low) | (BigInt(this.#read(Mmio.DeviceFeatures)) << 32n);
  }

  accept(features: bigint): void {
    this.#write(Mmio.DriverFeaturesSel, 0);
    this.#write(Mmio.DriverFeatures, Number(features & 0xffffffffn));
    this.#write(Mmio.DriverFeaturesSel, 1);
    this.#write(Mmio.DriverFeatures, Number(features >> 32n));
  }

  status(): number {
    return this.#read(Mmio.Status);
  }

  setStatus(status: number): boolean {
    this.#write(Mmio.Status, status);
    if (status !== 0) return true;
    for (let poll = 0; poll < RESET_POLLS_MAX; poll++) if (this.status() === 0) return true;
    return false;
  }

  queueMax(queue: number): number {
    this.#write(Mmio.QueueSel, queue);
    return this.#read(Mmio.QueueNumMax);
  }

  setupQueue(queue: number, size: number, desc: PhysAddr, driver: PhysAddr, device: PhysAddr): boolean {
    this.#write(Mmio.QueueSel, queue);
    if (this.#read(Mmio.QueueReady) !== 0) return false;
    this.#write(Mmio.QueueNum, size);
    this.#write64(Mmio.QueueDescLow, desc);
    this.#write64(Mmio.QueueDriverLow, driver);
    this.#write64(Mmio.QueueDeviceLow, device);
    this.#write(Mmio.QueueReady, 1);
    return true;
  }

  #write64(low: number, value: number): void {
    this.#write(low, value % 2 ** 32);
    this.#write(low + 4, Math.floor(value / 2 ** 32));
  }

  resetQueue(queue: number): boolean {
    this.#write(Mmio.QueueSel, queue);
    this.#write(Mmio.QueueReset, 1);
    // 4.2.2.1: both read 0 when it is done. QEMU 7.2 offers the feature and has no such register: it reads 0, ready or not.
    for (let poll = 0; poll < RESET_POLLS_MAX; poll++)
      if (this.#read(Mmio.QueueReset) === 0) return this.#read(Mmio.QueueReady) === 0;
    return false;
  }

  notify(queue: number): void {
    this.#write(Mmio.QueueNotify, queue);
  }

  config(offset: number, width: 1 | 2 | 4): number {
    return this.#read(Mmio.Config + offset, width);
  }

  setConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#write(Mmio.Config + offset, value, width);
  }

  configGeneration(): number {
    return this.#read(Mmio.ConfigGeneration);
  }

  waitIrq(_queue: number, timeoutNs: number): boolean {
    if (this.#irq.wait(timeoutNs)) this.#acknowledge();
    const used = this.#queueUsed;
    this.#queueUsed = false;
    return used;
  }

  /** One line serves queues and configuration: what is pending is remembered for whoever asks. */
  #acknowledge(): void {
    const pending = this.#read(Mmio.InterruptStatus) & (VirtioIsr.Queue | VirtioIsr.Config);
    if (pending === 0) return;
    this.#write(Mmio.InterruptAck, pending);
    if ((pending & VirtioIsr.Queue) !== 0) this.#queueUsed = true;
    if ((pending & VirtioIsr.Config) !== 0) this.#configChanged = true;
  }

  configChanged(): boolean {
    this.#acknowledge();
    const changed = this.#configChanged;
    this.#configChanged = false;
    return changed;
  }
}
