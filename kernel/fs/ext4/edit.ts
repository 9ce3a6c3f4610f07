/**
 * What a change of an ext4 works on, for the length of one call. Made by whoever runs the call: for a mounted file
 * system (call.ts), or for a plain image (imageEdit: mkfs, tests, commands on image files).
 *
 * A function that changes something takes an Edit and inode numbers. The address of an inode that may be written comes
 * from writableInode(edit.blocks, edit.sb, ino) and stays what it is until the call ends; addresses from at() do not
 * survive the first writable() of their block. Whoever changed an inode sets its checksum before the call ends; groups'
 * checksums are set by groups.finish().
 */
import type { EditBlocks } from "../blocks.ts";
import { GroupEdit } from "./group_edit.ts";
import { Space } from "./space.ts";
import type { Super } from "./super.ts";

export interface Edit {
  readonly blocks: EditBlocks;
  readonly sb: Super;
  /** Bitmaps and descriptors; with the tables of space.ts, or nothing is allocated. */
  readonly groups: GroupEdit;
  /** Now: seconds since 1970 and nanoseconds. */
  readonly sec: number;
  readonly nsec: number;
  /** Chance: a whole number below `bound`. */
  readonly below: (bound: number) => number;
  /** May take the blocks that are kept for root. */
  readonly privileged: boolean;
}

export interface ImageEditOptions {
  readonly sec?: number;
  readonly nsec?: number;
  readonly below?: (bound: number) => number;
}

/** On an image, as root. End with edit.groups.finish(). */
export function imageEdit(blocks: EditBlocks, sb: Super, options: ImageEditOptions = {}): Edit {
  return {
    blocks,
    sb,
    groups: new GroupEdit(blocks, sb, new Space(blocks, sb, { journal: false })),
    sec: options.sec ?? 0,
    nsec: options.nsec ?? 0,
    below: options.below ?? (() => 0),
    privileged: true,
  };
}
