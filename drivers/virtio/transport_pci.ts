/**
 * virtio over PCI, modern only, driver side (VirtIO 1.2, 4.1): capabilities say in which BAR the register blocks lie.
 * With lines that are messages MSI-X is used: line 0 is the configuration's, line 1 + i queue i's (the last line serves
 * the queues beyond it); with a wire the ISR byte tells.
 *
 * - pciTransport(host, bdf, window, lines)   maps the BARs and finds the blocks; ENOSYS when it is not a virtio function
 */
import type { IrqLine, PciHost, Width } from "../../kernel/abi/bus.ts";
import { EIO, ENOSYS } from "../../kernel/abi/errno.ts";
import type { Errno, PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioIsr } from "../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { pciCaps, pciEnableMsix, pciMapBars } from "../pci/pci.ts";
import type { BarWindow } from "../pci/pci.ts";
import { Cap, Cfg } from "../pci/pci_layout.ts";
import {
  CAP_BAR,
  CAP_LENGTH,
  CAP_MULTIPLIER,
  CAP_OFFSET,
  CAP_TYPE,
  COMMON_BYTES,
  COMMON_BYTES_MIN,
  Common,
  NO_VECTOR,
  VIRTIO_PCI_ID,
  VIRTIO_PCI_ID_MAX,
  VIRTIO_TRANSITIONAL,
  VIRTIO_VENDOR,
  VirtioCap,
} from "./pci_layout.ts";

const RESET_POLLS_MAX = 1_000;

interface Block {
  readonly at: number;
  readonly bytes: number;
  readonly multiplier: number;
}

export function pciTransport(
  host: PciHost,
  bdf: number,
  window: BarWindow,
  lines: readonly IrqLine[],
): VirtioTransport | Errno {
  const pciId = host.configRead(bdf, Cfg.DeviceId, 2);
  const deviceId = VIRTIO_TRANSITIONAL[pciId] ?? pciId - VIRTIO_PCI_ID;
  const isVirtio = host.configRead(bdf, Cfg.VendorId, 2) === VIRTIO_VENDOR;
  if (!isVirtio || deviceId <= 0 || pciId > VIRTIO_PCI_ID_MAX) return ENOSYS;
  const bars = pciMapBars(host, bdf, window);
  const blocks = new Map<number, Block>();
  for (const cap of pciCaps(host, bdf)) {
    if (cap.id !== Cap.Vendor) continue;
    const type = host.configRead(bdf, cap.at + CAP_TYPE, 1);
    const base = bars.get(host.configRead(bdf, cap.at + CAP_BAR, 1));
    // The first usable capability of a type wins (4.1.4.1); reserved BARs and unknown types are passed over.
    if (base === undefined || blocks.has(type)) continue;
    const offset = host.configRead(bdf, cap.at + CAP_OFFSET, 4);
    const bytes = host.configRead(bdf, cap.at + CAP_LENGTH, 4);
    const multiplier = type === VirtioCap.Notify ? host.configRead(bdf, cap.at + CAP_MULTIPLIER, 4) : 0;
    blocks.set(type, { at: base + offset, bytes, multiplier });
  }
  const common = blocks.get(VirtioCap.Common);
  const notify = blocks.get(VirtioCap.Notify);
  const isr = blocks.get(VirtioCap.Isr);
  if (common === undefined || notify === undefined || isr === undefined) return EIO;
  if (common.bytes < COMMON_BYTES_MIN || notify.bytes < 2 || isr.bytes < 1) return EIO;
  const isMsix = pciEnableMsix(host, bdf, bars, lines);
  return new PciTransport(host, deviceId, common, notify, isr, blocks.get(VirtioCap.Device), lines, isMsix);
}

class PciTransport implements VirtioTransport {
  readonly deviceId: number;
  readonly #host: PciHost;
  readonly #common: Block;
  readonly #notify: Block;
  readonly #isr: Block;
  readonly #device: Block | undefined;
  readonly #lines: readonly IrqLine[];
  readonly #isMsix: boolean;
  /** Notification address by queue, read once at set-up. */
  readonly #notifyAt: number[] = [];
  #configChanged = false;
  #queueUsed = false;

  constructor(
    host: PciHost,
    deviceId: number,
    common: Block,
    notify: Block,
    isr: Block,
    device: Block | undefined,
    lines: readonly IrqLine[],
    isMsix: boolean,
  ) {
    this.#host = host;
    this.deviceId = deviceId;
    this.#common = common;
    this.#notify = notify;
    this.#isr = isr;
    this.#device = device;
    this.#lines = lines;
    this.#isMsix = isMsix;
  }

