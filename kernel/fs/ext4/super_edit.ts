/**
 * The superblock, writing: it changes while mounted like any other block, in the journal.
 *
 * - editSuper(edit)               its address, for writing; sealSuper(edit) afterwards
 * - setSuperFeature(...)          one feature bit set or cleared, when it is not so already
 *
 * A Super was read once: what changes here is asked of the block.
 */
import { le32, setLe32 } from "../../lib/bytes.ts";
import { setSuperChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";

export const editSuper = ({ blocks, sb }: Edit): number => blocks.writable(sb.superBlock) + sb.superOffset;

export function sealSuper(edit: Edit): void {
  setSuperChecksum(edit.sb, edit.blocks.bytes, edit.blocks.view, editSuper(edit));
}

/** `field` is the offset of the word, SB.s_feature_...; `bit` the feature's mask. */
export function setSuperFeature(edit: Edit, field: number, bit: number, on: boolean): void {
  const { blocks, sb } = edit;
  const word = le32(blocks.view, blocks.at(sb.superBlock) + sb.superOffset + field);
  if (((word & bit) !== 0) === on) return;
  setLe32(blocks.view, editSuper(edit) + field, (on ? word | bit : word & ~bit) >>> 0);
  sealSuper(edit);
}
