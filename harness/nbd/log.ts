/**
 * A recorded disk: what was written, flushed, trimmed, and marked, in order. Little-endian:
 *
 *   0  u8   type: 1 write, 3 flush, 4 trim, 6 write zeroes, 9 marker
 *   1  u8   flags: bit 0 FUA
 *   2  u16  0
 *   4  u32  length in bytes
 *   8  u64  offset in bytes
 *   16 f64  milliseconds on the recorder's clock
 *   24      data: of a write, and of a marker (its text, padded to its end by NULs or blanks)
 *
 * An epoch is what lies between two flushes. A write is durable once a flush stands after it, or at once with FUA.
 *
 * - LogEntry                     one record
 * - encodeHead(entry, into)      its 24 bytes
 * - decodeLog(bytes)             all records; UserError with the offset when the log is damaged
 * - epochs(entries)              the epoch number of each record
 * - markerText(entry)            the text of a marker
 */
import { UserError } from "../cli/exit.ts";

export const LogType = { Write: 1, Flush: 3, Trim: 4, WriteZeroes: 6, Marker: 9 } as const;
export type LogType = (typeof LogType)[keyof typeof LogType];
export const LOG_FUA = 1;
export const LOG_HEAD_BYTES = 24;

export interface LogEntry {
  readonly type: LogType;
  readonly fua: boolean;
  readonly offset: number;
  readonly length: number;
  readonly ms: number;
  /** Of a write or a marker. */
  readonly data: Uint8Array | undefined;
}

const TYPES: ReadonlySet<number> = new Set(Object.values(LogType));
const hasData = (type: number): boolean => type === LogType.Write || type === LogType.Marker;

export function encodeHead(entry: LogEntry, into: Buffer): void {
  into.fill(0, 0, LOG_HEAD_BYTES);
  into[0] = entry.type;
  into[1] = entry.fua ? LOG_FUA : 0;
  into.writeUInt32LE(entry.length, 4);
  into.writeBigUInt64LE(BigInt(entry.offset), 8);
  into.writeDoubleLE(entry.ms, 16);
}

export function decodeLog(bytes: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const whole = at + LOG_HEAD_BYTES <= bytes.length;
    const type = bytes[at]!;
    const length = whole ? bytes.readUInt32LE(at + 4) : 0;
    const dataBytes = hasData(type) ? length : 0;
    if (!whole || !TYPES.has(type) || at + LOG_HEAD_BYTES + dataBytes > bytes.length)
      throw new UserError(`damaged write log: no record at offset ${at}; it was cut short or is another kind of file`);
    const from = at + LOG_HEAD_BYTES;
    entries.push({
      type: type as LogType,
      fua: (bytes[at + 1]! & LOG_FUA) !== 0,
      length,
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      ms: bytes.readDoubleLE(at + 16),
      data: hasData(type) ? bytes.subarray(from, from + dataBytes) : undefined,
    });
    at = from + dataBytes;
  }
  return entries;
}

export function epochs(entries: readonly LogEntry[]): number[] {
  let epoch = 0;
  return entries.map((entry) => (entry.type === LogType.Flush ? epoch++ : epoch));
}

export const markerText = (entry: LogEntry): string =>
  Buffer.from(entry.data ?? [])
    .toString("utf8")
    .replace(/[\0 ]+$/, "");
