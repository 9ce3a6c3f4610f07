/**
 * The faces of kernel/abi/bus.ts over a QEMU whose CPU is stopped: registers by qtest, memory by the file that backs the
 * guest's RAM, interrupts by interception or by a mailbox word. Everything is synchronous.
 *
 * - QemuDma          memory; a small first-fit allocator over RAM from 1 MiB up
 * - QemuMmio         registers; writes are posted as on PCI, a read takes all that went before
 * - QemuPci          configuration space of machine `pc` through ports 0xcf8 and 0xcfc
 * - interceptedIrq   an input of the I/O APIC, whose changes qtest reports
 * - mailboxIrq       an MSI-X message that writes a word of RAM
 *
 * A read or write of the RAM file may copy byte by byte, so a 16-bit value of which both bytes change could be seen
 * half written by either side. Stores that change both bytes therefore go through QEMU, and loads that see the high
 * byte change are repeated until two agree.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { Dma, IrqLine, MmioBus, PciHost, Width } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { assert, panic } from "../../kernel/lib/assert.ts";
import type { Qtest } from "./qtest.ts";

/** Below lie the BIOS's areas and the holes of a PC. */
const HEAP_START = 1 << 20;
/** A loop that polls memory asks QEMU something this often, so that a QEMU that hangs is noticed. */
const POLLS_PER_HEARTBEAT = 1 << 16;
const NS_PER_MS = 1e6;

const hex = (value: number): string => `0x${value.toString(16)}`;
const LETTER: Readonly<Record<Width, string>> = { 1: "b", 2: "w", 4: "l", 8: "q" };

interface Range {
  start: number;
  end: number;
}

export class QemuDma implements Dma {
  readonly #qtest: Qtest;
  readonly #file: number;
  readonly #free: Range[];
  readonly #sizes = new Map<number, number>();
  readonly #bytes = Buffer.alloc(8);
  readonly #seen = new Map<number, number>();
  #polls = 0;
  /** Above this the file is as QEMU made it: zeroes, and not yet in memory. */
  #usedTo = HEAP_START;

  /** `ramFile` backs the guest's RAM with share=on. QEMU creates it: open it after the first answer. */
  constructor(qtest: Qtest, ramFile: string, ramBytes: number) {
    this.#qtest = qtest;
    this.#file = openSync(ramFile, "r+");
    this.#free = [{ start: HEAP_START, end: ramBytes }];
  }

