/**
 * What a driver sees of the machine around it. The same four faces stand over our simulated bus and over QEMU by qtest;
 * a driver cannot tell which. All calls are synchronous.
 */
import type { PhysAddr } from "./units.ts";

/** Memory that both driver and device reach. Multi-byte values are little-endian. */
export interface Dma {
  /** `bytes` of zeroed memory at a multiple of `align` (a power of two); ENOMEM is a panic: drivers allocate at probe. */
  alloc(bytes: number, align: number): PhysAddr;
  free(addr: PhysAddr): void;
  read(addr: PhysAddr, into: Uint8Array): void;
  write(addr: PhysAddr, from: Uint8Array): void;
  /** The memory itself, where it can be mapped (our bus); undefined where it cannot (QEMU's RAM file). */
  view?(addr: PhysAddr, bytes: number): Uint8Array;
  /** Where bytes that already lie in this memory are, so that a transfer need not be copied; undefined: elsewhere. */
  addrOf?(bytes: Uint8Array): PhysAddr | undefined;
  /** Acquire-load of 16 bits. */
  load16(addr: PhysAddr): number;
  /** Release-store of 16 bits: everything written before is visible to whoever sees it. */
  publish16(addr: PhysAddr, value: number): void;
}

export type Width = 1 | 2 | 4 | 8;

/** Device registers. An 8-byte value is exact to 2^53. */
export interface MmioBus {
  read(width: Width, addr: PhysAddr): number;
  write(width: Width, addr: PhysAddr, value: number): void;
}

/** PCI configuration space (one segment); `bdf` is bus << 8 | device << 3 | function. */
export interface PciHost {
  configRead(bdf: number, offset: number, width: 1 | 2 | 4): number;
  configWrite(bdf: number, offset: number, width: 1 | 2 | 4, value: number): void;
  readonly mmio: MmioBus;
}

/** One interrupt line or vector. */
export interface IrqLine {
  /** True when it was raised since the last wait; waits up to `timeoutNs` for that. 0 polls. */
  wait(timeoutNs: number): boolean;
  /**
   * The message that raises this line when a device writes it (MSI-X): `data`, 32 bits little-endian, to `addr`.
   * Undefined: a wire (INTx, MMIO). Our bus decodes a doorbell address; under QEMU it is a mailbox word in RAM.
   */
  readonly message?: { readonly addr: PhysAddr; readonly data: number };
}
