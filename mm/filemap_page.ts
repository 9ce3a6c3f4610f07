/**
 * A page's life in the cache: it gets a slot and a frame, is in the index and in its file's list, becomes dirty and
 * clean, and goes. Every change of what makes a slot busy ends in setBusy().
 *
 * - lookup(fm, mapping, index)       slot or NIL
 * - addPage(fm, file, key, flags)    a slot with a frame for a new page; evicts when it must. ENOMEM, EIOCBQUEUED
 * - dropPage(fm, slot)               the page goes, dirty or not; not while it is in flight, pinned or in hand
 * - makeDirty, makeClean             the file's dirty list, oldest at the back, and the list of files with dirty pages
 */
import { EIOCBQUEUED, ENOMEM, isErr } from "../kernel/abi/errno.ts";
import { Ev } from "../kernel/abi/events.ts";
import { NO_SLOT } from "../kernel/abi/evict.ts";
import { CACHE_IOS_MAX, MAPPINGS_MAX } from "../kernel/abi/limits.ts";
import { WAIT_ANY } from "../kernel/abi/page_cache.ts";
import type { Errno, Pfn } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { listAdd, listDel } from "../kernel/lib/slot_list.ts";
import {
  type Filemap,
  FM,
  indexOfKey,
  keyOf,
  mappingOfKey,
  NIL,
  NO_FRAME,
  PG,
  STAT,
  waitFor,
} from "./filemap_state.ts";

const BUSY_FLAGS = PG.Dirty | PG.Reading | PG.Writeback | PG.Wanted;

export const lookup = (fm: Filemap, mapping: number, index: number): number => fm.index.get(keyOf(mapping, index));

export function setBusy(fm: Filemap, slot: number): void {
  const busy = (fm.flags[slot]! & BUSY_FLAGS) !== 0 || fm.pins[slot]! > 0 || fm.callOf[slot] !== NIL;
  fm.busy[slot] = busy ? 1 : 0;
}

export function setFlags(fm: Filemap, slot: number, set: number, clear: number): void {
  fm.flags[slot] = (fm.flags[slot]! & ~clear) | set;
  setBusy(fm, slot);
}

/** Row of the file whose page is in `slot`. */
export const fileOfSlot = (fm: Filemap, slot: number): number => (mappingOfKey(fm.key[slot]!) | 0) % MAPPINGS_MAX;

/** Takes the page in `slot` out of everything but the policy, which knows already. */
function unlinkPage(fm: Filemap, slot: number, evicted: 0 | 1): void {
  const key = fm.key[slot]!;
  const file = fileOfSlot(fm, slot);
  assert((fm.flags[slot]! & (PG.Reading | PG.Writeback)) === 0, "page cache: a page in flight was dropped");
  assert(fm.pins[slot] === 0 && fm.callOf[slot] === NIL, "page cache: a page in use was dropped");
  if ((fm.flags[slot]! & PG.Dirty) !== 0) makeClean(fm, slot);
  fm.index.delete(key);
  listDel(fm.pageNext, fm.pagePrev, slot);
  fm.pagesOf[file]!--;
  fm.scalars[FM.Pages]!--;
  fm.trace(Ev.FilemapDelete, 0, mappingOfKey(key), indexOfKey(key) | 0, slot, evicted);
  fm.key[slot] = NIL;
  fm.flags[slot] = 0;
  setBusy(fm, slot);
}

/** Gives the frame of an unlinked slot back, and the slot. */
function freeSlot(fm: Filemap, slot: number): void {
  fm.frames.free(fm.frame[slot] as Pfn);
  fm.frame[slot] = NO_FRAME;
  fm.freeNext[slot] = fm.scalars[FM.FreeHead]!;
  fm.scalars[FM.FreeHead] = slot;
}

export function dropPage(fm: Filemap, slot: number): void {
  fm.policy.remove(slot);
  unlinkPage(fm, slot, 0);
  freeSlot(fm, slot);
}

/** Evicts one page; its slot, which keeps the frame, or NO_SLOT: all are busy. */
function evictSlot(fm: Filemap, key: number): number {
  const slot = fm.policy.evict(key);
  if (slot === NO_SLOT) return slot;
  assert(fm.key[slot] !== NIL && fm.busy[slot] === 0, "page cache: the policy evicted a page that may not go");
  unlinkPage(fm, slot, 1);
  fm.counters[STAT.Evicted]!++;
  return slot;
}

