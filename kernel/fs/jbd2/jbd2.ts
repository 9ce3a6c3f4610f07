/**
 * The running journal of a mounted file system with its buffer cache, put together from
 *
 *   state         words and tables            transaction   calls, credits, abort       commit       to the log
 *   log_format    blocks of the log           log_super     the journal's superblock    checkpoint   from there home
 *   flush         barriers without a commit      fast_commit   the frame of fast commits
 *
 * - openJbd2(options)          Jbd2, or why this journal cannot be written. Its log has to be empty: recovered before
 * - begin(credits, revokes) ... merge() or abort()     a call that may change; buffers.at, writable, fresh, forget within
 * - beginRead() ... endRead()                          one that may not
 * - step()                     once in a while: everything in flight goes on by what has ended; true when anything did
 * - tid, requestCommit(tid), committed(tid)            durability; an aborted journal commits nothing more
 * - askFlush(), flushed(number)                        for an fsync that needs no commit
 * - fcBegin() ... fcTag() ... fcEnd(), fcDone(number)  a fast commit: see fast_commit.ts
 * - empty()                    commits all, brings all home and marks the log empty: for unmount and freeze
 * - fail(errno)                aborts: read-only from here on, s_errno tells
 *
 * Nothing here waits. EIOCBQUEUED means: step() until something has happened, and ask again.
 *
 * Without `log` there is no journal and the same face: a commit writes changed blocks home and flushes.
 */
import type { BlockDevice } from "../../abi/block.ts";
import { EIO, EIOCBQUEUED, EOPNOTSUPP, EUCLEAN } from "../../abi/errno.ts";
import { FsEv } from "../../abi/events.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import type { EventSink } from "../../abi/machine.ts";
import type { Errno, Nanos } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { IoKind } from "../block_io.ts";
import { SlotState } from "../buffer_slots.ts";
import { Buffers, CALL_FORGETS_MAX } from "../buffers.ts";
import { homeEnded, nextCheckpointNs, stepCheckpoint } from "./checkpoint.ts";
import { logEnded, nextCommitNs, stepCommit } from "./commit.ts";
import { fcBegin, fcCancel, fcDone, fcEnd, fcIneligible, fcTag, fcWriteEnded, stepFastCommit } from "./fast_commit.ts";
import { askFlush, flushEnded, flushed, stepFlush } from "./flush.ts";
import { isJournalFault, readJournalSuper } from "./journal.ts";
import type { JournalFault, JournalSuper } from "./journal.ts";
import { withFeatures, writeErrno } from "./log_super.ts";
import type { JournalFeatures } from "./log_super.ts";
import { COMMIT_INTERVAL_NS, J, JournalState, LOG_EXTRAS } from "./state.ts";
import type { JournalOwner } from "./state.ts";
import { abortCall, begin, fail, isCommitted, merge, requestCommit } from "./transaction.ts";
import { REQ_FUA } from "../../abi/block.ts";

export interface Jbd2Options {
  readonly device: BlockDevice;
  readonly memory: EvictMemory;
  readonly blockSize: number;
  /** Blocks of the file system. */
  readonly count: number;
  /** Blocks in the buffer cache. A transaction has at most a quarter of them. */
  readonly slots: number;
  /** Requests in flight. */
  readonly ioRows?: number;
  /** The journal's first block as it is on the disk, and where its blocks lie. */
  readonly log?: { readonly superblock: Uint8Array; readonly map: Int32Array };
  readonly features?: JournalFeatures;
  /** False: nothing is ever flushed (barrier=0). */
  readonly barrier?: boolean;
  readonly intervalNs?: number;
  readonly now?: () => Nanos;
  /** Seconds since 1970 at now() = 0. */
  readonly epochSec?: number;
  readonly trace?: EventSink;
}

export function openJbd2(options: Jbd2Options): Jbd2 | JournalFault {
  const { log } = options;
  if (log === undefined) return new Jbd2(options, undefined, undefined);
  const { length } = log.map;
  const parse = (block: Uint8Array): JournalSuper | JournalFault =>
    readJournalSuper(block, new DataView(block.buffer, block.byteOffset), 0, options.blockSize, length);
  const found = parse(log.superblock);
  if (isJournalFault(found)) return found;
  if (found.version !== 2) return { errno: EOPNOTSUPP, reason: "a journal of version 1 can be read only" };
  if (found.start !== 0) return { errno: EUCLEAN, reason: "the journal has to be recovered first" };
  const block = withFeatures(log.superblock, options.features ?? {});
  const journal = parse(block);
  if (isJournalFault(journal)) return journal;
  return new Jbd2(options, { super: journal, map: log.map }, block);
}

export class Jbd2 {
  readonly buffers: Buffers;
  readonly state: JournalState;
  /** A revoke block's worth. */
  readonly #revokes: number;
  readonly #super: Uint8Array | undefined;
  readonly #sequence: number;
  readonly #trace: EventSink;

