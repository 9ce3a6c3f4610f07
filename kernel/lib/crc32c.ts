/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) as Linux's crc32c(): the register goes in and comes out as it
 * is, without the inversions before and after, so that pieces chain: crc32c(crc32c(seed, a), b) = crc32c(seed, a + b).
 *
 * - crc32c(crc, bytes, at, length)   over a part of an array; eight bytes a step (Kounavis and Berry 2005), or four words,
 *                                    which halves the time of a block: in the host's order, little-endian as Node runs
 * - crc32cWord(crc, word)            over the four bytes of a little-endian word
 * - crc32cHalf(crc, half)            over the two bytes of a little-endian half word
 * - zeroesTable(length), crc32cZeroes(crc, table)   over so many zero bytes, in four look-ups. A CRC is linear: with the
 *   checksum `own` of a block from register 0, the one from any other is crc32cZeroes(seed, table) ^ own; so a block's
 *   own checksum can be kept while the seeds before it change
 */
const POLYNOMIAL = 0x82f63b78;
const STEP = 8;
const WORDS_STEP = 4;
/** A view of the words is paid for by about so many bytes. */
const WORDS_BYTES_MIN = 256;

/** TABLE[256 * k + b]: register after byte b and k zero bytes. */
const TABLE = new Int32Array(256 * 4 * WORDS_STEP);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  TABLE[byte] = crc;
}
for (let at = 256; at < TABLE.length; at++) {
  const before = TABLE[at - 256]!;
  TABLE[at] = TABLE[before & 0xff]! ^ (before >>> 8);
}

export function crc32c(seed: number, bytes: Uint8Array, at: number, length: number): number {
  const start = bytes.byteOffset + at;
  if (length < WORDS_BYTES_MIN || (start & 3) !== 0) return overBytes(seed, bytes, at, length);
  const words = new Int32Array(bytes.buffer, start, Math.floor(length / (4 * WORDS_STEP)) * WORDS_STEP);
  const done = 4 * words.length;
  return overBytes(overWords(seed, words), bytes, at + done, length - done);
}

function overWords(seed: number, words: Int32Array): number {
  const t = TABLE;
  let crc = seed | 0;
  for (let i = 0; i < words.length; i += WORDS_STEP) {
    const a = crc ^ words[i]!;
    const b = words[i + 1]!;
    const c = words[i + 2]!;
    const d = words[i + 3]!;
    crc =
      t[3840 + (a & 0xff)]! ^
      t[3584 + ((a >>> 8) & 0xff)]! ^
      t[3328 + ((a >>> 16) & 0xff)]! ^
      t[3072 + (a >>> 24)]! ^
      t[2816 + (b & 0xff)]! ^
      t[2560 + ((b >>> 8) & 0xff)]! ^
      t[2304 + ((b >>> 16) & 0xff)]! ^
      t[2048 + (b >>> 24)]! ^
      t[1792 + (c & 0xff)]! ^
      t[1536 + ((c >>> 8) & 0xff)]! ^
      t[1280 + ((c >>> 16) & 0xff)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + (d & 0xff)]! ^
      t[512 + ((d >>> 8) & 0xff)]! ^
      t[256 + ((d >>> 16) & 0xff)]! ^
      t[d >>> 24]!;
  }
  return crc;
}

function overBytes(seed: number, bytes: Uint8Array, at: number, length: number): number {
  const t = TABLE;
  let crc = seed | 0;
  const end = at + length;
  let i = at;
  for (; i + STEP <= end; i += STEP) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t[1792 + (crc & 0xff)]! ^
      t[1536 + ((crc >>> 8) & 0xff)]! ^
      t[1280 + ((crc >>> 16) & 0xff)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < end; i++) crc = t[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return crc >>> 0;
}

export function crc32cWord(seed: number, word: number): number {
  const t = TABLE;
  const crc = seed ^ word;
  return (
    (t[768 + (crc & 0xff)]! ^ t[512 + ((crc >>> 8) & 0xff)]! ^ t[256 + ((crc >>> 16) & 0xff)]! ^ t[crc >>> 24]!) >>> 0
  );
}

export function crc32cHalf(seed: number, half: number): number {
  const crc = seed ^ (half & 0xffff);
  return (TABLE[256 + (crc & 0xff)]! ^ TABLE[(crc >>> 8) & 0xff]! ^ (crc >>> 16)) >>> 0;
}

/** One table for each byte of the register; about a microsecond for a zero byte of `length`, so keep it. */
export function zeroesTable(length: number): Int32Array {
  const table = new Int32Array(256 * 4);
  for (let bit = 0; bit < 32; bit++) {
    let crc = (1 << bit) | 0;
    for (let i = 0; i < length; i++) crc = TABLE[crc & 0xff]! ^ (crc >>> 8);
    const base = 256 * (bit >> 3);
    const step = 1 << (bit & 7);
    table[base + step] = crc;
    for (let low = 1; low < step; low++) table[base + step + low] = table[base + low]! ^ crc;
  }
  return table;
}

export function crc32cZeroes(crc: number, table: Int32Array): number {
  return (
    (table[crc & 0xff]! ^
      table[256 + ((crc >>> 8) & 0xff)]! ^
      table[512 + ((crc >>> 16) & 0xff)]! ^
      table[768 + (crc >>> 24)]!) >>>
    0
  );
}
