/**
 * The block of extended attributes that an inode may have beside those in itself. Several inodes may share one: h_refcount
 * says how many. Who changes a shared one gets a copy; equal ones are not brought together again.
 *
 * - readBlockItems(blocks, sb, inode)    the items; empty without a block, EFSCORRUPTED
 * - writeBlockItems(edit, ino, items)    without items the block goes. ENOSPC: of the disk; that they fit is known
 * - dropBlock(edit, ino)                 the inode has none any more: freed when it was the last one's
 *
 * i_blocks follows; the inode's checksum is the caller's.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import type { Blocks } from "../blocks.ts";
import { allocBlocks, freeBlocks, inodeGoal } from "./balloc.ts";
import { setXattrBlockChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";
import { inodeFileAcl, inodeSectors } from "./inode.ts";
import { editInode } from "./inode_edit.ts";
import { INODE } from "./layout.ts";
import { XATTR_HEADER, XATTR_MAGIC } from "./layout_inode.ts";
import type { Super } from "./super.ts";
import { sectorsIn, setSectors } from "./truncate.ts";
import { blockArea, blockHash } from "./xattr.ts";
import { listBytes, readItems, writeItems } from "./xattr_list.ts";
import type { XattrItem } from "./xattr_list.ts";

const run = { block: 0, count: 0 };

/** Address of a block that says it holds attributes, -1 for any other. */
function areaAt(blocks: Blocks, sb: Super, block: number): number {
  const at = block >= sb.firstDataBlock && block < sb.blocksCount ? blocks.at(block) : -1;
  if (at < 0 || le32(blocks.view, at + XATTR_HEADER.h_magic) !== XATTR_MAGIC) return -1;
  return le32(blocks.view, at + XATTR_HEADER.h_blocks) === 1 ? at : -1;
}

export function readBlockItems(blocks: Blocks, sb: Super, inode: number): XattrItem[] | Errno {
  const block = inodeFileAcl(sb, blocks.view, inode);
  if (block === 0) return [];
  const at = areaAt(blocks, sb, block);
  if (at < 0) return EFSCORRUPTED;
  return readItems(blocks.bytes, blocks.view, blockArea(sb, at)) ?? EFSCORRUPTED;
}

function setFileAcl({ blocks, sb }: Edit, inode: number, block: number): void {
  const { view } = blocks;
  setLe32(view, inode + INODE.i_file_acl_lo, block % 2 ** 32);
  if (sb.has64bit) setLe16(view, inode + INODE.l_i_file_acl_high, Math.floor(block / 2 ** 32));
}

export function writeBlockItems(edit: Edit, ino: number, items: readonly XattrItem[]): 0 | Errno {
  const { blocks, sb } = edit;
  const { view, bytes } = blocks;
  if (items.length === 0) return dropBlock(edit, ino);
  if (listBytes(items) > sb.blockSize - XATTR_HEADER.bytes) return EFSCORRUPTED;
  const inode = editInode(edit, ino);
  let block = inodeFileAcl(sb, view, inode);
  const old = block === 0 ? -1 : areaAt(blocks, sb, block);
  if (block !== 0 && old < 0) return EFSCORRUPTED;
  if (old < 0 || le32(view, old + XATTR_HEADER.h_refcount) > 1) {
    const result = allocBlocks(edit, inodeGoal(edit, ino), 1, 0, run);
    if (result !== 0) return result;
    const fault = dropBlock(edit, ino);
    if (fault !== 0) return fault;
    block = run.block;
    setFileAcl(edit, inode, block);
    setSectors(sb, view, inode, inodeSectors(sb, view, inode) + sectorsIn(sb));
  }
  const at = blocks.fresh(block);
  setLe32(view, at + XATTR_HEADER.h_magic, XATTR_MAGIC);
  setLe32(view, at + XATTR_HEADER.h_refcount, 1);
  setLe32(view, at + XATTR_HEADER.h_blocks, 1);
  const hashes = writeItems(bytes, view, blockArea(sb, at), items, true);
  setLe32(view, at + XATTR_HEADER.h_hash, blockHash(hashes));
  setXattrBlockChecksum(sb, bytes, view, at, block);
  return 0;
}

export function dropBlock(edit: Edit, ino: number): 0 | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const inode = editInode(edit, ino);
  const block = inodeFileAcl(sb, view, inode);
  if (block === 0) return 0;
  if (areaAt(blocks, sb, block) < 0) return EFSCORRUPTED;
  const references = le32(view, blocks.at(block) + XATTR_HEADER.h_refcount);
  if (references > 1) {
    const at = blocks.writable(block);
    setLe32(view, at + XATTR_HEADER.h_refcount, references - 1);
    setXattrBlockChecksum(sb, blocks.bytes, view, at, block);
  } else {
    const result = freeBlocks(edit, block, 1, true);
    if (result !== 0) return result;
  }
  setFileAcl(edit, inode, 0);
  setSectors(sb, view, inode, inodeSectors(sb, view, inode) - sectorsIn(sb));
  return 0;
}