  alloc(bytes: number, align: number): PhysAddr {
    assert(bytes > 0 && (align & (align - 1)) === 0, "QemuDma.alloc: size or alignment");
    for (const [index, range] of this.#free.entries()) {
      const start = Math.ceil(range.start / align) * align;
      if (start + bytes > range.end) continue;
      const after = { start: start + bytes, end: range.end };
      this.#free.splice(index, 1, { start: range.start, end: start }, after);
      this.#sizes.set(start, bytes);
      const used = Math.min(bytes, Math.max(0, this.#usedTo - start));
      if (used > 0) writeSync(this.#file, Buffer.alloc(used), 0, used, start);
      this.#usedTo = Math.max(this.#usedTo, start + bytes);
      return start as PhysAddr;
    }
    return panic("QemuDma.alloc: guest RAM is full, bytes wanted", bytes);
  }

  free(addr: PhysAddr): void {
    const bytes = this.#sizes.get(addr) ?? panic("QemuDma.free: not allocated", addr);
    this.#sizes.delete(addr);
    this.#free.push({ start: addr, end: addr + bytes });
    this.#free.sort((a, b) => a.start - b.start);
    for (let i = this.#free.length - 1; i > 0; i--) {
      const left = this.#free[i - 1]!;
      if (left.end !== this.#free[i]!.start) continue;
      left.end = this.#free[i]!.end;
      this.#free.splice(i, 1);
    }
  }

  read(addr: PhysAddr, into: Uint8Array): void {
    this.#heartbeat();
    readSync(this.#file, into, 0, into.length, addr);
  }

  write(addr: PhysAddr, from: Uint8Array): void {
    writeSync(this.#file, from, 0, from.length, addr);
  }

  load16(addr: PhysAddr): number {
    this.#heartbeat();
    let value = this.#peek16(addr);
    if (value >>> 8 !== (this.#seen.get(addr) ?? 0) >>> 8)
      for (let again = this.#peek16(addr); again !== value; again = this.#peek16(addr)) value = again;
    this.#seen.set(addr, value);
    return value;
  }

  publish16(addr: PhysAddr, value: number): void {
    const changed = this.#peek16(addr) ^ value;
    if ((changed & 0xff) !== 0 && (changed & 0xff00) !== 0) {
      this.#qtest.ask(`writew ${hex(addr)} ${hex(value)}`);
      return;
    }
    this.#bytes.writeUInt16LE(value, 0);
    writeSync(this.#file, this.#bytes, 0, 2, addr);
  }

  close(): void {
    closeSync(this.#file);
  }

  #peek16(addr: number): number {
    readSync(this.#file, this.#bytes, 0, 2, addr);
    return this.#bytes.readUInt16LE(0);
  }

  #heartbeat(): void {
    this.#qtest.checkAlive();
    if (++this.#polls % POLLS_PER_HEARTBEAT === 0) this.#qtest.ask("readb 0x0");
  }
}

export class QemuMmio implements MmioBus {
  readonly #qtest: Qtest;
  constructor(qtest: Qtest) {
    this.#qtest = qtest;
  }

  read(width: Width, addr: PhysAddr): number {
    return Number(this.#qtest.ask(`read${LETTER[width]} ${hex(addr)}`));
  }

  write(width: Width, addr: PhysAddr, value: number): void {
    this.#qtest.post(`write${LETTER[width]} ${hex(addr)} ${hex(value)}`);
  }
}

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;

export class QemuPci implements PciHost {
  readonly #qtest: Qtest;
  readonly mmio: MmioBus;
  constructor(qtest: Qtest) {
    this.#qtest = qtest;
    this.mmio = new QemuMmio(qtest);
  }

  configRead(bdf: number, offset: number, width: 1 | 2 | 4): number {
    this.#select(bdf, offset);
    return Number(this.#qtest.ask(`in${LETTER[width]} ${hex(CONFIG_DATA + (offset & 3))}`));
  }

  configWrite(bdf: number, offset: number, width: 1 | 2 | 4, value: number): void {
    this.#select(bdf, offset);
    this.#qtest.post(`out${LETTER[width]} ${hex(CONFIG_DATA + (offset & 3))} ${hex(value)}`);
  }

  #select(bdf: number, offset: number): void {
    this.#qtest.post(`outl ${hex(CONFIG_ADDRESS)} ${hex(0x8000_0000 + bdf * 256 + (offset & 0xfc))}`);
  }
}

/** Asks until `raised` or until the time is over. A question takes some 12 us and lets QEMU work meanwhile. */
function waitUntil(raised: () => boolean, timeoutNs: number): boolean {
  const end = performance.now() + timeoutNs / NS_PER_MS;
  for (;;) {
    if (raised()) return true;
    if (performance.now() >= end) return false;
  }
}

/** Line `gsi` as the I/O APIC gets it. Intercepting is for good: the guest's own CPU no longer sees any line. */
export function interceptedIrq(qtest: Qtest, gsi: number): IrqLine {
  qtest.ask("irq_intercept_in ioapic");
  return {
    wait: (timeoutNs) =>
      waitUntil(() => {
        qtest.ask("readb 0x0");
        return qtest.takeIrq(gsi);
      }, timeoutNs),
  };
}

/** The word at `mailbox` gets `data` when the message is sent; it is wiped before the waiter goes on. */
export function mailboxIrq(qtest: Qtest, dma: QemuDma, mailbox: PhysAddr, data: number): IrqLine {
  const word = Buffer.alloc(4);
  const empty = Buffer.alloc(4);
  return {
    message: { addr: mailbox, data },
    wait: (timeoutNs) =>
      waitUntil(() => {
        qtest.settle();
        dma.read(mailbox, word);
        if (word.readUInt32LE(0) !== data) return false;
        dma.write(mailbox, empty);
        return true;
      }, timeoutNs),
  };
}
