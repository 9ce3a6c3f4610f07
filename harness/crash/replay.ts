/**
 * One crash state carried through: its bytes, what its log says, what recovery does with it, what is there afterwards, and
 * the verdict. Digests are of the whole image, so that two machines can see that they speak of the same bytes.
 *
 * - replayState(explorer, segment, text)   the explorer's disk shows the state afterwards, not yet recovered
 */
import { createHash } from "node:crypto";
import { isRefusal, openJournal, recover } from "../../kernel/index.ts";
import type { BlockImage, Policy, Recovered } from "../../kernel/index.ts";
import { fastCommitLines, journalLines } from "../ext4/journal_words.ts";
import type { JournalLine } from "../ext4/journal_words.ts";
import { manifest } from "../ext4/tree.ts";
import { UserError } from "../cli/exit.ts";
import type { Explorer } from "./explore.ts";
import { RECOVERY_SEC, superOf } from "./judge_ext4.ts";
import type { Segment } from "./recorded.ts";
import { parseSet } from "./state_set.ts";
import { roleOf } from "./timeline.ts";
import type { Verdict } from "./verdict.ts";

export interface Replayed {
  /** SHA-256 of the disk after the crash, and after recovery. */
  readonly crashed: string;
  readonly recovered: string | undefined;
  readonly log: readonly JournalLine[];
  /** What recovery did, a line each; or why it refused. */
  readonly did: readonly string[];
  /** A line a path, as `orrery ext4 tree` has them. */
  readonly tree: readonly string[];
  readonly verdict: Verdict;
  /** Texts of the markers that had been passed. */
  readonly promised: readonly string[];
}

export function replayState(
  { disk, judge, recorded, options }: Explorer,
  segment: Segment,
  text: string,
  keep: (recovered: BlockImage) => void = () => {},
): Replayed {
  const set = parseSet(text, segment.free.length);
  const markers = segment.markers[set.cut]!;
  const show = (): BlockImage => {
    disk.state(set);
    return disk.image;
  };
  disk.enter(segment);
  const image = show();
  const crashed = digestOf(image);
  const log = logOf(image);
  const done = recoverImage(image, options.policy);
  const tree: string[] = [];
  let recovered: string | undefined;
  if (!("refused" in done)) {
    recovered = digestOf(image);
    tree.push(...treeOf(image));
    keep(image);
  }
  show();
  const verdict = judge.verdict(set.tear !== undefined, markers);
  show();
  return {
    crashed,
    recovered,
    log,
    did: "refused" in done ? [`refused: ${done.refused}`] : didText(done.done),
    tree,
    verdict,
    promised: recorded.markers.slice(0, markers).map((marker) => marker.text),
  };
}

function digestOf(image: BlockImage): string {
  const hash = createHash("sha256");
  for (let block = 0; block < image.count; block++) {
    const at = image.at(block);
    hash.update(image.bytes.subarray(at, at + image.blockSize));
  }
  return hash.digest("hex");
}

/** Copies of blocks are counted by their descriptor. */
function logOf(image: BlockImage): JournalLine[] {
  const sb = superOf(image);
  if (isRefusal(sb) || sb.journalIno === 0) return [];
  const journal = openJournal(image, sb);
  if ("reason" in journal) return [];
  const lines = journalLines(journal, false, (block) => roleOf(image, sb, block));
  return [...lines.filter(({ kind }) => kind !== "data"), ...fastCommitLines(sb, journal)];
}

function recoverImage(image: BlockImage, policy: Policy): { done: Recovered } | { refused: string } {
  const sb = superOf(image);
  if (isRefusal(sb)) return { refused: sb.reason };
  const done = recover(image, sb, { policy, now: RECOVERY_SEC });
  return isRefusal(done) ? { refused: done.reason } : { done };
}

/** What is damaged may not be readable: then it is said so far as it goes. */
function treeOf(image: BlockImage): readonly string[] {
  const sb = superOf(image);
  if (isRefusal(sb)) return [];
  try {
    return manifest(image, sb);
  } catch (error) {
    if (error instanceof UserError) return [error.message];
    throw error;
  }
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

function didText({ replay, fastCommit, orphans, damage }: Recovered): string[] {
  const transactions = replay === undefined ? 0 : (replay.endTid - replay.firstTid) >>> 0;
  return [
    ...(replay === undefined || transactions === 0
      ? ["there is nothing in the log to be replayed"]
      : [
          `${count(transactions, "transaction")} from ${replay.firstTid} on, ${count(replay.replayed, "block")} brought home`,
          ...(replay.revokes > 0
            ? [`${count(replay.revokes, "revocation")}, ${replay.revokeHits} kept a block out`]
            : []),
        ]),
    ...(replay === undefined ? [] : replay.faults),
    ...(fastCommit === undefined || fastCommit.tags === 0
      ? []
      : [`${count(fastCommit.tags, "tag")} of fast commits, ${count(fastCommit.inodes, "inode")}`]),
    ...(orphans.deleted + orphans.truncated > 0
      ? [`orphans: ${orphans.deleted} deleted, ${orphans.truncated} cut off`]
      : []),
    ...damage,
  ];
}
