/**
 * Images to try changes on, made by mke2fs, and their judges: our checker, e2fsck -fn, debugfs.
 *
 * - newRig(args, sizeKiB, tune)   an image in memory
 * - colliding(n)              names of one hash
 * - rig.edit                  what changes work on; rig.settle() ends a change: group checksums and the superblock's counts
 * - rig.damage()              what the checker finds; rig.fsck() what e2fsck says when it is not content, "" otherwise
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openExt4 } from "../../../../harness/ext4/image_file.ts";
import { findTool } from "../../../../harness/qemu/packages.ts";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { sumCounts } from "../../../../kernel/fs/ext4/group_edit.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { editSuper, sealSuper } from "../../../../kernel/fs/ext4/super_edit.ts";

/** 2026-11-28 */
export const NOW = 1_795_824_000;

export interface Rig {
  readonly image: BlockImage;
  readonly sb: Super;
  readonly edit: Edit;
  settle(): void;
  damage(): string[];
  fsck(): string;
  debugfs(command: string): string;
}

const inFolder = <T>(use: (path: string) => T): T => {
  const folder = mkdtempSync(join(tmpdir(), "orrery-ext4-"));
  try {
    return use(join(folder, "image"));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

/** Numbers that look like chance and are the same in each run. */
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

/** `tune` is for tune2fs, which can do what mke2fs takes from its configuration file only. */
export function newRig(args: readonly string[], sizeKiB: number, tune: readonly string[] = []): Rig {
  const { image, sb } = inFolder((path) => {
    execFileSync(findTool("mkfs.ext4")!, ["-q", "-F", ...args, path, `${sizeKiB}k`]);
    if (tune.length > 0) execFileSync(findTool("tune2fs")!, [...tune, path], { stdio: "pipe" });
    return openExt4(path);
  });
  const edit = imageEdit(image, sb, { sec: NOW, nsec: 123_456_789, below: lottery(7) });
  const checker = new Checker();
  const withFile = <T>(use: (path: string) => T): T =>
    inFolder((path) => {
      const bytes = Buffer.alloc(image.count * image.blockSize);
      for (let block = 0; block < image.count; block++)
        bytes.set(image.bytes.subarray(image.at(block), image.at(block) + image.blockSize), block * image.blockSize);
      writeFileSync(path, bytes);
      return use(path);
    });
  return {
    image,
    sb,
    edit,
    settle() {
      edit.groups.finish();
      sumCounts(image, sb, editSuper(edit));
      sealSuper(edit);
    },
    damage: () => checker.run(image, sb).damage.map(({ kind, text }) => `${kind}: ${text}`),
    fsck: () =>
      withFile((path) => {
        const run = spawnSync(findTool("e2fsck")!, ["-fn", path], { encoding: "utf8" });
        return run.status === 0 ? "" : run.stdout + run.stderr;
      }),
    debugfs: (command) =>
      withFile((path) =>
        execFileSync(findTool("debugfs")!, ["-R", command, path], { encoding: "utf8", stdio: "pipe" }),
      ),
  };
}
