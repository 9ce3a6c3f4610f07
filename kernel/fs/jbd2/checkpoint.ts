/**
 * Checkpoints: committed blocks are written home, so that the log's tail can move on (Linux: fs/jbd2/checkpoint.c). Each
 * goes from the version that was committed, though a newer one may be under change; one that a later transaction has
 * committed again goes from there.
 *
 *   Idle -> Write    blocks of the oldest transactions, until those are all at home
 *   Flush, FlushEnd  what was written is durable
 *   Super, SuperEnd  only now the tail in the superblock moves (FUA), and only then their blocks of the log are free
 *
 * It begins when a call waits for room in the log or in the cache, when half of the log is used, when a transaction was
 * committed HOME_EXPIRE_NS ago, and when the log is to be emptied. Emptied, the superblock says so (s_start 0).
 */
import { BlockOp, REQ_FUA } from "../../abi/block.ts";
import { EIO } from "../../abi/errno.ts";
import { assert } from "../../lib/assert.ts";
import { IoKind } from "../block_io.ts";
import { NO_SLOT, SlotState } from "../buffer_slots.ts";
import { writeTail } from "./log_super.ts";
import { HOME_EXPIRE_NS, J } from "./state.ts";
import type { JournalState } from "./state.ts";
import { fail } from "./transaction.ts";

export const Phase = { Idle: 0, Write: 1, Flush: 2, FlushEnd: 3, Super: 4, SuperEnd: 5 } as const;
const NONE = -1;

/** True when it went on. */
export function stepCheckpoint(j: JournalState): boolean {
  const { words } = j;
  switch (words[J.HomePhase]) {
    case Phase.Idle:
      words[J.HomeRows] = wanted(j);
      if (words[J.HomeRows] === 0 && !isTailMovable(j)) return false;
      words[J.HomePhase] = Phase.Write;
      return true;
    case Phase.Write:
      return writeHome(j);
    case Phase.Flush:
      if (j.barrier && j.buffers.io.start(BlockOp.Flush, 0, 0, 0, NONE, IoKind.Flush, J.HomeFlushing) < 0) return false;
      words[J.HomeFlushing] = j.barrier ? 1 : 0;
      words[J.HomePhase] = Phase.FlushEnd;
      return true;
    case Phase.FlushEnd:
      if (words[J.HomeFlushing] !== 0) return false;
      words[J.HomePhase] = Phase.Super;
      return true;
    case Phase.Super:
      if (!writeTail(j, words[J.NewBlock]!, words[J.NewTid]!, j.barrier ? REQ_FUA : 0)) return false;
      words[J.HomePhase] = Phase.SuperEnd;
      return true;
    default:
      if (words[J.SuperBusy] !== 0) return false;
      moveTail(j);
      return true;
  }
}

/** As Jbd2.nextAtNs. */
export function nextCheckpointNs(j: JournalState): number {
  if (j.words[J.HomePhase] !== Phase.Idle) return Infinity;
  if (wanted(j) > 0 || isTailMovable(j)) return j.now();
  return j.words[J.Rows] === 0 ? Infinity : j.rowNs[j.row(0)]! + HOME_EXPIRE_NS;
}

/** How many of the oldest transactions shall go home. */
function wanted(j: JournalState): number {
  const { words } = j;
  const rows = words[J.Rows]!;
  if (rows === 0) return 0;
  if (j.buffers.pressed || words[J.Emptying] !== 0) return rows;
  const half = j.logBlocks / 2;
  const expired = j.now() - HOME_EXPIRE_NS;
  let count = 0;
  while (count < rows) {
    const hasRoom = words[J.LogFree]! + j.distance(words[J.TailBlock]!, j.rowBlock[j.row(count)]!) >= half;
    if (hasRoom && (count > 0 || words[J.WantSpace] === 0) && j.rowNs[j.row(count)]! > expired) break;
    count++;
  }
  return count;
}

