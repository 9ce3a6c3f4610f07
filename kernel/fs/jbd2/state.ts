/**
 * A running journal's state: words and small tables, asked of one memory beside that of the buffer cache, whose versions
 * are the larger part of it. What is beside them (the device, the owner, the clock) is wiring.
 *
 *   the log      first .. last - 1, a ring |  free  | tail: committed, not all at home | committing | head: free ... |
 *   rows         a ring: one for each committed transaction of the log, oldest first: tid, first block, slots that are
 *                not at home yet, when it was committed
 *   extras       blocks behind the cache's slots: descriptors, revoke and commit blocks, escaped copies, in flight to the
 *                log; the last one is the journal's superblock as it was written last or is being written
 *
 * Words keep their values between steps, so that a commit or a checkpoint goes on where it was in a state that was saved
 * and restored. Ids of transactions are 32 bits and go round; compare them with tidLater() and tidReached().
 */
import type { EvictMemory } from "../../abi/evict.ts";
import { NS_PER_SEC } from "../../abi/units.ts";
import type { Errno, Nanos } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import type { Buffers } from "../buffers.ts";
import { JINCOMPAT_64BIT, JINCOMPAT_ASYNC_COMMIT } from "./layout.ts";
import type { JournalSuper } from "./journal.ts";
import { revokesPerBlock, tagsPerBlock } from "./log_format.ts";
import type { LogFormat } from "./log_format.ts";

/** Who knows about file data. */
export interface JournalOwner {
  /** 0: all data that this transaction promises are on the device. EIOCBQUEUED: on their way. Else the journal aborts. */
  ordered(tid: number): 0 | Errno;
  /** It is durable: what was freed in it may be used again. */
  committed(tid: number): void;
}

/** Blocks behind the slots that a journal needs: BuffersOptions.extra. */
export const LOG_EXTRAS = 16;
const EXTRAS = LOG_EXTRAS - 1;
/** Linux leaves these unused: "allow for rounding errors". */
export const LOG_SPARE = 32;
/** A transaction is at least a revoke block and a commit block. */
const TRANSACTION_BLOCKS_MIN = 2;

export const COMMIT_INTERVAL_NS = 5 * NS_PER_SEC;
/** Linux's dirty_expire_centisecs: what is committed goes home then, though the log has room. */
export const HOME_EXPIRE_NS = 30 * NS_PER_SEC;

/** Words of `words`. */
export const J = {
  /** Id of the running transaction, or of the next; Live: something is in it. */
  Tid: 0,
  Live: 1,
  ExpiresNs: 2,
  /** Somebody waits for it. */
  Requested: 3,
  /** Reserved by the open call. */
  Credits: 4,
  Revokes: 5,

  /** commit.ts: phase, transaction, where it starts in the log. */
  Phase: 6,
  CommitTid: 7,
  CommitStart: 8,
  /** Blocks it may take at most. */
  CommitReserved: 9,
  /** Writes to the log in flight. */
  Pending: 10,
  /** Its revokes and slots that have been written. */
  RevokeAt: 11,
  Cursor: 12,
  /** The open descriptor: its extra, block, offset of the next tag and of the last one, first slot of it. */
  Descriptor: 13,
  DescriptorBlock: 14,
  TagAt: 15,
  TagLast: 16,
  TagFirst: 17,
  /** csum v1. */
  Crc: 18,
  Flushing: 19,

  Head: 20,
  LogFree: 21,
  /** As the superblock has it, in memory and on the disk; TailBlock 0: empty. */
  TailBlock: 22,
  TailTid: 23,
  SuperBusy: 24,

  RowFirst: 25,
  Rows: 26,
  /** checkpoint.ts: phase, rows that it writes home, rows and tail once that is flushed. */
  HomePhase: 27,
  HomeRows: 28,
  NewRows: 29,
  NewBlock: 30,
  NewTid: 31,
  HomeFlushing: 32,
  /** A call waits for room in the log. */
  WantSpace: 33,
  /** The log is to be emptied. */
  Emptying: 34,

  /** The errno with which it was aborted; and that it has to be told to the superblock. */
  Aborted: 35,
  TellErrno: 36,

  /** flush.ts: numbers of flushes asked for, started and ended; the last that failed. */
  FlushWanted: 37,
  FlushStarted: 38,
  FlushEnded: 39,
  FlushFailed: 40,

  /** fast_commit.ts: phase; blocks of the area that are used; a full commit has come; none may come before the next. */
  FcPhase: 41,
  FcBlocks: 42,
  FcReady: 43,
  FcBarred: 44,
  /** The open block's extra, what is used of it, the checksum before it. */
  FcExtra: 45,
  FcAt: 46,
  FcCrc: 47,
  FcPending: 48,
  FcFlushing: 49,
  FcStarted: 50,
  FcEnded: 51,
  FcFailed: 52,
  words: 53,
} as const;

