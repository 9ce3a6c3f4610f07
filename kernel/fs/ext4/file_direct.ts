/**
 * Writing with O_DIRECT: aligned to the device's blocks, and on the device when the call ends. It goes through pages of
 * the cache, which are written at once and dropped: so it agrees with what is read and written there, and a request in
 * flight outlives the caller's buffer.
 *
 * - writeDirect(fs, row, offset, from, append)   bytes written; EINVAL when it is not aligned
 *
 * The call is made again while its pages are on their way: the row's `direct` record tells by place, length and checksum
 * that it is the same one. Another one waits for it, and once more for its caller to come for the answer.
 *
 *   direct   offset | length asked for | checksum | ticket | bytes written | where errors are told from | passed over
 */
import { EINVAL, EIOCBQUEUED } from "../../abi/errno.ts";
import type { Mapping } from "../../abi/page_cache.ts";
import { WAIT_ANY, WAIT_WRITEBACK } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { writePages } from "./file_pages.ts";
import { DIRECT_WORDS } from "./icache.ts";
import type { Mounted } from "./mounted.ts";
import { mappingOf } from "./rows.ts";
import { noteWait } from "./waits.ts";

const D = { offset: 0, asked: 1, crc: 2, ticket: 3, written: 4, since: 5, passed: 6 } as const;

/** What became of the recorded write: bytes, EIOCBQUEUED, or how it failed. */
function settle(fs: Mounted, row: number): number {
  const { cache, inodes } = fs;
  const at = row * DIRECT_WORDS;
  const { direct } = inodes;
  const mapping = inodes.mapping[row]! as Mapping;
  const first = Math.floor(direct[at + D.offset]! / PAGE_SIZE);
  const last = Math.floor((direct[at + D.offset]! + direct[at + D.written]! - 1) / PAGE_SIZE);
  const done = cache.sync(mapping, direct[at + D.ticket]!, first, last);
  if (done !== 0) return done === EIOCBQUEUED ? noteWait(fs, WAIT_WRITEBACK) : done;
  cache.invalidate(mapping, first, last);
  const error = cache.errorReport(mapping, direct[at + D.since]!);
  if (error === 0) return direct[at + D.written]!;
  // Told here: the next fsync does not tell it again.
  inodes.errorsSince[row] = cache.errorSample(mapping);
  return error;
}

/** The same call again: an append that was made is behind the end by now. */
function isSame(fs: Mounted, row: number, offset: number, length: number, crc: number, append: boolean): boolean {
  const { direct } = fs.inodes;
  const at = row * DIRECT_WORDS;
  const place = direct[at + D.offset]! + (append ? direct[at + D.written]! : 0);
  return direct[at + D.asked] === length && direct[at + D.crc] === crc && place === offset;
}

export function writeDirect(fs: Mounted, row: number, offset: number, from: Uint8Array, append: boolean): number {
  const { inodes, cache } = fs;
  const { direct } = inodes;
  const at = row * DIRECT_WORDS;
  const unit = fs.io.limits.logicalBlockSize;
  if (offset % unit !== 0 || from.length % unit !== 0) return EINVAL;
  const crc = crc32c(0, from, 0, from.length) >>> 0;
  if (direct[at + D.asked]! > 0) {
    const done = settle(fs, row);
    if (done === EIOCBQUEUED) return done;
    const same = isSame(fs, row, offset, from.length, crc, append);
    if (!same && direct[at + D.passed]!++ === 0) return noteWait(fs, WAIT_ANY);
    direct[at + D.asked] = 0;
    if (same) return done;
  }
  const mapping = mappingOf(fs, row);
  if (mapping < 0) return mapping;
  const since = cache.errorSample(mapping as Mapping);
  const written = writePages(fs, row, offset, from);
  if (written < 0) return written;
  direct.set([offset, from.length, crc, cache.ticket(), written, since, 0], at);
  const done = settle(fs, row);
  if (done !== EIOCBQUEUED) direct[at + D.asked] = 0;
  return done;
}
