/**
 * One SharedArrayBuffer from which the parts of a machine take their arrays in a fixed order. Every worker that makes
 * the same calls in the same order sees the same memory; only the first finds it zeroed. Each array starts on a cache
 * line of its own.
 */
import { assert } from "./assert.ts";

const LINE_BYTES = 64;

export class Arena {
  readonly buffer: SharedArrayBuffer;
  #used = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
  }

  get usedBytes(): number {
    return this.#used;
  }

  i32(words: number): Int32Array {
    return new Int32Array(this.buffer, this.#take(words * 4), words);
  }

  f64(elements: number): Float64Array {
    return new Float64Array(this.buffer, this.#take(elements * 8), elements);
  }

  u8(bytes: number): Uint8Array {
    return new Uint8Array(this.buffer, this.#take(bytes), bytes);
  }

  #take(bytes: number): number {
    const at = this.#used;
    this.#used = Math.ceil((at + bytes) / LINE_BYTES) * LINE_BYTES;
    assert(this.#used <= this.buffer.byteLength, "Arena: the machine's memory is too small for its tables");
    return at;
  }
}
