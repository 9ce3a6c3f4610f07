/**
 * Recovery of a journal, in the three passes of jbd2: SCAN finds the end of the log, REVOKE gathers what must not be
 * written, REPLAY brings the blocks home. A home block is given its journal block's slot: nothing is copied but blocks
 * that were escaped.
 *
 * - recoverJournal(journal, fastCommit)   Recovery: how far it came, and the errno with which it stopped, 0 for none
 *
 * It does as Linux 6.1 and e2fsck 1.47 do, whose passes are the same; what an error means is the caller's policy
 * (../ext4/recover.ts). An unfinished transaction at the end is no error. A wrong checksum is
 * - in a data block: the block is left out, the rest is replayed, and the error comes at the end
 * - in a descriptor or revoke block: an error if that transaction's commit block is not older than the last one before;
 *   else the blocks are what an earlier round of the ring left, and the log ends there
 * - in a commit block: the same, but the transaction itself counts as not committed (`failedCommit`). With async commits
 *   nothing is wrong unless a further commit block follows
 */
import { EFSBADCRC, EFSCORRUPTED, EINVAL, EIO } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { be32, be64, setBe32 } from "../../lib/bytes.ts";
import { crc32be } from "../../lib/crc32be.ts";
import { blockCsumOk, headerType, journalAt, tagBlock, tagCsumOk, tagFlags } from "./journal.ts";
import type { Journal } from "./journal.ts";
import {
  JBD2_MAGIC,
  JBLOCK_COMMIT,
  JBLOCK_DESCRIPTOR,
  JBLOCK_REVOKE,
  JCOMMIT,
  JCSUM_CRC32,
  JFLAG_ESCAPE,
  JFLAG_LAST_TAG,
  JFLAG_SAME_UUID,
  JHEADER,
  JINCOMPAT_64BIT,
  JINCOMPAT_ASYNC_COMMIT,
  JINCOMPAT_FAST_COMMIT,
  JREVOKE,
  JTAIL,
  JUUID_BYTES,
} from "./layout.ts";

export const Pass = { Scan: 0, Revoke: 1, Replay: 2 } as const;
export type Pass = (typeof Pass)[keyof typeof Pass];

/** The file system's part in fast commits: jbd2 only brings the blocks. */
export interface FastCommitReplay {
  /** One block at an address. STOP, CONTINUE, or a negative errno. `expected` is the transaction they come after. */
  block(pass: Pass, at: number, index: number, expected: number): number;
  /** After the last block of the replay. */
  end(): void;
}
export const FC_STOP = 0;
export const FC_CONTINUE = 1;

export interface Recovery {
  /** 0, or what stopped it. What was replayed until then is in the image. */
  error: 0 | Errno;
  /** First transaction of the log, and the one after the last that is whole. */
  firstTid: number;
  endTid: number;
  /** Blocks brought home, records of revocation, blocks that they kept from it. */
  replayed: number;
  revokes: number;
  revokeHits: number;
  /** A commit block whose checksum is wrong, 0 for none. */
  failedCommit: number;
  /** One line for each thing that was wrong. */
  readonly faults: string[];
}

/** Faults that are told one by one: a hostile journal has thousands. */
const FAULTS_MAX = 20;

/** Transaction ids go round: later is less than half of the circle ahead. */
export const tidLater = (a: number, b: number): boolean => ((a - b) | 0) > 0;
export const tidReached = (a: number, b: number): boolean => ((a - b) | 0) >= 0;

export function recoverJournal(journal: Journal, fastCommit: FastCommitReplay | undefined): Recovery {
  const run = new Run(journal, fastCommit);
  if (journal.start === 0) {
    run.result.endTid = journal.sequence;
    return run.result;
  }
  for (const pass of [Pass.Scan, Pass.Revoke, Pass.Replay] as const) {
    run.result.error = run.pass(pass);
    if (run.result.error !== 0) break;
  }
  return run.result;
}

class Run {
  readonly result: Recovery;
  readonly #journal: Journal;
  readonly #fastCommit: FastCommitReplay | undefined;
  /** Home block -> the last transaction that revoked it. */
  readonly #revoked = new Map<number, number>();
  /** End of the log has been found by a wrong checksum; as in jbd2, transaction 0 cannot be told from none. */
  #end = 0;

  constructor(journal: Journal, fastCommit: FastCommitReplay | undefined) {
    this.#journal = journal;
    this.#fastCommit = fastCommit;
    this.result = {
      error: 0,
      firstTid: journal.sequence,
      endTid: journal.sequence,
      replayed: 0,
      revokes: 0,
      revokeHits: 0,
      failedCommit: 0,
      faults: [],
    };
  }

