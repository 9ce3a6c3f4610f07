/**
 * Slots of the buffer cache: contents of blocks, each a version, and who still needs it. Slots lie in one arena; the
 * journal's own blocks (descriptors, escaped copies, its superblock) lie behind them.
 *
 *   arena   | slot 0 | slot 1 | ... | slot `slots` - 1 || extra 0 | extra 1 | ... |
 *   index   block -> its newest slot        older, newer   slot -> slot: the versions of one block, newest first
 *
 *   state        list         is                                                             goes when
 *   Free         free         nothing
 *   Reading      -            on its way from the device                                     the read has ended
 *   Failed       Lru          not readable; told once                                        told, or evicted
 *   Clean        Lru          what the disk has                                              evicted, or superseded
 *   Staged       Staged       a version of the open call                                     the call ends
 *   Running      Running      of the running transaction                                     superseded, or it commits
 *   Committing   Committing   of the committing transaction                                  that is in the log
 *   Checkpoint   Checkpoint   committed, not at home; `row` is its transaction's             superseded, or written
 *   Writing      Writing      the same, on its way home                                      the write has ended
 *
 * Invariant: of one block there is at most one slot in each state but Writing and Free, and they are chained in the
 * order of the table, Staged first. A list is in the order in which its slots came, oldest at the back.
 */
import type { EvictMemory } from "../abi/evict.ts";
import { assert } from "../lib/assert.ts";
import { KeyTable } from "../lib/key_table.ts";
import { listAdd, listCount, listDel, listInit } from "../lib/slot_list.ts";

export const SlotState = {
  Free: 0,
  Reading: 1,
  Failed: 2,
  Clean: 3,
  Staged: 4,
  Running: 5,
  Committing: 6,
  Checkpoint: 7,
  Writing: 8,
} as const;

export const NO_SLOT = -1;

/** State -> its list; slots of Free and Reading are in none. */
const LIST = [NO_SLOT, NO_SLOT, 0, 0, 1, 2, 3, 4, 5];
const LISTS = 6;

export class BufferSlots {
  readonly slots: number;
  readonly blockSize: number;
  readonly arena: Uint8Array;
  readonly view: DataView;
  readonly index: KeyTable;
  readonly block: Float64Array;
  readonly state: Uint8Array;
  readonly older: Int32Array;
  readonly newer: Int32Array;
  /** The call that used it last: the open call's may not go. */
  readonly stamp: Float64Array;
  /** Checkpoint, Writing: row of its transaction. Reading: row of its request. Failed: the errno. */
  readonly row: Int32Array;
  readonly next: Int32Array;
  readonly prev: Int32Array;
  /** By state: slots that have it. */
  readonly count: Int32Array;
  readonly #freeHead: Int32Array;

  constructor(memory: EvictMemory, slots: number, extra: number, blockSize: number) {
    this.slots = slots;
    this.blockSize = blockSize;
    this.arena = memory.uint8((slots + extra) * blockSize);
    this.view = new DataView(this.arena.buffer, this.arena.byteOffset, this.arena.byteLength);
    this.index = new KeyTable(memory, slots);
    this.block = memory.float64(slots);
    this.state = memory.uint8(slots);
    this.older = memory.int32(slots);
    this.newer = memory.int32(slots);
    this.stamp = memory.float64(slots);
    this.row = memory.int32(slots);
    this.next = memory.int32(slots + LISTS);
    this.prev = memory.int32(slots + LISTS);
    this.count = memory.int32(LIST.length);
    this.#freeHead = memory.int32(1);
  }

  reset(): void {
    const { slots } = this;
    this.index.clear();
    this.state.fill(SlotState.Free);
    this.older.fill(NO_SLOT);
    this.newer.fill(NO_SLOT);
    this.stamp.fill(0);
    for (let list = 0; list < LISTS; list++) listInit(this.next, this.prev, slots + list);
    for (let slot = 0; slot < slots; slot++) this.next[slot] = slot + 1 < slots ? slot + 1 : NO_SLOT;
    this.#freeHead[0] = 0;
    this.count.fill(0);
    this.count[SlotState.Free] = slots;
  }

  /** Node that heads the list of a state. */
  head(state: number): number {
    return this.slots + LIST[state]!;
  }

  /** Oldest slot of a state's list, or NO_SLOT. */
  oldest(state: number): number {
    const slot = this.prev[this.slots + LIST[state]!]!;
    return slot < this.slots ? slot : NO_SLOT;
  }

