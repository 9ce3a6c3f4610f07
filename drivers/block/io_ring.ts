/**
 * A submission and completion ring to a block device, io_uring-shaped: two rings of fixed records in memory that user
 * and kernel share, so that a batch of operations costs one call, or none when the kernel's side polls.
 *
 *   head words   sq head | sq tail | cq head | cq tail | flags | cq overflow      32-bit, moved by one side each
 *   sqe, 64 bytes   opcode u8 | flags u8 | - u16 | fd i32 | offset u64 | address u64 | length u32 | rw flags u32 | user data u64
 *   cqe, 16 bytes   user data u64 | result i32 | flags u32
 *
 * - new IoRing(memory, base, entries, ...)    lays the ring out in `memory`; the same layout on both sides
 * - user side: prepare(), then enter(); reap()
 * - kernel side: step(): takes submissions, ends completions. A full completion ring loses nothing: completions wait
 *
 * Operations and flags have Linux's numbers (include/uapi/linux/io_uring.h). Addresses are offsets into `memory`.
 */
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EFAULT, EINVAL } from "../../kernel/abi/errno.ts";
import { assert } from "../../kernel/lib/assert.ts";

export const IoOp = { Nop: 0, Fsync: 3, Read: 22, Write: 23 } as const;
export const IOSQE_IO_DRAIN = 1 << 1;
export const IOSQE_IO_LINK = 1 << 2;
/** A write that is durable when it ends. */
export const RWF_DSYNC = 2;
/** An operation that follows a failed one in a chain. */
export const ECANCELED = -125;

const SQ_HEAD = 0;
const SQ_TAIL = 1;
const CQ_HEAD = 2;
const CQ_TAIL = 3;
const OVERFLOW = 5;
const HEAD_BYTES = 64;
const SQE_BYTES = 64;
const CQE_BYTES = 16;

/** Bytes of a ring with that many submission entries; there are twice as many completion entries. */
export const ioRingBytes = (entries: number): number => HEAD_BYTES + entries * SQE_BYTES + 2 * entries * CQE_BYTES;

interface Running {
  readonly userData: bigint;
  readonly length: number;
  readonly request: BlockRequest;
  /** Operations linked behind it, to be started when it ends well. */
  readonly linked: Submission[];
}

interface Submission {
  readonly opcode: number;
  readonly flags: number;
  readonly offset: number;
  readonly addr: number;
  readonly length: number;
  readonly rwFlags: number;
  readonly userData: bigint;
}

export class IoRing {
  readonly entries: number;
  readonly #memory: Uint8Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #sqes: number;
  readonly #cqes: number;
  readonly #device: BlockDevice;
  #running: Running[] = [];
  /** Taken from the ring, not yet at the device (a full queue, a drain). */
  #pending: Submission[][] = [];
  readonly #backlog: [userData: bigint, result: number][] = [];

