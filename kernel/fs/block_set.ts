/**
 * A set of block numbers in typed arrays, to be gone through by index: what a call or a transaction has forgotten.
 *
 * - add(block), delete(block), has(block)
 * - size, block(n)      n < size, in no order; a deletion moves the last one into the gap
 * - clear()             in time proportional to the size
 */
import type { EvictMemory } from "../abi/evict.ts";
import { assert } from "../lib/assert.ts";
import { KeyTable } from "../lib/key_table.ts";

export class BlockSet {
  readonly entries: number;
  readonly #blocks: Float64Array;
  readonly #where: KeyTable;

  constructor(memory: EvictMemory, entries: number) {
    this.entries = entries;
    this.#blocks = memory.float64(entries);
    this.#where = new KeyTable(memory, entries);
  }

  get size(): number {
    return this.#where.size;
  }

  block(n: number): number {
    return this.#blocks[n]!;
  }

  has(block: number): boolean {
    return this.#where.get(block) >= 0;
  }

  add(block: number): void {
    if (this.has(block)) return;
    assert(this.size < this.entries, "BlockSet.add: more blocks than it was made for");
    this.#blocks[this.size] = block;
    this.#where.set(block, this.size);
  }

  delete(block: number): boolean {
    const n = this.#where.delete(block);
    if (n < 0) return false;
    const last = this.size;
    if (n !== last) {
      const moved = this.#blocks[last]!;
      this.#blocks[n] = moved;
      this.#where.set(moved, n);
    }
    return true;
  }

  clear(): void {
    for (let n = this.size - 1; n >= 0; n--) this.#where.delete(this.#blocks[n]!);
  }
}
