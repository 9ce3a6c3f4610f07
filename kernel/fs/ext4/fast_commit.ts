/**
 * Fast commits: between two full commits ext4 may write what changed as short records behind the log, in the blocks
 * after it; little-endian, unlike the log. Replayed after the log, if they follow its last transaction.
 *
 *   block | tag len value | tag len value | ... | PAD ... |     one fast commit is HEAD ... TAIL, later ones go on behind
 *
 *   HEAD       | fc_features 4 | fc_tid 4 |                      starts the area
 *   INODE      | fc_ino 4 | the inode, as long as its fields reach |
 *   ADD_RANGE  | fc_ino 4 | an extent, 12 bytes |                DEL_RANGE | fc_ino 4 | fc_lblk 4 | fc_len 4 |
 *   CREAT, LINK, UNLINK | fc_parent_ino 4 | fc_ino 4 | name |    PAD | filling |
 *   TAIL       | fc_tid 4 | fc_crc 4 | filling |                 crc32c of all since HEAD or the TAIL before
 *
 * - new FastCommits(image, sb)   jbd2's replay brings it the blocks (../jbd2/recovery.ts)
 * - replayed, touched                    tags done; inodes whose counts and blocks have to be mended (mend.ts)
 *
 * Records are facts, not steps: each may be found done already. Bitmaps and counters are not in them.
 */
