/**
 * A BlockDevice around another that records every write, flush, trim and zeroing that succeeded, and markers.
 *
 * - new RecordingDisk(disk, sink, nowMs, flushAt)
 * - disk.mark(text)         a marker, after all that ended so far
 * - memorySink(), fileSink(path)
 *
 * The order is chosen so that the log never promises more than the device did: a write is recorded when it has ended,
 * a flush where it was submitted (writes in flight at that moment are not covered by it). A write with PREFLUSH is a
 * flush and a write. A disk that ends everything within submit is recorded exactly.
 *
 * `flushAt` "end" records a flush where it has ended. What ended while it was in flight then stands before it, as what may
 * be there when nothing before it is: a crash that the other order does not have. That it is durable behind the flush is
 * no promise of the device, but may be so; each order has states that are possible, and neither has all.
 */
import { closeSync, openSync, writevSync } from "node:fs";
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { LOG_HEAD_BYTES, LogType, encodeHead } from "./log.ts";
import type { LogEntry } from "./log.ts";

export interface LogSink {
  append(entry: LogEntry): void;
  /** How many were appended. */
  readonly count: number;
  close(): void;
}

/** Keeps the records; a write's bytes are kept by reference, which is safe where no writer uses a buffer twice. */
export function memorySink(): LogSink & { readonly entries: LogEntry[] } {
  const entries: LogEntry[] = [];
  return {
    entries,
    append: (entry) => void entries.push(entry),
    get count() {
      return entries.length;
    },
    close: () => undefined,
  };
}

const GATHER_BYTES = 1 << 20;
/** More than this is not kept, however busy the loop is. */
const KEPT_BYTES_MAX = 8 << 20;

/**
 * Writes when the loop has a moment: who made the record (a guest that waits for the answer to its write) has been
 * answered by then, and works on while we copy.
 */
export function fileSink(path: string): LogSink {
  const file = openSync(path, "w");
  let parts: Uint8Array[] = [];
  let gathered = 0;
  let count = 0;
  let later: NodeJS.Immediate | undefined;
  const flush = (): void => {
    clearImmediate(later);
    later = undefined;
    while (parts.length > 0) {
      const batch = parts.splice(0, 512);
      const bytes = batch.reduce((sum, part) => sum + part.length, 0);
      const wrote = writevSync(file, batch);
      if (wrote < bytes) parts.unshift(Buffer.concat(batch).subarray(wrote));
    }
    gathered = 0;
  };
  return {
    append: (entry) => {
      const head = Buffer.allocUnsafe(LOG_HEAD_BYTES);
      encodeHead(entry, head);
      parts.push(head);
      if (entry.data !== undefined) parts.push(entry.data);
      gathered += LOG_HEAD_BYTES + (entry.data?.length ?? 0);
      count++;
      // A marker is a promise: what it stands behind must be in the file when it is made.
      if (gathered >= KEPT_BYTES_MAX || entry.type === LogType.Marker) flush();
      else if (gathered >= GATHER_BYTES) later ??= setImmediate(flush);
    },
    get count() {
      return count;
    },
    close: () => {
      flush();
      closeSync(file);
    },
  };
}

const TYPE_OF: ReadonlyMap<BlockOp, LogType> = new Map([
  [BlockOp.Write, LogType.Write],
  [BlockOp.Discard, LogType.Trim],
  [BlockOp.WriteZeroes, LogType.WriteZeroes],
]);

interface FlushPlace {
  readonly flush: BlockRequest;
  readonly ms: number;
  /** Kept here: its request may be used again while a flush before it is in flight. */
  result: number | undefined;
}

/** A record whose place in the log is fixed; of a flush it is not known yet whether it succeeds. */
type Place = LogEntry | FlushPlace;

export class RecordingDisk implements BlockDevice {
  readonly #disk: BlockDevice;
  readonly #sink: LogSink;
  readonly #nowMs: () => number;
  readonly #flushAt: "submit" | "end";
  /** Records behind a flush that is in flight, in order. */
  readonly #places: Place[] = [];
  #ended: BlockRequest[] = [];

  constructor(disk: BlockDevice, sink: LogSink, nowMs: () => number, flushAt: "submit" | "end" = "submit") {
    this.#disk = disk;
    this.#sink = sink;
    this.#nowMs = nowMs;
    this.#flushAt = flushAt;
  }

  get limits(): BlockLimits {
    return this.#disk.limits;
  }

  /** One at a time, so that what ends within submit is recorded before a flush behind it in the same batch. */
  submit(batch: readonly BlockRequest[]): number {
    for (const [index, request] of batch.entries()) {
      const flushes = request.op === BlockOp.Flush || (request.flags & REQ_PREFLUSH) !== 0;
      if (flushes) this.#places.push({ flush: request, ms: this.#nowMs(), result: undefined });
      if (this.#disk.submit([request]) === 0) {
        if (flushes) this.#places.pop();
        return index;
      }
      this.#collect();
    }
    return batch.length;
  }

  poll(): readonly BlockRequest[] {
    this.#collect();
    const ended = this.#ended;
    this.#ended = [];
    return ended;
  }

  mark(text: string): void {
    const data = Buffer.from(text);
    this.#record({ type: LogType.Marker, fua: false, offset: 0, length: data.length, ms: this.#nowMs(), data });
  }

  #collect(): void {
    for (const request of this.#disk.poll()) {
      this.#ended.push(request);
      for (const place of this.#places) {
        if (!("flush" in place) || place.flush !== request || place.result !== undefined) continue;
        place.result = request.result;
        if (this.#flushAt === "end" && place.result === 0) this.#recordFlush(this.#nowMs());
      }
      const type = TYPE_OF.get(request.op);
      if (type === undefined || request.result !== 0) continue;
      this.#record({
        type,
        fua: (request.flags & REQ_FUA) !== 0,
        offset: request.sector * SECTOR_SIZE,
        length: request.sectors * SECTOR_SIZE,
        ms: this.#nowMs(),
        data: type === LogType.Write ? request.data : undefined,
      });
    }
    this.#settle();
  }

  #record(entry: LogEntry): void {
    if (this.#places.length === 0 || this.#flushAt === "end") this.#sink.append(entry);
    // Whoever wrote has its buffer back, and may fill it with something else before the flush ends.
    else this.#places.push({ ...entry, data: entry.data?.slice() });
  }

  #recordFlush(ms: number): void {
    this.#sink.append({ type: LogType.Flush, fua: false, offset: 0, length: 0, ms, data: undefined });
  }

  /** Moves what is certain to the sink. */
  #settle(): void {
    for (let place = this.#places[0]; place !== undefined; place = this.#places[0]) {
      if (!("flush" in place)) this.#sink.append(place);
      else if (place.result === undefined) return;
      else if (place.result === 0 && this.#flushAt === "submit") this.#recordFlush(place.ms);
      this.#places.shift();
    }
  }
}
