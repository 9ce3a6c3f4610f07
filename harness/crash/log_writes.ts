/**
 * The log format of Linux's dm-log-writes (drivers/md/dm-log-writes.c), also of QEMU's blklogwrites. Little-endian:
 *
 *   super   one sector | magic 8 | version 8 | nr_entries 8 | sectorsize 4 |
 *   entry   one sector | sector 8 | nr_sectors 8 | flags 8 | data_len 8 | text of a mark |
 *           then nr_sectors of data, unless it is a discard
 *
 * `sector` and `nr_sectors` count the log's sectors. A write with the flush flag flushes before it; writes lie in the log
 * in the order of completion, and only once a flush has gathered them.
 *
 * - isLogWrites(bytes)          by the magic
 * - readLogWrites(bytes)        its records as ours (nbd/log.ts); UserError with the entry for a damaged one
 * - writeLogWrites(entries)     ours as such a log; zeroes are written out as data, as the format has no other way
 */
import { UserError } from "../cli/exit.ts";
import { LogType, markerText } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";

const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const FLUSH = 1;
const FUA = 2;
const DISCARD = 4;
const MARK = 8;
/** LOG_METADATA_FLAG only tells what the write was for. */
const KNOWN = 31;
const SUPER_BYTES = 28;
const ENTRY_BYTES = 32;
const SECTOR_BYTES = 512;
const SECTOR_BYTES_MAX = 65_536;
/** An entry's length in our records has 32 bits. */
const LENGTH_MAX = 2 ** 32 - 1;

export const isLogWrites = (bytes: Buffer): boolean =>
  bytes.length >= SUPER_BYTES && bytes.readBigUInt64LE(0) === MAGIC;

export function readLogWrites(bytes: Buffer): LogEntry[] {
  if (bytes.readBigUInt64LE(8) !== VERSION)
    throw new UserError(`the log has version ${bytes.readBigUInt64LE(8)} of dm-log-writes; 1 is known`);
  const unit = bytes.readUInt32LE(24);
  if (unit < SECTOR_BYTES || unit > SECTOR_BYTES_MAX || unit % SECTOR_BYTES !== 0)
    throw new UserError(`the log's sector size ${unit} is none that dm-log-writes uses`);
  const count = Number(bytes.readBigUInt64LE(16));
  const entries: LogEntry[] = [];
  let at = unit;
  for (let n = 0; n < count; n++) {
    const fail = (why: string): UserError =>
      new UserError(`damaged log of dm-log-writes: entry ${n} of ${count} ${why}`);
    if (at + unit > bytes.length) throw fail("is cut off");
    const offset = Number(bytes.readBigUInt64LE(at)) * unit;
    const length = Number(bytes.readBigUInt64LE(at + 8)) * unit;
    const flags = Number(bytes.readBigUInt64LE(at + 16));
    const extra = Number(bytes.readBigUInt64LE(at + 24));
    if (flags > KNOWN) throw fail(`has unknown flags 0x${flags.toString(16)}`);
    if (!(length <= LENGTH_MAX) || !Number.isSafeInteger(offset)) throw fail("is larger than any disk");
    const head = { ms: n, offset, length, fua: (flags & FUA) !== 0 };
    const isMark = (flags & MARK) !== 0;
    const isDiscard = (flags & DISCARD) !== 0;
    if (isMark) {
      if (ENTRY_BYTES + extra > unit) throw fail("has a mark that does not fit its sector");
      const data = bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + extra);
      entries.push({ type: LogType.Marker, ...head, length: extra, offset: 0, data });
    }
    at += unit;
    if ((flags & FLUSH) !== 0)
      entries.push({ type: LogType.Flush, ...head, fua: false, offset: 0, length: 0, data: undefined });
    if (isMark || length === 0) continue;
    if (isDiscard) {
      entries.push({ type: LogType.Trim, ...head, data: undefined });
      continue;
    }
    if (at + length > bytes.length) throw fail("is cut off");
    entries.push({ type: LogType.Write, ...head, data: bytes.subarray(at, at + length) });
    at += length;
  }
  return entries;
}

export function writeLogWrites(entries: readonly LogEntry[]): Buffer {
  const head = Buffer.alloc(SECTOR_BYTES);
  head.writeBigUInt64LE(MAGIC, 0);
  head.writeBigUInt64LE(VERSION, 8);
  head.writeBigUInt64LE(BigInt(entries.length), 16);
  head.writeUInt32LE(SECTOR_BYTES, 24);
  const parts: Uint8Array[] = [head];
  for (const entry of entries) parts.push(...partsOf(entry));
  return Buffer.concat(parts);
}

function partsOf(entry: LogEntry): Uint8Array[] {
  const { type, offset, length } = entry;
  const sector = Buffer.alloc(SECTOR_BYTES);
  const put = (flags: number, sectors: number, extra: number): void => {
    sector.writeBigUInt64LE(BigInt(Math.floor(offset / SECTOR_BYTES)), 0);
    sector.writeBigUInt64LE(BigInt(sectors), 8);
    sector.writeBigUInt64LE(BigInt(flags), 16);
    sector.writeBigUInt64LE(BigInt(extra), 24);
  };
  const sectors = Math.ceil(length / SECTOR_BYTES);
  if (type === LogType.Flush) put(FLUSH, 0, 0);
  else if (type === LogType.Marker) {
    const text = Buffer.from(markerText(entry)).subarray(0, SECTOR_BYTES - ENTRY_BYTES);
    put(MARK, 0, text.length);
    sector.set(text, ENTRY_BYTES);
  } else if (type === LogType.Trim) put(DISCARD, sectors, 0);
  else {
    put(entry.fua ? FUA : 0, sectors, 0);
    return [sector, entry.data ?? Buffer.alloc(length)];
  }
  return [sector];
}
