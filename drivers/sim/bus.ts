/**
 * The simulated bus: register windows by address, PCI functions by bdf, interrupt lines, and virtual time for the
 * devices on it. Nothing here is known to drivers, who see MmioBus, PciHost and IrqLine.
 *
 * - attach(base, bytes, window)   registers at an address; read of nothing gives all ones, as on a real bus
 * - attachFunction(bdf, fn)       a PCI function; its BARs decode where the driver puts them
 * - line() / messageLine()        an interrupt line: a wire, or a message written to a doorbell address
 * - addStep(device)               a device that works by itself: step() now, next event at nextAtNs
 *
 * IrqLine.wait runs the devices: virtual time moves to their next event until the line is raised or time is up.
 */
import type { IrqLine, MmioBus, PciHost, Width } from "../../kernel/abi/bus.ts";
import { nanos } from "../../kernel/abi/units.ts";
import type { Nanos, PhysAddr } from "../../kernel/abi/units.ts";

export interface RegisterWindow {
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

export interface PciFunction {
  configRead(offset: number, width: 1 | 2 | 4): number;
  configWrite(offset: number, width: 1 | 2 | 4, value: number): void;
  /** The BAR window that holds `addr` while memory decoding is on, and the offset in it. */
  decode(addr: number): { readonly window: RegisterWindow; readonly offset: number } | undefined;
}

/** A device with work of its own. */
export interface Stepped {
  step(): void;
  /** When it next has something to do, ns; Infinity: never by itself. */
  readonly nextAtNs: number;
}

/** Doorbell of messages, as on a PC (not RAM: far above it). */
const MESSAGE_BASE = 0xfee00000;
/** Device steps in one wait: far above any useful number. */
const STEPS_MAX = 1_000_000;

const allOnes = (width: Width): number => 2 ** (8 * Math.min(width, 6)) - 1;

export class SimBus implements MmioBus, PciHost {
  nowNs: Nanos = nanos(0);
  readonly #windows: { base: number; end: number; window: RegisterWindow }[] = [];
  readonly #functions = new Map<number, PciFunction>();
  readonly #stepped: Stepped[] = [];
  readonly #messages: SimLine[] = [];
  readonly now = (): Nanos => this.nowNs;

  get mmio(): MmioBus {
    return this;
  }

  attach(base: PhysAddr, bytes: number, window: RegisterWindow): void {
    this.#windows.push({ base, end: base + bytes, window });
  }

  attachFunction(bdf: number, pciFunction: PciFunction): void {
    this.#functions.set(bdf, pciFunction);
  }

  addStep(device: Stepped): void {
    this.#stepped.push(device);
  }

  line(): SimLine {
    return new SimLine(this);
  }

  messageLine(): SimLine {
    const vector = this.#messages.length;
    const line = new SimLine(this, { addr: MESSAGE_BASE as PhysAddr, data: vector });
    this.#messages.push(line);
    return line;
  }

  /** A device writes a message; one that names no line is lost, as on a machine whose vector nobody handles. */
  message(addr: number, data: number): void {
    if (addr === MESSAGE_BASE) this.#messages[data]?.raise();
  }

  #find(addr: number): { readonly window: RegisterWindow; readonly offset: number } | undefined {
    for (const { base, end, window } of this.#windows)
      if (addr >= base && addr < end) return { window, offset: addr - base };
    for (const pciFunction of this.#functions.values()) {
      const hit = pciFunction.decode(addr);
      if (hit !== undefined) return hit;
    }
    return undefined;
  }

  read(width: Width, addr: PhysAddr): number {
    const hit = this.#find(addr);
    return hit === undefined ? allOnes(width) : hit.window.read(hit.offset, width);
  }

  write(width: Width, addr: PhysAddr, value: number): void {
    const hit = this.#find(addr);
    hit?.window.write(hit.offset, width, value);
  }

  configRead(bdf: number, offset: number, width: 1 | 2 | 4): number {
    return this.#functions.get(bdf)?.configRead(offset, width) ?? allOnes(width);
  }

  configWrite(bdf: number, offset: number, width: 1 | 2 | 4, value: number): void {
    this.#functions.get(bdf)?.configWrite(offset, width, value);
  }

  /** Lets every device work once at the present time. */
  step(): void {
    for (const device of this.#stepped) device.step();
  }

  /** Runs the devices until `isDone`, or until `timeoutNs` have passed; true when done. */
  runUntil(isDone: () => boolean, timeoutNs: number): boolean {
    const endNs = this.nowNs + timeoutNs;
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      this.step();
      if (isDone()) return true;
      let nextNs = Infinity;
      for (const device of this.#stepped) nextNs = Math.min(nextNs, device.nextAtNs);
      if (nextNs > endNs) break;
      this.nowNs = nanos(Math.max(nextNs, this.nowNs));
    }
    this.nowNs = nanos(Math.max(endNs, this.nowNs));
    return false;
  }
}

export class SimLine implements IrqLine {
  readonly message?: { readonly addr: PhysAddr; readonly data: number };
  /** Times raised since boot. */
  raises = 0;
  readonly #bus: SimBus;
  #raised = false;

  constructor(bus: SimBus, message?: { addr: PhysAddr; data: number }) {
    this.#bus = bus;
    if (message !== undefined) this.message = message;
  }

  raise(): void {
    this.#raised = true;
    this.raises++;
  }

  wait(timeoutNs: number): boolean {
    if (!this.#raised && timeoutNs > 0) this.#bus.runUntil(() => this.#raised, timeoutNs);
    const raised = this.#raised;
    this.#raised = false;
    return raised;
  }
}
