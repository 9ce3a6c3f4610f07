/**
 * The commit of a transaction, one phase step an event (Linux: jbd2_journal_commit_transaction()), so that its writes are
 * in flight while calls go on in the next transaction.
 *
 *   Idle -> Start    the running transaction becomes the committing one; the owner is asked for ordered data, and an empty
 *                    log gets a start in its superblock
 *   Log              revoke blocks, then descriptors and data blocks, as requests and extras are free
 *   Data             until all of that has ended, and the ordered data, too
 *   Flush, FlushEnd  all that is now durable, before there is a commit block that says so
 *   Record, RecordEnd    the commit block, with FUA
 *   Settle           until no home write of a revoked block is in flight: its owner may use it for data next
 *
 * With async commit the commit block does not wait for Log and comes without FUA; one flush makes everything durable, and
 * checksums tell a transaction that is not whole. Without barriers nothing is flushed. Without a journal Log is Home: the
 * blocks themselves are written.
 *
 * Source of the order: kernel.org's description of jbd2, and Linux 6.1's behaviour.
 */
import { BlockOp, REQ_FUA } from "../../abi/block.ts";
import { EIO, EIOCBQUEUED } from "../../abi/errno.ts";
import { NS_PER_SEC } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { IoKind } from "../block_io.ts";
import { NO_SLOT, SlotState } from "../buffer_slots.ts";
import { dropCheckpoint, isBecomingEmpty } from "./checkpoint.ts";
import { fcRestart, fcTurn, isFastCommitting } from "./fast_commit.ts";
import { JBLOCK_DESCRIPTOR, JBLOCK_REVOKE, JFLAG_ESCAPE } from "./layout.ts";
import {
  addCrc1,
  firstRevoke,
  firstTag,
  isEscaped,
  lastTag,
  putCommit,
  putRevoke,
  putTag,
  roomForRevoke,
  roomForTag,
  sealTail,
  startBlock,
  tagCrc,
} from "./log_format.ts";
import { writeTail } from "./log_super.ts";
import { J } from "./state.ts";
import type { JournalState } from "./state.ts";
import { fail, reserved } from "./transaction.ts";

export const Phase = {
  Idle: 0,
  Start: 1,
  Log: 2,
  Data: 3,
  Flush: 4,
  FlushEnd: 5,
  Record: 6,
  RecordEnd: 7,
  Settle: 8,
} as const;
const NONE = -1;
/** Log's argument of a data block that lies in its own slot. */
export const OWN_SLOT = -1;

/** True when it went on. */
export function stepCommit(j: JournalState): boolean {
  const { words } = j;
  const before = words[J.Phase]!;
  switch (before) {
    case Phase.Idle:
      return lock(j);
    case Phase.Start:
      if (isBecomingEmpty(j) || (words[J.TailBlock] === 0 && j.hasLog && !startLog(j))) return false;
      words[J.Phase] = Phase.Log;
      return true;
    case Phase.Log:
      return j.hasLog ? writeLog(j) : writeHome(j);
    case Phase.Data:
      return awaitData(j);
    case Phase.Flush:
      if (!startFlush(j)) return false;
      words[J.Phase] = Phase.FlushEnd;
      return true;
    case Phase.FlushEnd:
      if (words[J.Flushing] !== 0) return false;
      words[J.Phase] = j.hasLog && !j.asyncCommit ? Phase.Record : Phase.Settle;
      return true;
    case Phase.Record:
      return writeRecord(j);
    case Phase.RecordEnd:
      if (words[J.Pending] !== 0 || words[J.SuperBusy] !== 0) return false;
      words[J.Phase] = j.asyncCommit ? Phase.Flush : Phase.Settle;
      return true;
    default:
      return settle(j);
  }
}

/** When the running transaction, of which there is one, shall be closed. One look at the clock: it may move. */
function dueNs(j: JournalState, nowNs: number): number {
  const { words, buffers } = j;
  const isAsked = words[J.Requested] !== 0 || words[J.Emptying] !== 0 || buffers.pressed;
  return isAsked ? Math.min(nowNs, words[J.ExpiresNs]!) : words[J.ExpiresNs]!;
}

/** As Jbd2.nextAtNs. */
export function nextCommitNs(j: JournalState): number {
  const isBusy = j.words[J.Phase] !== Phase.Idle || isFastCommitting(j);
  return j.words[J.Live] === 0 || isBusy ? Infinity : dueNs(j, j.now());
}

