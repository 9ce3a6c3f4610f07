/**
 * Per-CPU event rings in one SharedArrayBuffer. Each ring has one writer, the CPU it belongs to, and any number of
 * readers in any thread; a full ring overwrites its oldest record and the writer never waits.
 *
 *   rings    | ring of CPU 0 | ring of CPU 1 | ...
 *   ring     | line 0: RESERVED, COMMITTED, CPUS, RECORDS | line 1: FENCE | records, 32 bytes each |
 *
 * - createRings(cpus, records)             records a ring, a power of two; the buffer goes to other workers as it is
 * - attachRings(buffer)                    the same rings in another worker
 * - ringWrite(ring, time, type, a, b, c, d)   by the owner only
 * - ringCursor(ring), drainRing(cursor, log)  appends what is new to a log, in order, and counts what was lost
 *
 * Protocol: the writer announces the record it is about to overwrite (RESERVED, an exchange: a full barrier), writes
 * it plainly, then publishes it (COMMITTED, a release). A reader copies up to COMMITTED, passes a full barrier (an
 * exchange on FENCE, which no writer touches), and only then looks at RESERVED: copies of slots that were announced
 * meanwhile may be torn and are thrown away. So no torn record is ever returned, at two atomic words an event.
 * Counters and serials are modulo 2^32; a reader that falls 2^31 records behind counts its loss modulo 2^32.
 * RESERVED and COMMITTED are the owner's to write, FENCE any reader's.
 */
import { assert } from "../lib/assert.ts";
import { EVENT_BYTES, EVENT_WORDS } from "../abi/events.ts";
import { CPUS_MAX, RING_RECORDS_MAX } from "../abi/limits.ts";
import type { EventLog } from "./event_log.ts";

const RESERVED = 0;
const COMMITTED = 1;
const CPUS = 2;
const RECORDS = 3;
const FENCE = 16;
const HEADER_WORDS = 32;
const HEADER_BYTES = HEADER_WORDS * 4;

export interface EventRing {
  readonly cpu: number;
  readonly records: number;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly times: Float64Array<SharedArrayBuffer>;
}

export interface EventRings {
  readonly buffer: SharedArrayBuffer;
  readonly rings: readonly EventRing[];
}

const ringBytes = (records: number): number => HEADER_BYTES + records * EVENT_BYTES;

export function createRings(cpus: number, records: number): EventRings {
  assert(cpus >= 1 && cpus <= CPUS_MAX, "createRings: CPUs out of range");
  assert(records >= 2 && records <= RING_RECORDS_MAX, "createRings: records out of range");
  assert((records & (records - 1)) === 0, "createRings: records must be a power of two");
  const buffer = new SharedArrayBuffer(cpus * ringBytes(records));
  for (let cpu = 0; cpu < cpus; cpu++) {
    const words = new Int32Array(buffer, cpu * ringBytes(records), HEADER_WORDS);
    words[CPUS] = cpus;
    words[RECORDS] = records;
  }
  return attachRings(buffer);
}

export function attachRings(buffer: SharedArrayBuffer): EventRings {
  const head = new Int32Array(buffer, 0, HEADER_WORDS);
  const cpus = head[CPUS]!;
  const records = head[RECORDS]!;
  assert(buffer.byteLength === cpus * ringBytes(records), "attachRings: not a buffer of event rings");
  const rings = Array.from({ length: cpus }, (_, cpu): EventRing => {
    const at = cpu * ringBytes(records);
    const bytes = ringBytes(records);
    const words = new Int32Array(buffer, at, bytes / 4);
    return { cpu, records, words, times: new Float64Array(buffer, at, bytes / 8) };
  });
  return { buffer, rings };
}

export function ringWrite(
  ring: EventRing,
  timeNs: number,
  type: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  const words = ring.words;
  const serial = words[COMMITTED]!;
  const slot = serial & (ring.records - 1);
  const at = HEADER_WORDS + slot * EVENT_WORDS;
  Atomics.exchange(words, RESERVED, (serial + 1) | 0);
  ring.times[at >> 1] = timeNs;
  words[at + 2] = type | (ring.cpu << 16);
  words[at + 3] = a;
  words[at + 4] = b;
  words[at + 5] = c;
  words[at + 6] = d;
  words[at + 7] = serial;
  Atomics.store(words, COMMITTED, (serial + 1) | 0);
}

/** How far one reader has come in one ring. */
export interface RingCursor {
  readonly ring: EventRing;
  /** Serial of the next record to read. */
  next: number;
  /** Records overwritten before they were read. */
  lost: number;
  /** Room for a copy of the whole ring: what a barrier has not yet confirmed is not shown. */
  readonly copy: Int32Array<ArrayBuffer>;
}

/** Starts at the oldest record that the ring still has. */
export function ringCursor(ring: EventRing): RingCursor {
  return { ring, next: 0, lost: 0, copy: new Int32Array(ring.records * EVENT_WORDS) };
}

/** Appends the ring's new records to `log`. Returns how many. */
export function drainRing(cursor: RingCursor, log: EventLog): number {
  const { ring, copy } = cursor;
  const words = ring.words;
  const committed = Atomics.load(words, COMMITTED);
  let first = cursor.next;
  if (((committed - first) | 0) > ring.records) first = (committed - ring.records) | 0;
  const copied = (committed - first) | 0;
  for (let i = 0; i < copied; i++) {
    const from = HEADER_WORDS + ((first + i) & (ring.records - 1)) * EVENT_WORDS;
    for (let word = 0; word < EVENT_WORDS; word++) copy[i * EVENT_WORDS + word] = words[from + word]!;
  }
  Atomics.exchange(words, FENCE, 0);
  // A slot is safe when the record `records` later in the same slot was not even announced.
  const oldestSafe = (Atomics.load(words, RESERVED) - ring.records) | 0;
  const torn = Math.min(Math.max((oldestSafe - first) | 0, 0), copied);
  cursor.lost += ((first - cursor.next) >>> 0) + torn;
  const times = new Float64Array(copy.buffer);
  for (let i = torn; i < copied; i++) {
    const at = i * EVENT_WORDS;
    assert(copy[at + 7] === ((first + i) | 0), "drainRing: a record's serial is not its place");
    const head = copy[at + 2]!;
    log.append(times[at >> 1]!, head & 0xffff, head >>> 16, copy[at + 3]!, copy[at + 4]!, copy[at + 5]!, copy[at + 6]!);
  }
  cursor.next = committed;
  return copied - torn;
}
