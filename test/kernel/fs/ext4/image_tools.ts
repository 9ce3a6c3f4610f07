/**
 * Images of tests, and e2fsprogs as the judge of them.
 *
 * - TEST_ID              uuid and hash seed of every image here
 * - made(options)        an empty ext4 in memory; throws when it is refused
 * - inFile(image, use)   the image in a file of its own while `use` runs
 * - fsck(image)          what `e2fsck -fn` says, empty when the image is clean
 * - settled(image, sb)   the superblock's counts and checksum follow, as at an unmount
 */
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import { setSuperChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { sumCounts } from "../../../../kernel/fs/ext4/group_edit.ts";
import { imageOf, makeExt4 } from "../../../../kernel/fs/ext4/mkfs.ts";
import type { MakeOptions } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import { COMPAT, INCOMPAT, RO_COMPAT } from "../../../../kernel/fs/ext4/layout.ts";
import { DEFAULT_FEATURES } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import type { Features } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";

export const TEST_ID = Uint8Array.from({ length: 16 }, (_, n) => 16 + n);
export const TEST_UUID = "10111213-1415-1617-1819-1a1b1c1d1e1f";
export const TEST_NOW = 1_700_000_000;

export const MIB = 2 ** 20;

/** mke2fs's words: "bigalloc,^resize_inode" on top of the defaults; "none," first starts from nothing. */
export function features(words: string): Features {
  let word: Features = DEFAULT_FEATURES;
  for (const name of words.split(",").filter((text) => text !== "")) {
    if (name === "none") {
      word = { compat: 0, incompat: 0, roCompat: 0 };
      continue;
    }
    const plain = name.replace(/^\^/, "");
    const off = plain !== name;
    const change = (bits: number, names: Readonly<Record<string, number>>): number =>
      off ? bits & ~(names[plain] ?? 0) : bits | (names[plain] ?? 0);
    word = {
      compat: change(word.compat, COMPAT),
      incompat: change(word.incompat, INCOMPAT),
      roCompat: change(word.roCompat, RO_COMPAT),
    };
  }
  return word;
}

export function made(options: Omit<MakeOptions, "uuid" | "hashSeed" | "now">): { image: BlockImage; sb: Super } {
  const result = makeExt4({ ...options, uuid: TEST_ID, hashSeed: TEST_ID, now: TEST_NOW });
  if ("reason" in result) throw new Error(result.reason);
  return { image: imageOf(result), sb: result.sb };
}

const ZEROES = new Uint8Array(65536);

export function inFile<Result>(image: BlockImage, use: (path: string) => Result): Result {
  const dir = mkdtempSync(join(tmpdir(), "orrery-image-"));
  const path = join(dir, "image");
  try {
    const file = openSync(path, "w");
    ftruncateSync(file, image.count * image.blockSize);
    for (let block = 0; block < image.count; block++) {
      const at = image.at(block);
      const content = image.bytes.subarray(at, at + image.blockSize);
      if (Buffer.compare(content, ZEROES.subarray(0, image.blockSize)) !== 0)
        writeSync(file, content, 0, content.length, block * image.blockSize);
    }
    closeSync(file);
    return use(path);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export const toolOutput = (program: string, ...args: string[]): string =>
  spawnSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  }).stdout;

export function fsck(image: BlockImage): string {
  return inFile(image, (path) => {
    const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
    const { status, stdout } = spawnSync("e2fsck", ["-fn", path], { encoding: "utf8", env });
    return status === 0 ? "" : `${status}: ${stdout}`;
  });
}

export function settled(image: BlockImage, sb: Super): void {
  const at = image.writable(sb.superBlock) + sb.superOffset;
  sumCounts(image, sb, at);
  setSuperChecksum(sb, image.bytes, image.view, at);
}
