/**
 * Seeded bugs of the page cache and the eviction policies: mistakes that are easily made in each of them. The form is
 * that of harness/mutants: `find` occurs exactly once in the file; test/harness/mutants/filemap.test.ts holds that.
 */
import type { MutantSet } from "./mutant.ts";

export const mutants: MutantSet = {
  name: "filemap",
  tests: [
    "test/mm/evict",
    "test/mm/filemap.test.ts",
    "test/mm/writeback.test.ts",
    "test/mm/readahead.test.ts",
    "test/kernel/lib/errseq.test.ts",
    "test/kernel/lib/key_table.test.ts",
  ],
  mutants: [
    {
      file: "kernel/lib/key_table.ts",
      find: "if (((at - home) & mask) < ((at - hole) & mask)) continue;",
      replace: "if (((at - home) & mask) <= ((at - hole) & mask) - 1 && at > hole) continue;",
      why: "deletion forgets that a probe may wrap around the end of the table",
    },
    {
      file: "kernel/lib/errseq.ts",
      find: "return (value & SEEN) === 0 ? 0 : value;",
      replace: "return value;",
      why: "an error that nobody was told is lost for whoever opens the file next",
    },
    {
      file: "kernel/lib/errseq.ts",
      find: "words[at] = value | SEEN;",
      replace: "",
      why: "an error that was told is not marked, so the next one like it looks the same",
    },
    {
      file: "mm/evict/queues.ts",
      find: "      this.move(queue, slot);\n    }\n    return NO_SLOT;",
      replace: "      break;\n    }\n    return NO_SLOT;",
      why: "one pinned page at the back hides all the others",
    },
    {
      file: "mm/evict/clock.ts",
      find: "for (let left = queues.count[0]! * 2; left > 0; left--)",
      replace: "for (let left = queues.count[0]!; left > 0; left--)",
      why: "the hand gives up after one round, though all bits were set",
    },
    {
      file: "mm/evict/sieve.ts",
      find: "if (this.hand[0] === slot) this.hand[0] = this.queues.prev[slot]!;",
      replace: "",
      why: "a page that is removed under the hand takes the hand with it",
    },
    {
      file: "mm/evict/sieve.ts",
      find: "this.hand[0] = queues.prev[slot]!;",
      replace: "this.hand[0] = queues.capacity;",
      why: "the hand starts at the back again after each eviction",
    },
    {
      file: "mm/evict/lfu.ts",
      find: "if (--this.members[bucket]! > 0) return;",
      replace: "if (--this.members[bucket]! >= 0) return;",
      why: "an empty frequency bucket stays in the list",
    },
    {
      file: "mm/evict/arc.ts",
      find: "(inB2 && once === p)",
      replace: "(!inB2 && once === p)",
      why: "the tie of T1 at its target goes to the wrong side",
    },
    {
      file: "mm/evict/arc.ts",
      find: "Math.max(1, often / once)",
      replace: "Math.max(1, once / often)",
      why: "the target moves by the ratio of the ghosts upside down",
    },
    {
      file: "mm/evict/arc.ts",
      find: "if (this.target[1] === key) return;",
      replace: "",
      why: "the target moves twice for one miss: at evict() and at insert()",
    },
    {
      file: "mm/evict/s3_fifo.ts",
      find: "} else if (uses[slot]! > 1) {",
      replace: "} else if (uses[slot]! > 0) {",
      why: "one use is enough for promotion",
    },
    {
      file: "mm/evict/two_list.ts",
      find: "left >= 0 && distance <= this.queues.count[ACTIVE]!",
      replace: "left >= 0",
      why: "every page that comes back is activated, whatever its refault distance",
    },
    {
      file: "mm/evict/two_list.ts",
      find: "      this.referenced[slot] = 0;\n      this.grow();",
      replace: "      this.referenced[slot] = 0;",
      why: "an activation does not age the pages that are gone",
    },
    {
      file: "mm/evict/mglru.ts",
      find: "if (!busy) uses[slot] = 0;",
      replace: "",
      why: "a protected page keeps its uses and is protected for ever",
    },
    {
      file: "mm/evict/mglru.ts",
      find: "* (total + BATCH) > (refaults + 1) * ownTotal * 2",
      replace: "* (total + BATCH) < (refaults + 1) * ownTotal * 2",
      why: "the controller protects the tiers that refault least",
    },
    {
      file: "mm/evict/min.ts",
      find: "if (nearer) siftDown(heap, placeOf, use, slot, resident);",
      replace: "if (nearer) siftUp(heap, placeOf, use, slot, placeOf[slot]!);",
      why: "the bound's heap forgets to sink a page that is wanted sooner",
    },
    {
      file: "mm/filemap_page.ts",
      find: "const BUSY_FLAGS = PG.Dirty | PG.Reading | PG.Writeback | PG.Wanted;",
      replace: "const BUSY_FLAGS = PG.Reading | PG.Writeback | PG.Wanted;",
      why: "the policy may evict dirty pages",
    },
    {
      file: "mm/filemap_page.ts",
      find: "while (newer !== head && fm.dirtySeq[newer]! < fm.dirtySeq[slot]!) newer",
      replace: "while (newer !== head && fm.dirtySeq[newer]! > fm.dirtySeq[slot]!) newer",
      why: "pages the store did not take come back out of order",
    },
    {
      file: "mm/filemap_page.ts",
      find: "  fm.heldBy[slot] = 0;\n",
      replace: "",
      why: "a new page inherits the transaction of the slot's last page",
    },
    {
      file: "mm/filemap_io.ts",
      find: "if ((fm.flags[slot]! & PG.Wanted) === 0) return dropPage(fm, slot);",
      replace: "return dropPage(fm, slot);",
      why: "a failed read is forgotten before the call that waits hears of it",
    },
    {
      file: "mm/filemap_io.ts",
      find: "errseqSet(fm.errors, file, result as Errno);",
      replace: "",
      why: "a failed write-back never reaches fsync",
    },
    {
      file: "mm/filemap_call.ts",
      find: "if ((fm.flags[slot]! & PG.Fresh) !== 0) copy.fill(0);\n  else copy.set(frameBytes(fm, slot));",
      replace: "if ((fm.flags[slot]! & PG.Fresh) === 0) copy.set(frameBytes(fm, slot));",
      why: "the copy of a fresh page begins with what an earlier call left there",
    },
    {
      file: "mm/filemap_call.ts",
      find: "dropPage(fm, slot);\n      continue;",
      replace: "setFlags(fm, slot, PG.Uptodate, PG.Fresh);",
      why: "a fresh page that was not staged shows what was in its frame",
    },
    {
      file: "mm/filemap_call.ts",
      find: "comesBack ? PG.Wanted : 0",
      replace: "0",
      why: "what a given-up call had in hand may be evicted before it comes back",
    },
    {
      file: "mm/filemap_call.ts",
      find: "if (io !== NO_IO) return waitFor(fm, io, EIOCBQUEUED);\n  if (pinned)",
      replace: "if (pinned)",
      why: "truncation does not wait for what is in flight",
    },
    {
      file: "mm/filemap_call.ts",
      find: "if (inFlight && fm.journalOf[fileOfSlot(fm, slot)]! > 0) return",
      replace: "if (inFlight && fm.journalOf[fileOfSlot(fm, slot)]! > 99) return",
      why: "a held page changes while it is on its way to the disk",
    },
    {
      file: "mm/filemap_call.ts",
      find: "if ((fm.flags[slot]! & PG.First) === 0) {",
      replace: "{",
      why: "a page's coming counts as a hit too",
    },
    {
      file: "mm/writeback.ts",
      find: "(PG.Dirty | PG.Writeback)) === PG.Dirty && !held(fm, file, slot);",
      replace: "(PG.Dirty | PG.Writeback)) === PG.Dirty;",
      why: "pages of a transaction that is not committed are written",
    },
    {
      file: "mm/writeback.ts",
      find: "fm.ioFile[io] !== file || fm.ioSeq[io]! > ticket) continue;",
      replace: "fm.ioFile[io] !== file || fm.ioSeq[io]! >= ticket) continue;",
      why: "fsync does not wait for the write of the last page that was dirtied before it",
    },
    {
      file: "mm/writeback.ts",
      find: "slot !== head && fm.dirtySeq[slot]! <= ticket; slot = fm.dirtyPrev[slot]!) {\n    const index = indexOfKey(fm.key[slot]!);\n    if (index >= first && index <= last && mayGo",
      replace:
        "slot !== head; slot = fm.dirtyPrev[slot]!) {\n    const index = indexOfKey(fm.key[slot]!);\n    if (index >= first && index <= last && mayGo",
      why: "fsync chases what is dirtied while it waits",
    },
    {
      file: "mm/writeback.ts",
      find: "    listMove(fm.fileNext, fm.filePrev, fm.files, file);\n",
      replace: "",
      why: "the flusher serves one file and starves the others",
    },
    {
      file: "mm/readahead.ts",
      find: "return size <= Math.floor(max / 4) ? size * 2 : max;",
      replace: "return size < Math.floor(max / 4) ? size * 2 : max;",
      why: "the first window grows to its whole at a quarter already",
    },
    {
      file: "mm/readahead.ts",
      find: "const mark = start + count - ahead;",
      replace: "const mark = start + count - ahead - 1;",
      why: "the mark lies one page before where the next window is expected",
    },
    {
      file: "mm/readahead.ts",
      find: "if (pages + more <= max) window(index, pages + more, more);",
      replace: "if (pages + more <= max) window(index, pages, pages);",
      why: "a window that meets its own mark does not take the next one with it",
    },
    {
      file: "mm/file_rw.ts",
      find: "cache.stage(slot).fill(0, tail);",
      replace: "cache.stage(slot);",
      why: "a file that shrinks and grows again shows its old bytes",
    },
  ],
};
