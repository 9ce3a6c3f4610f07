/**
 * RAM of a simulated machine as a Dma: one buffer, a first-fit allocator for what drivers set up at probe. Row 0 of
 * memory is never handed out, so that address 0 stays wrong.
 *
 * - new SimRam(bytes | buffer, { mapped })   mapped false hides view and addrOf: drivers then take the path they take
 *                                            over QEMU's RAM file
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { assert, panic } from "../../kernel/lib/assert.ts";

export class SimRam implements Dma {
  readonly bytes: number;
  readonly u8: Uint8Array;
  readonly view?: (addr: PhysAddr, bytes: number) => Uint8Array;
  readonly addrOf?: (bytes: Uint8Array) => PhysAddr | undefined;
  readonly #u16: Uint16Array;
  /** Areas in use: address, bytes; ascending. */
  readonly #used: [addr: number, bytes: number][] = [[0, PAGE_SIZE]];

  constructor(memory: number | ArrayBufferLike, options: { mapped?: boolean } = {}) {
    const buffer = typeof memory === "number" ? new ArrayBuffer(memory) : memory;
    this.bytes = buffer.byteLength;
    this.u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    if (options.mapped === false) return;
    this.view = (addr, bytes) => this.u8.subarray(addr, addr + bytes);
    this.addrOf = (data) => (data.buffer === buffer ? (data.byteOffset as PhysAddr) : undefined);
  }

  alloc(bytes: number, align: number): PhysAddr {
    let at = 0;
    for (let row = 0; row <= this.#used.length; row++) {
      const [start, length] = this.#used[row] ?? [this.bytes, 0];
      if (at + bytes <= start) {
        this.#used.splice(row, 0, [at, bytes]);
        this.u8.fill(0, at, at + bytes);
        return at as PhysAddr;
      }
      at = Math.ceil((start + length) / align) * align;
    }
    return panic("SimRam.alloc: out of memory", bytes);
  }

  free(addr: PhysAddr): void {
    const row = this.#used.findIndex(([at]) => at === addr);
    assert(row > 0, "SimRam.free: nothing was allocated there");
    this.#used.splice(row, 1);
  }

  /** Areas in use beside the reserved page; a driver that closed has none. */
  get areas(): number {
    return this.#used.length - 1;
  }

  read(addr: PhysAddr, into: Uint8Array): void {
    assert(addr + into.length <= this.bytes, "SimRam.read: beyond memory");
    into.set(this.u8.subarray(addr, addr + into.length));
  }

  write(addr: PhysAddr, from: Uint8Array): void {
    assert(addr + from.length <= this.bytes, "SimRam.write: beyond memory");
    this.u8.set(from, addr);
  }

  load16(addr: PhysAddr): number {
    return Atomics.load(this.#u16, addr / 2);
  }

  publish16(addr: PhysAddr, value: number): void {
    Atomics.store(this.#u16, addr / 2, value);
  }
}
