/**
 * Keys of the last `entries` pages that went, each with a small value: what a policy remembers of pages that are gone.
 * A ring in order of leaving; the newest entry overwrites the oldest place, taken or not, as S3-FIFO's ghost queue and
 * Linux's shadow entries age by what has gone since.
 *
 * - add(key, value)   the key must not be here
 * - take(key)         value and forgets it, or -1
 */
import type { EvictMemory } from "../../kernel/abi/evict.ts";
import { NO_KEY } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { KeyTable } from "../../kernel/lib/key_table.ts";

export class GhostRing {
  private readonly entries: number;
  /** Key -> place in the ring. */
  private readonly table: KeyTable;
  private readonly keys: Float64Array;
  private readonly values: Int32Array;
  /** [0] next place to write. */
  private readonly hand: Int32Array;

  constructor(memory: EvictMemory, entries: number) {
    this.entries = entries;
    this.table = new KeyTable(memory, entries);
    this.keys = memory.float64(entries);
    this.values = memory.int32(entries);
    this.hand = memory.int32(1);
  }

  reset(): void {
    this.table.clear();
    this.keys.fill(NO_KEY);
    this.hand[0] = 0;
  }

  add(key: number, value: number): void {
    const at = this.hand[0]!;
    const old = this.keys[at]!;
    if (old !== NO_KEY) this.table.delete(old);
    this.keys[at] = key;
    this.values[at] = value;
    this.table.set(key, at);
    this.hand[0] = at + 1 === this.entries ? 0 : at + 1;
  }

  take(key: number): number {
    const at = this.table.delete(key);
    if (at < 0) return -1;
    this.keys[at] = NO_KEY;
    return this.values[at]!;
  }

  check(): void {
    let live = 0;
    for (let at = 0; at < this.entries; at++) {
      const key = this.keys[at]!;
      if (key === NO_KEY) continue;
      live++;
      assert(this.table.get(key) === at, "GhostRing: a key's place is not where the table says");
    }
    assert(live === this.table.size, "GhostRing: the table holds other keys than the ring");
  }
}
