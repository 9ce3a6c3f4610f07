/** A transport whose device lies: everything goes to the real one but what a case has overridden. */
import type { PhysAddr } from "../../kernel/abi/units.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";

export interface Lies {
  /** Configuration bytes as read: offset -> value. */
  config?: ReadonlyMap<number, number>;
  /** The generation changes at each reading. */
  flapping?: boolean;
  features?: bigint;
  refuseFeatures?: boolean;
  queueMax?: number;
  /** Status as read. */
  status?: number;
  neverResets?: boolean;
  refuseQueue?: boolean;
  /** configChanged() says yes every time. */
  configStorm?: boolean;
  /** waitIrq() says yes every time. */
  irqStorm?: boolean;
}

export class HostileTransport implements VirtioTransport {
  lies: Lies = {};
  readonly #real: VirtioTransport;
  #generation = 0;
  #refused = false;

  constructor(real: VirtioTransport) {
    this.#real = real;
  }

  get deviceId(): number {
    return this.#real.deviceId;
  }

  features(): bigint {
    return this.lies.features ?? this.#real.features();
  }

  accept(features: bigint): void {
    // What the real device never offered it would refuse; the lie is that it accepted.
    this.#real.accept(features & this.#real.features());
  }

  status(): number {
    if (this.lies.status !== undefined) return this.lies.status;
    return this.#refused ? this.#real.status() & ~8 : this.#real.status();
  }

  setStatus(status: number): boolean {
    this.#refused = this.lies.refuseFeatures === true && (status & 8) !== 0;
    const isReset = this.#real.setStatus(status);
    return isReset && !(this.lies.neverResets === true && status === 0);
  }

  queueMax(queue: number): number {
    return this.lies.queueMax ?? this.#real.queueMax(queue);
  }

  setupQueue(queue: number, size: number, desc: PhysAddr, driver: PhysAddr, device: PhysAddr): boolean {
    return this.lies.refuseQueue !== true && this.#real.setupQueue(queue, size, desc, driver, device);
  }

  resetQueue(queue: number): boolean {
    return this.#real.resetQueue(queue);
  }

  notify(queue: number): void {
    this.#real.notify(queue);
  }

  config(offset: number, width: 1 | 2 | 4): number {
    return this.lies.config?.get(offset) ?? this.#real.config(offset, width);
  }

  setConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#real.setConfig(offset, width, value);
  }

  configGeneration(): number {
    if (this.lies.flapping !== true) return this.#real.configGeneration();
    this.#generation = (this.#generation + 1) & 0xff;
    return this.#generation;
  }

  waitIrq(queue: number, timeoutNs: number): boolean {
    return this.#real.waitIrq(queue, timeoutNs) || this.lies.irqStorm === true;
  }

  configChanged(): boolean {
    return this.#real.configChanged() || this.lies.configStorm === true;
  }
}
