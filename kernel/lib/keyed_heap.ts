/**
 * Binary min-heap of small integers (`slots`) by a number key, with the position of each slot kept, so that any slot can
 * be re-keyed or removed in O(log n). Ties: the lower `tie` first, then the lower slot; so the order is total.
 * Many heaps can share one slot space (a slot is in at most one of them): `pos`, `key` and `tie` are per slot.
 *
 *   items[base]          number of slots in this heap
 *   items[base + 1 ...]  the heap
 *
 * Everything is typed arrays handed in by the owner, so a heap can live in shared memory and be copied with it.
 * The owner holds whatever lock guards them. Bound: capacity as given by the owner; push panics beyond it.
 */
import { assert } from "./assert.ts";

export class KeyedHeap {
  readonly key: Float64Array;
  readonly tie: Float64Array;
  readonly pos: Int32Array;
  readonly items: Int32Array;
  readonly base: number;
  readonly capacity: number;

  /** `pos` holds 0 for a slot that is in no heap. */
  constructor(
    key: Float64Array,
    tie: Float64Array,
    pos: Int32Array,
    items: Int32Array,
    base: number,
    capacity: number,
  ) {
    this.key = key;
    this.tie = tie;
    this.pos = pos;
    this.items = items;
    this.base = base;
    this.capacity = capacity;
  }

  get size(): number {
    return this.items[this.base]!;
  }

  /** Slot with the least key, -1 when empty. */
  first(): number {
    return this.items[this.base]! === 0 ? -1 : this.items[this.base + 1]!;
  }

  /** Puts a slot in, or moves it to where its new key belongs. */
  set(slot: number, key: number, tie: number): void {
    const { items, base } = this;
    let at = this.pos[slot]!;
    if (at === 0) {
      at = items[base]! + 1;
      assert(at <= this.capacity, "KeyedHeap: more slots than its capacity");
      items[base] = at;
      this.key[slot] = key;
      this.tie[slot] = tie;
      this.#up(slot, at);
      return;
    }
    const earlier = key < this.key[slot]! || (key === this.key[slot]! && tie < this.tie[slot]!);
    this.key[slot] = key;
    this.tie[slot] = tie;
    if (earlier) this.#up(slot, at);
    else this.#down(slot, at);
  }

  /** Takes a slot out; nothing happens when it is in no heap. */
  remove(slot: number): void {
    const { items, base, pos } = this;
    const at = pos[slot]!;
    if (at === 0) return;
    pos[slot] = 0;
    const last = items[base]!;
    items[base] = last - 1;
    if (at === last) return;
    const moved = items[base + last]!;
    if (at > 1 && this.#before(moved, items[base + (at >> 1)]!)) this.#up(moved, at);
    else this.#down(moved, at);
  }

  #before(a: number, b: number): boolean {
    const ka = this.key[a]!;
    const kb = this.key[b]!;
    if (ka !== kb) return ka < kb;
    const ta = this.tie[a]!;
    const tb = this.tie[b]!;
    return ta !== tb ? ta < tb : a < b;
  }

  #up(slot: number, from: number): void {
    const { items, base, pos } = this;
    let at = from;
    while (at > 1) {
      const parent = items[base + (at >> 1)]!;
      if (!this.#before(slot, parent)) break;
      items[base + at] = parent;
      pos[parent] = at;
      at >>= 1;
    }
    items[base + at] = slot;
    pos[slot] = at;
  }

  #down(slot: number, from: number): void {
    const { items, base, pos } = this;
    const size = items[base]!;
    let at = from;
    for (;;) {
      let child = at * 2;
      if (child > size) break;
      if (child < size && this.#before(items[base + child + 1]!, items[base + child]!)) child++;
      const next = items[base + child]!;
      if (!this.#before(next, slot)) break;
      items[base + at] = next;
      pos[next] = at;
      at = child;
    }
    items[base + at] = slot;
    pos[slot] = at;
  }
}

/** Panics unless every parent comes before its children and positions agree. */
export function checkHeap(heap: KeyedHeap): void {
  const { items, base, key, tie, pos } = heap;
  for (let at = 1; at <= items[base]!; at++) {
    const slot = items[base + at]!;
    assert(pos[slot] === at, "checkHeap: a position disagrees with the heap");
    if (at === 1) continue;
    const parent = items[base + (at >> 1)]!;
    const ordered =
      key[parent]! < key[slot]! ||
      (key[parent]! === key[slot]! && (tie[parent]! < tie[slot]! || (tie[parent]! === tie[slot]! && parent < slot)));
    assert(ordered, "checkHeap: a child comes before its parent");
  }
}
