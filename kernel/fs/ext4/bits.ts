/**
 * Bitmaps as they lie on disk: bit n is bit n % 8 of byte n / 8, from an address on. Whole words of 32 bits are looked at
 * at once, so the bytes up to the next multiple of four must be there: true of every bitmap, which has a block.
 *
 * - firstOne, firstZero(view, at, from, end)    the first such bit in [from, end); `end` when there is none
 * - setBits(view, at, from, count, one)         how many of them changed
 */

/** First bit in [from, end) that is not 0 in `map ^ flip`. */
function scan(view: DataView, at: number, from: number, end: number, flip: number): number {
  for (let bit = from; bit < end; bit = (bit | 31) + 1) {
    const word = (view.getUint32(at + (bit >>> 5) * 4, true) ^ flip) >>> (bit & 31);
    if (word !== 0) return Math.min(end, bit + 31 - Math.clz32(word & -word));
  }
  return end;
}

export const firstOne = (view: DataView, at: number, from: number, end: number): number => scan(view, at, from, end, 0);

export const firstZero = (view: DataView, at: number, from: number, end: number): number =>
  scan(view, at, from, end, -1);

export const bitAt = (bytes: Uint8Array, at: number, bit: number): number => (bytes[at + (bit >> 3)]! >> (bit & 7)) & 1;

/** Ones in a word (Warren, Hacker's Delight, 5-2). */
function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

export function setBits(view: DataView, at: number, from: number, count: number, one: boolean): number {
  const end = from + count;
  let changed = 0;
  for (let bit = from; bit < end;) {
    const low = bit & 31;
    const length = Math.min(32 - low, end - bit);
    const mask = length === 32 ? -1 : ((1 << length) - 1) << low;
    const to = at + (bit >>> 5) * 4;
    const old = view.getUint32(to, true);
    changed += ones(one ? mask & ~old : mask & old);
    view.setUint32(to, one ? old | mask : old & ~mask, true);
    bit += length;
  }
  return changed;
}
