/**
 * Damage of one structure of an image at a time, as chance, bad memory, a lying disk or an attacker would do it: fields at
 * extremes, numbers that point at other structures, loops, contents of other blocks. Most of it gets its checksum made
 * right afterwards, so that it is the structure that has to be looked at, not its checksum.
 *
 * - new DamagedImage(name)          one of the small images, as Linux left it or recovered
 * - damaged.damage(state, kind?)    one piece of damage, in words; `kind` is one of KINDS, else chance
 * - damaged.scratch                 the bytes; restore() undoes
 */
import { be32, le16, setBe16, setBe32, setLe16 } from "../../../kernel/lib/bytes.ts";
import { crc32c } from "../../../kernel/lib/crc32c.ts";
import { nextBelow } from "../../../kernel/lib/prng.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import {
  BlockImage,
  FC_TAG,
  FC_TAIL,
  FC_TL,
  ext4Csum,
  ext4DirLayout,
  ext4Inode,
  ext4InodeLayout,
  ext4Layout,
  isRefusal,
  jbd2Journal,
  jbd2Layout,
  readSuper,
  recover,
} from "../../../kernel/index.ts";
import type { Super } from "../../../kernel/index.ts";
import { HOSTILE } from "./hostile.ts";
import { Scratch } from "./scratch.ts";
import { findSites } from "./sites.ts";
import type { Owned, Sites } from "./sites.ts";
import { smallImage } from "./small_images.ts";
import type { SmallImage } from "./small_images.ts";

const { SB, GD, INODE, SUPER_OFFSET } = ext4Layout;
const { EXTENT, EXTENT_HEADER, XATTR_ENTRY, XATTR_HEADER } = ext4InodeLayout;
const { DIRENT, DX_COUNTLIMIT, DX_ENTRY, DX_NODE_FAKE_BYTES, DX_ROOT_INFO, DX_ROOT_INFO_OFFSET } = ext4DirLayout;
const { JBLOCK_COMMIT, JBLOCK_DESCRIPTOR, JBLOCK_REVOKE, JCOMMIT, JHEADER, JREVOKE, JSB, JTAG, JTAG3, JTAIL } =
  jbd2Layout;

/** Of seven cases one keeps the checksum that it had. */
const UNMENDED_ONE_IN = 7;
/** When the images that are recovered first were recovered. */
const RECOVERED_AT = 1_800_000_000;

type Field = readonly [name: string, offset: number, width: number];

/** Fields of a record with their widths, those of one, two or four bytes. */
function fieldsOf(record: Readonly<Record<string, number>>): Field[] {
  const all = Object.entries(record).filter(([name]) => name !== "bytes");
  return all
    .map(([name, offset], n): Field => [name, offset, (all[n + 1]?.[1] ?? record["bytes"]!) - offset])
    .filter(([, , width]) => width === 1 || width === 2 || width === 4);
}

const SB_FIELDS = fieldsOf(SB);
const GD_FIELDS = fieldsOf(GD);
const INODE_FIELDS = fieldsOf(INODE);
const JSB_FIELDS = fieldsOf(JSB);
const ENTRY_FIELDS = fieldsOf(XATTR_ENTRY);
const HEADER_FIELDS = fieldsOf(XATTR_HEADER);
const ROOT_FIELDS = fieldsOf(DX_ROOT_INFO);

export const KINDS = [
  "super",
  "group",
  "inode",
  "inode map",
  "extent",
  "indirect",
  "directory",
  "htree",
  "xattr",
  "bitmap",
  "orphan",
  "journal super",
  "journal block",
  "journal tag",
  "journal data",
  "fast commit",
  "flip",
  "copy",
  "hostile",
] as const;
export type Kind = (typeof KINDS)[number];

export class DamagedImage {
  readonly name: SmallImage;
  readonly scratch: Scratch;
  readonly sb: Super;
  readonly sites: Sites;

  constructor(name: SmallImage, recovered: boolean) {
    this.name = name;
    this.scratch = new Scratch(recovered ? recoveredBytes(smallImage(name)) : smallImage(name));
    const sb = readSuper(this.scratch.view, SUPER_OFFSET, this.scratch.sizeBytes);
    assert(!isRefusal(sb), "DamagedImage: a small image was refused");
    this.sb = sb;
    this.sites = findSites(new BlockImage(this.scratch.bytes, sb.blockSize, sb.blocksCount), sb);
  }