/** Evicts one page and gives its frame back; false: all are busy. */
export function evictPage(fm: Filemap, key: number): boolean {
  const slot = evictSlot(fm, key);
  if (slot === NO_SLOT) return false;
  freeSlot(fm, slot);
  return true;
}

/** Pages that given-up calls wanted may go after all. True: there was one. */
function unwantPages(fm: Filemap): boolean {
  let any = false;
  for (let slot = 0; slot < fm.slots; slot++) {
    if ((fm.flags[slot]! & PG.Wanted) === 0 || (fm.flags[slot]! & PG.Reading) !== 0) continue;
    setFlags(fm, slot, 0, PG.Wanted);
    any ||= fm.busy[slot] === 0;
  }
  return any;
}

/** What a call does that found every page busy: wait if one will become clean or arrive, else there is no memory. */
function allBusy(fm: Filemap): Errno {
  const moving = fm.scalars[FM.IosFree]! < CACHE_IOS_MAX;
  if (!moving && fm.scalars[FM.Dirty] === 0) return ENOMEM;
  fm.scalars[FM.Pressed] = 1;
  return waitFor(fm, WAIT_ANY, EIOCBQUEUED);
}

/** A free slot with a frame. `patient`: evicts pages that given-up calls want, and says what to wait for. */
function takeSlot(fm: Filemap, key: number, patient: boolean): number {
  for (;;) {
    if (fm.scalars[FM.FreeHead] !== NIL) {
      const frame = fm.frames.alloc();
      if (!isErr(frame)) {
        // The allocator may have asked this cache to shrink: the head is another slot then.
        const slot = fm.scalars[FM.FreeHead]!;
        fm.scalars[FM.FreeHead] = fm.freeNext[slot]!;
        fm.frame[slot] = frame;
        return slot;
      }
    }
    const evicted = evictSlot(fm, key);
    if (evicted !== NO_SLOT) return evicted;
    if (!patient) return ENOMEM;
    if (!unwantPages(fm)) return allBusy(fm);
  }
}

export function addPage(fm: Filemap, file: number, key: number, flags: number, patient: boolean): number {
  const slot = takeSlot(fm, key, patient);
  if (slot < 0) return slot;
  fm.key[slot] = key;
  fm.heldBy[slot] = 0;
  fm.index.set(key, slot);
  listAdd(fm.pageNext, fm.pagePrev, fm.slots + file, slot);
  fm.pagesOf[file]!++;
  fm.scalars[FM.Pages]!++;
  fm.policy.insert(slot, key);
  setFlags(fm, slot, flags | PG.First, 0);
  fm.trace(Ev.FilemapAdd, 0, mappingOfKey(key), indexOfKey(key) | 0, slot, 0);
  return slot;
}

/** The page differs from the store from now on. A page that is dirty already keeps its age. */
export function makeDirty(fm: Filemap, slot: number): void {
  if ((fm.flags[slot]! & PG.Dirty) !== 0) return;
  fm.dirtySeq[slot] = ++fm.dirtyClock[0]!;
  linkDirty(fm, slot, fm.slots + fileOfSlot(fm, slot));
}

/** Puts a page that the store did not take back at its old age: the list stays in order. */
export function makeDirtyAgain(fm: Filemap, slot: number): void {
  const head = fm.slots + fileOfSlot(fm, slot);
  let newer = fm.dirtyPrev[head]!;
  while (newer !== head && fm.dirtySeq[newer]! < fm.dirtySeq[slot]!) newer = fm.dirtyPrev[newer]!;
  linkDirty(fm, slot, newer);
}

function linkDirty(fm: Filemap, slot: number, behind: number): void {
  const file = fileOfSlot(fm, slot);
  listAdd(fm.dirtyNext, fm.dirtyPrev, behind, slot);
  fm.scalars[FM.Dirty]!++;
  if (fm.dirtyOf[file]!++ === 0) {
    fm.dirtiedWhen[file] = fm.now();
    listAdd(fm.fileNext, fm.filePrev, fm.files, file);
  }
  setFlags(fm, slot, PG.Dirty, 0);
}

export function makeClean(fm: Filemap, slot: number): void {
  const file = fileOfSlot(fm, slot);
  listDel(fm.dirtyNext, fm.dirtyPrev, slot);
  fm.scalars[FM.Dirty]!--;
  if (--fm.dirtyOf[file]! === 0) listDel(fm.fileNext, fm.filePrev, file);
  setFlags(fm, slot, 0, PG.Dirty);
}
