/**
 * One file call on the cache: pages in hand, staged copies, truncations, and the one step in which they take effect
 * (kernel/abi/page_cache.ts says what a caller may rely on).
 *
 *   callSlot[p]    page in hand, callOf[slot] = p         callStage[p]  its copy in `stages`, or NIL; a fresh page has
 *                                                                       a place there, but its bytes go to its frame
 *   callHold[p]    transaction that will hold it back     truncates     ranges that go at merge()
 */
import { EBUSY, EIOCBQUEUED } from "../kernel/abi/errno.ts";
import { CALL_PAGES_MAX, CALL_STAGES_MAX, CALL_TRUNCATES_MAX } from "../kernel/abi/limits.ts";
import { PAGE_LAST, WAIT_ANY } from "../kernel/abi/page_cache.ts";
import type { Errno } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { startRead } from "./filemap_io.ts";
import { addPage, dropPage, fileOfSlot, lookup, makeDirty, setBusy, setFlags } from "./filemap_page.ts";
import {
  ABSENT,
  type Filemap,
  fileOf,
  FM,
  frameBytes,
  indexOfKey,
  keyOf,
  NIL,
  NO_IO,
  NO_WAIT,
  PG,
  STAT,
  waitFor,
} from "./filemap_state.ts";

export function begin(fm: Filemap): void {
  assert(fm.scalars[FM.InCall] === 0, "page cache: a call is open already");
  fm.scalars[FM.InCall] = 1;
  fm.scalars[FM.WaitingOn] = NO_WAIT;
}

/** Notes that the call has the page in hand. */
export function take(fm: Filemap, slot: number): number {
  if (fm.callOf[slot] !== NIL) return slot;
  const at = fm.scalars[FM.CallPages]!;
  assert(at < CALL_PAGES_MAX, "page cache: a call needs more pages than CALL_PAGES_MAX");
  fm.callSlot[at] = slot;
  fm.callStage[at] = NIL;
  fm.callHold[at] = 0;
  fm.callOf[slot] = at;
  fm.scalars[FM.CallPages]!++;
  setBusy(fm, slot);
  return slot;
}

/** The page with what became of its read: waits, tells a failure once, or takes it in hand. ABSENT: not in the cache. */
function present(fm: Filemap, mapping: number, index: number): number {
  assert(index >= 0 && index <= PAGE_LAST, "page cache: a page index is beyond all files");
  const slot = lookup(fm, mapping, index);
  if (slot === NIL) return ABSENT;
  const flags = fm.flags[slot]!;
  if ((flags & PG.Reading) !== 0) {
    setFlags(fm, slot, PG.Wanted, 0);
    return waitFor(fm, fm.io[slot]!, EIOCBQUEUED);
  }
  if ((flags & PG.Error) !== 0) {
    const error = fm.error[slot]!;
    dropPage(fm, slot);
    return error;
  }
  return take(fm, slot);
}

export function page(fm: Filemap, mapping: number, index: number): number {
  assert(fm.scalars[FM.InCall] === 1, "page cache: page() outside a call");
  const file = fileOf(fm, mapping);
  const slot = present(fm, mapping, index);
  if (slot !== ABSENT) return slot;
  assert(index * PAGE_SIZE < fm.stores[file]!.size(), "page cache: a page beyond the end was asked for");
  fm.counters[STAT.Miss]!++;
  if (fm.scalars[FM.IosFree] === 0) return waitFor(fm, WAIT_ANY, EIOCBQUEUED);
  const added = addPage(fm, file, keyOf(mapping, index), PG.Reading | PG.Wanted, true);
  if (added < 0) return added;
  startRead(fm, file, [added]);
  const read = present(fm, mapping, index);
  return read === ABSENT ? waitFor(fm, WAIT_ANY, EIOCBQUEUED) : read;
}

/** A page that a journal holds back must not change while it is on its way to the disk. */
function settled(fm: Filemap, slot: number): number {
  const inFlight = slot >= 0 && (fm.flags[slot]! & PG.Writeback) !== 0;
  if (inFlight && fm.journalOf[fileOfSlot(fm, slot)]! > 0) return waitFor(fm, fm.io[slot]!, EIOCBQUEUED);
  return slot;
}

export const edit = (fm: Filemap, mapping: number, index: number): number => settled(fm, page(fm, mapping, index));

export function fresh(fm: Filemap, mapping: number, index: number): number {
  assert(fm.scalars[FM.InCall] === 1, "page cache: fresh() outside a call");
  const file = fileOf(fm, mapping);
  const here = lookup(fm, mapping, index);
  // A failed read does not matter to who overwrites the page.
  if (here !== NIL && (fm.flags[here]! & PG.Error) !== 0) dropPage(fm, here);
  const slot = present(fm, mapping, index);
  if (slot !== ABSENT) return settled(fm, slot);
  const added = addPage(fm, file, keyOf(mapping, index), PG.Fresh, true);
  return added < 0 ? added : take(fm, added);
}

/** A fresh page's copy is its frame: until merge() nobody looks at it, and abort() forgets it. */
function stageOf(fm: Filemap, at: number): Uint8Array {
  const slot = fm.callSlot[at]!;
  if ((fm.flags[slot]! & PG.Fresh) !== 0) return frameBytes(fm, slot);
  const stage = fm.callStage[at]!;
  return fm.stages.subarray(stage * PAGE_SIZE, (stage + 1) * PAGE_SIZE);
}

export function bytes(fm: Filemap, slot: number): Uint8Array {
  const at = fm.callOf[slot]!;
  if (at !== NIL && fm.callStage[at] !== NIL) return stageOf(fm, at);
  assert((fm.flags[slot]! & PG.Uptodate) !== 0, "page cache: bytes of a page that is not whole");
  return frameBytes(fm, slot);
}

