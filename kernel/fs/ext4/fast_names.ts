/**
 * Calls that change names, with what of them a fast commit can say. Noted are names that come and go in directories which
 * keep their blocks and their form, of inodes that are no directories and keep a name. All else notes nothing, and then
 * the transaction is committed in full: directories made, moved and removed (Linux 6.1 replays some of these wrong), last
 * names, exchanges, whiteouts, orphans.
 *
 * - createNoted, nameNoted, renameNoted(fast, edit, ..., make)     what make() returned
 */
import { isErr } from "../../abi/errno.ts";
import type { Edit } from "./edit.ts";
import { FC_TAG } from "./fast_commit.ts";
import type { FastTrack } from "./fast_track.ts";
import { inodeAt } from "./group.ts";
import { inodeFlags, inodeLinks, inodeSizeBytes, inodeType } from "./inode.ts";
import { INODE_FLAG, S_IFDIR } from "./layout.ts";

/** Its size and whether it has a hash tree; -1 for one that has no blocks. */
function shapeOf({ blocks, sb }: Edit, dir: number): number {
  const at = inodeAt(blocks, sb, dir);
  if (at < 0) return -1;
  const flags = inodeFlags(blocks.view, at);
  if ((flags & INODE_FLAG.inline_data) !== 0) return -1;
  return 2 * inodeSizeBytes(sb, blocks.view, at) + ((flags & INODE_FLAG.index) === 0 ? 0 : 1);
}

const linksOf = ({ blocks, sb }: Edit, ino: number): number => inodeLinks(blocks.view, inodeAt(blocks, sb, ino));

export function createNoted(fast: FastTrack, edit: Edit, dir: number, name: Uint8Array, make: () => number): number {
  const shape = shapeOf(edit, dir);
  const ino = make();
  if (isErr(ino) || shape < 0 || shapeOf(edit, dir) !== shape) return ino;
  fast.inode(ino);
  fast.name(FC_TAG.CREAT, dir, ino, name);
  return ino;
}

/** One more name, or one less, of an inode that has one before and after. */
export function nameNoted(
  fast: FastTrack,
  edit: Edit,
  tag: typeof FC_TAG.LINK | typeof FC_TAG.UNLINK,
  [dir, name, ino]: readonly [dir: number, name: Uint8Array, ino: number],
  make: () => number,
): number {
  const shape = shapeOf(edit, dir);
  const wasNamed = inodeAt(edit.blocks, edit.sb, ino) >= 0 && linksOf(edit, ino) > 0;
  const done = make();
  if (done !== 0 || !wasNamed || shape < 0 || shapeOf(edit, dir) !== shape || linksOf(edit, ino) === 0) return done;
  fast.inode(ino);
  fast.name(tag, dir, ino, name);
  return done;
}

/** `met` is what the new name named before, or an errno. */
export function renameNoted(
  fast: FastTrack,
  edit: Edit,
  [from, name, ino]: readonly [from: number, name: Uint8Array, ino: number],
  [to, newName, met]: readonly [to: number, newName: Uint8Array, met: number],
  make: () => number,
): number {
  const { blocks, sb } = edit;
  const [shape, other] = [shapeOf(edit, from), shapeOf(edit, to)];
  const done = make();
  if (done !== 0 || !isErr(met) || shape < 0 || other < 0) return done;
  if (shapeOf(edit, from) !== shape || shapeOf(edit, to) !== other) return done;
  if (inodeType(blocks.view, inodeAt(blocks, sb, ino)) === S_IFDIR) return done;
  fast.inode(ino);
  fast.name(FC_TAG.LINK, to, ino, newName);
  fast.name(FC_TAG.UNLINK, from, ino, name);
  return done;
}
