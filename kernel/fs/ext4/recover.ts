/**
 * From an image after a crash to a clean file system, on the image's overlay: replay of the journal and of the fast
 * commits behind it, orphans, counters. What Linux does at mount and unmount, or `e2fsck -y`.
 *
 * - recover(image, sb, options)     Recovered: what was done; or refused, with nothing changed
 * - journalMap(image, sb)           where the journal's blocks lie
 *
 * Two policies, which differ only in what damage means:
 *
 *                                            kernel (Linux 6.1)              e2fsck (1.47)
 *   superblock's checksum is wrong           refused                         goes on
 *   journal's superblock is damaged          refused                         the journal is emptied without replay
 *   a checksum in a committed transaction    refused                         what is good is replayed, the rest left out
 *   a commit block's checksum                refused                         the transactions before it are replayed
 *   log not empty, needs_recovery not set    the log is discarded            the log is replayed
 *   fast commits                             see fast_commit.ts              see fast_commit.ts
 *
 * After an error under e2fsck's policy s_state is not valid: a full check has to follow.
 */
import type { Errno } from "../../abi/units.ts";
import { EFSBADCRC, EFSCORRUPTED, EINVAL } from "../../abi/errno.ts";
import { le16, le32, setBe32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { BlockImage } from "../block_image.ts";
import type { Blocks } from "../blocks.ts";
import { isJournalFault, JOURNAL_BLOCKS_MIN, loadJournal, setSuperCsum } from "../jbd2/journal.ts";
import type { Journal } from "../jbd2/journal.ts";
import { JBD2_MAGIC, JBLOCK_SUPER_V2, JSB } from "../jbd2/layout.ts";
import { recoverJournal } from "../jbd2/recovery.ts";
import type { Recovery } from "../jbd2/recovery.ts";
import { setSuperChecksum, superChecksum } from "./csum.ts";
import type { MapVisitor } from "./extent.ts";
import { FastCommits } from "./fast_commit.ts";
import { walkMap } from "./file.ts";
import { sumCounts } from "./group_edit.ts";
import { inodeAt } from "./group.ts";
import { inodeSizeBytes, inodeType } from "./inode.ts";
import { COMPAT, INCOMPAT, SB, STATE_ERROR, STATE_VALID, S_IFREG } from "./layout.ts";
import { mendCounts } from "./mend.ts";
import { processOrphans } from "./orphan.ts";
import type { Orphans } from "./orphan.ts";
import { isRefusal, readSuper } from "./super.ts";
import type { Refusal, Super } from "./super.ts";

export type Policy = "kernel" | "e2fsck";

export interface Recovered {
  /** The log was replayed, or found empty. */
  readonly replay: Recovery | undefined;
  readonly fastCommit: { readonly tags: number; readonly inodes: number } | undefined;
  readonly orphans: Orphans;
  /** The superblock may have come from the journal. */
  readonly sb: Super;
  /** Under e2fsck's policy: damage that was worked around, so that a full check is due. */
  readonly damage: readonly string[];
}

export interface RecoverOptions {
  readonly policy: Policy;
  /** Time of deletion of orphans, seconds since 1970. */
  readonly now: number;
}

/** Where each block of a file lies, for a file without holes; undefined when it has one or is damaged. */
class Flat implements MapVisitor {
  readonly map: Int32Array;
  #mapped = 0;
  #broken = false;

  constructor(blocks: number) {
    this.map = new Int32Array(blocks);
  }

  run(lblk: number, pblk: number, length: number, unwritten: boolean): boolean {
    if (unwritten) this.#broken = true;
    for (let n = 0; n < length && lblk + n < this.map.length; n++) {
      this.map[lblk + n] = pblk + n;
      this.#mapped++;
    }
    return !this.#broken && lblk + length < this.map.length;
  }

  /** A map that goes round is longer than the file: bounded by its size. */
  #nodes = 0;
  node(): boolean {
    return ++this.#nodes <= this.map.length;
  }

  mapDamage(): void {
    this.#broken = true;
  }

  get whole(): boolean {
    return !this.#broken && this.#mapped === this.map.length;
  }
}

export function journalMap(image: Blocks, sb: Super): Int32Array | Refusal {
  const at = inodeAt(image, sb, sb.journalIno);
  if (at < 0) return { errno: EFSCORRUPTED, reason: `there is no journal inode ${sb.journalIno}` };
  if (inodeType(image.view, at) !== S_IFREG)
    return { errno: EFSCORRUPTED, reason: `the journal inode ${sb.journalIno} is no regular file` };
  const size = Math.floor(inodeSizeBytes(sb, image.view, at) / sb.blockSize);
  if (size > sb.blocksCount) return { errno: EFSCORRUPTED, reason: `the journal claims ${size} blocks` };
  const flat = new Flat(size);
  walkMap(image, sb, at, flat);
  return flat.whole ? flat.map : { errno: EFSCORRUPTED, reason: "the journal has holes or lies outside" };
}

/** Writable address of the primary superblock. */
const superAt = (image: BlockImage, sb: Super): number => image.writable(sb.superBlock) + sb.superOffset;

export function recover(image: BlockImage, sb: Super, { policy, now }: RecoverOptions): Recovered | Refusal {
  const strict = policy === "kernel";
  const mark = image.mark();
  const refuse = (errno: Errno, reason: string): Refusal => {
    image.rollback(mark);
    return { errno, reason };
  };
  const damage: string[] = [];
  const readAt = image.at(sb.superBlock) + sb.superOffset;
  if (sb.metadataCsum && superChecksum(image.bytes, readAt) !== le32(image.view, readAt + SB.s_checksum)) {
    if (strict) return refuse(EFSBADCRC, "the checksum of the superblock is wrong");
    damage.push("the checksum of the superblock is wrong");
  }
  let replay: Recovery | undefined;
  let fast: FastCommits | undefined;
  const hasJournal = (sb.compat & COMPAT.has_journal) !== 0;
  if (hasJournal && sb.journalIno === 0)
    return refuse(EINVAL, "the journal lies on another device, which is not supported");
  if (!hasJournal && (sb.incompat & INCOMPAT.needs_recovery) !== 0) {
    if (strict) return refuse(EINVAL, "needs_recovery is set, and there is no journal");
    damage.push("needs_recovery is set, and there is no journal");
  }
  let after = sb;
  if (hasJournal) {
    const journal = openJournal(image, sb);
    if ("reason" in journal) {
      if (strict) return refuse(journal.errno, journal.reason);
      damage.push(journal.reason);
      resetJournal(image, sb);
    } else {
      const wanted = (sb.incompat & INCOMPAT.needs_recovery) !== 0 || (!strict && journal.start !== 0);
      if (wanted) {
        if ((sb.compat & COMPAT.fast_commit) !== 0) fast = new FastCommits(image, sb);
        replay = recoverJournal(journal, fast);
        const why = replay.faults[0] ?? "the journal cannot be replayed";
        if (strict && replay.error !== 0) return refuse(replay.error, why);
        if (strict && replay.failedCommit !== 0)
          return refuse(EFSCORRUPTED, `journal transaction ${replay.failedCommit} is corrupt`);
        damage.push(...replay.faults);
      }
      emptyJournal(journal, replay, strict);
      const reread = readSuper(image.view, image.at(sb.superBlock) + sb.superOffset, image.count * image.blockSize);
      if (isRefusal(reread)) return refuse(reread.errno, `after the replay: ${reread.reason}`);
      if (reread.blockSize !== sb.blockSize || reread.blocksCount !== sb.blocksCount)
        return refuse(EFSCORRUPTED, "after the replay the file system has another size");
      after = reread;
      if (journal.errno !== 0) damage.push(`the journal was aborted with error ${journal.errno}`);
    }
  }
  const at = superAt(image, after);
  const { view } = image;
  const state = le16(view, at + SB.s_state);
  const orphans =
    after.readOnlyFor.length === 0 && (!strict || (state & STATE_ERROR) === 0)
      ? processOrphans(image, after, at, now)
      : { deleted: 0, truncated: 0, faults: [] };
  damage.push(...orphans.faults);
  // After the orphans: whoever has neither links nor names is nobody's in the eyes of the survey.
  if (fast !== undefined && fast.replayed > 0) damage.push(...mendCounts(image, after, fast, now));
  setLe32(view, at + SB.s_feature_incompat, le32(view, at + SB.s_feature_incompat) & ~INCOMPAT.needs_recovery);
  setLe16(view, at + SB.s_state, damage.length === 0 ? state | STATE_VALID : state & ~STATE_VALID);
  sumCounts(image, after, at);
  setSuperChecksum(after, image.bytes, view, at);
  return {
    replay,
    fastCommit: fast === undefined ? undefined : { tags: fast.replayed, inodes: fast.touched.size },
    orphans,
    sb: after,
    damage,
  };
}

export function openJournal(image: BlockImage, sb: Super): Journal | Refusal {
  const map = journalMap(image, sb);
  if (!(map instanceof Int32Array)) return map;
  const journal = loadJournal(image, map);
  return isJournalFault(journal) ? { errno: journal.errno, reason: journal.reason } : journal;
}

/**
 * e2fsck's way out when the journal cannot be read: a new, empty superblock; without the journal's inode, no journal at
 * all. The transaction's number is taken from what was there, so that old blocks are not taken for new.
 */
function resetJournal(image: BlockImage, sb: Super): void {
  const map = journalMap(image, sb);
  const { view, blockSize } = image;
  if (!(map instanceof Int32Array) || map.length < JOURNAL_BLOCKS_MIN) {
    const at = superAt(image, sb);
    setLe32(view, at + SB.s_feature_compat, le32(view, at + SB.s_feature_compat) & ~COMPAT.has_journal);
    setLe32(view, at + SB.s_journal_inum, 0);
    image.bytes.fill(0, at + SB.s_jnl_blocks, at + SB.s_jnl_blocks + 68);
    setSuperChecksum(sb, image.bytes, view, at);
    return;
  }
  const sequence = image.ownCrc(map[0]!);
  const at = image.writable(map[0]!);
  image.bytes.fill(0, at, at + blockSize);
  setBe32(view, at + JSB.h_magic, JBD2_MAGIC);
  setBe32(view, at + JSB.h_blocktype, JBLOCK_SUPER_V2);
  setBe32(view, at + JSB.s_blocksize, blockSize);
  setBe32(view, at + JSB.s_maxlen, map.length);
  setBe32(view, at + JSB.s_first, 1);
  setBe32(view, at + JSB.s_sequence, sequence);
}

/** The log becomes empty, and the next transaction's number one that none in it has. */
function emptyJournal(journal: Journal, replay: Recovery | undefined, strict: boolean): void {
  if (journal.start === 0 && journal.errno === 0) return;
  const { image } = journal;
  const at = image.writable(journal.map[0]!);
  const failed = replay !== undefined && replay.error !== 0 && !strict;
  const next = replay === undefined || failed ? journal.sequence + (failed ? 0 : 1) : replay.endTid + 1;
  setBe32(image.view, at + JSB.s_sequence, next);
  setBe32(image.view, at + JSB.s_start, 0);
  setBe32(image.view, at + JSB.s_errno, 0);
  setSuperCsum(journal, at);
}
