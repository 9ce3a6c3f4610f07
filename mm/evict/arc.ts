/**
 * ARC (Megiddo and Modha, FAST 2003): pages used once (T1) and more often (T2), each with a list of keys that left it
 * (B1, B2), and a target p for T1 that a ghost's return moves towards its own side.
 *
 *   L1 = T1 + B1, |L1| <= c                 T1 [newest .. oldest] -> B1 [newest .. oldest] ->
 *   L1 + L2, <= 2c                          T2 [newest .. oldest] -> B2 [newest .. oldest] ->
 *
 * evict(key) is the paper's adaptation and REPLACE, insert() the move to T1 or T2. The paper's cache is always full
 * when it replaces; here slots may be free (removed pages, memory wanted), so ghosts are trimmed at insert as well.
 * Busy pages go to the front of their list; when all of the side chosen are busy the other side gives one.
 */
import type { EvictMemory, EvictOptions, EvictPolicy, EvictPolicyType } from "../../kernel/abi/evict.ts";
import { NO_KEY, NO_SLOT } from "../../kernel/abi/evict.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { KeyTable } from "../../kernel/lib/key_table.ts";
import { listAdd, listCount, listDel, listInit } from "../../kernel/lib/slot_list.ts";
import { Queues } from "./queues.ts";

/** Queues of slots T1, T2; lists of ghosts B1, B2 under the same numbers. */
const ONCE = 0;
const OFTEN = 1;

class Arc implements EvictPolicy {
  private readonly capacity: number;
  private readonly queues: Queues;
  private readonly keys: Float64Array;
  /** [0] target size of T1; [1] the key p was last adapted for, so that a second evict() for it does not again. */
  private readonly target: Float64Array;
  /** Ghost nodes 0..c (one more than c while a page is on its way), then the heads of B1, B2, and of the unused. */
  private readonly nodes: number;
  private readonly next: Int32Array;
  private readonly prev: Int32Array;
  private readonly ghostKey: Float64Array;
  private readonly ghostList: Uint8Array;
  private readonly ghosts: Int32Array;
  private readonly table: KeyTable;

  constructor(options: EvictOptions, memory: EvictMemory) {
    this.capacity = options.capacity;
    this.queues = new Queues(options, memory, 2);
    this.keys = memory.float64(options.capacity);
    this.target = memory.float64(2);
    this.nodes = options.capacity * 2 + 1;
    this.next = memory.int32(this.nodes + 3);
    this.prev = memory.int32(this.nodes + 3);
    this.ghostKey = memory.float64(this.nodes);
    this.ghostList = memory.uint8(this.nodes);
    this.ghosts = memory.int32(2);
    this.table = new KeyTable(memory, this.nodes);
  }

  reset(): void {
    const { nodes, next, prev } = this;
    this.queues.reset();
    this.target[0] = 0;
    this.target[1] = NO_KEY;
    for (let list = 0; list < 3; list++) listInit(next, prev, nodes + list);
    for (let node = 0; node < nodes; node++) listAdd(next, prev, nodes + 2, node);
    this.ghosts.fill(0);
    this.table.clear();
  }

  private addGhost(list: number, key: number): void {
    const node = this.next[this.nodes + 2]!;
    assert(node < this.nodes, "arc: more ghosts than twice the cache");
    listDel(this.next, this.prev, node);
    listAdd(this.next, this.prev, this.nodes + list, node);
    this.ghostKey[node] = key;
    this.ghostList[node] = list;
    this.ghosts[list]!++;
    this.table.set(key, node);
  }

  private dropGhost(node: number): void {
    this.table.delete(this.ghostKey[node]!);
    this.ghosts[this.ghostList[node]!]!--;
    listDel(this.next, this.prev, node);
    listAdd(this.next, this.prev, this.nodes + 2, node);
  }

  private dropOldest(list: number): void {
    this.dropGhost(this.prev[this.nodes + list]!);
  }

  /** Cases II and III: a key of B1 raises p, one of B2 lowers it, by the ratio of the ghosts, at least 1. */
  private adapt(key: number, list: number): void {
    if (this.target[1] === key) return;
    this.target[1] = key;
    const once = this.ghosts[ONCE]!;
    const often = this.ghosts[OFTEN]!;
    const p = this.target[0]!;
    if (list === ONCE) this.target[0] = Math.min(this.capacity, p + Math.max(1, often / once));
    else this.target[0] = Math.max(0, p - Math.max(1, once / often));
  }

  /** REPLACE: the oldest of T1 when it is over its target, else of T2; its key becomes a ghost. */
  private replace(inB2: boolean): number {
    const { queues } = this;
    const once = queues.count[ONCE]!;
    const p = this.target[0]!;
    const side = once > 0 && (once > p || (inB2 && once === p)) ? ONCE : OFTEN;
    const first = queues.takeIdle(side);
    const slot = first === NO_SLOT ? queues.takeIdle(1 - side) : first;
    if (slot === NO_SLOT) return NO_SLOT;
    this.addGhost(first === NO_SLOT ? 1 - side : side, this.keys[slot]!);
    return slot;
  }

  hit(slot: number): void {
    this.queues.move(OFTEN, slot);
  }

  evict(key: number): number {
    const { queues } = this;
    const node = key === NO_KEY ? -1 : this.table.get(key);
    if (node >= 0) {
      this.adapt(key, this.ghostList[node]!);
      return this.replace(this.ghostList[node] === OFTEN);
    }
    // Case IV: with T1 alone as large as the cache its oldest leaves without a ghost.
    if (key !== NO_KEY && queues.count[ONCE] === this.capacity) return queues.takeIdle(ONCE);
    if (key !== NO_KEY) this.trim();
    return this.replace(false);
  }

  /** Makes room for one new key in L1, and in both together. */
  private trim(): void {
    const { queues, ghosts, capacity } = this;
    if (queues.count[ONCE]! + ghosts[ONCE]! >= capacity && ghosts[ONCE]! > 0) this.dropOldest(ONCE);
    const all = queues.count[ONCE]! + queues.count[OFTEN]! + ghosts[ONCE]! + ghosts[OFTEN]!;
    if (all >= capacity * 2) this.dropOldest(OFTEN);
  }

  insert(slot: number, key: number): void {
    const node = this.table.get(key);
    this.keys[slot] = key;
    if (node >= 0) {
      this.adapt(key, this.ghostList[node]!);
      this.dropGhost(node);
      this.queues.add(OFTEN, slot);
    } else {
      this.trim();
      this.queues.add(ONCE, slot);
    }
    this.target[1] = NO_KEY;
  }

  remove(slot: number): void {
    this.queues.del(slot);
  }

  check(): void {
    const { queues, ghosts, capacity, nodes } = this;
    queues.check();
    for (const list of [ONCE, OFTEN])
      assert(listCount(this.next, this.prev, nodes + list, nodes) === ghosts[list], "arc: a ghost count is wrong");
    assert(this.table.size === ghosts[ONCE]! + ghosts[OFTEN]!, "arc: the table holds other ghosts than the lists");
    assert(this.target[0]! >= 0 && this.target[0]! <= capacity, "arc: the target is outside the cache");
    const once = queues.count[ONCE]! + ghosts[ONCE]!;
    assert(once <= capacity, "arc: L1 is longer than the cache");
    assert(once + queues.count[OFTEN]! + ghosts[OFTEN]! <= capacity * 2, "arc: L1 and L2 are over twice the cache");
  }
}

export const arc: EvictPolicyType = {
  name: "arc",
  help: "adaptive replacement: recency against frequency (Megiddo and Modha, FAST 2003)",
  create: (options, memory) => new Arc(options, memory),
};
