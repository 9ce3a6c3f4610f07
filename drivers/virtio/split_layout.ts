/**
 * The split virtqueue in memory (VirtIO 1.2, 2.7), shared by its driver and device sides. `size` is a power of two.
 *
 *   descriptor table  16 bytes each: addr u64 | len u32 | flags u16 | next u16
 *   available ring    flags u16 | idx u16 | ring u16[size] | used_event u16
 *   used ring         flags u16 | idx u16 | { id u32, len u32 }[size] | avail_event u16
 */
export const DESC_BYTES = 16;
export const DESC_F_NEXT = 1;
export const DESC_F_WRITE = 2;
export const DESC_F_INDIRECT = 4;

export const AVAIL_F_NO_INTERRUPT = 1;
export const USED_F_NO_NOTIFY = 1;

/** Both rings begin with flags, idx; entries follow at 4. */
export const RING_IDX = 2;
export const RING_ENTRIES = 4;
export const USED_ENTRY_BYTES = 8;

/** Largest queue (2.7: the queue size is a power of two up to 32768). */
export const SPLIT_SIZE_MAX = 32_768;

export const availBytes = (size: number): number => 6 + 2 * size;
export const usedBytes = (size: number): number => 6 + USED_ENTRY_BYTES * size;

/** 2.7.10: an index moved from `from` to `to`; has it passed the point after `event`? */
export const passedEvent = (event: number, to: number, from: number): boolean =>
  ((to - event - 1) & 0xffff) < ((to - from) & 0xffff);
