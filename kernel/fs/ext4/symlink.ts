/**
 * The target of a new symbolic link: in i_block when it is shorter than 60 bytes (a fast link), else in a block of its own.
 * readLink() of file.ts reads both, and inline ones, which Linux does not make.
 *
 * - setTarget(edit, ino, target)    ENAMETOOLONG when it does not fit a block with a NUL behind it; ENOSPC
 */
import { ENAMETOOLONG, ENOENT } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { setLe32 } from "../../lib/bytes.ts";
import type { Edit } from "./edit.ts";
import { inodeFlags } from "./inode.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { INODE, INODE_FLAG, I_BLOCK_BYTES } from "./layout.ts";
import { mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";

const mapped: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

export function setTarget(edit: Edit, ino: number, target: Uint8Array): 0 | Errno {
  const { blocks, sb } = edit;
  const { view, bytes } = blocks;
  if (target.length === 0) return ENOENT;
  if (target.length + 1 > sb.blockSize) return ENAMETOOLONG;
  const inode = editInode(edit, ino);
  if (target.length < I_BLOCK_BYTES) {
    const place = inode + INODE.i_block;
    setLe32(view, inode + INODE.i_flags, (inodeFlags(view, inode) & ~INODE_FLAG.extents) >>> 0);
    bytes.fill(0, place, place + I_BLOCK_BYTES);
    bytes.set(target, place);
  } else {
    const result = mapCreate(edit, ino, 0, 1, 0, mapped);
    if (result !== 0) return result;
    bytes.set(target, blocks.fresh(mapped.pblk));
  }
  setInodeSize(edit, ino, target.length);
  sealInode(edit, ino);
  return 0;
}
