/**
 * A crash state in words: each write of its epoch, what it is to the file system, and whether it survived.
 *
 * - describeState(explorer, segment, set)    verdict and timeline
 * - timelineOf(disk, segment, set)           the timeline alone: of any file system, where `what` may be unknown
 * - rolesOf(image)(write)                    what a write is to the file system, by the image before it: "journal: commit
 *                                            of transaction 7", "inode table: inodes 1..16", "data or map block 300"
 * - roleOf(image, sb, block)                 the same of a block that is not the journal's
 */
import {
  descAt,
  ext4Layout,
  gdBlockBitmap,
  gdInodeBitmap,
  gdInodeTable,
  isRefusal,
  jbd2Layout,
  journalMap,
  readSuper,
} from "../../kernel/index.ts";
import type { BlockImage, Super } from "../../kernel/index.ts";
import { be32 } from "../../kernel/lib/bytes.ts";
import type { CrashDisk } from "./crash_disk.ts";
import type { Explorer } from "./explore.ts";
import { superAt } from "./promises_derived.ts";
import type { LoggedWrite, Segment } from "./recorded.ts";
import { parseSet } from "./state_set.ts";
import type { StateSet } from "./state_set.ts";
import type { Verdict } from "./verdict.ts";

export interface TimelineRow {
  readonly [column: string]: string | number;
  readonly write: number;
  readonly offset: number;
  readonly bytes: number;
  readonly what: string;
  readonly fate: string;
}

export interface DescribedState {
  readonly set: StateSet;
  readonly verdict: Verdict;
  /** Texts of the markers that had been passed. */
  readonly markers: readonly string[];
  readonly timeline: readonly TimelineRow[];
}

/** Behind the crash. */
const NOT_YET = "not yet written";
/** Writes up to the crash, of a timeline. */
export const beforeCrash = (timeline: readonly TimelineRow[]): TimelineRow[] =>
  timeline.filter(({ fate }) => fate !== NOT_YET);
/** Writes that a crash took, of a timeline. */
export const lostOf = (timeline: readonly TimelineRow[]): TimelineRow[] =>
  beforeCrash(timeline).filter(({ fate }) => fate !== "there");

const { JBD2_MAGIC, JHEADER, JBLOCK_COMMIT, JBLOCK_DESCRIPTOR, JBLOCK_REVOKE } = jbd2Layout;

export function describeState(explorer: Explorer, segment: Segment, text: string): DescribedState {
  const { disk, judge, recorded } = explorer;
  const set = parseSet(text, segment.free.length);
  const markers = segment.markers[set.cut]!;
  const timeline = timelineOf(disk, segment, set);
  disk.state(set);
  const verdict = judge.verdict(set.tear !== undefined, markers);
  disk.undo();
  return { set, verdict, markers: recorded.markers.slice(0, markers).map((marker) => marker.text), timeline };
}

/** The disk has entered the segment afterwards. */
export function timelineOf(disk: CrashDisk, segment: Segment, set: StateSet): TimelineRow[] {
  disk.enter(segment);
  const roles = rolesOf(disk.image);
  let free = 0;
  return segment.writes.map((write, at) => {
    const n = segment.forced[at]! ? -1 : free++;
    return {
      write: n < 0 ? write.serial : n,
      offset: write.offset,
      bytes: write.length,
      what: roles(write),
      fate: fateOf(set, n),
    };
  });
}

function fateOf({ kept, tear, cut }: StateSet, n: number): string {
  if (n < 0) return "there";
  if (n >= cut) return NOT_YET;
  if (kept[n] === 0) return "lost";
  if (tear?.write !== n) return "there";
  return tear.head ? `torn: only its first ${tear.bytes} bytes` : `torn: all but its first ${tear.bytes} bytes`;
}

type Written = Pick<LoggedWrite, "offset" | "length" | "data">;

export function rolesOf(image: BlockImage): (write: Written) => string {
  const sb = readSuper(image.view, superAt(image), image.count * image.blockSize);
  if (isRefusal(sb)) return () => "unknown";
  const journal = journalMap(image, sb);
  const inJournal = new Map<number, number>();
  if (journal instanceof Int32Array) for (const [n, block] of journal.entries()) inJournal.set(block, n);
  return (write) => {
    const first = Math.floor(write.offset / sb.blockSize);
    const n = inJournal.get(first);
    if (n !== undefined) return journalRole(write, n, sb.blockSize);
    return roleOf(image, sb, first);
  };
}

function journalRole({ data, length }: Written, n: number, blockSize: number): string {
  if (data === undefined) return `journal block ${n}: zeroes`;
  const blocks = Math.ceil(length / blockSize);
  const more = blocks > 1 ? ` and ${blocks - 1} blocks behind it` : "";
  if (n === 0)
    return `journal: superblock, log from block ${be32(new DataView(data.buffer, data.byteOffset), jbd2Layout.JSB.s_start)}`;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (be32(view, JHEADER.h_magic) !== JBD2_MAGIC) return `journal: copies of ${blocks} block${blocks > 1 ? "s" : ""}`;
  const tid = be32(view, JHEADER.h_sequence);
  const type = be32(view, JHEADER.h_blocktype);
  if (type === JBLOCK_DESCRIPTOR) return `journal: descriptor of transaction ${tid}${more}`;
  if (type === JBLOCK_REVOKE) return `journal: revocations of transaction ${tid}${more}`;
  if (type === JBLOCK_COMMIT) return `journal: commit of transaction ${tid}`;
  return `journal block ${n}`;
}

export function roleOf(image: BlockImage, sb: Super, block: number): string {
  if (block === sb.superBlock) return "superblock";
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(image, sb, group);
    if (desc < 0) continue;
    if (Math.floor(desc / sb.blockSize) === block) return "group descriptors";
    if (gdBlockBitmap(sb, image.view, desc) === block) return `block bitmap of group ${group}`;
    if (gdInodeBitmap(sb, image.view, desc) === block) return `inode bitmap of group ${group}`;
    const table = gdInodeTable(sb, image.view, desc);
    if (block >= table && block < table + sb.itableBlocks) {
      const first = group * sb.inodesPerGroup + (block - table) * sb.inodesPerBlock + 1;
      return `inode table: inodes ${first}..${first + sb.inodesPerBlock - 1}`;
    }
  }
  return blockContent(image, block);
}

/** A directory block starts with an entry that can be; what else is outside the tables is data or a map. */
function blockContent(image: BlockImage, block: number): string {
  const at = image.at(block);
  if (at < 0) return "beyond the file system";
  const { view } = image;
  const recLen = view.getUint16(at + 4, true);
  const nameLen = view.getUint8(at + 6);
  const looksLikeEntry = recLen === 12 && nameLen === 1 && view.getUint8(at + 8) === 0x2e;
  if (looksLikeEntry) return `directory block ${block}`;
  if (view.getUint16(at, true) === ext4Layout.EXT4_MAGIC) return `block ${block}`;
  return `data or map block ${block}`;
}