/** The page's copy, which holds what the page does: or, `whole`, anything, since the caller fills it. */
export function stage(fm: Filemap, slot: number, transaction: number, whole: boolean): Uint8Array {
  const at = fm.callOf[slot]!;
  assert(at !== NIL, "page cache: stage() of a page that is not in hand");
  const journal = fm.journalOf[fileOfSlot(fm, slot)]!;
  assert(transaction === 0 || journal > 0, "page cache: a transaction on a file without a journal");
  assert(
    transaction === 0 || transaction > fm.committedTo[journal]!,
    "page cache: the transaction is committed already",
  );
  assert(journal === 0 || (fm.flags[slot]! & PG.Writeback) === 0, "page cache: stage() without edit()");
  fm.callHold[at] = Math.max(fm.callHold[at]!, transaction);
  if (fm.callStage[at] !== NIL) return stageOf(fm, at);
  assert(fm.scalars[FM.Stages]! < CALL_STAGES_MAX, "page cache: a call changes more pages than CALL_STAGES_MAX");
  fm.callStage[at] = fm.scalars[FM.Stages]!++;
  const copy = stageOf(fm, at);
  if (whole) return copy;
  if ((fm.flags[slot]! & PG.Fresh) !== 0) copy.fill(0);
  else copy.set(frameBytes(fm, slot));
  return copy;
}

/** Calls `visit` for each page of the file in first..last; the page may be dropped by it. */
export function eachPage(fm: Filemap, file: number, first: number, last: number, visit: (slot: number) => void): void {
  const mapping = fm.handle[file]!;
  if (last - first < fm.pagesOf[file]!) {
    for (let index = first; index <= last; index++) {
      const slot = lookup(fm, mapping, index);
      if (slot !== NIL) visit(slot);
    }
    return;
  }
  const head = fm.slots + file;
  for (let slot = fm.pageNext[head]!; slot !== head;) {
    const next = fm.pageNext[slot]!;
    const index = indexOfKey(fm.key[slot]!);
    if (index >= first && index <= last) visit(slot);
    slot = next;
  }
}

export function truncate(fm: Filemap, mapping: number, first: number, last: number): 0 | Errno {
  assert(fm.scalars[FM.InCall] === 1, "page cache: truncate() outside a call");
  const at = fm.scalars[FM.Truncates]!;
  assert(at < CALL_TRUNCATES_MAX, "page cache: a call truncates more ranges than CALL_TRUNCATES_MAX");
  let io = NO_IO;
  let pinned = false;
  eachPage(fm, fileOf(fm, mapping), first, last, (slot) => {
    if (fm.io[slot] !== NO_IO) io = fm.io[slot]!;
    if (fm.pins[slot]! > 0) pinned = true;
  });
  if (io !== NO_IO) return waitFor(fm, io, EIOCBQUEUED);
  if (pinned) return EBUSY;
  fm.truncates.set([mapping, first, last], at * 3);
  fm.scalars[FM.Truncates]!++;
  return 0;
}

/** The use of a page that came for this call is its insertion; any other is a hit. */
function countUse(fm: Filemap, slot: number): void {
  if ((fm.flags[slot]! & PG.First) === 0) {
    fm.counters[STAT.Hit]!++;
    fm.policy.hit(slot);
  }
  setFlags(fm, slot, 0, PG.First | PG.Wanted);
}

function endCall(fm: Filemap): void {
  fm.scalars[FM.CallPages] = 0;
  fm.scalars[FM.Stages] = 0;
  fm.scalars[FM.Truncates] = 0;
  fm.scalars[FM.InCall] = 0;
}

/** The staged copy becomes the page. */
function mergeStage(fm: Filemap, slot: number, at: number): void {
  if ((fm.flags[slot]! & PG.Fresh) === 0) frameBytes(fm, slot).set(stageOf(fm, at));
  setFlags(fm, slot, PG.Uptodate, PG.Fresh);
  fm.heldBy[slot] = Math.max(fm.heldBy[slot]!, fm.callHold[at]!);
  makeDirty(fm, slot);
}

export function merge(fm: Filemap): void {
  assert(fm.scalars[FM.InCall] === 1, "page cache: merge() outside a call");
  for (let at = 0; at < fm.scalars[FM.CallPages]!; at++) {
    const slot = fm.callSlot[at]!;
    const staged = fm.callStage[at] !== NIL;
    fm.callOf[slot] = NIL;
    if (!staged && (fm.flags[slot]! & PG.Fresh) !== 0) {
      dropPage(fm, slot);
      continue;
    }
    countUse(fm, slot);
    if (staged) mergeStage(fm, slot, at);
  }
  for (let at = 0; at < fm.scalars[FM.Truncates]!; at++) {
    const [mapping, first, last] = fm.truncates.subarray(at * 3, at * 3 + 3);
    eachPage(fm, fileOf(fm, mapping!), first!, last!, (slot) => dropPage(fm, slot));
  }
  endCall(fm);
}

export function abort(fm: Filemap): void {
  assert(fm.scalars[FM.InCall] === 1, "page cache: abort() outside a call");
  const comesBack = fm.scalars[FM.WaitingOn] !== NO_WAIT;
  for (let at = 0; at < fm.scalars[FM.CallPages]!; at++) {
    const slot = fm.callSlot[at]!;
    fm.callOf[slot] = NIL;
    if ((fm.flags[slot]! & PG.Fresh) !== 0) dropPage(fm, slot);
    else setFlags(fm, slot, comesBack ? PG.Wanted : 0, 0);
  }
  endCall(fm);
}
