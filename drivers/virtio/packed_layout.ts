/**
 * The packed virtqueue in memory (VirtIO 1.2, 2.8), shared by its driver and device sides. Any size up to 32768.
 *
 *   descriptor ring       16 bytes each: addr u64 | len u32 | id u16 | flags u16
 *   event suppression     desc u16 (offset 0-14, wrap 15) | flags u16      one area written by each side
 *
 * A descriptor is available when AVAIL equals the reader's wrap counter and USED does not; used when both equal it.
 */
export const PACKED_F_AVAIL = 1 << 7;
export const PACKED_F_USED = 1 << 15;
/** The flags within a descriptor. */
export const PACKED_FLAGS = 14;
export const PACKED_SIZE_MAX = 32_768;

export const EVENT_STRUCT_BYTES = 4;
export const EVENT_FLAGS = 2;
export const EVENT_ENABLE = 0;
export const EVENT_DISABLE = 1;
export const EVENT_DESC = 2;
export const EVENT_WRAP = 1 << 15;

/** Flag bits of a descriptor made available, or used, under a wrap counter. */
export const availFlags = (wrap: number): number => (wrap === 1 ? PACKED_F_AVAIL : PACKED_F_USED);
export const usedFlags = (wrap: number): number => (wrap === 1 ? PACKED_F_AVAIL | PACKED_F_USED : 0);

/**
 * Has a move of `count` descriptors, ending at position `to` under wrap counter `wrap`, passed the event word?
 * The positions of one lap and the end of the one before are laid on one line.
 */
export function passedWrapEvent(event: number, to: number, wrap: number, count: number, size: number): boolean {
  const eventWrap = event >>> 15;
  const at = (event & 0x7fff) - (eventWrap === wrap ? 0 : size);
  return at >= to - count && at < to;
}
