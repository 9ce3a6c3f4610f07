/**
 * Block maps of ext2 and ext3: twelve blocks in the inode, then a single, a double and a triple indirect one.
 *
 * - mapIndirect(...)     where one block of a file lies, and for how many the answer holds
 * - walkIndirect(...)    runs and indirect blocks, in order, told to a visitor
 *
 * Nothing in an indirect block says what it is: only the numbers can be checked. The visitor must refuse a node that it
 * was already told, or a map whose nodes are all one block takes 1024^3 steps.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { MAP_BLOCKS_MAX } from "./extent.ts";
import type { Mapped, MapVisitor } from "./extent.ts";
import { INODE } from "./layout.ts";
import { IND_BLOCK, NDIR_BLOCKS, TIND_BLOCK } from "./layout_inode.ts";
import type { Super } from "./super.ts";

/** Blocks that a tree of `depth` indirect blocks maps. */
const span = (sb: Super, depth: number): number => (sb.blockSize / 4) ** depth;

export function mapIndirect(blocks: Blocks, sb: Super, inode: number, lblk: number, out: Mapped): 0 | Errno {
  const { view } = blocks;
  let slot = inode + INODE.i_block + 4 * lblk;
  let slots = NDIR_BLOCKS - lblk;
  let rest = lblk;
  let depth = 0;
  if (lblk >= NDIR_BLOCKS) {
    rest -= NDIR_BLOCKS;
    depth = 1;
    while (depth <= 3 && rest >= span(sb, depth)) rest -= span(sb, depth++);
    out.unwritten = false;
    out.pblk = 0;
    out.length = MAP_BLOCKS_MAX;
    if (depth > 3) return 0;
    slot = inode + INODE.i_block + 4 * (IND_BLOCK + depth - 1);
    slots = 1;
  }
  for (let level = depth; ; level--) {
    const block = le32(view, slot);
    if (block === 0) {
      out.length = Math.max(1, span(sb, level) - (rest % span(sb, level)));
      out.pblk = 0;
      out.unwritten = false;
      return 0;
    }
    if (block < sb.firstDataBlock || block >= sb.blocksCount) return EFSCORRUPTED;
    if (level === 0) {
      let length = 1;
      while (length < slots && le32(view, slot + 4 * length) === block + length) length++;
      out.pblk = block;
      out.length = block + length > sb.blocksCount ? 1 : length;
      out.unwritten = false;
      return 0;
    }
    const at = blocks.at(block);
    if (at < 0) return EFSCORRUPTED;
    const index = Math.floor(rest / span(sb, level - 1)) % (sb.blockSize / 4);
    slot = at + 4 * index;
    slots = sb.blockSize / 4 - index;
  }
}

export function walkIndirect(blocks: Blocks, sb: Super, inode: number, visitor: MapVisitor): void {
  const base = inode + INODE.i_block;
  if (!walkSlots(blocks, sb, base, NDIR_BLOCKS, 0, 0, 0, visitor)) return;
  let lblk = NDIR_BLOCKS;
  for (let depth = 1; IND_BLOCK + depth - 1 <= TIND_BLOCK; depth++) {
    if (!walkSlots(blocks, sb, base + 4 * (IND_BLOCK + depth - 1), 1, depth, lblk, 0, visitor)) return;
    lblk += span(sb, depth);
  }
}

/** `count` numbers at an address, each the root of a tree of `depth`. False: the visitor ended the walk. */
function walkSlots(
  blocks: Blocks,
  sb: Super,
  at: number,
  count: number,
  depth: number,
  from: number,
  block: number,
  visitor: MapVisitor,
): boolean {
  const { view } = blocks;
  const step = span(sb, depth);
  for (let n = 0; n < count; n++) {
    const child = le32(view, at + 4 * n);
    if (child === 0) continue;
    const lblk = from + n * step;
    if (child < sb.firstDataBlock || child >= sb.blocksCount) {
      visitor.mapDamage("a block number lies outside of the file system", block);
      continue;
    }
    if (depth === 0) {
      let length = 1;
      while (
        n + length < count &&
        child + length < sb.blocksCount &&
        le32(view, at + 4 * (n + length)) === child + length
      )
        length++;
      if (!visitor.run(lblk, child, length, false)) return false;
      n += length - 1;
      continue;
    }
    const childAt = blocks.at(child);
    if (childAt < 0) visitor.mapDamage("a block number lies outside of the file system", block);
    else if (visitor.node(child, childAt, depth - 1)) {
      if (!walkSlots(blocks, sb, childAt, sb.blockSize / 4, depth - 1, lblk, child, visitor)) return false;
    }
  }
  return true;
}
