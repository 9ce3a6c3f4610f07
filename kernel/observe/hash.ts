/**
 * SHA-256 of a machine's events, taken at emission whether or not a trace is kept: two runs are the same run exactly
 * when it is the same. What is hashed is the stream of 32-byte records of kernel/abi/events.ts in order of emission
 * over all CPUs, serial counted over the whole stream, in the host's byte order (little-endian wherever Node runs).
 *
 * - take(time, type, cpu, a, b, c, d)   one event; buffered, a digest step every BLOCK_RECORDS events
 * - hex()                               the digest so far; may be asked at any time, and taking goes on after it
 * - count                               events taken
 */
import { createHash } from "node:crypto";
import { EVENT_BYTES, EVENT_WORDS } from "../abi/events.ts";

/** 64 KiB: a call into the digest costs about a microsecond, the bytes twenty times that; still in the second cache. */
const BLOCK_RECORDS = 2048;
const DOUBLES = EVENT_BYTES / 8;

export class EventHash {
  count = 0;
  #used = 0;
  readonly #digest = createHash("sha256");
  readonly #bytes: Uint8Array = new Uint8Array(BLOCK_RECORDS * EVENT_BYTES);
  readonly #words: Int32Array = new Int32Array(this.#bytes.buffer);
  readonly #times: Float64Array = new Float64Array(this.#bytes.buffer);

  take(timeNs: number, type: number, cpu: number, a: number, b: number, c: number, d: number): void {
    const words = this.#words;
    const used = this.#used;
    const at = used * EVENT_WORDS;
    this.#times[used * DOUBLES] = timeNs;
    words[at + 2] = type | (cpu << 16);
    words[at + 3] = a;
    words[at + 4] = b;
    words[at + 5] = c;
    words[at + 6] = d;
    words[at + 7] = this.count++;
    this.#used = used + 1;
    if (used + 1 === BLOCK_RECORDS) this.#drain();
  }

  hex(): string {
    this.#drain();
    return this.#digest.copy().digest("hex");
  }

  #drain(): void {
    this.#digest.update(this.#bytes.subarray(0, this.#used * EVENT_BYTES));
    this.#used = 0;
  }
}
