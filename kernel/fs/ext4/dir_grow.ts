/**
 * A directory becomes one block longer.
 *
 * - appendBlock(edit, dir, out)    the new last block: out.lblk in the directory, out.pblk on the device, zeroed. ENOSPC
 * - dirSeed(edit, dir)             what the checksums of a directory's blocks start from
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { inodeSeed } from "./csum.ts";
import type { Edit } from "./edit.ts";
import { inodeGeneration, inodeSizeBytes } from "./inode.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { INCOMPAT } from "./layout.ts";
import { mapCreate } from "./map_edit.ts";
import type { Created } from "./map_edit.ts";

export interface Appended {
  lblk: number;
  pblk: number;
}

const mapped: Created = { pblk: 0, length: 0, unwritten: false, isNew: false };

export const dirSeed = ({ blocks, sb }: Edit, ino: number, at: number): number =>
  inodeSeed(sb, ino, inodeGeneration(blocks.view, at));

export function appendBlock(edit: Edit, dir: number, out: Appended): 0 | Errno {
  const { sb, blocks } = edit;
  const size = inodeSizeBytes(sb, blocks.view, editInode(edit, dir));
  if (size + sb.blockSize >= 2 ** 32 && (sb.incompat & INCOMPAT.large_dir) === 0) return ENOSPC;
  const lblk = size / sb.blockSize;
  const result = mapCreate(edit, dir, lblk, 1, 0, mapped);
  if (result !== 0) return result;
  out.lblk = lblk;
  out.pblk = mapped.pblk;
  setInodeSize(edit, dir, size + sb.blockSize);
  sealInode(edit, dir);
  blocks.fresh(out.pblk);
  return 0;
}