function lock(j: JournalState): boolean {
  const { words, buffers } = j;
  if (words[J.Live] === 0) return false;
  const nowNs = j.now();
  if (nowNs < dueNs(j, nowNs) || isFastCommitting(j)) return false;
  words[J.CommitReserved] = reserved(j);
  words[J.CommitTid] = words[J.Tid]!;
  words[J.CommitStart] = words[J.Head]!;
  words[J.Tid] = (words[J.Tid]! + 1) % 2 ** 32;
  words[J.Live] = 0;
  words[J.Requested] = 0;
  buffers.turn();
  fcTurn(j);
  words[J.RevokeAt] = 0;
  words[J.Cursor] = buffers.slots.oldest(SlotState.Committing);
  words[J.Descriptor] = NONE;
  words[J.Crc] = 0xffffffff;
  words[J.Phase] = Phase.Start;
  // The data's writes go to the device together with those of the log.
  askOwner(j);
  return true;
}

/** True: nothing is missing. */
function askOwner(j: JournalState): boolean {
  const answer = j.owner.ordered(j.words[J.CommitTid]!);
  if (answer !== 0 && answer !== EIOCBQUEUED) fail(j, answer);
  return answer === 0;
}

/** The log was empty. Recovery finds it once this is durable; the flush before the commit block sees to that. */
function startLog(j: JournalState): boolean {
  const { words } = j;
  if (!writeTail(j, words[J.CommitStart]!, words[J.CommitTid]!, 0)) return false;
  words[J.TailBlock] = words[J.CommitStart]!;
  words[J.TailTid] = words[J.CommitTid]!;
  return true;
}

/** One block of the log, from an address; `extra` is free again when it is written. */
function put(j: JournalState, block: number, at: number, extra: number, flags: number): void {
  const row = j.buffers.io.start(BlockOp.Write, flags, j.map[block]!, 1, at, IoKind.Log, extra);
  assert(row >= 0, "jbd2: no request is free for the log");
  j.words[J.Pending]!++;
}

function writeLog(j: JournalState): boolean {
  const { words, buffers } = j;
  let moved = false;
  // One step may start two writes.
  while (buffers.io.free >= 2) {
    if (words[J.RevokeAt]! < buffers.revokes(1).size) {
      if (!writeRevokes(j)) return moved;
    } else if (words[J.Cursor] !== NO_SLOT) {
      if (!writeTagged(j)) return moved;
    } else {
      if (words[J.Descriptor] !== NONE) sealDescriptor(j);
      words[J.Phase] = Phase.Data;
      return true;
    }
    moved = true;
  }
  return moved;
}

/** One revoke block. */
function writeRevokes(j: JournalState): boolean {
  const { words } = j;
  const revokes = j.buffers.revokes(1);
  const extra = j.takeExtra();
  if (extra < 0) return false;
  const at = j.extraAt(extra);
  startBlock(j, at, JBLOCK_REVOKE, words[J.CommitTid]!);
  let offset = firstRevoke;
  while (words[J.RevokeAt]! < revokes.size && roomForRevoke(j, offset))
    offset = putRevoke(j, at, offset, revokes.block(words[J.RevokeAt]!++));
  sealTail(j, at);
  put(j, j.nextBlock(), at, extra, 0);
  return true;
}

/** One data block and its tag. */
function writeTagged(j: JournalState): boolean {
  const { words, blockSize, bytes } = j;
  const { slots } = j.buffers;
  const slot = words[J.Cursor]!;
  const from = slot * blockSize;
  const escaped = isEscaped(j, from);
  if (words[J.Descriptor] === NONE && !openDescriptor(j, slot)) return false;
  let [at, extra] = [from, OWN_SLOT];
  if (escaped) {
    extra = j.takeExtra();
    if (extra < 0) return false;
    at = j.extraAt(extra);
    bytes.copyWithin(at, from, from + blockSize);
    bytes.fill(0, at, at + 4);
  }
  const crc = tagCrc(j, from, escaped, words[J.CommitTid]!);
  const descriptor = j.extraAt(words[J.Descriptor]!);
  words[J.TagLast] = words[J.TagAt]!;
  const flags = escaped ? JFLAG_ESCAPE : 0;
  words[J.TagAt] = putTag(j, descriptor, words[J.TagAt]!, slots.block[slot]!, flags, crc);
  put(j, j.nextBlock(), at, extra, 0);
  words[J.Cursor] = slots.after(slot);
  if (!roomForTag(j, words[J.TagAt]!)) sealDescriptor(j);
  return true;
}

function openDescriptor(j: JournalState, slot: number): boolean {
  const { words } = j;
  const extra = j.takeExtra();
  if (extra < 0) return false;
  startBlock(j, j.extraAt(extra), JBLOCK_DESCRIPTOR, words[J.CommitTid]!);
  words[J.Descriptor] = extra;
  words[J.DescriptorBlock] = j.nextBlock();
  words[J.TagAt] = firstTag;
  words[J.TagFirst] = slot;
  return true;
}

