/**
 * Orphans while mounted: inodes whose names are gone, or that are being cut off, written down so that a crash does not
 * leave them behind. orphan.ts draws both places and clears them after one. The orphan file (feature orphan_file) is used
 * while it has a free slot, then the list. Without a journal nothing is written down: e2fsck would find out, as in Linux.
 *
 * - orphanAdd(edit, ino)      nothing when it is there already
 * - orphanDel(edit, ino)      false when it was not there
 * - evictInode(edit, ino, budget)   gives back an inode without links: true when it is free, false when `budget` was used
 *                             up first. Make the call again then, in another transaction
 * - setOrphanPresent(edit, on)  the mount sets the mark for e2fsck and older kernels, the unmount takes it away
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le32, setLe32 } from "../../lib/bytes.ts";
import { inodeSeed, setOrphanBlockChecksum } from "./csum.ts";
import type { Edit } from "./edit.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { freeInode } from "./ialloc.ts";
import { hasBlockMap, inodeDtime, inodeGeneration, inodeLinks, inodeSizeBytes } from "./inode.ts";
import { editInode, sealInode, setInodeSize } from "./inode_edit.ts";
import { COMPAT, INODE, RO_COMPAT, SB } from "./layout.ts";
import { ORPHAN_TAIL } from "./layout_inode.ts";
import { truncateMap } from "./map_edit.ts";
import { editSuper, sealSuper, setSuperFeature } from "./super_edit.ts";
import { dropBlock } from "./xattr_block.ts";

/**
 * Blocks that evictInode() changes at most beside its budget: the superblock or a block of the orphan file, the inode before
 * it in the list, its block of attributes or that one's bitmap and descriptor, its own bitmap and descriptor.
 */
export const EVICT_CREDITS = 6;

/** evictInode: no limit, for images. */
export const WHOLE = 2 ** 53 - 1;

const mapped: Mapped = { pblk: 0, length: 0, unwritten: false };

/** Slot of the orphan file that holds a number (0: a free one); false when there is none. */
const slot = { block: 0, offset: 0 };

function findSlot({ blocks, sb }: Edit, ino: number): boolean {
  const inode = inodeAt(blocks, sb, sb.orphanFileIno);
  if (inode < 0) return false;
  const count = Math.floor(inodeSizeBytes(sb, blocks.view, inode) / sb.blockSize);
  for (let lblk = 0; lblk < count; lblk++) {
    // It has no holes.
    if (mapBlock(blocks, sb, inode, lblk, mapped) !== 0 || mapped.pblk === 0) return false;
    const at = blocks.at(mapped.pblk);
    for (let offset = 0; offset < sb.blockSize - ORPHAN_TAIL.bytes; offset += 4) {
      if (le32(blocks.view, at + offset) !== ino) continue;
      slot.block = mapped.pblk;
      slot.offset = offset;
      return true;
    }
  }
  return false;
}

function setSlot({ blocks, sb }: Edit, ino: number): void {
  const { view, bytes } = blocks;
  const at = blocks.writable(slot.block);
  setLe32(view, at + slot.offset, ino);
  const seed = inodeSeed(sb, sb.orphanFileIno, inodeGeneration(view, inodeAt(blocks, sb, sb.orphanFileIno)));
  setOrphanBlockChecksum(sb, seed, bytes, view, at, slot.block);
}

export function setOrphanPresent(edit: Edit, on: boolean): void {
  setSuperFeature(edit, SB.s_feature_ro_compat, RO_COMPAT.orphan_present, on);
}

const firstOrphan = ({ blocks, sb }: Edit): number =>
  le32(blocks.view, blocks.at(sb.superBlock) + sb.superOffset + SB.s_last_orphan);

/** The one that names `ino` in the list: an inode, 0 for the superblock, -1 when nothing does. */
function nameOnList(edit: Edit, ino: number): number {
  const { blocks, sb } = edit;
  let before = 0;
  let here = firstOrphan(edit);
  for (let steps = 0; here !== 0 && steps < sb.inodesCount; steps++) {
    if (here === ino) return before;
    before = here;
    const at = inodeAt(blocks, sb, here);
    if (at < 0) return -1;
    here = inodeDtime(blocks.view, at);
  }
  return -1;
}

function setNext(edit: Edit, ino: number, next: number): void {
  if (ino === 0) {
    setLe32(edit.blocks.view, editSuper(edit) + SB.s_last_orphan, next);
    sealSuper(edit);
    return;
  }
  setLe32(edit.blocks.view, editInode(edit, ino) + INODE.i_dtime, next);
  sealInode(edit, ino);
}

export function orphanAdd(edit: Edit, ino: number): void {
  const { sb } = edit;
  if ((sb.compat & COMPAT.has_journal) === 0) return;
  const hasFile = sb.orphanFileIno !== 0;
  if ((hasFile && findSlot(edit, ino)) || nameOnList(edit, ino) >= 0) return;
  if (hasFile && findSlot(edit, 0)) {
    setSlot(edit, ino);
    setOrphanPresent(edit, true);
    return;
  }
  setNext(edit, ino, firstOrphan(edit));
  setNext(edit, 0, ino);
}

export function orphanDel(edit: Edit, ino: number): boolean {
  const { sb, blocks } = edit;
  if ((sb.compat & COMPAT.has_journal) === 0) return false;
  if (sb.orphanFileIno !== 0 && findSlot(edit, ino)) {
    setSlot(edit, 0);
    return true;
  }
  const before = nameOnList(edit, ino);
  if (before < 0) return false;
  setNext(edit, before, inodeDtime(blocks.view, inodeAt(blocks, sb, ino)));
  setNext(edit, ino, 0);
  return true;
}

/** `budget` is truncateMap()'s. */
/** `how` is truncateMap()'s. */
export function evictInode(edit: Edit, ino: number, budget: number, how = 0): boolean | Errno {
  const { blocks, sb } = edit;
  const { view } = blocks;
  const at = editInode(edit, ino);
  assert(inodeLinks(view, at) === 0, "evictInode: the inode has a name");
  if (edit.groups.isInodeFree(ino)) return EFSCORRUPTED;
  if (hasBlockMap(sb, view, at)) {
    const done = truncateMap(edit, ino, 0, how, budget);
    if (done !== true) return done;
  }
  const result = dropBlock(edit, ino);
  if (result !== 0) return result;
  orphanDel(edit, ino);
  setInodeSize(edit, ino, 0);
  setLe32(view, at + INODE.i_dtime, edit.sec % 2 ** 32);
  sealInode(edit, ino);
  freeInode(edit, ino);
  return true;
}
