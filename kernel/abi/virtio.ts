/**
 * VirtIO 1.2: the numbers that every device type shares, and the two faces between a device's driver and what carries
 * it. `VirtioTransport` is a device seen through registers (MMIO, PCI); `VirtQueue` is one ring, driver side (split or
 * packed). A device driver is written on these two and cannot tell which lies below.
 */
import type { PhysAddr } from "./units.ts";

/** Device status bits (2.1). */
export const VirtioStatus = {
  Acknowledge: 1,
  Driver: 2,
  DriverOk: 4,
  FeaturesOk: 8,
  NeedsReset: 64,
  Failed: 128,
} as const;

/** Feature bits that do not belong to a device type (6), as masks. */
export const VirtioFeature = {
  IndirectDesc: 1n << 28n,
  EventIdx: 1n << 29n,
  Version1: 1n << 32n,
  AccessPlatform: 1n << 33n,
  RingPacked: 1n << 34n,
  InOrder: 1n << 35n,
  RingReset: 1n << 40n,
} as const;

/** Bits of the interrupt status (4.1.4.5, 4.2.2): a queue has used buffers; the configuration changed. */
export const VirtioIsr = { Queue: 1, Config: 2 } as const;

export interface VirtioTransport {
  /** Device type: 2 is a block device. 0: nothing there. */
  readonly deviceId: number;
  /** Features the device offers. */
  features(): bigint;
  /** Features the driver accepts; the device answers through FeaturesOk. */
  accept(features: bigint): void;
  status(): number;
  /** Sets the status byte; 0 resets the device and returns when it says that it is reset, false when it never does. */
  setStatus(status: number): boolean;
  /** Most entries of a queue; 0: there is no such queue. */
  queueMax(queue: number): number;
  /** Gives the device a queue and enables it. False: refused. */
  setupQueue(queue: number, size: number, desc: PhysAddr, driver: PhysAddr, device: PhysAddr): boolean;
  /** Resets one queue (VIRTIO_F_RING_RESET); false when the device never says that it is. */
  resetQueue(queue: number): boolean;
  /** Tells the device that a queue has available buffers. */
  notify(queue: number): void;
  /** Device-specific configuration, little-endian; one access, so wider fields need the generation check. */
  config(offset: number, width: 1 | 2 | 4): number;
  setConfig(offset: number, width: 1 | 2 | 4, value: number): void;
  configGeneration(): number;
  /** Waits for the queue's interrupt; true when it came. */
  waitIrq(queue: number, timeoutNs: number): boolean;
  /** Has the configuration changed since the last call? Acknowledges what is pending. */
  configChanged(): boolean;
}

/** Most segments in one chain: header, data, status. */
export const CHAIN_SEGMENTS_MAX = 130;

/** A chain of buffers as the driver posts it: `out` device-readable segments first, then `in` device-writable ones. */
export interface Chain {
  readonly addr: Float64Array;
  readonly bytes: Uint32Array;
  out: number;
  in: number;
}

export interface VirtQueue {
  readonly size: number;
  /** Addresses to hand to the transport. */
  readonly desc: PhysAddr;
  readonly driver: PhysAddr;
  readonly device: PhysAddr;
  /** Why the queue is unusable: the device wrote what it must not. Undefined while all is well. */
  readonly broken: string | undefined;
  /** Buffers posted and not yet used. */
  readonly inFlight: number;
  /** Bytes the device says it wrote into the buffer that take() returned last. */
  readonly usedBytes: number;
  /** Posts a chain under a token (0 .. size-1, not in flight); false: no room. The device sees it at publish(). */
  add(chain: Chain, token: number): boolean;
  /** Makes all posted chains visible. True: the device asked to be notified. */
  publish(): boolean;
  /** Token of the next buffer the device has used; -1: none (or broken). */
  take(): number;
  /** Asks for an interrupt after `more` further buffers (1: the next). False: buffers are already there, take them. */
  enableIrq(more: number): boolean;
  disableIrq(): void;
  /** Forgets everything in flight; the memory is as new. Only while the device has the queue disabled. */
  reset(): void;
  free(): void;
}
