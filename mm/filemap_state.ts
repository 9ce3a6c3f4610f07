/**
 * The page cache's state: typed arrays only, asked of one memory, so that it is saved, restored and shared as bytes. What
 * is beside them (stores, frames, the policy's code, the trace sink) is wiring, made again by whoever builds it.
 *
 *   slot s     0..slots             one page: frame, key = mapping * 2^32 + index, flags, links
 *   file r     0..files             one open file: links' heads are nodes slots + r of the pages' and dirty lists
 *   request i  0..CACHE_IOS_MAX     one read or write in flight: its slots are a run of pages, chained by ioNext
 *   call       0..CALL_PAGES_MAX    pages that the open call has in hand, and up to CALL_STAGES_MAX staged copies
 *
 * One owner (the storage worker) reads and writes all of it, plainly.
 */
import type { BackingStore } from "../kernel/abi/backing_store.ts";
import type { EvictMemory, EvictPolicy, EvictPolicyType } from "../kernel/abi/evict.ts";
import type { Frames } from "../kernel/abi/frames.ts";
import {
  CACHE_IOS_MAX,
  CALL_PAGES_MAX,
  CALL_STAGES_MAX,
  CALL_TRUNCATES_MAX,
  JOURNALS_MAX,
  MAPPINGS_MAX,
} from "../kernel/abi/limits.ts";
import type { EventSink } from "../kernel/abi/machine.ts";
import type { Errno, Nanos, Pfn } from "../kernel/abi/units.ts";
import { NS_PER_SEC, PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { KeyTable } from "../kernel/lib/key_table.ts";
import { listInit } from "../kernel/lib/slot_list.ts";

/** Flags of a slot; Linux's names where it has them. */
export const PG = {
  /** Content is what the store has, or newer. */
  Uptodate: 1,
  Dirty: 2,
  /** A read is in flight (PG_locked). */
  Reading: 4,
  Writeback: 8,
  /** A read that was waited for has failed; `error` says how. The call that comes back for it consumes it. */
  Error: 16,
  /** Reaching this page starts the next read-ahead window. */
  Readahead: 32,
  /** A call that was given up needs it. */
  Wanted: 64,
  /** Not used since it came: the first use is the one its insertion stands for. */
  First: 128,
  /** Made by fresh() of the open call: gone if the call does not end well. */
  Fresh: 256,
} as const;

/** Request kinds; 0 is a free row. */
export const IO = { Free: 0, Read: 1, Write: 2 } as const;

/** Rows of `scalars`. */
export const FM = {
  FreeHead: 0,
  Pages: 1,
  Dirty: 2,
  Writeback: 3,
  IosFree: 4,
  InCall: 5,
  CallPages: 6,
  Stages: 7,
  Truncates: 8,
  WaitingOn: 9,
  Pressed: 10,
  /** Row at which the search for a free one begins. */
  NextFile: 11,
  words: 12,
} as const;

/** Rows of `counters`: for /proc/vmstat and tests; never reset. */
export const STAT = { Hit: 0, Miss: 1, ReadPages: 2, AheadPages: 3, WrittenPages: 4, Evicted: 5, words: 6 } as const;

export interface FilemapOptions {
  /** Most pages in the cache. */
  readonly slots: number;
  /** Most open files. */
  readonly files?: number;
  readonly policy: EvictPolicyType;
  readonly seed: number;
  readonly frames: Frames;
  readonly memory: EvictMemory;
  readonly trace?: EventSink;
  readonly now?: () => Nanos;
  /** Percent of the slots; Linux: vm.dirty_background_ratio, vm.dirty_ratio. */
  readonly backgroundRatio?: number;
  readonly dirtyRatio?: number;
  /** Dirty pages older than this are written in any case; vm.dirty_expire_centisecs. */
  readonly expireNs?: number;
}

/** A slot that holds no page. */
export const NO_FRAME = -1;
export const NO_IO = -1;
/** End of a chain of slots; a key that no page has. */
export const NIL = -1;
/** What lookups within a call say of a page that is not here: neither a slot nor an errno. */
export const ABSENT = 2 ** 30;
/** The open call was not told to wait. */
export const NO_WAIT = -2;

export class Filemap {
  readonly slots: number;
  readonly files: number;
  readonly frames: Frames;
  readonly policy: EvictPolicy;
  readonly trace: EventSink;
  readonly now: () => Nanos;
  /** Pages; may be changed at any time. */
  backgroundMax: number;
  dirtyMax: number;
  expireNs: number;
  readonly stores: (BackingStore | undefined)[];

  readonly index: KeyTable;
  readonly frame: Int32Array;
  readonly key: Float64Array;
  readonly flags: Int32Array;
  readonly pins: Int32Array;
  /** Read by the policy: this slot may not go. Kept by setBusy(). */
  readonly busy: Uint8Array;
  readonly error: Int32Array;
  readonly io: Int32Array;
  readonly ioNext: Int32Array;
  readonly freeNext: Int32Array;
  readonly pageNext: Int32Array;
  readonly pagePrev: Int32Array;
  readonly dirtyNext: Int32Array;
  readonly dirtyPrev: Int32Array;
  /** When it became dirty, by the cache's own count. */
  readonly dirtySeq: Float64Array;
  /** Transaction that holds it back; 0: none. */
  readonly heldBy: Float64Array;
  /** Place in the call's table; NIL: not in hand. */
  readonly callOf: Int32Array;

  readonly handle: Int32Array;
  readonly pagesOf: Int32Array;
  readonly dirtyOf: Int32Array;
  readonly journalOf: Int32Array;
  readonly errors: Int32Array;
  readonly dirtiedWhen: Float64Array;
  /** Files with dirty pages, longest dirty at the back; node `files` is the head. */
  readonly fileNext: Int32Array;
  readonly filePrev: Int32Array;

  readonly ioKind: Int32Array;
  readonly ioFile: Int32Array;
  readonly ioFirst: Float64Array;
  readonly ioCount: Int32Array;
  readonly ioSlots: Int32Array;
  /** Least dirtySeq of a write's pages. */
  readonly ioSeq: Float64Array;

  readonly callSlot: Int32Array;
  readonly callStage: Int32Array;
  readonly callHold: Float64Array;
  readonly stages: Uint8Array;
  /** Mapping, first, last of each. */
  readonly truncates: Float64Array;

  readonly scalars: Int32Array;
  /** [0] count of pages made dirty. */
  readonly dirtyClock: Float64Array;
  readonly committedTo: Float64Array;
  readonly counters: Float64Array;

  constructor(options: FilemapOptions) {
    const { slots, memory } = options;
    const files = options.files ?? 1024;
    assert(slots >= 1 && slots < 2 ** 27, "Filemap: a cache has at least one page");
    assert(files >= 1 && files <= MAPPINGS_MAX, "Filemap: too many files");
    this.slots = slots;
    this.files = files;
    this.frames = options.frames;
    this.trace = options.trace ?? (() => {});
    this.now = options.now ?? (() => 0 as Nanos);
    this.backgroundMax = Math.floor((slots * (options.backgroundRatio ?? 10)) / 100);
    this.dirtyMax = Math.max(1, Math.floor((slots * (options.dirtyRatio ?? 20)) / 100));
    this.expireNs = options.expireNs ?? 30 * NS_PER_SEC;
    this.stores = Array.from({ length: files }, () => undefined);

    this.index = new KeyTable(memory, slots);
    this.frame = memory.int32(slots);
    this.key = memory.float64(slots);
    this.flags = memory.int32(slots);
    this.pins = memory.int32(slots);
    this.busy = memory.uint8(slots);
    this.error = memory.int32(slots);
    this.io = memory.int32(slots);
    this.ioNext = memory.int32(slots);
    this.freeNext = memory.int32(slots);
    this.pageNext = memory.int32(slots + files);
    this.pagePrev = memory.int32(slots + files);
    this.dirtyNext = memory.int32(slots + files);
    this.dirtyPrev = memory.int32(slots + files);
    this.dirtySeq = memory.float64(slots);
    this.heldBy = memory.float64(slots);
    this.callOf = memory.int32(slots);

    this.handle = memory.int32(files);
    this.pagesOf = memory.int32(files);
    this.dirtyOf = memory.int32(files);
    this.journalOf = memory.int32(files);
    this.errors = memory.int32(files);
    this.dirtiedWhen = memory.float64(files);
    this.fileNext = memory.int32(files + 1);
    this.filePrev = memory.int32(files + 1);

    this.ioKind = memory.int32(CACHE_IOS_MAX);
    this.ioFile = memory.int32(CACHE_IOS_MAX);
    this.ioFirst = memory.float64(CACHE_IOS_MAX);
    this.ioCount = memory.int32(CACHE_IOS_MAX);
    this.ioSlots = memory.int32(CACHE_IOS_MAX);
    this.ioSeq = memory.float64(CACHE_IOS_MAX);

    this.callSlot = memory.int32(CALL_PAGES_MAX);
    this.callStage = memory.int32(CALL_PAGES_MAX);
    this.callHold = memory.float64(CALL_PAGES_MAX);
    this.stages = memory.uint8(CALL_STAGES_MAX * PAGE_SIZE);
    this.truncates = memory.float64(CALL_TRUNCATES_MAX * 3);

    this.scalars = memory.int32(FM.words);
    this.dirtyClock = memory.float64(1);
    this.committedTo = memory.float64(JOURNALS_MAX);
    this.counters = memory.float64(STAT.words);
    this.policy = options.policy.create({ capacity: slots, seed: options.seed, busy: this.busy }, memory);
  }

  /** Empties everything: for a cache on fresh memory. */
  reset(): void {
    const { slots, files } = this;
    this.index.clear();
    this.frame.fill(NO_FRAME);
    this.key.fill(NIL);
    this.io.fill(NO_IO);
    this.callOf.fill(NIL);
    for (const words of [this.flags, this.pins, this.busy, this.pagesOf, this.dirtyOf, this.ioKind, this.scalars])
      words.fill(0);
    for (let slot = 0; slot < slots; slot++) this.freeNext[slot] = slot + 1 === slots ? NIL : slot + 1;
    for (let file = 0; file < files; file++) {
      this.handle[file] = NIL;
      listInit(this.pageNext, this.pagePrev, slots + file);
      listInit(this.dirtyNext, this.dirtyPrev, slots + file);
    }
    listInit(this.fileNext, this.filePrev, files);
    this.scalars[FM.IosFree] = CACHE_IOS_MAX;
    this.dirtyClock[0] = 0;
    this.committedTo.fill(0);
    this.counters.fill(0);
    this.policy.reset();
  }
}

/** Row of an open file; a handle that is not open is a caller's error. */
export function fileOf(fm: Filemap, mapping: number): number {
  const file = mapping % MAPPINGS_MAX;
  assert(file < fm.files && fm.handle[file] === mapping, "page cache: the file is not open");
  return file;
}

export const keyOf = (mapping: number, index: number): number => mapping * 2 ** 32 + index;
export const mappingOfKey = (key: number): number => Math.floor(key / 2 ** 32);
/** The remainder, exactly; % of numbers beyond 2^31 is a call of the C library's. */
export const indexOfKey = (key: number): number => key - Math.floor(key / 2 ** 32) * 2 ** 32;
export const frameBytes = (fm: Filemap, slot: number): Uint8Array => fm.frames.bytes(fm.frame[slot] as Pfn);

/** Notes what the caller should wait for. */
export function waitFor(fm: Filemap, io: number, errno: Errno): Errno {
  fm.scalars[FM.WaitingOn] = io;
  return errno;
}
