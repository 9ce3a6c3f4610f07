/**
 * Plain files on the page cache: read, write, truncate and fsync of a store that has a size and nothing else to keep in
 * step (Linux: generic_file_read_iter, generic_perform_write). What a memory file system and block devices need, and the
 * pattern a journalled file system follows with its own steps between begin() and merge().
 *
 * Each function is one call that runs to its end or changes nothing: EIOCBQUEUED means sleep on waitingOn() and call
 * again with the same arguments. A read or write longer than a call may be is cut short at a page border.
 */
import type { BackingStore } from "../kernel/abi/backing_store.ts";
import { EIOCBQUEUED, isErr } from "../kernel/abi/errno.ts";
import { CALL_PAGES_MAX, CALL_STAGES_MAX } from "../kernel/abi/limits.ts";
import { type Mapping, PAGE_LAST, type PageCache } from "../kernel/abi/page_cache.ts";
import type { Errno } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";

export interface SizedStore extends BackingStore {
  /** Bytes between the old size and a larger one read as zeros; what lies beyond a smaller one is gone. */
  setSize(bytes: number): void;
}

export interface PlainFile {
  readonly cache: PageCache;
  readonly mapping: Mapping;
  readonly store: SizedStore;
  /** Read-ahead state, and where the file last heard of failed writes. */
  readonly ra: Int32Array;
  errorsSince: number;
}

const pageOf = (offset: number): number => Math.floor(offset / PAGE_SIZE);
/** Bytes from `offset` that a call of so many pages may handle: up to the end of the last one. */
const callSpan = (offset: number, pages: number): number => (pageOf(offset) + pages) * PAGE_SIZE - offset;

function giveUp(cache: PageCache, errno: Errno): Errno {
  cache.abort();
  return errno;
}

/** Bytes read into `into`; 0 at the end of the file. */
export function fileRead(file: PlainFile, offset: number, into: Uint8Array): number {
  const { cache, mapping, ra } = file;
  const length = Math.min(into.length, file.store.size() - offset, callSpan(offset, CALL_PAGES_MAX));
  if (length <= 0) return 0;
  cache.begin();
  const done = cache.read(mapping, offset, into.subarray(0, length), ra, 0);
  if (isErr(done)) return giveUp(cache, done);
  cache.merge();
  return done;
}

/** Bytes written, at least one. */
export function fileWrite(file: PlainFile, offset: number, from: Uint8Array): number {
  const { cache, mapping, store } = file;
  const length = Math.min(from.length, callSpan(offset, CALL_STAGES_MAX));
  if (length === 0) return 0;
  const last = pageOf(offset + length - 1);
  const wait = cache.throttle(last - pageOf(offset) + 1);
  if (isErr(wait)) return wait;
  cache.begin();
  for (let index = pageOf(offset), done = 0; index <= last; index++) {
    const at = offset + done - index * PAGE_SIZE;
    const part = from.subarray(done, done + Math.min(PAGE_SIZE - at, length - done));
    const whole = part.length === PAGE_SIZE || index * PAGE_SIZE >= store.size();
    const slot = whole ? cache.fresh(mapping, index) : cache.edit(mapping, index);
    if (isErr(slot)) return giveUp(cache, slot);
    cache.stage(slot).set(part, at);
    done += part.length;
  }
  store.setSize(Math.max(store.size(), offset + length));
  cache.merge();
  return length;
}

/** The rest of the last page is zeroed in the cache, so that a file that grows again reads zeros there. */
export function fileTruncate(file: PlainFile, size: number): 0 | Errno {
  const { cache, mapping, store } = file;
  const tail = size % PAGE_SIZE;
  cache.begin();
  if (size < store.size()) {
    if (tail > 0) {
      const slot = cache.edit(mapping, pageOf(size));
      if (isErr(slot)) return giveUp(cache, slot);
      cache.stage(slot).fill(0, tail);
    }
    const gone = cache.truncate(mapping, Math.ceil(size / PAGE_SIZE), PAGE_LAST);
    if (isErr(gone)) return giveUp(cache, gone);
  }
  store.setSize(size);
  cache.merge();
  return 0;
}

/** `ticket` is cache.ticket() of the first try. The error is told once, when all that was dirty has been tried. */
export function fileSync(file: PlainFile, ticket: number): 0 | Errno {
  const { cache, mapping } = file;
  const done = cache.sync(mapping, ticket, 0, PAGE_LAST);
  if (done === EIOCBQUEUED) return done;
  const error = cache.errorReport(mapping, file.errorsSince);
  file.errorsSince = cache.errorSample(mapping);
  return error === 0 ? done : error;
}
