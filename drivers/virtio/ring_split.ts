/**
 * Split virtqueue, driver side (VirtIO 1.2, 2.7): direct and indirect chains, event index, in-order use.
 *
 * What a hostile device could change is never read back: free descriptors, chain lengths, writable bytes and tokens
 * live in private arrays. From the device come only the used index and the used entries, each read once and checked:
 * a bad one marks the queue broken, and a broken queue gives nothing more.
 *
 *   area: descriptor table | available ring | (128) used ring | (16) indirect tables, TABLE entries a head
 *
 * Invariants (check()): free descriptors + those of chains in flight = size; each chain in flight is counted once.
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import type { Chain, VirtQueue } from "../../kernel/abi/virtio.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { RingMemory } from "./ring_memory.ts";
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_BYTES,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  RING_ENTRIES,
  RING_IDX,
  SPLIT_SIZE_MAX,
  USED_ENTRY_BYTES,
  USED_F_NO_NOTIFY,
  availBytes,
  passedEvent,
  usedBytes,
} from "./split_layout.ts";

const NONE = 0xffff;
const alignUp = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

export class SplitRing implements VirtQueue {
  readonly size: number;
  readonly desc: PhysAddr;
  readonly driver: PhysAddr;
  readonly device: PhysAddr;
  broken: string | undefined;
  inFlight = 0;
  usedBytes = 0;

  readonly #memory: RingMemory;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #mask: number;
  readonly #avail: number;
  readonly #used: number;
  readonly #tables: number;
  /** Entries of each head's indirect table; 0 without the feature. */
  readonly #tableEntries: number;
  readonly #eventIdx: boolean;
  readonly #inOrder: boolean;

  /** Private: next free descriptor of a free one, next of its chain of a used one. */
  readonly #next: Uint16Array;
  /** Private, by head: descriptors of the chain in flight (0: not a head in flight), bytes the device may write, token. */
  readonly #chainDescs: Uint16Array;
  readonly #writable: Float64Array;
  readonly #token: Uint16Array;
  /** Private, by available slot: head posted there (in-order completion walks it). */
  readonly #order: Uint16Array;

  #freeHead = 0;
  #freeCount: number;
  #availIdx = 0;
  #publishedIdx = 0;
  #lastUsed = 0;
  /** Used index as read last; entries up to it are pulled. */
  #seenUsed = 0;
  /** In order: the batch being handed out ends with this head; NONE between batches. */
  #batchLast = NONE;
  #batchBytes = 0;
  #irqFlags = 0;

  /** @param segmentsMax entries of an indirect table; used when `features` has IndirectDesc. */
  constructor(dma: Dma, size: number, features: bigint, segmentsMax: number) {
    assert(size > 0 && size <= SPLIT_SIZE_MAX && (size & (size - 1)) === 0, "SplitRing: size is a power of two");
    this.size = size;
    this.#mask = size - 1;
    this.#eventIdx = (features & VirtioFeature.EventIdx) !== 0n;
    this.#inOrder = (features & VirtioFeature.InOrder) !== 0n;
    // A chain, indirect or not, may not be longer than the queue (2.7.5.3.1).
    this.#tableEntries = (features & VirtioFeature.IndirectDesc) === 0n ? 0 : Math.min(segmentsMax, size);
    this.#avail = size * DESC_BYTES;
    this.#used = alignUp(this.#avail + availBytes(size), 128);
    this.#tables = alignUp(this.#used + usedBytes(size), DESC_BYTES);
    this.#memory = new RingMemory(dma, this.#tables + size * this.#tableEntries * DESC_BYTES, 128);
    this.#u16 = this.#memory.u16;
    this.#u32 = this.#memory.u32;
    this.desc = this.#memory.base;
    this.driver = this.#memory.addr(this.#avail);
    this.device = this.#memory.addr(this.#used);
    this.#next = new Uint16Array(size);
    this.#chainDescs = new Uint16Array(size);
    this.#writable = new Float64Array(size);
    this.#token = new Uint16Array(size);
    this.#order = new Uint16Array(size);
    this.#freeCount = size;
    this.reset();
  }

  reset(): void {
    this.#memory.clear();
    for (let i = 0; i < this.size; i++) this.#next[i] = (i + 1) & this.#mask;
    this.#chainDescs.fill(0);
    this.#freeHead = 0;
    this.#freeCount = this.size;
    this.#availIdx = 0;
    this.#publishedIdx = 0;
    this.#lastUsed = 0;
    this.#seenUsed = 0;
    this.#batchLast = NONE;
    this.inFlight = 0;
    this.broken = undefined;
    this.disableIrq();
  }

  add(chain: Chain, token: number): boolean {
    const segments = chain.out + chain.in;
    assert(segments > 0, "SplitRing.add: an empty chain");
    const indirect = segments > 1 && segments <= this.#tableEntries;
    const descs = indirect ? 1 : segments;
    if (this.broken !== undefined || descs > this.#freeCount) return false;
    const head = this.#freeHead;
    if (indirect) {
      const table = this.#tables + head * this.#tableEntries * DESC_BYTES;
      for (let i = 0; i < segments; i++) this.#writeDesc(table + i * DESC_BYTES, chain, i, i + 1, i + 1 < segments);
      this.#memory.push(table, segments * DESC_BYTES);
      this.#freeHead = this.#next[head]!;
      this.#setDesc(head * DESC_BYTES, this.#memory.addr(table), segments * DESC_BYTES, DESC_F_INDIRECT, 0);
      this.#memory.push(head * DESC_BYTES, DESC_BYTES);
    } else this.#writeDirect(chain, segments);
    let writable = 0;
    for (let i = chain.out; i < segments; i++) writable += chain.bytes[i]!;
    this.#freeCount -= descs;
    this.#chainDescs[head] = descs;
    this.#writable[head] = writable;
    this.#token[head] = token;
    const slot = this.#availIdx & this.#mask;
    this.#order[slot] = head;
    this.#u16[((this.#avail + RING_ENTRIES) >> 1) + slot] = head;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.inFlight++;
    return true;
  }

  /** Takes `segments` descriptors off the free list and writes the chain, pushing each contiguous run with one call. */
  #writeDirect(chain: Chain, segments: number): void {
    let at = this.#freeHead;
    let runStart = at;
    for (let i = 0; i < segments; i++) {
      const next = this.#next[at]!;
      this.#writeDesc(at * DESC_BYTES, chain, i, next, i + 1 < segments);
      if (next !== at + 1 || i + 1 === segments) {
        this.#memory.push(runStart * DESC_BYTES, (at + 1 - runStart) * DESC_BYTES);
        runStart = next;
      }
      at = next;
    }
    this.#freeHead = at;
  }

  #writeDesc(at: number, chain: Chain, i: number, next: number, more: boolean): void {
    const flags = (more ? DESC_F_NEXT : 0) | (i >= chain.out ? DESC_F_WRITE : 0);
    this.#setDesc(at, chain.addr[i]!, chain.bytes[i]!, flags, more ? next : 0);
  }

  #setDesc(at: number, addr: number, bytes: number, flags: number, next: number): void {
    const word = at >> 2;
    this.#u32[word] = addr;
    this.#u32[word + 1] = addr >= 2 ** 32 ? Math.floor(addr / 2 ** 32) : 0;
    this.#u32[word + 2] = bytes;
    this.#u32[word + 3] = flags | (next << 16);
  }

  publish(): boolean {
    const from = this.#publishedIdx;
    const to = this.#availIdx;
    if (from === to) return false;
    const entries = this.#avail + RING_ENTRIES;
    const first = from & this.#mask;
    const count = (to - from) & 0xffff;
    const straight = Math.min(count, this.size - first);
    this.#memory.push(entries + 2 * first, 2 * straight);
    if (count > straight) this.#memory.push(entries, 2 * (count - straight));
    this.#memory.publish16(this.#avail + RING_IDX, to);
    this.#publishedIdx = to;
    if (!this.#eventIdx) return (this.#memory.load16(this.#used) & USED_F_NO_NOTIFY) === 0;
    const event = this.#memory.load16(this.#used + RING_ENTRIES + USED_ENTRY_BYTES * this.size);
    return passedEvent(event, to, from);
  }

  take(): number {
    if (this.broken !== undefined) return -1;
    if (this.#batchLast !== NONE) return this.#takeOfBatch();
    if (this.#seenUsed === this.#lastUsed && !this.#look()) return -1;
    const entry = (this.#used + RING_ENTRIES + USED_ENTRY_BYTES * (this.#lastUsed & this.#mask)) >> 2;
    const id = this.#u32[entry]!;
    const bytes = this.#u32[entry + 1]!;
    if (id >= this.size || this.#chainDescs[id] === 0) return this.#break("used id is not in flight");
    if (bytes > this.#writable[id]!) return this.#break("used length is beyond the writable buffers");
    if (!this.#inOrder) return this.#finish(id, bytes);
    return this.#startBatch(id, bytes);
  }

  /** Reads the used index; true when there is something new. Never more than what was made available. */
  #look(): boolean {
    assert(this.#availIdx === this.#publishedIdx, "SplitRing.take: chains were added and not published");
    const seen = this.#memory.load16(this.#used + RING_IDX);
    const fresh = (seen - this.#lastUsed) & 0xffff;
    if (fresh === 0) return false;
    if (fresh > ((this.#publishedIdx - this.#lastUsed) & 0xffff)) {
      this.#break("used index went beyond the available index");
      return false;
    }
    const entries = this.#used + RING_ENTRIES;
    const first = this.#lastUsed & this.#mask;
    const straight = Math.min(fresh, this.size - first);
    this.#memory.pull(entries + USED_ENTRY_BYTES * first, USED_ENTRY_BYTES * straight);
    if (fresh > straight) this.#memory.pull(entries, USED_ENTRY_BYTES * (fresh - straight));
    this.#seenUsed = seen;
    return true;
  }

  /** In order, one used entry may stand for a batch: its id is the batch's last head, all before it are used too. */
  #startBatch(id: number, bytes: number): number {
    const fresh = (this.#seenUsed - this.#lastUsed) & 0xffff;
    for (let i = 0; i < fresh; i++) {
      if (this.#order[(this.#lastUsed + i) & this.#mask] !== id) continue;
      this.#batchLast = id;
      this.#batchBytes = bytes;
      return this.#takeOfBatch();
    }
    return this.#break("used id is out of order");
  }

  #takeOfBatch(): number {
    const head = this.#order[this.#lastUsed & this.#mask]!;
    const last = head === this.#batchLast;
    if (last) this.#batchLast = NONE;
    // 2.7.9: buffers of a batch before its last are taken as completely used.
    return this.#finish(head, last ? this.#batchBytes : this.#writable[head]!);
  }

  /** Returns the chain's descriptors to the free list: at its front, or at its end when use goes in ring order. */
  #finish(head: number, bytes: number): number {
    const descs = this.#chainDescs[head]!;
    this.#chainDescs[head] = 0;
    if (!this.#inOrder) {
      let tail = head;
      for (let i = 1; i < descs; i++) tail = this.#next[tail]!;
      this.#next[tail] = this.#freeHead;
      this.#freeHead = head;
    }
    this.#freeCount += descs;
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    this.inFlight--;
    this.usedBytes = bytes;
    return this.#token[head]!;
  }

  #break(reason: string): -1 {
    this.broken = reason;
    return -1;
  }

  enableIrq(more: number): boolean {
    if (this.#eventIdx) {
      const delay = Math.min(more, Math.max(this.inFlight, 1)) - 1;
      this.#memory.publish16(this.#avail + RING_ENTRIES + 2 * this.size, (this.#lastUsed + delay) & 0xffff);
      // Buffers that were used meanwhile: fewer than asked for leave the event ahead of the index, and it will come.
      const waiting = (this.#memory.load16(this.#used + RING_IDX) - this.#lastUsed) & 0xffff;
      return waiting <= delay && this.#batchLast === NONE;
    }
    if (this.#irqFlags !== 0) this.#memory.publish16(this.#avail, (this.#irqFlags = 0));
    return this.#memory.load16(this.#used + RING_IDX) === this.#lastUsed && this.#batchLast === NONE;
  }

  disableIrq(): void {
    // With the event index the flag stays 0 (2.7.7.1); an event left behind the index asks for nothing.
    if (this.#eventIdx || this.#irqFlags !== 0) return;
    this.#irqFlags = AVAIL_F_NO_INTERRUPT;
    this.#memory.publish16(this.#avail, this.#irqFlags);
  }

  free(): void {
    this.#memory.free();
  }

  check(): void {
    let held = 0;
    let chains = 0;
    for (const descs of this.#chainDescs) {
      held += descs;
      if (descs > 0) chains++;
    }
    assert(held + this.#freeCount === this.size, "SplitRing.check: descriptors are lost");
    assert(chains === this.inFlight, "SplitRing.check: chains in flight are miscounted");
    let at = this.#freeHead;
    for (let i = 0; i < this.#freeCount; i++) {
      assert(this.#chainDescs[at] === 0, "SplitRing.check: a free descriptor heads a chain");
      at = this.#next[at]!;
    }
  }
}
