/**
 * The disk of a machine: a simulated disk behind a virtio-blk device on the bus, its driver, and the block queue before
 * that (boot.ts calls this). Requests take time by the disk's service model; their end is an interrupt.
 *
 *   file system -> traced -> BlockQueue (elevator) -> traced -> VirtioBlk -> ring -> VirtioBlkDevice -> SimDisk
 */
import type { BlockDevice, BlockRequest } from "./abi/block.ts";
import { BlkEv } from "./abi/events.ts";
import type { Elevator } from "./abi/elevator.ts";
import type { Machine } from "./abi/machine.ts";
import type { IrqLine, MmioBus } from "./abi/bus.ts";
import type { Nanos, PhysAddr } from "./abi/units.ts";
import { assert, panic } from "./lib/assert.ts";
import {
  BlockQueue,
  MMIO_BYTES,
  mmioTransport,
  probeVirtioBlk,
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  VirtioMmioWindow,
} from "../drivers/index.ts";
import type { FaultPlan, ServiceModel, VirtioBlk } from "../drivers/index.ts";

export interface MediumConfig {
  /** Whole sectors; written in place. */
  readonly image: Uint8Array;
  /** How long requests take; missing: no time at all. */
  readonly service?: ServiceModel;
  readonly faults?: FaultPlan;
  readonly now: () => Nanos;
  /** Told of sectors as they become durable. */
  readonly durable?: (sector: number, bytes: Uint8Array) => void;
}

export interface DiskConfig extends Omit<MediumConfig, "now" | "durable"> {
  readonly elevator: Elevator;
  /** Rows of the accounts by task. */
  readonly tasks: number;
}

/** The driver's side. */
export interface DrivenDisk {
  readonly device: BlockDevice;
  readonly queue: BlockQueue;
  readonly driver: VirtioBlk;
  /** When the elevator wants to be asked again, or the device ends something, if that is known here. */
  nextAtNs(): number;
  /** A device in the same thread works; then its driver can be polled. */
  work(): void;
  /** Requests that the device has ended since boot, as seen by who polled. */
  ended(): number;
  /** Requests that have been taken and have not ended. */
  inFlight(): number;
  /** Time in which it had any request in flight, ns. */
  busyNs(): number;
}

export interface Disk extends DrivenDisk {
  readonly medium: SimDisk;
}

export const DISK_MMIO_BASE = 0x1000_1000 as PhysAddr;
/** Slots of the driver, each with a bounce buffer: in the kernel's part of RAM. */
const SLOTS = 64;
const OP_SHIFT = 8;

/** Reports what goes in and comes out. */
class Traced implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #machine: Machine;
  readonly #cpu: () => number;
  readonly #in: number;
  readonly #out: number | undefined;
  ended = 0;
  /** Requests inside; time in which there were any, and since when there are. */
  #inside = 0;
  #busyNs = 0;
  #sinceNs = 0;

  constructor(device: BlockDevice, machine: Machine, cpu: () => number, entry: number, end?: number) {
    this.#device = device;
    this.#machine = machine;
    this.#cpu = cpu;
    this.#in = entry;
    this.#out = end;
  }

  get limits(): BlockDevice["limits"] {
    return this.#device.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    const taken = this.#device.submit(batch);
    if (this.#inside === 0 && taken > 0) this.#sinceNs = this.#machine.now();
    this.#inside += taken;
    for (let n = 0; n < taken; n++) this.#tell(this.#in, batch[n]!, batch[n]!.task);
    return taken;
  }

  poll(): readonly BlockRequest[] {
    const ended = this.#device.poll();
    this.ended += ended.length;
    if (ended.length > 0 && (this.#inside -= ended.length) === 0) this.#busyNs += this.#machine.now() - this.#sinceNs;
    if (this.#out !== undefined) for (const request of ended) this.#tell(this.#out, request, request.result ?? 0);
    return ended;
  }

  get inside(): number {
    return this.#inside;
  }

  get busyNs(): number {
    return this.#busyNs + (this.#inside > 0 ? this.#machine.now() - this.#sinceNs : 0);
  }

  #tell(event: number, { sector, sectors, op, flags }: BlockRequest, last: number): void {
    this.#machine.trace(event, this.#cpu(), sector | 0, sectors, op | (flags << OP_SHIFT), last);
  }
}

export function bootDisk(ram: SharedArrayBuffer, machine: Machine, cpu: () => number, config: DiskConfig): Disk {
  const bus = new SimBus();
  const line = bus.line();
  const { medium, blk, window } = makeDisk(ram, line, { ...config, now: machine.now });
  bus.attach(DISK_MMIO_BASE, MMIO_BYTES, window);
  const driven = driveDisk(ram, bus, line, machine, cpu, config);
  return {
    ...driven,
    medium,
    // The clock counts whole nanoseconds; a service time may end between two.
    nextAtNs: () => Math.ceil(Math.min(medium.nextAtNs, driven.queue.wakeAtNs)),
    work: () => blk.step(),
  };
}

/** The device's side: a disk behind virtio-blk behind a window of registers. */
export function makeDisk(
  ram: SharedArrayBuffer,
  line: { raise(): void },
  { image, now, service, faults, durable }: MediumConfig,
): { readonly medium: SimDisk; readonly blk: VirtioBlkDevice; readonly window: VirtioMmioWindow } {
  assert(image.length % 512 === 0, "makeDisk: an image of whole sectors");
  const dma = new SimRam(ram);
  const medium = new SimDisk({
    sectors: image.length / 512,
    image,
    atomicBytes: 512,
    now,
    ...(service === undefined ? {} : { service }),
    ...(faults === undefined ? {} : { faults }),
    ...(durable === undefined ? {} : { durable }),
  });
  const blk = new VirtioBlkDevice({ dma, bytes: dma.bytes }, medium);
  return { medium, blk, window: new VirtioMmioWindow(blk.virtio, line) };
}

/** The driver's side, of a device that answers on `bus`; its rings and buffers lie in `ram`. */
export function driveDisk(
  ram: SharedArrayBuffer,
  bus: MmioBus,
  line: IrqLine,
  machine: Machine,
  cpu: () => number,
  { elevator, tasks }: Pick<DiskConfig, "elevator" | "tasks">,
): DrivenDisk {
  const dma = new SimRam(ram);
  const transport = mmioTransport(bus, DISK_MMIO_BASE, line);
  const driver = typeof transport === "number" ? transport : probeVirtioBlk(dma, transport, { queueSize: SLOTS });
  if (typeof driver === "number") return panic("driveDisk: the disk does not answer", driver);
  const issued = new Traced(driver, machine, cpu, BlkEv.RqIssue, BlkEv.RqComplete);
  const queue = new BlockQueue(issued, { elevator, now: machine.now, tasks });
  const device = new Traced(queue, machine, cpu, BlkEv.RqInsert);
  return {
    device,
    queue,
    driver,
    nextAtNs: () => queue.wakeAtNs,
    work: () => undefined,
    ended: () => device.ended,
    inFlight: () => device.inside,
    busyNs: () => issued.busyNs,
  };
}
