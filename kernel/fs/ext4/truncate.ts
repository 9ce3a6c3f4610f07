/**
 * Cutting a file off, as recovery does it for orphans: everything from one block of the file on is given back, the map is
 * written anew where it changed. Works on an image, without a journal.
 *
 * - truncateMap(image, sb, edit, ino, from)    frees blocks of the file from block `from` on, and what mapped only them;
 *                                              i_blocks follows. The inode's checksum is the caller's
 *
 * An extent tree keeps its depth, unless it becomes empty: so does Linux.
 */
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
import { inodeSeed, setExtentChecksum } from "./csum.ts";
import { extentHeaderFault, extentLength, extentStart, extentUnwritten, indexLeaf } from "./extent.ts";
import type { MapVisitor } from "./extent.ts";
import type { GroupEdit } from "./group_edit.ts";
import { inodeFlags, inodeGeneration, inodeSectors } from "./inode.ts";
import { I_BLOCK_BYTES, INODE, INODE_FLAG, RO_COMPAT } from "./layout.ts";
import { EXTENT, EXTENT_HEADER, EXTENT_LEN_MAX, IND_BLOCK, NDIR_BLOCKS, TIND_BLOCK } from "./layout_inode.ts";
import { walkMap } from "./file.ts";
import type { Super } from "./super.ts";

/** Clusters that a map uses below a block of the file: with bigalloc the last one may be shared with what goes. */
class Kept implements MapVisitor {
  readonly clusters = new Set<number>();
  readonly #sb: Super;
  readonly #from: number;

  constructor(sb: Super, from: number) {
    this.#sb = sb;
    this.#from = from;
  }

  run(lblk: number, pblk: number, length: number): boolean {
    const size = 2 ** this.#sb.clusterBits;
    const kept = Math.min(length, this.#from - lblk);
    for (let n = 0; n < kept; n += size) this.clusters.add(Math.floor((pblk + n) / size));
    if (kept > 0) this.clusters.add(Math.floor((pblk + kept - 1) / size));
    return kept > 0;
  }

  node(): boolean {
    return true;
  }

  mapDamage(): void {}
}

class Cutter {
  readonly #image: EditBlocks;
  readonly #sb: Super;
  readonly #edit: GroupEdit;
  readonly #from: number;
  readonly #seed: number;
  readonly #kept: ReadonlySet<number>;
  /** Nodes on the way: each once, whatever a damaged map says. */
  readonly #seen = new Set<number>();
  freedClusters = 0;

  constructor(image: EditBlocks, sb: Super, edit: GroupEdit, from: number, seed: number, kept: ReadonlySet<number>) {
    this.#image = image;
    this.#sb = sb;
    this.#edit = edit;
    this.#from = from;
    this.#seed = seed;
    this.#kept = kept;
  }

  #free(block: number, length: number): void {
    const size = 2 ** this.#sb.clusterBits;
    for (let at = block; at < block + length; at = (Math.floor(at / size) + 1) * size)
      if (!this.#kept.has(Math.floor(at / size)) && this.#edit.freeClusterOf(at)) this.freedClusters++;
  }