  damage(state: Int32Array, kind: Kind = pick(state, KINDS)): string {
    const mend = nextBelow(state, UNMENDED_ONE_IN) !== 0;
    return `${this.name}: ${kind}: ${DAMAGE[kind](this, state, mend) ?? "nothing of the kind"}`;
  }
}

export function recoveredBytes(bytes: Uint8Array): Uint8Array {
  const { bytes: buffer, view } = new Scratch(bytes);
  const sb = readSuper(view, SUPER_OFFSET, bytes.length);
  assert(!isRefusal(sb), "recoveredBytes: the image was refused");
  const image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
  const done = recover(image, sb, { policy: "e2fsck", now: RECOVERED_AT });
  assert(!isRefusal(done) && done.damage.length === 0, "recoveredBytes: the image is damaged");
  image.settle();
  return buffer.slice(0, bytes.length);
}

const pick = <T>(state: Int32Array, from: readonly T[]): T => from[nextBelow(state, from.length)]!;
const maybe = <T>(state: Int32Array, from: readonly T[]): T | undefined =>
  from.length === 0 ? undefined : pick(state, from);

/** A number in place of `old`: what tends to be forgotten. */
function wild({ sb, sites }: DamagedImage, state: Int32Array, width: number, old: number): number {
  const all = 2 ** (8 * width) - 1;
  const block = (): number =>
    maybe(state, [...sites.dirBlocks, ...sites.extentNodes, ...sites.indirectBlocks, ...sites.hashNodes])?.block ??
    nextBelow(state, sb.blocksCount);
  switch (nextBelow(state, 14)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return all;
    case 3:
      return (all >>> 1) + nextBelow(state, 2);
    case 4:
      return old + 1;
    case 5:
      return old - 1;
    case 6:
    case 7:
      return old ^ (1 << nextBelow(state, 8 * width));
    case 8:
      return block();
    case 9:
      return pick(state, sites.inodes).ino;
    case 10:
      return sb.blocksCount + nextBelow(state, 3) - 1;
    case 11:
      return old * 2;
    case 12:
      return nextBelow(state, 300);
    default:
      return nextBelow(state, 2 ** 32);
  }
}

/** Changes one number; tells what. */
function change(
  damaged: DamagedImage,
  state: Int32Array,
  what: string,
  at: number,
  width: number,
  bigEndian = false,
): string {
  const { scratch } = damaged;
  const view = scratch.view;
  if (width === 1) {
    const old = scratch.get(at, 1);
    scratch.set(at, 1, wild(damaged, state, 1, old));
    return `${what} ${old} -> ${scratch.get(at, 1)}`;
  }
  if (bigEndian) {
    const old = width === 2 ? view.getUint16(at) : view.getUint32(at);
    scratch.be(at, width === 2 ? 2 : 4, wild(damaged, state, width, old));
    return `${what} ${old} -> ${width === 2 ? view.getUint16(at) : view.getUint32(at)}`;
  }
  const w = width === 2 ? 2 : 4;
  const old = scratch.get(at, w);
  scratch.set(at, w, wild(damaged, state, width, old));
  return `${what} ${old} -> ${scratch.get(at, w)}`;
}

const changeField = (
  damaged: DamagedImage,
  state: Int32Array,
  fields: readonly Field[],
  base: number,
  bigEndian = false,
): string => {
  const [name, offset, width] = pick(state, fields);
  return change(damaged, state, name, base + offset, width, bigEndian);
};

type Doer = (damaged: DamagedImage, state: Int32Array, mend: boolean) => string | undefined;

function mendInode({ scratch, sb }: DamagedImage, ino: number, at: number): void {
  scratch.keep(at, sb.inodeSize);
  ext4Csum.setInodeChecksum(sb, scratch.bytes, scratch.view, at, ino);
}

const seedOf = ({ scratch, sb }: DamagedImage, { ino, inode }: Owned): number =>
  ext4Csum.inodeSeed(sb, ino, ext4Inode.inodeGeneration(scratch.view, inode));

