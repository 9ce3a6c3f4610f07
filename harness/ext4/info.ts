/** What `orrery ext4 info` and `stat` tell: a superblock and an inode as plain fields. */
import { uuidText } from "./mkfs_options.ts";
import {
  blockArea,
  descAt,
  ext4Inode,
  ext4InodeLayout,
  ext4Layout,
  featureNames,
  gdFreeBlocks,
  gdFreeInodes,
  gdUsedDirs,
  ibodyArea,
  inodeHas,
  openJournal,
  readLink,
  walkMap,
  walkXattrs,
  xattrName,
} from "../../kernel/index.ts";
import type { BlockImage, MapVisitor, Super } from "../../kernel/index.ts";
import { le16, le32 } from "../../kernel/lib/bytes.ts";
import type { Found } from "./tree.ts";
import { latin, TYPE_LETTERS } from "./tree.ts";

const { SB, INODE, COMPAT, INCOMPAT, RO_COMPAT, STATE_ERROR, STATE_VALID, S_IFLNK, S_IFMT } = ext4Layout;
/** Extents that stat lists. */
const RUNS_SHOWN = 16;

export type Fields = Readonly<Record<string, string | number | boolean | null>>;

function stateText(state: number): string {
  const words = [(state & STATE_VALID) !== 0 ? "clean" : "not clean"];
  if ((state & STATE_ERROR) !== 0) words.push("with errors");
  return words.join(", ");
}

export function infoOf(image: BlockImage, sb: Super): Fields {
  const { view } = image;
  const at = image.at(sb.superBlock) + sb.superOffset;
  let freeClusters = 0;
  let freeInodes = 0;
  let directories = 0;
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(image, sb, group);
    if (desc < 0) continue;
    freeClusters += gdFreeBlocks(sb, view, desc);
    freeInodes += gdFreeInodes(sb, view, desc);
    directories += gdUsedDirs(sb, view, desc);
  }
  const journal = sb.journalIno === 0 ? undefined : openJournal(image, sb);
  return {
    uuid: uuidText(sb.uuid),
    label: latin(image.bytes.subarray(at + SB.s_volume_name, at + SB.s_volume_name + 16)).replace(/\0.*$/s, ""),
    state: stateText(le16(view, at + SB.s_state)),
    features: [
      ...featureNames(sb.compat, COMPAT),
      ...featureNames(sb.incompat, INCOMPAT),
      ...featureNames(sb.roCompat, RO_COMPAT),
    ].join(" "),
    needsRecovery: (sb.incompat & INCOMPAT.needs_recovery) !== 0,
    readOnlyFor: sb.readOnlyFor.join(" "),
    blockSize: sb.blockSize,
    blocks: sb.blocksCount,
    clusterBlocks: 2 ** sb.clusterBits,
    groups: sb.groups,
    blocksPerGroup: sb.blocksPerGroup,
    inodes: sb.inodesCount,
    inodesPerGroup: sb.inodesPerGroup,
    inodeSize: sb.inodeSize,
    descriptorSize: sb.descSize,
    freeBlocks: freeClusters * 2 ** sb.clusterBits,
    freeInodes,
    directories,
    checksums: sb.metadataCsum ? "crc32c" : sb.gdtCsum ? "crc16 of descriptors" : "none",
    lastOrphan: le32(view, at + SB.s_last_orphan),
    journal:
      journal === undefined
        ? "none"
        : "reason" in journal
          ? `damaged: ${journal.reason}`
          : `inode ${sb.journalIno}, ${journal.maxlen} blocks, ${journal.start === 0 ? "empty" : `log from block ${journal.start}`}, next transaction ${journal.sequence}`,
  };
}

/** Runs of a file in words, the first few of them. */
class Runs implements MapVisitor {
  readonly texts: string[] = [];
  count = 0;
  nodes = 0;

  run(lblk: number, pblk: number, length: number, unwritten: boolean): boolean {
    if (++this.count <= RUNS_SHOWN) this.texts.push(`${lblk}+${length}@${pblk}${unwritten ? " unwritten" : ""}`);
    return true;
  }

  node(): boolean {
    return ++this.nodes < NODES_MAX;
  }

  mapDamage(what: string): void {
    this.texts.push(`damaged: ${what}`);
  }
}
const NODES_MAX = 1 << 16;

const timeText = (image: BlockImage, sb: Super, at: number, field: number, extra: number): string => {
  const seconds = ext4Inode.inodeSeconds(sb, image.view, at, field, extra);
  const nanos = ext4Inode.inodeNanos(sb, image.view, at, extra);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(nanos).padStart(9, "0")}Z`;
};

export function statOf(image: BlockImage, sb: Super, { path, ino, at }: Found): Fields {
  const { view } = image;
  const type = ext4Inode.inodeType(view, at);
  const runs = new Runs();
  if (ext4Inode.hasBlockMap(sb, view, at)) walkMap(image, sb, at, runs);
  const more = runs.count > RUNS_SHOWN ? ` and ${runs.count - RUNS_SHOWN} more` : "";
  const target = type === S_IFLNK ? readLink(image, sb, at) : undefined;
  const hasBirth = inodeHas(sb, view, at, INODE.i_crtime, 4);
  return {
    path,
    inode: ino,
    type: TYPE_LETTERS[type] ?? `0${(type & S_IFMT).toString(8)}`,
    mode: (ext4Inode.inodeMode(view, at) & 0o7777).toString(8),
    links: ext4Inode.inodeLinks(view, at),
    uid: ext4Inode.inodeUid(view, at),
    gid: ext4Inode.inodeGid(view, at),
    size: ext4Inode.inodeSizeBytes(sb, view, at),
    sectors: ext4Inode.inodeSectors(sb, view, at),
    flags: `0x${ext4Inode.inodeFlags(view, at).toString(16)}`,
    generation: ext4Inode.inodeGeneration(view, at),
    modified: timeText(image, sb, at, INODE.i_mtime, INODE.i_mtime_extra),
    changed: timeText(image, sb, at, INODE.i_ctime, INODE.i_ctime_extra),
    accessed: timeText(image, sb, at, INODE.i_atime, INODE.i_atime_extra),
    born: hasBirth ? timeText(image, sb, at, INODE.i_crtime, INODE.i_crtime_extra) : null,
    target: target === undefined || typeof target === "number" ? null : latin(target),
    blocks: `${runs.texts.join(", ")}${more}`,
    attributes: attributesOf(image, sb, at).join(" "),
  };
}

function attributesOf(image: BlockImage, sb: Super, at: number): string[] {
  const names: string[] = [];
  const { XATTR_MAGIC, XATTR_PREFIX } = ext4InodeLayout;
  const block = ext4Inode.inodeFileAcl(sb, image.view, at);
  const blockAt = block === 0 ? -1 : image.at(block);
  const areas = [ibodyArea(image.view, sb, at)];
  if (blockAt >= 0 && le32(image.view, blockAt) === XATTR_MAGIC) areas.push(blockArea(sb, blockAt));
  for (const area of areas)
    if (area !== undefined)
      walkXattrs(image.view, area, (xattr) => {
        names.push(`${XATTR_PREFIX[xattr.index] ?? `${xattr.index}:`}${xattrName(image.bytes, xattr)}`);
        return true;
      });
  return names;
}
