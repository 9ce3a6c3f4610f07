/**
 * Seeded bugs of the journal and of what ext4 owes to it, against the crash explorer: each is put into a copy of the tree,
 * and `orrery crash hunt` there has to find a crash state that it breaks, and to shrink it. `orrery crash mutants`.
 */
import { mutants as jbd2 } from "./jbd2.ts";
import type { Mutant } from "./mutant.ts";

/** Of the journal's own set those that a crash shows; "in flight" ones need a disk that ends late. */
const FROM_JBD2 = [
  "the commit block is written without a flush before it",
  "the commit block is not durable when the transaction is called so",
  "the flush before the commit block does not wait for the log's writes to end",
  "the commit does not wait for ordered data",
  "the last revoke is lost",
  "an older version goes home after it was superseded",
  "a block that was given back goes home, over its next owner's data",
  "the tail moves before what is at home was flushed",
  "the tail moves before the flush has ended",
  "the log is used again before its new tail is durable",
  "the first tag of a descriptor does not say that a uuid follows",
  "a version that is being committed is thrown away for the next one",
  "an async commit is not flushed",
];

const OWN: readonly Mutant[] = [
  {
    file: "kernel/fs/jbd2/commit.ts",
    find: "  const flags = escaped ? JFLAG_ESCAPE : 0;\n",
    replace: "  const flags = escaped ? 0 : 0;\n",
    why: "a data block that was escaped is not marked as such",
  },
  {
    file: "kernel/fs/jbd2/commit.ts",
    find: "startBlock(j, j.extraAt(extra), JBLOCK_DESCRIPTOR, words[J.CommitTid]!);",
    replace: "startBlock(j, j.extraAt(extra), JBLOCK_DESCRIPTOR, words[J.CommitTid]! - 1);",
    why: "a descriptor carries the transaction id before",
  },
  {
    file: "kernel/fs/jbd2/commit.ts",
    find: "  words[J.Phase] = Phase.RecordEnd;\n  return true;\n}",
    replace: "  words[J.Phase] = Phase.Settle;\n  return true;\n}",
    why: "a transaction counts as committed before its commit block is written",
  },
  {
    file: "kernel/fs/jbd2/transaction.ts",
    find: "  if (words[J.Phase] !== 0 && tidReached(tid, words[J.CommitTid]!)) return false;\n",
    replace: "",
    why: "an fsync returns while its transaction is being committed",
  },
  {
    file: "kernel/fs/ext4/namei.ts",
    find: "  if (keep) {\n    orphanAdd(edit, ino);\n",
    replace: "  if (keep) {\n",
    why: "an open file that lost its name is not on the orphan list",
  },
  {
    file: "kernel/fs/ext4/fsync.ts",
    find: "    call[C.tid] = dataOnly ? inodes.dataTid[row]! : inodes.tid[row]!;",
    replace: "    call[C.tid] = 0;",
    why: "an fsync writes the data and commits nothing",
  },
  {
    file: "kernel/fs/ext4/ext4.ts",
    find: "    if (done >= 0 && moved > 0) this.#changed(moved);\n",
    replace: "",
    why: "an fsync after a rename does not know of the new name",
  },
  {
    file: "kernel/fs/ext4/space.ts",
    find: "    return this.#pendingViews[0].getUint32(at, true) | this.#pendingViews[1].getUint32(at, true);",
    replace: "    return at < 0 ? 1 : 0;",
    why: "a block is given out again before the transaction that freed it has committed",
  },
  {
    file: "kernel/fs/ext4/ext4.ts",
    find: "this.#change(makeCredits(this.fs.sb), dir, 0, (edit) => ext4Mkdir(edit, dir, name, node))",
    replace: "this.#change(2, dir, 0, (edit) => ext4Mkdir(edit, dir, name, node))",
    why: "mkdir reserves too few credits",
  },
  {
    file: "kernel/fs/jbd2/checkpoint.ts",
    find: "      if (words[J.HomeRows] === 0 && !isTailMovable(j)) return false;",
    replace: "      if (words[J.HomeRows] === 0 && !isTailMovable(j)) return true;",
    why: "a checkpoint that has nothing to do goes on for ever",
  },
  {
    file: "kernel/fs/ext4/mount.ts",
    find: "    writeBlocks(device, image, blocks, idle) && (!barrier || flush(device, idle));",
    replace: "    writeBlocks(device, image, blocks, idle);",
    why: "a recovery calls the log done with before what it replayed is durable",
  },
];

export const mutants: readonly Mutant[] = [
  ...FROM_JBD2.map((why) => jbd2.mutants.find((mutant) => mutant.why === why)!),
  ...OWN,
];
