/** CRC-16 (ANSI, reflected polynomial 0xa001) as Linux's crc16(): what ext4's gdt_csum puts on group descriptors. */
const TABLE = new Uint16Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  TABLE[byte] = crc;
}

export function crc16(seed: number, bytes: Uint8Array, at: number, length: number): number {
  let crc = seed & 0xffff;
  for (let i = at; i < at + length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return crc;
}
