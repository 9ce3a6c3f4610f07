/**
 * The checker's pass over the inode tables: each inode by itself, its map, its attributes. Takes the blocks that inodes
 * use, and fills `kind` and `dirs`. e2fsck's pass 1.
 *
 * An inode is in use when it has links, or is reserved; the bitmap is compared later. Inodes behind the mark of those that
 * were never used are not looked at, but the bitmap must not have them.
 */
import { le16, le32 } from "../../lib/bytes.ts";
import { Kind, METADATA } from "./check_state.ts";
import type { CheckState } from "./check_state.ts";
import {
  extentChecksum,
  extentTailOffset,
  inodeChecksum,
  inodeChecksumStored,
  inodeSeed,
  xattrBlockChecksum,
} from "./csum.ts";
import type { MapVisitor } from "./extent.ts";
import { LINK_TARGET_MAX, readLink, walkMap } from "./file.ts";
import { descAt, gdFlags, gdInodeTable, gdItableUnused } from "./group.ts";
import {
  hasBlockMap,
  inodeDtime,
  inodeFileAcl,
  inodeFlags,
  inodeGeneration,
  inodeLinks,
  inodeMode,
  inodeSectors,
  inodeSizeBytes,
  inodeType,
  isFastSymlink,
} from "./inode.ts";
import {
  BG_INODE_UNINIT,
  GOOD_OLD_INODE_SIZE,
  INCOMPAT,
  INODE,
  INODE_FLAG,
  INO_BAD,
  INO_GRP_QUOTA,
  INO_JOURNAL,
  INO_RESIZE,
  INO_ROOT,
  INO_USR_QUOTA,
  I_BLOCK_BYTES,
  RO_COMPAT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from "./layout.ts";
import { EXTENT_TAIL, XATTR_ENTRY, XATTR_HEADER, XATTR_MAGIC } from "./layout_inode.ts";
import { Verdict } from "../block_image.ts";
import { blockArea, blockHash, entryHash, ibodyArea, inlineTail, walkXattrs, xattrEntryBytes } from "./xattr.ts";
import type { XattrArea } from "./xattr.ts";

const TYPES: ReadonlySet<number> = new Set([S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK, S_IFSOCK]);

export function checkInodes(state: CheckState): void {
  const { sb, image } = state;
  const { view } = image;
  const pass = new InodePass(state);
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(image, sb, group);
    const csum = sb.metadataCsum || sb.gdtCsum;
    if (csum && (gdFlags(view, desc) & BG_INODE_UNINIT) !== 0) continue;
    const used = sb.inodesPerGroup - (csum ? Math.min(gdItableUnused(sb, view, desc), sb.inodesPerGroup) : 0);
    const table = gdInodeTable(sb, view, desc);
    const first = group * sb.inodesPerGroup + 1;
    for (let index = 0; index < used; index += sb.inodesPerBlock) {
      const at = image.at(table + index / sb.inodesPerBlock);
      const end = Math.min(sb.inodesPerBlock, used - index);
      for (let n = 0; n < end; n++) pass.inode(first + index + n, at + n * sb.inodeSize);
    }
  }
  pass.end();
}

class InodePass implements MapVisitor {
  readonly #state: CheckState;
  #ino = 0;
  #at = 0;
  #seed = 0;
  /** Of the map that is being walked: clusters and nodes, and the last block in the file. */
  #clusters = 0;
  #nodes = 0;
  #lastBlock = -1;
  #lastInit = -1;
  #unwritten = false;

  constructor(state: CheckState) {
    this.#state = state;
  }

