/**
 * The blocks of a new image of which only few are written: what mkfs works on. A block that nobody wrote reads as zeroes
 * and takes no memory, so an image of a tebibyte can be made.
 *
 *   bytes | slot 0: zeroes, for every unwritten block | slot 1 | slot 2 | ... in the order of first writing
 *
 * - at, writable, fresh, forget    as EditBlocks has them; addresses never move
 * - each(visit)                    every written block, ascending
 */
import { assert } from "../lib/assert.ts";
import type { EditBlocks } from "./blocks.ts";

/** Of written blocks together; pages that nobody touches cost no memory. */
const BYTES_MAX = 2 ** 31;

export class SparseBlocks implements EditBlocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly count: number;
  readonly #slots = new Map<number, number>();

  constructor(blockSize: number, count: number) {
    this.blockSize = blockSize;
    this.count = count;
    this.bytes = new Uint8Array(Math.min((count + 1) * blockSize, BYTES_MAX));
    this.view = new DataView(this.bytes.buffer);
  }

  at(block: number): number {
    return block >= 0 && block < this.count ? (this.#slots.get(block) ?? 0) * this.blockSize : -1;
  }

  writable(block: number): number {
    assert(block >= 0 && block < this.count, "SparseBlocks.writable: no such block");
    let slot = this.#slots.get(block);
    if (slot === undefined) {
      slot = this.#slots.size + 1;
      assert((slot + 1) * this.blockSize <= this.bytes.length, "SparseBlocks: no room for another block");
      this.#slots.set(block, slot);
    }
    return slot * this.blockSize;
  }

  fresh(block: number): number {
    const at = this.writable(block);
    this.bytes.fill(0, at, at + this.blockSize);
    return at;
  }

  forget(): void {}

  each(visit: (block: number, content: Uint8Array) => void): void {
    for (const block of [...this.#slots.keys()].sort((a, b) => a - b)) {
      const at = this.at(block);
      visit(block, this.bytes.subarray(at, at + this.blockSize));
    }
  }
}
