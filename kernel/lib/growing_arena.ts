/**
 * Memory that grows with what is asked of it (arena.ts is one buffer of a size known before): where a structure's typed
 * arrays come from, so that whoever built it can share, save and restore all of its state without knowing what is
 * inside. Each array is a SharedArrayBuffer of its own, in the order in which they were asked for; a second structure
 * built in the same way on attach() sees the same memory, as another worker does.
 *
 * Bytes that no other worker may see are copied and filled by the processor's widest moves; shared ones, which somebody
 * might race for, a word at a time. What is never shared takes the first.
 *
 * - growingArena()      fresh zeroed memory that can be shared
 * - privateArena()      the same, of one thread
 * - attach(buffers)     the memory of another one, handed out again in the same order; other lengths are a panic
 * - save(arena)         one block of bytes; load(arena, bytes) puts it back, panics when the sizes differ
 */
import { assert } from "./assert.ts";

export interface Arena<B extends ArrayBufferLike = ArrayBufferLike> {
  readonly buffers: readonly B[];
  int32(length: number): Int32Array;
  float64(length: number): Float64Array;
  uint8(length: number): Uint8Array;
}

export type GrowingArena = Arena<SharedArrayBuffer>;

/** Takes the next buffer: of `bytes`, from `given` while attaching. */
function handOut<B extends ArrayBufferLike>(next: (bytes: number) => B, buffers: readonly B[]): Arena<B> {
  return {
    buffers,
    int32: (length) => new Int32Array(next(length * 4)),
    float64: (length) => new Float64Array(next(length * 8)),
    uint8: (length) => new Uint8Array(next(length)),
  };
}

export function growingArena(): GrowingArena {
  const buffers: SharedArrayBuffer[] = [];
  return handOut((bytes) => {
    const buffer = new SharedArrayBuffer(bytes);
    buffers.push(buffer);
    return buffer;
  }, buffers);
}

export function privateArena(): Arena<ArrayBuffer> {
  const buffers: ArrayBuffer[] = [];
  return handOut((bytes) => {
    const buffer = new ArrayBuffer(bytes);
    buffers.push(buffer);
    return buffer;
  }, buffers);
}

export function attach(buffers: readonly SharedArrayBuffer[]): GrowingArena {
  let at = 0;
  return handOut((bytes) => {
    const buffer = buffers[at++];
    assert(buffer !== undefined && buffer.byteLength === bytes, "attach: the arrays are not those of the arena");
    return buffer;
  }, buffers);
}

export function save(from: Arena): Uint8Array {
  const saved = new Uint8Array(from.buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0));
  let at = 0;
  for (const buffer of from.buffers) {
    saved.set(new Uint8Array(buffer), at);
    at += buffer.byteLength;
  }
  return saved;
}

export function load(into: Arena, saved: Uint8Array): void {
  let at = 0;
  for (const buffer of into.buffers) {
    assert(at + buffer.byteLength <= saved.length, "load: the saved state is shorter");
    new Uint8Array(buffer).set(saved.subarray(at, at + buffer.byteLength));
    at += buffer.byteLength;
  }
  assert(at === saved.length, "load: the saved state is longer");
}
