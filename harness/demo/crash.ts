/**
 * Scene: our ext4 crashed in the midst of a rename that replaces a file: every state within the bounds, judged. Then the
 * same with one seeded bug, no flush before the commit block (nobarrier): caught, shrunk to a few calls, and told write by
 * write. Last what recovery does: the journal in words, right before and right after the rename's commit block.
 *
 * - crashScene(path)   what was found, as data; the shrunk disk and its log are path.base.img.zst and path.log
 * - crash              the scene
 */
import { ext4Inode, ext4Layout, isRefusal, openJournal, readSuper, recover } from "../../kernel/index.ts";
import type { BlockImage, Super } from "../../kernel/index.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { textTable } from "../cli/output.ts";
import type { Row } from "../cli/output.ts";
import type { Scene } from "../cli/stage.ts";
import type { AceCall } from "../crash/ace.ts";
import type { Explorer } from "../crash/explore.ts";
import { RECOVERY_SEC } from "../crash/judge_ext4.ts";
import { superAt } from "../crash/promises_derived.ts";
import { shrunkReport } from "../crash/shrunk_report.ts";
import type { ShrunkReport } from "../crash/shrunk_report.ts";
import { parseSet } from "../crash/state_set.ts";
import { roleOf, rolesOf } from "../crash/timeline.ts";
import { judgeWorkload } from "../crash/workload_judge.ts";
import type { JudgedWorkload } from "../crash/workload_judge.ts";
import { crashBase } from "../crash/workload_run.ts";
import { journalLines } from "../ext4/journal_words.ts";
import type { JournalLine } from "../ext4/journal_words.ts";
import { walkTree } from "../ext4/tree.ts";

const MIB = 2 ** 20;
const BASE = { sizeBytes: 12 * MIB, blockSize: 4096, journalBytes: 4 * MIB };
const OLD_BYTES = 9000;
const NEW_BYTES = 6000;

const call = (op: AceCall["op"], path: string, more: Partial<AceCall> = {}): AceCall => ({
  op,
  path,
  setup: false,
  ...more,
});

/** As an editor saves a file. */
const CALLS: readonly AceCall[] = [
  call("creat", "data"),
  call("write", "data", { offset: 0, length: OLD_BYTES }),
  call("sync", "/"),
  call("creat", "data.new"),
  call("write", "data.new", { offset: 0, length: NEW_BYTES }),
  call("fsync", "data.new"),
  call("rename", "data.new", { to: "data" }),
  call("fsync", "data"),
];

const JUDGE = { data: "ordered", policy: "kernel", maxSubset: 8, tears: true, seed: 1 } as const;

/** One crash in the midst of the rename, and what recovery made of it. */
export interface RenameCrash {
  readonly crash: string;
  readonly log: readonly JournalLine[];
  readonly transactions: number;
  readonly blocks: number;
  /** path -> bytes. */
  readonly files: Readonly<Record<string, number>>;
}

export interface CrashStory {
  readonly rows: readonly Row[];
  readonly shrunk: ShrunkReport;
  readonly renames: readonly RenameCrash[];
}

const rowOf = (disk: string, { run, summary, epochs, wholeEpochs }: JudgedWorkload): Row => ({
  disk,
  writes: run.recorded.writes.length,
  epochs,
  wholeEpochs,
  states: summary.states,
  distinct: summary.distinct,
  broken: summary.flagged,
  byPrefixes: summary.flaggedByPrefixes,
});

export function crashScene(path: string): CrashStory {
  const base = crashBase(BASE);
  const honest = judgeWorkload(base, CALLS, { ...JUDGE, mount: "" });
  const seeded = { ...JUDGE, mount: "nobarrier" };
  const buggy = judgeWorkload(base, CALLS, seeded);
  const shrunk = shrunkReport(BASE, CALLS, seeded, path);
  assert(shrunk !== undefined, "crashScene: nobody noticed the missing flush");
  return {
    rows: [rowOf("as it should be", honest), rowOf("no flush before the commit block", buggy)],
    shrunk,
    renames: renameCrashes(honest.explorer),
  };
}

