/**
 * The volatile cache of a disk that can lose power: what has been written and is not yet durable, in the order it came.
 *
 * - note(sector, bytes)      a write (or zeroes) entered the cache; returns its serial
 * - settle(serial)           that write and nothing else is durable (FUA)
 * - settleAll(upTo, ...)     all writes with a serial up to one are durable (a flush that ended)
 * - crash(survives)          the image after a power cut: durable sectors plus the atomic units that `survives` picks
 *
 * A later durable write of a sector is never undone by an earlier one that survives: a cache holds one version.
 * Unit of survival: the atomic sector (512 or 4096 bytes); a write is torn only between units.
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { assert } from "../../kernel/lib/assert.ts";

export interface CachedWrite {
  readonly serial: number;
  readonly sector: number;
  readonly bytes: Uint8Array;
}

export class DiskCache {
  readonly durable: Uint8Array;
  readonly atomicBytes: number;
  #writes: CachedWrite[] = [];
  #serial = 0;
  /** By sector: serial of the write that is durable there. */
  readonly #durableSerial: Float64Array;

  constructor(image: Uint8Array, atomicBytes: number) {
    assert(atomicBytes === 512 || atomicBytes === 4096, "DiskCache: the atomic sector is 512 or 4096 bytes");
    this.durable = image.slice();
    this.atomicBytes = atomicBytes;
    this.#durableSerial = new Float64Array(image.length / SECTOR_SIZE);
  }

  get writes(): readonly CachedWrite[] {
    return this.#writes;
  }

  get serial(): number {
    return this.#serial;
  }

  note(sector: number, bytes: Uint8Array): number {
    this.#serial++;
    this.#writes.push({ serial: this.#serial, sector, bytes: bytes.slice() });
    return this.#serial;
  }

  #apply(write: CachedWrite): void {
    const sectors = write.bytes.length / SECTOR_SIZE;
    for (let i = 0; i < sectors; i++) {
      const sector = write.sector + i;
      if (this.#durableSerial[sector]! > write.serial) continue;
      this.#durableSerial[sector] = write.serial;
      this.durable.set(write.bytes.subarray(i * SECTOR_SIZE, (i + 1) * SECTOR_SIZE), sector * SECTOR_SIZE);
    }
  }

  settle(serial: number): void {
    const write = this.#writes.find((one) => one.serial === serial);
    if (write === undefined) return;
    this.#apply(write);
    this.#writes = this.#writes.filter((one) => one !== write);
  }

  /** Makes durable all writes up to `serial` for which `isDone` holds (a flush covers what had ended when it came). */
  settleAll(serial: number, isDone: (serial: number) => boolean): void {
    const left: CachedWrite[] = [];
    for (const write of this.#writes) {
      if (write.serial <= serial && isDone(write.serial)) this.#apply(write);
      else left.push(write);
    }
    this.#writes = left;
  }

  /** `survives(write, unit)`: does the unit-th atomic unit of that write reach the medium? */
  crash(survives: (write: CachedWrite, unit: number) => boolean): Uint8Array {
    const image = this.durable.slice();
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
