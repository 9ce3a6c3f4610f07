/**
 * The blocks of one disk image in memory, under an overlay that costs nothing until something changes: what recovery
 * and check work on. Contents lie in slots of one buffer; slot n < count is block n as it was at first, further slots
 * hold other versions. A table says which slot each block has now:
 *
 *   bytes  | slot 0 | slot 1 | ... | slot count - 1 || versions: added ones, then private copies, a stack |
 *   where  [block] -> slot                    undo  [n] -> block and the slot it had: rollback pops to a mark
 *
 * So a crash state is a table, a journal block becomes the home block by changing one number, and thousands of states a
 * second can be recovered, checked and undone without copying the image.
 *
 * - at(block)             byte address in `bytes` of the block's content now; -1 for a block that is not there
 * - writable(block)       the same, of a private copy that may be written until the next mark
 * - point(block, slot)    gives a block the content of a slot
 * - addVersion(content)   a new slot that stays when private copies go; only before the first private copy
 * - mark(), rollback(m)   all that happened since the mark is undone, in time proportional to it
 * - settle()              the present contents become the image, in place; which blocks have other bytes now
 *
 * Checksums are remembered for each slot, since a slot's content never changes but through writable():
 * - ownCrc(block)         crc32c of the whole block from register 0
 * - verdict, key          room for what a reader found out about the slot's content (csum.ts)
 * - contentLow, contentHigh(slot)    two independent 32-bit hashes of it: equal contents are found by them
 * - eachChange(mark, visit)   blocks that were given another slot since the mark, each once, with the slot they had then
 *
 * Invariant: a slot that was handed out by writable() belongs to one block and to the time since the last mark.
 */
import { assert } from "../lib/assert.ts";
import { hashWords } from "../lib/content_hash.ts";
import { crc32c } from "../lib/crc32c.ts";
import type { EditBlocks } from "./blocks.ts";

