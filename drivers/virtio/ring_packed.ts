/**
 * Packed virtqueue, driver side (VirtIO 1.2, 2.8): direct and indirect chains, event suppression, in-order use.
 *
 * As in the split ring nothing the device can change is read back: chain lengths, writable bytes and tokens are
 * private, by buffer id. From the device come the flags, id and length of one used descriptor at a time, each read once.
 * A batch becomes visible by one store: the flags of its first descriptor, written last.
 *
 *   area: descriptor ring | driver event | (64) device event | (64) indirect tables, TABLE entries an id
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import type { Chain, VirtQueue } from "../../kernel/abi/virtio.ts";
import { assert } from "../../kernel/lib/assert.ts";
import {
  EVENT_DESC,
  EVENT_DISABLE,
  EVENT_ENABLE,
  EVENT_FLAGS,
  EVENT_STRUCT_BYTES,
  EVENT_WRAP,
  PACKED_FLAGS,
  PACKED_F_AVAIL,
  PACKED_F_USED,
  PACKED_SIZE_MAX,
  availFlags,
  passedWrapEvent,
  usedFlags,
} from "./packed_layout.ts";
import { RingMemory } from "./ring_memory.ts";
import { DESC_BYTES, DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE } from "./split_layout.ts";

const NONE = 0xffff;
const alignUp = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

export class PackedRing implements VirtQueue {
  readonly size: number;
  readonly desc: PhysAddr;
  readonly driver: PhysAddr;
  readonly device: PhysAddr;
  broken: string | undefined;
  inFlight = 0;
  usedBytes = 0;

  readonly #memory: RingMemory;
  readonly #u32: Uint32Array;
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  readonly #tables: number;
  readonly #tableEntries: number;
  readonly #eventIdx: boolean;
  readonly #inOrder: boolean;

  /** Private, by buffer id: descriptors in flight (0: free), bytes the device may write, token, next free id. */
  readonly #chainDescs: Uint16Array;
  readonly #writable: Float64Array;
  readonly #token: Uint16Array;
  readonly #nextFree: Uint16Array;
  /** Private, kept in order only: ids as they were made available, a ring of `size`. */
  readonly #order: Uint16Array;

  #freeId = 0;
  #freeDescs: number;
  #availAt = 0;
  #availWrap = 1;
  #usedAt = 0;
  #usedWrap = 1;
  #orderHead = 0;
  #orderTail = 0;
  #batchLast = NONE;
  #batchBytes = 0;
  /** First descriptor of the batch not yet published, and its flags; -1: none. */
  #heldAt = -1;
  #heldFlags = 0;
  #heldDescs = 0;
  #irqEnabled = true;

  constructor(dma: Dma, size: number, features: bigint, segmentsMax: number) {
    assert(size > 0 && size <= PACKED_SIZE_MAX, "PackedRing: size");
    this.size = size;
    this.#eventIdx = (features & VirtioFeature.EventIdx) !== 0n;
    this.#inOrder = (features & VirtioFeature.InOrder) !== 0n;
    this.#tableEntries = (features & VirtioFeature.IndirectDesc) === 0n ? 0 : Math.min(segmentsMax, size);
    this.#driverEvent = size * DESC_BYTES;
    this.#deviceEvent = alignUp(this.#driverEvent + EVENT_STRUCT_BYTES, 64);
    this.#tables = alignUp(this.#deviceEvent + EVENT_STRUCT_BYTES, 64);
    this.#memory = new RingMemory(dma, this.#tables + size * this.#tableEntries * DESC_BYTES, 128);
    this.#u32 = this.#memory.u32;
    this.desc = this.#memory.base;
    this.driver = this.#memory.addr(this.#driverEvent);
    this.device = this.#memory.addr(this.#deviceEvent);
    this.#chainDescs = new Uint16Array(size);
    this.#writable = new Float64Array(size);
    this.#token = new Uint16Array(size);
    this.#nextFree = new Uint16Array(size);
    this.#order = new Uint16Array(size);
    this.#freeDescs = size;
    this.reset();
  }

  reset(): void {
    this.#memory.clear();
    for (let i = 0; i < this.size; i++) this.#nextFree[i] = i + 1 < this.size ? i + 1 : NONE;
    this.#chainDescs.fill(0);
    this.#freeId = 0;
    this.#freeDescs = this.size;
    this.#availAt = 0;
    this.#availWrap = 1;
    this.#usedAt = 0;
    this.#usedWrap = 1;
    this.#orderHead = 0;
    this.#orderTail = 0;
    this.#batchLast = NONE;
    this.#heldAt = -1;
    this.#heldDescs = 0;
    this.inFlight = 0;
    this.broken = undefined;
    this.#irqEnabled = true;
    this.disableIrq();
  }

  add(chain: Chain, token: number): boolean {
    const segments = chain.out + chain.in;
    assert(segments > 0, "PackedRing.add: an empty chain");
    const indirect = segments > 1 && segments <= this.#tableEntries;
    const descs = indirect ? 1 : segments;
    if (this.broken !== undefined || descs > this.#freeDescs) return false;
    const id = this.#freeId;
    assert(id !== NONE, "PackedRing.add: free descriptors without a free id");
    this.#freeId = this.#nextFree[id]!;
    if (indirect) {
      const table = this.#tables + id * this.#tableEntries * DESC_BYTES;
      // 2.8.7: in a table only WRITE means something; the device walks it to its end.
      for (let i = 0; i < segments; i++) {
        const flags = i >= chain.out ? DESC_F_WRITE : 0;
        this.#setDesc(table + i * DESC_BYTES, chain.addr[i]!, chain.bytes[i]!, 0, flags);
      }
      this.#memory.push(table, segments * DESC_BYTES);
      this.#place(this.#memory.addr(table), segments * DESC_BYTES, id, DESC_F_INDIRECT);
    } else
      for (let i = 0; i < segments; i++) {
        const flags = (i + 1 < segments ? DESC_F_NEXT : 0) | (i >= chain.out ? DESC_F_WRITE : 0);
        this.#place(chain.addr[i]!, chain.bytes[i]!, id, flags);
      }
    let writable = 0;
    for (let i = chain.out; i < segments; i++) writable += chain.bytes[i]!;
    this.#freeDescs -= descs;
    this.#chainDescs[id] = descs;
    this.#writable[id] = writable;
    this.#token[id] = token;
    if (this.#inOrder) {
      this.#order[this.#orderTail] = id;
      this.#orderTail = this.#orderTail + 1 === this.size ? 0 : this.#orderTail + 1;
    }
    this.inFlight++;
    return true;
  }

  /** Writes the next descriptor of the ring; the first of a batch stays unavailable until publish(). */
  #place(addr: number, bytes: number, id: number, flags: number): void {
    const at = this.#availAt * DESC_BYTES;
    const all = flags | availFlags(this.#availWrap);
    if (this.#heldAt < 0) {
      this.#heldAt = this.#availAt;
      this.#heldFlags = all;
      // Used in the lap before: available to nobody.
      this.#setDesc(at, addr, bytes, id, usedFlags(this.#availWrap ^ 1));
    } else this.#setDesc(at, addr, bytes, id, all);
    this.#memory.push(at, DESC_BYTES);
    this.#heldDescs++;
    if (++this.#availAt === this.size) {
      this.#availAt = 0;
      this.#availWrap ^= 1;
    }
  }

  #setDesc(at: number, addr: number, bytes: number, id: number, flags: number): void {
    const word = at >> 2;
    this.#u32[word] = addr;
    this.#u32[word + 1] = addr >= 2 ** 32 ? Math.floor(addr / 2 ** 32) : 0;
    this.#u32[word + 2] = bytes;
    this.#u32[word + 3] = id | (flags << 16);
  }

  publish(): boolean {
    if (this.#heldAt < 0) return false;
    this.#memory.publish16(this.#heldAt * DESC_BYTES + PACKED_FLAGS, this.#heldFlags);
    const count = this.#heldDescs;
    this.#heldAt = -1;
    this.#heldDescs = 0;
    const flags = this.#memory.load16(this.#deviceEvent + EVENT_FLAGS) & 3;
    if (flags === EVENT_DISABLE) return false;
    if (flags !== EVENT_DESC || !this.#eventIdx) return true;
    const event = this.#memory.load16(this.#deviceEvent);
    return passedWrapEvent(event, this.#availAt, this.#availWrap, count, this.size);
  }

  take(): number {
    if (this.broken !== undefined) return -1;
    if (this.#batchLast !== NONE) return this.#takeOfBatch();
    if (!this.#usedHere()) return -1;
    const at = this.#usedAt * DESC_BYTES;
    this.#memory.pull(at, DESC_BYTES);
    const bytes = this.#u32[(at >> 2) + 2]!;
    const id = this.#u32[(at >> 2) + 3]! & 0xffff;
    if (id >= this.size || this.#chainDescs[id] === 0) return this.#break("used id is not in flight");
    if (bytes > this.#writable[id]!) return this.#break("used length is beyond the writable buffers");
    if (!this.#inOrder) return this.#finish(id, bytes);
    this.#batchLast = id;
    this.#batchBytes = bytes;
    return this.#takeOfBatch();
  }

  /** A descriptor is used here when both bits equal our wrap counter, and something was made available here. */
  #usedHere(): boolean {
    assert(this.#heldAt < 0, "PackedRing.take: chains were added and not published");
    if (this.inFlight === 0) return false;
    const flags = this.#memory.load16(this.#usedAt * DESC_BYTES + PACKED_FLAGS);
    return (flags & (PACKED_F_AVAIL | PACKED_F_USED)) === usedFlags(this.#usedWrap);
  }

  #takeOfBatch(): number {
    const id = this.#order[this.#orderHead]!;
    this.#orderHead = this.#orderHead + 1 === this.size ? 0 : this.#orderHead + 1;
    const last = id === this.#batchLast;
    if (last) this.#batchLast = NONE;
    return this.#finish(id, last ? this.#batchBytes : this.#writable[id]!);
  }

  #finish(id: number, bytes: number): number {
    const descs = this.#chainDescs[id]!;
    this.#chainDescs[id] = 0;
    this.#nextFree[id] = this.#freeId;
    this.#freeId = id;
    this.#freeDescs += descs;
    this.#usedAt += descs;
    if (this.#usedAt >= this.size) {
      this.#usedAt -= this.size;
      this.#usedWrap ^= 1;
    }
    this.inFlight--;
    this.usedBytes = bytes;
    return this.#token[id]!;
  }

  #break(reason: string): -1 {
    this.broken = reason;
    return -1;
  }

  enableIrq(more: number): boolean {
    if (this.#eventIdx) {
      // A chain is at least one descriptor, so the event comes no later than asked for.
      let at = this.#usedAt + Math.min(more, Math.max(this.inFlight, 1)) - 1;
      let wrap = this.#usedWrap;
      if (at >= this.size) {
        at -= this.size;
        wrap ^= 1;
      }
      this.#memory.publish16(this.#driverEvent, at | (wrap === 1 ? EVENT_WRAP : 0));
      this.#memory.publish16(this.#driverEvent + EVENT_FLAGS, EVENT_DESC);
    } else this.#memory.publish16(this.#driverEvent + EVENT_FLAGS, EVENT_ENABLE);
    this.#irqEnabled = true;
    return this.#batchLast === NONE && !this.#usedHere();
  }

  disableIrq(): void {
    if (!this.#irqEnabled) return;
    this.#irqEnabled = false;
    this.#memory.publish16(this.#driverEvent + EVENT_FLAGS, EVENT_DISABLE);
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
    assert(held + this.#freeDescs === this.size, "PackedRing.check: descriptors are lost");
    assert(chains === this.inFlight, "PackedRing.check: chains in flight are miscounted");
    let ids = 0;
    for (let id = this.#freeId; id !== NONE; id = this.#nextFree[id]!) {
      assert(this.#chainDescs[id] === 0 && ids < this.size, "PackedRing.check: the free ids are damaged");
      ids++;
    }
    assert(ids + chains === this.size, "PackedRing.check: ids are lost");
  }
}
