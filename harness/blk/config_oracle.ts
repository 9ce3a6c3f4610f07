/**
 * What two virtio-blk devices say about themselves, compared: offered features and configuration fields, as a driver
 * reads them. Every difference needs a reason; one without is a failure of `blk hostile --oracle`.
 */
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";

export interface ConfigDifference {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  /** Null: nobody has said why. */
  readonly reason: string | null;
}

/** Feature bits (VirtIO 1.2, 5.2.3 and 6): name, and why QEMU's device may differ. */
const FEATURES: readonly (readonly [bit: number, name: string, reason: string | null])[] = [
  [1, "SIZE_MAX", null],
  [2, "SEG_MAX", null],
  [4, "GEOMETRY", "QEMU makes up cylinders and heads for old guests; ours have none"],
  [5, "RO", null],
  [6, "BLK_SIZE", null],
  [9, "FLUSH", null],
  [10, "TOPOLOGY", null],
  [11, "CONFIG_WCE", null],
  [12, "MQ", null],
  [13, "DISCARD", null],
  [14, "WRITE_ZEROES", null],
  [15, "LIFETIME", null],
  [16, "SECURE_ERASE", null],
  [17, "ZONED", null],
  [24, "NOTIFY_ON_EMPTY", null],
  [27, "ANY_LAYOUT", null],
  [28, "INDIRECT_DESC", null],
  [29, "EVENT_IDX", null],
  [30, "UNUSED", null],
  [32, "VERSION_1", null],
  [33, "ACCESS_PLATFORM", null],
  [34, "RING_PACKED", "off in QEMU unless asked for (packed=on)"],
  [35, "IN_ORDER", "QEMU 7.2 does not have it"],
  [36, "ORDER_PLATFORM", null],
  [37, "SR_IOV", null],
  [38, "NOTIFICATION_DATA", null],
  [40, "RING_RESET", null],
];

/** Fields of the configuration (5.2.4): offset, width, name, reason. */
const FIELDS: readonly (readonly [offset: number, width: 1 | 2 | 4, name: string, reason: string | null])[] = [
  [0, 4, "capacity, low word", null],
  [4, 4, "capacity, high word", null],
  [8, 4, "size_max", null],
  [12, 4, "seg_max", null],
  [20, 4, "blk_size", null],
  [24, 1, "physical_block_exp", null],
  [25, 1, "alignment_offset", null],
  [26, 2, "min_io_size", null],
  [28, 4, "opt_io_size", null],
  [32, 1, "writeback", null],
  [34, 2, "num_queues", null],
  [36, 4, "max_discard_sectors", "each device's own limit"],
  [40, 4, "max_discard_seg", null],
  [44, 4, "discard_sector_alignment", null],
  [48, 4, "max_write_zeroes_sectors", "each device's own limit"],
  [52, 4, "max_write_zeroes_seg", null],
  [56, 1, "write_zeroes_may_unmap", null],
];

export function configDifferences(ours: VirtioTransport, theirs: VirtioTransport): ConfigDifference[] {
  const found: ConfigDifference[] = [];
  const compare = (what: string, mine: number, other: number, reason: string | null): void => {
    if (mine !== other) found.push({ what, ours: mine, theirs: other, reason });
  };
  const [mine, other] = [ours.features(), theirs.features()];
  const known = new Map(FEATURES.map(([bit, name, reason]) => [bit, { name, reason }]));
  for (let bit = 0; bit < 64; bit++) {
    const { name, reason } = known.get(bit) ?? { name: `bit ${bit}`, reason: null };
    compare(`feature ${name}`, Number((mine >> BigInt(bit)) & 1n), Number((other >> BigInt(bit)) & 1n), reason);
  }
  for (const [offset, width, name, reason] of FIELDS)
    compare(name, ours.config(offset, width), theirs.config(offset, width), reason);
  return found;
}
