/**
 * A simulated PCI function: configuration space, memory BARs that can be sized and placed, a capability list, and the
 * MSI-X table. A device model adds its capabilities and register windows.
 *
 * - addBar(index, bytes, wide, window)   a memory BAR, 64-bit ones take the next slot too
 * - addCap(id, body)                     appends a capability; returns its offset
 * - addMsix(bar, vectors)                table and pending bits in a BAR of their own
 * - signal(vector)                       writes the vector's message; false: MSI-X is off, use the wire
 */
import type { Width } from "../../kernel/abi/bus.ts";
import { assert } from "../../kernel/lib/assert.ts";
import {
  CONFIG_BYTES,
  COMMAND_MEMORY,
  Cap,
  Cfg,
  MSIX_CONTROL_ENABLE,
  MSIX_CONTROL_MASK_ALL,
  MSIX_ENTRY_BYTES,
  STATUS_CAPABILITIES,
} from "../pci/pci_layout.ts";
import type { PciFunction, RegisterWindow, SimBus } from "./bus.ts";

interface Bar {
  readonly at: number;
  readonly bytes: number;
  readonly isWide: boolean;
  readonly window: RegisterWindow;
}

export interface PciIdentity {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** base << 16 | sub << 8 | interface. */
  readonly classCode: number;
}

export interface ConfigHooks {
  beforeRead(offset: number, width: number): void;
  afterWrite(offset: number, width: number): void;
}

const little = (bytes: Uint8Array, offset: number, width: number): number => {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
};

export class SimPciFunction implements PciFunction {
  readonly config = new Uint8Array(CONFIG_BYTES);
  /** Bits of each byte that a driver can write. */
  readonly #writable = new Uint8Array(CONFIG_BYTES);
  readonly #bars: Bar[] = [];
  readonly #bus: SimBus;
  /** Side effects of configuration space: before a read, after a write. */
  readonly #hooks: ConfigHooks | undefined;
  #capEnd: number = Cfg.HeaderEnd;
  #lastCap = 0;
  #msixAt = 0;
  #table = new Uint32Array(0);
  #pending = new Uint8Array(0);

  constructor(bus: SimBus, identity: PciIdentity, hooks?: ConfigHooks) {
    this.#bus = bus;
    this.#hooks = hooks;
    this.#set(Cfg.VendorId, 2, identity.vendor);
    this.#set(Cfg.DeviceId, 2, identity.device);
    this.config[Cfg.RevisionId] = identity.revision;
    this.#set(Cfg.ClassCode, 1, identity.classCode);
    this.#set(Cfg.ClassCode + 1, 2, identity.classCode >>> 8);
    this.config[Cfg.InterruptPin] = 1;
    this.#allow(Cfg.Command, 2, 0x0406);
    this.#allow(Cfg.InterruptLine, 1, 0xff);
  }

