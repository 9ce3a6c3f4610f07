/** Offsets in virtio-blk's configuration that hostile cases override (VirtIO 1.2, 5.2.4). */
export const BlkConfigOffset = {
  capacityLow: 0,
  capacityHigh: 4,
  segMax: 12,
  blockSize: 20,
  writeback: 32,
  queues: 34,
} as const;
