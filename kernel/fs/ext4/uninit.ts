/**
 * The block bitmap of a group that has none yet (BG_BLOCK_UNINIT): nothing is used but what the format itself puts
 * there: superblock, descriptors with their reserve, and the group's own bitmaps and inode table as far as they lie in
 * it. Bits beyond the last block are set.
 *
 * - uninitBlockBitmap(...)         the bitmap, of a block's size
 * - fillUninitBitmap(..., view, at)    the same put to an address; the descriptor lies at `desc` in `blocks`
 */
import type { Blocks } from "../blocks.ts";
import { setBits } from "./bits.ts";
import { gdBlockBitmap, gdInodeBitmap, gdInodeTable } from "./group.ts";
import { blocksIn, firstBlockOf, overheadOf } from "./super.ts";
import type { Super } from "./super.ts";

export function fillUninitBitmap(
  blocks: Blocks,
  sb: Super,
  group: number,
  desc: number,
  view: DataView,
  to: number,
): void {
  const first = firstBlockOf(sb, group);
  const count = blocksIn(sb, group);
  const size = 2 ** sb.clusterBits;
  const add = (from: number, length: number): void => {
    const start = Math.floor((Math.max(from, first) - first) / size);
    const end = Math.ceil((Math.min(from + length, first + count) - first) / size);
    if (end > start) setBits(view, to, start, end - start, true);
  };
  setBits(view, to, 0, sb.blockSize * 8, false);
  const overhead = overheadOf(sb, group);
  add(first, overhead.supers);
  add(overhead.from, overhead.gdt);
  add(gdBlockBitmap(sb, blocks.view, desc), 1);
  add(gdInodeBitmap(sb, blocks.view, desc), 1);
  add(gdInodeTable(sb, blocks.view, desc), sb.itableBlocks);
  const clusters = Math.ceil(count / size);
  setBits(view, to, clusters, sb.blockSize * 8 - clusters, true);
}

export function uninitBlockBitmap(blocks: Blocks, sb: Super, group: number, desc: number): Uint8Array {
  const bitmap = new Uint8Array(sb.blockSize);
  fillUninitBitmap(blocks, sb, group, desc, new DataView(bitmap.buffer), 0);
  return bitmap;
}
