/**
 * What firmware would have done: a QEMU that was started with its CPU stopped has no PCI addresses assigned.
 *
 * - assignBars(pci, bdf, from)   gives each memory BAR an address from `from` up, turns on memory access and bus mastering
 * - enableMsix(pci, bdf, messages)   vector i writes messages[i].data at messages[i].addr
 *
 * PCI Local Bus 3.0 section 6.2.5.1 (sizing a BAR), 6.7 (capabilities), 6.8.2 (MSI-X).
 */
import type { PciHost } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { panic } from "../../kernel/lib/assert.ts";

const COMMAND = 0x04;
const COMMAND_MEMORY_AND_MASTER = 0x6;
const BAR0 = 0x10;
const BARS_MAX = 6;
const BAR_IS_IO = 1;
const BAR_IS_64 = 4;
const CAPABILITIES = 0x34;
const CAP_MSIX = 0x11;
const CAPS_MAX = 48;
const MSIX_ENABLE = 0x8000;
const MSIX_ENTRY_BYTES = 16;

/** Returns the first address after the last BAR. */
export function assignBars(pci: PciHost, bdf: number, from: number): number {
  let next = from;
  for (let bar = 0; bar < BARS_MAX; bar++) {
    const offset = BAR0 + 4 * bar;
    pci.configWrite(bdf, offset, 4, 0xffff_ffff);
    const mask = pci.configRead(bdf, offset, 4);
    if (mask === 0 || (mask & BAR_IS_IO) !== 0) continue;
    const bytes = ~(mask & ~0xf) + 1;
    next = Math.ceil(next / (bytes >>> 0)) * (bytes >>> 0);
    pci.configWrite(bdf, offset, 4, next);
    if ((mask & 6) === BAR_IS_64) pci.configWrite(bdf, BAR0 + 4 * ++bar, 4, 0);
    next += bytes >>> 0;
  }
  pci.configWrite(bdf, COMMAND, 2, pci.configRead(bdf, COMMAND, 2) | COMMAND_MEMORY_AND_MASTER);
  return next;
}

/** Offset of the first capability `id`, or 0. A list that never ends is a panic. */
function findCapability(pci: PciHost, bdf: number, id: number): number {
  let at = pci.configRead(bdf, CAPABILITIES, 1) & 0xfc;
  for (let steps = 0; at !== 0; steps++) {
    if (steps === CAPS_MAX) panic("findCapability: the list has a loop, bdf", bdf);
    if (pci.configRead(bdf, at, 1) === id) return at;
    at = pci.configRead(bdf, at + 1, 1) & 0xfc;
  }
  return 0;
}

export interface Message {
  readonly addr: PhysAddr;
  readonly data: number;
}

export function enableMsix(pci: PciHost, bdf: number, messages: readonly Message[]): void {
  const cap = findCapability(pci, bdf, CAP_MSIX);
  if (cap === 0) panic("enableMsix: the device has no MSI-X, bdf", bdf);
  const place = pci.configRead(bdf, cap + 4, 4);
  const bar = pci.configRead(bdf, BAR0 + 4 * (place & 7), 4);
  const table = (bar & ~0xf) + (place & ~7);
  for (const [vector, message] of messages.entries()) {
    const entry = (table >>> 0) + vector * MSIX_ENTRY_BYTES;
    pci.mmio.write(4, entry as PhysAddr, message.addr);
    pci.mmio.write(4, (entry + 4) as PhysAddr, 0);
    pci.mmio.write(4, (entry + 8) as PhysAddr, message.data);
    pci.mmio.write(4, (entry + 12) as PhysAddr, 0);
  }
  pci.configWrite(bdf, cap + 2, 2, pci.configRead(bdf, cap + 2, 2) | MSIX_ENABLE);
}
