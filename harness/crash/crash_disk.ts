/**
 * The disk after a crash, as an overlay: the image with the writes of all earlier epochs, and of one segment those that
 * survived. A state is made and undone in microseconds; nothing is copied but blocks that a write covers in part.
 *
 * - new CrashDisk(recorded, blockSize)
 * - enter(segment)           the base is now all that was durable before it; going backwards costs the writes between
 * - state(set)               the image is that state, until undo()
 * - image, rawKey()          what the state is, and a key of its content: equal contents have equal keys
 * - dataKey()                the same without the blocks that `skip` names: after recovery, the journal's own
 * - advance(writes)          applies writes for good, for reference trees between segments
 * - close()                  the next disk may have this one's memory: for thousands of them one after the other
 *
 * A key adds up a hash of each block that differs from the base image: two lanes of 32 bits, of which 53 are kept.
 */
import { placedHash } from "../../kernel/lib/content_hash.ts";
import { BlockImage } from "../../kernel/index.ts";
import type { Mark } from "../../kernel/index.ts";
import type { LoggedWrite, Recorded, Segment } from "./recorded.ts";
import type { StateSet } from "./state_set.ts";

/** Blocks that a recovery and a torn write may copy, at least; a quarter of a larger image. */
const PRIVATE_BLOCKS_MIN = 4_096;
const NO_SLOT = -1;

/** Memory of a disk that was closed: tens of megabytes, which the collector would have to be begged for each time. */
let spare: Uint8Array | undefined;

function takeBytes(length: number): Uint8Array {
  const bytes = spare !== undefined && spare.length >= length ? spare : new Uint8Array(length);
  spare = undefined;
  return bytes;
}

/** Where a write's blocks lie: versions for those that it covers whole. */
interface Placed {
  readonly write: LoggedWrite;
  readonly firstBlock: number;
  /** Slot of each block; NO_SLOT for one that is covered in part. */
  readonly slots: Int32Array;
}

export class CrashDisk {
  readonly image: BlockImage;
  readonly recorded: Recorded;
  /** A byte a block: not 0 for those that dataKey() leaves out. */
  readonly skip: Uint8Array;
  readonly #key = new Int32Array(2);
  /** Keys of the base: of all blocks, and without `skip`. */
  readonly #base = new Int32Array(2);
  readonly #baseData = new Int32Array(2);
  #applied = 0;
  #segment: Segment | undefined;
  #placed: Placed[] = [];
  #mark: Mark;

  constructor(recorded: Recorded, blockSize: number) {
    const { base, writes } = recorded;
    const count = Math.floor(base.length / blockSize);
    this.skip = new Uint8Array(count);
    const logBlocks = writes.reduce((sum, { length }) => sum + Math.ceil(length / blockSize) + 1, 0);
    const bytes = takeBytes((count + Math.max(PRIVATE_BLOCKS_MIN, count >> 2) + logBlocks) * blockSize);
    bytes.set(base.subarray(0, count * blockSize));
    this.recorded = recorded;
    this.image = new BlockImage(bytes, blockSize, count);
    this.#mark = this.image.mark();
  }

  close(): void {
    spare = this.image.bytes;
  }

  /** Writes before this one are in the base. */
  get applied(): number {
    return this.#applied;
  }

