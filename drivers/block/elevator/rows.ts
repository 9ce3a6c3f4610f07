/**
 * Containers of row numbers for elevators, without allocation after they are made.
 *
 * - RowFifo     a list in arrival order from which any row can be taken; links by row
 * - RowsBySector   rows sorted by first sector; insertion O(waiting) by binary search and one move
 */
import { assert } from "../../../kernel/lib/assert.ts";

const NONE = -1;

export class RowFifo {
  count = 0;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  #head = NONE;
  #tail = NONE;

  constructor(rows: number) {
    this.#next = new Int32Array(rows).fill(NONE);
    this.#prev = new Int32Array(rows).fill(NONE);
  }

  /** The oldest row, or -1. */
  get head(): number {
    return this.#head;
  }

  push(row: number): void {
    this.#prev[row] = this.#tail;
    this.#next[row] = NONE;
    if (this.#tail === NONE) this.#head = row;
    else this.#next[this.#tail] = row;
    this.#tail = row;
    this.count++;
  }

  remove(row: number): void {
    const next = this.#next[row]!;
    const prev = this.#prev[row]!;
    assert(this.#head === row || prev !== NONE, "RowFifo.remove: the row is not here");
    if (prev === NONE) this.#head = next;
    else this.#next[prev] = next;
    if (next === NONE) this.#tail = prev;
    else this.#prev[next] = prev;
    this.#prev[row] = NONE;
    this.#next[row] = NONE;
    this.count--;
  }

  /** Takes the oldest row; -1 when there is none. */
  shift(): number {
    const row = this.#head;
    if (row !== NONE) this.remove(row);
    return row;
  }
}

export class RowsBySector {
  count = 0;
  readonly #rows: Int32Array;
  readonly #sector: Float64Array;

  constructor(rows: number, sector: Float64Array) {
    this.#rows = new Int32Array(rows);
    this.#sector = sector;
  }

  /** Index of the first row at or after `sector`; count when there is none. */
  #lowerBound(sector: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sector[this.#rows[middle]!]! < sector) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  insert(row: number): void {
    let at = this.#lowerBound(this.#sector[row]!);
    // Equal sectors keep their order of arrival.
    while (at < this.count && this.#sector[this.#rows[at]!] === this.#sector[row]) at++;
    this.#rows.copyWithin(at + 1, at, this.count);
    this.#rows[at] = row;
    this.count++;
  }

  remove(row: number): void {
    let at = this.#lowerBound(this.#sector[row]!);
    while (at < this.count && this.#rows[at] !== row) at++;
    assert(at < this.count, "RowsBySector.remove: the row is not here");
    this.#rows.copyWithin(at, at + 1, this.count);
    this.count--;
  }

  /** The first row at or after `sector`, or -1. */
  from(sector: number): number {
    const at = this.#lowerBound(sector);
    return at === this.count ? NONE : this.#rows[at]!;
  }

  /** Sorts again after a row's sector has changed (a merge at its front). */
  resort(row: number): void {
    let at = 0;
    while (this.#rows[at] !== row) at++;
    this.#rows.copyWithin(at, at + 1, this.count);
    this.count--;
    this.insert(row);
  }
}
