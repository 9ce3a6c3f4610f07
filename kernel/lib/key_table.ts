/**
 * A hash table from integer keys (0 .. 2^53 - 1) to small integers (0 .. 2^31 - 2) in two typed arrays: open addressing,
 * linear probing, deletion by shifting back (no tombstones, so that it never degrades). Half full at most.
 *
 * - get(key)          value, or -1
 * - set(key, value)   adds or changes; panics beyond `entries` keys
 * - delete(key)       value that was there, or -1
 * - clear()
 */
import { assert } from "./assert.ts";

/** What the table needs to be built: kernel/lib/growing_arena.ts or an eviction policy's memory. */
interface Memory {
  int32(length: number): Int32Array;
  float64(length: number): Float64Array;
}

/** The two halves are mixed by odd constants; the product's high bits are the good ones. */
function hashKey(key: number): number {
  const low = key | 0;
  const high = (key / 2 ** 32) | 0;
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

export class KeyTable {
  readonly entries: number;
  private readonly mask: number;
  private readonly keys: Float64Array;
  /** Value + 1; 0 is an empty place. */
  private readonly values: Int32Array;
  /** [0] keys in the table. */
  private readonly used: Int32Array;

  constructor(memory: Memory, entries: number) {
    let places = 4;
    while (places < entries * 2) places *= 2;
    this.entries = entries;
    this.mask = places - 1;
    this.keys = memory.float64(places);
    this.values = memory.int32(places);
    this.used = memory.int32(1);
  }

  get size(): number {
    return this.used[0]!;
  }

  clear(): void {
    this.values.fill(0);
    this.used[0] = 0;
  }

  get(key: number): number {
    const { keys, values, mask } = this;
    for (let at = hashKey(key) & mask; ; at = (at + 1) & mask) {
      const value = values[at]!;
      if (value === 0 || keys[at] === key) return value - 1;
    }
  }

  set(key: number, value: number): void {
    const { keys, values, mask } = this;
    let at = hashKey(key) & mask;
    while (values[at] !== 0 && keys[at] !== key) at = (at + 1) & mask;
    if (values[at] === 0) {
      assert(this.used[0]! < this.entries, "KeyTable.set: more keys than the table was made for");
      this.used[0]!++;
      keys[at] = key;
    }
    values[at] = value + 1;
  }

  delete(key: number): number {
    const { keys, values, mask } = this;
    let hole = hashKey(key) & mask;
    while (values[hole] !== 0 && keys[hole] !== key) hole = (hole + 1) & mask;
    const value = values[hole]! - 1;
    if (value < 0) return -1;
    this.used[0]!--;
    for (let at = (hole + 1) & mask; values[at] !== 0; at = (at + 1) & mask) {
      // A key may move into the hole only if its own place is not between hole and here.
      const home = hashKey(keys[at]!) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      keys[hole] = keys[at]!;
      values[hole] = values[at]!;
      hole = at;
    }
    values[hole] = 0;
    return value;
  }
}
