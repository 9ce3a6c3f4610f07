/**
 * Reading a file out of the cache (Linux: filemap_read()): page after page is read ahead, waited for or taken in hand, and
 * copied to the reader as many at a time as have frames that are neighbours in memory.
 *
 * - read(fm, mapping, offset, into, words, at)   bytes; within a call that has staged nothing
 */
import { ENOMEM } from "../kernel/abi/errno.ts";
import type { Pfn } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { page, take } from "./filemap_call.ts";
import { lookup } from "./filemap_page.ts";
import { type Filemap, FM, NIL, PG } from "./filemap_state.ts";
import { RA, readAhead } from "./readahead.ts";

/** A page with one of these, or none, is not simply there. */
const UNUSUAL = PG.Reading | PG.Error | PG.Readahead;

/** Copies what lies behind `skip` in the frames to into[done..]; returns how far that is filled then. */
function copyOut(fm: Filemap, frame: number, frames: number, skip: number, into: Uint8Array, done: number): number {
  const bytes = fm.frames.bytes(frame as Pfn, frames);
  const length = Math.min(bytes.length - skip, into.length - done);
  into.set(length === bytes.length ? bytes : bytes.subarray(skip, skip + length), done);
  return done + length;
}

/** Takes the page in hand: its slot or an errno. */
function takePage(
  fm: Filemap,
  mapping: number,
  index: number,
  count: number,
  words: Int32Array | undefined,
  at: number,
): number {
  const slot = lookup(fm, mapping, index);
  if (slot !== NIL && (fm.flags[slot]! & UNUSUAL) === 0) return take(fm, slot);
  if (words !== undefined) readAhead(fm, mapping, words, at, index, count);
  return page(fm, mapping, index);
}

export function read(
  fm: Filemap,
  mapping: number,
  offset: number,
  into: Uint8Array,
  words: Int32Array | undefined,
  at: number,
): number {
  assert(fm.scalars[FM.Stages] === 0, "page cache: read() in a call that has staged pages");
  const first = Math.floor(offset / PAGE_SIZE);
  const last = Math.floor((offset + into.length - 1) / PAGE_SIZE);
  let skip = offset - first * PAGE_SIZE;
  let done = 0;
  let [frame, frames] = [0, 0];
  for (let index = first; index <= last; index++) {
    const slot = takePage(fm, mapping, index, last - index + 1, words, at);
    // All pages are in use, by this call: a reader is content with less.
    if (slot === ENOMEM && index > first) break;
    if (slot < 0) return slot;
    if (words !== undefined) words[at + RA.prev] = index;
    const next = fm.frame[slot]!;
    if (frames > 0 && next !== frame + frames) {
      done = copyOut(fm, frame, frames, skip, into, done);
      [skip, frames] = [0, 0];
    }
    if (frames === 0) frame = next;
    frames++;
  }
  return frames === 0 ? done : copyOut(fm, frame, frames, skip, into, done);
}