export const Verdict = { Unknown: 0, Good: 1, Bad: 2 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export interface Mark {
  readonly undone: number;
  readonly used: number;
}

export class BlockImage implements EditBlocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly count: number;
  readonly slots: number;
  /** Block -> slot. */
  readonly where: Int32Array;
  /** Slot -> what `verdict` was found for: a seed and the kind of the structure. */
  readonly key: Int32Array;
  readonly verdict: Uint8Array;
  readonly #crc: Int32Array;
  readonly #crcKnown: Uint8Array;
  readonly #words: Int32Array;
  readonly #contents: Int32Array;
  readonly #contentKnown: Uint8Array;
  /** Block -> the last walk over changes that met it. */
  readonly #met: Int32Array;
  #walk = 0;
  #undo: Int32Array = new Int32Array(256);
  #undone = 0;
  #used: number;
  /** First slot that may be written: private since the last mark. */
  #floor: number;

  /** `bytes` holds the image, then room for versions; see imageBuffer(). */
  constructor(bytes: Uint8Array, blockSize: number, count: number) {
    assert(bytes.length >= blockSize * count, "BlockImage: the buffer is smaller than its blocks");
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.blockSize = blockSize;
    this.count = count;
    this.slots = Math.floor(bytes.length / blockSize);
    this.where = new Int32Array(count);
    for (let block = 0; block < count; block++) this.where[block] = block;
    this.key = new Int32Array(this.slots);
    this.verdict = new Uint8Array(this.slots);
    this.#crc = new Int32Array(this.slots);
    this.#crcKnown = new Uint8Array(this.slots);
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    this.#contents = new Int32Array(this.slots * 2);
    this.#contentKnown = new Uint8Array(this.slots);
    this.#met = new Int32Array(count);
    this.#used = count;
    this.#floor = count;
  }

  at(block: number): number {
    return block >= 0 && block < this.count ? this.where[block]! * this.blockSize : -1;
  }

  writable(block: number): number {
    assert(block >= 0 && block < this.count, "BlockImage.writable: no such block");
    const { blockSize, where } = this;
    const old = where[block]!;
    let slot = old;
    if (old < this.#floor) {
      slot = this.#take();
      this.bytes.copyWithin(slot * blockSize, old * blockSize, (old + 1) * blockSize);
      this.#remember(block, old);
      where[block] = slot;
    }
    this.#unknow(slot);
    return slot * blockSize;
  }

  fresh(block: number): number {
    const at = this.writable(block);
    this.bytes.fill(0, at, at + this.blockSize);
    return at;
  }

  /** An image has no journal that could bring the content back. */
  forget(): void {}

  point(block: number, slot: number): void {
    assert(block >= 0 && block < this.count, "BlockImage.point: no such block");
    assert(slot < this.#floor, "BlockImage.point: a private slot cannot be shared");
    this.#remember(block, this.where[block]!);
    this.where[block] = slot;
  }

  /** True when the block's slot may be given to another block: it will not be written. */
  shareable(block: number): boolean {
    return this.where[block]! < this.#floor;
  }

  addVersion(content: Uint8Array): number {
    assert(content.length === this.blockSize, "BlockImage.addVersion: content is one block");
    assert(this.#floor === this.#used, "BlockImage.addVersion: private copies exist");
    const slot = this.#take();
    this.bytes.set(content, slot * this.blockSize);
    this.#floor = this.#used;
    return slot;
  }

  mark(): Mark {
    this.#floor = this.#used;
    return { undone: this.#undone, used: this.#used };
  }

  rollback(mark: Mark): void {
    assert(mark.undone <= this.#undone && mark.used <= this.#used, "BlockImage.rollback: the mark is gone");
    const undo = this.#undo;
    for (let at = this.#undone - 2; at >= mark.undone; at -= 2) this.where[undo[at]!] = undo[at + 1]!;
    this.#undone = mark.undone;
    this.#used = mark.used;
    this.#floor = mark.used;
  }

  ownCrc(block: number): number {
    const slot = this.where[block]!;
    if (this.#crcKnown[slot] === 0) {
      this.#crc[slot] = crc32c(0, this.bytes, slot * this.blockSize, this.blockSize);
      this.#crcKnown[slot] = 1;
    }
    return this.#crc[slot]! >>> 0;
  }

  /** Blocks that have another version than the image's, ascending. */
  changed(): number[] {
    const found = new Set<number>();
    for (let at = 0; at < this.#undone; at += 2) {
      const block = this.#undo[at]!;
      if (this.where[block] !== block) found.add(block);
    }
    return [...found].sort((a, b) => a - b);
  }

  /** Its version has the image's bytes: it was written with what was there. */
  #isAsBefore(block: number): boolean {
    const { bytes, blockSize } = this;
    const old = block * blockSize;
    const now = this.where[block]! * blockSize;
    for (let n = 0; n < blockSize; n++) if (bytes[old + n] !== bytes[now + n]) return false;
    return true;
  }

  settle(): readonly number[] {
    const { blockSize, where } = this;
    const versioned = this.changed();
    const changed = versioned.filter((block) => !this.#isAsBefore(block));
    // A block may have the slot of another block that changes, too: all are read before any is written.
    const contents = new Uint8Array(changed.length * blockSize);
    for (const [n, block] of changed.entries())
      contents.set(this.bytes.subarray(where[block]! * blockSize, (where[block]! + 1) * blockSize), n * blockSize);
    for (const block of versioned) where[block] = block;
    for (const [n, block] of changed.entries()) {
      this.bytes.set(contents.subarray(n * blockSize, (n + 1) * blockSize), block * blockSize);
      this.#unknow(block);
    }
    this.#undone = 0;
    this.#used = this.count;
    this.#floor = this.count;
    return changed;
  }

  #take(): number {
    const slot = this.#used++;
    assert(slot < this.slots, "BlockImage: no room for another version");
    this.#unknow(slot);
    return slot;
  }

  /** The slot's content is about to be another one. */
  #unknow(slot: number): void {
    this.#crcKnown[slot] = 0;
    this.#contentKnown[slot] = 0;
    this.verdict[slot] = Verdict.Unknown;
  }

  contentLow(slot: number): number {
    if (this.#contentKnown[slot] === 0) {
      const words = this.blockSize >> 2;
      hashWords(this.#words, slot * words, words, this.#contents, slot * 2);
      this.#contentKnown[slot] = 1;
    }
    return this.#contents[slot * 2]!;
  }

  /** After contentLow() of the same slot. */
  contentHigh(slot: number): number {
    return this.#contents[slot * 2 + 1]!;
  }

  eachChange(mark: Mark, visit: (block: number, before: number) => void): void {
    const walk = ++this.#walk;
    const undo = this.#undo;
    for (let at = mark.undone; at < this.#undone; at += 2) {
      const block = undo[at]!;
      if (this.#met[block] === walk) continue;
      this.#met[block] = walk;
      if (this.where[block] !== undo[at + 1]) visit(block, undo[at + 1]!);
    }
  }

  #remember(block: number, slot: number): void {
    if (this.#undone + 2 > this.#undo.length) {
      const larger = new Int32Array(this.#undo.length * 2);
      larger.set(this.#undo);
      this.#undo = larger;
    }
    this.#undo[this.#undone] = block;
    this.#undo[this.#undone + 1] = slot;
    this.#undone += 2;
  }
}

/** Room for an image and for a private copy of each of its blocks; pages that nobody touches cost no memory. */
export const imageBuffer = (imageBytes: number): Uint8Array => new Uint8Array(imageBytes * 2);
