/**
 * Fast commits as they are written: records of what changed, appended to the area behind the log, instead of a full
 * commit. What the records say is the file system's (../ext4/fast_commit.ts draws them and reads them); here is the frame.
 *
 *   block | HEAD | TAIL, to the end |                                  an empty one: the first of this transaction
 *   block | record | record | PAD | next block | record | TAIL, to the end |      one fast commit
 *   block | record | TAIL, to the end |                                           the next one
 *
 * - fcBegin(j)            0; EIOCBQUEUED: a commit is under way; ECANCELED: commit in full instead
 * - fcTag(j, tag, bytes)  address for a record's value; -1: there is no room, cancel
 * - fcEnd(j)              the TAIL; a number for fcDone()
 * - fcCancel(j)           nothing was committed, and nothing will be but in full
 * - fcDone(j, number)     0: durable. EIOCBQUEUED. EIO: commit in full instead
 * - fcIneligible(j)       something is in the running transaction that no record can say
 *
 * The blocks before the last go out as they fill; when those have ended and are flushed, the last one follows with FUA: it
 * has the TAIL, whose checksum goes over all since the HEAD or the TAIL before. The id in HEAD and TAIL is that of the
 * running transaction, so that its full commit makes them stale. Data that the records promise must have been written
 * before fcEnd(). Once since the mount a full commit has to come first, as in Linux.
 *
 * Linux and e2fsck refuse a log whose first fast commit has a wrong checksum, which a block that was torn has, too. What
 * is behind a good one they only leave out. So the first one is empty, and within a sector, which is written or is not.
 */
