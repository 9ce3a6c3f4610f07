/**
 * A growable log of events: the one form in memory that machines write, recordings of real kernels are read into, and
 * statistics, exports and imports read. Records are those of kernel/abi/events.ts, one after the other:
 *
 *   records  | 0: time f64 | type, cpu | a | b | c | d | serial | 1: ...        serial = the record's index, modulo 2^32
 *
 * They lie in blocks of a mebibyte, so that a log grows without copying what it has.
 *
 * - append(time, type, cpu, a, b, c, d)   one record, O(1)
 * - timeAt(i) typeAt(i) cpuAt(i) aAt(i) bAt(i) cAt(i) dAt(i)   for 0 <= i < count
 * - names       task -> its last name (Linux's comm); row 0 is every CPU's idle task and has none
 * - marks       texts of Mark events, by number; added only by markNumber(text), which finds or adds one
 * - cpus        CPUs of the machine; append raises it
 * - originNs, endNs   the recorded span. Unset (NaN): the first and the last event's time. See spanOf()
 *
 * Invariant: records are in the order of emission, times of one CPU never fall; sortByTime() orders a log that was
 * gathered from several rings. Owner: the one thread that appends.
 */
import { assert } from "../lib/assert.ts";
import { EVENT_BYTES, EVENT_WORDS } from "../abi/events.ts";
import { CPUS_MAX } from "../abi/limits.ts";

const BLOCK_SHIFT = 15;
const BLOCK_RECORDS = 1 << BLOCK_SHIFT;
const BLOCK_MASK = BLOCK_RECORDS - 1;
const DOUBLES = EVENT_BYTES / 8;

/** Offsets of a record's words; A to D follow each other. */
const TYPE = 2;
const A = 3;
const SERIAL = 7;

interface Block {
  readonly words: Int32Array<ArrayBuffer>;
  readonly times: Float64Array<ArrayBuffer>;
}

export class EventLog {
  count = 0;
  cpus: number;
  originNs = Number.NaN;
  endNs = Number.NaN;
  readonly names: Map<number, string> = new Map();
  readonly marks: string[] = [];
  readonly #markNumbers: Map<string, number> = new Map();
  readonly #blocks: Block[] = [];
  #last: Block;

  constructor(cpus = 1) {
    assert(cpus >= 1 && cpus <= CPUS_MAX, "EventLog: CPUs out of range");
    this.cpus = cpus;
    this.#last = this.#grow();
  }

  append(timeNs: number, type: number, cpu: number, a: number, b: number, c: number, d: number): void {
    const row = this.count;
    const slot = row & BLOCK_MASK;
    if (slot === 0 && row > 0) this.#last = this.#grow();
    const { words, times } = this.#last;
    const at = slot * EVENT_WORDS;
    times[slot * DOUBLES] = timeNs;
    words[at + TYPE] = type | (cpu << 16);
    words[at + A] = a;
    words[at + A + 1] = b;
    words[at + A + 2] = c;
    words[at + A + 3] = d;
    words[at + SERIAL] = row;
    this.count = row + 1;
    if (cpu >= this.cpus) this.cpus = cpu + 1;
  }

  timeAt(row: number): number {
    return this.#blocks[row >>> BLOCK_SHIFT]!.times[(row & BLOCK_MASK) * DOUBLES]!;
  }
  typeAt(row: number): number {
    return this.#word(row, TYPE) & 0xffff;
  }
  cpuAt(row: number): number {
    return this.#word(row, TYPE) >>> 16;
  }
  aAt(row: number): number {
    return this.#word(row, A);
  }
  bAt(row: number): number {
    return this.#word(row, A + 1);
  }
  cAt(row: number): number {
    return this.#word(row, A + 2);
  }
  dAt(row: number): number {
    return this.#word(row, A + 3);
  }

  /** A copy of the records' bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    const all = new Int32Array(this.count * EVENT_WORDS);
    for (const [index, { words }] of this.#blocks.entries()) {
      const from = index * BLOCK_RECORDS;
      const records = Math.min(BLOCK_RECORDS, this.count - from);
      all.set(words.subarray(0, records * EVENT_WORDS), from * EVENT_WORDS);
    }
    return new Uint8Array(all.buffer);
  }

  markNumber(text: string): number {
    const known = this.#markNumbers.get(text);
    if (known !== undefined) return known;
    this.#markNumbers.set(text, this.marks.length);
    return this.marks.push(text) - 1;
  }

  nameOf(task: number): string {
    return this.names.get(task) ?? (task === 0 ? "swapper" : `task-${task}`);
  }

  /** First and last instant of what was recorded; both 0 for an empty log. */
  spanOf(): { readonly fromNs: number; readonly toNs: number } {
    const empty = this.count === 0;
    const fromNs = Number.isNaN(this.originNs) ? (empty ? 0 : this.timeAt(0)) : this.originNs;
    const toNs = Number.isNaN(this.endNs) ? (empty ? fromNs : this.timeAt(this.count - 1)) : this.endNs;
    return { fromNs, toNs };
  }

  /** Orders records by time; equal times keep their order. Serials are given anew. */
  sortByTime(): void {
    const order = Uint32Array.from({ length: this.count }, (_, row) => row);
    order.sort((x, y) => this.timeAt(x) - this.timeAt(y) || x - y);
    const old = new Int32Array(this.bytes().buffer);
    for (let row = 0; row < this.count; row++) {
      const from = order[row]! * EVENT_WORDS;
      const { words } = this.#blocks[row >>> BLOCK_SHIFT]!;
      const at = (row & BLOCK_MASK) * EVENT_WORDS;
      words.set(old.subarray(from, from + EVENT_WORDS), at);
      words[at + SERIAL] = row;
    }
  }

  #word(row: number, word: number): number {
    return this.#blocks[row >>> BLOCK_SHIFT]!.words[(row & BLOCK_MASK) * EVENT_WORDS + word]!;
  }

  #grow(): Block {
    const buffer = new ArrayBuffer(BLOCK_RECORDS * EVENT_BYTES);
    const block: Block = { words: new Int32Array(buffer), times: new Float64Array(buffer) };
    this.#blocks.push(block);
    return block;
  }
}
