/**
 * The buffer cache of a mounted file system: blocks of metadata with versions, between its code (blocks.ts) and the
 * journal. buffer_slots.ts draws the versions.
 *
 * - begin(mayChange)      opens a call. at() is for calls of both kinds, the others for those that may change
 * - at, writable, fresh   as in blocks.ts. They throw WAIT: a block is being read, or there is no room until the journal
 *                         has committed or checkpointed (`pressed`); and CallEnd: EIO once for a read that failed,
 *                         ENOMEM when all of the cache is in use by this one call
 * - forget(block)         given back: its changes leave the running transaction, which revokes the block
 * - merge()               the call's versions become those of the running transaction, all at once; how many blocks that
 *                         transaction has more
 * - abort()               the call has done nothing
 *
 * A call's first change of a block makes a version; the one before stays whoever needs it, and this is all there is of
 * staging, undoing and freezing. Between calls, the journal moves versions on (jbd2/).
 *
 * `revokes(0)` is what the running transaction has forgotten, `revokes(1)` the committing one.
 */
import { BlockOp } from "../abi/block.ts";
import type { BlockDevice } from "../abi/block.ts";
import { EIO, ENOMEM } from "../abi/errno.ts";
import type { EvictMemory } from "../abi/evict.ts";
import { assert } from "../lib/assert.ts";
import { BlockIo, IoKind } from "./block_io.ts";
import { BlockSet } from "./block_set.ts";
import { CallEnd, WAIT } from "./blocks.ts";
import type { EditBlocks } from "./blocks.ts";
import { BufferSlots, NO_SLOT, SlotState } from "./buffer_slots.ts";

/** Blocks that one call may forget. */
export const CALL_FORGETS_MAX = 1024;
/** Blocks that one transaction may revoke, by the size of the cache. */
const revokesMax = (slots: number): number => Math.min(Math.max(2 * CALL_FORGETS_MAX, slots * 8), 32_768);
/** waitingOn(): not a read, but any progress of the journal or of the device. */
export const WAIT_ANY = -1;

const READ_FAILED = new CallEnd(EIO);
const TOO_LARGE = new CallEnd(ENOMEM);

/** Words of `scalars`. */
const B = { Serial: 0, Open: 1, WaitingOn: 2, Pressed: 3, RevokesAt: 4, Stuck: 5, words: 6 } as const;
const Call = { None: 0, Read: 1, Change: 2 } as const;

export interface BuffersOptions {
  readonly device: BlockDevice;
  readonly memory: EvictMemory;
  readonly blockSize: number;
  /** Blocks of the device. */
  readonly count: number;
  /** Blocks in the cache, all versions counted. */
  readonly slots: number;
  /** Blocks behind them for the journal's own use. */
  readonly extra?: number;
  /** Requests in flight. */
  readonly ioRows?: number;
}

