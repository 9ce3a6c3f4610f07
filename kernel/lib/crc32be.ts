/**
 * CRC-32 with the polynomial 0x04c11db7, most significant bit first, without inversions: Linux's crc32_be(), which is
 * what jbd2's first form of checksums puts into commit blocks.
 */
const TABLE = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  TABLE[byte] = crc;
}

export function crc32be(seed: number, bytes: Uint8Array, at: number, length: number): number {
  let crc = seed | 0;
  for (let i = at; i < at + length; i++) crc = (crc << 8) ^ TABLE[(crc >>> 24) ^ bytes[i]!]!;
  return crc >>> 0;
}