import { ECANCELED, EFSBADCRC, EFSCORRUPTED, EOPNOTSUPP } from "../../abi/errno.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { record } from "../../lib/record.ts";
import type { BlockImage } from "../block_image.ts";
import { FC_CONTINUE, FC_STOP, Pass } from "../jbd2/recovery.ts";
import type { FastCommitReplay } from "../jbd2/recovery.ts";
import { inodeSeed, setInodeChecksum } from "./csum.ts";
import { initDirBlock } from "./dir_block.ts";
import { addName, removeName } from "./dir_replay.ts";
import { lookup } from "./dir.ts";
import { extentLength, extentStart, extentUnwritten } from "./extent.ts";
import type { Mapped } from "./extent.ts";
import { putRange, readExtents, writeExtents } from "./extent_list.ts";
import type { ExtentTree } from "./extent_list.ts";
import { mapBlock } from "./file.ts";
import { GroupEdit } from "./group_edit.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeGeneration, inodeLinks, inodeSizeBytes, inodeType } from "./inode.ts";
import {
  GOOD_OLD_INODE_SIZE,
  INCOMPAT,
  INODE,
  INODE_FLAG,
  I_BLOCK_BYTES,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from "./layout.ts";
import { DIRENT, FT_BLK, FT_CHR, FT_DIR, FT_FIFO, FT_LNK, FT_REG, FT_SOCK, NAME_MAX } from "./layout_dir.ts";
import { EXTENT, EXTENT_HEADER, EXTENT_MAGIC } from "./layout_inode.ts";
import { writableInode } from "./orphan.ts";
import type { Super } from "./super.ts";

export const FC_TL = record(4, { fc_tag: 2, fc_len: 2 });
export const FC_TAG = {
  ADD_RANGE: 1,
  DEL_RANGE: 2,
  CREAT: 3,
  LINK: 4,
  UNLINK: 5,
  INODE: 6,
  PAD: 7,
  TAIL: 8,
  HEAD: 9,
} as const;
export const FC_HEAD = record(8, { fc_features: 4, fc_tid: 4 });
export const FC_ADD_RANGE = record(16, { fc_ino: 4, fc_ex: 12 });
export const FC_DEL_RANGE = record(12, { fc_ino: 4, fc_lblk: 4, fc_len: 4 });
/** The name follows. */
export const FC_DENTRY = record(8, { fc_parent_ino: 4, fc_ino: 4 });
/** The inode follows. */
export const FC_INODE = record(4, { fc_ino: 4 });
export const FC_TAIL = record(8, { fc_tid: 4, fc_crc: 4 });

const FILE_TYPES: Readonly<Record<number, number>> = {
  [S_IFREG]: FT_REG,
  [S_IFDIR]: FT_DIR,
  [S_IFCHR]: FT_CHR,
  [S_IFBLK]: FT_BLK,
  [S_IFIFO]: FT_FIFO,
  [S_IFSOCK]: FT_SOCK,
  [S_IFLNK]: FT_LNK,
};

export function tagLengthOk(sb: Super, tag: number, length: number): boolean {
  switch (tag) {
    case FC_TAG.ADD_RANGE:
      return length === FC_ADD_RANGE.bytes;
    case FC_TAG.DEL_RANGE:
      return length === FC_DEL_RANGE.bytes;
    case FC_TAG.CREAT:
    case FC_TAG.LINK:
    case FC_TAG.UNLINK:
      return length > FC_DENTRY.bytes && length <= FC_DENTRY.bytes + NAME_MAX;
    case FC_TAG.INODE:
      return length >= FC_INODE.bytes + GOOD_OLD_INODE_SIZE && length <= FC_INODE.bytes + sb.inodeSize;
    case FC_TAG.PAD:
      return true;
    case FC_TAG.TAIL:
      return length >= FC_TAIL.bytes;
    case FC_TAG.HEAD:
      return length === FC_HEAD.bytes;
    default:
      return false;
  }
}

export class FastCommits implements FastCommitReplay {
  /** Tags that were carried out, and inodes that they changed. */
  replayed = 0;
  readonly touched = new Set<number>();
  /** Inodes that lost a name: without any, they go. */
  readonly unlinked = new Set<number>();
  readonly #image: BlockImage;
  readonly #sb: Super;
  readonly #edit: GroupEdit;
  /** Tags up to the last good TAIL, and those that were seen. */
  #valid = 0;
  #seen = 0;
  #crc = 0;
  /** Ranges that the tags map: nothing else may be put there. */
  readonly #regions: (readonly [pblk: number, length: number])[] = [];
  /** Cluster -> 1 when a tag maps it; made when a block is first looked for. */
  #reserved: Uint8Array | undefined;
  #tree: ExtentTree | undefined;
  #treeIno = 0;
  /** Where the search for free blocks goes on. */
  #goal = 0;

  constructor(image: BlockImage, sb: Super) {
    this.#image = image;
    this.#sb = sb;
    this.#edit = new GroupEdit(image, sb);
    this.#goal = sb.firstDataBlock;
  }

  block(pass: Pass, at: number, index: number, expected: number): number {
    if (at < 0) return pass === Pass.Scan && this.#valid === 0 && index > 0 ? EFSCORRUPTED : FC_STOP;
    return pass === Pass.Scan ? this.#scan(at, index, expected) : this.#replay(at);
  }

  #scan(at: number, index: number, expected: number): number {
    const [{ view, bytes }, sb] = [this.#image, this.#sb];
    if (index === 0) {
      this.#valid = 0;
      this.#seen = 0;
      this.#crc = 0;
      if (le16(view, at + FC_TL.fc_tag) !== FC_TAG.HEAD) return FC_STOP;
    }
    const end = at + sb.blockSize;
    for (let here = at; here + FC_TL.bytes <= end;) {
      const tag = le16(view, here + FC_TL.fc_tag);
      const length = le16(view, here + FC_TL.fc_len);
      const value = here + FC_TL.bytes;
      if (value + length > end || !tagLengthOk(sb, tag, length)) return this.#valid > 0 ? FC_STOP : ECANCELED;
      if (tag === FC_TAG.HEAD) {
        if (le32(view, value + FC_HEAD.fc_features) !== 0) return EOPNOTSUPP;
        if (le32(view, value + FC_HEAD.fc_tid) !== expected) return FC_STOP;
      }
      if (tag === FC_TAG.ADD_RANGE) {
        const extent = value + FC_ADD_RANGE.fc_ex;
        this.#regions.push([extentStart(view, extent), extentLength(view, extent)]);
      }
      this.#seen++;
      const covered = tag === FC_TAG.TAIL ? FC_TAIL.fc_crc : length;
      this.#crc = crc32c(this.#crc, bytes, here, FC_TL.bytes + covered);
      if (tag === FC_TAG.TAIL) {
        const isGood =
          le32(view, value + FC_TAIL.fc_tid) === expected && le32(view, value + FC_TAIL.fc_crc) === this.#crc;
        if (!isGood) return this.#valid > 0 ? FC_STOP : EFSBADCRC;
        this.#valid = this.#seen;
        this.#crc = 0;
      }
      here = value + length;
    }
    return FC_CONTINUE;
  }

  #replay(at: number): number {
    const [{ view }, sb] = [this.#image, this.#sb];
    const end = at + sb.blockSize;
    for (let here = at; here + FC_TL.bytes <= end;) {
      if (this.replayed >= this.#valid) return FC_STOP;
      const tag = le16(view, here + FC_TL.fc_tag);
      const length = le16(view, here + FC_TL.fc_len);
      const value = here + FC_TL.bytes;
      // The journal's own replay may have changed what was scanned, if it was made to.
      if (value + length > end || !tagLengthOk(sb, tag, length)) return EFSCORRUPTED;
      this.replayed++;
      if (tag === FC_TAG.ADD_RANGE || tag === FC_TAG.DEL_RANGE) this.#range(tag, value);
      else if (tag === FC_TAG.INODE) this.#inode(value, length);
      else if (tag === FC_TAG.CREAT || tag === FC_TAG.LINK || tag === FC_TAG.UNLINK) this.#name(tag, value, length);
      here = value + length;
    }
    return FC_CONTINUE;
  }

  end(): void {
    this.#flush(0);
    this.#edit.finish();
  }

  /** Writes the extents that were gathered back, unless they are those of the inode that comes next. */
  #flush(next: number): void {
    const tree = this.#tree;
    const ino = this.#treeIno;
    if (tree === undefined || ino === next) return;
    this.#tree = undefined;
    this.#treeIno = 0;
    const [image, sb] = [this.#image, this.#sb];
    const at = writableInode(image, sb, ino);
    if (at < 0) return;
    const seed = inodeSeed(sb, ino, inodeGeneration(image.view, at));
    writeExtents(image, sb, at, seed, tree, () => this.#take());
    setInodeChecksum(sb, image.bytes, image.view, at, ino);
  }

  /** A block that nobody uses and no tag names; -1 when there is none. */
  #take(): number {
    const sb = this.#sb;
    const step = 2 ** sb.clusterBits;
    this.#reserved ??= this.#reserve();
    for (let block = this.#goal; block < sb.blocksCount; block += step) {
      if (
        this.#reserved[Math.floor(block / step)] !== 0 ||
        !this.#edit.isClusterFree(block) ||
        !this.#edit.takeClusterOf(block)
      )
        continue;
      this.#goal = block + step;
      return block;
    }
    return -1;
  }

  #reserve(): Uint8Array {
    const step = 2 ** this.#sb.clusterBits;
    const marks = new Uint8Array(Math.ceil(this.#sb.blocksCount / step));
    for (const [from, length] of this.#regions)
      marks.fill(1, Math.floor(from / step), Math.ceil((from + length) / step));
    return marks;
  }

  #range(tag: number, value: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const ino = le32(view, value + FC_ADD_RANGE.fc_ino);
    this.#flush(ino);
    const at = inodeAt(image, sb, ino);
    if (at < 0 || (inodeFlags(view, at) & INODE_FLAG.extents) === 0) return;
    this.touched.add(ino);
    if (this.#tree === undefined) {
      this.#tree = readExtents(image, sb, at);
      this.#treeIno = ino;
    }
    if (tag === FC_TAG.DEL_RANGE) {
      const [lblk, length] = [le32(view, value + FC_DEL_RANGE.fc_lblk), le32(view, value + FC_DEL_RANGE.fc_len)];
      putRange(this.#tree, { lblk, pblk: 0, length, unwritten: false });
      return;
    }
    const extent = value + FC_ADD_RANGE.fc_ex;
    const [pblk, length] = [extentStart(view, extent), extentLength(view, extent)];
    if (length === 0 || pblk <= sb.firstDataBlock || pblk + length > sb.blocksCount) return;
    const lblk = le32(view, extent + EXTENT.ee_block);
    putRange(this.#tree, { lblk, pblk, length, unwritten: extentUnwritten(view, extent) });
  }

  /** All but i_block: what the blocks are is in the ranges. */
  #inode(value: number, length: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view, bytes } = image;
    const ino = le32(view, value + FC_INODE.fc_ino);
    this.#flush(ino);
    const at = writableInode(image, sb, ino);
    if (at < 0) return;
    this.touched.add(ino);
    const raw = value + FC_INODE.bytes;
    const rest = INODE.i_block + I_BLOCK_BYTES;
    bytes.copyWithin(at, raw, raw + INODE.i_block);
    bytes.copyWithin(at + rest, raw + rest, raw + length - FC_INODE.bytes);
    const flags = inodeFlags(view, at);
    if ((flags & INODE_FLAG.extents) !== 0) {
      if (le16(view, at + INODE.i_block + EXTENT_HEADER.eh_magic) !== EXTENT_MAGIC) emptyTree(view, at);
    } else bytes.copyWithin(at + INODE.i_block, raw + INODE.i_block, raw + rest);
    setInodeChecksum(sb, bytes, view, at, ino);
    if (inodeLinks(view, at) > 0) this.#edit.takeInode(ino, inodeType(view, at) === S_IFDIR);
  }

  #name(tag: number, value: number, length: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const parent = le32(view, value + FC_DENTRY.fc_parent_ino);
    const ino = le32(view, value + FC_DENTRY.fc_ino);
    const name = image.bytes.slice(value + FC_DENTRY.bytes, value + length);
    this.#flush(0);
    const dir = writableInode(image, sb, parent);
    const child = inodeAt(image, sb, ino);
    if (dir < 0 || child < 0 || inodeType(view, dir) !== S_IFDIR) return;
    this.touched.add(parent);
    this.touched.add(ino);
    if (tag === FC_TAG.UNLINK) {
      if (removeName(image, sb, parent, dir, name, ino)) this.unlinked.add(ino);
      return;
    }
    const type = inodeType(view, child);
    const fileType = FILE_TYPES[type];
    if (fileType === undefined || lookup(image, sb, dir, name) === ino) return;
    if (tag === FC_TAG.CREAT && type === S_IFDIR) this.#initDirectory(ino, parent);
    const before = lookup(image, sb, dir, name);
    if (before > 0 && removeName(image, sb, parent, dir, name, 0)) this.unlinked.add(before);
    const shown = (sb.incompat & INCOMPAT.filetype) !== 0 ? fileType : 0;
    if (addName(image, sb, parent, dir, name, ino, shown) !== 0 && this.#growDirectory(parent))
      addName(image, sb, parent, dir, name, ino, shown);
    setInodeChecksum(sb, image.bytes, view, dir, parent);
  }

  /** A new directory's blocks were not written: only that it has them is known. */
  #initDirectory(ino: number, parent: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const at = writableInode(image, sb, ino);
    if ((inodeFlags(view, at) & INODE_FLAG.inline_data) !== 0) return;
    const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
    const isMapped = mapBlock(image, sb, at, 0, mapped) === 0 && mapped.pblk > 0;
    if (isMapped && le32(view, image.at(mapped.pblk) + DIRENT.inode) === ino && isDot(image, image.at(mapped.pblk)))
      return;
    const block = isMapped ? mapped.pblk : this.#take();
    if (block < 0 || (inodeFlags(view, at) & INODE_FLAG.extents) === 0) return;
    const seed = inodeSeed(sb, ino, inodeGeneration(view, at));
    initDirBlock(image, sb, seed, block, ino, parent);
    const tree = readExtents(image, sb, at);
    tree.extents = [{ lblk: 0, pblk: block, length: 1, unwritten: false }];
    writeExtents(image, sb, at, seed, tree, () => this.#take());
    setLe32(view, at + INODE.i_size_lo, sb.blockSize);
    setLe32(view, at + INODE.i_size_high, 0);
    setLe32(view, at + INODE.i_flags, inodeFlags(view, at) & ~INODE_FLAG.index);
    setInodeChecksum(sb, image.bytes, view, at, ino);
  }

  /** One more block at the end of a directory; false when there is none. */
  #growDirectory(ino: number): boolean {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const at = writableInode(image, sb, ino);
    const flags = inodeFlags(view, at);
    if ((flags & INODE_FLAG.inline_data) !== 0 || (flags & INODE_FLAG.extents) === 0) return false;
    const block = this.#take();
    if (block < 0) return false;
    const seed = inodeSeed(sb, ino, inodeGeneration(view, at));
    const size = inodeSizeBytes(sb, view, at);
    initDirBlock(image, sb, seed, block, 0, 0);
    const tree = readExtents(image, sb, at);
    putRange(tree, { lblk: size / sb.blockSize, pblk: block, length: 1, unwritten: false });
    if (typeof writeExtents(image, sb, at, seed, tree, () => this.#take()) === "number") return false;
    setLe32(view, at + INODE.i_size_lo, size + sb.blockSize);
    return true;
  }
}

const isDot = (image: BlockImage, at: number): boolean =>
  image.bytes[at + DIRENT.name_len] === 1 && image.bytes[at + DIRENT.bytes] === 0x2e;

function emptyTree(view: DataView, at: number): void {
  for (let n = 0; n < I_BLOCK_BYTES; n += 4) setLe32(view, at + INODE.i_block + n, 0);
  setLe16(view, at + INODE.i_block + EXTENT_HEADER.eh_magic, EXTENT_MAGIC);
  setLe16(view, at + INODE.i_block + EXTENT_HEADER.eh_max, (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes);
}
