/**
 * Images to try changes on, with their judges: our checker, and e2fsck -fn and debugfs where they are installed.
 *
 * - newRig(options)          an image in memory; `words` are features as mke2fs takes them, `hash` is s_def_hash_version
 * - rig.call(op, credits)    one change: undone when it ends with an errno, as the runner of calls does it
 * - rig.damage()             what the checker finds; rig.fsck() what e2fsck says when it is not content, "" otherwise
 * - colliding(n)             names of one hash;   lottery(seed): numbers that look like chance
 */
import { execFileSync } from "node:child_process";
import { expect } from "vitest";
import { findTool } from "../../../../harness/qemu/packages.ts";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { FLAGS_SIGNED_HASH, FLAGS_UNSIGNED_HASH, SB, SUPER_OFFSET } from "../../../../kernel/fs/ext4/layout.ts";
import { DX_HASH_HALF_MD4 } from "../../../../kernel/fs/ext4/layout_dir.ts";
import type { MakeOptions } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import { setOrphanPresent } from "../../../../kernel/fs/ext4/orphan_edit.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { setLe32 } from "../../../../kernel/lib/bytes.ts";
import { features, fsck, inFile, made, settled } from "./image_tools.ts";

/** 2026-11-28 */
export const NOW = 1_795_824_000;

export interface RigOptions extends Omit<MakeOptions, "uuid" | "hashSeed" | "now" | "features"> {
  readonly words?: string;
  readonly hash?: number;
  /** Names hash as unsigned bytes. */
  readonly unsigned?: boolean;
}

export interface Rig {
  readonly image: BlockImage;
  readonly sb: Super;
  readonly edit: Edit;
  /** `credits`: it may change no more blocks. */
  call(op: (edit: Edit) => number, credits?: number): number;
  damage(): string[];
  fsck(): string;
  debugfs(command: string): string;
}

export function lottery(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/**
 * The n-th of names that all have one TEA hash, major and minor: its rounds do not see the highest bits of two words of a
 * key when both are turned, and a name is hashed as keys of four words.
 */
export function colliding(n: number): Uint8Array {
  const name = new Uint8Array(16 * 15).fill(0x61);
  for (let bit = 0; bit < 30; bit++) {
    if (((n >>> bit) & 1) === 0) continue;
    const word = (bit >> 1) * 16 + (bit & 1) * 8;
    name[word]! ^= 0x80;
    name[word + 4]! ^= 0x80;
  }
  return name;
}

export function newRig({ words = "", hash = DX_HASH_HALF_MD4, unsigned = false, ...options }: RigOptions): Rig {
  const { image, sb: plain } = made({ ...options, features: features(words) });
  const sb: Super = { ...plain, hashVersion: hash, hashUnsigned: unsigned };
  const flags = unsigned ? FLAGS_UNSIGNED_HASH : FLAGS_SIGNED_HASH;
  setLe32(image.view, SUPER_OFFSET + SB.s_flags, flags);
  image.bytes[SUPER_OFFSET + SB.s_def_hash_version] = hash;
  settled(image, sb);
  image.settle();
  const edit = imageEdit(image, sb, { sec: NOW, nsec: 123_456_789, below: lottery(7) });
  const checker = new Checker();
  return {
    image,
    sb,
    edit,
    call(op, credits = Infinity) {
      const mark = image.mark();
      edit.groups.begin(0);
      const result = op(edit);
      if (result < 0) {
        edit.groups.abort();
        image.rollback(mark);
        return result;
      }
      edit.groups.finish();
      edit.groups.merge();
      expect(image.changed().length).toBeLessThanOrEqual(credits);
      // As at an unmount: no file is held.
      setOrphanPresent(edit, false);
      settled(image, sb);
      image.settle();
      return result;
    },
    damage: () => checker.run(image, sb).damage.map(({ kind, text }) => `${kind}: ${text}`),
    fsck: () => fsck(image),
    debugfs: (command) =>
      inFile(image, (path) =>
        execFileSync(findTool("debugfs")!, ["-R", command, path], { encoding: "utf8", stdio: "pipe" }),
      ),
  };
}
