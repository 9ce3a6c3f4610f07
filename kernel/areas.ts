/**
 * What of a task's address space is mapped, and which pages of that have a frame (Linux: vm_area_struct and page tables in
 * one). Frames have no content yet, so a list of ranges is enough: by task, ascending, apart from each other,
 *
 *   row p: [first page, page behind the last, State] ...        up to AREAS_MAX
 *
 * - paint(p, first, end, state)      ENOMEM, and nothing has changed: there would be more ranges than a task may have
 * - count(p, first, end, state)      pages of a range in that state
 * - behind(p, first, end, pages)     page behind the first so many that are mapped and not resident
 * - gap(p, pages)                    first page of the lowest room for so many
 */
import { ENOMEM } from "./abi/errno.ts";
import { AREAS_MAX } from "./abi/limits.ts";
import type { Errno } from "./abi/units.ts";
import type { Arena } from "./lib/arena.ts";
import { assert } from "./lib/assert.ts";

/** Resident pages are mapped, too. */
export const State = { Free: 0, Mapped: 1, Resident: 2 } as const;
type Range = readonly [first: number, end: number, state: number];
const WORDS = 3;

export class Areas {
  readonly #counts: Int32Array;
  readonly #ranges: Float64Array;

  constructor(arena: Arena, rows: number) {
    this.#counts = arena.i32(rows);
    this.#ranges = arena.f64(rows * AREAS_MAX * WORDS);
  }

  static bytes(rows: number): number {
    return rows * (4 + AREAS_MAX * WORDS * 8) + 2 * 64;
  }

  clear(p: number): void {
    this.#counts[p] = 0;
  }

  *#of(p: number): Generator<Range> {
    for (let n = 0; n < this.#counts[p]!; n++) {
      const at = (p * AREAS_MAX + n) * WORDS;
      yield [this.#ranges[at]!, this.#ranges[at + 1]!, this.#ranges[at + 2]!];
    }
  }

  paint(p: number, first: number, end: number, state: number): 0 | Errno {
    if (first >= end) return 0;
    const ranges: [first: number, end: number, state: number][] = [];
    const add = (from: number, to: number, as: number): void => {
      const last = ranges.at(-1);
      if (from >= to || as === State.Free) return;
      if (last !== undefined && last[1] === from && last[2] === as) last[1] = to;
      else ranges.push([from, to, as]);
    };
    let isIn = false;
    for (const [from, to, as] of this.#of(p)) {
      add(from, Math.min(to, first), as);
      if (!isIn && to > first) {
        isIn = true;
        add(first, end, state);
      }
      add(Math.max(from, end), to, as);
    }
    if (!isIn) add(first, end, state);
    if (ranges.length > AREAS_MAX) return ENOMEM;
    this.#counts[p] = ranges.length;
    for (const [n, range] of ranges.entries()) this.#ranges.set(range, (p * AREAS_MAX + n) * WORDS);
    return 0;
  }

  count(p: number, first: number, end: number, state: number): number {
    let pages = 0;
    for (const [from, to, as] of this.#of(p))
      if (as === state) pages += Math.max(0, Math.min(to, end) - Math.max(from, first));
    return pages;
  }

  /** All pages in that state. */
  total(p: number, state: number): number {
    return this.count(p, 0, Infinity, state);
  }

  isMapped(p: number, first: number, end: number): boolean {
    return this.count(p, first, end, State.Mapped) + this.count(p, first, end, State.Resident) === end - first;
  }

  /** Page behind the first `pages` mapped ones of a range that are not resident. */
  behind(p: number, first: number, end: number, pages: number): number {
    let left = pages;
    for (const [from, to, as] of this.#of(p)) {
      if (left === 0) break;
      if (as !== State.Mapped || to <= first || from >= end) continue;
      const start = Math.max(from, first);
      const count = Math.min(left, Math.min(to, end) - start);
      left -= count;
      if (left === 0) return start + count;
    }
    return first;
  }

  gap(p: number, pages: number): number {
    let first = 0;
    for (const [from, to] of this.#of(p)) {
      if (from - first >= pages) break;
      first = to;
    }
    return first;
  }

  /** Panics when the ranges of a task are not in order. */
  check(p: number): void {
    let [last, as]: [number, number] = [0, State.Free];
    for (const [from, to, state] of this.#of(p)) {
      assert(from >= last && to > from && state !== State.Free, "Areas.check: ranges out of order");
      assert(from > last || state !== as, "Areas.check: two ranges that are one");
      [last, as] = [to, state];
    }
  }
}
