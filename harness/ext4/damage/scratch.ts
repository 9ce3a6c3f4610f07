/**
 * An image that is damaged and made whole again, thousands of times a second: what is about to change is kept first, in
 * pieces of 1 KiB.
 *
 * - new Scratch(bytes)          `bytes` is copied, with room for versions behind it (block_image.ts)
 * - set(at, width, value)       little-endian; be(...) big-endian
 * - keep(at, length)            before anyone else writes there
 * - restore()
 */
import { imageBuffer } from "../../../kernel/index.ts";

const PIECE_BYTES = 1024;

export class Scratch {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly sizeBytes: number;
  readonly #kept = new Map<number, Uint8Array>();

  constructor(bytes: Uint8Array) {
    this.bytes = imageBuffer(bytes.length);
    this.bytes.set(bytes);
    this.view = new DataView(this.bytes.buffer);
    this.sizeBytes = bytes.length;
  }

  keep(at: number, length: number): void {
    for (let piece = Math.floor(at / PIECE_BYTES); piece * PIECE_BYTES < at + length; piece++)
      if (!this.#kept.has(piece))
        this.#kept.set(piece, this.bytes.slice(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES));
  }

  set(at: number, width: 1 | 2 | 4, value: number): void {
    this.keep(at, width);
    if (width === 1) this.view.setUint8(at, value & 0xff);
    else if (width === 2) this.view.setUint16(at, value & 0xffff, true);
    else this.view.setUint32(at, value >>> 0, true);
  }

  be(at: number, width: 2 | 4, value: number): void {
    this.keep(at, width);
    if (width === 2) this.view.setUint16(at, value & 0xffff);
    else this.view.setUint32(at, value >>> 0);
  }

  get(at: number, width: 1 | 2 | 4): number {
    if (width === 1) return this.view.getUint8(at);
    return width === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true);
  }

  restore(): void {
    for (const [piece, bytes] of this.#kept) this.bytes.set(bytes, piece * PIECE_BYTES);
    this.#kept.clear();
  }
}