  inode(ino: number, at: number): void {
    const state = this.#state;
    const { sb, image } = state;
    const { view } = image;
    const links = inodeLinks(view, at);
    const reserved = ino < sb.firstIno && ino !== INO_ROOT;
    if (links === 0 && !(ino === INO_BAD || (ino === INO_JOURNAL && ino === sb.journalIno))) {
      if (reserved) state.use(ino, Kind.Used);
      else if (inodeMode(view, at) !== 0 && inodeDtime(view, at) === 0)
        state.report("inode", `inode ${ino} is deleted and has no time of deletion`);
      if (ino !== INO_ROOT) return;
    }
    this.#ino = ino;
    this.#at = at;
    state.use(ino, Kind.Used);
    if (!reserved || ino === INO_JOURNAL) state.inodeCount++;
    if (sb.metadataCsum && inodeChecksum(sb, image.bytes, view, at, ino) !== inodeChecksumStored(sb, view, at))
      state.report("checksum", `the checksum of inode ${ino} is wrong`);
    const type = inodeType(view, at);
    const mode = inodeMode(view, at);
    if (ino === INO_BAD || (reserved && mode === 0)) {
      if (ino === INO_BAD || ino === INO_RESIZE) this.#map(at);
      return;
    }
    if (inodeDtime(view, at) !== 0 && links > 0)
      state.report("inode", `inode ${ino} is in use and has a time of deletion`);
    if (!TYPES.has(type)) return state.report("inode", `inode ${ino} has mode 0${mode.toString(8)}`);
    if (ino === INO_ROOT && type !== S_IFDIR) state.report("inode", "the root inode is no directory");
    if (ino === INO_JOURNAL && ino === sb.journalIno && type !== S_IFREG)
      state.report("journal", "the journal's inode is no regular file");
    if (ino === sb.orphanFileIno && type !== S_IFREG) state.report("orphan", "the orphan file is no regular file");
    this.#emptyFields(at, type);
    this.#extraFields(at);
    const flags = inodeFlags(view, at);
    if (type === S_IFDIR) {
      state.use(ino, Kind.Directory);
      state.dirs[state.dirCount++] = ino;
    }
    if ((flags & INODE_FLAG.extents) !== 0 && !sb.hasExtents)
      state.report("inode", `inode ${ino} has extents, the file system has not`);
    if ((flags & INODE_FLAG.inline_data) !== 0) return this.#inline(at, type);
    if (type === S_IFLNK) this.#symlink(at);
    if (type === S_IFREG || type === S_IFDIR || type === S_IFLNK) {
      if (hasBlockMap(sb, view, at)) this.#map(at);
      else this.#resetMap(at);
      this.#attributes(at);
      this.#sizes(at, type);
    } else {
      this.#resetMap(at);
      this.#device(at, type);
      this.#attributes(at);
      this.#blocksCount(at);
    }
  }

