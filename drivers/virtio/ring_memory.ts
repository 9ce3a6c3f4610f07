/**
 * Memory of one ring as words. Where the Dma can be mapped the words are the memory itself; elsewhere they are a private
 * mirror, pushed before the device looks and pulled before we do. Ring code is the same in both cases.
 *
 * - u16, u32        the words, from the start of the area
 * - push(at, n)     what we wrote in [at, at + n) becomes visible (a copy in the mirror case, else nothing)
 * - pull(at, n)     what the device wrote in [at, at + n) becomes readable
 * - load16, publish16   an index word, acquire and release
 *
 * Nothing read from these words may be trusted twice: a hostile peer can change them at any time.
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";

export class RingMemory {
  readonly base: PhysAddr;
  readonly bytes: number;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly #dma: Dma;
  /** The mirror; undefined when the words are the memory itself. */
  readonly #mirror: Uint8Array | undefined;

  /** An area that is there already (`base`), or a new one. */
  constructor(dma: Dma, bytes: number, align: number, base?: PhysAddr) {
    assert(bytes % 4 === 0, "RingMemory: an area is whole 32-bit words");
    this.#dma = dma;
    this.bytes = bytes;
    this.base = base ?? dma.alloc(bytes, Math.max(align, 4));
    const view = dma.view?.(this.base, bytes);
    const words = view !== undefined && view.byteOffset % 4 === 0 ? view : new Uint8Array(bytes);
    this.#mirror = words === view ? undefined : words;
    this.u16 = new Uint16Array(words.buffer, words.byteOffset, bytes >> 1);
    this.u32 = new Uint32Array(words.buffer, words.byteOffset, bytes >> 2);
    if (this.#mirror !== undefined) dma.read(this.base, this.#mirror);
  }

  addr(at: number): PhysAddr {
    return (this.base + at) as PhysAddr;
  }

  push(at: number, bytes: number): void {
    if (this.#mirror !== undefined) this.#dma.write(this.addr(at), this.#mirror.subarray(at, at + bytes));
  }

  pull(at: number, bytes: number): void {
    if (this.#mirror !== undefined) this.#dma.read(this.addr(at), this.#mirror.subarray(at, at + bytes));
  }

  load16(at: number): number {
    return this.#dma.load16(this.addr(at));
  }

  publish16(at: number, value: number): void {
    this.u16[at >> 1] = value;
    this.#dma.publish16(this.addr(at), value);
  }

  /** Zeroes the area. */
  clear(): void {
    this.u32.fill(0);
    this.push(0, this.bytes);
  }

  free(): void {
    this.#dma.free(this.base);
  }
}
