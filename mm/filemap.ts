/**
 * The page cache (Linux: mm/filemap.c): pages of files by file and index, over stores that may take their time. The face
 * and its rules are kernel/abi/page_cache.ts; here it is put together from
 *
 *   filemap_state   the arrays            filemap_call   a file call: pages in hand, stage, merge
 *   filemap_page    a page's life         readahead      windows
 *   filemap_io      requests              writeback      flusher, sync, limits
 *   filemap_read    reading in runs
 */
import type { BackingStore } from "../kernel/abi/backing_store.ts";
import { EIOCBQUEUED, ENFILE } from "../kernel/abi/errno.ts";
import { NO_KEY } from "../kernel/abi/evict.ts";
import { JOURNALS_MAX, MAPPINGS_MAX } from "../kernel/abi/limits.ts";
import type { Mapping, PageCache, Slot } from "../kernel/abi/page_cache.ts";
import type { Errno } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { errseqReport, errseqSample } from "../kernel/lib/errseq.ts";
import * as call from "./filemap_call.ts";
import { checkFilemap } from "./filemap_check.ts";
import { complete, inRequest } from "./filemap_io.ts";
import { dropPage, evictPage, lookup, setBusy } from "./filemap_page.ts";
import { read } from "./filemap_read.ts";
import { Filemap, type FilemapOptions, fileOf, FM, NIL, NO_IO, PG, waitFor } from "./filemap_state.ts";
import { readAhead } from "./readahead.ts";
import { flush, nextFlushNs, sync, throttle } from "./writeback.ts";

/** Handles are row + generation * MAPPINGS_MAX and fit 21 bits, so that handle * 2^32 + index is an exact key. */
const GENERATIONS = 2 ** 21 / MAPPINGS_MAX;

function open(fm: Filemap, store: BackingStore, journal: number): Mapping | Errno {
  assert(journal >= 0 && journal < JOURNALS_MAX, "page cache: no such journal");
  for (let tries = 0, file = fm.scalars[FM.NextFile]!; tries < fm.files; tries++, file = (file + 1) % fm.files) {
    if (fm.handle[file]! >= 0) continue;
    // A closed row keeps its last handle, below zero: the next one is of another generation.
    const last = fm.handle[file] === NIL ? -1 : Math.floor((-2 - fm.handle[file]!) / MAPPINGS_MAX);
    fm.handle[file] = file + ((last + 1) % GENERATIONS) * MAPPINGS_MAX;
    fm.stores[file] = store;
    fm.journalOf[file] = journal;
    fm.errors[file] = 0;
    fm.scalars[FM.NextFile] = (file + 1) % fm.files;
    return fm.handle[file] as Mapping;
  }
  return ENFILE;
}

function close(fm: Filemap, mapping: Mapping): 0 | Errno {
  assert(fm.scalars[FM.InCall] === 0, "page cache: close() within a call");
  const file = fileOf(fm, mapping);
  assert(fm.dirtyOf[file] === 0, "page cache: a file was closed with dirty pages");
  const head = fm.slots + file;
  for (let slot = fm.pageNext[head]!; slot !== head; slot = fm.pageNext[slot]!)
    if (fm.io[slot] !== NO_IO) return waitFor(fm, fm.io[slot]!, EIOCBQUEUED);
  while (fm.pageNext[head] !== head) dropPage(fm, fm.pageNext[head]!);
  fm.stores[file] = undefined;
  fm.handle[file] = -2 - mapping;
  return 0;
}

function pin(fm: Filemap, slot: Slot, by: 1 | -1): void {
  assert(fm.key[slot] !== NIL && fm.pins[slot]! + by >= 0, "page cache: pin or unpin of nothing");
  fm.pins[slot]! += by;
  setBusy(fm, slot);
}

function invalidate(fm: Filemap, mapping: Mapping, first: number, last: number): number {
  let dropped = 0;
  call.eachPage(fm, fileOf(fm, mapping), first, last, (slot) => {
    if (fm.busy[slot] !== 0) return;
    dropPage(fm, slot);
    dropped++;
  });
  return dropped;
}

function shrink(fm: Filemap, pages: number): number {
  let dropped = 0;
  while (dropped < pages && evictPage(fm, NO_KEY)) dropped++;
  return dropped;
}

function peek(fm: Filemap, mapping: Mapping, index: number): Slot | undefined {
  fileOf(fm, mapping);
  const slot = lookup(fm, mapping, index);
  return slot === NIL || (fm.flags[slot]! & PG.Uptodate) === 0 ? undefined : (slot as Slot);
}

/** Gives an open file of a restored state its store again. */
export function adopt(fm: Filemap, mapping: Mapping, store: BackingStore): void {
  fm.stores[fileOf(fm, mapping)] = store;
}

/** The face over a state that was just made and reset, or restored. */
export function pageCacheOf(fm: Filemap): PageCache {
  return {
    open: (store, journal) => open(fm, store, journal),
    close: (mapping) => close(fm, mapping),
    begin: () => call.begin(fm),
    page: (mapping, index) => call.page(fm, mapping, index) as Slot | Errno,
    read: (mapping, offset, into, words, at) => read(fm, mapping, offset, into, words, at),
    edit: (mapping, index) => call.edit(fm, mapping, index) as Slot | Errno,
    fresh: (mapping, index) => call.fresh(fm, mapping, index) as Slot | Errno,
    bytes: (slot) => call.bytes(fm, slot),
    stage: (slot, transaction = 0) => call.stage(fm, slot, transaction, false),
    stageWhole: (slot) => call.stage(fm, slot, 0, true),
    truncate: (mapping, first, last) => call.truncate(fm, mapping, first, last),
    merge: () => call.merge(fm),
    abort: () => call.abort(fm),
    waitingOn: () => fm.scalars[FM.WaitingOn]!,
    readAhead: (mapping, words, at, index, count) => readAhead(fm, mapping, words, at, index, count),
    inRequest: (io, page, pages) => inRequest(fm, io, page, pages),
    complete: (io, result) => complete(fm, io, result),
    throttle: (pages) => throttle(fm, pages),
    flush: (now, pages) => flush(fm, now, pages),
    nextFlushNs: (now) => nextFlushNs(fm, now),
    pressed: () => fm.scalars[FM.Pressed] === 1,
    ticket: () => fm.dirtyClock[0]!,
    sync: (mapping, ticket, first, last) => sync(fm, mapping, ticket, first, last),
    committed(journal, transaction) {
      assert(journal > 0 && transaction >= fm.committedTo[journal]!, "page cache: a journal's commits go backwards");
      fm.committedTo[journal] = transaction;
    },
    errorSample: (mapping) => errseqSample(fm.errors, fileOf(fm, mapping)),
    errorReport: (mapping, since) => errseqReport(fm.errors, fileOf(fm, mapping), since),
    peek: (mapping, index) => peek(fm, mapping, index),
    pin: (slot) => pin(fm, slot, 1),
    unpin: (slot) => pin(fm, slot, -1),
    invalidate: (mapping, first, last) => invalidate(fm, mapping, first, last),
    shrink: (pages) => shrink(fm, pages),
    pages: (mapping) => fm.pagesOf[mapping]!,
    cached: () => fm.scalars[FM.Pages]!,
    dirty: () => fm.scalars[FM.Dirty]!,
    writeback: () => fm.scalars[FM.Writeback]!,
    check: () => checkFilemap(fm),
  };
}

/** An empty page cache. */
export function pageCache(options: FilemapOptions): PageCache {
  const fm = new Filemap(options);
  fm.reset();
  return pageCacheOf(fm);
}
