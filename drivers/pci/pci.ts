/**
 * PCI functions as a driver sees them (PCI Local Bus 3.0): capabilities walked with a bound, BARs sized and mapped,
 * decoding and bus mastering switched on, MSI-X vectors programmed with the messages of interrupt lines.
 *
 * - pciCaps(host, bdf)            every capability: [id, offset]
 * - pciMapBars(host, bdf, window) BAR index -> base address, memory BARs placed in the window
 * - pciEnableMsix(...)            vectors of the table <- lines; false: no MSI-X, or a line is a wire
 */
import type { IrqLine, PciHost } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { Cap, Cfg, COMMAND_BUS_MASTER, COMMAND_MEMORY, STATUS_CAPABILITIES } from "./pci_layout.ts";
import { MSIX_CONTROL_ENABLE, MSIX_ENTRY_BYTES, MSIX_CONTROL_SIZE_MASK } from "./pci_layout.ts";

/** Capabilities lie in 192 bytes, four at least each: a longer list is a loop. */
const CAPS_MAX = 48;
const BARS = 6;

export interface PciCap {
  readonly id: number;
  readonly at: number;
}

/** Addresses free for BARs; `next` moves on. */
export interface BarWindow {
  next: number;
  readonly end: number;
}

export function pciCaps(host: PciHost, bdf: number): PciCap[] {
  const caps: PciCap[] = [];
  if ((host.configRead(bdf, Cfg.Status, 2) & STATUS_CAPABILITIES) === 0) return caps;
  let at = host.configRead(bdf, Cfg.Capabilities, 1) & ~3;
  while (at >= Cfg.HeaderEnd && caps.length < CAPS_MAX) {
    caps.push({ id: host.configRead(bdf, at, 1), at });
    at = host.configRead(bdf, at + 1, 1) & ~3;
  }
  return caps;
}

/** Sizes each memory BAR and places it; I/O BARs are left alone. 64-bit ones take two slots. */
export function pciMapBars(host: PciHost, bdf: number, window: BarWindow): Map<number, PhysAddr> {
  const bases = new Map<number, PhysAddr>();
  host.configWrite(bdf, Cfg.Command, 2, host.configRead(bdf, Cfg.Command, 2) & ~COMMAND_MEMORY);
  for (let bar = 0; bar < BARS; bar++) {
    const at = Cfg.Bar0 + 4 * bar;
    const kind = host.configRead(bdf, at, 4) & 0xf;
    const isWide = (kind & 7) === 4;
    if ((kind & 1) === 0) {
      host.configWrite(bdf, at, 4, 0xffffffff);
      const mask = (host.configRead(bdf, at, 4) & ~0xf) >>> 0;
      const bytes = mask === 0 ? 0 : (~mask + 1) >>> 0;
      const base = bytes === 0 ? 0 : Math.ceil(window.next / bytes) * bytes;
      const fits = bytes > 0 && base + bytes <= window.end;
      host.configWrite(bdf, at, 4, fits ? base % 2 ** 32 : 0);
      if (isWide) host.configWrite(bdf, at + 4, 4, fits ? Math.floor(base / 2 ** 32) : 0);
      if (fits) {
        bases.set(bar, base as PhysAddr);
        window.next = base + bytes;
      }
    }
    if (isWide) bar++;
  }
  const command = host.configRead(bdf, Cfg.Command, 2) | COMMAND_MEMORY | COMMAND_BUS_MASTER;
  host.configWrite(bdf, Cfg.Command, 2, command);
  return bases;
}

export function pciEnableMsix(
  host: PciHost,
  bdf: number,
  bars: ReadonlyMap<number, PhysAddr>,
  lines: readonly IrqLine[],
): boolean {
  const cap = pciCaps(host, bdf).find((one) => one.id === Cap.Msix);
  if (cap === undefined || lines.length === 0 || lines.some((line) => line.message === undefined)) return false;
  const control = host.configRead(bdf, cap.at + 2, 2);
  const where = host.configRead(bdf, cap.at + 4, 4);
  const base = bars.get(where & 7);
  if (base === undefined || (control & MSIX_CONTROL_SIZE_MASK) + 1 < lines.length) return false;
  const table = base + (where & ~7);
  for (const [vector, line] of lines.entries()) {
    const entry = table + vector * MSIX_ENTRY_BYTES;
    const { addr, data } = line.message!;
    host.mmio.write(4, entry as PhysAddr, addr % 2 ** 32);
    host.mmio.write(4, (entry + 4) as PhysAddr, Math.floor(addr / 2 ** 32));
    host.mmio.write(4, (entry + 8) as PhysAddr, data);
    host.mmio.write(4, (entry + 12) as PhysAddr, 0);
  }
  host.configWrite(bdf, cap.at + 2, 2, control | MSIX_CONTROL_ENABLE);
  return true;
}