function mendExtentNode(damaged: DamagedImage, owned: Owned): void {
  const { scratch, sb } = damaged;
  scratch.keep(owned.at, sb.blockSize);
  if (ext4Csum.extentTailOffset(scratch.view, owned.at) + 4 <= sb.blockSize)
    ext4Csum.setExtentChecksum(sb, seedOf(damaged, owned), scratch.bytes, scratch.view, owned.at);
}

/** Header or an entry of a node with extents or indexes. */
function extentFields(damaged: DamagedImage, state: Int32Array, at: number): string {
  const { view } = damaged.scratch;
  if (nextBelow(state, 3) === 0)
    return changeField(
      damaged,
      state,
      fieldsOf(EXTENT_HEADER).filter(([, , width]) => width === 2),
      at,
    );
  const entries = Math.max(1, Math.min(le16(view, at + EXTENT_HEADER.eh_entries), 80));
  const entry = at + EXTENT_HEADER.bytes + EXTENT.bytes * nextBelow(state, entries);
  const name = le16(view, at + EXTENT_HEADER.eh_depth) === 0 ? "extent" : "index";
  const [offset, width] = pick(state, [
    [0, 4],
    [4, 4],
    [4, 2],
    [6, 2],
    [8, 4],
    [8, 2],
  ] as const);
  return change(damaged, state, `${name} byte ${offset}`, entry + offset, width);
}

function mendLog({ scratch, sites }: DamagedImage, n: number, at: number, type: number): void {
  const { journal } = sites;
  if (journal === undefined || journal.csum < 2) return;
  const offset = type === JBLOCK_COMMIT ? JCOMMIT.h_chksum : journal.blockSize - JTAIL.bytes;
  assert(n < journal.maxlen, "mendLog: no such block");
  scratch.keep(at, journal.blockSize);
  setBe32(scratch.view, at + offset, 0);
  setBe32(scratch.view, at + offset, crc32c(journal.csumSeed, scratch.bytes, at, journal.blockSize));
}

