/**
 * Orphans: files that were being deleted or cut off when the machine stopped. Two ways to remember them:
 *
 *   the list         s_last_orphan -> inode -> inode ... by i_dtime, 0 at the end
 *   the orphan file  blocks of inode numbers (feature orphan_file); orphan_present says that there are some
 *
 * - processOrphans(image, sb, superAt, now)   deletes those without links, cuts the others off at their size, and leaves
 *                                             both empty. `superAt` is an address that may be written; `now` becomes the
 *                                             time of deletion, seconds since 1970
 *
 * A number that cannot be an orphan ends the list: what follows it is not known. The rest is left for a full check.
 */
import { le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
import { inodeSeed, setInodeChecksum, setOrphanBlockChecksum, setXattrBlockChecksum } from "./csum.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { GroupEdit } from "./group_edit.ts";
import { inodeBlock, inodeOffset } from "./group.ts";
import { hasBlockMap, inodeFileAcl, inodeGeneration, inodeLinks, inodeSizeBytes, inodeType } from "./inode.ts";
import { INODE, INO_ROOT, RO_COMPAT, S_IFDIR, S_IFLNK, S_IFREG, SB } from "./layout.ts";
import { ORPHAN_MAGIC, ORPHAN_TAIL, XATTR_HEADER, XATTR_MAGIC } from "./layout_inode.ts";
import type { Super } from "./super.ts";
import { truncateMap } from "./truncate.ts";

export interface Orphans {
  deleted: number;
  truncated: number;
  /** One line for what could not be processed. */
  readonly faults: string[];
}

const FAULTS_MAX = 20;

/** Address of an inode that may be written; -1 when it is not there. */
export function writableInode(image: EditBlocks, sb: Super, ino: number): number {
  const block = inodeBlock(image, sb, ino);
  return block < 0 ? -1 : image.writable(block) + inodeOffset(sb, ino);
}

export function processOrphans(image: EditBlocks, sb: Super, superAt: number, now: number): Orphans {
  const run = new OrphanRun(image, sb, now);
  run.list(superAt);
  if ((sb.roCompat & RO_COMPAT.orphan_present) !== 0) run.file(superAt);
  run.finish();
  return run.result;
}

/** Gives one inode back that has neither links nor names, with its blocks. */
export function releaseInode(image: EditBlocks, sb: Super, ino: number, now: number): void {
  const at = writableInode(image, sb, ino);
  if (at < 0) return;
  setLe16(image.view, at + INODE.i_links_count, 0);
  const run = new OrphanRun(image, sb, now);
  run.release(ino, at);
  run.finish();
}

class OrphanRun {
  readonly result: Orphans = { deleted: 0, truncated: 0, faults: [] };
  readonly #image: EditBlocks;
  readonly #sb: Super;
  readonly #now: number;
  readonly #edit: GroupEdit;

  constructor(image: EditBlocks, sb: Super, now: number) {
    this.#image = image;
    this.#sb = sb;
    this.#now = now;
    this.#edit = new GroupEdit(image, sb);
  }

  finish(): void {
    this.#edit.finish();
  }

  #fault(text: string): void {
    if (this.result.faults.length < FAULTS_MAX) this.result.faults.push(text);
  }

  list(superAt: number): void {
    const seen = new Set<number>();
    let ino = le32(this.#image.view, superAt + SB.s_last_orphan);
    while (ino !== 0) {
      if (seen.has(ino)) {
        this.#fault(`the orphan list comes back to inode ${ino}`);
        break;
      }
      seen.add(ino);
      const at = this.#orphan(ino);
      if (at < 0) break;
      const next = le32(this.#image.view, at + INODE.i_dtime);
      this.release(ino, at);
      ino = next;
    }
    setLe32(this.#image.view, superAt + SB.s_last_orphan, 0);
  }

  file(superAt: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const inode = writableInode(image, sb, sb.orphanFileIno);
    if (inode < 0) return this.#fault(`the orphan file's inode ${sb.orphanFileIno} is not there`);
    const seed = inodeSeed(sb, sb.orphanFileIno, inodeGeneration(view, inode));
    const count = Math.ceil(inodeSizeBytes(sb, view, inode) / sb.blockSize);
    const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
    for (let lblk = 0; lblk < count; lblk++) {
      if (mapBlock(image, sb, inode, lblk, mapped) !== 0) return this.#fault("the orphan file's map is damaged");
      if (mapped.pblk === 0) {
        lblk += mapped.length - 1;
        continue;
      }
      this.#block(mapped.pblk, seed);
    }
    setLe32(
      view,
      superAt + SB.s_feature_ro_compat,
      le32(view, superAt + SB.s_feature_ro_compat) & ~RO_COMPAT.orphan_present,
    );
  }

  #block(block: number, seed: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const at = image.at(block);
    if (le32(view, at + sb.blockSize - ORPHAN_TAIL.bytes + ORPHAN_TAIL.ob_magic) !== ORPHAN_MAGIC)
      return this.#fault(`block ${block} of the orphan file has no magic`);
    const slots = (sb.blockSize - ORPHAN_TAIL.bytes) / 4;
    for (let n = 0; n < slots; n++) {
      const ino = le32(view, image.at(block) + 4 * n);
      if (ino === 0) continue;
      const inode = this.#orphan(ino);
      if (inode >= 0) this.release(ino, inode);
      const to = image.writable(block);
      setLe32(view, to + 4 * n, 0);
      setOrphanBlockChecksum(sb, seed, image.bytes, view, to, block);
    }
  }

  /** Address of an inode that can be an orphan, for writing; -1 with a fault. */
  #orphan(ino: number): number {
    const [image, sb] = [this.#image, this.#sb];
    const possible = (ino >= sb.firstIno || ino === INO_ROOT) && ino <= sb.inodesCount && !this.#edit.isInodeFree(ino);
    const at = possible ? writableInode(image, sb, ino) : -1;
    if (at < 0 || inodeType(image.view, at) === 0) {
      this.#fault(`inode ${ino} cannot be an orphan`);
      return -1;
    }
    return at;
  }

  release(ino: number, at: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const type = inodeType(view, at);
    if (inodeLinks(view, at) > 0) {
      setLe32(view, at + INODE.i_dtime, 0);
      if (hasBlockMap(sb, view, at) && (type === S_IFREG || type === S_IFDIR || type === S_IFLNK)) {
        const size = inodeSizeBytes(sb, view, at);
        truncateMap(image, sb, this.#edit, ino, at, Math.ceil(size / sb.blockSize));
        this.#zeroTail(at, size);
        this.result.truncated++;
      }
      setInodeChecksum(sb, image.bytes, view, at, ino);
      return;
    }
    if (hasBlockMap(sb, view, at)) truncateMap(image, sb, this.#edit, ino, at, 0);
    this.#dropXattrBlock(at);
    this.#edit.freeInode(ino, type === S_IFDIR);
    setLe32(view, at + INODE.i_dtime, this.#now);
    setLe32(view, at + INODE.i_size_lo, 0);
    setLe32(view, at + INODE.i_size_high, 0);
    setInodeChecksum(sb, image.bytes, view, at, ino);
    this.result.deleted++;
  }

  /** What a file that grows again must not show. */
  #zeroTail(at: number, size: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const rest = size % sb.blockSize;
    if (rest === 0) return;
    const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
    const fault = mapBlock(image, sb, at, Math.floor(size / sb.blockSize), mapped);
    if (fault !== 0 || mapped.pblk === 0 || mapped.unwritten) return;
    const to = image.writable(mapped.pblk);
    image.bytes.fill(0, to + rest, to + sb.blockSize);
  }

  /** A block of attributes may be shared by several inodes: the last one frees it. */
  #dropXattrBlock(at: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const block = inodeFileAcl(sb, view, at);
    if (block === 0) return;
    setLe32(view, at + INODE.i_file_acl_lo, 0);
    setLe16(view, at + INODE.l_i_file_acl_high, 0);
    const from = block >= sb.firstDataBlock && block < sb.blocksCount ? image.at(block) : -1;
    if (from < 0 || le32(view, from + XATTR_HEADER.h_magic) !== XATTR_MAGIC)
      return this.#fault(`block ${block} holds no attributes`);
    const references = le32(view, from + XATTR_HEADER.h_refcount);
    if (references <= 1) {
      this.#edit.freeClusterOf(block);
      return;
    }
    const to = image.writable(block);
    setLe32(view, to + XATTR_HEADER.h_refcount, references - 1);
    setXattrBlockChecksum(sb, image.bytes, view, to, block);
  }
}
