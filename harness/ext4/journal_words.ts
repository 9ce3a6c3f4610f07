/**
 * A journal in words, block by block: `orrery ext4 log`.
 *
 * - journalLines(journal, everything, say)   from the tail on, until the log ends and why; or all blocks of the ring as
 *                                       they lie. `say` may name the block of the file system that a copy is of
 * - fastCommitLines(image, sb, journal) the fast-commit area, tag by tag
 */
import {
  ext4InodeLayout,
  FC_ADD_RANGE,
  FC_DEL_RANGE,
  FC_DENTRY,
  FC_HEAD,
  FC_INODE,
  FC_TAG,
  FC_TAIL,
  FC_TL,
  headerType,
  jbd2Layout,
  journalAt,
  tagBlock,
  tagFlags,
  tagLengthOk,
} from "../../kernel/index.ts";
import type { Journal, Super } from "../../kernel/index.ts";
import { be32, be64, le16, le32 } from "../../kernel/lib/bytes.ts";
import { latin } from "./tree.ts";

const { JHEADER, JREVOKE, JCOMMIT, JBD2_MAGIC, JBLOCK_DESCRIPTOR, JBLOCK_COMMIT, JBLOCK_REVOKE } = jbd2Layout;
const { EXTENT, EXTENT_LEN_MAX } = ext4InodeLayout;

export interface JournalLine {
  readonly [column: string]: string | number;
  /** Block of the journal. */
  readonly block: number;
  readonly tid: number | "-";
  readonly kind: string;
  readonly text: string;
}

/** Revoked blocks that one line names. */
const REVOKED_SHOWN = 8;

const FLAGS: readonly (readonly [number, string])[] = [
  [jbd2Layout.JFLAG_ESCAPE, "escaped"],
  [jbd2Layout.JFLAG_DELETED, "deleted"],
];

export function superText(journal: Journal): string {
  const features = [
    journal.csum === 0 ? "no checksums" : `csum v${journal.csum}`,
    ...((journal.incompat & jbd2Layout.JINCOMPAT_64BIT) !== 0 ? ["64bit"] : []),
    ...((journal.incompat & jbd2Layout.JINCOMPAT_REVOKE) !== 0 ? ["revoke"] : []),
    ...((journal.incompat & jbd2Layout.JINCOMPAT_ASYNC_COMMIT) !== 0 ? ["async commit"] : []),
    ...((journal.incompat & jbd2Layout.JINCOMPAT_FAST_COMMIT) !== 0 ? ["fast commit"] : []),
  ];
  const where = journal.start === 0 ? "the log is empty" : `the log starts at block ${journal.start}`;
  return `${journal.maxlen} blocks, log ${journal.first}..${journal.last - 1}; ${where}, next transaction ${journal.sequence}; ${features.join(", ")}`;
}

/** Whether a block looks like one of the journal's own, and of which transaction. */
function* ring(journal: Journal, everything: boolean, say: SayBlock): Generator<JournalLine> {
  const { image, first, last } = journal;
  const wrap = (block: number): number => (block >= last ? block - (last - first) : block);
  let block = everything ? first : journal.start;
  let tid = journal.sequence;
  for (let left = last - first; left > 0; left--) {
    const at = journalAt(journal, block);
    const isOurs = be32(image.view, at + JHEADER.h_magic) === JBD2_MAGIC;
    const found = be32(image.view, at + JHEADER.h_sequence);
    if (everything && !isOurs) {
      block++;
      continue;
    }
    if (!isOurs) {
      yield { block, tid: "-", kind: "end", text: "no magic here: the log ends" };
      return;
    }
    if (!everything && found !== tid) {
      yield { block, tid: found, kind: "end", text: `transaction ${tid} was expected: the log ends` };
      return;
    }
    const type = headerType(journal, at);
    if (type === JBLOCK_DESCRIPTOR) {
      const tags = [...tagLines(journal, at, wrap(block + 1), found, wrap, say)];
      yield { block, tid: found, kind: "descriptor", text: `${tags.length} blocks follow` };
      yield* tags;
      block = wrap(block + tags.length + 1);
      left -= tags.length;
      continue;
    }
    if (type === JBLOCK_COMMIT) {
      yield { block, tid: found, kind: "commit", text: commitText(journal, at) };
      tid = (tid + 1) >>> 0;
    } else if (type === JBLOCK_REVOKE) yield { block, tid: found, kind: "revoke", text: revokeText(journal, at) };
    else {
      yield { block, tid: found, kind: "unknown", text: `type ${type}` };
      if (!everything) return;
    }
    block = everything ? block + 1 : wrap(block + 1);
    if (everything && block >= last) return;
  }
}

