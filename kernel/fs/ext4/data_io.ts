/**
 * Requests for file data at the device, for two askers:
 *
 *   a request of the page cache   its number, 0 .. CACHE_IOS_MAX - 1: several device requests; ioLeft, ioResult
 *   a page written "away"         CACHE_IOS_MAX + n: a page that a commit needs on the disk and nobody else writes now;
 *                                 it stays as it is in the page cache, pinned until it is written
 *
 * Each counts for a transaction that may not commit before it has ended (0: none). A page that is on its way has
 * MARK_AWAY: no other write of it may overtake this one.
 *
 * - openIo, addIo, closeIo       a request of the page cache: its answer is 0, EIOCBQUEUED or an errno
 * - openAway, addAway, closeAway a page that is written away
 * - DataOwner                    is told by block_io.ts what ended later, and asked for the bytes of what is made again
 *
 * Blocks that are neighbours on the disk and whose frames are neighbours in memory are one request of the device, however
 * many pages they are (Linux: a bio of contiguous pages). Frames that were taken one after the other mostly are.
 */
import { BlockOp } from "../../abi/block.ts";
import { EIOCBQUEUED } from "../../abi/errno.ts";
import { CACHE_IOS_MAX } from "../../abi/limits.ts";
import type { Slot } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { IoKind } from "../block_io.ts";
import type { IoOwner } from "../block_io.ts";
import type { Mounted } from "./mounted.ts";
import { FS, TIDS } from "./mounted.ts";
import { MARK_AWAY } from "./page_marks.ts";

export const NO_AWAY = -1;

/** Blocks n.. of `places`, below `end`, that are neighbours on the disk, or all of them nowhere. */
function runLength(places: Float64Array, n: number, end: number): number {
  const step = places[n] === 0 ? 0 : 1;
  let run = 1;
  while (n + run < end && places[n + run] === places[n]! + run * step) run++;
  return run;
}

/** Asks the device for whole blocks, which `data` is; counts those that do not end at once in `left`. First error. */
function ask(
  fs: Mounted,
  write: boolean,
  block: number,
  data: Uint8Array,
  tag: number,
  from: number,
  tid: number,
): number {
  const { io, sb } = fs;
  const blocks = data.length / sb.blockSize;
  let result = 0;
  let later = 0;
  for (let n = 0; n < blocks; n += io.blocksMax) {
    const count = Math.min(io.blocksMax, blocks - n);
    const part = count === blocks ? data : data.subarray(n * sb.blockSize, (n + count) * sb.blockSize);
    const op = write ? BlockOp.Write : BlockOp.Read;
    const row = io.startData(op, 0, block + n, count, part, IoKind.Data, tag, from + n * sb.blockSize);
    assert(row >= 0, "ext4: a request for data without having looked for room");
    const ended = io.take(row);
    if (ended === undefined) later++;
    else if (ended !== 0 && result === 0) result = ended;
  }
  if (tid > 0) fs.pending[tid % TIDS]! += later;
  fs.words[FS.Later] = later;
  return result;
}

export function openIo(fs: Mounted, io: number, row: number, first: number, pages: number, tid: number): void {
  assert(fs.ioLeft[io] === 0, "ext4: a request of the page cache is open already");
  fs.ioRow[io] = row;
  fs.ioFirst[io] = first;
  fs.ioPages[io] = pages;
  fs.ioResult[io] = 0;
  fs.ioTid[io] = tid;
}

/**
 * The frames' blocks, from or to where fs.places says; those without a place are zeroes to read, and not written. The
 * caller saw that there is room for a request a block.
 */
export function addIo(fs: Mounted, io: number, write: boolean, frames: readonly Uint8Array[]): void {
  const { places, sb } = fs;
  let first = 0;
  for (const frame of frames) {
    const end = first + frame.length / sb.blockSize;
    for (let n = first, run; n < end; n += run) {
      run = runLength(places, n, end);
      const place = places[n]!;
      if (write && place === 0) continue;
      const data = part(frame, (n - first) * sb.blockSize, run * sb.blockSize);
      if (place === 0) {
        data.fill(0);
        continue;
      }
      const result = ask(fs, write, place, data, io, n * sb.blockSize, fs.ioTid[io]!);
      fs.ioLeft[io]! += fs.words[FS.Later]!;
      if (result !== 0 && fs.ioResult[io] === 0) fs.ioResult[io] = result;
    }
    first = end;
  }
}