/** All is at home, and the superblock does not say so yet. */
const isTailMovable = (j: JournalState): boolean =>
  j.words[J.Rows] === 0 &&
  j.words[J.Phase] === 0 &&
  j.words[J.TailBlock] !== 0 &&
  j.words[J.Emptying] !== 0 &&
  j.words[J.Live] === 0;

/** The superblock is about to say that there is no log: a transaction that begins it anew has to wait. */
export const isBecomingEmpty = (j: JournalState): boolean =>
  j.words[J.HomePhase]! >= Phase.Flush && j.words[J.NewBlock] === 0;

function writeHome(j: JournalState): boolean {
  const { words } = j;
  const { slots, io } = j.buffers;
  let moved = false;
  for (;;) {
    const slot = slots.oldest(SlotState.Checkpoint);
    if (slot === NO_SLOT || age(j, slots.row[slot]!) >= words[J.HomeRows]!) break;
    // Two writes of one block in flight could end in any order; an older one belongs to rows before, which are at home.
    assert(slots.older[slot] === NO_SLOT, "jbd2: two versions of one block are on their way home");
    if (io.start(BlockOp.Write, 0, slots.block[slot]!, 1, slot * j.blockSize, IoKind.Home, slot) < 0) return moved;
    slots.become(slot, SlotState.Writing);
    moved = true;
  }
  for (let n = 0; n < words[J.HomeRows]!; n++) if (j.rowSlots[j.row(n)] !== 0) return moved;
  // What a flush from here on covers: others may come home meanwhile.
  findTail(j);
  words[J.HomePhase] = Phase.Flush;
  return true;
}

/** 0 for the oldest transaction's row. */
function age(j: JournalState, row: number): number {
  const at = row - j.words[J.RowFirst]!;
  return at < 0 ? at + j.rowTid.length : at;
}

/** Where the log starts once what is at home is durable. */
function findTail(j: JournalState): void {
  const { words } = j;
  let rows = 0;
  while (rows < words[J.Rows]! && j.rowSlots[j.row(rows)] === 0) rows++;
  words[J.NewRows] = rows;
  if (rows < words[J.Rows]!) {
    words[J.NewBlock] = j.rowBlock[j.row(rows)]!;
    words[J.NewTid] = j.rowTid[j.row(rows)]!;
  } else if (words[J.Phase] !== 0) {
    words[J.NewBlock] = words[J.CommitStart]!;
    words[J.NewTid] = words[J.CommitTid]!;
  } else {
    const isEmpty = words[J.Emptying] !== 0 && words[J.Live] === 0;
    words[J.NewBlock] = isEmpty ? 0 : words[J.Head]!;
    words[J.NewTid] = words[J.Tid]!;
  }
}

function moveTail(j: JournalState): void {
  const { words } = j;
  const rows = words[J.NewRows]!;
  const block = words[J.NewBlock]!;
  // An empty log begins where its head is.
  words[J.LogFree]! += j.distance(words[J.TailBlock]!, block === 0 ? words[J.Head]! : block);
  words[J.TailBlock] = block;
  words[J.TailTid] = words[J.NewTid]!;
  words[J.RowFirst] = j.row(rows);
  words[J.Rows]! -= rows;
  words[J.WantSpace] = 0;
  words[J.HomePhase] = Phase.Idle;
}

/** A write home has ended. */
export function homeEnded(j: JournalState, slot: number, result: number): void {
  const { slots } = j.buffers;
  assert(slots.state[slot] === SlotState.Writing, "jbd2: the end of a write that nobody began");
  if (result !== 0) {
    // Not at home: with a log it is still in there, and with the tail where it is.
    fail(j, EIO);
    return;
  }
  if (j.hasLog) j.rowSlots[slots.row[slot]!]!--;
  if (slots.newer[slot] === NO_SLOT) slots.become(slot, SlotState.Clean);
  else slots.drop(slot);
}

/** A committed version need not go home any more. */
export function dropCheckpoint(j: JournalState, slot: number): void {
  j.rowSlots[j.buffers.slots.row[slot]!]!--;
  j.buffers.slots.drop(slot);
}