function* tagLines(
  journal: Journal,
  at: number,
  from: number,
  tid: number,
  wrap: (block: number) => number,
  say: SayBlock,
): Generator<JournalLine> {
  const end = at + journal.blockSize - (journal.csum >= 2 ? jbd2Layout.JTAIL.bytes : 0);
  let block = from;
  for (let tag = at + JHEADER.bytes; tag + journal.tagBytes <= end;) {
    const flags = tagFlags(journal, tag);
    const words = FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, word]) => `, ${word}`);
    yield { block, tid, kind: "data", text: `${say(tagBlock(journal, tag))}${words.join("")}` };
    block = wrap(block + 1);
    tag += journal.tagBytes + ((flags & jbd2Layout.JFLAG_SAME_UUID) !== 0 ? 0 : jbd2Layout.JUUID_BYTES);
    if ((flags & jbd2Layout.JFLAG_LAST_TAG) !== 0) return;
  }
}

function commitText(journal: Journal, at: number): string {
  const { view } = journal.image;
  const seconds = be64(view, at + JCOMMIT.h_commit_sec);
  const nanos = be32(view, at + JCOMMIT.h_commit_nsec);
  return `committed at ${seconds}.${String(nanos).padStart(9, "0")} s since 1970`;
}

function revokeText(journal: Journal, at: number): string {
  const { view } = journal.image;
  const wide = (journal.incompat & jbd2Layout.JINCOMPAT_64BIT) !== 0;
  const end = Math.min(be32(view, at + JREVOKE.r_count), journal.blockSize);
  const blocks: number[] = [];
  for (let offset = JREVOKE.bytes; offset + (wide ? 8 : 4) <= end; offset += wide ? 8 : 4)
    blocks.push(wide ? be64(view, at + offset) : be32(view, at + offset));
  const more = blocks.length > REVOKED_SHOWN ? ` and ${blocks.length - REVOKED_SHOWN} more` : "";
  return `${blocks.length} revoked: ${blocks.slice(0, REVOKED_SHOWN).join(" ")}${more}`;
}

type SayBlock = (block: number) => string;

const numberOf: SayBlock = (block) => `block ${block} of the file system`;

export function journalLines(journal: Journal, everything: boolean, say: SayBlock = numberOf): JournalLine[] {
  const head: JournalLine = { block: 0, tid: journal.sequence, kind: "superblock", text: superText(journal) };
  return journal.start === 0 && !everything ? [head] : [head, ...ring(journal, everything, say)];
}

const TAG_NAMES = new Map<number, string>(Object.entries(FC_TAG).map(([name, tag]) => [tag, name]));

/** Up to the first block that holds no tags. */
export function fastCommitLines(sb: Super, journal: Journal): JournalLine[] {
  const lines: JournalLine[] = [];
  const { view } = journal.image;
  let tid: number | "-" = "-";
  for (let block = journal.fcFirst; block < journal.maxlen; block++) {
    const at = journalAt(journal, block);
    const end = at + journal.blockSize;
    for (let here = at; here + FC_TL.bytes <= end;) {
      const tag = le16(view, here + FC_TL.fc_tag);
      const length = le16(view, here + FC_TL.fc_len);
      const value = here + FC_TL.bytes;
      if (value + length > end || !tagLengthOk(sb, tag, length)) return lines;
      if (lines.length === 0 && tag !== FC_TAG.HEAD) return lines;
      if (tag === FC_TAG.HEAD) tid = le32(view, value + FC_HEAD.fc_tid);
      lines.push({ block, tid, kind: TAG_NAMES.get(tag) ?? "unknown", text: tagText(journal, tag, value, length) });
      here = value + length;
    }
  }
  return lines;
}

function tagText({ image: { view, bytes } }: Journal, tag: number, value: number, length: number): string {
  switch (tag) {
    case FC_TAG.HEAD:
      return `features 0x${le32(view, value + FC_HEAD.fc_features).toString(16)}`;
    case FC_TAG.TAIL:
      return `of transaction ${le32(view, value + FC_TAIL.fc_tid)}`;
    case FC_TAG.INODE:
      return `inode ${le32(view, value + FC_INODE.fc_ino)}, ${length - FC_INODE.bytes} bytes`;
    case FC_TAG.ADD_RANGE: {
      const extent = value + FC_ADD_RANGE.fc_ex;
      const raw = le16(view, extent + EXTENT.ee_len);
      const [count, word] = raw > EXTENT_LEN_MAX ? [raw - EXTENT_LEN_MAX, ", unwritten"] : [raw, ""];
      const to = le32(view, extent + EXTENT.ee_start_lo) + le16(view, extent + EXTENT.ee_start_hi) * 2 ** 32;
      return `inode ${le32(view, value)}: blocks ${le32(view, extent)}+${count} at ${to}${word}`;
    }
    case FC_TAG.DEL_RANGE:
      return `inode ${le32(view, value)}: blocks ${le32(view, value + FC_DEL_RANGE.fc_lblk)}+${le32(view, value + FC_DEL_RANGE.fc_len)} go`;
    case FC_TAG.CREAT:
    case FC_TAG.LINK:
    case FC_TAG.UNLINK: {
      const name = latin(bytes.subarray(value + FC_DENTRY.bytes, value + length));
      return `"${name}" in directory ${le32(view, value)}, inode ${le32(view, value + FC_DENTRY.fc_ino)}`;
    }
    default:
      return `${length} bytes`;
  }
}
