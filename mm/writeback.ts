/**
 * Write-back: dirty pages to their stores, oldest first, neighbours with them.
 *
 * - flush(fm, now, pages)   the flusher's step: writes while more than the background limit is dirty, a waiter presses,
 *                           or a file has been dirty for too long; files take turns
 * - nextFlushNs(fm, now)    when a file will have been dirty for too long
 * - sync(...)               what was dirty at a ticket, for fsync
 * - throttle(fm, pages)     a writer waits above the hard limit
 *
 * A page goes when it is dirty, not on its way already, and no transaction that is not committed holds it.
 */
import { EAGAIN, EBUSY, EIOCBQUEUED } from "../kernel/abi/errno.ts";
import { CACHE_IOS_MAX, IO_PAGES_MAX } from "../kernel/abi/limits.ts";
import { WAIT_ANY } from "../kernel/abi/page_cache.ts";
import type { Errno } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { listMove } from "../kernel/lib/slot_list.ts";
import { startWrite } from "./filemap_io.ts";
import { lookup, makeClean, makeDirtyAgain } from "./filemap_page.ts";
import { type Filemap, fileOf, FM, indexOfKey, IO, NIL, PG, waitFor } from "./filemap_state.ts";

const held = (fm: Filemap, file: number, slot: number): boolean =>
  fm.heldBy[slot]! > fm.committedTo[fm.journalOf[file]!]!;

const mayGo = (fm: Filemap, file: number, slot: number): boolean =>
  (fm.flags[slot]! & (PG.Dirty | PG.Writeback)) === PG.Dirty && !held(fm, file, slot);

/** The page and the dirty ones right before and after it, in order, at most `most`. */
function runAround(fm: Filemap, file: number, slot: number, most: number): number[] {
  const mapping = fm.handle[file]!;
  const run = [slot];
  const grow = (index: number, add: (slot: number) => void): boolean => {
    const other = index < 0 ? NIL : lookup(fm, mapping, index);
    if (run.length >= most || other === NIL || !mayGo(fm, file, other)) return false;
    add(other);
    return true;
  };
  const index = indexOfKey(fm.key[slot]!);
  for (let before = index - 1; grow(before, (other) => run.unshift(other)); before--);
  for (let after = index + 1; grow(after, (other) => run.push(other)); after++);
  return run;
}

/** Starts to write the run around a page. Returns pages, 0: the store did not take them. */
function writeAround(fm: Filemap, file: number, slot: number, most: number): number {
  const run = runAround(fm, file, slot, Math.min(most, IO_PAGES_MAX));
  for (const other of run) makeClean(fm, other);
  if (startWrite(fm, file, run) !== EAGAIN) return run.length;
  for (const other of run) makeDirtyAgain(fm, other);
  return 0;
}

/** Oldest page of the file that may go and is no younger than `ticket`, in first..last; NIL: none. */
function nextDirty(fm: Filemap, file: number, ticket: number, first: number, last: number): number {
  const head = fm.slots + file;
  for (let slot = fm.dirtyPrev[head]!; slot !== head && fm.dirtySeq[slot]! <= ticket; slot = fm.dirtyPrev[slot]!) {
    const index = indexOfKey(fm.key[slot]!);
    if (index >= first && index <= last && mayGo(fm, file, slot)) return slot;
  }
  return NIL;
}

export function flush(fm: Filemap, now: number, pages: number): number {
  assert(fm.scalars[FM.InCall] === 0, "page cache: flush() within a call");
  let started = 0;
  // Each file gets a turn; those that give nothing (held, in flight) are passed over.
  let turns = 0;
  for (let file = fm.filePrev[fm.files]!; file !== fm.files; file = fm.filePrev[file]!) turns++;
  for (; turns > 0 && started < pages && fm.scalars[FM.IosFree]! > 0; turns--) {
    const file = fm.filePrev[fm.files]!;
    if (file === fm.files) break;
    const over = fm.scalars[FM.Dirty]! > fm.backgroundMax || fm.scalars[FM.Pressed] === 1;
    const old = fm.dirtiedWhen[file]! + fm.expireNs <= now;
    listMove(fm.fileNext, fm.filePrev, fm.files, file);
    if (!over && !old) continue;
    while (started < pages && fm.scalars[FM.IosFree]! > 0) {
      const slot = nextDirty(fm, file, Infinity, 0, Infinity);
      // All that may go went: what is dirty now counts as dirty from now on.
      if (slot === NIL) fm.dirtiedWhen[file] = now;
      const wrote = slot === NIL ? 0 : writeAround(fm, file, slot, pages - started);
      if (wrote === 0) break;
      started += wrote;
    }
  }
  if (fm.scalars[FM.Dirty]! + fm.scalars[FM.Writeback]! <= fm.backgroundMax) fm.scalars[FM.Pressed] = 0;
  return started;
}

/** A file that is due already waits for its device or its journal, not for the clock. */
export function nextFlushNs(fm: Filemap, now: number): number {
  let next = Infinity;
  for (let file = fm.filePrev[fm.files]!; file !== fm.files; file = fm.filePrev[file]!) {
    const due = fm.dirtiedWhen[file]! + fm.expireNs;
    if (due > now && due < next) next = due;
  }
  return next;
}

/** The dirty and the written count, as in Linux; held pages too, which is why a waiter also presses the journal. */
export function throttle(fm: Filemap, pages: number): 0 | Errno {
  const dirty = fm.scalars[FM.Dirty]! + fm.scalars[FM.Writeback]!;
  if (dirty === 0 || dirty + pages <= fm.dirtyMax) return 0;
  fm.scalars[FM.Pressed] = 1;
  return waitFor(fm, WAIT_ANY, EIOCBQUEUED);
}

/** A write in flight that carries pages of before `ticket` in first..last; NIL: none. */
function writing(fm: Filemap, file: number, ticket: number, first: number, last: number): number {
  for (let io = 0; io < CACHE_IOS_MAX; io++) {
    if (fm.ioKind[io] !== IO.Write || fm.ioFile[io] !== file || fm.ioSeq[io]! > ticket) continue;
    if (fm.ioFirst[io]! <= last && fm.ioFirst[io]! + fm.ioCount[io]! > first) return io;
  }
  return NIL;
}

export function sync(fm: Filemap, mapping: number, ticket: number, first: number, last: number): 0 | Errno {
  assert(fm.scalars[FM.InCall] === 0, "page cache: sync() within a call");
  const file = fileOf(fm, mapping);
  for (let slot; (slot = nextDirty(fm, file, ticket, first, last)) !== NIL;) {
    if (fm.scalars[FM.IosFree] === 0 || writeAround(fm, file, slot, IO_PAGES_MAX) === 0)
      return waitFor(fm, WAIT_ANY, EIOCBQUEUED);
  }
  const io = writing(fm, file, ticket, first, last);
  if (io !== NIL) return waitFor(fm, io, EIOCBQUEUED);
  const head = fm.slots + file;
  for (let slot = fm.dirtyPrev[head]!; slot !== head && fm.dirtySeq[slot]! <= ticket; slot = fm.dirtyPrev[slot]!) {
    const index = indexOfKey(fm.key[slot]!);
    if (index >= first && index <= last) return EBUSY;
  }
  return 0;
}
