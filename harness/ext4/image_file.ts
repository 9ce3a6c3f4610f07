/**
 * Disk images in files of the host, whole in memory: plain, or packed by zstd or gzip, which is seen by their first bytes.
 *
 * - loadImage(path)           the bytes, with room behind them for changed blocks (kernel/fs/block_image.ts)
 * - openExt4(path)            the same as blocks, and the superblock; UserError when it holds no ext4
 * - storeChanged(...)         changed blocks back into a plain image, those that make them valid last
 *
 * Zeroes are not copied, so that a sparse image takes as much memory as it has data.
 */
import { closeSync, existsSync, fdatasyncSync, fstatSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { EOPNOTSUPP } from "../../kernel/abi/errno.ts";
import { BlockImage, ext4Layout, imageBuffer, isRefusal, readSuper } from "../../kernel/index.ts";
import type { Refusal, Super } from "../../kernel/index.ts";
import { sizeText } from "../cli/args.ts";
import { EXIT, UserError } from "../cli/exit.ts";

/** Twice as much is reserved; touched is only what holds data. */
const IMAGE_BYTES_MAX = 2 ** 31;
const CHUNK_BYTES = 1 << 20;
const ZEROES = new Uint8Array(4096);
/** A device is a multiple of sectors, a superblock ends at 2 KiB. */
const IMAGE_BYTES_MIN = 2048;
const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC = [0x1f, 0x8b];

interface LoadedImage {
  readonly path: string;
  readonly packed: boolean;
  readonly buffer: Uint8Array;
  readonly sizeBytes: number;
}

export interface Ext4Image extends LoadedImage {
  readonly image: BlockImage;
  readonly sb: Super;
}

const startsWith = (bytes: Uint8Array, magic: readonly number[]): boolean =>
  magic.every((byte, at) => bytes[at] === byte);

function loadImage(path: string): LoadedImage {
  if (!existsSync(path)) throw new UserError(`cannot read ${path}: no such file`);
  if (statSync(path).isDirectory()) throw new UserError(`cannot read ${path}: it is a directory, not a disk image`);
  const file = openSync(path, "r");
  try {
    const sizeBytes = fstatSync(file).size;
    const head = new Uint8Array(4);
    readSync(file, head, 0, 4, 0);
    if (startsWith(head, ZSTD_MAGIC) || startsWith(head, GZIP_MAGIC)) return unpack(path, file, sizeBytes, head);
    checkSize(path, sizeBytes);
    const buffer = imageBuffer(sizeBytes);
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let at = 0; at < sizeBytes;) {
      const got = readSync(file, chunk, 0, Math.min(CHUNK_BYTES, sizeBytes - at), at);
      if (got === 0) throw new UserError(`cannot read ${path}: it became shorter meanwhile`);
      copyData(chunk.subarray(0, got), buffer, at);
      at += got;
    }
    return { path, packed: false, buffer, sizeBytes };
  } finally {
    closeSync(file);
  }
}

function checkSize(path: string, sizeBytes: number): void {
  if (sizeBytes < IMAGE_BYTES_MIN) throw new UserError(`${path} holds no ext4: it has only ${sizeBytes} bytes`);
  if (sizeBytes > IMAGE_BYTES_MAX)
    throw new UserError(`${path} is too large: images up to ${sizeText(IMAGE_BYTES_MAX)} are read`);
}

function unpack(path: string, file: number, packedBytes: number, head: Uint8Array): LoadedImage {
  const packed = new Uint8Array(packedBytes);
  for (let at = 0; at < packedBytes;) {
    const got = readSync(file, packed, at, packedBytes - at, at);
    if (got === 0) break;
    at += got;
  }
  let plain: Uint8Array;
  try {
    const options = { maxOutputLength: IMAGE_BYTES_MAX };
    plain = startsWith(head, ZSTD_MAGIC) ? zstdDecompressSync(packed, options) : gunzipSync(packed, options);
  } catch (error) {
    throw new UserError(`cannot unpack ${path}: ${error instanceof Error ? error.message : "it is damaged"}`);
  }
  checkSize(path, plain.length);
  const buffer = imageBuffer(plain.length);
  for (let at = 0; at < plain.length; at += CHUNK_BYTES) copyData(plain.subarray(at, at + CHUNK_BYTES), buffer, at);
  return { path, packed: true, buffer, sizeBytes: plain.length };
}

/** Pages of zeroes stay untouched. */
function copyData(from: Uint8Array, to: Uint8Array, at: number): void {
  for (let n = 0; n < from.length; n += ZEROES.length) {
    const part = from.subarray(n, n + ZEROES.length);
    if (Buffer.compare(part, ZEROES.subarray(0, part.length)) !== 0) to.set(part, at + n);
  }
}

/** What `readSuper` refused: damage to report, or an image that is none of ours. */
export function ext4Of(loaded: LoadedImage): Ext4Image | Refusal {
  const { buffer, sizeBytes } = loaded;
  const view = new DataView(buffer.buffer);
  const sb = readSuper(view, ext4Layout.SUPER_OFFSET, sizeBytes);
  if (isRefusal(sb)) return sb;
  return { ...loaded, sb, image: new BlockImage(buffer, sb.blockSize, sb.blocksCount) };
}

export function openExt4(path: string): Ext4Image {
  const opened = openOrDamage(path);
  if (!isRefusal(opened)) return opened;
  throw new UserError(`${path}: ${opened.reason}`, EXIT.invariant);
}

/** Throws for an image that is no ext4, or one that is not supported; returns what is wrong with a damaged one. */
export function openOrDamage(path: string): Ext4Image | Refusal {
  const loaded = loadImage(path);
  const opened = ext4Of(loaded);
  if (!isRefusal(opened)) return opened;
  const hasMagic =
    new DataView(loaded.buffer.buffer).getUint16(ext4Layout.SUPER_OFFSET + ext4Layout.SB.s_magic, true) ===
    ext4Layout.EXT4_MAGIC;
  if (hasMagic && opened.errno !== EOPNOTSUPP) return opened;
  throw new UserError(`cannot use ${path}: ${opened.reason}`);
}

/** `last` are the blocks that declare the others valid: superblock and journal. They follow a flush. */
export function storeChanged({ path, image }: Ext4Image, changed: readonly number[], last: readonly number[]): void {
  const file = openSync(path, "r+");
  try {
    const store = (blocks: readonly number[]): void => {
      for (const block of blocks) {
        const at = image.at(block);
        for (let done = 0; done < image.blockSize;)
          done += writeSync(file, image.bytes, at + done, image.blockSize - done, block * image.blockSize + done);
      }
      fdatasyncSync(file);
    };
    store(changed.filter((block) => !last.includes(block)));
    store(changed.filter((block) => last.includes(block)));
  } finally {
    closeSync(file);
  }
}
