/** The blocks of real Linux logs, written again by log_format.ts from what they say: the same bytes. */
import { describe, expect, it } from "vitest";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { openJournal } from "../../../../kernel/fs/ext4/recover.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import { headerType, journalAt, tagBlock, tagFlags } from "../../../../kernel/fs/jbd2/journal.ts";
import type { Journal } from "../../../../kernel/fs/jbd2/journal.ts";
import {
  JBD2_MAGIC,
  JBLOCK_COMMIT,
  JBLOCK_DESCRIPTOR,
  JBLOCK_REVOKE,
  JCOMMIT,
  JFLAG_LAST_TAG,
  JFLAG_SAME_UUID,
  JHEADER,
  JINCOMPAT_64BIT,
  JREVOKE,
} from "../../../../kernel/fs/jbd2/layout.ts";
import {
  firstRevoke,
  firstTag,
  lastTag,
  putCommit,
  putRevoke,
  putTag,
  roomForTag,
  sealTail,
  startBlock,
  tagCrc,
} from "../../../../kernel/fs/jbd2/log_format.ts";
import type { LogFormat } from "../../../../kernel/fs/jbd2/log_format.ts";
import { be32, be64 } from "../../../../kernel/lib/bytes.ts";
import { CRASHED, plainImage } from "../../../harness/ext4/crashed.ts";

const SUPER_AT = 1024;

function journalOf(bytes: Uint8Array): Journal {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const view = new DataView(buffer.buffer);
  const sb = readSuper(view, SUPER_AT, bytes.length);
  if (isRefusal(sb)) throw new Error(sb.reason);
  const journal = openJournal(new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb);
  if (!("map" in journal)) throw new Error(journal.reason);
  return journal;
}

/** Writes block n of the log again, at address `to`; the number of log blocks it speaks of, and a marker of its kind. */
function again(journal: Journal, log: LogFormat, n: number, to: number): number {
  const at = journalAt(journal, n);
  const { view } = journal.image;
  const tid = be32(view, at + JHEADER.h_sequence);
  const type = headerType(journal, at);
  if (type === JBLOCK_COMMIT) {
    putCommit(
      log,
      to,
      tid,
      be64(view, at + JCOMMIT.h_commit_sec),
      be32(view, at + JCOMMIT.h_commit_nsec),
      be32(view, at + JCOMMIT.h_chksum),
    );
    return 0;
  }
  startBlock(log, to, type, tid);
  let tags = 0;
  if (type === JBLOCK_REVOKE) {
    const wide = (journal.incompat & JINCOMPAT_64BIT) !== 0;
    const end = be32(view, at + JREVOKE.r_count);
    let offset = firstRevoke;
    for (let from = firstRevoke; from < end; from += wide ? 8 : 4)
      offset = putRevoke(log, to, offset, wide ? be64(view, at + from) : be32(view, at + from));
  } else {
    let [offset, last] = [firstTag, firstTag];
    for (let isLast = false; !isLast; tags++) {
      expect(roomForTag(log, offset)).toBe(true);
      const flags = tagFlags(journal, at + offset);
      expect((flags & JFLAG_SAME_UUID) === 0).toBe(offset === firstTag);
      isLast = (flags & JFLAG_LAST_TAG) !== 0;
      const ring = journal.last - journal.first;
      const data = journal.first + ((n - journal.first + 1 + tags) % ring);
      const crc = tagCrc(log, journalAt(journal, data), false, tid);
      last = offset;
      const own = flags & ~(JFLAG_SAME_UUID | JFLAG_LAST_TAG);
      offset = putTag(log, to, offset, tagBlock(journal, at + offset), own, crc);
    }
    lastTag(log, to, last);
  }
  sealTail(log, to);
  return tags;
}

describe.each(CRASHED.map((one) => [one.name, one] as const))("the log of %s", (_, crashed) => {
  it("is, block by block, what log_format.ts writes", () => {
    const journal = journalOf(plainImage(crashed));
    const { image, blockSize, csum, csumSeed, tagBytes, incompat } = journal;
    const scratch = image.count * blockSize;
    const wide = (incompat & JINCOMPAT_64BIT) !== 0;
    const log: LogFormat = { bytes: image.bytes, view: image.view, blockSize, csum, csumSeed, tagBytes, wide };
    const seen = new Map<number, number>();
    let block = journal.start;
    let tid = journal.sequence;
    for (;;) {
      const at = journalAt(journal, block);
      if (be32(image.view, at) !== JBD2_MAGIC || be32(image.view, at + JHEADER.h_sequence) !== tid) break;
      const type = headerType(journal, at);
      const tags = again(journal, log, block, scratch);
      const [is, was] = [image.bytes.subarray(scratch, scratch + blockSize), image.bytes.subarray(at, at + blockSize)];
      expect(Buffer.compare(is, was), `block ${block} of type ${type}`).toBe(0);
      seen.set(type, (seen.get(type) ?? 0) + 1);
      if (type === JBLOCK_COMMIT) tid = (tid + 1) >>> 0;
      const ring = journal.last - journal.first;
      block = journal.first + ((block - journal.first + 1 + tags) % ring);
    }
    expect(seen.get(JBLOCK_DESCRIPTOR)).toBeGreaterThan(0);
    expect(seen.get(JBLOCK_COMMIT)).toBeGreaterThan(0);
  });
});
