/**
 * The thirteen file systems of a real Linux 6.1 that was killed in the midst of work (test/fixtures/ext4-crash), each with
 * the tree that both Linux and e2fsck recover from it.
 */
import { readFileSync, readdirSync } from "node:fs";
import { resolve } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { manifest } from "../../../harness/ext4/tree.ts";
import { BlockImage, Checker, ext4Layout, imageBuffer, isRefusal, readSuper, recover } from "../../../kernel/index.ts";
import type { CheckReport, Policy, Super } from "../../../kernel/index.ts";
import { assert } from "../../../kernel/lib/assert.ts";

const FOLDER = resolve("test/fixtures/ext4-crash");

export interface Crashed {
  readonly name: string;
  /** Packed by zstd. */
  readonly image: string;
  /** Lines as `orrery ext4 manifest` prints them. */
  readonly expected: readonly string[];
}

/** The first line says how e2fsck ended; it is no part of the tree. */
const linesOf = (path: string): string[] =>
  readFileSync(path, "latin1")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

export const CRASHED: readonly Crashed[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".img.zst"))
  .map((file) => file.slice(0, -".img.zst".length))
  .map((name) => ({
    name,
    image: `${FOLDER}/${name}.img.zst`,
    expected: linesOf(`${FOLDER}/${name}.expected`),
  }));

export const plainImage = ({ image }: Crashed): Uint8Array => zstdDecompressSync(readFileSync(image));

export interface Opened {
  readonly image: BlockImage;
  readonly sb: Super;
}

/** An image in memory, with room for changes behind it. */
export function openBytes(bytes: Uint8Array): Opened {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  assert(!isRefusal(sb), "openBytes: the superblock was refused");
  return { image: new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb };
}

export function lookInto(bytes: Uint8Array): { readonly tree: string[]; readonly report: CheckReport } {
  const { image, sb } = openBytes(bytes);
  return { tree: manifest(image, sb), report: new Checker().run(image, sb) };
}

/** The image after recovery. */
export function recovered(bytes: Uint8Array, policy: Policy, now: number): Uint8Array {
  const { image, sb } = openBytes(bytes);
  const done = recover(image, sb, { policy, now });
  assert(!isRefusal(done), "recovered: the image was refused");
  image.settle();
  return image.bytes.subarray(0, bytes.length);
}
