/**
 * Small file systems, each of another set of features, that a real Linux filled and left in the midst of work
 * (test/fixtures/ext4-small/make.sh): what damage is tried on.
 *
 * - SMALL_IMAGES               their names
 * - smallImage(name)           the bytes, unpacked anew for each call
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { packageRoot } from "../../cli/package.ts";

export const SMALL_IMAGES = [
  "plain",
  "bare",
  "crc16",
  "indirect",
  "inline",
  "fast",
  "bigalloc",
  "metabg",
  "async",
  "block4k",
  "nojournal",
] as const;
export type SmallImage = (typeof SMALL_IMAGES)[number];

export const smallImage = (name: SmallImage): Uint8Array =>
  zstdDecompressSync(readFileSync(join(packageRoot, `test/fixtures/ext4-small/${name}.img.zst`)));
