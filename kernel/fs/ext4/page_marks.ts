/**
 * What ext4 knows about cached pages and the page cache does not: which blocks of a page have to be written, and which of
 * these have no place on the disk yet (Linux: buffer heads, and the delayed ones of the extent status tree). A block is
 * 1 KiB to a page, so a page has up to four. Only pages that the cache may not drop have marks: its slots bound the table.
 *
 *   word | 8: away | 7..4: delayed | 3..0: dirty |        0: no entry
 *
 *   delayed    promised a block that write-back will allocate; implies dirty
 *   away       on its way to the disk: data_io.ts
 *
 * - get(row, index), set(row, index, word)    row of the inode (icache.ts) and page
 * - each(row, first, last, visit)             pages with marks, in no order; visit may change the marks of its page
 * - count[row]                                pages with marks
 */
import type { EvictMemory } from "../../abi/evict.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { KeyTable } from "../../lib/key_table.ts";
import { listAdd, listDel, listInit } from "../../lib/slot_list.ts";

export const MARK_DIRTY = 0xf;
export const MARK_DELAYED = 0xf0;
export const MARK_DELAYED_SHIFT = 4;
export const MARK_AWAY = 0x100;

const NIL = -1;

export class PageMarks {
  readonly count: Int32Array;
  /** Blocks in a page. */
  readonly perPage: number;
  readonly #entries: number;
  readonly #table: KeyTable;
  readonly #row: Int32Array;
  readonly #index: Float64Array;
  readonly #word: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  /** [0] first free entry, chained by next. */
  readonly #free: Int32Array;

  constructor(memory: EvictMemory, pages: number, rows: number, blockSize: number) {
    this.perPage = PAGE_SIZE / blockSize;
    assert(this.perPage >= 1 && this.perPage <= 4, "PageMarks: one to four blocks are a page");
    this.#entries = pages;
    this.count = memory.int32(rows);
    this.#table = new KeyTable(memory, pages);
    this.#row = memory.int32(pages);
    this.#index = memory.float64(pages);
    this.#word = memory.int32(pages);
    this.#next = memory.int32(pages + rows);
    this.#prev = memory.int32(pages + rows);
    this.#free = memory.int32(1);
  }

  reset(): void {
    this.count.fill(0);
    this.#table.clear();
    for (let entry = 0; entry < this.#entries; entry++)
      this.#next[entry] = entry + 1 === this.#entries ? NIL : entry + 1;
    for (let row = 0; row < this.count.length; row++) listInit(this.#next, this.#prev, this.#entries + row);
    this.#free[0] = 0;
  }

  get(row: number, index: number): number {
    const entry = this.#table.get(row * 2 ** 32 + index);
    return entry === NIL ? 0 : this.#word[entry]!;
  }

  set(row: number, index: number, word: number): void {
    assert((((word & MARK_DELAYED) >> MARK_DELAYED_SHIFT) & ~word) === 0, "PageMarks: a delayed block is dirty");
    const key = row * 2 ** 32 + index;
    const entry = this.#table.get(key);
    if (entry !== NIL) {
      if (word === 0) this.#drop(entry, key);
      else this.#word[entry] = word;
    } else if (word !== 0) this.#add(row, index, key, word);
  }

  #add(row: number, index: number, key: number, word: number): void {
    const entry = this.#free[0]!;
    assert(entry !== NIL, "PageMarks: more pages have marks than the cache has");
    this.#free[0] = this.#next[entry]!;
    this.#row[entry] = row;
    this.#index[entry] = index;
    this.#word[entry] = word;
    this.#table.set(key, entry);
    listAdd(this.#next, this.#prev, this.#entries + row, entry);
    this.count[row]!++;
  }

  #drop(entry: number, key: number): void {
    this.#table.delete(key);
    listDel(this.#next, this.#prev, entry);
    this.count[this.#row[entry]!]!--;
    this.#word[entry] = 0;
    this.#next[entry] = this.#free[0]!;
    this.#free[0] = entry;
  }

  each(row: number, first: number, last: number, visit: (index: number, word: number) => void): void {
    if (last - first < this.count[row]!) {
      for (let index = first; index <= last; index++) {
        const word = this.get(row, index);
        if (word !== 0) visit(index, word);
      }
      return;
    }
    const head = this.#entries + row;
    for (let entry = this.#next[head]!; entry !== head;) {
      const next = this.#next[entry]!;
      const index = this.#index[entry]!;
      if (index >= first && index <= last) visit(index, this.#word[entry]!);
      entry = next;
    }
  }
}
