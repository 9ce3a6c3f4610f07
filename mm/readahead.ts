/**
 * On-demand read-ahead as Linux does it (mm/readahead.c): windows that double while reads follow each other, the next
 * window started when the reader reaches a marked page, so that it comes while the last is still being read.
 *
 *   pages   0 1 2 3 | 4 5 .. 11 | 12 .. 27 | 28 ..      windows of 4, 8, 16, then 32 for a reader of single pages
 *             M       M           M          M          M: marked, `async` pages before its window's end; a read of
 *                                                       it starts the next window
 *
 * State of an open file, five words: start, size, async, most pages of a window, last page read (-1: none).
 */
import { Ev } from "../kernel/abi/events.ts";
import { IO_PAGES_MAX } from "../kernel/abi/limits.ts";
import { RA_WORDS } from "../kernel/abi/page_cache.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { layout } from "../kernel/lib/layout.ts";
import { startRead } from "./filemap_io.ts";
import { addPage, lookup, setFlags } from "./filemap_page.ts";
import { type Filemap, fileOf, FM, keyOf, NIL, PG, STAT } from "./filemap_state.ts";

export const RA = layout("start", "size", "async", "pages", "prev");
assert(RA.words === RA_WORDS, "readahead: the face knows the size of its record");

/** Linux's default window, 128 KiB. */
export const RA_PAGES_DEFAULT = 32;

/** An open file that was not read yet; `pages` 0 switches read-ahead off. */
export function raInit(words: Int32Array, at: number, pages: number): void {
  words.fill(0, at, at + RA_WORDS);
  words[at + RA.pages] = pages;
  words[at + RA.prev] = -1;
}

/** get_init_ra_size(): a power of two, then four times or twice that while it is small. */
function firstWindow(request: number, max: number): number {
  let size = 1;
  while (size < request) size *= 2;
  if (size <= Math.floor(max / 32)) return size * 4;
  return size <= Math.floor(max / 4) ? size * 2 : max;
}

/** get_next_ra_size(). */
function nextWindow(size: number, max: number): number {
  if (size < Math.floor(max / 16)) return size * 4;
  return size <= Math.floor(max / 2) ? size * 2 : max;
}

/** Reads the pages of start..start+count that are not here, in as few requests as can be; marks the one `ahead` from the end. */
function readRange(fm: Filemap, mapping: number, start: number, count: number, ahead: number): void {
  const file = fileOf(fm, mapping);
  const end = Math.min(start + count, Math.ceil(fm.stores[file]!.size() / PAGE_SIZE));
  const mark = start + count - ahead;
  let run: number[] = [];
  const submit = (): void => {
    if (run.length > 0) startRead(fm, file, run);
    run = [];
  };
  for (let index = start; index < end; index++) {
    if (lookup(fm, mapping, index) !== NIL) {
      submit();
      continue;
    }
    if (run.length === IO_PAGES_MAX) submit();
    if (run.length === 0 && fm.scalars[FM.IosFree] === 0) break;
    const slot = addPage(fm, file, keyOf(mapping, index), PG.Reading, false);
    if (slot < 0) break;
    if (ahead > 0 && index === mark) setFlags(fm, slot, PG.Readahead, 0);
    fm.counters[STAT.AheadPages]!++;
    run.push(slot);
  }
  submit();
}

/** Pages in the cache without a gap right before `index`, at most `max` (count_history_pages). */
function history(fm: Filemap, mapping: number, index: number, max: number): number {
  let count = 0;
  while (count < max && count < index && lookup(fm, mapping, index - 1 - count) !== NIL) count++;
  return count;
}

/** ondemand_readahead(): decides the window for a miss, or for a hit on a marked page. */
function onDemand(
  fm: Filemap,
  mapping: number,
  words: Int32Array,
  at: number,
  index: number,
  count: number,
  marked: boolean,
): void {
  // A request may be larger than a window, up to what one request of the store takes, and a part of the cache.
  const max = Math.max(words[at + RA.pages]!, Math.min(count, IO_PAGES_MAX, fm.slots >> 2));
  const start = words[at + RA.start]!;
  const size = words[at + RA.size]!;
  const prev = words[at + RA.prev]!;
  const window = (from: number, pages: number, async: number): void => {
    words[at + RA.start] = from;
    words[at + RA.size] = pages;
    words[at + RA.async] = async;
  };
  const first = (): void => {
    const pages = firstWindow(count, max);
    window(index, pages, pages > count ? pages - count : pages);
  };
  if (index === 0) {
    first();
  } else if (index === start + size - words[at + RA.async]! || index === start + size) {
    const pages = nextWindow(size, max);
    window(start + size, pages, pages);
  } else if (marked) {
    // Another reader's window, or an older one: go on behind what is here.
    let gap = index + 1;
    while (gap - index <= max && lookup(fm, mapping, gap) !== NIL) gap++;
    if (gap - index > max) return;
    const pages = nextWindow(gap - index + count, max);
    window(gap, pages, pages);
  } else if (count > max || index === prev || index === prev + 1) {
    first();
  } else {
    const before = history(fm, mapping, index, max);
    // Alone: a small random read is read as it is, and leaves the state.
    if (before <= count) return readRange(fm, mapping, index, count, 0);
    window(index, Math.min((before >= index ? before * 2 : before) + count, max), 1);
  }
  // A window that would meet its own mark at once takes the next one with it.
  if (index === words[at + RA.start] && words[at + RA.size] === words[at + RA.async]) {
    const pages = words[at + RA.size]!;
    const more = nextWindow(pages, max);
    if (pages + more <= max) window(index, pages + more, more);
    else window(index, max, max >> 1);
  }
  const from = words[at + RA.start]!;
  fm.trace(Ev.Readahead, 0, mapping, from, words[at + RA.size]!, words[at + RA.async]!);
  readRange(fm, mapping, from, words[at + RA.size]!, words[at + RA.async]!);
}

export function readAhead(
  fm: Filemap,
  mapping: number,
  words: Int32Array,
  at: number,
  index: number,
  count: number,
): void {
  if (words[at + RA.pages] === 0) return;
  const slot = lookup(fm, mapping, index);
  if (slot === NIL) {
    onDemand(fm, mapping, words, at, index, count, false);
  } else if ((fm.flags[slot]! & PG.Readahead) !== 0 && (fm.flags[slot]! & PG.Writeback) === 0) {
    setFlags(fm, slot, 0, PG.Readahead);
    onDemand(fm, mapping, words, at, index, count, true);
  }
}