const part = (bytes: Uint8Array, from: number, length: number): Uint8Array =>
  length === bytes.length ? bytes : bytes.subarray(from, from + length);

function markAway(fs: Mounted, io: number, away: boolean): void {
  const { marks } = fs;
  const row = fs.ioRow[io]!;
  for (let index = fs.ioFirst[io]!; index < fs.ioFirst[io]! + fs.ioPages[io]!; index++) {
    const word = marks.get(row, index);
    marks.set(row, index, away ? word | MARK_AWAY : word & ~MARK_AWAY);
  }
}

/** The store's answer. */
export function closeIo(fs: Mounted, io: number, write: boolean): number {
  if (fs.ioLeft[io] === 0) return fs.ioResult[io]!;
  if (write) markAway(fs, io, true);
  else fs.ioPages[io] = 0;
  return EIOCBQUEUED;
}

/** A free row, its page pinned and marked; NO_AWAY: there is none. */
export function openAway(fs: Mounted, row: number, index: number, slot: Slot, tid: number): number {
  const away = fs.awaySlot.indexOf(NO_AWAY);
  if (away < 0) return NO_AWAY;
  fs.cache.pin(slot);
  fs.marks.set(row, index, fs.marks.get(row, index) | MARK_AWAY);
  fs.awayRow[away] = row;
  fs.awayIndex[away] = index;
  fs.awaySlot[away] = slot;
  fs.awayTid[away] = tid;
  fs.awayLeft[away] = 0;
  return away;
}

/** The blocks of its frame that have one of fs.places. */
export function addAway(fs: Mounted, away: number, frame: Uint8Array): void {
  const { places, sb } = fs;
  const { perPage } = fs.marks;
  for (let n = 0, run; n < perPage; n += run) {
    run = runLength(places, n, perPage);
    if (places[n] === 0) continue;
    const from = n * sb.blockSize;
    const data = part(frame, from, run * sb.blockSize);
    const result = ask(fs, true, places[n]!, data, CACHE_IOS_MAX + away, from, fs.awayTid[away]!);
    fs.awayLeft[away]! += fs.words[FS.Later]!;
    if (result !== 0) fs.inodes.fault[fs.awayRow[away]!] = result;
  }
}

export function closeAway(fs: Mounted, away: number): void {
  if (fs.awayLeft[away]! > 0) return;
  const [row, index] = [fs.awayRow[away]!, fs.awayIndex[away]!];
  fs.cache.unpin(fs.awaySlot[away]! as Slot);
  fs.awaySlot[away] = NO_AWAY;
  fs.marks.set(row, index, fs.marks.get(row, index) & ~MARK_AWAY);
}

export class DataOwner implements IoOwner {
  readonly #fs: Mounted;

  constructor(fs: Mounted) {
    this.#fs = fs;
  }

  ended(tag: number, result: number): void {
    const fs = this.#fs;
    if (tag >= CACHE_IOS_MAX) return this.#awayEnded(tag - CACHE_IOS_MAX, result);
    if (fs.ioTid[tag]! > 0) fs.pending[fs.ioTid[tag]! % TIDS]!--;
    if (result !== 0 && fs.ioResult[tag] === 0) fs.ioResult[tag] = result;
    if (--fs.ioLeft[tag]! > 0) return;
    markAway(fs, tag, false);
    fs.cache.complete(tag, fs.ioResult[tag]!);
  }

  data(tag: number, from: number, bytes: number): Uint8Array {
    const { cache, awaySlot } = this.#fs;
    const within = from % PAGE_SIZE;
    const pages = Math.ceil((within + bytes) / PAGE_SIZE);
    if (tag >= CACHE_IOS_MAX) return part(cache.bytes(awaySlot[tag - CACHE_IOS_MAX]! as Slot), from, bytes);
    return part(cache.inRequest(tag, Math.floor(from / PAGE_SIZE), pages), within, bytes);
  }

  #awayEnded(away: number, result: number): void {
    const fs = this.#fs;
    if (fs.awayTid[away]! > 0) fs.pending[fs.awayTid[away]! % TIDS]!--;
    if (result !== 0) fs.inodes.fault[fs.awayRow[away]!] = result;
    fs.awayLeft[away]!--;
    closeAway(fs, away);
  }
}
