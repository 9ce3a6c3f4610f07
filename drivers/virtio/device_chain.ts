/**
 * A chain of buffers as a device sees it, and the one reading of a descriptor. The driver may change memory at any time:
 * a descriptor is read once, field by field into private numbers, and judged from those.
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";

/** Most segments of one chain (QEMU: VIRTQUEUE_MAX_SIZE). */
export const DEVICE_SEGMENTS_MAX = 1024;

/** The memory a device may reach: [0, bytes) of the Dma. */
export interface GuestMemory {
  readonly dma: Dma;
  readonly bytes: number;
}

export class DeviceChain {
  /** Head descriptor (split) or buffer id (packed). */
  id = 0;
  /** Ring descriptors it takes (packed: how far the used position moves). */
  descs = 0;
  addr = new Float64Array(8);
  bytes = new Uint32Array(8);
  /** Device-readable segments come first. */
  out = 0;
  in = 0;
  outBytes = 0;
  inBytes = 0;

  clear(id: number): void {
    this.id = id;
    this.descs = 0;
    this.out = 0;
    this.in = 0;
    this.outBytes = 0;
    this.inBytes = 0;
  }

  /** Adds a segment; a text says what is wrong with it. */
  add(memory: GuestMemory, addr: number, bytes: number, isWritable: boolean): string | undefined {
    const count = this.out + this.in;
    if (bytes === 0) return "a buffer of zero length";
    if (!isWritable && this.in > 0) return "a readable buffer after a writable one";
    if (count === DEVICE_SEGMENTS_MAX) return "a chain of too many buffers";
    if (addr + bytes > memory.bytes) return "a buffer outside memory";
    if (count === this.addr.length) this.#grow();
    this.addr[count] = addr;
    this.bytes[count] = bytes;
    if (isWritable) {
      this.in++;
      this.inBytes += bytes;
    } else {
      this.out++;
      this.outBytes += bytes;
    }
    return undefined;
  }

  #grow(): void {
    const { addr, bytes } = this;
    this.addr = new Float64Array(addr.length * 2);
    this.addr.set(addr);
    this.bytes = new Uint32Array(bytes.length * 2);
    this.bytes.set(bytes);
  }

  /** Copies from the readable bytes, starting `at` bytes into them; returns how many were there. */
  readOut(dma: Dma, at: number, into: Uint8Array): number {
    return this.#each(0, this.out, at, into.length, (addr, from, bytes) => {
      dma.read(addr, into.subarray(from, from + bytes));
    });
  }

  /** Copies into the writable bytes, starting `at` bytes into them; returns how many there was room for. */
  writeIn(dma: Dma, at: number, from: Uint8Array): number {
    return this.#each(this.out, this.out + this.in, at, from.length, (addr, done, bytes) => {
      dma.write(addr, from.subarray(done, done + bytes));
    });
  }

  #each(
    first: number,
    end: number,
    at: number,
    total: number,
    visit: (addr: PhysAddr, done: number, bytes: number) => void,
  ): number {
    let skip = at;
    let done = 0;
    for (let i = first; i < end && done < total; i++) {
      const length = this.bytes[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const bytes = Math.min(length - skip, total - done);
      visit((this.addr[i]! + skip) as PhysAddr, done, bytes);
      done += bytes;
      skip = 0;
    }
    return done;
  }

  /** The bytes [at, at + bytes) of the readable (or writable) part in memory itself, where one segment holds them all. */
  view(dma: Dma, isWritable: boolean, at: number, bytes: number): Uint8Array | undefined {
    if (dma.view === undefined) return undefined;
    let skip = at;
    const end = isWritable ? this.out + this.in : this.out;
    for (let i = isWritable ? this.out : 0; i < end; i++) {
      const length = this.bytes[i]!;
      if (skip < length)
        return skip + bytes <= length ? dma.view((this.addr[i]! + skip) as PhysAddr, bytes) : undefined;
      skip -= length;
    }
    return undefined;
  }
}

/** What a device does with one ring, whichever format. */
export interface DeviceRing {
  /** Why the ring is unusable: the driver broke a rule. The device then needs a reset. */
  readonly broken: string | undefined;
  /** Takes the next available chain. False: none, or broken. */
  pop(chain: DeviceChain): boolean;
  /**
   * Hands chains back with one entry; visible at publish(). In order it may stand for a batch: `id` is that of its last
   * chain, `chains` and `descs` count them all, and those before the last count as completely used (2.7.9).
   */
  push(id: number, descs: number, usedBytes: number, chains: number): void;
  /** Makes pushed chains visible. True: the driver wants an interrupt. */
  publish(): boolean;
  /** Asks for a notification at the next available chain. False: one is there already. */
  enableNotify(): boolean;
  disableNotify(): void;
}

/** One descriptor, read once. */
export class DescriptorReader {
  addr = 0;
  bytes = 0;
  /** The last word: flags and next (split, tables), or id and flags (packed). */
  last = 0;

  read(u32: Uint32Array, word: number): void {
    this.addr = u32[word]! + u32[word + 1]! * 2 ** 32;
    this.bytes = u32[word + 2]!;
    this.last = u32[word + 3]!;
  }
}

/** Reads descriptors of a table anywhere in memory: in place where it can be mapped, else by a copy made once. */
export class TableReader {
  readonly #memory: GuestMemory;
  readonly #whole: Uint32Array | undefined;
  #copy = new Uint32Array(0);
  #u32: Uint32Array;
  #word = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
    const view = memory.dma.view?.(0 as PhysAddr, memory.bytes);
    this.#whole =
      view !== undefined && view.byteOffset % 4 === 0
        ? new Uint32Array(view.buffer, view.byteOffset, memory.bytes >> 2)
        : undefined;
    this.#u32 = this.#copy;
  }

  /** The table lies within memory: the caller has checked. */
  open(addr: number, bytes: number): void {
    if (this.#whole !== undefined && addr % 4 === 0) {
      this.#u32 = this.#whole;
      this.#word = addr / 4;
      return;
    }
    if (this.#copy.length < bytes / 4) this.#copy = new Uint32Array(Math.ceil(bytes / 4));
    this.#memory.dma.read(addr as PhysAddr, new Uint8Array(this.#copy.buffer, 0, bytes));
    this.#u32 = this.#copy;
    this.#word = 0;
  }

  read(into: DescriptorReader, entry: number): void {
    into.read(this.#u32, this.#word + entry * 4);
  }
}