  /** Reads and writes no state: reset(), or restart() on a restored one. */
  constructor(
    options: Jbd2Options,
    log: { super: JournalSuper; map: Int32Array } | undefined,
    superblock: Uint8Array | undefined,
  ) {
    const { device, memory, blockSize, count, slots, ioRows } = options;
    const extra = LOG_EXTRAS;
    this.buffers = new Buffers({ device, memory, blockSize, count, slots, extra, ...(ioRows ? { ioRows } : {}) });
    const state = new JournalState({
      buffers: this.buffers,
      memory,
      now: options.now ?? (() => 0 as Nanos),
      epochSec: options.epochSec ?? 0,
      barrier: options.barrier ?? true,
      intervalNs: options.intervalNs ?? COMMIT_INTERVAL_NS,
      log,
    });
    this.state = state;
    this.#trace = options.trace ?? (() => {});
    this.#super = superblock;
    this.#sequence = log?.super.sequence ?? 0;
    this.#revokes = Math.min(state.perRevokeBlock, CALL_FORGETS_MAX);
    const { io } = this.buffers;
    io.own(IoKind.Log, { ended: (extraBlock, result) => logEnded(state, extraBlock, result) });
    io.own(IoKind.Home, { ended: (slot, result) => homeEnded(state, slot, result) });
    io.own(IoKind.Super, { ended: (_, result) => this.#superEnded(result) });
    io.own(IoKind.FastCommit, { ended: (block, result) => fcWriteEnded(state, block, result) });
    io.own(IoKind.Flush, { ended: (word, result) => this.#flushEnded(word, result) });
  }

  reset(): void {
    const { state } = this;
    const { words } = state;
    this.buffers.reset();
    words.fill(0);
    state.extraBusy.fill(0);
    // As Linux: an empty log's number has been used.
    words[J.Tid] = (this.#sequence + 1) % 2 ** 32;
    words[J.Head] = state.first;
    words[J.LogFree] = state.logBlocks;
    if (this.#super !== undefined) state.bytes.set(this.#super, state.superAt);
  }

  /** After the memory was restored. */
  restart(): void {
    this.buffers.io.restart();
  }

  set owner(owner: JournalOwner) {
    this.state.owner = owner;
  }

  /**
   * `credits`: blocks that the call may add to the transaction, 1 or more; `revokes`: blocks that it may forget, a block
   * of them when left out. 0; EIOCBQUEUED; EROFS; ENOSPC for a call that is larger than a transaction.
   */
  begin(credits: number, revokes: number = this.#revokes): 0 | Errno {
    const began = begin(this.state, credits, revokes);
    if (began === 0) this.#trace(FsEv.HandleStart, 0, this.tid, credits, 0, 0);
    return began;
  }

  merge(): void {
    merge(this.state);
    this.#trace(FsEv.HandleStop, 0, this.tid, this.buffers.slots.count[SlotState.Running]!, 0, 0);
  }

  abort(): void {
    abortCall(this.state);
  }

  beginRead(): void {
    this.buffers.begin(false);
  }

  endRead(): void {
    this.buffers.abort();
  }

  /** Id of the transaction that a call would be part of now. */
  get tid(): number {
    return this.state.words[J.Tid]!;
  }

  /** Id of the last transaction in which something was changed: the running one, or the one before it. */
  get lastTid(): number {
    const { words } = this.state;
    return words[J.Live] === 0 ? (words[J.Tid]! - 1) >>> 0 : words[J.Tid]!;
  }

  /** Most credits of one call. */
  get creditsMax(): number {
    return this.state.transactionMax - this.state.overhead - 1;
  }

  requestCommit(tid: number): void {
    requestCommit(this.state, tid);
  }

  /** All of the transaction is durable (without barriers: written); true for one in which nothing was changed. */
  committed(tid: number): boolean {
    return isCommitted(this.state, tid);
  }

  /** For people: the running transaction, phases of commit and checkpoint (Phase of each), blocks of the log and those free. */
  get standing(): {
    readonly tid: number;
    readonly commit: number;
    readonly checkpoint: number;
    readonly logBlocks: number;
    readonly logFree: number;
  } {
    const { words, logBlocks } = this.state;
    const [tid, commit, checkpoint] = [words[J.Tid]!, words[J.Phase]!, words[J.HomePhase]!];
    return { tid, commit, checkpoint, logBlocks, logFree: words[J.LogFree]! };
  }

  /** Changes when a commit, a fast commit or a flush has ended, or the journal was aborted. */
  get ends(): number {
    const { words } = this.state;
    const commits = words[J.CommitTid]! - (words[J.Phase] === 0 ? 0 : 1);
    return commits + words[J.FlushEnded]! + this.fastCommits + (words[J.Aborted] === 0 ? 0 : 1);
  }

  /** 0, or the errno with which the journal was aborted. */
  get aborted(): number {
    return this.state.words[J.Aborted]!;
  }

  fail(errno: Errno): void {
    fail(this.state, errno);
  }

  /** What the call that was just told EIOCBQUEUED waits for: a read's row in buffers.io, or WAIT_ANY. */
  waitingOn(): number {
    return this.buffers.waitingOn;
  }

  askFlush(): number {
    return askFlush(this.state);
  }

  flushed(number: number): 0 | Errno {
    return flushed(this.state, number);
  }

  fcBegin(): 0 | Errno {
    this.buffers.waitAny();
    return fcBegin(this.state);
  }

  /** That have ended. */
  get fastCommits(): number {
    return this.state.words[J.FcEnded]!;
  }

  fcTag(tag: number, bytes: number): number {
    return fcTag(this.state, tag, bytes);
  }

  fcEnd(): number {
    return fcEnd(this.state);
  }

  fcCancel(): void {
    fcCancel(this.state);
  }

  fcDone(number: number): 0 | Errno {
    return fcDone(this.state, number);
  }

  fcIneligible(): void {
    fcIneligible(this.state);
  }

  step(): boolean {
    const { state, buffers } = this;
    const { words } = state;
    assert(!buffers.inCall, "jbd2: a step within a call");
    let moved = buffers.io.poll();
    if (words[J.Aborted] === 0) {
      moved = stepFastCommit(state) || moved;
      moved = this.#stepCommit() || moved;
      if (state.hasLog && words[J.Aborted] === 0) moved = this.#stepCheckpoint() || moved;
      if (buffers.pressed && this.#isIdle()) {
        buffers.pressed = false;
        moved = true;
      }
    } else if (words[J.TellErrno] !== 0 && writeErrno(state, state.barrier ? REQ_FUA : 0)) {
      words[J.TellErrno] = 0;
      moved = true;
    }
    return stepFlush(state) || moved;
  }

  #stepCommit(): boolean {
    const { words } = this.state;
    const before = words[J.Phase]!;
    const moved = stepCommit(this.state);
    const after = words[J.Phase]!;
    if (after !== before) this.#trace(FsEv.CommitPhase, 0, words[J.CommitTid]!, before, after, 0);
    return moved;
  }

  #stepCheckpoint(): boolean {
    const { words } = this.state;
    const before = words[J.HomePhase]!;
    const moved = stepCheckpoint(this.state);
    const after = words[J.HomePhase]!;
    const waiting = this.buffers.slots.count[SlotState.Checkpoint]!;
    if (after !== before) this.#trace(FsEv.CheckpointPhase, 0, before, after, waiting, 0);
    return moved;
  }

  /** Nothing but clean blocks. */
  #isIdle(): boolean {
    const { words } = this.state;
    const { count } = this.buffers.slots;
    const dirty = count[SlotState.Checkpoint]! + count[SlotState.Writing]!;
    return words[J.Live] === 0 && words[J.Phase] === 0 && dirty === 0;
  }

  /**
   * When step() does something though no request ends: now when a call has asked for it, else by the clock, ns; Infinity:
   * never. A commit, a fast commit or a checkpoint under way goes on by what ends.
   */
  get nextAtNs(): number {
    return this.aborted === 0 ? Math.min(nextCommitNs(this.state), nextCheckpointNs(this.state)) : Infinity;
  }

  /** 0: everything is at home and durable, and the log is marked empty. EIOCBQUEUED; EIO after an abort. */
  empty(): 0 | Errno {
    const { words } = this.state;
    if (words[J.Aborted] !== 0) return EIO;
    const isDone = this.#isIdle() && words[J.Rows] === 0 && words[J.TailBlock] === 0 && words[J.HomePhase] === 0;
    words[J.Emptying] = isDone ? 0 : 1;
    if (!isDone) this.buffers.waitAny();
    return isDone ? 0 : EIOCBQUEUED;
  }

  #superEnded(result: number): void {
    this.state.words[J.SuperBusy] = 0;
    if (result !== 0) fail(this.state, EIO);
  }

  /** `word` is what the flush was started for. */
  #flushEnded(word: number, result: number): void {
    if (word === J.FlushEnded) {
      flushEnded(this.state, result);
      return;
    }
    this.state.words[word] = 0;
    if (result !== 0) fail(this.state, EIO);
  }

  /** Panics when its structures disagree. */
  check(): void {
    const { state, buffers } = this;
    const { words } = state;
    buffers.check();
    let waiting = 0;
    for (let n = 0; n < words[J.Rows]!; n++) waiting += state.rowSlots[state.row(n)]!;
    const { count } = buffers.slots;
    if (state.hasLog)
      assert(waiting === count[SlotState.Checkpoint]! + count[SlotState.Writing]!, "Jbd2.check: rows are miscounted");
    if (!state.hasLog) return;
    const used = words[J.TailBlock] === 0 ? 0 : state.distance(words[J.TailBlock]!, words[J.Head]!);
    assert(used + words[J.LogFree]! === state.logBlocks, "Jbd2.check: the log's free blocks are miscounted");
  }
}