export interface JournalWiring {
  readonly buffers: Buffers;
  readonly memory: EvictMemory;
  readonly now: () => Nanos;
  /** Seconds since 1970 at now() = 0. */
  readonly epochSec: number;
  readonly barrier: boolean;
  readonly intervalNs: number;
  /** The log; undefined: there is no journal. */
  readonly log: { readonly super: JournalSuper; readonly map: Int32Array } | undefined;
}

export class JournalState implements LogFormat {
  readonly buffers: Buffers;
  readonly now: () => Nanos;
  readonly epochSec: number;
  readonly barrier: boolean;
  readonly intervalNs: number;
  owner: JournalOwner = { ordered: () => 0, committed: () => {} };

  /** False: changed blocks go home at a commit, and nothing is promised about a crash in between. */
  readonly hasLog: boolean;
  readonly map: Int32Array;
  readonly first: number;
  readonly last: number;
  /** The fast-commit area: block of the journal, and how many; none without fast commits. */
  readonly fcFirst: number;
  readonly fcBlocks: number;
  readonly asyncCommit: boolean;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly csum: 0 | 1 | 2 | 3;
  readonly csumSeed: number;
  readonly tagBytes: number;
  readonly wide: boolean;
  readonly perRevokeBlock: number;
  /** Blocks of one transaction, those below among them: a quarter of the log, of the cache if that is less. */
  readonly transactionMax: number;
  /** Descriptors and the commit block of one transaction. */
  readonly overhead: number;

  readonly words: Float64Array;
  readonly rowTid: Float64Array;
  readonly rowBlock: Int32Array;
  readonly rowSlots: Int32Array;
  readonly rowNs: Float64Array;
  readonly extraBusy: Uint8Array;

  constructor({ buffers, memory, now, epochSec, barrier, intervalNs, log }: JournalWiring) {
    this.buffers = buffers;
    this.now = now;
    this.epochSec = epochSec;
    this.barrier = barrier;
    this.intervalNs = intervalNs;
    this.bytes = buffers.bytes;
    this.view = buffers.view;
    this.blockSize = buffers.blockSize;
    this.hasLog = log !== undefined;
    this.map = log?.map ?? new Int32Array(0);
    const incompat = log?.super.incompat ?? 0;
    this.first = log?.super.first ?? 0;
    this.last = log?.super.last ?? 0;
    this.fcFirst = log?.super.fcFirst ?? 0;
    this.fcBlocks = log === undefined ? 0 : log.super.maxlen - log.super.fcFirst;
    this.csum = log?.super.csum ?? 0;
    this.csumSeed = log?.super.csumSeed ?? 0;
    this.tagBytes = log?.super.tagBytes ?? 8;
    this.wide = (incompat & JINCOMPAT_64BIT) !== 0;
    this.asyncCommit = (incompat & JINCOMPAT_ASYNC_COMMIT) !== 0;
    this.perRevokeBlock = revokesPerBlock(this);
    const quarter = Math.floor(buffers.slots.slots / 4);
    // Linux: of the log with its superblock, without the fast-commit area.
    this.transactionMax = log === undefined ? quarter : Math.min(Math.floor((this.logBlocks + 1) / 4), quarter);
    this.overhead = log === undefined ? 0 : 1 + Math.ceil(this.transactionMax / tagsPerBlock(this));
    assert(this.transactionMax > this.overhead, "jbd2: the buffer cache is too small for a transaction");

    this.words = memory.float64(J.words);
    const rows = 1 + Math.ceil(this.logBlocks / TRANSACTION_BLOCKS_MIN);
    this.rowTid = memory.float64(rows);
    this.rowBlock = memory.int32(rows);
    this.rowSlots = memory.int32(rows);
    this.rowNs = memory.float64(rows);
    this.extraBusy = memory.uint8(EXTRAS);
  }

  get logBlocks(): number {
    return this.last - this.first;
  }

  /** Address of the journal's superblock. */
  get superAt(): number {
    return (this.buffers.slots.slots + EXTRAS) * this.blockSize;
  }

  extraAt(extra: number): number {
    return (this.buffers.slots.slots + extra) * this.blockSize;
  }

  /** A block for the log's own use; -1: all are in flight. */
  takeExtra(): number {
    const extra = this.extraBusy.indexOf(0);
    if (extra >= 0) this.extraBusy[extra] = 1;
    return extra;
  }

  /** Row of the ring, the oldest is 0. */
  row(n: number): number {
    return (this.words[J.RowFirst]! + n) % this.rowTid.length;
  }

  /** Blocks from one of the log to another, going round. */
  distance(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.logBlocks;
  }

  /** The next block of the log. */
  nextBlock(): number {
    const { words } = this;
    assert(words[J.LogFree]! > 1, "jbd2: a transaction runs into the log's tail");
    const block = words[J.Head]!;
    words[J.Head] = block + 1 === this.last ? this.first : block + 1;
    words[J.LogFree]!--;
    return block;
  }
}