function sealDescriptor(j: JournalState): void {
  const { words, blockSize } = j;
  const extra = words[J.Descriptor]!;
  const at = j.extraAt(extra);
  lastTag(j, at, words[J.TagLast]!);
  if (j.csum >= 2) sealTail(j, at);
  if (j.csum === 1) {
    let crc = addCrc1(words[J.Crc]!, j, at, false);
    for (let slot = words[J.TagFirst]!; slot !== words[J.Cursor]!; slot = j.buffers.slots.after(slot))
      crc = addCrc1(crc, j, slot * blockSize, isEscaped(j, slot * blockSize));
    words[J.Crc] = crc;
  }
  put(j, words[J.DescriptorBlock]!, at, extra, 0);
  words[J.Descriptor] = NONE;
}

/** No journal: the blocks go where they belong. */
function writeHome(j: JournalState): boolean {
  const { slots, io } = j.buffers;
  let moved = false;
  for (let slot = slots.oldest(SlotState.Committing); slot !== NO_SLOT; slot = slots.oldest(SlotState.Committing)) {
    if (io.start(BlockOp.Write, 0, slots.block[slot]!, 1, slot * j.blockSize, IoKind.Home, slot) < 0) return moved;
    slots.row[slot] = NONE;
    slots.become(slot, SlotState.Writing);
    moved = true;
  }
  j.words[J.Phase] = Phase.Data;
  return true;
}

function awaitData(j: JournalState): boolean {
  const { words, buffers } = j;
  if (!askOwner(j)) return false;
  if (!j.asyncCommit && (words[J.Pending] !== 0 || words[J.SuperBusy] !== 0)) return false;
  if (!j.hasLog && buffers.slots.count[SlotState.Writing] !== 0) return false;
  words[J.Phase] = j.asyncCommit ? Phase.Record : Phase.Flush;
  return true;
}

/** False: no request is free. */
function startFlush(j: JournalState): boolean {
  if (!j.barrier) return true;
  if (j.buffers.io.start(BlockOp.Flush, 0, 0, 0, NONE, IoKind.Flush, J.Flushing) < 0) return false;
  j.words[J.Flushing] = 1;
  return true;
}

function writeRecord(j: JournalState): boolean {
  const { words, buffers } = j;
  if (buffers.io.free === 0) return false;
  const extra = j.takeExtra();
  if (extra < 0) return false;
  const at = j.extraAt(extra);
  const nowNs = j.now();
  const sec = j.epochSec + Math.floor(nowNs / NS_PER_SEC);
  putCommit(j, at, words[J.CommitTid]!, sec, nowNs % NS_PER_SEC, words[J.Crc]!);
  put(j, j.nextBlock(), at, extra, j.barrier && !j.asyncCommit ? REQ_FUA : 0);
  words[J.Phase] = Phase.RecordEnd;
  return true;
}

/** A write to the log has ended. */
export function logEnded(j: JournalState, extra: number, result: number): void {
  if (extra !== OWN_SLOT) j.extraBusy[extra] = 0;
  j.words[J.Pending]!--;
  if (result !== 0) fail(j, EIO);
}

function settle(j: JournalState): boolean {
  const { words, buffers } = j;
  const { slots } = buffers;
  const revokes = buffers.revokes(1);
  for (let n = 0; n < revokes.size; n++)
    for (let slot = slots.index.get(revokes.block(n)); slot >= 0; slot = slots.older[slot]!)
      if (slots.state[slot] === SlotState.Writing) return false;
  if (j.hasLog) file(j);
  for (let n = 0; n < revokes.size; n++) dropRevoked(j, revokes.block(n));
  revokes.clear();
  words[J.Phase] = Phase.Idle;
  fcRestart(j);
  j.owner.committed(words[J.CommitTid]!);
  return true;
}

/** The transaction is in the log: its slots wait for their way home, and those of earlier ones need not go. */
function file(j: JournalState): void {
  const { words } = j;
  const { slots } = j.buffers;
  const row = j.row(words[J.Rows]!);
  words[J.Rows]!++;
  j.rowTid[row] = words[J.CommitTid]!;
  j.rowBlock[row] = words[J.CommitStart]!;
  j.rowSlots[row] = slots.count[SlotState.Committing]!;
  j.rowNs[row] = j.now();
  for (let slot = slots.oldest(SlotState.Committing); slot !== NO_SLOT; slot = slots.oldest(SlotState.Committing)) {
    const old = slots.older[slot]!;
    if (old !== NO_SLOT && slots.state[old] === SlotState.Checkpoint) dropCheckpoint(j, old);
    slots.row[slot] = row;
    slots.become(slot, SlotState.Checkpoint);
  }
}

/** What was given back and is in the log as such must neither go home any more nor be found here. */
function dropRevoked(j: JournalState, block: number): void {
  const { slots } = j.buffers;
  let slot = slots.index.get(block);
  while (slot >= 0) {
    const older = slots.older[slot]!;
    if (slots.state[slot] === SlotState.Checkpoint) dropCheckpoint(j, slot);
    else if (slots.state[slot] === SlotState.Clean) slots.drop(slot);
    slot = older;
  }
}
