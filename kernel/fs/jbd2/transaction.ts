/**
 * Calls and the running transaction: many calls are committed as one (a compound transaction). A call reserves what it may
 * add before it begins, by Linux's rules, so that a transaction never outgrows its share of the log and the log never runs
 * into its own tail; what it really added is known when it merges.
 *
 * - begin(j, credits, revokes)   0; EIOCBQUEUED: the transaction is full, or the log is: wait; EROFS after an abort; ENOSPC
 *                                for a call that no transaction can take
 * - merge(j)                     the call is part of the running transaction
 * - abortCall(j)                 it was not
 * - fail(j, errno)               aborts the journal: from here on nothing is written, and the error is told
 * - isCommitted(j, tid), requestCommit(j, tid)
 */
import { EIOCBQUEUED, ENOSPC, EROFS } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { SlotState } from "../buffer_slots.ts";
import { CALL_FORGETS_MAX } from "../buffers.ts";
import { tidReached } from "./recovery.ts";
import { J, LOG_SPARE } from "./state.ts";
import type { JournalState } from "./state.ts";

/** Blocks that the running transaction takes in the log with so many more. */
function needed(j: JournalState, blocks: number, revokes: number): number {
  const { buffers } = j;
  const all = buffers.revokes(0).size + revokes;
  return j.overhead + buffers.slots.count[SlotState.Running]! + blocks + Math.ceil(all / j.perRevokeBlock);
}

/** Linux: jbd2_log_space_left(). */
export function spaceLeft(j: JournalState): number {
  const { words } = j;
  const committing = words[J.Phase] === 0 ? 0 : words[J.CommitReserved]! - distanceWritten(j);
  return Math.max(0, words[J.LogFree]! - LOG_SPARE - committing);
}

/** Blocks that the committing transaction has taken of the log so far. */
const distanceWritten = (j: JournalState): number => j.distance(j.words[J.CommitStart]!, j.words[J.Head]!);

/** How many blocks the running transaction would take of the log now. */
export const reserved = (j: JournalState): number => needed(j, 0, 0);

export function begin(j: JournalState, credits: number, revokes: number): 0 | Errno {
  const { words, buffers } = j;
  if (words[J.Aborted] !== 0) return EROFS;
  buffers.waitAny();
  assert(credits > 0 && revokes <= CALL_FORGETS_MAX, "jbd2: a call reserves nothing, or more than a call may");
  if (j.overhead + credits + Math.ceil(revokes / j.perRevokeBlock) > j.transactionMax) return ENOSPC;
  const set = buffers.revokes(0);
  if (needed(j, credits, revokes) > j.transactionMax || set.size + revokes > set.entries) {
    words[J.Requested] = 1;
    return EIOCBQUEUED;
  }
  if (j.hasLog && spaceLeft(j) < j.transactionMax) {
    words[J.WantSpace] = 1;
    return EIOCBQUEUED;
  }
  words[J.Credits] = credits;
  words[J.Revokes] = revokes;
  buffers.begin(true);
  return 0;
}

export function merge(j: JournalState): void {
  const { words, buffers } = j;
  assert(buffers.forgets <= words[J.Revokes]!, "jbd2: a call forgot more blocks than it reserved");
  const added = buffers.merge();
  assert(added <= words[J.Credits]!, "jbd2: a call changed more blocks than it reserved");
  if (words[J.Live] !== 0 || (buffers.slots.count[SlotState.Running] === 0 && buffers.revokes(0).size === 0)) return;
  words[J.Live] = 1;
  words[J.ExpiresNs] = j.now() + j.intervalNs;
}

export const abortCall = (j: JournalState): void => j.buffers.abort();

export function fail(j: JournalState, errno: Errno): void {
  const { words, buffers } = j;
  if (words[J.Aborted] !== 0) return;
  words[J.Aborted] = errno;
  words[J.TellErrno] = j.hasLog ? 1 : 0;
  buffers.stuck = true;
}

/** Nothing of the transaction is left to be made durable. */
export function isCommitted(j: JournalState, tid: number): boolean {
  const { words } = j;
  if (words[J.Phase] !== 0 && tidReached(tid, words[J.CommitTid]!)) return false;
  return words[J.Live] === 0 || !tidReached(tid, words[J.Tid]!);
}

export function requestCommit(j: JournalState, tid: number): void {
  if (j.words[J.Live] !== 0 && tidReached(tid, j.words[J.Tid]!)) j.words[J.Requested] = 1;
}
