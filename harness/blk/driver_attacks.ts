/**
 * The ways a driver can be hostile to a virtio-blk device, by name, with what may come of it. Each starts from a sound
 * request (`base`), laid out in descriptors 0.. of the raw driver, and spoils it.
 *
 * `qemu` says where QEMU's device answers otherwise than ours, and why; a difference without such a row is a failure.
 */
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import { next32, nextBelow } from "../../kernel/lib/prng.ts";
import { RAW_SIZE, TABLE_ENTRIES_MAX } from "./raw_driver.ts";
import type { RawDriver, RawSegment } from "./raw_driver.ts";

export const End = {
  NeedsReset: "needs-reset",
  Ok: "ok",
  IoErr: "ioerr",
  Unsupported: "unsupp",
  Nothing: "nothing",
} as const;
export type End = (typeof End)[keyof typeof End];

export interface DriverScene {
  readonly random: Int32Array;
  readonly raw: RawDriver;
  /** Type of the sound request: 0 read, 1 write. */
  readonly type: number;
  readonly dataBytes: number;
  readonly chain: RawSegment[];
  readonly sectors: number;
}

export interface DriverAttack {
  readonly name: string;
  readonly ends: readonly End[];
  /** Accepted features beside version 1. */
  readonly features?: bigint;
  /** Why QEMU's device may end otherwise. */
  readonly qemu?: string;
  /** The data of a request that ends well is not what the sound one would give. */
  readonly bends?: boolean;
  /** Buffers may lie anywhere: what the device writes is the driver's own doing. */
  readonly wild?: boolean;
  spoil(scene: DriverScene): void;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const indirect = VirtioFeature.IndirectDesc;
const pick = <T>(random: Int32Array, from: readonly T[]): T => from[nextBelow(random, from.length)]!;

/** Lays segments out as descriptors 0.. (or as the table) with flags and next fields set. */
export function lay(raw: RawDriver, segments: readonly RawSegment[], isTable = false): void {
  for (const [index, segment] of segments.entries()) {
    const more = index + 1 < segments.length;
    const whole = { ...segment, flags: segment.flags | (more ? NEXT : 0), next: more ? index + 1 : 0 };
    if (isTable) raw.setTable(index, whole);
    else raw.setDesc(index, whole);
  }
}

/** The chain through a table, with one descriptor for it. */
function layIndirect(scene: DriverScene, entries = scene.chain.length): void {
  lay(scene.raw, scene.chain, true);
  scene.raw.setDesc(0, { addr: scene.raw.tableAddr(), bytes: entries * 16, flags: INDIRECT, next: 0 });
}

/** Descriptor `index` of the chain as laid out, with something changed. */
function patch(scene: DriverScene, index: number, change: Partial<RawSegment>): void {
  const more = index + 1 < scene.chain.length;
  const laid = { ...scene.chain[index]!, next: more ? index + 1 : 0 };
  scene.raw.setDesc(index, { ...laid, flags: laid.flags | (more ? NEXT : 0), ...change });
}

/** A range request: header, range, status. */
function layRange(scene: DriverScene, type: number, bytes = 16): void {
  const { raw } = scene;
  raw.setHeader(type, 0n);
  const header = { addr: raw.headerAddr(), bytes: 16, flags: 0, next: 0 };
  const range = { addr: raw.rangeAddr(), bytes, flags: 0, next: 0 };
  const status = { addr: raw.statusAddr(), bytes: 1, flags: WRITE, next: 0 };
  lay(raw, bytes === 0 ? [header, status] : [header, range, status]);
}

const DISCARD = 11;
const WRITE_ZEROES = 13;

export const DRIVER_ATTACKS: readonly DriverAttack[] = [
  { name: "nothing wrong", ends: [End.Ok], spoil: () => {} },
  { name: "nothing wrong, through a table", ends: [End.Ok], features: indirect, spoil: (s) => layIndirect(s) },
  {
    name: "descriptors loop",
    ends: [End.NeedsReset],
    spoil: (s) => patch(s, 1, { flags: (s.chain[1]!.flags & WRITE) | NEXT, next: 1 }),
  },
  {
    name: "next out of range",
    ends: [End.NeedsReset],
    spoil: (s) => patch(s, 0, { next: RAW_SIZE + nextBelow(s.random, 60_000) }),
  },
  {
    name: "head out of range",
    ends: [End.NeedsReset],
    spoil: (s) => s.raw.setAvail(0, RAW_SIZE + nextBelow(s.random, 60_000)),
  },
  {
    name: "available index jumps",
    ends: [End.NeedsReset],
    spoil: (s) => s.raw.setAvailIdx(RAW_SIZE + 1 + nextBelow(s.random, 60_000)),
  },
  {
    name: "buffer of zero length",
    ends: [End.NeedsReset],
    spoil: (s) => patch(s, nextBelow(s.random, 3), { bytes: 0 }),
  },
  {
    name: "readable after writable",
    ends: [End.NeedsReset],
    spoil: (s) => {
      patch(s, 0, { flags: NEXT | WRITE });
      patch(s, 1, { flags: NEXT });
    },
  },
  {
    name: "no writable buffer",
    ends: [End.NeedsReset],
    spoil: (s) =>
      lay(
        s.raw,
        s.chain.map((segment) => ({ ...segment, flags: 0 })),
      ),
  },
  {
    name: "no readable buffer",
    ends: [End.NeedsReset],
    spoil: (s) =>
      lay(
        s.raw,
        s.chain.map((segment) => ({ ...segment, flags: WRITE })),
      ),
  },
  {
    name: "header too short",
    ends: [End.NeedsReset],
    spoil: (s) => {
      s.raw.setHeader(4, 0n);
      lay(s.raw, [{ ...s.chain[0]!, bytes: 1 + nextBelow(s.random, 15) }, s.chain.at(-1)!]);
    },
  },
  {
    name: "data is no whole sector",
    ends: [End.IoErr],
    spoil: (s) => patch(s, 1, { bytes: s.dataBytes - 1 - nextBelow(s.random, 511) }),
  },
  {
    name: "short header borrows from the data",
    ends: [End.IoErr],
    spoil: (s) => {
      s.raw.setHeader(1, 0n);
      lay(s.raw, [{ ...s.chain[0]!, bytes: 8 }, { ...s.chain[1]!, flags: 0 }, s.chain[2]!]);
    },
    qemu: "the bytes borrowed are the data's: the type may be any",
  },
  {
    name: "address outside memory",
    ends: [End.NeedsReset],
    qemu: "QEMU maps an address without memory behind it to a bounce buffer and ends well",
    spoil: (s) => patch(s, nextBelow(s.random, 3), { addr: 2 ** 46 }),
  },
  {
    name: "length of 4 GiB",
    ends: [End.NeedsReset],
    spoil: (s) => patch(s, nextBelow(s.random, 2) + 1, { bytes: 0xffffffff }),
  },
  {
    name: "table without the feature",
    ends: [End.NeedsReset],
    qemu: "QEMU does not ask whether the feature was accepted",
    spoil: (s) => layIndirect(s),
  },
  {
    name: "table of no size",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => {
      layIndirect(s);
      s.raw.setDesc(0, { addr: s.raw.tableAddr(), bytes: 0, flags: INDIRECT, next: 0 });
    },
  },
  {
    name: "table that is no whole entries",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => {
      layIndirect(s);
      s.raw.setDesc(0, { addr: s.raw.tableAddr(), bytes: 48 - 1 - nextBelow(s.random, 15), flags: INDIRECT, next: 0 });
    },
  },
  {
    name: "table within a table",
    ends: [End.NeedsReset],
    features: indirect,
    qemu: "QEMU takes the inner table for a buffer",
    spoil: (s) => {
      layIndirect(s);
      s.raw.setTable(1, { addr: s.raw.tableAddr(), bytes: 48, flags: INDIRECT, next: 0 });
    },
  },
  {
    name: "table at the end of a chain (allowed)",
    ends: [End.Ok],
    features: indirect,
    qemu: "QEMU looks for a table in the head only and takes this one for a buffer",
    spoil: (s) => {
      lay(s.raw, s.chain.slice(1), true);
      s.raw.setDesc(0, { ...s.chain[0]!, flags: NEXT, next: 1 });
      // The table's descriptor may carry WRITE: it means nothing there.
      const flags = INDIRECT | (nextBelow(s.random, 2) === 0 ? WRITE : 0);
      s.raw.setDesc(1, { addr: s.raw.tableAddr(), bytes: 32, flags, next: 0 });
    },
  },
  {
    name: "table and next at once",
    ends: [End.NeedsReset],
    features: indirect,
    qemu: "QEMU ignores the next field beside a table",
    spoil: (s) => {
      layIndirect(s);
      s.raw.setDesc(0, { addr: s.raw.tableAddr(), bytes: 48, flags: INDIRECT | NEXT, next: 5 });
    },
  },
  {
    name: "next out of the table",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => {
      layIndirect(s);
      s.raw.setTable(0, { ...s.chain[0]!, flags: NEXT, next: 3 + nextBelow(s.random, 1000) });
    },
  },
  {
    name: "table loops",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => {
      layIndirect(s);
      s.raw.setTable(1, { ...s.chain[1]!, flags: (s.chain[1]!.flags & WRITE) | NEXT, next: 1 });
    },
  },
  {
    name: "table outside memory",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => s.raw.setDesc(0, { addr: 2 ** 46, bytes: 48, flags: INDIRECT, next: 0 }),
  },
  {
    name: "table of too many buffers",
    ends: [End.NeedsReset],
    features: indirect,
    spoil: (s) => {
      for (let i = 0; i < TABLE_ENTRIES_MAX; i++)
        s.raw.setTable(i, { addr: s.raw.dataAddr(), bytes: 1, flags: NEXT, next: i + 1 });
      s.raw.setTable(0, { ...s.chain[0]!, flags: NEXT, next: 1 });
      s.raw.setTable(TABLE_ENTRIES_MAX - 1, { ...s.chain[2]!, next: 0 });
      s.raw.setDesc(0, { addr: s.raw.tableAddr(), bytes: TABLE_ENTRIES_MAX * 16, flags: INDIRECT, next: 0 });
    },
  },
  {
    name: "sector beyond the end",
    ends: [End.IoErr],
    spoil: (s) => s.raw.setHeader(s.type, BigInt(s.sectors + nextBelow(s.random, 2 ** 30))),
  },
  {
    name: "last sector and one beyond",
    ends: [End.IoErr],
    spoil: (s) => s.raw.setHeader(s.type, BigInt(s.sectors) - BigInt(s.dataBytes / 512) + 1n),
  },
  {
    name: "sector near 2^64",
    ends: [End.IoErr],
    spoil: (s) => s.raw.setHeader(s.type, 2n ** 64n - BigInt(1 + nextBelow(s.random, 100))),
  },
  {
    name: "sector that wraps in bytes",
    ends: [End.IoErr],
    spoil: (s) => s.raw.setHeader(s.type, 2n ** 55n + BigInt(nextBelow(s.random, 8))),
  },
  {
    name: "unknown type",
    ends: [End.Unsupported],
    spoil: (s) => s.raw.setHeader(pick(s.random, [2, 3, 6, 9, 14, 15, 16, 99, 0x7fffffff]), 0n),
    qemu: "types 2 and 3 are SCSI commands of the legacy interface and answered as such; zone commands have numbers too",
  },
  {
    name: "type of the legacy interface",
    ends: [End.Unsupported],
    qemu: "QEMU ignores bit 0 of the type and the legacy barrier bit: 5 is a flush, 10 a discard, 12 zeroes",
    spoil: (s) => s.raw.setHeader(pick(s.random, [5, 10, 12, 0x80000000, 0x80000001]), 0n),
  },
  {
    name: "discard without a range",
    ends: [End.NeedsReset],
    spoil: (s) => layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]), 0),
  },
  {
    name: "range too short",
    ends: [End.NeedsReset],
    spoil: (s) => layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]), 1 + nextBelow(s.random, 15)),
  },
  {
    name: "discard with the unmap flag",
    ends: [End.Unsupported],
    spoil: (s) => {
      s.raw.setRange(0n, 8, 1);
      layRange(s, DISCARD);
    },
  },
  {
    name: "unknown flags on a range",
    ends: [End.Unsupported],
    spoil: (s) => {
      s.raw.setRange(0n, 8, 2 << nextBelow(s.random, 30));
      layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]));
    },
  },
  {
    name: "range beyond the end",
    ends: [End.IoErr],
    spoil: (s) => {
      s.raw.setRange(BigInt(s.sectors - 4), 8, 0);
      layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]));
    },
  },
  {
    name: "range of too many sectors",
    ends: [End.IoErr],
    spoil: (s) => {
      s.raw.setRange(0n, 0xffffffff, 0);
      layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]));
    },
  },
  {
    name: "range that wraps",
    ends: [End.IoErr],
    spoil: (s) => {
      s.raw.setRange(2n ** 64n - 4n, 8, 0);
      layRange(s, pick(s.random, [DISCARD, WRITE_ZEROES]));
    },
  },
  {
    name: "header in pieces (allowed)",
    ends: [End.Ok],
    spoil: (s) => {
      const [header, data, status] = s.chain as [RawSegment, RawSegment, RawSegment];
      const cut = 1 + nextBelow(s.random, 15);
      lay(s.raw, [{ ...header, bytes: cut }, { ...header, addr: header.addr + cut, bytes: 16 - cut }, data, status]);
    },
  },
  {
    name: "data in odd pieces (allowed)",
    ends: [End.Ok],
    spoil: (s) => {
      const [header, data, status] = s.chain as [RawSegment, RawSegment, RawSegment];
      const cut = 1 + nextBelow(s.random, s.dataBytes - 1);
      const rest = { ...data, addr: data.addr + cut, bytes: s.dataBytes - cut };
      lay(s.raw, [header, { ...data, bytes: cut }, rest, status]);
    },
  },
  {
    name: "identity into a short buffer (allowed)",
    ends: [End.Ok],
    bends: true,
    spoil: (s) => {
      s.raw.setHeader(8, 0n);
      lay(s.raw, [s.chain[0]!, { ...s.chain[1]!, bytes: 1 + nextBelow(s.random, 19), flags: WRITE }, s.chain[2]!]);
    },
  },
  {
    name: "read into the ring itself",
    ends: [End.Ok, End.IoErr, End.Unsupported, End.NeedsReset, End.Nothing],
    bends: true,
    spoil: (s) => {
      s.raw.setHeader(0, 0n);
      const into = { ...s.chain[1]!, addr: s.raw.usedAddr(), bytes: 512, flags: WRITE };
      lay(s.raw, [s.chain[0]!, into, s.chain[2]!]);
    },
  },
  {
    name: "notification without buffers",
    ends: [End.Nothing],
    spoil: (s) => s.raw.setAvailIdx(0),
  },
  {
    name: "descriptors are noise",
    ends: [End.Ok, End.IoErr, End.Unsupported, End.NeedsReset, End.Nothing],
    bends: true,
    wild: true,
    qemu: "noise may reach any of the rows above",
    spoil: (s) => {
      for (let i = 1 + nextBelow(s.random, 8); i > 0; i--)
        s.raw.bytes[nextBelow(s.random, 48)] = next32(s.random) & 0xff;
    },
  },
  {
    name: "ring is noise",
    ends: [End.Ok, End.IoErr, End.Unsupported, End.NeedsReset, End.Nothing],
    bends: true,
    wild: true,
    features: indirect | VirtioFeature.EventIdx,
    qemu: "noise may reach any of the rows above",
    spoil: (s) => {
      for (let i = 1 + nextBelow(s.random, 60); i > 0; i--)
        s.raw.bytes[nextBelow(s.random, 0x400 + 6 + 2 * RAW_SIZE)] = next32(s.random) & 0xff;
    },
  },
];
