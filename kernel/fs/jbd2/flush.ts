/**
 * Flushes for those who need no commit: an fsync whose metadata is durable already, and whose data is on the device but
 * perhaps in its cache. One is in flight at a time; all that ask meanwhile share the next.
 *
 * - askFlush(j)         a number: all that had ended on the device before is durable once it is over
 * - flushed(j, number)  0, EIOCBQUEUED, or EIO
 */
import { BlockOp } from "../../abi/block.ts";
import { EIO, EIOCBQUEUED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { IoKind } from "../block_io.ts";
import { J } from "./state.ts";
import type { JournalState } from "./state.ts";

const NONE = -1;

export function askFlush(j: JournalState): number {
  if (!j.barrier) return j.words[J.FlushEnded]!;
  j.words[J.FlushWanted] = j.words[J.FlushStarted]! + 1;
  return j.words[J.FlushWanted]!;
}

export function flushed(j: JournalState, number: number): 0 | Errno {
  if (j.words[J.FlushEnded]! < number) return EIOCBQUEUED;
  return j.words[J.FlushFailed] === number && number > 0 ? EIO : 0;
}

export function stepFlush(j: JournalState): boolean {
  const { words } = j;
  if (words[J.FlushStarted] !== words[J.FlushEnded] || words[J.FlushWanted]! <= words[J.FlushStarted]!) return false;
  if (j.buffers.io.start(BlockOp.Flush, 0, 0, 0, NONE, IoKind.Flush, J.FlushEnded) < 0) return false;
  words[J.FlushStarted]!++;
  return true;
}

export function flushEnded(j: JournalState, result: number): void {
  const { words } = j;
  words[J.FlushEnded] = words[J.FlushStarted]!;
  if (result !== 0) words[J.FlushFailed] = words[J.FlushEnded]!;
}
