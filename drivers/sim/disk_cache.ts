/**
 * The volatile cache of a disk that can lose power: what has been written and is not yet durable, in the order it came.
 *
 * - note(sector, bytes)      a write (or zeroes) enters the cache, before the image takes its bytes; returns its serial
 * - settle(serial)           that write and nothing else is durable (FUA)
 * - settleAll(upTo, ...)     all writes with a serial up to one are durable (a flush that ended)
 * - crash(survives)          the image after a power cut: durable sectors plus the atomic units that `survives` picks
 *
 * What is durable is the image, but for chunks that have volatile writes: those are kept as they are on the medium.
 * A later durable write of a sector is never undone by an earlier one that survives: a cache holds one version.
 * Unit of survival: the atomic sector (512 or 4096 bytes); a write is torn only between units.
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { assert } from "../../kernel/lib/assert.ts";

/** A multiple of the atomic sector. */
const CHUNK_BYTES = 4096;

export interface CachedWrite {
  readonly serial: number;
  readonly sector: number;
  readonly bytes: Uint8Array;
}

export class DiskCache {
  readonly atomicBytes: number;
  #writes: CachedWrite[] = [];
  #serial = 0;
  readonly #image: Uint8Array;
  /** Chunk number -> its bytes on the medium. */
  readonly #chunks = new Map<number, Uint8Array>();
  /** By sector: serial of the write that is durable there. */
  readonly #durableSerial: Float64Array;

  readonly #durable: ((sector: number, bytes: Uint8Array) => void) | undefined;

  /** `durable` is told of sectors that become so. */
  constructor(image: Uint8Array, atomicBytes: number, durable?: (sector: number, bytes: Uint8Array) => void) {
    assert(atomicBytes === 512 || atomicBytes === 4096, "DiskCache: the atomic sector is 512 or 4096 bytes");
    this.#image = image;
    this.atomicBytes = atomicBytes;
    this.#durable = durable;
    this.#durableSerial = new Float64Array(image.length / SECTOR_SIZE);
  }

  /** The medium. */
  get durable(): Uint8Array {
    const image = this.#image.slice();
    for (const [chunk, bytes] of this.#chunks) image.set(bytes, chunk * CHUNK_BYTES);
    return image;
  }

  get writes(): readonly CachedWrite[] {
    return this.#writes;
  }

  get serial(): number {
    return this.#serial;
  }

  note(sector: number, bytes: Uint8Array): number {
    this.#serial++;
    const end = sector * SECTOR_SIZE + bytes.length;
    for (let chunk = Math.floor((sector * SECTOR_SIZE) / CHUNK_BYTES); chunk * CHUNK_BYTES < end; chunk++) {
      if (this.#chunks.has(chunk)) continue;
      this.#chunks.set(chunk, this.#image.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES));
    }
    this.#writes.push({ serial: this.#serial, sector, bytes: bytes.slice() });
    return this.#serial;
  }

  #apply(write: CachedWrite): void {
    const sectors = write.bytes.length / SECTOR_SIZE;
    for (let i = 0; i < sectors; i++) {
      const sector = write.sector + i;
      if (this.#durableSerial[sector]! > write.serial) continue;
      this.#durableSerial[sector] = write.serial;
      const at = sector * SECTOR_SIZE;
      const chunk = this.#chunks.get(Math.floor(at / CHUNK_BYTES))!;
      chunk.set(write.bytes.subarray(i * SECTOR_SIZE, (i + 1) * SECTOR_SIZE), at % CHUNK_BYTES);
    }
    if (this.#durable !== undefined) this.#tell(write, this.#durable);
  }

  /** The runs of sectors of which this write is what is durable. */
  #tell({ sector, bytes, serial }: CachedWrite, durable: (sector: number, bytes: Uint8Array) => void): void {
    const sectors = bytes.length / SECTOR_SIZE;
    for (let from = 0, to = 0; from < sectors; from = to) {
      const ours = this.#durableSerial[sector + from] === serial;
      for (to = from + 1; to < sectors && (this.#durableSerial[sector + to] === serial) === ours;) to++;
      if (ours) durable(sector + from, bytes.subarray(from * SECTOR_SIZE, to * SECTOR_SIZE));
    }
  }

  settle(serial: number): void {
    const write = this.#writes.find((one) => one.serial === serial);
    if (write === undefined) return;
    this.#apply(write);
    this.#keep(this.#writes.filter((one) => one !== write));
  }

  /** Without volatile writes the image is the medium. */
  #keep(writes: CachedWrite[]): void {
    this.#writes = writes;
    if (writes.length === 0) this.#chunks.clear();
  }

  /** Makes durable all writes up to `serial` for which `isDone` holds (a flush covers what had ended when it came). */
  settleAll(serial: number, isDone: (serial: number) => boolean): void {
    const left: CachedWrite[] = [];
    for (const write of this.#writes) {
      if (write.serial <= serial && isDone(write.serial)) this.#apply(write);
      else left.push(write);
    }
    this.#keep(left);
  }

  /** `survives(write, unit)`: does the unit-th atomic unit of that write reach the medium? */
  crash(survives: (write: CachedWrite, unit: number) => boolean): Uint8Array {
    const image = this.durable;
    for (const write of this.#writes) {
      const start = write.sector * SECTOR_SIZE;
      const end = start + write.bytes.length;
      let unit = 0;
      // Units are aligned on the medium; the first and last may be partly covered.
      for (let at = start; at < end; unit++) {
        const stop = Math.min((Math.floor(at / this.atomicBytes) + 1) * this.atomicBytes, end);
        if (survives(write, unit)) this.#copySectors(image, write, at, stop);
        at = stop;
      }
    }
    return image;
  }

  #copySectors(image: Uint8Array, write: CachedWrite, from: number, to: number): void {
    const start = write.sector * SECTOR_SIZE;
    for (let at = from; at < to; at += SECTOR_SIZE) {
      if (this.#durableSerial[at / SECTOR_SIZE]! > write.serial) continue;
      image.set(write.bytes.subarray(at - start, at - start + SECTOR_SIZE), at);
    }
  }
}