export class Buffers implements EditBlocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly count: number;
  readonly slots: BufferSlots;
  readonly io: BlockIo;
  /** The arena again: in shared memory bytes are set one by one, eight bytes at once. */
  readonly #doubles: Float64Array;
  readonly #forgets: BlockSet;
  readonly #revokes: readonly [BlockSet, BlockSet];
  readonly #scalars: Float64Array;

  constructor(options: BuffersOptions) {
    const { device, memory, blockSize, ioRows } = options;
    assert(options.slots >= 8, "Buffers: a cache of less than eight blocks");
    this.slots = new BufferSlots(memory, options.slots, options.extra ?? 0, blockSize);
    this.bytes = this.slots.arena;
    this.view = this.slots.view;
    this.#doubles = new Float64Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 8);
    this.blockSize = blockSize;
    this.count = options.count;
    this.io = new BlockIo({ device, memory, arena: this.bytes, blockSize, ...(ioRows ? { rows: ioRows } : {}) });
    this.io.own(IoKind.Read, { ended: (slot, result) => this.#readEnded(slot, result) });
    this.#forgets = new BlockSet(memory, CALL_FORGETS_MAX);
    const revokes = revokesMax(options.slots);
    this.#revokes = [new BlockSet(memory, revokes), new BlockSet(memory, revokes)];
    this.#scalars = memory.float64(B.words);
  }

  reset(): void {
    this.slots.reset();
    this.io.reset();
    this.#forgets.clear();
    for (const set of this.#revokes) set.clear();
    this.#scalars.fill(0);
    this.#scalars[B.WaitingOn] = WAIT_ANY;
  }

  get inCall(): boolean {
    return this.#scalars[B.Open] !== Call.None;
  }

  /** Row of the read that the call which was just told WAIT waits for, or WAIT_ANY. */
  get waitingOn(): number {
    return this.#scalars[B.WaitingOn]!;
  }

  /** What the caller waits for is the journal's doing. */
  waitAny(): void {
    this.#scalars[B.WaitingOn] = WAIT_ANY;
  }

  /** A call found no room: commit, and write home. Until the journal says that it has done what it can. */
  get pressed(): boolean {
    return this.#scalars[B.Pressed] === 1;
  }

  set pressed(value: boolean) {
    this.#scalars[B.Pressed] = value ? 1 : 0;
  }

  /** The journal was aborted: nothing is written any more, so there is no room to wait for. */
  get stuck(): boolean {
    return this.#scalars[B.Stuck] === 1;
  }

  set stuck(value: boolean) {
    this.#scalars[B.Stuck] = value ? 1 : 0;
  }

  /** 0: of the running transaction, 1: of the committing one. */
  revokes(which: 0 | 1): BlockSet {
    return this.#revokes[this.#scalars[B.RevokesAt]! ^ which]!;
  }

  /** The running transaction becomes the committing one. */
  turn(): void {
    const { slots } = this;
    assert(slots.count[SlotState.Committing] === 0 && this.revokes(1).size === 0, "Buffers: two transactions commit");
    for (let slot = slots.oldest(SlotState.Running); slot !== NO_SLOT; slot = slots.oldest(SlotState.Running))
      slots.become(slot, SlotState.Committing);
    this.#scalars[B.RevokesAt]! ^= 1;
  }

  begin(mayChange: boolean): void {
    assert(!this.inCall, "Buffers: a call within a call");
    this.#scalars[B.Serial]!++;
    this.#scalars[B.Open] = mayChange ? Call.Change : Call.Read;
    this.#scalars[B.WaitingOn] = WAIT_ANY;
  }

  at(block: number): number {
    const { slots } = this;
    const slot = slots.index.get(block);
    if (slot >= 0 && slots.stamp[slot] === this.#scalars[B.Serial]) return slot * this.blockSize;
    if (!(block >= 0 && block < this.count)) return -1;
    return this.#use(slot >= 0 ? slot : this.#read(block)) * this.blockSize;
  }

  /** Stamps a slot for the open call, once its content is there. */
  #use(slot: number): number {
    const { slots } = this;
    const serial = this.#scalars[B.Serial]!;
    assert(this.inCall, "Buffers: a block is asked for outside a call");
    const state = slots.state[slot]!;
    if (state === SlotState.Reading) this.#wait(slots.row[slot]!);
    if (state === SlotState.Failed) {
      slots.drop(slot);
      throw READ_FAILED;
    }
    slots.stamp[slot] = serial;
    slots.touch(slot);
    return slot;
  }

  #wait(row: number): never {
    this.#scalars[B.WaitingOn] = row;
    throw WAIT;
  }

  /** Starts the read of a block that is not here. */
  #read(block: number): number {
    const { slots, io } = this;
    assert(this.inCall, "Buffers: a block is asked for outside a call");
    // Not after the slot: it would have to be put back.
    if (io.free === 0) this.#wait(WAIT_ANY);
    const slot = this.#take();
    slots.push(slot, block, NO_SLOT);
    const row = io.start(BlockOp.Read, 0, block, 1, slot * this.blockSize, IoKind.Read, slot);
    slots.row[slot] = row;
    const result = io.take(row);
    if (result !== undefined) this.#readEnded(slot, result);
    return slot;
  }

  #readEnded(slot: number, result: number): void {
    const { slots } = this;
    slots.row[slot] = result;
    slots.become(slot, result === 0 ? SlotState.Clean : SlotState.Failed);
  }

  #take(): number {
    const { slots } = this;
    const slot = slots.take(this.#scalars[B.Serial]!);
    if (slot !== NO_SLOT) return slot;
    this.pressed = true;
    const { count } = slots;
    const held =
      count[SlotState.Running]! +
      count[SlotState.Committing]! +
      count[SlotState.Checkpoint]! +
      count[SlotState.Writing]!;
    if (count[SlotState.Reading] === 0 && (held === 0 || this.stuck)) throw TOO_LARGE;
    return this.#wait(WAIT_ANY);
  }

  writable(block: number): number {
    return this.#version(block, true) * this.blockSize;
  }

  fresh(block: number): number {
    const at = this.#version(block, false) * this.blockSize;
    this.#doubles.fill(0, at / 8, (at + this.blockSize) / 8);
    return at;
  }

  /** The slot of this call's own version of a block. */
  #version(block: number, keep: boolean): number {
    const { slots, blockSize } = this;
    assert(this.#scalars[B.Open] === Call.Change, "Buffers: a change outside a call that may change");
    assert(block >= 0 && block < this.count, "Buffers: no such block");
    if (this.#forgets.size > 0) this.#forgets.delete(block);
    let old = slots.index.get(block);
    if (old >= 0 && slots.state[old] === SlotState.Staged) return old;
    if (keep || (old >= 0 && slots.state[old] === SlotState.Reading))
      old = this.#use(old >= 0 ? old : this.#read(block));
    else if (old >= 0) {
      slots.stamp[old] = this.#scalars[B.Serial]!;
      slots.touch(old);
    }
    const slot = this.#take();
    // A block that could not be read, and is written as a whole.
    if (old >= 0 && slots.state[old] === SlotState.Failed) {
      slots.drop(old);
      old = NO_SLOT;
    }
    slots.push(slot, block, old);
    slots.become(slot, SlotState.Staged);
    slots.stamp[slot] = this.#scalars[B.Serial]!;
    if (keep) this.bytes.copyWithin(slot * blockSize, old * blockSize, (old + 1) * blockSize);
    return slot;
  }

  forget(block: number): void {
    const { slots } = this;
    assert(this.#scalars[B.Open] === Call.Change, "Buffers: a change outside a call that may change");
    assert(block >= 0 && block < this.count, "Buffers: no such block");
    const slot = slots.index.get(block);
    if (slot >= 0 && slots.state[slot] === SlotState.Staged) slots.drop(slot);
    this.#forgets.add(block);
  }

  /** What the open call has forgotten. */
  get forgets(): number {
    return this.#forgets.size;
  }

  merge(): number {
    const { slots } = this;
    const revokes = this.revokes(0);
    const before = slots.count[SlotState.Running]!;
    assert(this.inCall, "Buffers: the end of no call");
    for (let slot = slots.oldest(SlotState.Staged); slot !== NO_SLOT; slot = slots.oldest(SlotState.Staged)) {
      const old = slots.older[slot]!;
      if (old !== NO_SLOT && (slots.state[old] === SlotState.Running || slots.state[old] === SlotState.Clean))
        slots.drop(old);
      slots.become(slot, SlotState.Running);
      if (revokes.size > 0) revokes.delete(slots.block[slot]!);
    }
    for (let n = 0; n < this.#forgets.size; n++) {
      const block = this.#forgets.block(n);
      const slot = slots.index.get(block);
      if (slot >= 0 && (slots.state[slot] === SlotState.Running || slots.state[slot] === SlotState.Clean))
        slots.drop(slot);
      revokes.add(block);
    }
    this.#end();
    return slots.count[SlotState.Running]! - before;
  }

  abort(): void {
    const { slots } = this;
    assert(this.inCall, "Buffers: the end of no call");
    for (let slot = slots.oldest(SlotState.Staged); slot !== NO_SLOT; slot = slots.oldest(SlotState.Staged))
      slots.drop(slot);
    this.#end();
  }

  #end(): void {
    this.#forgets.clear();
    this.#scalars[B.Open] = Call.None;
    this.#scalars[B.Serial]!++;
  }

  /** Panics when its structures disagree. */
  check(): void {
    this.slots.check();
    this.io.check();
    assert(this.inCall || this.slots.count[SlotState.Staged] === 0, "Buffers.check: a version belongs to no call");
  }
}