  /** All writes up to `serial`, and no other, for good. */
  advance(serial: number): void {
    if (serial === this.#applied) return;
    if (serial < this.#applied) this.#rewind();
    const { image } = this;
    image.rollback(this.#mark);
    const before = image.mark();
    for (; this.#applied < serial; this.#applied++) this.#cover(this.recorded.writes[this.#applied]!, 0, Infinity);
    this.#sum(before, this.#base, false);
    this.#sum(before, this.#baseData, true);
    image.settle();
    this.#segment = undefined;
    this.#mark = image.mark();
    this.generation++;
  }

  /** The image before the first write. */
  #rewind(): void {
    const { image, recorded } = this;
    const { blockSize } = image;
    image.rollback(this.#mark);
    for (const { offset, length } of recorded.writes.slice(0, this.#applied)) {
      const last = Math.min(Math.ceil((offset + length) / blockSize), image.count);
      for (let block = Math.floor(offset / blockSize); block < last; block++)
        image.bytes.set(recorded.base.subarray(block * blockSize, (block + 1) * blockSize), image.writable(block));
    }
    image.settle();
    this.#mark = image.mark();
    this.#applied = 0;
    this.#base.fill(0);
    this.#baseData.fill(0);
  }

  enter(segment: Segment): void {
    const { recorded, image } = this;
    this.advance(recorded.epochs[segment.epoch]!);
    image.rollback(this.#mark);
    // Versions of the segment before go: they are slots behind the image.
    image.settle();
    this.#placed = segment.writes.map((write) => this.#place(write));
    this.#segment = segment;
    this.#mark = image.mark();
    this.generation++;
  }

  #place(write: LoggedWrite): Placed {
    const { image } = this;
    const { blockSize } = image;
    const firstBlock = Math.floor(write.offset / blockSize);
    const end = write.offset + write.length;
    const slots = new Int32Array(Math.ceil(end / blockSize) - firstBlock).fill(NO_SLOT);
    const zeroes = write.data === undefined ? new Uint8Array(blockSize) : undefined;
    for (let n = 0; n < slots.length; n++) {
      const at = (firstBlock + n) * blockSize - write.offset;
      if (at < 0 || at + blockSize > write.length || firstBlock + n >= image.count) continue;
      slots[n] = image.addVersion(zeroes ?? write.data!.subarray(at, at + blockSize));
    }
    return { write, firstBlock, slots };
  }

  state(set: StateSet): BlockImage {
    const { image } = this;
    const segment = this.#segment!;
    image.rollback(this.#mark);
    for (let at = 0, free = 0; at < segment.writes.length; at++) {
      const placed = this.#placed[at]!;
      if (segment.forced[at]!) this.#put(placed);
      else {
        const n = free++;
        if (set.kept[n] === 0) continue;
        if (set.tear?.write !== n) this.#put(placed);
        else if (set.tear.head) this.#cover(placed.write, 0, set.tear.bytes);
        else this.#cover(placed.write, set.tear.bytes, Infinity);
      }
    }
    return image;
  }

  /** Changes with the segment: what was remembered about slots is void. */
  generation = 0;

  /** True when no other state of the segment has another content in this block's slot. */
  isStable(block: number): boolean {
    return this.image.where[block]! < this.#mark.used;
  }

  undo(): void {
    this.image.rollback(this.#mark);
  }

  #put({ write, firstBlock, slots }: Placed): void {
    const { image } = this;
    const { blockSize } = image;
    for (let n = 0; n < slots.length; n++) {
      if (slots[n] !== NO_SLOT) image.point(firstBlock + n, slots[n]!);
      else {
        const start = (firstBlock + n) * blockSize - write.offset;
        this.#cover(write, Math.max(0, start), start + blockSize);
      }
    }
  }

  /** The write's bytes from .. to, by copies. */
  #cover(write: LoggedWrite, from: number, to: number): void {
    const { image } = this;
    const { blockSize } = image;
    const end = Math.min(to, write.length);
    for (let at = from; at < end;) {
      const block = Math.floor((write.offset + at) / blockSize);
      const inside = write.offset + at - block * blockSize;
      const length = Math.min(blockSize - inside, end - at);
      // A last block that is not whole lies beyond the file system.
      if (block < image.count) {
        const address = image.writable(block) + inside;
        if (write.data === undefined) image.bytes.fill(0, address, address + length);
        else image.bytes.set(write.data.subarray(at, at + length), address);
      }
      at += length;
    }
  }

  rawKey(): number {
    this.#key.set(this.#base);
    this.#sum(this.#mark, this.#key, false);
    return joined(this.#key);
  }

  dataKey(): number {
    this.#key.set(this.#baseData);
    this.#sum(this.#mark, this.#key, true);
    return joined(this.#key);
  }

  /** Adds what changed since a mark to a key: minus the blocks as they were, plus what they are. */
  #sum(since: Mark, key: Int32Array, skips: boolean): void {
    const { image, skip } = this;
    const { where } = image;
    image.eachChange(since, (block, before) => {
      if (skips && skip[block] !== 0) return;
      addBlock(image, key, block, before, -1);
      addBlock(image, key, block, where[block]!, 1);
    });
  }
}

function addBlock(image: BlockImage, key: Int32Array, block: number, slot: number, sign: 1 | -1): void {
  const low = image.contentLow(slot);
  const high = image.contentHigh(slot);
  key[0] = (key[0]! + sign * placedHash(block, low, high)) | 0;
  key[1] = (key[1]! + sign * placedHash(~block, high, low)) | 0;
}

const joined = (key: Int32Array): number => (key[1]! & 0x1fffff) * 2 ** 32 + (key[0]! >>> 0);