  #extraFields(at: number): void {
    const { sb, image, report } = this.#view();
    if (sb.inodeSize === GOOD_OLD_INODE_SIZE) return;
    const extra = le16(image.view, at + INODE.i_extra_isize);
    if (extra !== 0 && (extra < 4 || extra > sb.inodeSize - GOOD_OLD_INODE_SIZE || extra % 4 !== 0))
      return report("inode", `inode ${this.#ino} has an i_extra_isize of ${extra}`);
    const area = ibodyArea(image.view, sb, at);
    if (area === undefined) return;
    let bad = false;
    const whole = walkXattrs(image.view, area, (xattr) => {
      const hash = le32(image.view, xattr.at + XATTR_ENTRY.e_hash);
      if (hash !== 0 && hash !== entryHash(image.view, xattr, false) && hash !== entryHash(image.view, xattr, true))
        bad = true;
      return !bad;
    });
    if (!whole || bad || collide(image.view, area)) report("inode", `the attributes in inode ${this.#ino} are damaged`);
  }

  /** Fields that mean nothing without a feature, and whose bits a later kernel would believe. */
  #emptyFields(at: number, type: number): void {
    const { sb, image, report } = this.#view();
    const { view } = image;
    const wrong =
      le32(view, at + INODE.i_obso_faddr) !== 0
        ? "i_faddr"
        : (sb.roCompat & RO_COMPAT.huge_file) === 0 && le16(view, at + INODE.l_i_blocks_high) !== 0
          ? "i_blocks_hi"
          : !sb.has64bit && le16(view, at + INODE.l_i_file_acl_high) !== 0
            ? "i_file_acl_hi"
            : type === S_IFDIR && (sb.incompat & INCOMPAT.large_dir) === 0 && le32(view, at + INODE.i_size_high) !== 0
              ? "i_size_high"
              : undefined;
    if (wrong !== undefined) report("inode", `inode ${this.#ino}: ${wrong} is not zero`);
  }

  #view(): {
    readonly sb: CheckState["sb"];
    readonly image: CheckState["image"];
    readonly report: CheckState["report"];
  } {
    const state = this.#state;
    return { sb: state.sb, image: state.image, report: (kind, text) => state.report(kind, text) };
  }

  #resetMap(at: number): void {
    const { sb, image } = this.#state;
    this.#seed = inodeSeed(sb, this.#ino, inodeGeneration(image.view, at));
    this.#clusters = 0;
    this.#nodes = 0;
    this.#lastBlock = -1;
    this.#lastInit = -1;
    this.#unwritten = false;
  }

  #map(at: number): void {
    this.#resetMap(at);
    walkMap(this.#state.image, this.#state.sb, at, this);
  }

  run(lblk: number, pblk: number, length: number, unwritten: boolean): boolean {
    const state = this.#state;
    // The resize inode's blocks are the reserve for descriptors, already taken.
    this.#clusters += this.#ino === INO_RESIZE ? length : state.claim(pblk, length, this.#ino);
    this.#lastBlock = lblk + length - 1;
    if (!unwritten) this.#lastInit = lblk + length - 1;
    else this.#unwritten = true;
    return true;
  }

  node(block: number, at: number, depth: number): boolean {
    const state = this.#state;
    this.#nodes++;
    if (this.#ino === INO_RESIZE && depth === 0) return true;
    const cluster = state.clusterOf(block);
    const owned = state.owner[cluster] !== 0;
    state.claim(block, 1, this.#ino);
    if (owned) return false;
    const { sb, image } = state;
    if (!sb.metadataCsum || (inodeFlags(image.view, this.#at) & INODE_FLAG.extents) === 0) return true;
    const known = state.known(block, this.#seed);
    let good = known === Verdict.Good;
    if (known === Verdict.Unknown) {
      const tail = extentTailOffset(image.view, at);
      good =
        tail + EXTENT_TAIL.bytes <= sb.blockSize &&
        extentChecksum(this.#seed, image.bytes, image.view, at) === le32(image.view, at + tail);
      state.remember(block, this.#seed, good);
    }
    if (!good) state.report("checksum", `the checksum of extent block ${block} of inode ${this.#ino} is wrong`);
    return true;
  }

  mapDamage(what: string, block: number): void {
    const place = block === 0 ? "" : `, in block ${block}`;
    this.#state.report("extent", `inode ${this.#ino}: ${what}${place}`);
  }

  #symlink(at: number): void {
    const { sb, image, report } = this.#view();
    const size = le32(image.view, at + INODE.i_size_lo);
    if (size === 0 || size > LINK_TARGET_MAX || size > sb.blockSize)
      return report("inode", `symbolic link ${this.#ino} has a size of ${size}`);
    if (!isFastSymlink(sb, image.view, at)) {
      const target = readLink(image, sb, at);
      if (typeof target === "number" || target.includes(0))
        report("inode", `the target of symbolic link ${this.#ino} cannot be read`);
      return;
    }
    for (let n = 0; n < size; n++)
      if (image.bytes[at + INODE.i_block + n] === 0)
        return report("inode", `the target of symbolic link ${this.#ino} is shorter than its size`);
    if (image.bytes[at + INODE.i_block + size] !== 0)
      report("inode", `the target of symbolic link ${this.#ino} is longer than its size`);
  }

  #device(at: number, type: number): void {
    const { image, report } = this.#view();
    if ((inodeFlags(image.view, at) & INODE_FLAG.extents) !== 0)
      report("inode", `special file ${this.#ino} has the flag of extents`);
    // Old kernels left numbers of blocks in special files: e2fsck speaks of them only in an immutable one.
    if ((inodeFlags(image.view, at) & (INODE_FLAG.immutable | INODE_FLAG.append)) === 0) return;
    // Bytes beyond the two forms of a device number have no meaning.
    const from = type === S_IFCHR || type === S_IFBLK ? 8 : 0;
    for (let n = from; n < I_BLOCK_BYTES; n++)
      if (image.bytes[at + INODE.i_block + n] !== 0) return report("inode", `special file ${this.#ino} has blocks`);
  }

  #inline(at: number, type: number): void {
    const { sb, image, report } = this.#view();
    if ((sb.incompat & INCOMPAT.inline_data) === 0)
      report("inode", `inode ${this.#ino} has inline data, the file system has not`);
    if ((inodeFlags(image.view, at) & INODE_FLAG.extents) !== 0)
      report("inode", `inode ${this.#ino} has extents and inline data`);
    const tail = inlineTail(image.view, sb, at);
    const size = inodeSizeBytes(sb, image.view, at);
    if (tail === undefined) report("inode", `inode ${this.#ino} has inline data, and no attribute system.data`);
    const room = I_BLOCK_BYTES + (tail === undefined ? 0 : tail.length);
    const fits = type === S_IFDIR ? size === room : size <= room;
    if (!fits) report("inode", `inode ${this.#ino} has a size of ${size}, and room for ${room} bytes inline`);
    this.#resetMap(at);
    this.#attributes(at);
    this.#blocksCount(at);
  }

  #attributes(at: number): void {
    const state = this.#state;
    const { sb, image } = state;
    const block = inodeFileAcl(sb, image.view, at);
    if (block === 0) return;
    if (block <= sb.firstDataBlock || block >= sb.blocksCount)
      return state.report("inode", `inode ${this.#ino} has its attributes in block ${block}`);
    this.#nodes++;
    const before = state.xattrBlocks.get(block) ?? 0;
    state.xattrBlocks.set(block, before + 1);
    if (before > 0) return;
    // Shared by inodes, so it belongs to none of them.
    state.claim(block, 1, METADATA);
    const fault = xattrBlockFault(state, block);
    if (fault !== undefined) state.report("inode", `block ${block}, attributes of inode ${this.#ino}: ${fault}`);
    if (sb.metadataCsum) {
      const from = image.at(block);
      if (xattrBlockChecksum(sb, image.bytes, from, block) !== le32(image.view, from + XATTR_HEADER.h_checksum))
        state.report("checksum", `the checksum of attribute block ${block} is wrong`);
    }
  }

  #blocksCount(at: number): void {
    const { sb, image, report } = this.#view();
    const unit = sb.blockSize / 512;
    const expected = (this.#clusters + this.#nodes) * 2 ** sb.clusterBits * unit;
    const found = inodeSectors(sb, image.view, at);
    if (found !== expected)
      report("inode", `inode ${this.#ino} says ${found} sectors in i_blocks, and has ${expected}`);
  }

  #sizes(at: number, type: number): void {
    const { sb, image, report } = this.#view();
    this.#blocksCount(at);
    const size = inodeSizeBytes(sb, image.view, at);
    const blocks = size / sb.blockSize;
    if (type === S_IFDIR) {
      if (size % sb.blockSize !== 0 || blocks > this.#lastBlock + 1 || blocks < this.#lastBlock + 1)
        report("inode", `directory ${this.#ino} has a size of ${size}, and ${this.#lastBlock + 1} blocks`);
      if (this.#unwritten) report("inode", `directory ${this.#ino} has unwritten extents`);
    } else if (type === S_IFREG) {
      if (this.#lastInit >= 0 && size < this.#lastInit * sb.blockSize)
        report("inode", `inode ${this.#ino} has a size of ${size}, and block ${this.#lastInit} behind it`);
      if (size > 2 ** 32 * sb.blockSize) report("inode", `inode ${this.#ino} has a size of ${size}`);
    }
  }

  end(): void {
    const state = this.#state;
    for (const [block, references] of state.xattrBlocks) {
      const from = state.image.at(block);
      if (le32(state.image.view, from + XATTR_HEADER.h_refcount) !== references)
        state.report("count", `attribute block ${block} is named by ${references} inodes, and says another number`);
    }
    for (const ino of [INO_USR_QUOTA, INO_GRP_QUOTA]) if (ino < state.sb.firstIno) state.use(ino, Kind.Used);
  }
}

/** Whether entries and values of an area overlap, or a value of no length lies outside. */
function collide(view: DataView, area: XattrArea): boolean {
  const values: (readonly [from: number, end: number])[] = [];
  let entriesEnd = area.first;
  let wrong = false;
  walkXattrs(view, area, (xattr) => {
    entriesEnd = xattr.at + xattrEntryBytes(xattr.nameLength);
    const end = xattr.value + Math.ceil(xattr.valueLength / 4) * 4;
    if (end > area.end) wrong = true;
    if (end > xattr.value) values.push([xattr.value, end]);
    return !wrong;
  });
  values.sort(([one], [other]) => one - other);
  return wrong || values.some(([from], n) => from < (n === 0 ? entriesEnd + 4 : values[n - 1]![1]));
}

function xattrBlockFault(state: CheckState, block: number): string | undefined {
  const { sb, image } = state;
  const { view } = image;
  const at = image.at(block);
  if (le32(view, at + XATTR_HEADER.h_magic) !== XATTR_MAGIC) return "the magic is wrong";
  if (le32(view, at + XATTR_HEADER.h_blocks) !== 1) return "h_blocks is not 1";
  const hashes: number[] = [];
  let wrong = false;
  const whole = walkXattrs(view, blockArea(sb, at), (xattr) => {
    const hash = le32(view, xattr.at + XATTR_ENTRY.e_hash);
    if (hash !== entryHash(view, xattr, false) && hash !== entryHash(view, xattr, true)) wrong = true;
    if (xattr.index === 0) wrong = true;
    hashes.push(hash);
    return !wrong;
  });
  if (!whole) return "the entries are damaged";
  if (collide(view, blockArea(sb, at))) return "names or values lie over each other";
  if (wrong) return "the hash or the prefix of an entry is wrong";
  const found = le32(view, at + XATTR_HEADER.h_hash);
  return found === 0 || found === blockHash(hashes) ? undefined : "the hash of the block is wrong";
}
