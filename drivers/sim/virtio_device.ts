/**
 * The part of a simulated virtio device that does not depend on its type: status, feature negotiation, queues, the
 * configuration's generation, NEEDS_RESET (VirtIO 1.2, 2.1-2.3, 3.1). Register windows (MMIO, PCI) call in from one
 * side, the device model from the other.
 *
 * A driver that breaks a rule leaves the device in NEEDS_RESET: it reads no more descriptors until it is reset.
 */
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature, VirtioIsr, VirtioStatus } from "../../kernel/abi/virtio.ts";
import type { DeviceRing, GuestMemory } from "../virtio/device_chain.ts";
import { DevicePackedRing } from "../virtio/device_packed.ts";
import { DeviceSplitRing } from "../virtio/device_split.ts";
import { EVENT_STRUCT_BYTES, PACKED_SIZE_MAX } from "../virtio/packed_layout.ts";
import { DESC_BYTES, SPLIT_SIZE_MAX, availBytes, usedBytes } from "../virtio/split_layout.ts";

/** A device of one type. */
export interface DeviceModel {
  readonly deviceId: number;
  readonly features: bigint;
  readonly queueMax: readonly number[];
  readonly configBytes: number;
  configRead(offset: number, width: number): number;
  configWrite(offset: number, width: number, value: number): void;
  /** FEATURES_OK: these features are agreed on. */
  agree(features: bigint): void;
  /** A queue has (or may have) available chains. */
  process(queue: number): void;
  /** Forget what is in flight on a queue: its chains are never used. */
  dropQueue(queue: number): void;
  reset(): void;
}

/** How interrupts leave: a register window's business. */
export interface InterruptSink {
  queueUsed(queue: number): void;
  configChanged(): void;
  reset(): void;
}

export interface DeviceQueue {
  size: number;
  desc: number;
  driver: number;
  device: number;
  isEnabled: boolean;
  ring: DeviceRing | undefined;
}

const word = (value: bigint, select: number): number =>
  select > 1 ? 0 : Number((value >> BigInt(32 * select)) & 0xffffffffn);

export class VirtioDevice {
  status = 0;
  generation = 0;
  readonly queues: DeviceQueue[];
  readonly memory: GuestMemory;
  readonly model: DeviceModel;
  /** Why the device needs a reset. */
  fault: string | undefined;
  irq: InterruptSink | undefined;
  #accepted = 0n;
  #isConfigNew = false;

  constructor(memory: GuestMemory, model: DeviceModel) {
    this.memory = memory;
    this.model = model;
    this.queues = model.queueMax.map((size) => this.#idleQueue(size));
  }

  #idleQueue(size: number): DeviceQueue {
    return { size, desc: 0, driver: 0, device: 0, isEnabled: false, ring: undefined };
  }

  get features(): bigint {
    return this.#accepted;
  }

  get isRunning(): boolean {
    const mask = VirtioStatus.DriverOk | VirtioStatus.NeedsReset;
    return (this.status & mask) === VirtioStatus.DriverOk;
  }

  featureWord(select: number): number {
    return word(this.model.features, select);
  }

