/**
 * A recorded disk as the crash explorer reads it: the image before the first write, and what happened to it since, cut
 * into epochs at the flushes. nbd/log.ts draws the records; log_writes.ts reads the format of dm-log-writes.
 *
 * - loadRecorded(base, log)          both files, plain or packed; one clear line for what is wrong with them
 * - recordedOf(base, entries, name)  the same from memory
 * - entriesOf(recorded)              its log as records; storeLog(path, recorded) in a file of our format
 * - segmentsOf(recorded)             where a crash may cut: an epoch, or a part of one between two FUA writes
 *
 *   epoch    writes between two flushes: each of them may be lost, whatever the order
 *   segment  an epoch up to its k-th FUA write: those k are durable, the other writes before the next FUA write are free
 */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { UserError } from "../cli/exit.ts";
import { decodeLog, LogType, markerText } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";
import { fileSink } from "../nbd/record.ts";
import { isLogWrites, readLogWrites } from "./log_writes.ts";

export interface LoggedWrite {
  /** Which write of the log it is, from 0. */
  readonly serial: number;
  readonly offset: number;
  readonly length: number;
  /** Undefined: zeroes (trim, write zeroes). */
  readonly data: Uint8Array | undefined;
  readonly fua: boolean;
  readonly ms: number;
}

export interface Marker {
  readonly text: string;
  /** Writes before it. */
  readonly writes: number;
  readonly epoch: number;
}

export interface Recorded {
  readonly base: Uint8Array;
  readonly writes: readonly LoggedWrite[];
  /** First write of each epoch; one more at the end. */
  readonly epochs: readonly number[];
  readonly markers: readonly Marker[];
  /** SHA-256 of base and log. */
  readonly hash: string;
}

export interface Segment {
  readonly epoch: number;
  /** FUA writes of the epoch that are durable. */
  readonly fuas: number;
  /** All writes that may be there, in order; `forced` says which must. */
  readonly writes: readonly LoggedWrite[];
  readonly forced: readonly boolean[];
  /** Writes that may be lost: places in `writes`. */
  readonly free: readonly number[];
  /**
   * Markers that had been passed when the first k free writes were there and the next was not, k from 0 to all: their
   * promises hold. The last one is for a crash at the segment's end.
   */
  readonly markers: Int32Array;
}

const ZSTD_MAGIC = 0xfd2fb528;
const PACKED_MAX = 2 ** 31;

function unpacked(path: string): Buffer {
  if (!existsSync(path)) throw new UserError(`cannot read ${path}: no such file`);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UserError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const options = { maxOutputLength: PACKED_MAX };
  try {
    if (bytes.length >= 4 && bytes.readUInt32LE(0) === ZSTD_MAGIC) return zstdDecompressSync(bytes, options);
    if (bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes, options);
  } catch (error) {
    throw new UserError(`cannot unpack ${path}: ${error instanceof Error ? error.message : "it is damaged"}`);
  }
  return bytes;
}

export function loadRecorded(basePath: string, logPath: string): Recorded {
  const base = unpacked(basePath);
  const log = unpacked(logPath);
  return recordedOf(base, isLogWrites(log) ? readLogWrites(log) : decodeLog(log), logPath);
}

/** A campaign begins with the same image thousands of times. */
const hashes = new WeakMap<Uint8Array, Hash>();

function hashOf(base: Uint8Array): Hash {
  const known = hashes.get(base) ?? createHash("sha256").update(base);
  hashes.set(base, known);
  return known.copy();
}

export function recordedOf(base: Uint8Array, entries: readonly LogEntry[], name: string): Recorded {
  const writes: LoggedWrite[] = [];
  const epochs = [0];
  const markers: Marker[] = [];
  const hash = hashOf(base);
  for (const [at, entry] of entries.entries()) {
    hash.update(`${entry.type} ${entry.fua} ${entry.offset} ${entry.length};`);
    if (entry.data !== undefined) hash.update(entry.data);
    if (entry.type === LogType.Flush) epochs.push(writes.length);
    else if (entry.type === LogType.Marker)
      markers.push({ text: markerText(entry), writes: writes.length, epoch: epochs.length - 1 });
    else {
      if (entry.offset + entry.length > base.length)
        throw new UserError(
          `${name}: record ${at} writes at ${entry.offset}+${entry.length}, beyond the image's ${base.length} bytes; is it the log of another disk?`,
        );
      if (entry.length === 0) continue;
      const { offset, length, data, fua, ms } = entry;
      writes.push({ serial: writes.length, offset, length, data, fua, ms });
    }
  }
  epochs.push(writes.length);
  return { base, writes, epochs, markers, hash: hash.digest("hex") };
}

/** Writes, flushes and markers in their order, as it was recorded. */
export function entriesOf({ writes, epochs, markers }: Recorded): LogEntry[] {
  const entries: LogEntry[] = [];
  const none = { fua: false, offset: 0, ms: 0 };
  let marker = 0;
  const markersUpTo = (epoch: number, serial: number): void => {
    for (; marker < markers.length; marker++) {
      const { text, epoch: of, writes: before } = markers[marker]!;
      if (of > epoch || (of === epoch && before > serial)) return;
      const data = Buffer.from(text);
      entries.push({ type: LogType.Marker, ...none, length: data.length, data });
    }
  };
  for (let epoch = 0; epoch + 1 < epochs.length; epoch++) {
    if (epoch > 0) entries.push({ type: LogType.Flush, ...none, length: 0, data: undefined });
    for (const { serial, offset, length, data, fua, ms } of writes.slice(epochs[epoch], epochs[epoch + 1])) {
      markersUpTo(epoch, serial);
      entries.push({ type: data === undefined ? LogType.WriteZeroes : LogType.Write, offset, length, data, fua, ms });
    }
    markersUpTo(epoch, writes.length);
  }
  return entries;
}

export function storeLog(path: string, recorded: Recorded): void {
  const sink = fileSink(path);
  for (const entry of entriesOf(recorded)) sink.append(entry);
  sink.close();
}

/** A guest without a volatile cache ends every write with FUA: each is a segment, with nothing free but what is in flight. */
export function segmentsOf(recorded: Recorded): Segment[] {
  const { writes, epochs, markers } = recorded;
  const segments: Segment[] = [];
  for (let epoch = 0; epoch + 1 < epochs.length; epoch++) {
    const of = writes.slice(epochs[epoch], epochs[epoch + 1]);
    const fuaAt = of.flatMap((write, at) => (write.fua ? [at] : []));
    for (let fuas = 0; fuas <= fuaAt.length; fuas++) {
      // The FUA write that ends the segment is in flight: it may be there.
      const inFlight = fuaAt[fuas];
      const end = inFlight === undefined ? of.length : inFlight + 1;
      const forced = of.slice(0, end).map((write, at) => write.fua && at !== inFlight);
      const free = forced.flatMap((must, at) => (must ? [] : [at]));
      const passed = (reached: number): number =>
        markers.filter((marker) => marker.epoch < epoch || (marker.epoch === epoch && marker.writes <= reached)).length;
      const next = [...free.map((place) => of[place]!.serial), epochs[epoch]! + (inFlight ?? of.length)];
      segments.push({ epoch, fuas, writes: of.slice(0, end), forced, free, markers: Int32Array.from(next, passed) });
    }
  }
  return segments;
}