const DAMAGE: Readonly<Record<Kind, Doer>> = {
  super(damaged, state, mend) {
    const { scratch, sb } = damaged;
    const what = changeField(damaged, state, SB_FIELDS, SUPER_OFFSET);
    scratch.keep(SUPER_OFFSET, SB.bytes);
    if (mend) ext4Csum.setSuperChecksum(sb, scratch.bytes, scratch.view, SUPER_OFFSET);
    return what;
  },

  group(damaged, state, mend) {
    const { scratch, sb, sites } = damaged;
    const group = nextBelow(state, sb.groups);
    const { at } = sites.groups[group]!;
    const fields = GD_FIELDS.filter(([, offset]) => offset < sb.descSize);
    const what = changeField(damaged, state, fields, at);
    scratch.keep(at, sb.descSize);
    if (mend) ext4Csum.setGroupChecksum(sb, scratch.bytes, scratch.view, at, group);
    return `${group}: ${what}`;
  },

  inode(damaged, state, mend) {
    const { ino, at } = pick(state, damaged.sites.inodes);
    const what = changeField(
      damaged,
      state,
      INODE_FIELDS.filter(([, offset]) => offset < damaged.sb.inodeSize),
      at,
    );
    if (mend) mendInode(damaged, ino, at);
    return `${ino}: ${what}`;
  },

  "inode map"(damaged, state, mend) {
    const { scratch } = damaged;
    const { ino, at } = pick(state, damaged.sites.inodes);
    const hasExtents = (ext4Inode.inodeFlags(scratch.view, at) & ext4Layout.INODE_FLAG.extents) !== 0;
    const slot = nextBelow(state, 15);
    const what = hasExtents
      ? extentFields(damaged, state, at + INODE.i_block)
      : change(damaged, state, `i_block ${slot}`, at + INODE.i_block + 4 * slot, 4);
    if (mend) mendInode(damaged, ino, at);
    return `${ino}: ${what}`;
  },

  extent(damaged, state, mend) {
    const node = maybe(state, damaged.sites.extentNodes);
    if (node === undefined) return undefined;
    const what = extentFields(damaged, state, node.at);
    if (mend) mendExtentNode(damaged, node);
    return `${node.ino}, block ${node.block}: ${what}`;
  },

  indirect(damaged, state) {
    const node = maybe(state, damaged.sites.indirectBlocks);
    if (node === undefined) return undefined;
    const slot = nextBelow(state, damaged.sb.blockSize / 4);
    if (nextBelow(state, 4) > 0)
      return `${node.ino}, block ${node.block}: ${change(damaged, state, `slot ${slot}`, node.at + 4 * slot, 4)}`;
    // All of it leads to itself or to one block.
    const to = nextBelow(state, 2) === 0 ? node.block : nextBelow(state, damaged.sb.blocksCount);
    for (let at = node.at; at < node.at + damaged.sb.blockSize; at += 4) damaged.scratch.set(at, 4, to);
    return `${node.ino}, block ${node.block}: every slot is ${to}`;
  },

  directory(damaged, state, mend) {
    const { scratch, sb, sites } = damaged;
    const owned = maybe(state, sites.dirBlocks);
    if (owned === undefined) return undefined;
    const entries: number[] = [];
    for (let at = owned.at; at < owned.at + sb.blockSize - DIRENT.bytes;) {
      const length = le16(scratch.view, at + DIRENT.rec_len);
      entries.push(at);
      if (length < DIRENT.bytes) break;
      at += length;
    }
    const at = pick(state, entries);
    let what: string;
    if (nextBelow(state, 3) === 0) {
      // Another directory, often one above: a loop.
      const ino = pick(state, sites.directories);
      scratch.set(at + DIRENT.inode, 4, ino);
      what = `an entry names directory ${ino}`;
    } else if (nextBelow(state, 4) === 0) {
      const length = Math.max(1, scratch.get(at + DIRENT.name_len, 1));
      const byte = at + DIRENT.bytes + nextBelow(state, length);
      scratch.set(byte, 1, pick(state, [0, 0x2f, 0x2e, nextBelow(state, 256)]));
      what = "a byte of a name";
    } else what = changeField(damaged, state, fieldsOf(DIRENT), at);
    scratch.keep(owned.at, sb.blockSize);
    if (mend) ext4Csum.setDirLeafChecksum(sb, seedOf(damaged, owned), scratch.bytes, scratch.view, owned.at);
    return `${owned.ino}, block ${owned.block}, byte ${at - owned.at}: ${what}`;
  },

  htree(damaged, state, mend) {
    const { scratch, sb } = damaged;
    const node = maybe(state, damaged.sites.hashNodes);
    if (node === undefined) return undefined;
    const offset = node.root ? DX_ROOT_INFO_OFFSET + DX_ROOT_INFO.bytes : DX_NODE_FAKE_BYTES;
    const limit = scratch.get(node.at + offset + DX_COUNTLIMIT.limit, 2);
    let what: string;
    const choice = nextBelow(state, 4);
    if (choice === 0 && node.root) what = changeField(damaged, state, ROOT_FIELDS, node.at + DX_ROOT_INFO_OFFSET);
    else if (choice === 1) what = changeField(damaged, state, fieldsOf(DX_COUNTLIMIT), node.at + offset);
    else {
      const count = Math.max(1, scratch.get(node.at + offset + DX_COUNTLIMIT.count, 2));
      const entry = node.at + offset + DX_ENTRY.bytes * nextBelow(state, Math.min(count, 50));
      what = change(damaged, state, "an index entry", entry + pick(state, [DX_ENTRY.hash, DX_ENTRY.block]), 4);
    }
    scratch.keep(node.at, sb.blockSize);
    const same = scratch.get(node.at + offset + DX_COUNTLIMIT.limit, 2) === limit;
    if (mend && same && scratch.get(node.at + offset + DX_COUNTLIMIT.count, 2) <= limit)
      ext4Csum.setDxChecksum(sb, seedOf(damaged, node), scratch.bytes, scratch.view, node.at, offset);
    return `${node.ino}, block ${node.block}: ${what}`;
  },

  xattr(damaged, state, mend) {
    const { scratch, sb } = damaged;
    const owned = maybe(state, damaged.sites.xattrs);
    if (owned === undefined) return undefined;
    const inHeader = owned.block > 0 && nextBelow(state, 3) === 0;
    const what = inHeader
      ? changeField(damaged, state, HEADER_FIELDS, owned.at)
      : changeField(damaged, state, ENTRY_FIELDS, owned.entry);
    if (mend && owned.block > 0) {
      scratch.keep(owned.at, sb.blockSize);
      ext4Csum.setXattrBlockChecksum(sb, scratch.bytes, scratch.view, owned.at, owned.block);
    } else if (mend) mendInode(damaged, owned.ino, owned.inode);
    return `${owned.ino}, ${owned.block > 0 ? `block ${owned.block}` : "inside"}: ${what}`;
  },

  bitmap(damaged, state, mend) {
    const { scratch, sb, sites } = damaged;
    const group = nextBelow(state, sb.groups);
    const { at, blockBitmap, inodeBitmap } = sites.groups[group]!;
    const isBlocks = nextBelow(state, 2) === 0;
    const bits = isBlocks ? sb.clustersPerGroup : sb.inodesPerGroup;
    const from = (isBlocks ? blockBitmap : inodeBitmap) * sb.blockSize;
    const bit = nextBelow(state, bits);
    scratch.set(from + (bit >> 3), 1, scratch.get(from + (bit >> 3), 1) ^ (1 << (bit & 7)));
    if (mend && sb.metadataCsum) {
      const crc = ext4Csum.bitmapChecksum(sb, scratch.bytes, from, bits);
      scratch.keep(at, sb.descSize);
      setLe16(scratch.view, at + (isBlocks ? GD.bg_block_bitmap_csum_lo : GD.bg_inode_bitmap_csum_lo), crc & 0xffff);
      if (sb.has64bit)
        setLe16(scratch.view, at + (isBlocks ? GD.bg_block_bitmap_csum_hi : GD.bg_inode_bitmap_csum_hi), crc >>> 16);
      ext4Csum.setGroupChecksum(sb, scratch.bytes, scratch.view, at, group);
    }
    return `group ${group}: bit ${bit} of the ${isBlocks ? "block" : "inode"} bitmap`;
  },

  orphan(damaged, state, mend) {
    const { scratch, sb, sites } = damaged;
    const block = maybe(state, sites.orphanBlocks);
    const ino = nextBelow(state, 4) === 0 ? wild(damaged, state, 4, 0) : pick(state, sites.inodes).ino;
    if (block !== undefined && nextBelow(state, 2) === 0) {
      scratch.set(block.at + 4 * nextBelow(state, 8), 4, ino);
      scratch.keep(block.at, sb.blockSize);
      if (mend)
        ext4Csum.setOrphanBlockChecksum(sb, seedOf(damaged, block), scratch.bytes, scratch.view, block.at, block.block);
      return `the orphan file names ${ino}`;
    }
    scratch.set(SUPER_OFFSET + SB.s_last_orphan, 4, ino);
    let what = `the list starts at ${ino}`;
    const here = sites.inodes.find((inode) => inode.ino === ino);
    if (here !== undefined) {
      const next = pick(state, sites.inodes).ino;
      scratch.set(here.at + INODE.i_dtime, 4, nextBelow(state, 2) === 0 ? next : ino);
      if (nextBelow(state, 2) === 0) scratch.set(here.at + INODE.i_links_count, 2, 0);
      mendInode(damaged, ino, here.at);
      what += ` and goes on to ${scratch.get(here.at + INODE.i_dtime, 4)}`;
    }
    scratch.keep(SUPER_OFFSET, SB.bytes);
    if (mend) ext4Csum.setSuperChecksum(sb, scratch.bytes, scratch.view, SUPER_OFFSET);
    return what;
  },

  "journal super"(damaged, state, mend) {
    const { scratch, sites } = damaged;
    if (sites.journal === undefined) return undefined;
    const at = sites.journal.map[0]! * damaged.sb.blockSize;
    const what = changeField(damaged, state, JSB_FIELDS, at, true);
    scratch.keep(at, JSB.bytes);
    if (mend) jbd2Journal.setSuperCsum(sites.journal, at);
    return what;
  },

  "journal block"(damaged, state, mend) {
    const block = maybe(state, damaged.sites.logBlocks);
    if (block === undefined) return undefined;
    const { n, at, type } = block;
    const what =
      type === JBLOCK_REVOKE && nextBelow(state, 2) === 0
        ? change(damaged, state, "revoke block", at + pick(state, [JREVOKE.r_count, JREVOKE.bytes]), 4, true)
        : nextBelow(state, 2) === 0
          ? changeField(damaged, state, fieldsOf(JHEADER), at, true)
          : change(damaged, state, "a word", at + 4 * nextBelow(state, 40), 4, true);
    if (mend) mendLog(damaged, n, at, be32(damaged.scratch.view, at + JHEADER.h_blocktype));
    return `${n} of type ${type}: ${what}`;
  },

  "journal tag"(damaged, state, mend) {
    const { sites } = damaged;
    const tag = maybe(state, sites.tags);
    if (tag === undefined) return undefined;
    const v3 = sites.journal!.csum === 3;
    const [name, offset, width] = v3
      ? pick(state, fieldsOf(JTAG3))
      : pick(
          state,
          fieldsOf(JTAG).filter(([, at]) => at < sites.journal!.tagBytes),
        );
    const what = change(damaged, state, name, tag.at + offset, width, true);
    const at = sites.journal!.map[tag.descriptor]! * damaged.sb.blockSize;
    if (mend) mendLog(damaged, tag.descriptor, at, JBLOCK_DESCRIPTOR);
    return `descriptor ${tag.descriptor}: ${what}`;
  },

  "journal data"(damaged, state, mend) {
    const { scratch, sites, sb } = damaged;
    const tag = maybe(state, sites.tags);
    const journal = sites.journal;
    if (tag === undefined || journal === undefined) return undefined;
    const from = journal.map[tag.data]! * sb.blockSize;
    const what = change(damaged, state, "a word", from + 4 * nextBelow(state, sb.blockSize / 4), 4);
    if (mend && journal.csum >= 2) {
      const image = new BlockImage(scratch.bytes, sb.blockSize, sb.blocksCount);
      const crc = jbd2Journal.dataCsum({ ...journal, image }, tag.data, tag.sequence);
      scratch.keep(tag.at, journal.tagBytes);
      if (journal.csum === 3) setBe32(scratch.view, tag.at + JTAG3.t_checksum, crc);
      else setBe16(scratch.view, tag.at + JTAG.t_checksum, crc & 0xffff);
      const at = journal.map[tag.descriptor]! * sb.blockSize;
      mendLog(damaged, tag.descriptor, at, JBLOCK_DESCRIPTOR);
    }
    return `of descriptor ${tag.descriptor}: ${what}`;
  },

  "fast commit"(damaged, state, mend) {
    const { scratch, sites } = damaged;
    const found = maybe(state, sites.fastTags);
    if (found === undefined) return undefined;
    const value = found.at + FC_TL.bytes;
    const what =
      nextBelow(state, 4) === 0
        ? changeField(damaged, state, fieldsOf(FC_TL), found.at)
        : change(damaged, state, "a word", value + 4 * nextBelow(state, Math.max(1, found.length >> 2)), 4);
    if (mend) mendFastCommits(scratch, sites);
    return `tag ${found.tag}: ${what}`;
  },

  flip({ scratch }, state) {
    const at = nextBelow(state, scratch.sizeBytes);
    scratch.set(at, 1, scratch.get(at, 1) ^ (1 << nextBelow(state, 8)));
    return `a bit of byte ${at}`;
  },

  copy(damaged, state) {
    const { scratch, sb, sites } = damaged;
    const known = [...sites.dirBlocks, ...sites.extentNodes, ...sites.indirectBlocks, ...sites.hashNodes];
    const from = maybe(state, known)?.block ?? nextBelow(state, sb.blocksCount);
    const to = maybe(state, known)?.block ?? nextBelow(state, sb.blocksCount);
    scratch.keep(to * sb.blockSize, sb.blockSize);
    scratch.bytes.copyWithin(to * sb.blockSize, from * sb.blockSize, (from + 1) * sb.blockSize);
    return `block ${from} lies at ${to}, too`;
  },

  hostile: (damaged, state) => pick(state, HOSTILE)(damaged, state),
};

/** The checksum in each TAIL, over the tags since the one before, as far as lengths still lead from tag to tag. */
function mendFastCommits(scratch: Scratch, { fastTags }: Sites): void {
  let crc = 0;
  for (const { at, tag, length } of fastTags) {
    if (tag !== FC_TAG.TAIL) {
      crc = crc32c(crc, scratch.bytes, at, FC_TL.bytes + length);
      continue;
    }
    crc = crc32c(crc, scratch.bytes, at, FC_TL.bytes + FC_TAIL.fc_crc);
    scratch.set(at + FC_TL.bytes + FC_TAIL.fc_crc, 4, crc);
    crc = 0;
  }
}
