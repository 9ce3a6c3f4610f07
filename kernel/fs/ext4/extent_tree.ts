/**
 * An extent tree's nodes, changed: a path from the root to a place in a leaf, and what keeps the tree in order around it.
 * extent_edit.ts says what is done to the file's blocks.
 *
 * - new TreePath(map), path.find(lblk)     to the last entry at or before lblk, or before the first. EFSCORRUPTED
 * - path.insert(lblk, pblk, length word)   a new extent behind the place, its neighbours unchanged; ENOSPC before anything
 *                                          changed. The path leads to it afterwards
 * - path.remove()                          the entry at the place goes, and every node that becomes empty
 * - path.seal()                            checksum of the leaf, whose entry was written through path.write()
 * - path.pullUp()                          a root with one leaf that would fit into it takes its entries (Linux: merge_up)
 *
 *   level 0 is the root in the inode, level `depth` the leaf; at[level] addresses, block[level] numbers, pos[level] the
 *   entry that was followed, -1 before the first
 *
 * Invariant, which e2fsck checks: the key of an index is that of the first entry below it.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { setExtentChecksum } from "./csum.ts";
import { extentEntriesMax, extentHeaderFault, indexLeaf } from "./extent.ts";
import { I_BLOCK_BYTES, INODE } from "./layout.ts";
import { EXTENT, EXTENT_DEPTH_MAX, EXTENT_HEADER, EXTENT_INDEX, EXTENT_MAGIC } from "./layout_inode.ts";
import { freeNode, newNode } from "./map_node.ts";
import type { FileMap } from "./map_node.ts";

const ENTRY = EXTENT.bytes;
const ROOT_ENTRIES = (I_BLOCK_BYTES - EXTENT_HEADER.bytes) / ENTRY;

export class TreePath {
  readonly map: FileMap;
  depth = 0;
  readonly block = new Float64Array(EXTENT_DEPTH_MAX + 2);
  readonly at = new Float64Array(EXTENT_DEPTH_MAX + 2);
  readonly pos = new Int32Array(EXTENT_DEPTH_MAX + 2);

  constructor(map: FileMap) {
    this.map = map;
  }

  get #view(): DataView {
    return this.map.edit.blocks.view;
  }

  entries(level: number): number {
    return le16(this.#view, this.at[level]! + EXTENT_HEADER.eh_entries);
  }

  #setEntries(level: number, count: number): void {
    setLe16(this.#view, this.at[level]! + EXTENT_HEADER.eh_entries, count);
  }

  #room(level: number): number {
    return le16(this.#view, this.at[level]! + EXTENT_HEADER.eh_max) - this.entries(level);
  }

  #entryAt(level: number, pos: number): number {
    return this.at[level]! + EXTENT_HEADER.bytes + pos * ENTRY;
  }

  /** Address of the entry at the place, `beside` it by so many; -1 when the leaf has none there. */
  entry(beside = 0): number {
    const pos = this.pos[this.depth]! + beside;
    return pos >= 0 && pos < this.entries(this.depth) ? this.#entryAt(this.depth, pos) : -1;
  }

  find(lblk: number): 0 | Errno {
    const { edit, inode } = this.map;
    const { blocks, sb } = edit;
    const { view } = blocks;
    this.at[0] = inode + INODE.i_block;
    this.depth = le16(view, this.at[0] + EXTENT_HEADER.eh_depth);
    for (let level = 0; ; level++) {
      const at = this.at[level]!;
      if (extentHeaderFault(sb, view, at, level === 0, this.depth - level) !== undefined) return EFSCORRUPTED;
      let low = 0;
      let high = le16(view, at + EXTENT_HEADER.eh_entries) - 1;
      while (low <= high) {
        const middle = (low + high) >> 1;
        if (le32(view, this.#entryAt(level, middle)) <= lblk) low = middle + 1;
        else high = middle - 1;
      }
      this.pos[level] = level < this.depth ? Math.max(0, high) : high;
      if (level === this.depth) return 0;
      const child = indexLeaf(view, this.#entryAt(level, this.pos[level]!));
      const childAt = child >= sb.firstDataBlock && child < sb.blocksCount ? blocks.at(child) : -1;
      if (childAt < 0) return EFSCORRUPTED;
      this.block[level + 1] = child;
      this.at[level + 1] = childAt;
    }
  }

  /** The node of a level may be written from now on. The root always may. */
  write(level = this.depth): void {
    if (level > 0) this.at[level] = this.map.edit.blocks.writable(this.block[level]!);
  }

  seal(level = this.depth): void {
    const { edit, seed } = this.map;
    if (level > 0) setExtentChecksum(edit.sb, seed, edit.blocks.bytes, this.#view, this.at[level]!);
  }

  /** The indexes above the leaf say where it begins, after its first entry has changed. */
  fixKeys(): void {
    const key = le32(this.#view, this.#entryAt(this.depth, 0));
    for (let level = this.depth - 1; level >= 0; level--) {
      const entry = this.#entryAt(level, this.pos[level]!);
      if (le32(this.#view, entry) !== key) {
        this.write(level);
        setLe32(this.#view, this.#entryAt(level, this.pos[level]!), key);
        this.seal(level);
      }
      if (this.pos[level]! > 0) return;
    }
  }

  /** Opens a gap for one entry of a node that may be written and has room. */
  #gap(level: number, pos: number): number {
    const entries = this.entries(level);
    const from = this.#entryAt(level, pos);
    this.map.edit.blocks.bytes.copyWithin(from + ENTRY, from, this.#entryAt(level, entries));
    this.#setEntries(level, entries + 1);
    return from;
  }

  insert(lblk: number, pblk: number, lengthWord: number): 0 | Errno {
    while (this.#room(this.depth) === 0) {
      const fault = this.#makeRoom(lblk);
      if (fault !== 0) return fault;
      const lost = this.find(lblk);
      if (lost !== 0) return lost;
    }
    this.write();
    const pos = this.pos[this.depth]! + 1;
    putExtent(this.#view, this.#gap(this.depth, pos), lblk, pblk, lengthWord);
    this.pos[this.depth] = pos;
    this.seal();
    if (pos === 0) this.fixKeys();
    return 0;
  }

  /** One step towards room in the leaf for lblk: the full nodes below the first one with room are split, or the root grows. */
  #makeRoom(lblk: number): 0 | Errno {
    let level = this.depth;
    while (level > 0 && this.#room(level) === 0) level--;
    return this.#room(level) === 0 ? this.#grow() : this.#split(level, lblk);
  }

  #initNode(block: number, depth: number): number {
    const at = this.map.edit.blocks.fresh(block);
    setLe16(this.#view, at + EXTENT_HEADER.eh_magic, EXTENT_MAGIC);
    setLe16(this.#view, at + EXTENT_HEADER.eh_max, extentEntriesMax(this.map.edit.sb));
    setLe16(this.#view, at + EXTENT_HEADER.eh_depth, depth);
    return at;
  }

  /** The root's entries move into a block of their own, and the root becomes the index of that. */
  #grow(): 0 | Errno {
    const { edit } = this.map;
    assert(this.depth < EXTENT_DEPTH_MAX, "TreePath: five levels hold every block that a file can have");
    const root = this.at[0]!;
    const goal = this.depth > 0 ? this.block[1]! : this.#leafGoal();
    const block = newNode(this.map, goal);
    if (block < 0) return block as Errno;
    const at = this.#initNode(block, this.depth);
    const entries = this.entries(0);
    const { bytes } = edit.blocks;
    bytes.copyWithin(at + EXTENT_HEADER.bytes, root + EXTENT_HEADER.bytes, this.#entryAt(0, entries));
    setLe16(this.#view, at + EXTENT_HEADER.eh_entries, entries);
    setExtentChecksum(edit.sb, this.map.seed, bytes, this.#view, at);
    const key = le32(this.#view, root + EXTENT_HEADER.bytes);
    bytes.fill(0, root + EXTENT_HEADER.bytes, root + I_BLOCK_BYTES);
    putIndex(this.#view, root + EXTENT_HEADER.bytes, key, block);
    this.#setEntries(0, 1);
    setLe16(this.#view, root + EXTENT_HEADER.eh_depth, this.depth + 1);
    return 0;
  }

  /** A map's first block lies near the data that it maps. */
  #leafGoal(): number {
    const first = this.at[0]! + EXTENT_HEADER.bytes;
    return this.entries(0) > 0
      ? le32(this.#view, first + EXTENT.ee_start_lo) + le16(this.#view, first + EXTENT.ee_start_hi) * 2 ** 32
      : 0;
  }

  /**
   * What lies behind the path in the nodes below `top` goes into new ones, which `top` gets one index more for. At the end
   * of a leaf that is nothing, and the new leaf is empty for the moment: files that grow fill their leaves.
   */
  #split(top: number, lblk: number): 0 | Errno {
    const { map, depth } = this;
    const { edit } = map;
    const made: number[] = [];
    for (let level = depth; level > top; level--) {
      const block = newNode(map, this.block[level]!);
      if (block < 0) {
        for (const node of made) freeNode(map, node);
        return block as Errno;
      }
      made.push(block);
    }
    const behind = this.pos[depth]! + 1;
    const key = behind < this.entries(depth) ? le32(this.#view, this.#entryAt(depth, behind)) : lblk;
    const { bytes } = edit.blocks;
    let below = 0;
    for (let level = depth; level > top; level--) {
      const block = made[depth - level]!;
      const at = this.#initNode(block, depth - level);
      this.write(level);
      const from = this.pos[level]! + 1;
      const entries = this.entries(level);
      let to = at + EXTENT_HEADER.bytes;
      if (level < depth) {
        putIndex(this.#view, to, key, below);
        to += ENTRY;
      }
      bytes.copyWithin(to, this.#entryAt(level, from), this.#entryAt(level, entries));
      setLe16(this.#view, at + EXTENT_HEADER.eh_entries, entries - from + (level < depth ? 1 : 0));
      this.#setEntries(level, from);
      this.seal(level);
      setExtentChecksum(edit.sb, map.seed, bytes, this.#view, at);
      below = block;
    }
    this.write(top);
    putIndex(this.#view, this.#gap(top, this.pos[top]! + 1), key, below);
    this.seal(top);
    return 0;
  }

  remove(): 0 | Errno {
    const { bytes } = this.map.edit.blocks;
    for (let level = this.depth; ; level--) {
      const entries = this.entries(level);
      if (level > 0 && entries === 1) {
        const fault = freeNode(this.map, this.block[level]!);
        if (fault !== 0) return fault;
        continue;
      }
      this.write(level);
      const pos = this.pos[level]!;
      bytes.copyWithin(this.#entryAt(level, pos), this.#entryAt(level, pos + 1), this.#entryAt(level, entries));
      this.#setEntries(level, entries - 1);
      bytes.fill(0, this.#entryAt(level, entries - 1), this.#entryAt(level, entries));
      this.seal(level);
      if (entries === 1) setLe16(this.#view, this.at[0]! + EXTENT_HEADER.eh_depth, 0);
      else if (pos === 0 && level > 0) this.#fixKeysAbove(level);
      return 0;
    }
  }

  /** As fixKeys(), from a node in the middle of the path. */
  #fixKeysAbove(from: number): void {
    const { depth } = this;
    this.depth = from;
    this.fixKeys();
    this.depth = depth;
  }

  pullUp(): 0 | Errno {
    const entries = this.depth === 1 ? this.entries(1) : 0;
    if (this.depth !== 1 || this.entries(0) !== 1 || entries > ROOT_ENTRIES) return 0;
    const { bytes } = this.map.edit.blocks;
    const root = this.at[0]!;
    const from = this.at[1]! + EXTENT_HEADER.bytes;
    bytes.copyWithin(root + EXTENT_HEADER.bytes, from, from + entries * ENTRY);
    this.#setEntries(0, entries);
    setLe16(this.#view, root + EXTENT_HEADER.eh_depth, 0);
    return freeNode(this.map, this.block[1]!);
  }
}

export function putExtent(view: DataView, entry: number, lblk: number, pblk: number, lengthWord: number): void {
  setLe32(view, entry + EXTENT.ee_block, lblk);
  setLe16(view, entry + EXTENT.ee_len, lengthWord);
  setLe16(view, entry + EXTENT.ee_start_hi, Math.floor(pblk / 2 ** 32));
  setLe32(view, entry + EXTENT.ee_start_lo, pblk % 2 ** 32);
}

function putIndex(view: DataView, entry: number, lblk: number, block: number): void {
  setLe32(view, entry + EXTENT_INDEX.ei_block, lblk);
  setLe32(view, entry + EXTENT_INDEX.ei_leaf_lo, block % 2 ** 32);
  setLe16(view, entry + EXTENT_INDEX.ei_leaf_hi, Math.floor(block / 2 ** 32));
  setLe16(view, entry + EXTENT_INDEX.ei_unused, 0);
}
