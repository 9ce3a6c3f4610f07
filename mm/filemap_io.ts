/**
 * Requests to the stores: a run of pages of one file, a row in the table while in flight. A store that answers at once
 * ends here at once; else complete() ends it, with the row's number that the store was given.
 *
 * - startRead(fm, file, run)     pages that were just added, flagged Reading
 * - startWrite(fm, file, run)    pages flagged Writeback; EAGAIN: not taken, the caller makes them dirty again
 * - complete(fm, io, result)
 * - inRequest(fm, io, ...)       bytes of some of its pages
 */
import { EAGAIN, EIOCBQUEUED } from "../kernel/abi/errno.ts";
import { Ev } from "../kernel/abi/events.ts";
import { CACHE_IOS_MAX } from "../kernel/abi/limits.ts";
import type { Errno, Pfn } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { errseqSet } from "../kernel/lib/errseq.ts";
import { dropPage, setFlags } from "./filemap_page.ts";
import { type Filemap, FM, indexOfKey, IO, NIL, NO_IO, PG, STAT } from "./filemap_state.ts";

function freeRow(fm: Filemap): number {
  for (let io = 0; io < CACHE_IOS_MAX; io++) if (fm.ioKind[io] === IO.Free) return io;
  return NIL;
}

/** Fills a row with `slots`, a run of pages in order. The caller has seen that a row is free. */
function openRow(fm: Filemap, kind: number, file: number, slots: readonly number[]): number {
  const io = freeRow(fm);
  assert(io !== NIL, "page cache: no request row is free");
  fm.ioKind[io] = kind;
  fm.ioFile[io] = file;
  fm.ioFirst[io] = indexOfKey(fm.key[slots[0]!]!);
  fm.ioCount[io] = slots.length;
  fm.ioSlots[io] = slots[0]!;
  let oldest = Infinity;
  for (let at = 0; at < slots.length; at++) {
    const slot = slots[at]!;
    assert(fm.io[slot] === NO_IO, "page cache: a page is in two requests");
    fm.io[slot] = io;
    fm.ioNext[slot] = slots[at + 1] ?? NIL;
    oldest = Math.min(oldest, fm.dirtySeq[slot]!);
  }
  fm.ioSeq[io] = oldest;
  fm.scalars[FM.IosFree]!--;
  return io;
}

function closeRow(fm: Filemap, io: number): void {
  for (let slot = fm.ioSlots[io]!; slot !== NIL; slot = fm.ioNext[slot]!) fm.io[slot] = NO_IO;
  fm.ioKind[io] = IO.Free;
  fm.scalars[FM.IosFree]!++;
}

/** The pages' bytes; neighbours in memory are one view. */
function viewsOf(fm: Filemap, slots: readonly number[]): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = 0, count; at < slots.length; at += count) {
    const frame = fm.frame[slots[at]!]!;
    count = 1;
    while (at + count < slots.length && fm.frame[slots[at + count]!] === frame + count) count++;
    views.push(fm.frames.bytes(frame as Pfn, count));
  }
  return views;
}

export function startRead(fm: Filemap, file: number, slots: readonly number[]): void {
  const io = openRow(fm, IO.Read, file, slots);
  const result = fm.stores[file]!.readPages(fm.ioFirst[io]!, viewsOf(fm, slots), io);
  // Not taken: as if nobody had asked, whoever needs a page asks again.
  if (result === EAGAIN) for (const slot of slots) setFlags(fm, slot, 0, PG.Wanted);
  if (result !== EIOCBQUEUED) complete(fm, io, result);
}

export function startWrite(fm: Filemap, file: number, slots: readonly number[]): 0 | Errno {
  const io = openRow(fm, IO.Write, file, slots);
  fm.scalars[FM.Writeback]! += slots.length;
  for (const slot of slots) setFlags(fm, slot, PG.Writeback, 0);
  fm.trace(Ev.WritebackStart, 0, fm.handle[file]!, fm.ioFirst[io]! | 0, slots.length, 0);
  const result = fm.stores[file]!.writePages(fm.ioFirst[io]!, viewsOf(fm, slots), io);
  if (result === EAGAIN) {
    for (const slot of slots) setFlags(fm, slot, 0, PG.Writeback);
    fm.scalars[FM.Writeback]! -= slots.length;
    closeRow(fm, io);
    return EAGAIN;
  }
  if (result !== EIOCBQUEUED) complete(fm, io, result);
  return 0;
}

export function inRequest(fm: Filemap, io: number, page: number, pages: number): Uint8Array {
  assert(fm.ioKind[io] !== IO.Free && page + pages <= fm.ioCount[io]!, "page cache: no such pages in the request");
  let slot = fm.ioSlots[io]!;
  for (let n = 0; n < page; n++) slot = fm.ioNext[slot]!;
  return fm.frames.bytes(fm.frame[slot] as Pfn, pages);
}

export function complete(fm: Filemap, io: number, result: number): void {
  assert(io >= 0 && io < CACHE_IOS_MAX && fm.ioKind[io] !== IO.Free, "complete: no such request is in flight");
  assert(result <= 0 && result !== EIOCBQUEUED, "complete: neither 0 nor an errno");
  const kind = fm.ioKind[io]!;
  const first = fm.ioSlots[io]!;
  closeRow(fm, io);
  if (kind === IO.Write) endWrite(fm, io, result);
  for (let slot = first; slot !== NIL;) {
    const next = fm.ioNext[slot]!;
    if (kind === IO.Write) setFlags(fm, slot, 0, PG.Writeback);
    else endRead(fm, slot, result);
    slot = next;
  }
}

/** As in Linux the pages are clean and whole though the disk has not got them; the error sequence is what remembers. */
function endWrite(fm: Filemap, io: number, result: number): void {
  const file = fm.ioFile[io]!;
  const pages = fm.ioCount[io]!;
  fm.scalars[FM.Writeback]! -= pages;
  if (result === 0) {
    fm.counters[STAT.WrittenPages]! += pages;
    return;
  }
  errseqSet(fm.errors, file, result as Errno);
  fm.trace(Ev.WritebackError, 0, fm.handle[file]!, fm.ioFirst[io]! | 0, pages, result);
}

/** A failed page that nobody waits for is forgotten: whoever needs it reads it again. */
function endRead(fm: Filemap, slot: number, result: number): void {
  if (result === 0) {
    setFlags(fm, slot, PG.Uptodate, PG.Reading);
    fm.counters[STAT.ReadPages]!++;
    return;
  }
  setFlags(fm, slot, 0, PG.Reading);
  if ((fm.flags[slot]! & PG.Wanted) === 0) return dropPage(fm, slot);
  fm.error[slot] = result;
  setFlags(fm, slot, PG.Error, 0);
}