  acceptedWord(select: number): number {
    return word(this.#accepted, select);
  }

  acceptWord(select: number, value: number): void {
    // 3.1.1: features are fixed once FEATURES_OK is set.
    if (select > 1 || (this.status & VirtioStatus.FeaturesOk) !== 0) return;
    const shift = BigInt(32 * select);
    this.#accepted = (this.#accepted & ~(0xffffffffn << shift)) | (BigInt(value >>> 0) << shift);
  }

  setStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    let next = (value & 0xff) | (this.status & VirtioStatus.NeedsReset);
    if ((next & VirtioStatus.FeaturesOk) !== 0 && (this.status & VirtioStatus.FeaturesOk) === 0) {
      if (this.#agrees()) this.model.agree(this.#accepted);
      else next &= ~VirtioStatus.FeaturesOk;
    }
    const starts = (next & VirtioStatus.DriverOk) !== 0 && (this.status & VirtioStatus.DriverOk) === 0;
    this.status = next;
    if (!starts) return;
    for (const [index, queue] of this.queues.entries()) if (queue.isEnabled) this.model.process(index);
  }

  /** Only offered features, and version 1 among them (6.1). */
  #agrees(): boolean {
    const isOffered = (this.#accepted & ~this.model.features) === 0n;
    return isOffered && (this.#accepted & VirtioFeature.Version1) !== 0n;
  }

  reset(): void {
    this.status = 0;
    this.fault = undefined;
    this.#accepted = 0n;
    this.generation = 0;
    for (const [index] of this.queues.entries()) this.#disable(index);
    this.model.reset();
    this.irq?.reset();
  }

  #disable(index: number): void {
    this.model.dropQueue(index);
    this.queues[index] = this.#idleQueue(this.model.queueMax[index]!);
  }

  resetQueue(index: number): void {
    if (this.queues[index] !== undefined && (this.#accepted & VirtioFeature.RingReset) !== 0n) this.#disable(index);
  }

  /** The driver takes a queue back; its chains in flight are never used. */
  disableQueue(index: number): void {
    if (this.queues[index]?.isEnabled === true) this.#disable(index);
  }

  /** Checks what the driver set up and makes the ring; anything wrong is a fault. */
  enableQueue(index: number): void {
    const queue = this.queues[index];
    if (queue === undefined || queue.isEnabled) return;
    const isPacked = (this.#accepted & VirtioFeature.RingPacked) !== 0n;
    const wrong = isPacked ? this.#checkPacked(queue) : this.#checkSplit(queue);
    if (wrong !== undefined || queue.size > this.model.queueMax[index]!) {
      this.needsReset(wrong ?? "a queue larger than offered");
      return;
    }
    queue.isEnabled = true;
    const Ring = isPacked ? DevicePackedRing : DeviceSplitRing;
    const { size, desc, driver, device } = queue;
    queue.ring = new Ring(this.memory, size, desc as PhysAddr, driver as PhysAddr, device as PhysAddr, this.#accepted);
  }

  #checkSplit(queue: DeviceQueue): string | undefined {
    const { size, desc, driver, device } = queue;
    if (size === 0 || size > SPLIT_SIZE_MAX || (size & (size - 1)) !== 0) return "a queue size is no power of two";
    if (desc % 16 !== 0 || driver % 2 !== 0 || device % 4 !== 0) return "a ring is not aligned";
    return this.#fits(desc, size * DESC_BYTES, driver, availBytes(size) + 2, device, usedBytes(size) + 2);
  }

  #checkPacked(queue: DeviceQueue): string | undefined {
    const { size, desc, driver, device } = queue;
    if (size === 0 || size > PACKED_SIZE_MAX) return "a queue size is out of range";
    if (desc % 16 !== 0 || driver % 4 !== 0 || device % 4 !== 0) return "a ring is not aligned";
    return this.#fits(desc, size * DESC_BYTES, driver, EVENT_STRUCT_BYTES, device, EVENT_STRUCT_BYTES);
  }

  #fits(...areas: readonly number[]): string | undefined {
    for (let i = 0; i < areas.length; i += 2)
      if (areas[i]! + areas[i + 1]! > this.memory.bytes) return "a ring outside memory";
    return undefined;
  }

  notify(index: number): void {
    if (this.isRunning && this.queues[index]?.isEnabled === true) this.model.process(index);
  }

  /** The driver broke a rule: no more descriptors are read, and the driver is told (2.1.2). */
  needsReset(fault: string): void {
    this.fault ??= fault;
    this.status |= VirtioStatus.NeedsReset;
    if ((this.status & VirtioStatus.DriverOk) !== 0) this.irq?.configChanged();
  }

  /**
   * A change shows as a new generation from the first reading after it: counting changes instead would show none after
   * 256 of them (4.1.4.3.1).
   */
  readConfig(offset: number, width: number): number {
    if (this.#isConfigNew) this.generation = (this.generation + 1) & 0xff;
    this.#isConfigNew = false;
    return this.model.configRead(offset, width);
  }

  /** The configuration has changed: a new generation, and an interrupt. */
  configChanged(): void {
    this.#isConfigNew = true;
    if ((this.status & VirtioStatus.DriverOk) !== 0) this.irq?.configChanged();
  }
}

/** The interrupt status byte and one wire: MMIO, and PCI without MSI-X. */
export class WireSink implements InterruptSink {
  pending = 0;
  readonly #raise: () => void;

  constructor(raise: () => void) {
    this.#raise = raise;
  }

  queueUsed(): void {
    this.pending |= VirtioIsr.Queue;
    this.#raise();
  }

  configChanged(): void {
    this.pending |= VirtioIsr.Config;
    this.#raise();
  }

  reset(): void {
    this.pending = 0;
  }
}
