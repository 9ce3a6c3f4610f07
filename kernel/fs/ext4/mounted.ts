/**
 * A mounted ext4: what its parts share. State lies in the tables (icache.ts, page_marks.ts, space.ts, those of buffers,
 * journal and page cache) and in `words` and the rows below; the rest is wiring, made again by whoever mounts.
 *
 *   call.ts        runs one change             rows.ts         inodes in memory
 *   data_io.ts     requests for data           writeback.ts    places for delayed blocks, ordered data
 *   data_store.ts  pages from and to the disk  file_*.ts       what can be done to files
 *   fsync.ts       fsync, sync                 super_state.ts  the superblock, errors=
 *   waits.ts       what a call waits for
 *   fast_track.ts  what fast commits can say   fast_write.ts   fast commits
 *
 *   away     n -> one page on its way outside of the page cache's requests: inode row, page, slot, transaction
 *   io       request of the page cache -> its pages, device requests that have not ended, first error, transaction
 *   pending  transaction's low bits -> device requests with data that must end before it commits
 */
import type { EvictMemory } from "../../abi/evict.ts";
import { CACHE_IOS_MAX, IO_PAGES_MAX } from "../../abi/limits.ts";
import type { Machine } from "../../abi/machine.ts";
import type { ObjectCache } from "../../abi/object_cache.ts";
import type { PageCache } from "../../abi/page_cache.ts";
import { WAIT_ANY } from "../../abi/page_cache.ts";
import { NS_PER_SEC } from "../../abi/units.ts";
import type { BlockIo } from "../block_io.ts";
import type { Buffers } from "../buffers.ts";
import type { Jbd2 } from "../jbd2/jbd2.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { FastTrack } from "./fast_track.ts";
import { GroupEdit } from "./group_edit.ts";
import { Icache } from "./icache.ts";
import type { MountOptions, OnError } from "./mount_options.ts";
import { PageMarks } from "./page_marks.ts";
import type { Space } from "./space.ts";
import type { Super } from "./super.ts";

/** Transactions whose data may be in flight are told apart by this many numbers. */
export const TIDS = 8;
/** Pages on their way outside of the page cache's requests, at one time. */
export const AWAY_MAX = 64;

/** Words of `words`. */
export const FS = {
  /** 1: nothing may be changed any more. */
  ReadOnly: 0,
  /** 1: errors=panic has struck. */
  Panicked: 1,
  /** Within runCall() or readCall(). */
  InCall: 2,
  /** Within that, a call of the page cache is open. */
  CacheOpen: 3,
  /** Of the last request for data: device requests that did not end at once. */
  Later: 4,
  /** Errors met since the mount; of these, in the superblock. */
  Errors: 5,
  ErrorsKept: 6,
  LastError: 7,
  /** s_state as the mount found it. */
  State: 8,
  /** What the call that was told EIOCBQUEUED last waits for: waits.ts. */
  WaitsFor: 9,
  words: 10,
} as const;

export interface MountedParts {
  readonly sb: Super;
  readonly journal: Jbd2;
  readonly space: Space;
  readonly cache: PageCache;
  readonly machine: Machine;
  /** Seconds since 1970 at the machine's boot. */
  readonly bootSec: number;
  readonly options: MountOptions;
  readonly onError: OnError;
  /** Calls are made on behalf of somebody who may use the blocks that are kept for root. */
  readonly privileged: boolean;
  readonly memory: EvictMemory;
  /** An fsync may be a fast commit. */
  readonly fastCommit: boolean;
  /** Most inodes in memory, and pages that may be marked: the page cache's. */
  readonly inodes: number;
  readonly pages: number;
  /** Memory of an inode. */
  readonly inodeObjects: ObjectCache;
}

/** The Edit of every call: one object, with the time of the call. */
export class CallEdit implements Edit {
  readonly blocks: Buffers;
  readonly sb: Super;
  readonly groups: GroupEdit;
  readonly below: (bound: number) => number;
  readonly privileged: boolean;
  sec = 0;
  nsec = 0;

  constructor({ journal, sb, space, machine, privileged }: MountedParts) {
    const { buffers } = journal;
    this.blocks = buffers;
    this.sb = sb;
    this.groups = new GroupEdit(buffers, sb, space);
    this.below = machine.below;
    this.privileged = privileged;
  }
}

export class Mounted {
  readonly sb: Super;
  readonly io: BlockIo;
  readonly buffers: Buffers;
  readonly journal: Jbd2;
  readonly space: Space;
  readonly cache: PageCache;
  readonly machine: Machine;
  readonly bootSec: number;
  readonly options: MountOptions;
  readonly onError: OnError;
  readonly edit: CallEdit;
  readonly inodes: Icache;
  readonly marks: PageMarks;
  readonly fast: FastTrack;
  readonly words: Int32Array;
  readonly ioRow: Int32Array;
  readonly ioFirst: Float64Array;
  readonly ioPages: Int32Array;
  readonly ioLeft: Int32Array;
  readonly ioResult: Int32Array;
  readonly ioTid: Float64Array;
  readonly pending: Int32Array;
  readonly awayRow: Int32Array;
  readonly awayIndex: Float64Array;
  readonly awaySlot: Int32Array;
  readonly awayLeft: Int32Array;
  readonly awayTid: Float64Array;
  /** Answers of look-ups: written and read within one function. */
  readonly mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  /** Blocks of the device that a request's pages are. */
  readonly places = new Float64Array(IO_PAGES_MAX * 4);

  constructor(parts: MountedParts) {
    const { memory } = parts;
    this.sb = parts.sb;
    this.buffers = parts.journal.buffers;
    this.io = this.buffers.io;
    this.journal = parts.journal;
    this.space = parts.space;
    this.cache = parts.cache;
    this.machine = parts.machine;
    this.bootSec = parts.bootSec;
    this.options = parts.options;
    this.onError = parts.onError;
    this.edit = new CallEdit(parts);
    this.inodes = new Icache(memory, parts.inodes, parts.inodeObjects);
    this.marks = new PageMarks(memory, parts.pages, parts.inodes, parts.sb.blockSize);
    this.fast = new FastTrack(memory, parts.fastCommit);
    this.words = memory.int32(FS.words);
    this.ioRow = memory.int32(CACHE_IOS_MAX);
    this.ioFirst = memory.float64(CACHE_IOS_MAX);
    this.ioPages = memory.int32(CACHE_IOS_MAX);
    this.ioLeft = memory.int32(CACHE_IOS_MAX);
    this.ioResult = memory.int32(CACHE_IOS_MAX);
    this.ioTid = memory.float64(CACHE_IOS_MAX);
    this.pending = memory.int32(TIDS);
    this.awayRow = memory.int32(AWAY_MAX);
    this.awayIndex = memory.float64(AWAY_MAX);
    this.awaySlot = memory.int32(AWAY_MAX);
    this.awayLeft = memory.int32(AWAY_MAX);
    this.awayTid = memory.float64(AWAY_MAX);
    this.words[FS.WaitsFor] = WAIT_ANY;
    this.inodes.reset();
    this.marks.reset();
    this.awaySlot.fill(-1);
  }

  get readOnly(): boolean {
    return this.words[FS.ReadOnly] === 1;
  }

  /** The call's time becomes now. */
  setTime(): void {
    const now = this.machine.now();
    const seconds = Math.floor(now / NS_PER_SEC);
    this.edit.sec = this.bootSec + seconds;
    this.edit.nsec = now - seconds * NS_PER_SEC;
  }
}