/** Right before the last commit block, and right after it. */
function renameCrashes({ segments, disk }: Explorer): RenameCrash[] {
  const { image } = disk;
  const segment = segments
    .map((one) => one.segment)
    .findLast((one) => {
      const inFlight = one.writes[one.free.at(-1) ?? -1];
      if (inFlight === undefined) return false;
      disk.enter(one);
      return rolesOf(image)(inFlight).startsWith("journal: commit");
    });
  assert(segment !== undefined, "crashScene: nothing was committed");
  disk.enter(segment);
  const free = segment.free.length;
  return [
    { crash: "the commit block is lost", there: free - 1 },
    { crash: "the commit block is there", there: free },
  ].map(({ crash: name, there }) => {
    disk.state(parseSet(`p${there}`, free));
    const sb = superOf(image);
    const journal = openJournal(image, sb);
    assert(!("reason" in journal), "crashScene: the journal cannot be read");
    const log = journalLines(journal, false, (block) => `block ${block}: ${roleOf(image, sb, block)}`);
    const done = recover(image, sb, { policy: "kernel", now: RECOVERY_SEC });
    assert(!isRefusal(done), "crashScene: recovery refuses");
    const files: Record<string, number> = {};
    const after = superOf(image);
    walkTree(image, after, ({ path, at }) => {
      if (ext4Inode.inodeType(image.view, at) === ext4Layout.S_IFREG)
        files[path] = ext4Inode.inodeSizeBytes(after, image.view, at);
    });
    disk.undo();
    const { replay } = done;
    assert(replay !== undefined, "crashScene: there was no log");
    const transactions = replay.endTid - replay.firstTid;
    return { crash: name, log, transactions, blocks: replay.replayed, files };
  });
}

function superOf(image: BlockImage): Super {
  const sb = readSuper(image.view, superAt(image), image.count * image.blockSize);
  assert(!isRefusal(sb), "crashScene: the superblock is refused");
  return sb;
}

/** Of the log what the last transaction has, and how it ends. */
function lastOf(log: readonly JournalLine[]): readonly JournalLine[] {
  const first = log.findLastIndex(({ kind }) => kind === "descriptor");
  return log.slice(first);
}

const foundText = ({ crash: name, transactions, blocks, files }: RenameCrash): string => {
  const tree = Object.entries(files).map(([file, bytes]) => `${file} has ${bytes} bytes`);
  return `${name}: recovery replays ${transactions} transactions, ${blocks} blocks; ${tree.join(", ")}`;
};

const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, "     ");

export const crash: Scene = {
  title: "Our ext4, crashed in the midst of a rename",
  needsMs: 2_500,
  async run(stage) {
    const { rows, shrunk, renames } = crashScene(stage.run.path("crash.nobarrier"));
    stage.say(indented(textTable(rows)));
    stage.say(indented(["", "the second one:", ...shrunk.lines.slice(0, -1)].join("\n")));
    stage.say(`     see it again: orrery crash show ${shrunk.state} --base ${shrunk.base} --log ${shrunk.log}`);
    for (const one of renames)
      stage.say(indented(["", foundText(one), textTable(lastOf(one.log).map((line) => ({ ...line })))].join("\n")));
    return [
      {
        kind: "table",
        title: "A rename that replaces a file, crashed",
        note: `A file of ${OLD_BYTES} bytes is replaced by one of ${NEW_BYTES}: written, synced, renamed, synced. Every state that a crash may leave on the disk within the bounds is recovered and checked.`,
        rows,
        columns: {
          epochs: { meaning: "stretches of writes between two flushes" },
          wholeEpochs: { meaning: "those of them of which every subset was judged" },
          distinct: { meaning: "states with different contents" },
          broken: { meaning: "states that break what the file system owes", better: "low" },
          byPrefixes: { meaning: "those of them that replaying the writes in order would have met" },
        },
      },
      {
        kind: "text",
        title: "The missing flush, caught and shrunk",
        text: shrunk.lines.slice(0, -1).join("\n"),
      },
      ...renames.map((one) => ({
        kind: "table" as const,
        title: `The journal, when ${one.crash}`,
        note: `${foundText(one)}. The log's last transaction, block by block:`,
        rows: lastOf(one.log).map((line) => ({ ...line })),
      })),
    ];
  },
};
