/**
 * A virtqueue's memory as whoever tampers with it sees it: chains that were made available, used entries to forge.
 * Reads and writes RAM directly; follows both ring formats from a ring that starts fresh at each case.
 */
import type { SimRam } from "../../drivers/index.ts";

export interface RingAddresses {
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
}

export interface SeenChain {
  /** Head (split) or buffer id (packed). */
  readonly id: number;
  readonly descs: number;
  readonly segments: readonly { readonly addr: number; readonly bytes: number; readonly isWritable: boolean }[];
}

const INDIRECT = 4;
const NEXT = 1;
const WRITE = 2;
const AVAIL = 1 << 7;
const USED = 1 << 15;

export class RingView {
  readonly isPacked: boolean;
  readonly ring: RingAddresses;
  readonly memory: DataView;
  /** Where the next chain is looked for, and where the next used entry goes. */
  #availAt = 0;
  #usedAt = 0;
  #wrap = 1;

  constructor(ram: SimRam, ring: RingAddresses, isPacked: boolean) {
    this.ring = ring;
    this.isPacked = isPacked;
    this.memory = new DataView(ram.u8.buffer);
  }

  /** Moves past `chains` of one descriptor each that an honest device used (packed), or to the ring's indices (split). */
  skip(chains: number): void {
    if (this.isPacked) {
      this.#availAt += chains;
      this.#usedAt += chains;
      while (this.#usedAt >= this.ring.size) {
        this.#usedAt -= this.ring.size;
        this.#availAt -= this.ring.size;
        this.#wrap ^= 1;
      }
      return;
    }
    this.#availAt = (this.#availAt + chains) & 0xffff;
    this.#usedAt = this.usedIdx;
  }

  get usedIdx(): number {
    return this.memory.getUint16(this.ring.device + 2, true);
  }

  set usedIdx(value: number) {
    this.memory.setUint16(this.ring.device + 2, value, true);
  }

  /** The next available chain, or undefined. */
  next(): SeenChain | undefined {
    return this.isPacked ? this.#nextPacked() : this.#nextSplit();
  }

  #descriptor(at: number): { addr: number; bytes: number; low: number; high: number } {
    const { memory } = this;
    const addr = memory.getUint32(at, true) + memory.getUint32(at + 4, true) * 2 ** 32;
    const bytes = memory.getUint32(at + 8, true);
    return { addr, bytes, low: memory.getUint16(at + 12, true), high: memory.getUint16(at + 14, true) };
  }

  #nextSplit(): SeenChain | undefined {
    const { memory, ring } = this;
    if (memory.getUint16(ring.driver + 2, true) === this.#availAt) return undefined;
    const id = memory.getUint16(ring.driver + 4 + 2 * (this.#availAt % ring.size), true);
    this.#availAt = (this.#availAt + 1) & 0xffff;
    let table = ring.desc;
    let at = id;
    const head = this.#descriptor(table + 16 * at);
    if ((head.low & INDIRECT) !== 0) {
      table = head.addr;
      at = 0;
    }
    const segments = [];
    for (let count = 0; count < ring.size; count++) {
      const { addr, bytes, low, high } = this.#descriptor(table + 16 * at);
      segments.push({ addr, bytes, isWritable: (low & WRITE) !== 0 });
      if ((low & NEXT) === 0) break;
      at = high;
    }
    return { id, descs: 1, segments };
  }

  #nextPacked(): SeenChain | undefined {
    const { ring } = this;
    const segments = [];
    let descs = 0;
    for (; descs < ring.size; descs++) {
      const at = (this.#availAt + descs) % ring.size;
      const isNextLap = this.#availAt + descs >= ring.size;
      const wrap = isNextLap ? this.#wrap ^ 1 : this.#wrap;
      const { addr, bytes, low, high } = this.#descriptor(ring.desc + 16 * at);
      if ((high & (AVAIL | USED)) !== (wrap === 1 ? AVAIL : USED)) return undefined;
      if ((high & INDIRECT) !== 0) {
        for (let entry = 0; entry < bytes / 16; entry++) {
          const one = this.#descriptor(addr + 16 * entry);
          segments.push({ addr: one.addr, bytes: one.bytes, isWritable: (one.high & WRITE) !== 0 });
        }
      } else segments.push({ addr, bytes, isWritable: (high & WRITE) !== 0 });
      if ((high & NEXT) !== 0) continue;
      this.#availAt += descs + 1;
      return { id: low, descs: descs + 1, segments };
    }
    return undefined;
  }

  /** Writes a used entry and makes it visible. */
  forge(id: number, bytes: number, descs: number): void {
    const { memory, ring } = this;
    if (this.isPacked) {
      const at = ring.desc + 16 * (this.#usedAt % ring.size);
      memory.setUint32(at + 8, bytes, true);
      memory.setUint16(at + 12, id & 0xffff, true);
      memory.setUint16(at + 14, this.#wrap === 1 ? AVAIL | USED : 0, true);
      this.#usedAt += descs;
      if (this.#usedAt >= ring.size) {
        this.#usedAt -= ring.size;
        this.#availAt -= ring.size;
        this.#wrap ^= 1;
      }
      return;
    }
    const at = ring.device + 4 + 8 * (this.#usedAt % ring.size);
    memory.setUint32(at, id, true);
    memory.setUint32(at + 4, bytes, true);
    this.#usedAt = (this.#usedAt + 1) & 0xffff;
    this.usedIdx = this.#usedAt;
  }

  /** Address of the status byte: the last writable one. */
  static statusAt(chain: SeenChain): number {
    const last = chain.segments.at(-1)!;
    return last.addr + last.bytes - 1;
  }

  static writableBytes(chain: SeenChain): number {
    return chain.segments.reduce((sum, { bytes, isWritable }) => sum + (isWritable ? bytes : 0), 0);
  }
}
