/**
 * Unpacks LZ4's legacy frame, in which kernels are packed: u32 magic, then blocks of u32 length and data, each of which
 * yields at most 8 MiB. A block is a row of sequences:
 *
 *   token (high nibble: literals, low nibble: match - 4; 15 goes on in bytes until one is below 255)
 *   literals | u16 distance back | more of the match's length
 *
 * - unlz4(bytes)    the content, or undefined when it is no legacy frame or damaged
 */
export const LZ4_LEGACY_MAGIC = 0x184c2102;
const BLOCK_BYTES_MAX = 8 << 20;
const MATCH_MIN = 4;
const GOES_ON = 15;

export function unlz4(bytes: Buffer): Buffer | undefined {
  if (bytes.length < 8 || bytes.readUInt32LE(0) !== LZ4_LEGACY_MAGIC) return undefined;
  const blocks: Buffer[] = [];
  for (let at = 4; at + 4 <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    // Behind the last block a kernel has its unpacked size, which reads as a block that is not there.
    if (at + 4 + length > bytes.length) break;
    const block = unpackBlock(bytes.subarray(at + 4, at + 4 + length));
    if (block === undefined) return undefined;
    blocks.push(block);
    at += 4 + length;
  }
  return Buffer.concat(blocks);
}

function unpackBlock(from: Buffer): Buffer | undefined {
  const to = Buffer.alloc(BLOCK_BYTES_MAX);
  let read = 0;
  let wrote = 0;
  const longer = (length: number): number => {
    if (length < GOES_ON) return length;
    let byte: number;
    do {
      byte = from[read++] ?? 0;
      length += byte;
    } while (byte === 255);
    return length;
  };
  while (read < from.length) {
    const token = from[read++]!;
    const literals = longer(token >>> 4);
    if (read + literals > from.length || wrote + literals > BLOCK_BYTES_MAX) return undefined;
    from.copy(to, wrote, read, read + literals);
    read += literals;
    wrote += literals;
    if (read === from.length) break;
    if (read + 2 > from.length) return undefined;
    const distance = from.readUInt16LE(read);
    read += 2;
    const match = longer(token & 15) + MATCH_MIN;
    if (distance === 0 || distance > wrote || wrote + match > BLOCK_BYTES_MAX) return undefined;
    // A match may overlap what it writes: byte by byte.
    for (let i = 0; i < match; i++, wrote++) to[wrote] = to[wrote - distance]!;
  }
  return to.subarray(0, wrote);
}