  /** The slot that came to a list after this one, or NO_SLOT. */
  after(slot: number): number {
    const later = this.prev[slot]!;
    return later < this.slots ? later : NO_SLOT;
  }

  /** Moves a slot to the front of the list of another state. */
  become(slot: number, state: number): void {
    const was = this.state[slot]!;
    const [from, to] = [LIST[was]!, LIST[state]!];
    if (from >= 0) listDel(this.next, this.prev, slot);
    if (to >= 0) listAdd(this.next, this.prev, this.slots + to, slot);
    this.count[was]!--;
    this.count[state]!++;
    this.state[slot] = state;
  }

  /** Used: the last to be evicted. */
  touch(slot: number): void {
    const lru = this.head(SlotState.Clean);
    if (this.state[slot] !== SlotState.Clean || this.next[lru] === slot) return;
    listDel(this.next, this.prev, slot);
    listAdd(this.next, this.prev, lru, slot);
  }

  /** A slot for anything, in state Reading and in no chain; NO_SLOT: none is free, and none may go. */
  take(openCall: number): number {
    let slot = this.#freeHead[0]!;
    if (slot === NO_SLOT) {
      const victim = this.oldest(SlotState.Clean);
      // What the open call used is nearer to the front than all that it did not.
      if (victim === NO_SLOT || this.stamp[victim] === openCall) return NO_SLOT;
      this.drop(victim);
      slot = victim;
    }
    this.#freeHead[0] = this.next[slot]!;
    this.count[SlotState.Free]!--;
    this.count[SlotState.Reading]!++;
    this.state[slot] = SlotState.Reading;
    return slot;
  }

  /** Makes a slot that was just taken the newest version of a block. */
  push(slot: number, block: number, older: number): void {
    this.block[slot] = block;
    this.older[slot] = older;
    this.newer[slot] = NO_SLOT;
    if (older !== NO_SLOT) this.newer[older] = slot;
    this.index.set(block, slot);
  }

  /** Takes a slot out of its block's versions and frees it. */
  drop(slot: number): void {
    const [older, newer] = [this.older[slot]!, this.newer[slot]!];
    if (older !== NO_SLOT) this.newer[older] = newer;
    if (newer !== NO_SLOT) this.older[newer] = older;
    else if (older !== NO_SLOT) this.index.set(this.block[slot]!, older);
    else this.index.delete(this.block[slot]!);
    this.older[slot] = NO_SLOT;
    this.newer[slot] = NO_SLOT;
    this.stamp[slot] = 0;
    this.become(slot, SlotState.Free);
    this.next[slot] = this.#freeHead[0]!;
    this.#freeHead[0] = slot;
  }

  /** Panics when its structures disagree. */
  check(): void {
    const { slots, state, older, newer, block, index } = this;
    const seen = new Int32Array(LIST.length);
    let chained = 0;
    for (let slot = 0; slot < slots; slot++) {
      seen[state[slot]!]!++;
      if (state[slot] === SlotState.Free) continue;
      if (newer[slot] === NO_SLOT) {
        chained++;
        assert(index.get(block[slot]!) === slot, "BufferSlots.check: the newest version is not in the index");
      } else {
        assert(older[newer[slot]!] === slot, "BufferSlots.check: a chain is broken");
        assert(block[newer[slot]!] === block[slot], "BufferSlots.check: a chain has two blocks");
        const [a, b] = [state[newer[slot]!]!, state[slot]!];
        const ordered = a === SlotState.Staged ? b !== SlotState.Staged : a < b && a >= SlotState.Running;
        assert(ordered || (a === SlotState.Clean && b > a), "BufferSlots.check: versions are out of order");
      }
    }
    assert(chained === index.size, "BufferSlots.check: the index has other blocks");
    for (let n = 0; n < LIST.length; n++) assert(seen[n] === this.count[n], "BufferSlots.check: slots are miscounted");
    const listed = [0, 0, 0, 0, 0, 0];
    for (let n = 0; n < LIST.length; n++) if (LIST[n]! >= 0) listed[LIST[n]!]! += seen[n]!;
    for (const [list, count] of listed.entries())
      assert(listCount(this.next, this.prev, slots + list, slots) === count, "BufferSlots.check: a list is broken");
    let free = 0;
    for (let slot = this.#freeHead[0]!; slot !== NO_SLOT; slot = this.next[slot]!)
      assert(++free <= slots && state[slot] === SlotState.Free, "BufferSlots.check: the free list is broken");
    assert(free === seen[SlotState.Free], "BufferSlots.check: a free slot is lost");
  }
}
