/**
 * The extents of one file as a list that is edited and then written back as a whole tree: how fast commits are replayed.
 *
 * - readExtents(image, sb, inode)     the list, and the blocks of the tree's nodes
 * - putRange(list, extent)            maps a range, whatever lay there before; pblk 0 unmaps it
 * - writeExtents(...)                 a tree of least depth; nodes reuse the old ones' blocks, `take` gives further ones
 *
 * Invariant: sorted by lblk, without overlap, neighbours joined where the format allows.
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import type { EditBlocks } from "../blocks.ts";
import { setExtentChecksum } from "./csum.ts";
import { extentEntriesMax, walkExtents } from "./extent.ts";
import type { MapVisitor } from "./extent.ts";
import { I_BLOCK_BYTES, INODE } from "./layout.ts";
import { EXTENT, EXTENT_HEADER, EXTENT_INDEX, EXTENT_LEN_MAX, EXTENT_MAGIC } from "./layout_inode.ts";
import type { Super } from "./super.ts";

export interface Extent {
  lblk: number;
  pblk: number;
  length: number;
  unwritten: boolean;
}

export interface ExtentTree {
  extents: Extent[];
  readonly nodes: number[];
}

const ROOT_ENTRIES = (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / EXTENT.bytes;

class Collector implements MapVisitor {
  readonly tree: ExtentTree = { extents: [], nodes: [] };

  run(lblk: number, pblk: number, length: number, unwritten: boolean): boolean {
    this.tree.extents.push({ lblk, pblk, length, unwritten });
    return true;
  }

  node(block: number): boolean {
    if (this.tree.nodes.includes(block)) return false;
    this.tree.nodes.push(block);
    return true;
  }

  mapDamage(): void {}
}

export function readExtents(image: EditBlocks, sb: Super, inode: number): ExtentTree {
  const collector = new Collector();
  walkExtents(image, sb, inode, collector);
  return collector.tree;
}

export function putRange(tree: ExtentTree, range: Extent): void {
  const end = range.lblk + range.length;
  const after: Extent[] = [];
  for (const extent of tree.extents) {
    const last = extent.lblk + extent.length;
    if (last <= range.lblk || extent.lblk >= end) {
      after.push(extent);
      continue;
    }
    if (extent.lblk < range.lblk) after.push({ ...extent, length: range.lblk - extent.lblk });
    if (last > end) after.push({ ...extent, lblk: end, pblk: extent.pblk + end - extent.lblk, length: last - end });
  }
  if (range.pblk > 0) after.push({ ...range });
  after.sort((a, b) => a.lblk - b.lblk);
  tree.extents = [];
  for (const extent of after) {
    const last = tree.extents.at(-1);
    const joins =
      last !== undefined &&
      last.unwritten === extent.unwritten &&
      last.lblk + last.length === extent.lblk &&
      last.pblk + last.length === extent.pblk &&
      last.length + extent.length <= (extent.unwritten ? EXTENT_LEN_MAX - 1 : EXTENT_LEN_MAX);
    if (joins) last.length += extent.length;
    else tree.extents.push(extent);
  }
}

/** Entries of one level: where they start, and what they point at. */
interface Entry {
  readonly lblk: number;
  readonly pblk: number;
  readonly length: number;
}

/** `inode` may be written. Returns the blocks of nodes that are in use now, or ENOSPC when `take` has none. */
export function writeExtents(
  image: EditBlocks,
  sb: Super,
  inode: number,
  seed: number,
  tree: ExtentTree,
  take: () => number,
): number[] | Errno {
  const most = extentEntriesMax(sb);
  const spare = [...tree.nodes];
  const used: number[] = [];
  let depth = 0;
  let entries: Entry[] = tree.extents.map((extent) => ({
    lblk: extent.lblk,
    pblk: extent.pblk,
    length: extent.length + (extent.unwritten ? EXTENT_LEN_MAX : 0),
  }));
  while (entries.length > ROOT_ENTRIES) {
    const above: Entry[] = [];
    for (let n = 0; n < entries.length; n += most) {
      const block = spare.shift() ?? take();
      if (block <= 0) return ENOSPC;
      used.push(block);
      const part = entries.slice(n, n + most);
      const at = image.writable(block);
      image.bytes.fill(0, at, at + sb.blockSize);
      writeNode(image.view, at, part, depth, most);
      setExtentChecksum(sb, seed, image.bytes, image.view, at);
      above.push({ lblk: part[0]!.lblk, pblk: block, length: 0 });
    }
    entries = above;
    depth++;
  }
  image.bytes.fill(0, inode + INODE.i_block, inode + INODE.i_block + I_BLOCK_BYTES);
  writeNode(image.view, inode + INODE.i_block, entries, depth, ROOT_ENTRIES);
  return used;
}

function writeNode(view: DataView, at: number, entries: readonly Entry[], depth: number, max: number): void {
  setLe16(view, at + EXTENT_HEADER.eh_magic, EXTENT_MAGIC);
  setLe16(view, at + EXTENT_HEADER.eh_entries, entries.length);
  setLe16(view, at + EXTENT_HEADER.eh_max, max);
  setLe16(view, at + EXTENT_HEADER.eh_depth, depth);
  for (const [n, entry] of entries.entries()) {
    const to = at + EXTENT_HEADER.bytes + n * EXTENT.bytes;
    const [low, high] = [entry.pblk % 2 ** 32, Math.floor(entry.pblk / 2 ** 32)];
    setLe32(view, to, entry.lblk);
    if (depth === 0) {
      setLe16(view, to + EXTENT.ee_len, entry.length);
      setLe16(view, to + EXTENT.ee_start_hi, high);
      setLe32(view, to + EXTENT.ee_start_lo, low);
    } else {
      setLe32(view, to + EXTENT_INDEX.ei_leaf_lo, low);
      setLe16(view, to + EXTENT_INDEX.ei_leaf_hi, high);
    }
  }
}
