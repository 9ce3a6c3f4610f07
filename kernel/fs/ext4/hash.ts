/**
 * Hashes of directory names, as htree directories are ordered by: half MD4, TEA, and ext3's first one. They are part of
 * the format. Names hash as signed or unsigned bytes: s_flags says which, because the first kernels used what `char`
 * was on their processor. The result's lowest bit is always 0: in an index it marks a continued hash.
 *
 * - nameHash(sb, version, bytes, at, length)   the major hash; minorHash() gives the minor of the same call
 *
 * Half MD4 and TEA take the name in pieces of 32 and 16 bytes, the last one filled with the length.
 */
import { DX_HASH_HALF_MD4, DX_HASH_LEGACY, DX_HASH_TEA } from "./layout_dir.ts";
import type { Super } from "./super.ts";

/** A hash that readdir uses as the end of all. */
const HASH_EOF = 0x7fffffff << 1;
const MD4_ROUND_2 = 0x5a827999;
const MD4_ROUND_3 = 0x6ed9eba1;
const TEA_DELTA = 0x9e3779b9;
const TEA_ROUNDS = 16;
const MD4_INIT = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;

/** Scratch: all of it is written before it is read, within one call. */
const STATE = new Int32Array(4);
const WORDS = new Int32Array(8);

const rotl = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
const choose = (x: number, y: number, z: number): number => z ^ (x & (y ^ z));
const majority = (x: number, y: number, z: number): number => (x & y) + ((x ^ y) & z);

/** Order in which the words of a piece enter the three rounds. */
const ROUNDS = [
  [0, 1, 2, 3, 4, 5, 6, 7],
  [1, 3, 5, 7, 0, 2, 4, 6],
  [3, 7, 2, 6, 1, 5, 0, 4],
] as const;
const SHIFTS = [
  [3, 7, 11, 19],
  [3, 5, 9, 13],
  [3, 9, 11, 15],
] as const;

function halfMd4(): void {
  let [a, b, c, d] = [STATE[0]!, STATE[1]!, STATE[2]!, STATE[3]!];
  for (let round = 0; round < 3; round++) {
    const add = round === 0 ? 0 : round === 1 ? MD4_ROUND_2 : MD4_ROUND_3;
    for (let n = 0; n < 8; n++) {
      const mixed = round === 0 ? choose(b, c, d) : round === 1 ? majority(b, c, d) : b ^ c ^ d;
      const turned = rotl((a + mixed + WORDS[ROUNDS[round]![n]!]! + add) | 0, SHIFTS[round]![n & 3]!);
      a = d;
      d = c;
      c = b;
      b = turned;
    }
  }
  STATE[0]! += a;
  STATE[1]! += b;
  STATE[2]! += c;
  STATE[3]! += d;
}

function tea(): void {
  let [y, z] = [STATE[0]!, STATE[1]!];
  let sum = 0;
  for (let n = 0; n < TEA_ROUNDS; n++) {
    sum = (sum + TEA_DELTA) | 0;
    y = (y + ((((z << 4) + WORDS[0]!) | 0) ^ ((z + sum) | 0) ^ (((z >>> 5) + WORDS[1]!) | 0))) | 0;
    z = (z + ((((y << 4) + WORDS[2]!) | 0) ^ ((y + sum) | 0) ^ (((y >>> 5) + WORDS[3]!) | 0))) | 0;
  }
  STATE[0]! += y;
  STATE[1]! += z;
}

/** Up to 4 * count bytes of the name into WORDS, the rest filled with the length. */
function fillWords(bytes: Uint8Array, at: number, left: number, count: number, unsigned: boolean): void {
  let pad = left | (left << 8);
  pad |= pad << 16;
  const length = Math.min(left, count * 4);
  let word = pad;
  let filled = 0;
  for (let n = 0; n < length; n++) {
    const byte = bytes[at + n]!;
    word = ((unsigned ? byte : (byte << 24) >> 24) + (word << 8)) | 0;
    if ((n & 3) === 3) {
      WORDS[filled++] = word;
      word = pad;
    }
  }
  if (filled < count) WORDS[filled++] = word;
  while (filled < count) WORDS[filled++] = pad;
}

function legacy(bytes: Uint8Array, at: number, length: number, unsigned: boolean): number {
  let hash = 0x12a3fe2d;
  let before = 0x37abe8f9;
  for (let n = 0; n < length; n++) {
    const byte = unsigned ? bytes[at + n]! : (bytes[at + n]! << 24) >> 24;
    let next = (before + (hash ^ Math.imul(byte, 7152373))) >>> 0;
    if ((next & 0x80000000) !== 0) next -= 0x7fffffff;
    before = hash;
    hash = next;
  }
  return (hash << 1) >>> 0;
}

/** -1 for a version that is not known. */
export function nameHash(sb: Super, version: number, bytes: Uint8Array, at: number, length: number): number {
  const seeded = sb.hashSeed.some((word) => word !== 0);
  for (let n = 0; n < 4; n++) STATE[n] = seeded ? sb.hashSeed[n]! : MD4_INIT[n]!;
  let hash: number;
  if (version === DX_HASH_LEGACY) {
    hash = legacy(bytes, at, length, sb.hashUnsigned);
    STATE[1] = 0;
  } else if (version === DX_HASH_HALF_MD4) {
    for (let done = 0; done < length; done += 32) {
      fillWords(bytes, at + done, length - done, 8, sb.hashUnsigned);
      halfMd4();
    }
    hash = STATE[1]!;
    STATE[1] = STATE[2]!;
  } else if (version === DX_HASH_TEA) {
    for (let done = 0; done < length; done += 16) {
      fillWords(bytes, at + done, length - done, 4, sb.hashUnsigned);
      tea();
    }
    hash = STATE[0]!;
  } else return -1;
  hash &= ~1;
  if (hash === HASH_EOF) hash = (HASH_EOF - 2) | 0;
  return hash >>> 0;
}

/** Of the name that nameHash() was last given. */
export const minorHash = (): number => STATE[1]! >>> 0;
