/** Register window of a simulated virtio-mmio device (VirtIO 1.2, 4.2.2), version 2. */
import type { Width } from "../../kernel/abi/bus.ts";
import { MMIO_MAGIC_VALUE, MMIO_VERSION, Mmio } from "../virtio/mmio_layout.ts";
import type { RegisterWindow } from "./bus.ts";
import { WireSink } from "./virtio_device.ts";
import type { VirtioDevice } from "./virtio_device.ts";

const VENDOR = 0x5952524f; // "ORRY"

/** Address registers: offset -> which half of which of a queue's addresses. */
const ADDRESSES: Readonly<Record<number, readonly ["desc" | "driver" | "device", high: boolean]>> = {
  [Mmio.QueueDescLow]: ["desc", false],
  [Mmio.QueueDescHigh]: ["desc", true],
  [Mmio.QueueDriverLow]: ["driver", false],
  [Mmio.QueueDriverHigh]: ["driver", true],
  [Mmio.QueueDeviceLow]: ["device", false],
  [Mmio.QueueDeviceHigh]: ["device", true],
};

/** Puts one half into a 64-bit address kept as a number. */
export const setHalf = (old: number, isHigh: boolean, value: number): number =>
  isHigh ? (value >>> 0) * 2 ** 32 + (old % 2 ** 32) : Math.floor(old / 2 ** 32) * 2 ** 32 + (value >>> 0);

export class VirtioMmioWindow implements RegisterWindow {
  readonly #device: VirtioDevice;
  readonly #sink: WireSink;
  #deviceSelect = 0;
  #driverSelect = 0;
  #queueSelect = 0;

  constructor(device: VirtioDevice, line: { raise(): void }) {
    this.#device = device;
    this.#sink = new WireSink(() => line.raise());
    device.irq = this.#sink;
  }

  read(offset: number, width: Width): number {
    const device = this.#device;
    if (offset >= Mmio.Config) return device.readConfig(offset - Mmio.Config, width);
    // 4.2.2.2: below the configuration only 32-bit accesses are defined.
    if (width !== 4) return 0;
    const queue = device.queues[this.#queueSelect];
    switch (offset) {
      case Mmio.MagicValue:
        return MMIO_MAGIC_VALUE;
      case Mmio.Version:
        return MMIO_VERSION;
      case Mmio.DeviceId:
        return device.model.deviceId;
      case Mmio.VendorId:
        return VENDOR;
      case Mmio.DeviceFeatures:
        return device.featureWord(this.#deviceSelect);
      case Mmio.QueueNumMax:
        return device.model.queueMax[this.#queueSelect] ?? 0;
      case Mmio.QueueReady:
        return queue?.isEnabled === true ? 1 : 0;
      case Mmio.InterruptStatus:
        return this.#sink.pending;
      case Mmio.Status:
        return device.status;
      case Mmio.ConfigGeneration:
        return device.generation;
      default:
        return 0;
    }
  }

  write(offset: number, width: Width, value: number): void {
    const device = this.#device;
    if (offset >= Mmio.Config) {
      device.model.configWrite(offset - Mmio.Config, width, value);
      return;
    }
    if (width !== 4) return;
    const queue = device.queues[this.#queueSelect];
    const address = ADDRESSES[offset];
    if (address !== undefined) {
      const [name, isHigh] = address;
      if (queue !== undefined && !queue.isEnabled) queue[name] = setHalf(queue[name], isHigh, value);
      return;
    }
    switch (offset) {
      case Mmio.DeviceFeaturesSel:
        this.#deviceSelect = value;
        return;
      case Mmio.DriverFeaturesSel:
        this.#driverSelect = value;
        return;
      case Mmio.DriverFeatures:
        device.acceptWord(this.#driverSelect, value);
        return;
      case Mmio.QueueSel:
        this.#queueSelect = value;
        return;
      case Mmio.QueueNum:
        if (queue !== undefined && !queue.isEnabled) queue.size = value & 0xffff;
        return;
      case Mmio.QueueReady:
        if (value === 1) device.enableQueue(this.#queueSelect);
        else if (value === 0) device.disableQueue(this.#queueSelect);
        return;
      case Mmio.QueueReset:
        if (value === 1) device.resetQueue(this.#queueSelect);
        return;
      case Mmio.QueueNotify:
        device.notify(value & 0xffff);
        return;
      case Mmio.InterruptAck:
        this.#sink.pending &= ~value;
        return;
      case Mmio.Status:
        device.setStatus(value & 0xff);
        if (value === 0) this.#queueSelect = 0;
        return;
      default:
    }
  }
}
