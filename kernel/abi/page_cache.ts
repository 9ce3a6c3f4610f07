/**
 * The page cache as a file system sees it. A file call is a transaction on it (docs/architecture.md, decision 1):
 *
 *   begin()                     one call at a time; nothing else runs until it ends
 *     page, edit, fresh         pages it needs. EIOCBQUEUED: abort(), sleep until the request `waitingOn()` has ended,
 *                               and make the whole call again. Another errno: abort() and return it
 *     stage                     a copy that the call may change; nobody else sees it
 *     truncate                  pages that shall go
 *   merge()                     all at once: copies become the pages and are dirty, truncated pages are gone
 *   or abort()                  nothing was done
 *
 * A page that a call has in hand stays until the call ends; pages a given-up call had in hand, or waited for, are the
 * last to go until its next try ends, so that a call always ends. A use is reported to the eviction policy when the call
 * that made it ends well: a call made again counts once.
 *
 * Write-back is a step function: whoever drives the machine calls flush() now and then, and always while `pressed()`.
 * A journal holds pages back: stage(slot, transaction) keeps the merged page from being written before
 * committed(journal, transaction). A call that changes such a page again waits while it is on its way to the disk.
 */
import type { BackingStore } from "./backing_store.ts";
import type { Errno, Nanos, Unit } from "./units.ts";

/** An open file of the cache: row and generation. */
export type Mapping = Unit<"mapping">;
/** A page in the cache. Valid until the call that got it ends, or while it is pinned. */
export type Slot = Unit<"slot">;

/** waitingOn(): not one request but any end of a write, or a step of the flusher. */
export const WAIT_ANY = -1;
/** waitingOn() of a file system that knows what kind of progress its call waits for: the end of a read of file data, */
export const WAIT_DATA = -2;
/** of a read of metadata, */
export const WAIT_METADATA = -3;
/** the journal's next step (a commit, room in the log or in the buffer cache, a flush), */
export const WAIT_JOURNAL = -4;
/** the end of a write of file data, or the flusher's next step, */
export const WAIT_WRITEBACK = -5;
/** the end of a commit or of a flush (Jbd2.ends). */
export const WAIT_COMMIT = -6;
/** Last page of a range that has no end. */
export const PAGE_LAST = 2 ** 32 - 1;

/** A file's read-ahead state, five words in an array of whoever holds open files (Linux: struct file_ra_state). */
export const RA_WORDS = 5;

export interface PageCache {
  /** `journal`: 0, or 1 and up to JOURNALS_MAX - 1 when its pages may be held back. ENFILE: the table is full. */
  open(store: BackingStore, journal: number): Mapping | Errno;
  /** Drops its pages; panics when one is dirty. EIOCBQUEUED: a request is in flight. */
  close(mapping: Mapping): 0 | Errno;

  begin(): void;
  /** The page to read. EIO (or what the store said) once for each failed read. ENOMEM: all pages are in use. */
  page(mapping: Mapping, index: number): Slot | Errno;
  /**
   * Bytes offset.. of the file into `into`, with read-ahead when there are `words` (as of readAhead()). Fewer when all
   * pages are in use; else as page() of the first page that is not there. Not in a call that has staged anything.
   */
  read(mapping: Mapping, offset: number, into: Uint8Array, words: Int32Array | undefined, at: number): number;
  /** The page to change in part. */
  edit(mapping: Mapping, index: number): Slot | Errno;
  /** The page to overwrite as a whole, or one that was never written: not read, its copy begins as zeros. */
  fresh(mapping: Mapping, index: number): Slot | Errno;
  /** The page's bytes, as this call would leave them. Not to be changed, not to be kept. */
  bytes(slot: Slot): Uint8Array;
  /** The call's copy of a page from edit() or fresh(). `transaction` > 0: written only after it is committed. */
  stage(slot: Slot, transaction?: number): Uint8Array;
  /** The same of a page that the call fills to its last byte: until then nobody knows what the copy holds. */
  stageWhole(slot: Slot): Uint8Array;
  /** Pages first..last go at merge(), dirty or not. EIOCBQUEUED: one is in flight. EBUSY: one is pinned. */
  truncate(mapping: Mapping, first: number, last: number): 0 | Errno;
  merge(): void;
  abort(): void;
  /** What the call that was just told EIOCBQUEUED waits for: an `io`, or WAIT_ANY. */
  waitingOn(): number;

  /** Reads ahead of a read of pages index..index+count; before page(). `words[at..at+RA_WORDS)` is the file's state. */
  readAhead(mapping: Mapping, words: Int32Array, at: number, index: number, count: number): void;

  /** Bytes of a request's pages page.., whose frames are neighbours: for a store that makes its requests again. */
  inRequest(io: number, page: number, pages: number): Uint8Array;
  /** A store's request has ended: 0, or an errno. */
  complete(io: number, result: number): void;

  /** EIOCBQUEUED while too much is dirty to dirty `pages` more: before begin(). */
  throttle(pages: number): 0 | Errno;
  /** Starts to write at most `pages` of what is due; returns how many were started. */
  flush(now: Nanos, pages: number): number;
  /** After flush() has started nothing: when the clock alone makes it, ns; Infinity: never. */
  nextFlushNs(now: Nanos): number;
  /** A caller waits for pages to become clean: flush, and commit what is held. */
  pressed(): boolean;
  /** What is dirty now: sync() up to a ticket does not chase what is dirtied later. */
  ticket(): number;
  /** Writes what was dirty at `ticket` in first..last. EIOCBQUEUED: in flight, ask again. EBUSY: a page is held back by a
   * transaction that is not committed. 0: all is written (or failed: see writeError). */
  sync(mapping: Mapping, ticket: number, first: number, last: number): 0 | Errno;
  /** All transactions of the journal up to this one are committed. */
  committed(journal: number, transaction: number): void;
  /** Where an open file begins to listen for failed writes; and the first failure since, told once. */
  errorSample(mapping: Mapping): number;
  errorReport(mapping: Mapping, since: number): 0 | Errno;

  /** Between calls: the page if it is here and whole, not counted as a use. */
  peek(mapping: Mapping, index: number): Slot | undefined;
  pin(slot: Slot): void;
  unpin(slot: Slot): void;
  /** Drops clean idle pages of first..last; returns how many. */
  invalidate(mapping: Mapping, first: number, last: number): number;
  /** Of one file. */
  pages(mapping: Mapping): number;
  /** For /proc/meminfo (Cached, Dirty, Writeback) and the shrinker's count: pages here, of these dirty, and in flight to the disk. */
  cached(): number;
  dirty(): number;
  writeback(): number;
  /** Drops up to `pages` clean idle pages that the policy chooses and gives their frames back; returns how many. */
  shrink(pages: number): number;
  /** Panics when its structures disagree. */
  check(): void;
}
