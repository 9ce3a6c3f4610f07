/**
 * Belady's MIN (1966): the page whose next use is farthest away goes. It needs the future, so it is no policy but the
 * bound: no policy that must take in what it misses has fewer misses.
 *
 * Resident slots lie in a binary heap by next use, farthest first; O(log capacity) a request.
 *
 *   heap[0]  farthest        placeOf[slot] is heap's inverse
 */
import { assert } from "../../kernel/lib/assert.ts";

/** Position of the same key's next request; trace.length when there is none. */
function nextUses(trace: Int32Array, keys: number): Int32Array {
  const next = new Int32Array(trace.length);
  const seen = new Int32Array(keys).fill(trace.length);
  for (let at = trace.length - 1; at >= 0; at--) {
    const key = trace[at]!;
    next[at] = seen[key]!;
    seen[key] = at;
  }
  return next;
}

/** Moves `slot` towards the root from `place` until its parent's next use is not nearer. */
function siftUp(heap: Int32Array, placeOf: Int32Array, use: Int32Array, slot: number, from: number): void {
  let place = from;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const above = heap[parent]!;
    if (use[above]! >= use[slot]!) break;
    heap[place] = above;
    placeOf[above] = place;
    place = parent;
  }
  heap[place] = slot;
  placeOf[slot] = place;
}

/** Misses of MIN on a trace of dense keys 0..keys. */
export function minMisses(trace: Int32Array, keys: number, capacity: number): number {
  assert(capacity >= 1, "minMisses: a cache has one slot or more");
  const next = nextUses(trace, keys);
  const slotOf = new Int32Array(keys).fill(-1);
  const keyOf = new Int32Array(capacity);
  const use = new Int32Array(capacity);
  const heap = new Int32Array(capacity);
  const placeOf = new Int32Array(capacity);
  let resident = 0;
  let misses = 0;
  for (let at = 0; at < trace.length; at++) {
    const key = trace[at]!;
    let slot = slotOf[key]!;
    if (slot < 0) {
      misses++;
      slot = resident < capacity ? resident++ : heap[0]!;
      if (misses > capacity) slotOf[keyOf[slot]!] = -1;
      else placeOf[slot] = slot;
      keyOf[slot] = key;
      slotOf[key] = slot;
    }
    // A next use only moves away: the slot can only rise. The root, reused, is the farthest again or is passed below.
    const nearer = next[at]! < use[slot]! && placeOf[slot] === 0;
    use[slot] = next[at]!;
    if (nearer) siftDown(heap, placeOf, use, slot, resident);
    else siftUp(heap, placeOf, use, slot, placeOf[slot]!);
  }
  return misses;
}

/** The root got a nearer use: sink it among `count`. */
function siftDown(heap: Int32Array, placeOf: Int32Array, use: Int32Array, slot: number, count: number): void {
  let place = 0;
  for (;;) {
    let child = place * 2 + 1;
    if (child >= count) break;
    if (child + 1 < count && use[heap[child + 1]!]! > use[heap[child]!]!) child++;
    const below = heap[child]!;
    if (use[below]! <= use[slot]!) break;
    heap[place] = below;
    placeOf[below] = place;
    place = child;
  }
  heap[place] = slot;
  placeOf[slot] = place;
}