  constructor(memory: Uint8Array, base: number, entries: number, device: BlockDevice) {
    assert(entries > 0 && (entries & (entries - 1)) === 0, "IoRing: entries are a power of two");
    assert(base % 64 === 0 && base + ioRingBytes(entries) <= memory.length, "IoRing: it lies in memory, aligned");
    this.entries = entries;
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer, memory.byteOffset + base, HEAD_BYTES / 4);
    this.#view = new DataView(memory.buffer, memory.byteOffset + base);
    this.#sqes = HEAD_BYTES;
    this.#cqes = HEAD_BYTES + entries * SQE_BYTES;
    this.#device = device;
  }

  /** User side: writes one submission; false when the ring is full. Seen by the kernel at once. */
  prepare(
    opcode: number,
    offset: number,
    addr: number,
    length: number,
    userData: bigint,
    flags = 0,
    rwFlags = 0,
  ): boolean {
    const tail = this.#words[SQ_TAIL]!;
    if (((tail - Atomics.load(this.#words, SQ_HEAD)) | 0) >= this.entries) return false;
    const at = this.#sqes + (tail & (this.entries - 1)) * SQE_BYTES;
    const view = this.#view;
    view.setUint8(at, opcode);
    view.setUint8(at + 1, flags);
    view.setInt32(at + 4, 0, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, BigInt(addr), true);
    view.setUint32(at + 24, length, true);
    view.setUint32(at + 28, rwFlags, true);
    view.setBigUint64(at + 32, userData, true);
    Atomics.store(this.#words, SQ_TAIL, (tail + 1) | 0);
    return true;
  }

  /** User side: takes one completion, or undefined. */
  reap(): { readonly userData: bigint; readonly result: number } | undefined {
    const head = this.#words[CQ_HEAD]!;
    if (head === Atomics.load(this.#words, CQ_TAIL)) return undefined;
    const at = this.#cqes + (head & (2 * this.entries - 1)) * CQE_BYTES;
    const completion = { userData: this.#view.getBigUint64(at, true), result: this.#view.getInt32(at + 8, true) };
    Atomics.store(this.#words, CQ_HEAD, (head + 1) | 0);
    return completion;
  }

  /** Completions that had to wait for room so far. */
  get overflows(): number {
    return this.#words[OVERFLOW]!;
  }

  /** Kernel side: one round of work. Returns operations that ended. */
  step(): number {
    this.#flushBacklog();
    this.#takeSubmissions();
    let ended = this.#startPending();
    for (const request of this.#device.poll()) ended += this.#end(request);
    return ended + this.#startPending();
  }

  #takeSubmissions(): void {
    const tail = Atomics.load(this.#words, SQ_TAIL);
    let head = this.#words[SQ_HEAD]!;
    // A user that moves the tail by more than the ring is taken at one ring.
    let left = Math.min((tail - head) >>> 0, this.entries);
    let chain: Submission[] | undefined;
    for (; left > 0; left--) {
      const submission = this.#readSqe(this.#sqes + (head & (this.entries - 1)) * SQE_BYTES);
      head = (head + 1) | 0;
      if (chain === undefined) this.#pending.push((chain = []));
      chain.push(submission);
      if ((submission.flags & IOSQE_IO_LINK) === 0) chain = undefined;
    }
    Atomics.store(this.#words, SQ_HEAD, head);
  }

  /** Each field is read once: the user may change it at any time. */
  #readSqe(at: number): Submission {
    const view = this.#view;
    return {
      opcode: view.getUint8(at),
      flags: view.getUint8(at + 1),
      offset: Number(view.getBigUint64(at + 8, true)),
      addr: Number(view.getBigUint64(at + 16, true)),
      length: view.getUint32(at + 24, true),
      rwFlags: view.getUint32(at + 28, true),
      userData: view.getBigUint64(at + 32, true),
    };
  }

  /** Starts chains in order; a drain waits until nothing runs, and holds what is behind it. */
  #startPending(): number {
    let ended = 0;
    while (this.#pending.length > 0) {
      const chain = this.#pending[0]!;
      if ((chain[0]!.flags & IOSQE_IO_DRAIN) !== 0 && this.#running.length > 0) break;
      // Taken out first: what is linked behind it may come to the front.
      this.#pending.shift();
      const started = this.#start(chain[0]!, chain.slice(1));
      if (started < 0) {
        this.#pending.unshift(chain);
        break;
      }
      ended += started;
    }
    return ended;
  }

  /** Number of operations that ended at once; -1: the device has no room. */
  #start(submission: Submission, linked: Submission[]): number {
    const { opcode, offset, addr, length, userData } = submission;
    if (opcode === IoOp.Nop) return this.#finish(userData, 0, linked);
    let request: BlockRequest;
    if (opcode === IoOp.Fsync) request = this.#request(BlockOp.Flush, 0, 0, undefined, 0);
    else if (opcode === IoOp.Read || opcode === IoOp.Write) {
      if (addr + length > this.#memory.length) return this.#finish(userData, EFAULT, linked);
      const isWhole = offset % SECTOR_SIZE === 0 && length % SECTOR_SIZE === 0 && length > 0;
      if (!isWhole) return this.#finish(userData, EINVAL, linked);
      const data = this.#memory.subarray(addr, addr + length);
      const flags = opcode === IoOp.Write && (submission.rwFlags & RWF_DSYNC) !== 0 ? REQ_FUA : 0;
      const op = opcode === IoOp.Read ? BlockOp.Read : BlockOp.Write;
      request = this.#request(op, offset / SECTOR_SIZE, length / SECTOR_SIZE, data, flags);
    } else return this.#finish(userData, EINVAL, linked);
    if (this.#device.submit([request]) === 0) return -1;
    this.#running.push({ userData, length, request, linked });
    return 0;
  }

  #request(op: BlockOp, sector: number, sectors: number, data: Uint8Array | undefined, flags: number): BlockRequest {
    return { op, flags, sector, sectors, data, task: 0, result: undefined };
  }

  #end(request: BlockRequest): number {
    const index = this.#running.findIndex((one) => one.request === request);
    if (index < 0) return 0;
    const { userData, length, linked } = this.#running[index]!;
    this.#running.splice(index, 1);
    const isTransfer = request.op === BlockOp.Read || request.op === BlockOp.Write;
    return this.#finish(userData, request.result === 0 ? (isTransfer ? length : 0) : request.result!, linked);
  }

  /** Posts a completion and goes on with what is linked: on, or all cancelled after a failure. */
  #finish(userData: bigint, result: number, linked: Submission[]): number {
    this.#post(userData, result);
    if (linked.length === 0) return 1;
    if (result >= 0) {
      this.#pending.unshift(linked);
      return 1;
    }
    for (const one of linked) this.#post(one.userData, ECANCELED);
    return 1 + linked.length;
  }

  #post(userData: bigint, result: number): void {
    const tail = this.#words[CQ_TAIL]!;
    const isFull = ((tail - Atomics.load(this.#words, CQ_HEAD)) | 0) >= 2 * this.entries;
    if (isFull || this.#backlog.length > 0) {
      this.#backlog.push([userData, result]);
      this.#words[OVERFLOW]!++;
      return;
    }
    this.#write(tail, userData, result);
  }

  #write(tail: number, userData: bigint, result: number): void {
    const at = this.#cqes + (tail & (2 * this.entries - 1)) * CQE_BYTES;
    this.#view.setBigUint64(at, userData, true);
    this.#view.setInt32(at + 8, result, true);
    this.#view.setUint32(at + 12, 0, true);
    Atomics.store(this.#words, CQ_TAIL, (tail + 1) | 0);
  }

  #flushBacklog(): void {
    while (this.#backlog.length > 0) {
      const tail = this.#words[CQ_TAIL]!;
      if (((tail - Atomics.load(this.#words, CQ_HEAD)) | 0) >= 2 * this.entries) return;
      const [userData, result] = this.#backlog.shift()!;
      this.#write(tail, userData, result);
    }
  }
}
