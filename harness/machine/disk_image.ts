/**
 * The disk of a booted machine: `new:256M`, a fresh ext4 as mke2fs would lay it out, or an image file, which is read and
 * not written.
 *
 * - openDisk(text, seed)    the image's bytes
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { imageOf, isRefusal, makeExt4 } from "../../kernel/index.ts";
import { next32, prng } from "../../kernel/lib/prng.ts";
import { byteSize } from "../cli/args.ts";
import { UserError } from "../cli/exit.ts";

/** Smallest and largest disk that a machine boots from. */
const BYTES_MIN = 8 * 2 ** 20;
const BYTES_MAX = 2 * 2 ** 30;
const BLOCK = 4096;
/** 2026-01-01. */
const MADE_SEC = 1_767_225_600;

export function openDisk(text: string, seed: number): Uint8Array {
  if (text.startsWith("new:")) return freshDisk(sizeOf(text), seed);
  if (!existsSync(text) || !statSync(text).isFile())
    throw new UserError(`--disk ${text}: there is no such file; a fresh one: --disk new:256M`);
  const file = openSync(text, "r");
  try {
    const bytes = fstatSync(file).size;
    if (bytes < BYTES_MIN / 8 || bytes > BYTES_MAX || bytes % 512 !== 0)
      throw new UserError(`--disk ${text}: ${bytes} bytes; an image has whole sectors, from 1M to 2G`);
    const image = new Uint8Array(new SharedArrayBuffer(bytes));
    const part = Buffer.alloc(2 ** 20);
    for (let at = 0; at < bytes;) {
      const got = readSync(file, part, 0, part.length, at);
      if (got === 0) throw new UserError(`--disk ${text}: it ends early`);
      image.set(part.subarray(0, got), at);
      at += got;
    }
    return image;
  } finally {
    closeSync(file);
  }
}

function sizeOf(text: string): number {
  try {
    return byteSize(BYTES_MIN, BYTES_MAX)(text.slice("new:".length));
  } catch (error) {
    throw new UserError(`--disk ${text}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function freshDisk(bytes: number, seed: number): Uint8Array {
  const random = prng(seed);
  const sixteen = (): Uint8Array => Uint8Array.from({ length: 16 }, () => next32(random) & 0xff);
  const made = makeExt4({
    sizeBytes: bytes - (bytes % BLOCK),
    blockSize: BLOCK,
    uuid: sixteen(),
    hashSeed: sixteen(),
    now: MADE_SEC,
  });
  if (isRefusal(made)) throw new UserError(`--disk new:${bytes}: ${made.reason}`);
  return imageOf(made).bytes;
}
