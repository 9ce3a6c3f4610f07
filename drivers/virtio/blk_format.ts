/** The block device (VirtIO 1.2, 5.2): features, configuration, request header, statuses. Used by driver and device. */
export const VIRTIO_ID_BLOCK = 2;

export const BlkFeature = {
  SizeMax: 1n << 1n,
  SegMax: 1n << 2n,
  Geometry: 1n << 4n,
  ReadOnly: 1n << 5n,
  BlkSize: 1n << 6n,
  Flush: 1n << 9n,
  Topology: 1n << 10n,
  ConfigWce: 1n << 11n,
  Mq: 1n << 12n,
  Discard: 1n << 13n,
  WriteZeroes: 1n << 14n,
} as const;

/** Offsets in the configuration space (5.2.4). */
export const BlkConfig = {
  Capacity: 0,
  SizeMax: 8,
  SegMax: 12,
  BlkSize: 20,
  PhysicalBlockExp: 24,
  Writeback: 32,
  NumQueues: 34,
  MaxDiscardSectors: 36,
  MaxDiscardSeg: 40,
  DiscardAlignment: 44,
  MaxWriteZeroesSectors: 48,
  MaxWriteZeroesSeg: 52,
  WriteZeroesMayUnmap: 56,
} as const;
export const BLK_CONFIG_BYTES = 60;

/** Request header: type u32 | reserved u32 | sector u64. */
export const BLK_HEADER_BYTES = 16;
export const BlkType = { In: 0, Out: 1, Flush: 4, GetId: 8, Discard: 11, WriteZeroes: 13 } as const;
export const BlkStatus = { Ok: 0, IoErr: 1, Unsupported: 2 } as const;

/** Discard and write zeroes carry one: sector u64 | num_sectors u32 | flags u32 (bit 0: unmap). */
export const BLK_SEGMENT_BYTES = 16;
export const BLK_UNMAP = 1;
export const BLK_ID_BYTES = 20;