import { BlockOp, REQ_FUA } from "../../abi/block.ts";
import { ECANCELED, EIO, EIOCBQUEUED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { record } from "../../lib/record.ts";
import { IoKind } from "../block_io.ts";
import { J } from "./state.ts";
import type { JournalState } from "./state.ts";

const Phase = { Idle: 0, Open: 1, Blocks: 2, FlushEnd: 3, Tail: 4, TailEnd: 5 } as const;
const NONE = -1;

const FC_TL = record(4, { fc_tag: 2, fc_len: 2 });
const FC_HEAD = record(8, { fc_features: 4, fc_tid: 4 });
const FC_TAIL = record(8, { fc_tid: 4, fc_crc: 4 });
const FC_TAG_PAD = 7;
const FC_TAG_TAIL = 8;
const FC_TAG_HEAD = 9;

export function fcBegin(j: JournalState): 0 | Errno {
  const { words } = j;
  if (words[J.FcPhase] !== Phase.Idle || words[J.Phase] !== 0) return EIOCBQUEUED;
  const isFull = words[J.FcBlocks]! >= j.fcBlocks;
  // A log that is marked empty is not looked at, nor the area behind it; with a running transaction it stays marked.
  const isLogged = words[J.Live] !== 0 && words[J.TailBlock] !== 0 && words[J.Emptying] === 0;
  if (words[J.Aborted] !== 0 || words[J.FcReady] === 0 || words[J.FcBarred] !== 0 || isFull || !isLogged)
    return ECANCELED;
  words[J.FcPhase] = Phase.Open;
  words[J.FcExtra] = NONE;
  words[J.FcAt] = 0;
  words[J.FcCrc] = 0;
  if (words[J.FcBlocks] !== 0) return 0;
  const at = j.buffers.io.free < 2 ? NONE : fcTag(j, FC_TAG_HEAD, FC_HEAD.bytes);
  if (at < 0) {
    fcCancel(j);
    return ECANCELED;
  }
  setLe32(j.view, at + FC_HEAD.fc_tid, words[J.Tid]!);
  putTail(j);
  send(j, 0);
  words[J.FcCrc] = 0;
  return 0;
}

export function fcTag(j: JournalState, tag: number, bytes: number): number {
  const { words, blockSize } = j;
  assert(words[J.FcPhase] === Phase.Open, "jbd2: a record of no fast commit");
  // The head of a PAD always fits behind a record.
  const whole = FC_TL.bytes + bytes;
  if (whole > blockSize - FC_TL.bytes) return NONE;
  if (words[J.FcExtra] !== NONE && words[J.FcAt]! + whole > blockSize - FC_TL.bytes && !nextBlock(j)) return NONE;
  if (words[J.FcExtra] === NONE && !openBlock(j)) return NONE;
  return put(j, tag, bytes);
}

/** Heads a record where the open block's free part begins. Its checksum is taken when it has a value: later. */
function put(j: JournalState, tag: number, bytes: number): number {
  const { words, view } = j;
  const at = j.extraAt(words[J.FcExtra]!) + words[J.FcAt]!;
  setLe16(view, at + FC_TL.fc_tag, tag);
  setLe16(view, at + FC_TL.fc_len, bytes);
  words[J.FcAt]! += FC_TL.bytes + bytes;
  return at + FC_TL.bytes;
}

function openBlock(j: JournalState): boolean {
  const { words } = j;
  if (words[J.FcBlocks]! >= j.fcBlocks) return false;
  const extra = j.takeExtra();
  if (extra < 0) return false;
  words[J.FcExtra] = extra;
  words[J.FcAt] = 0;
  j.bytes.fill(0, j.extraAt(extra), j.extraAt(extra) + j.blockSize);
  return true;
}

/** Fills the open block with a PAD and sends it off. */
function nextBlock(j: JournalState): boolean {
  const { words, blockSize } = j;
  // One for this block, and one has to be left for the last.
  if (j.buffers.io.free < 2) return false;
  put(j, FC_TAG_PAD, blockSize - FC_TL.bytes - words[J.FcAt]!);
  words[J.FcCrc] = crc32c(words[J.FcCrc]!, j.bytes, j.extraAt(words[J.FcExtra]!), blockSize);
  send(j, 0);
  return true;
}

function send(j: JournalState, flags: number): void {
  const { words } = j;
  const extra = words[J.FcExtra]!;
  const block = j.map[j.fcFirst + words[J.FcBlocks]!++]!;
  const row = j.buffers.io.start(BlockOp.Write, flags, block, 1, j.extraAt(extra), IoKind.FastCommit, extra);
  assert(row >= 0, "jbd2: no request is free for a fast commit");
  words[J.FcPending]!++;
  words[J.FcExtra] = NONE;
}

/** Ends the open block. */
function putTail(j: JournalState): void {
  const { words, blockSize, view } = j;
  const at = put(j, FC_TAG_TAIL, blockSize - FC_TL.bytes - words[J.FcAt]!);
  setLe32(view, at + FC_TAIL.fc_tid, words[J.Tid]!);
  const from = j.extraAt(words[J.FcExtra]!);
  setLe32(view, at + FC_TAIL.fc_crc, crc32c(words[J.FcCrc]!, j.bytes, from, at + FC_TAIL.fc_crc - from));
}

/** 0 when there was no room for the TAIL: cancelled. */
export function fcEnd(j: JournalState): number {
  const { words, blockSize } = j;
  const room = blockSize - words[J.FcAt]!;
  const fits = words[J.FcExtra] === NONE || room >= FC_TL.bytes + FC_TAIL.bytes || nextBlock(j);
  if (!fits || (words[J.FcExtra] === NONE && !openBlock(j))) {
    fcCancel(j);
    return 0;
  }
  putTail(j);
  words[J.FcPhase] = Phase.Blocks;
  return ++words[J.FcStarted]!;
}

/** What was written of it has no TAIL: nothing can be appended behind it. */
export function fcCancel(j: JournalState): void {
  const { words } = j;
  if (words[J.FcExtra] !== NONE) j.extraBusy[words[J.FcExtra]!] = 0;
  words[J.FcExtra] = NONE;
  words[J.FcBarred] = 1;
  words[J.FcPhase] = Phase.Idle;
}

export const fcIneligible = (j: JournalState): void => {
  j.words[J.FcBarred] = 1;
};

export function fcDone(j: JournalState, number: number): 0 | Errno {
  const { words } = j;
  if (number === 0 || words[J.FcFailed] === number) return EIO;
  return words[J.FcEnded]! < number ? EIOCBQUEUED : 0;
}

export const isFastCommitting = (j: JournalState): boolean =>
  j.words[J.FcPhase] !== Phase.Idle || j.words[J.FcPending] !== 0;

/** Another transaction is running: what no record could say was in the one before. */
export const fcTurn = (j: JournalState): void => {
  j.words[J.FcBarred] = 0;
};

/** A transaction is committed in full: the area begins anew with the next. */
export function fcRestart(j: JournalState): void {
  j.words[J.FcBlocks] = 0;
  j.words[J.FcReady] = j.fcBlocks > 0 ? 1 : 0;
}

export function stepFastCommit(j: JournalState): boolean {
  const { words, buffers } = j;
  switch (words[J.FcPhase]) {
    case Phase.Blocks:
      if (words[J.FcPending] !== 0) return false;
      if (words[J.FcFailed] === words[J.FcStarted]) {
        fcCancel(j);
        words[J.FcEnded] = words[J.FcStarted]!;
        return true;
      }
      if (j.barrier && buffers.io.start(BlockOp.Flush, 0, 0, 0, NONE, IoKind.Flush, J.FcFlushing) < 0) return false;
      words[J.FcFlushing] = j.barrier ? 1 : 0;
      words[J.FcPhase] = Phase.FlushEnd;
      return true;
    case Phase.FlushEnd:
      if (words[J.FcFlushing] !== 0) return false;
      words[J.FcPhase] = Phase.Tail;
      return true;
    case Phase.Tail:
      if (buffers.io.free === 0) return false;
      send(j, j.barrier ? REQ_FUA : 0);
      words[J.FcPhase] = Phase.TailEnd;
      return true;
    case Phase.TailEnd:
      if (words[J.FcPending] !== 0) return false;
      words[J.FcEnded] = words[J.FcStarted]!;
      words[J.FcPhase] = Phase.Idle;
      return true;
    default:
      return false;
  }
}

/** A write to the area has ended. A failed one leaves the journal whole: a full commit says all that it would have said. */
export function fcWriteEnded(j: JournalState, extra: number, result: number): void {
  const { words } = j;
  j.extraBusy[extra] = 0;
  words[J.FcPending]!--;
  if (result === 0) return;
  words[J.FcBarred] = 1;
  words[J.FcFailed] = words[J.FcPhase] === Phase.Open ? words[J.FcStarted]! + 1 : words[J.FcStarted]!;
}
