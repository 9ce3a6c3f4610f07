/**
 * A pair of NVMe queues, driver side: submission ring and completion ring, one command id a slot.
 *
 * Private: which command ids are in flight, tail, head and phase. From the device come the completion entries, each read
 * once: an id that is not in flight, or another queue's, breaks the pair.
 *
 *   submission entry, 64 bytes: opcode | flags | command id u16, namespace, ..., prp1 at 24, prp2 at 32, dwords 10-15 at 40
 *   completion entry, 16 bytes: result | - | head u16, queue u16 | command id u16, phase and status u16
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { RingMemory } from "../virtio/ring_memory.ts";
import { CQE_BYTES, CQE_COMMAND_ID, CQE_SQ_ID, CQE_STATUS, NVME_PAGE, SQE_BYTES } from "./nvme_layout.ts";

export class NvmeQueue {
  readonly id: number;
  readonly size: number;
  readonly sqAddr: PhysAddr;
  readonly cqAddr: PhysAddr;
  broken: string | undefined;
  inFlight = 0;
  /** Of the completion that take() returned last. */
  status = 0;
  result = 0;
  readonly #sq: RingMemory;
  readonly #cq: RingMemory;
  readonly #isInFlight: Uint8Array;
  #tail = 0;
  #pushed = 0;
  #head = 0;
  #phase = 1;
  /** Completion entries that are read in and not yet taken. */
  #ready = 0;

  constructor(dma: Dma, id: number, size: number) {
    this.id = id;
    this.size = size;
    this.#sq = new RingMemory(dma, size * SQE_BYTES, NVME_PAGE);
    this.#cq = new RingMemory(dma, size * CQE_BYTES, NVME_PAGE);
    this.sqAddr = this.#sq.base;
    this.cqAddr = this.#cq.base;
    this.#isInFlight = new Uint8Array(size);
  }

  /** A ring of n entries holds n - 1. */
  get isFull(): boolean {
    return this.inFlight >= this.size - 1;
  }

  /** Writes a command under an id that is not in flight; visible when its tail is rung. */
  add(id: number, opcode: number, namespace: number, prp1: number, prp2: number, dwords: readonly number[]): void {
    assert(!this.isFull && this.#isInFlight[id] === 0, "NvmeQueue.add: no room, or the id is in flight");
    const word = (this.#tail * SQE_BYTES) >> 2;
    const { u32 } = this.#sq;
    u32.fill(0, word, word + SQE_BYTES / 4);
    u32[word] = opcode | (id << 16);
    u32[word + 1] = namespace;
    u32[word + 6] = prp1;
    u32[word + 7] = Math.floor(prp1 / 2 ** 32);
    u32[word + 8] = prp2;
    u32[word + 9] = Math.floor(prp2 / 2 ** 32);
    for (let i = 0; i < dwords.length; i++) u32[word + 10 + i] = dwords[i]!;
    this.#isInFlight[id] = 1;
    this.inFlight++;
    this.#tail = this.#tail + 1 === this.size ? 0 : this.#tail + 1;
  }

  /** Makes what was added visible; returns the tail to ring, or -1 when nothing was added. */
  push(): number {
    if (this.#pushed === this.#tail) return -1;
    if (this.#tail < this.#pushed) {
      this.#sq.push(this.#pushed * SQE_BYTES, (this.size - this.#pushed) * SQE_BYTES);
      this.#pushed = 0;
    }
    this.#sq.push(this.#pushed * SQE_BYTES, (this.#tail - this.#pushed) * SQE_BYTES);
    this.#pushed = this.#tail;
    return this.#tail;
  }

  /** Command id of the next completion, or -1. */
  take(): number {
    if (this.broken !== undefined || this.inFlight === 0) return -1;
    if (this.#ready === 0 && !this.#look()) return -1;
    const at = this.#head * CQE_BYTES;
    const queues = this.#cq.u32[(at + CQE_SQ_ID) >> 2]! >>> 16;
    const last = this.#cq.u32[(at + CQE_COMMAND_ID) >> 2]!;
    const id = last & 0xffff;
    if (queues !== this.id) return this.#break("a completion names another queue");
    if (id >= this.size || this.#isInFlight[id] === 0) return this.#break("a completed command is not in flight");
    this.result = this.#cq.u32[at >> 2]!;
    this.status = (last >>> 17) & 0x7ff;
    this.#isInFlight[id] = 0;
    this.inFlight--;
    this.#ready--;
    if (++this.#head === this.size) {
      this.#head = 0;
      this.#phase ^= 1;
    }
    return id;
  }

  /**
   * Counts new entries up to the end of the ring. The phase is seen first and the entry read after it: in the mirror
   * case a copy of a half-written entry could hold a new phase beside old words, so what is new is copied again.
   */
  #look(): boolean {
    const at = this.#head * CQE_BYTES;
    if ((this.#cq.load16(at + CQE_STATUS) & 1) !== this.#phase) return false;
    const most = Math.min(this.inFlight, this.size - this.#head);
    this.#cq.pull(at, most * CQE_BYTES);
    let fresh = 1;
    while (fresh < most && ((this.#cq.u32[((at + CQE_COMMAND_ID) >> 2) + 4 * fresh]! >>> 16) & 1) === this.#phase)
      fresh++;
    if (fresh > 1) this.#cq.pull(at, fresh * CQE_BYTES);
    this.#ready = fresh;
    return true;
  }

  /** Where the completion head is, for its doorbell. */
  get head(): number {
    return this.#head;
  }

  #break(reason: string): -1 {
    this.broken = reason;
    return -1;
  }

  free(): void {
    this.#sq.free();
    this.#cq.free();
  }
}
