/**
 * The block bitmap of a group that has none yet (BG_BLOCK_UNINIT): nothing is used but what the format itself puts
 * there: superblock, descriptors with their reserve, and the group's own bitmaps and inode table as far as they lie in
 * it. Bits beyond the last block are set.
 *
 * - uninitBlockBitmap(...)     the bits, as a set
 */
import type { Blocks } from "../blocks.ts";
import { gdBlockBitmap, gdInodeBitmap, gdInodeTable } from "./group.ts";
import { blocksIn, firstBlockOf, overheadOf } from "./super.ts";
import type { Super } from "./super.ts";

export function uninitBlockBitmap(blocks: Blocks, sb: Super, group: number, desc: number): Set<number> {
  const used = new Set<number>();
  const first = firstBlockOf(sb, group);
  const count = blocksIn(sb, group);
  const add = (from: number, length: number): void => {
    const start = Math.max(from, first) - first;
    const end = Math.min(from + length, first + count) - first;
    for (let n = start; n < end; n++) used.add(Math.floor(n / 2 ** sb.clusterBits));
  };
  const overhead = overheadOf(sb, group);
  add(first, overhead.supers);
  add(overhead.from, overhead.gdt);
  add(gdBlockBitmap(sb, blocks.view, desc), 1);
  add(gdInodeBitmap(sb, blocks.view, desc), 1);
  add(gdInodeTable(sb, blocks.view, desc), sb.itableBlocks);
  const clusters = Math.ceil(count / 2 ** sb.clusterBits);
  for (let bit = clusters; bit < sb.blockSize * 8; bit++) used.add(bit);
  return used;
}