  #read(offset: number, width: Width): number {
    return this.#host.mmio.read(width, (this.#common.at + offset) as PhysAddr);
  }

  #write(offset: number, width: Width, value: number): void {
    this.#host.mmio.write(width, (this.#common.at + offset) as PhysAddr, value);
  }

  /** 64-bit fields are written as two 32-bit ones (4.1.3.1). */
  #write64(offset: number, value: number): void {
    this.#write(offset, 4, value % 2 ** 32);
    this.#write(offset + 4, 4, Math.floor(value / 2 ** 32));
  }

  features(): bigint {
    this.#write(Common.DeviceFeatureSelect, 4, 0);
    const low = this.#read(Common.DeviceFeature, 4);
    this.#write(Common.DeviceFeatureSelect, 4, 1);
    return BigInt(low) | (BigInt(this.#read(Common.DeviceFeature, 4)) << 32n);
  }

  accept(features: bigint): void {
    this.#write(Common.DriverFeatureSelect, 4, 0);
    this.#write(Common.DriverFeature, 4, Number(features & 0xffffffffn));
    this.#write(Common.DriverFeatureSelect, 4, 1);
    this.#write(Common.DriverFeature, 4, Number(features >> 32n));
  }

  status(): number {
    return this.#read(Common.DeviceStatus, 1);
  }

  setStatus(status: number): boolean {
    this.#write(Common.DeviceStatus, 1, status);
    if (status !== 0) return true;
    for (let poll = 0; poll < RESET_POLLS_MAX; poll++) if (this.status() === 0) return true;
    return false;
  }

  queueMax(queue: number): number {
    if (queue >= this.#read(Common.NumQueues, 2)) return 0;
    this.#write(Common.QueueSelect, 2, queue);
    return this.#read(Common.QueueSize, 2);
  }

  setupQueue(queue: number, size: number, desc: PhysAddr, driver: PhysAddr, device: PhysAddr): boolean {
    this.#write(Common.QueueSelect, 2, queue);
    if (this.#read(Common.QueueEnable, 2) !== 0) return false;
    if (!this.#setVectors(queue)) return false;
    this.#write(Common.QueueSize, 2, size);
    this.#write64(Common.QueueDesc, desc);
    this.#write64(Common.QueueDriver, driver);
    this.#write64(Common.QueueDevice, device);
    const at = this.#read(Common.QueueNotifyOff, 2) * this.#notify.multiplier;
    // 4.1.4.4: the block holds the register of every queue. A device that says otherwise is not written to.
    if (at + 2 > this.#notify.bytes) return false;
    this.#notifyAt[queue] = this.#notify.at + at;
    this.#write(Common.QueueEnable, 2, 1);
    return true;
  }

  /** 4.1.5.1.2.2: a vector is read back to see whether the device could take it. */
  #setVectors(queue: number): boolean {
    if (!this.#isMsix) return true;
    this.#write(Common.ConfigMsixVector, 2, 0);
    const vector = Math.min(1 + queue, this.#lines.length - 1);
    this.#write(Common.QueueMsixVector, 2, vector);
    return this.#read(Common.ConfigMsixVector, 2) !== NO_VECTOR && this.#read(Common.QueueMsixVector, 2) !== NO_VECTOR;
  }

  resetQueue(queue: number): boolean {
    if (this.#common.bytes < COMMON_BYTES) return false;
    this.#write(Common.QueueSelect, 2, queue);
    this.#write(Common.QueueReset, 2, 1);
    for (let poll = 0; poll < RESET_POLLS_MAX; poll++) if (this.#read(Common.QueueReset, 2) === 0) return true;
    return false;
  }

  notify(queue: number): void {
    this.#host.mmio.write(2, this.#notifyAt[queue] as PhysAddr, queue);
  }

  config(offset: number, width: 1 | 2 | 4): number {
    if (this.#device === undefined || offset + width > this.#device.bytes) return 0;
    return this.#host.mmio.read(width, (this.#device.at + offset) as PhysAddr);
  }

  setConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    if (this.#device === undefined || offset + width > this.#device.bytes) return;
    this.#host.mmio.write(width, (this.#device.at + offset) as PhysAddr, value);
  }

  configGeneration(): number {
    return this.#read(Common.ConfigGeneration, 1);
  }

  waitIrq(queue: number, timeoutNs: number): boolean {
    if (this.#isMsix) {
      const line = Math.min(1 + queue, this.#lines.length - 1);
      const raised = this.#lines[line]!.wait(timeoutNs);
      // A single vector serves the configuration too.
      if (raised && line === 0) this.#configChanged = true;
      return raised;
    }
    if (this.#lines[0]?.wait(timeoutNs) === true) this.#readIsr();
    const used = this.#queueUsed;
    this.#queueUsed = false;
    return used;
  }

  /** Reading the ISR byte acknowledges it. */
  #readIsr(): void {
    const pending = this.#host.mmio.read(1, this.#isr.at as PhysAddr);
    if ((pending & VirtioIsr.Queue) !== 0) this.#queueUsed = true;
    if ((pending & VirtioIsr.Config) !== 0) this.#configChanged = true;
  }

  configChanged(): boolean {
    if (this.#isMsix) {
      if (this.#lines[0]!.wait(0)) this.#configChanged = true;
    } else this.#readIsr();
    const changed = this.#configChanged;
    this.#configChanged = false;
    return changed;
  }
}
