import { describe, expect, it } from "vitest";
import { BlockImage } from "../../../../kernel/fs/block_image.ts";
import {
  blockCsumOk,
  isJournalFault,
  loadJournal,
  tagBlock,
  tagCsumOk,
  tagFlags,
} from "../../../../kernel/fs/jbd2/journal.ts";
import type { Journal } from "../../../../kernel/fs/jbd2/journal.ts";
import {
  JBLOCK_DESCRIPTOR,
  JBLOCK_REVOKE,
  JCOMMIT,
  JFLAG_ESCAPE,
  JFLAG_LAST_TAG,
  JFLAG_SAME_UUID,
  JREVOKE,
  JTAIL,
  JUUID_BYTES,
} from "../../../../kernel/fs/jbd2/layout.ts";
import {
  firstRevoke,
  firstTag,
  lastTag,
  putCommit,
  putRevoke,
  putTag,
  revokesPerBlock,
  roomForRevoke,
  roomForTag,
  sealTail,
  startBlock,
  tagCrc,
  tagsPerBlock,
} from "../../../../kernel/fs/jbd2/log_format.ts";
import type { LogFormat } from "../../../../kernel/fs/jbd2/log_format.ts";
import { withFeatures } from "../../../../kernel/fs/jbd2/log_super.ts";
import { journalSuper } from "../../../../fuzz/jbd2_rig.ts";
import { be32, be64 } from "../../../../kernel/lib/bytes.ts";

const SIZE = 1024;
const BLOCKS = 1024;

const FORMS = [0, 1, 2, 3].flatMap((csum) => [false, true].map((wide) => ({ csum: csum as 0 | 1 | 2 | 3, wide })));

/** A journal that is a whole image, for the reader and for the writer. */
function both(features: { readonly csum: 0 | 1 | 2 | 3; readonly wide: boolean }): {
  journal: Journal;
  log: LogFormat;
} {
  const bytes = new Uint8Array(BLOCKS * SIZE);
  bytes.set(withFeatures(journalSuper(1023, 1), features));
  const image = new BlockImage(bytes, SIZE, BLOCKS);
  const journal = loadJournal(
    image,
    Int32Array.from({ length: BLOCKS }, (_, n) => n),
  );
  if (isJournalFault(journal)) throw new Error(journal.reason);
  const { csum, csumSeed, tagBytes } = journal;
  return {
    journal,
    log: { bytes, view: image.view, blockSize: SIZE, csum, csumSeed, tagBytes, wide: features.wide },
  };
}

describe.each(FORMS)("the log as it is written with csum v$csum, 64bit $wide", (form) => {
  it("descriptors: each tag that is put is read back, until the block is full", () => {
    const { journal, log } = both(form);
    const far = form.wide ? 5 * 2 ** 32 + 7 : 7;
    const tid = 4_000_000_000;
    log.bytes.fill(0x5a, 2 * SIZE, 3 * SIZE);
    startBlock(log, SIZE, JBLOCK_DESCRIPTOR, tid);
    const tags: number[] = [];
    let offset = firstTag;
    while (roomForTag(log, offset)) {
      tags.push(offset);
      const crc = tagCrc(log, 2 * SIZE, false, tid);
      offset = putTag(log, SIZE, offset, far + tags.length, tags.length === 2 ? JFLAG_ESCAPE : 0, crc);
    }
    lastTag(log, SIZE, tags.at(-1)!);
    sealTail(log, SIZE);
    expect(tags.length).toBeGreaterThanOrEqual(tagsPerBlock(log));
    expect(tags[1]! - tags[0]!).toBe(log.tagBytes + JUUID_BYTES);
    for (const [n, tag] of tags.entries()) {
      expect(tagBlock(journal, SIZE + tag)).toBe(far + n + 1);
      const flags = (n === 0 ? 0 : JFLAG_SAME_UUID) | (n === 1 ? JFLAG_ESCAPE : 0);
      expect(tagFlags(journal, SIZE + tag)).toBe(n === tags.length - 1 ? flags | JFLAG_LAST_TAG : flags);
      expect(tagCsumOk(journal, SIZE + tag, 2, tid)).toBe(true);
      if (form.csum >= 2) expect(tagCsumOk(journal, SIZE + tag, 2, tid - 1)).toBe(false);
    }
    if (form.csum >= 2) expect(blockCsumOk(journal, 1, SIZE - JTAIL.bytes)).toBe(true);
  });

  it("an escaped block's checksum is that of what lies in the log", () => {
    const { journal, log } = both(form);
    log.bytes.fill(0x5a, 2 * SIZE, 3 * SIZE);
    log.bytes.set([0xc0, 0x3b, 0x39, 0x98], 2 * SIZE);
    startBlock(log, SIZE, JBLOCK_DESCRIPTOR, 9);
    putTag(log, SIZE, firstTag, 3, JFLAG_ESCAPE, tagCrc(log, 2 * SIZE, true, 9));
    log.bytes.fill(0, 2 * SIZE, 2 * SIZE + 4);
    expect(tagCsumOk(journal, SIZE + firstTag, 2, 9)).toBe(true);
  });

  it("revoke blocks hold as many as they say, and commit blocks the time", () => {
    const { journal, log } = both(form);
    startBlock(log, SIZE, JBLOCK_REVOKE, 9);
    let [offset, count] = [firstRevoke, 0];
    while (roomForRevoke(log, offset)) offset = putRevoke(log, SIZE, offset, (form.wide ? 2 ** 33 : 0) + count++);
    sealTail(log, SIZE);
    expect(count).toBe(revokesPerBlock(log));
    expect(be32(log.view, SIZE + JREVOKE.r_count)).toBe(offset);
    const first = SIZE + firstRevoke;
    expect(form.wide ? be64(log.view, first) : be32(log.view, first)).toBe(form.wide ? 2 ** 33 : 0);
    if (form.csum >= 2) expect(blockCsumOk(journal, 1, SIZE - JTAIL.bytes)).toBe(true);
    putCommit(log, 2 * SIZE, 9, 2 ** 33 + 5, 999_999_999, 0x12345678);
    expect(be64(log.view, 2 * SIZE + JCOMMIT.h_commit_sec)).toBe(2 ** 33 + 5);
    expect(be32(log.view, 2 * SIZE + JCOMMIT.h_commit_nsec)).toBe(999_999_999);
    if (form.csum >= 2) expect(blockCsumOk(journal, 2, JCOMMIT.h_chksum)).toBe(true);
    if (form.csum === 1) expect(be32(log.view, 2 * SIZE + JCOMMIT.h_chksum)).toBe(0x12345678);
  });
});