  #wrap(block: number): number {
    const { first, last } = this.#journal;
    return block >= last ? block - (last - first) : block;
  }

  #fault(text: string): void {
    if (this.result.faults.length < FAULTS_MAX) this.result.faults.push(text);
  }

  pass(pass: Pass): 0 | Errno {
    const journal = this.#journal;
    const { view } = journal.image;
    const { result } = this;
    let next = journal.sequence;
    let block = journal.start;
    let success: 0 | Errno = 0;
    /** csum v1: over descriptors and data of one transaction. */
    let crc = 0xffffffff;
    let doubtful = false;
    let lastCommitSeconds = 0;
    // Each step goes on by a block at least; a log that is full of its own transactions ends after one round.
    for (let budget = journal.maxlen; ; budget--) {
      if (pass !== Pass.Scan && tidReached(next, result.endTid)) break;
      if (budget < 0) {
        this.#fault("the log goes round without an end");
        return EFSCORRUPTED;
      }
      const here = block;
      const at = journalAt(journal, here);
      if (at < 0) {
        this.#fault(`block ${here} of the journal is not there`);
        return EFSCORRUPTED;
      }
      block = this.#wrap(block + 1);
      if (be32(view, at + JHEADER.h_magic) !== JBD2_MAGIC || be32(view, at + JHEADER.h_sequence) !== next) break;
      const type = headerType(journal, at);
      if (type === JBLOCK_DESCRIPTOR) {
        if (journal.csum >= 2 && !blockCsumOk(journal, here, journal.blockSize - JTAIL.bytes)) {
          if (pass !== Pass.Scan) {
            this.#fault(`the checksum of descriptor block ${here} is wrong`);
            return EFSBADCRC;
          }
          doubtful = true;
        }
        const tags = this.#countTags(at);
        if (pass === Pass.Replay) {
          const replayed = this.#replay(at, block, next);
          if (replayed !== 0) success = replayed;
        } else if (pass === Pass.Scan && journal.csum === 1 && !doubtful && this.#end === 0) {
          const sum = this.#addData(crc, at, block, tags);
          if (sum < 0) continue;
          crc = sum;
        }
        block = this.#advance(block, tags);
        budget -= tags;
      } else if (type === JBLOCK_COMMIT) {
        if (pass === Pass.Scan) {
          const seconds = be64(view, at + JCOMMIT.h_commit_sec);
          if (doubtful) {
            if (seconds < lastCommitSeconds) break;
            this.#fault(`transaction ${next} is committed, and a block of it has a wrong checksum`);
            return EFSBADCRC;
          }
          if (journal.csum === 1) {
            if (this.#end !== 0) {
              result.failedCommit = this.#end;
              continue;
            }
            if (!commitCsum1Ok(journal, at, crc)) {
              if (seconds < lastCommitSeconds) break;
              this.#endAt(next);
              if ((journal.incompat & JINCOMPAT_ASYNC_COMMIT) === 0) {
                this.#failed(next);
                continue;
              }
            }
            crc = 0xffffffff;
          }
          if (journal.csum >= 2 && !blockCsumOk(journal, here, JCOMMIT.h_chksum)) {
            if (seconds < lastCommitSeconds) break;
            this.#endAt(next);
            if ((journal.incompat & JINCOMPAT_ASYNC_COMMIT) === 0) {
              this.#failed(next);
              continue;
            }
          }
          lastCommitSeconds = seconds;
        }
        next = (next + 1) >>> 0;
      } else if (type === JBLOCK_REVOKE) {
        if (pass === Pass.Scan && journal.csum >= 2 && !blockCsumOk(journal, here, journal.blockSize - JTAIL.bytes))
          doubtful = true;
        if (pass === Pass.Revoke) {
          const revoked = this.#revoke(at, next);
          if (revoked !== 0) return revoked;
        }
      } else break;
    }
    if (pass === Pass.Scan) {
      result.endTid = this.#end === 0 ? next : this.#end;
    } else if (result.endTid !== next) {
      this.#fault(`a pass ended at transaction ${next}, not ${result.endTid}`);
      if (success === 0) success = EIO;
    }
    if (pass !== Pass.Revoke && (journal.incompat & JINCOMPAT_FAST_COMMIT) !== 0) {
      const fast = this.#fastCommits(pass);
      if (fast !== 0) success = fast;
    }
    return success;
  }

  #endAt(tid: number): void {
    if (this.#end === 0) this.#end = tid;
  }

  #failed(tid: number): void {
    this.result.failedCommit = tid;
    this.#fault(`the commit block of transaction ${tid} has a wrong checksum`);
  }

  /** Block after so many data blocks. */
  #advance(block: number, tags: number): number {
    return this.#wrap(block + tags);
  }

  #tagsEnd(): number {
    return this.#journal.blockSize - (this.#journal.csum >= 2 ? JTAIL.bytes : 0);
  }

  #countTags(at: number): number {
    const journal = this.#journal;
    const end = at + this.#tagsEnd();
    let tags = 0;
    for (let tag = at + JHEADER.bytes; tag + journal.tagBytes <= end;) {
      tags++;
      const flags = tagFlags(journal, tag);
      tag += journal.tagBytes + ((flags & JFLAG_SAME_UUID) !== 0 ? 0 : JUUID_BYTES);
      if ((flags & JFLAG_LAST_TAG) !== 0) break;
    }
    return tags;
  }

  /** csum v1 goes over the descriptor and its data blocks. -1: one of them is not there. */
  #addData(crc: number, at: number, from: number, tags: number): number {
    const journal = this.#journal;
    let sum = crc32be(crc, journal.image.bytes, at, journal.blockSize);
    for (let n = 0; n < tags; n++) {
      const data = journalAt(journal, this.#wrap(from + n));
      if (data < 0) return -1;
      sum = crc32be(sum, journal.image.bytes, data, journal.blockSize);
    }
    return sum;
  }

  #replay(at: number, from: number, tid: number): 0 | Errno {
    const journal = this.#journal;
    const { image } = journal;
    const end = at + this.#tagsEnd();
    let block = from;
    let success: 0 | Errno = 0;
    for (let tag = at + JHEADER.bytes; tag + journal.tagBytes <= end;) {
      const flags = tagFlags(journal, tag);
      const data = block;
      block = this.#wrap(block + 1);
      const home = tagBlock(journal, tag);
      const revokedBy = this.#revoked.get(home);
      if (journalAt(journal, data) < 0) {
        this.#fault(`block ${data} of the journal is not there`);
        success = EFSCORRUPTED;
      } else if (revokedBy !== undefined && !tidLater(tid, revokedBy)) this.result.revokeHits++;
      else if (!tagCsumOk(journal, tag, data, tid)) {
        this.#fault(`the checksum of block ${home} in transaction ${tid} is wrong`);
        success = EFSBADCRC;
      } else if (home >= image.count) {
        this.#fault(`transaction ${tid} has block ${home}, which is not there`);
        success = EIO;
      } else {
        bringHome(journal, data, home, (flags & JFLAG_ESCAPE) !== 0);
        this.result.replayed++;
      }
      tag += journal.tagBytes + ((flags & JFLAG_SAME_UUID) !== 0 ? 0 : JUUID_BYTES);
      if ((flags & JFLAG_LAST_TAG) !== 0) break;
    }
    return success;
  }

  #revoke(at: number, tid: number): 0 | Errno {
    const { image, blockSize, incompat } = this.#journal;
    const { view } = image;
    const used = be32(view, at + JREVOKE.r_count);
    if (used > this.#tagsEnd() || used > blockSize) {
      this.#fault(`a revoke block of transaction ${tid} claims ${used} bytes`);
      return EINVAL;
    }
    const wide = (incompat & JINCOMPAT_64BIT) !== 0;
    const step = wide ? 8 : 4;
    for (let offset = JREVOKE.bytes; offset + step <= used; offset += step) {
      const home = wide ? be64(view, at + offset) : be32(view, at + offset);
      const before = this.#revoked.get(home);
      if (before === undefined || tidLater(tid, before)) this.#revoked.set(home, tid);
      this.result.revokes++;
    }
    return 0;
  }

  #fastCommits(pass: Pass): 0 | Errno {
    const journal = this.#journal;
    if (this.#fastCommit === undefined) return 0;
    let answer = FC_CONTINUE;
    for (let n = journal.fcFirst; n < journal.maxlen && answer === FC_CONTINUE; n++)
      answer = this.#fastCommit.block(pass, journalAt(journal, n), n - journal.fcFirst, this.result.endTid);
    if (pass === Pass.Replay) this.#fastCommit.end();
    return answer < 0 ? (answer as Errno) : 0;
  }
}

/** h_chksum of csum v1; a commit block without any is good, too: the journal was used by a kernel that wrote none. */
function commitCsum1Ok(journal: Journal, at: number, crc: number): boolean {
  const { view } = journal.image;
  const found = be32(view, at + JCOMMIT.h_chksum);
  const type = view.getUint8(at + JCOMMIT.h_chksum_type);
  const size = view.getUint8(at + JCOMMIT.h_chksum_size);
  return (found === crc && type === JCSUM_CRC32 && size === 4) || (found === 0 && type === 0 && size === 0);
}

function bringHome(journal: Journal, data: number, home: number, escaped: boolean): void {
  const { image, blockSize, map } = journal;
  const from = map[data]!;
  if (!escaped && image.shareable(from)) {
    image.point(home, image.where[from]!);
    return;
  }
  const source = image.at(from);
  const to = image.writable(home);
  if (source !== to) image.bytes.copyWithin(to, source, source + blockSize);
  if (escaped) setBe32(image.view, to, JBD2_MAGIC);
}
