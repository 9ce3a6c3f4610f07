/**
 * Seeded bugs of the running journal: the mistakes that lose or invent data, one for each rule that a journal lives by.
 * Each is put into a copy of the tree there, and cutting off the disk (fuzz/jbd2_rig.ts) has to show it:
 * test/kernel/fs/jbd2/mutants.test.ts. The form is that of mutant.ts.
 */
import type { MutantSet } from "./mutant.ts";

const COMMIT = "kernel/fs/jbd2/commit.ts";
const CHECKPOINT = "kernel/fs/jbd2/checkpoint.ts";
const FORMAT = "kernel/fs/jbd2/log_format.ts";
const BUFFERS = "kernel/fs/buffers.ts";

export const mutants: MutantSet = {
  name: "jbd2",
  tests: ["test/kernel/fs/jbd2/crash.test.ts", "test/kernel/fs/jbd2/jbd2.test.ts", "test/kernel/fs/buffers.test.ts"],
  mutants: [
    {
      file: COMMIT,
      find: "words[J.Phase] = j.asyncCommit ? Phase.Record : Phase.Flush;",
      replace: "words[J.Phase] = Phase.Record;",
      why: "the commit block is written without a flush before it",
    },
    {
      file: COMMIT,
      find: "j.barrier && !j.asyncCommit ? REQ_FUA : 0",
      replace: "0",
      why: "the commit block is not durable when the transaction is called so",
    },
    {
      file: COMMIT,
      find: "words[J.Phase] = j.asyncCommit ? Phase.Flush : Phase.Settle;",
      replace: "words[J.Phase] = Phase.Settle;",
      why: "an async commit is not flushed",
    },
    {
      file: COMMIT,
      find: "if (!j.asyncCommit && (words[J.Pending] !== 0 || words[J.SuperBusy] !== 0)) return false;",
      replace: "",
      why: "the flush before the commit block does not wait for the log's writes to end",
    },
    {
      file: COMMIT,
      find: "  if (!askOwner(j)) return false;\n",
      replace: "",
      why: "the commit does not wait for ordered data",
    },
    {
      file: COMMIT,
      find: "const escaped = isEscaped(j, from);",
      replace: "const escaped = false;",
      why: "a data block that looks like one of the log's is not escaped",
    },
    {
      file: COMMIT,
      find: "if (words[J.RevokeAt]! < buffers.revokes(1).size) {",
      replace: "if (words[J.RevokeAt]! < buffers.revokes(1).size - 1) {",
      why: "the last revoke is lost",
    },
    {
      file: COMMIT,
      find: "    if (old !== NO_SLOT && slots.state[old] === SlotState.Checkpoint) dropCheckpoint(j, old);\n",
      replace:
        "    if (old !== NO_SLOT && slots.state[old] === SlotState.Checkpoint) j.rowSlots[slots.row[old]!]!--;\n",
      why: "an older version goes home after it was superseded",
    },
    {
      file: COMMIT,
      find: "if (slots.state[slot] === SlotState.Checkpoint) dropCheckpoint(j, slot);",
      replace: "if (slots.state[slot] === SlotState.Free) dropCheckpoint(j, slot);",
      why: "a block that was given back goes home, over its next owner's data",
    },
    {
      file: COMMIT,
      find: "      if (slots.state[slot] === SlotState.Writing) return false;\n",
      replace: "      if (slots.state[slot] === SlotState.Free) return false;\n",
      why: "a block's next owner may write while its last home write is in flight",
    },
    {
      file: CHECKPOINT,
      find: "  words[J.HomePhase] = Phase.Flush;\n",
      replace: "  words[J.HomePhase] = Phase.Super;\n",
      why: "the tail moves before what is at home was flushed",
    },
    {
      file: CHECKPOINT,
      find: "      if (words[J.HomeFlushing] !== 0) return false;\n",
      replace: "",
      why: "the tail moves before the flush has ended",
    },
    {
      file: CHECKPOINT,
      find: "j.barrier ? REQ_FUA : 0)) return false;\n      words[J.HomePhase] = Phase.SuperEnd;",
      replace: "0)) return false;\n      words[J.HomePhase] = Phase.SuperEnd;",
      why: "the log is used again before its new tail is durable",
    },
    {
      file: CHECKPOINT,
      find: "j.words[J.HomePhase]! >= Phase.Flush && j.words[J.NewBlock] === 0;",
      replace: "false;",
      why: "a transaction is begun in a log that is being marked empty",
    },
    {
      file: FORMAT,
      find: "  const all = isFirst ? flags : flags | JFLAG_SAME_UUID;",
      replace: "  const all = flags | JFLAG_SAME_UUID;",
      why: "the first tag of a descriptor does not say that a uuid follows",
    },
    {
      file: BUFFERS,
      find: "      if (revokes.size > 0) revokes.delete(slots.block[slot]!);\n",
      replace: "",
      why: "a block that is journalled again stays revoked",
    },
    {
      file: BUFFERS,
      find: "slots.state[old] === SlotState.Running || slots.state[old] === SlotState.Clean))\n        slots.drop(old);",
      replace:
        "slots.state[old]! >= SlotState.Running || slots.state[old] === SlotState.Clean))\n        slots.drop(old);",
      why: "a version that is being committed is thrown away for the next one",
    },
  ],
};