  #set(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) this.config[offset + i] = Math.floor(value / 256 ** i) & 0xff;
  }

  #allow(offset: number, width: number, mask: number): void {
    for (let i = 0; i < width; i++) this.#writable[offset + i] = Math.floor(mask / 256 ** i) & 0xff;
  }

  addBar(index: number, bytes: number, isWide: boolean, window: RegisterWindow): void {
    assert(bytes >= 16 && (bytes & (bytes - 1)) === 0, "SimPciFunction.addBar: a BAR is a power of two");
    const at = Cfg.Bar0 + 4 * index;
    this.#bars.push({ at, bytes, isWide, window });
    this.config[at] = isWide ? 4 : 0;
    this.#allow(at, 4, 2 ** 32 - bytes);
    if (isWide) this.#allow(at + 4, 4, 2 ** 32 - 1);
  }

  /** `body` follows the two bytes of id and next. */
  addCap(id: number, body: Uint8Array): number {
    const at = this.#capEnd;
    assert(at + 2 + body.length <= CONFIG_BYTES, "SimPciFunction.addCap: no room");
    this.config[at] = id;
    this.config.set(body, at + 2);
    this.config[this.#lastCap === 0 ? Cfg.Capabilities : this.#lastCap + 1] = at;
    this.config[Cfg.Status] = STATUS_CAPABILITIES;
    this.#lastCap = at;
    this.#capEnd = (at + 2 + body.length + 3) & ~3;
    return at;
  }

  /** Makes the bytes of a capability writable (virtio's window into its BARs). */
  allow(at: number, bytes: number): void {
    this.#writable.fill(0xff, at, at + bytes);
  }

  addMsix(bar: number, vectors: number): void {
    const body = new Uint8Array(10);
    body[0] = (vectors - 1) & 0xff;
    body[1] = (vectors - 1) >>> 8;
    body[2] = bar;
    body[6] = bar;
    body[7] = 0x08;
    this.#msixAt = this.addCap(Cap.Msix, body);
    this.#allow(this.#msixAt + 2, 2, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
    this.#table = new Uint32Array((vectors * MSIX_ENTRY_BYTES) / 4);
    this.#pending = new Uint8Array(vectors);
    for (let vector = 0; vector < vectors; vector++) this.#table[vector * 4 + 3] = 1;
    this.addBar(bar, 4096, false, {
      read: (offset) => this.#table[offset >> 2] ?? 0,
      write: (offset, _width, value) => {
        if (offset >> 2 < this.#table.length) this.#table[offset >> 2] = value;
        this.#deliver();
      },
    });
  }

  signal(vector: number): boolean {
    const control = little(this.config, this.#msixAt + 2, 2);
    if (this.#msixAt === 0 || (control & MSIX_CONTROL_ENABLE) === 0) return false;
    if (vector < this.#pending.length) this.#pending[vector] = 1;
    this.#deliver();
    return true;
  }

  /** Sends what is pending and not masked. */
  #deliver(): void {
    const control = little(this.config, this.#msixAt + 2, 2);
    if ((control & MSIX_CONTROL_ENABLE) === 0 || (control & MSIX_CONTROL_MASK_ALL) !== 0) return;
    for (const [vector, isPending] of this.#pending.entries()) {
      if (isPending === 0 || (this.#table[vector * 4 + 3]! & 1) !== 0) continue;
      this.#pending[vector] = 0;
      const addr = this.#table[vector * 4]! + this.#table[vector * 4 + 1]! * 2 ** 32;
      this.#bus.message(addr, this.#table[vector * 4 + 2]!);
    }
  }

  configRead(offset: number, width: 1 | 2 | 4): number {
    this.#hooks?.beforeRead(offset, width);
    return little(this.config, offset, width);
  }

  configWrite(offset: number, width: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < width; i++) {
      const mask = this.#writable[offset + i] ?? 0;
      const byte = Math.floor(value / 256 ** i) & 0xff;
      this.config[offset + i] = (this.config[offset + i]! & ~mask) | (byte & mask);
    }
    this.#hooks?.afterWrite(offset, width);
    if (this.#msixAt !== 0) this.#deliver();
  }

  decode(addr: number): { readonly window: RegisterWindow; readonly offset: number } | undefined {
    if ((this.config[Cfg.Command]! & COMMAND_MEMORY) === 0) return undefined;
    for (const { at, bytes, isWide, window } of this.#bars) {
      const low = little(this.config, at, 4);
      const base = low - (low % 16) + (isWide ? little(this.config, at + 4, 4) * 2 ** 32 : 0);
      if (base !== 0 && addr >= base && addr < base + bytes) return { window, offset: addr - base };
    }
    return undefined;
  }

  /** Access to a BAR by its number, for windows into BARs. */
  bar(index: number): RegisterWindow | undefined {
    return this.#bars.find((bar) => bar.at === Cfg.Bar0 + 4 * index)?.window;
  }
}

/** Windows side by side in one BAR. */
export class SplitWindow implements RegisterWindow {
  readonly #parts: readonly { readonly at: number; readonly bytes: number; readonly window: RegisterWindow }[];

  constructor(parts: readonly { readonly at: number; readonly bytes: number; readonly window: RegisterWindow }[]) {
    this.#parts = parts;
  }

  read(offset: number, width: Width): number {
    const part = this.#parts.find(({ at, bytes }) => offset >= at && offset < at + bytes);
    return part === undefined ? 0 : part.window.read(offset - part.at, width);
  }

  write(offset: number, width: Width, value: number): void {
    const part = this.#parts.find(({ at, bytes }) => offset >= at && offset < at + bytes);
    part?.window.write(offset - part.at, width, value);
  }
}