  /** Cuts one node, whose block is 0 for the root in the inode. Returns its address when it may have moved. */
  extents(block: number, at: number, depth: number, root: boolean): number {
    const { view } = this.#image;
    if (extentHeaderFault(this.#sb, view, at, root, depth) !== undefined) return at;
    let here = at;
    let isChanged = false;
    const writable = (): number => {
      isChanged = true;
      return root ? at : (here = this.#image.writable(block));
    };
    let entries = le16(view, at + EXTENT_HEADER.eh_entries);
    const before = entries;
    for (; entries > 0; entries--) {
      const entry = here + EXTENT_HEADER.bytes + (entries - 1) * EXTENT.bytes;
      const start = le32(view, entry);
      if (depth > 0) {
        const child = indexLeaf(view, entry);
        const childAt = child < this.#sb.blocksCount && child > 0 ? this.#image.at(child) : -1;
        if (childAt < 0 || this.#seen.has(child)) continue;
        this.#seen.add(child);
        const cut = this.extents(child, childAt, depth - 1, false);
        if (le16(view, cut + EXTENT_HEADER.eh_entries) > 0) break;
        this.#free(child, 1);
        continue;
      }
      const length = extentLength(view, entry);
      if (start + length <= this.#from) break;
      const keep = Math.max(0, this.#from - start);
      this.#free(extentStart(view, entry) + keep, length - keep);
      if (keep === 0) continue;
      const to = writable() + EXTENT_HEADER.bytes + (entries - 1) * EXTENT.bytes;
      setLe16(view, to + EXTENT.ee_len, keep + (extentUnwritten(view, entry) ? EXTENT_LEN_MAX : 0));
      break;
    }
    if (entries !== before) setLe16(view, writable() + EXTENT_HEADER.eh_entries, entries);
    if (root && entries === 0) {
      setLe16(view, at + EXTENT_HEADER.eh_depth, 0);
      setLe16(view, at + EXTENT_HEADER.eh_max, (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes);
    }
    if (!root && isChanged) setExtentChecksum(this.#sb, this.#seed, this.#image.bytes, view, here);
    return here;
  }

  /**
   * `count` block numbers at an address, each the root of a tree of `depth`, from block lblk on. `stays`: the address may
   * be written; else it lies in a block that goes itself, and is only read.
   */
  indirect(slotsAt: () => number, stays: boolean, count: number, depth: number, lblk: number): void {
    const { view } = this.#image;
    const span = (this.#sb.blockSize / 4) ** depth;
    for (let n = count - 1; n >= 0; n--) {
      const first = lblk + n * span;
      if (first + span <= this.#from) break;
      const child = le32(view, slotsAt() + 4 * n);
      if (child === 0) continue;
      const there = child >= this.#sb.firstDataBlock && child < this.#sb.blocksCount;
      const childStays = first < this.#from;
      if (there && depth > 0) {
        if (this.#seen.has(child)) continue;
        this.#seen.add(child);
        const inner = childStays ? () => this.#image.writable(child) : () => this.#image.at(child);
        this.indirect(inner, childStays, this.#sb.blockSize / 4, depth - 1, first);
      }
      if (childStays) continue;
      if (there) this.#free(child, 1);
      if (stays) setLe32(view, slotsAt() + 4 * n, 0);
    }
  }
}

/** `inode` is the address of an inode that may be written. */
export function truncateMap(
  image: EditBlocks,
  sb: Super,
  edit: GroupEdit,
  ino: number,
  inode: number,
  from: number,
): void {
  const { view } = image;
  const kept = new Kept(sb, from);
  if (sb.clusterBits > 0 && from > 0) walkMap(image, sb, inode, kept);
  const seed = inodeSeed(sb, ino, inodeGeneration(view, inode));
  const cutter = new Cutter(image, sb, edit, from, seed, kept.clusters);
  const base = inode + INODE.i_block;
  if ((inodeFlags(view, inode) & INODE_FLAG.extents) !== 0)
    cutter.extents(0, base, le16(view, base + EXTENT_HEADER.eh_depth), true);
  else {
    let lblk = NDIR_BLOCKS;
    const spans = [1, 2, 3].map((depth) => (sb.blockSize / 4) ** depth);
    const starts = spans.map((span) => (lblk += span) - span);
    for (let n = TIND_BLOCK - IND_BLOCK; n >= 0; n--)
      cutter.indirect(() => base + 4 * (IND_BLOCK + n), true, 1, n + 1, starts[n]!);
    cutter.indirect(() => base, true, NDIR_BLOCKS, 0, 0);
  }
  setSectors(sb, view, inode, inodeSectors(sb, view, inode) - cutter.freedClusters * sectorsIn(sb));
}

export const sectorsIn = (sb: Super): number => (sb.blockSize / 512) * 2 ** sb.clusterBits;

/** Writes i_blocks in the unit that the inode uses. */
export function setSectors(sb: Super, view: DataView, inode: number, sectors: number): void {
  const wide = (sb.roCompat & RO_COMPAT.huge_file) !== 0;
  const huge = wide && (inodeFlags(view, inode) & INODE_FLAG.huge_file) !== 0;
  const count = Math.max(0, huge ? sectors / (sb.blockSize / 512) : sectors);
  setLe32(view, inode + INODE.i_blocks_lo, count % 2 ** 32);
  if (wide) setLe16(view, inode + INODE.l_i_blocks_high, Math.floor(count / 2 ** 32));
}
