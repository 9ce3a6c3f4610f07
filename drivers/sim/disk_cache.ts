/**
 * The volatile cache of a disk that can lose power: what has been written and is not yet durable, in the order it came.
 *
 * - note(sector, length)     a write (or zeroes) enters the cache, before the image takes its bytes; returns its serial
 * - settle(serial)           that write and nothing else is durable (FUA)
 * - settleAll(upTo, ...)     all writes with a serial up to one are durable (a flush that ended)
 * - crash(survives)          the image after a power cut: durable sectors plus the atomic units that `survives` picks
 *
 * Kept is an undo log, from the oldest write that is volatile on: of each write what the image held before it. Unwound
 * from its end, the image is the medium without any of them, and on the way shows what each had written; from there they
 * are done again in their order, the durable ones whole. So a write costs one copy, and a flush that covers all none.
 * A later durable write of a sector is never undone by an earlier one that survives: a cache holds one version.
 * Unit of survival: the atomic sector (512 or 4096 bytes); a write is torn only between units.
 */
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { assert } from "../../kernel/lib/assert.ts";

interface Write {
  readonly serial: number;
  /** Of the image. */
  readonly start: number;
  readonly end: number;
  /** Where its bytes of before lie. */
  at: number;
  isDurable: boolean;
}

export class DiskCache {
  readonly atomicBytes: number;
  #serial = 0;
  readonly #image: Uint8Array;
  /** Serials follow each other; the first is volatile. */
  #log: Write[] = [];
  /** What the image held before: one write's bytes behind the other's, without holes. */
  #undo = new Uint8Array(0);
  #used = 0;
  readonly #durable: ((sector: number, bytes: Uint8Array) => void) | undefined;

  /** `durable` is told of sectors that become so. */
  constructor(image: Uint8Array, atomicBytes: number, durable?: (sector: number, bytes: Uint8Array) => void) {
    assert(atomicBytes === 512 || atomicBytes === 4096, "DiskCache: the atomic sector is 512 or 4096 bytes");
    this.#image = image;
    this.atomicBytes = atomicBytes;
    this.#durable = durable;
  }

  /** The medium. */
  get durable(): Uint8Array {
    return this.crash(() => false);
  }

  get serial(): number {
    return this.#serial;
  }

  note(sector: number, length: number): number {
    const start = sector * SECTOR_SIZE;
    const end = start + length;
    const at = this.#reserve(length);
    this.#undo.set(this.#image.subarray(start, end), at);
    this.#log.push({ serial: ++this.#serial, start, end, at, isDurable: false });
    return this.#serial;
  }

  /** Room behind the log's bytes: they move to the front, of twice what is needed when they fill more than half. */
  #reserve(length: number): number {
    if (this.#used + length > this.#undo.length) {
      const first = this.#log[0]?.at ?? this.#used;
      const kept = this.#undo.subarray(first, this.#used);
      const needed = kept.length + length;
      if (2 * needed > this.#undo.length) this.#undo = new Uint8Array(2 * needed);
      this.#undo.set(kept);
      for (const write of this.#log) write.at -= first;
      this.#used = kept.length;
    }
    const at = this.#used;
    this.#used += length;
    return at;
  }

  settle(serial: number): void {
    const index = serial - (this.#log[0]?.serial ?? Infinity);
    if (index < 0 || this.#log[index]!.isDurable) return;
    this.#settle(index);
    this.#forget();
  }

  /** Makes durable all writes up to `serial` for which `isDone` holds (a flush covers what had ended when it came). */
  settleAll(serial: number, isDone: (serial: number) => boolean): void {
    for (const [index, write] of this.#log.entries()) {
      if (write.serial > serial) break;
      if (!write.isDurable && isDone(write.serial)) this.#settle(index);
    }
    this.#forget();
  }

  #settle(index: number): void {
    this.#log[index]!.isDurable = true;
    if (this.#durable !== undefined) this.#tell(index, this.#durable);
  }

  /** Durable writes before all volatile ones are nobody's to undo. */
  #forget(): void {
    const volatile = this.#log.findIndex(({ isDurable }) => !isDurable);
    if (volatile < 0) {
      this.#log = [];
      this.#used = 0;
    } else if (volatile > 0) this.#log.splice(0, volatile);
  }

  /** The runs of sectors of which this write is what is durable. */
  #tell(index: number, durable: (sector: number, bytes: Uint8Array) => void): void {
    const { start, end } = this.#log[index]!;
    const bytes = this.#image.slice(start, end);
    const newer = new Uint8Array((end - start) / SECTOR_SIZE);
    for (let later = this.#log.length - 1; later > index; later--) {
      const other = this.#log[later]!;
      const from = Math.max(start, other.start);
      const to = Math.min(end, other.end);
      if (from >= to) continue;
      bytes.set(this.#undo.subarray(other.at + from - other.start, other.at + to - other.start), from - start);
      if (other.isDurable) newer.fill(1, (from - start) / SECTOR_SIZE, (to - start) / SECTOR_SIZE);
    }
    for (let from = 0, to = 0; from < newer.length; from = to) {
      for (to = from + 1; to < newer.length && newer[to] === newer[from];) to++;
      if (newer[from] === 0) durable(start / SECTOR_SIZE + from, bytes.subarray(from * SECTOR_SIZE, to * SECTOR_SIZE));
    }
  }

  /** `survives(serial, unit)`: does the unit-th atomic unit of that write reach the medium? */
  crash(survives: (serial: number, unit: number) => boolean): Uint8Array {
    const image = this.#image.slice();
    const written = this.#unwind(image);
    for (const [index, { serial, start, end, isDurable }] of this.#log.entries()) {
      const bytes = written[index]!;
      if (isDurable) {
        image.set(bytes, start);
        continue;
      }
      let unit = 0;
      // Units are aligned on the medium; the first and last may be partly covered.
      for (let at = start; at < end; unit++) {
        const stop = Math.min((Math.floor(at / this.atomicBytes) + 1) * this.atomicBytes, end);
        if (survives(serial, unit)) image.set(bytes.subarray(at - start, stop - start), at);
        at = stop;
      }
    }
    return image;
  }

  /** Takes the log's writes out of `image`, the last first; what each had written. */
  #unwind(image: Uint8Array): Uint8Array[] {
    const written: Uint8Array[] = [];
    for (let index = this.#log.length - 1; index >= 0; index--) {
      const { start, end, at } = this.#log[index]!;
      written[index] = image.slice(start, end);
      image.set(this.#undo.subarray(at, at + end - start), start);
    }
    return written;
  }
}
