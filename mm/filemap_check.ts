/** The page cache's invariants, each counted anew from the slots. Tests and fuzzers call it after every step. O(slots). */
import { CACHE_IOS_MAX } from "../kernel/abi/limits.ts";
import { assert } from "../kernel/lib/assert.ts";
import { listCount } from "../kernel/lib/slot_list.ts";
import { fileOfSlot } from "./filemap_page.ts";
import { type Filemap, FM, IO, mappingOfKey, NIL, NO_FRAME, NO_IO, PG } from "./filemap_state.ts";

function checkSlot(fm: Filemap, slot: number): void {
  const flags = fm.flags[slot]!;
  const has = (flag: number): boolean => (flags & flag) !== 0;
  if (fm.key[slot] === NIL) {
    assert(flags === 0 && fm.frame[slot] === NO_FRAME && fm.busy[slot] === 0, "filemap: a free slot holds something");
    return;
  }
  const file = fileOfSlot(fm, slot);
  assert(fm.handle[file] === mappingOfKey(fm.key[slot]!), "filemap: a page of a file that is not open");
  assert(
    fm.index.get(fm.key[slot]!) === slot && fm.frame[slot] !== NO_FRAME,
    "filemap: a page the index does not find",
  );
  assert(!has(PG.Dirty) || has(PG.Uptodate), "filemap: a dirty page that is not whole");
  assert(
    !(has(PG.Reading) && has(PG.Uptodate | PG.Writeback | PG.Error)),
    "filemap: a page being read is something else",
  );
  assert(
    (fm.io[slot] !== NO_IO) === has(PG.Reading | PG.Writeback),
    "filemap: in flight without a request, or vice versa",
  );
  assert(!has(PG.Fresh) || fm.callOf[slot] !== NIL, "filemap: a fresh page outside a call");
  const busy = has(PG.Dirty | PG.Reading | PG.Writeback | PG.Wanted) || fm.pins[slot]! > 0 || fm.callOf[slot] !== NIL;
  assert((fm.busy[slot] !== 0) === busy, "filemap: the policy is told wrongly what is busy");
}

function checkLists(fm: Filemap, file: number, pages: number, dirty: number): void {
  const head = fm.slots + file;
  assert(listCount(fm.pageNext, fm.pagePrev, head, fm.slots) === pages, "filemap: a file's list of pages is wrong");
  assert(listCount(fm.dirtyNext, fm.dirtyPrev, head, fm.slots) === dirty, "filemap: a file's dirty list is wrong");
  assert(fm.pagesOf[file] === pages && fm.dirtyOf[file] === dirty, "filemap: a file's counts are wrong");
  let newest = Infinity;
  for (let slot = fm.dirtyNext[head]!; slot !== head; slot = fm.dirtyNext[slot]!) {
    assert(fm.dirtySeq[slot]! < newest, "filemap: a dirty list is not in order of age");
    newest = fm.dirtySeq[slot]!;
  }
}

function checkRequests(fm: Filemap): number {
  let writing = 0;
  let free = 0;
  for (let io = 0; io < CACHE_IOS_MAX; io++) {
    if (fm.ioKind[io] === IO.Free) {
      free++;
      continue;
    }
    let count = 0;
    for (let slot = fm.ioSlots[io]!; slot !== NIL; slot = fm.ioNext[slot]!, count++)
      assert(fm.io[slot] === io, "filemap: a page of a request says another");
    assert(count === fm.ioCount[io], "filemap: a request has other pages than it says");
    if (fm.ioKind[io] === IO.Write) writing += count;
  }
  assert(free === fm.scalars[FM.IosFree], "filemap: free request rows are counted wrongly");
  return writing;
}

export function checkFilemap(fm: Filemap): void {
  const pages = new Int32Array(fm.files);
  const dirty = new Int32Array(fm.files);
  let pageCount = 0;
  for (let slot = 0; slot < fm.slots; slot++) {
    checkSlot(fm, slot);
    if (fm.key[slot] === NIL) continue;
    pageCount++;
    pages[fileOfSlot(fm, slot)]!++;
    if ((fm.flags[slot]! & PG.Dirty) !== 0) dirty[fileOfSlot(fm, slot)]!++;
  }
  let dirtyCount = 0;
  let dirtyFiles = 0;
  for (let file = 0; file < fm.files; file++) {
    checkLists(fm, file, pages[file]!, dirty[file]!);
    dirtyCount += dirty[file]!;
    if (dirty[file]! > 0) dirtyFiles++;
  }
  assert(
    listCount(fm.fileNext, fm.filePrev, fm.files, fm.files) === dirtyFiles,
    "filemap: the list of dirty files is wrong",
  );
  assert(fm.index.size === pageCount && fm.scalars[FM.Pages] === pageCount, "filemap: pages are counted wrongly");
  assert(fm.scalars[FM.Dirty] === dirtyCount, "filemap: dirty pages are counted wrongly");
  assert(fm.scalars[FM.Writeback] === checkRequests(fm), "filemap: pages under write-back are counted wrongly");
  let free = 0;
  for (let slot = fm.scalars[FM.FreeHead]!; slot !== NIL; slot = fm.freeNext[slot]!) free++;
  assert(free === fm.slots - pageCount, "filemap: a slot is lost");
  fm.policy.check();
}
