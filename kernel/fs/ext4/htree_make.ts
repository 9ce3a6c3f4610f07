/**
 * A linear directory of one block gets a hash tree: its entries move to a second block, the first leaf, and the first one
 * becomes the root. layout_dir.ts draws both.
 *
 * - makeIndex(edit, dir)    ENOSPC; EFSCORRUPTED when the block does not begin with "." and ".."
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe16, setLe32 } from "../../lib/bytes.ts";
import { direntBytes, recLen } from "./dir.ts";
import { endLeaf, entryIno, lastEntry, leafEnd, setRecLen } from "./dir_block.ts";
import { appendBlock, dirSeed } from "./dir_grow.ts";
import type { Appended } from "./dir_grow.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { dxCountOffset, dxLimit } from "./htree.ts";
import { sealNode } from "./htree_edit.ts";
import { inodeFlags } from "./inode.ts";
import { editInode, sealInode } from "./inode_edit.ts";
import { INODE, INODE_FLAG } from "./layout.ts";
import { DX_COUNTLIMIT, DX_ENTRY, DX_ROOT_INFO, DX_ROOT_INFO_OFFSET } from "./layout_dir.ts";

const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
const appended: Appended = { lblk: 0, pblk: 0 };

/** The first block keeps only "." and "..", whose rec_len hides the index. */
export function makeIndex(edit: Edit, dir: number): 0 | Errno {
  const { blocks, sb } = edit;
  const { view, bytes } = blocks;
  const inode = editInode(edit, dir);
  const seed = dirSeed(edit, dir, inode);
  if (mapBlock(blocks, sb, inode, 0, mapped) !== 0 || mapped.pblk === 0) return EFSCORRUPTED;
  const at = blocks.writable(mapped.pblk);
  const dotdot = at + direntBytes(1);
  const from = dotdot + recLen(sb, view, dotdot);
  if (entryIno(view, at) !== dir || recLen(sb, view, at) !== direntBytes(1)) return EFSCORRUPTED;
  if (from > at + leafEnd(sb)) return EFSCORRUPTED;
  const result = appendBlock(edit, dir, appended);
  if (result !== 0) return result;
  const leaf = blocks.writable(appended.pblk);
  bytes.copyWithin(leaf, from, at + leafEnd(sb));
  const last = lastEntry(sb, view, leaf, leaf + at + leafEnd(sb) - from);
  endLeaf(blocks, sb, seed, leaf, last - leaf);
  const info = at + DX_ROOT_INFO_OFFSET;
  bytes.fill(0, info, at + sb.blockSize);
  setRecLen(sb, view, dotdot, sb.blockSize - direntBytes(1));
  bytes[info + DX_ROOT_INFO.hash_version] = sb.hashVersion;
  bytes[info + DX_ROOT_INFO.info_length] = DX_ROOT_INFO.bytes;
  const first = at + dxCountOffset(true);
  setLe16(view, first + DX_COUNTLIMIT.limit, dxLimit(sb, true));
  setLe16(view, first + DX_COUNTLIMIT.count, 1);
  setLe32(view, first + DX_ENTRY.block, appended.lblk);
  sealNode(edit, dir, at, true);
  setLe32(view, inode + INODE.i_flags, inodeFlags(view, inode) | INODE_FLAG.index);
  sealInode(edit, dir);
  return 0;
}
