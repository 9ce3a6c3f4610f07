/**
 * What can be set, and what it is set to: /proc/sys/vm and /sys. A file is there when its part is, and writable when there
 * is a way to set it; what is no value leaves everything as it was (EINVAL).
 *
 * - vmNodes(parts)                                       /proc/sys/vm/...
 * - schedSysNodes, blockSysNodes, ext4SysNodes,
 *   machineSysNodes(parts)                               /sys/kernel/sched, /sys/block/vda, /sys/fs/ext4/vda,
 *                                                        /sys/kernel/orrery
 */
import { SECTOR_SIZE } from "../../abi/block.ts";
import { EINVAL } from "../../abi/errno.ts";
import type { PageCache } from "../../abi/page_cache.ts";
import type { Errno } from "../../abi/units.ts";
import { type BlockParts, DISK_NAME, diskFields, MAJOR, MINOR } from "./proc_block.ts";
import type { PseudoNode } from "./pseudo_fs.ts";
import { attribute, numberStore } from "./sysfs.ts";

export interface Tunable {
  readonly get: () => number;
  readonly set?: (value: number) => void;
}

export interface VmParts {
  /** Percent of memory. */
  readonly dirtyRatio?: Tunable;
  readonly dirtyBackgroundRatio?: Tunable;
  readonly dirtyExpireCentisecs?: Tunable;
  readonly dirtyWritebackCentisecs?: Tunable;
  readonly minFreeKbytes?: Tunable;
  readonly minFreeKbytesMax?: number;
  /** Between the watermarks, ten-thousandths of a zone, 1..3000. */
  readonly watermarkScaleFactor?: Tunable;
  /** 0..100. */
  readonly compactionProactiveness?: Tunable;
  /** drop_caches: 1 drops its clean pages. */
  readonly cache?: PageCache;
  /** Told how many that were. */
  readonly dropped?: (pages: number) => void;
  /** drop_caches: 2 asks slab caches for what they can give back. */
  readonly shrinkSlabs?: () => void;
  /** compact_memory: all zones, to the end. */
  readonly compact?: () => void;
}

const PERCENT = 100;
const SCALE_MAX = 3000;
const INT_MAX = 2 ** 31 - 1;
const NEVER_MERGE = 2;
/** Linux: BLKDEV_MIN_RQ. */
const REQUESTS_MIN = 4;
const DROP_PAGES = 1;
const DROP_SLABS = 2;
/** Together with others it says nothing in dmesg, which we do not either. */
const DROP_QUIETLY = 4;

const tunable = (path: string, value: Tunable | undefined, least: number, most: number): PseudoNode[] => {
  if (value === undefined) return [];
  const store = value.set === undefined ? undefined : numberStore(least, most, (to) => value.set!(to));
  return [attribute(path, () => value.get(), store)];
};

export function vmNodes(parts: VmParts): PseudoNode[] {
  const { cache, dropped, shrinkSlabs, compact } = parts;
  const nodes = [
    ...tunable("sys/vm/compaction_proactiveness", parts.compactionProactiveness, 0, PERCENT),
    ...tunable("sys/vm/dirty_background_ratio", parts.dirtyBackgroundRatio, 0, PERCENT),
    ...tunable("sys/vm/dirty_expire_centisecs", parts.dirtyExpireCentisecs, 0, INT_MAX),
    ...tunable("sys/vm/dirty_ratio", parts.dirtyRatio, 0, PERCENT),
    ...tunable("sys/vm/dirty_writeback_centisecs", parts.dirtyWritebackCentisecs, 0, INT_MAX),
    ...tunable("sys/vm/min_free_kbytes", parts.minFreeKbytes, 0, parts.minFreeKbytesMax ?? INT_MAX),
    ...tunable("sys/vm/watermark_scale_factor", parts.watermarkScaleFactor, 1, SCALE_MAX),
  ];
  if (compact !== undefined) {
    const store = numberStore(1, 1, () => compact());
    nodes.push({ ...attribute("sys/vm/compact_memory", () => 0, store), permissions: 0o200 });
  }
  if (cache !== undefined || shrinkSlabs !== undefined) {
    const store = numberStore(DROP_PAGES, DROP_QUIETLY, (what) => {
      const pages = (what & DROP_PAGES) === 0 ? 0 : (cache?.shrink(cache.cached()) ?? 0);
      dropped?.(pages);
      if ((what & DROP_SLABS) !== 0) shrinkSlabs?.();
    });
    nodes.push({ ...attribute("sys/vm/drop_caches", () => 0, store), permissions: 0o200 });
  }
  return nodes;
}

/** One of several names; `set` missing: it is as it was booted. */
export interface Choice {
  readonly names: readonly string[];
  readonly current: () => string;
  readonly set?: (name: string) => 0 | Errno;
}

const choose = (choice: Choice): ((text: string) => 0 | Errno) | undefined =>
  choice.set === undefined
    ? undefined
    : (text) => (choice.names.includes(text.trim()) ? choice.set!(text.trim()) : EINVAL);

/** Of one policy, with its bounds. */
export interface PolicyTunableFile {
  readonly policy: string;
  readonly name: string;
  readonly least: number;
  readonly most: number;
  readonly value: Tunable;
}

export const schedSysNodes = (policy: Choice, tunables: readonly PolicyTunableFile[] = []): PseudoNode[] => [
  attribute("kernel/sched/policy", () => policy.current(), choose(policy)),
  attribute("kernel/sched/policies", () => policy.names.join(" ")),
  ...tunables.flatMap((one) => tunable(`kernel/sched/${one.policy}/${one.name}`, one.value, one.least, one.most)),
];

export interface BlockSysParts extends BlockParts {
  readonly elevator: Choice;
  /** Requests that may wait or be issued. */
  readonly requests: Tunable;
  readonly requestsMax: number;
  /** 0: a new request is joined to others where it can be; 1: to the last one only; 2: never. */
  readonly nomerges: Tunable;
  /** Missing: nothing reads ahead. */
  readonly readAheadKb?: Tunable;
  readonly sectorsMax: number;
  /** Bytes that the device writes as one. */
  readonly physicalBlockSize: number;
  readonly hasVolatileCache: boolean;
  readonly rotational: boolean;
}

export function blockSysNodes(parts: BlockSysParts): PseudoNode[] {
  const { counts, elevator } = parts;
  const { get, set } = parts.requests;
  // Too few are no error but the least.
  const requests = set === undefined ? { get } : { get, set: (to: number) => set(Math.max(REQUESTS_MIN, to)) };
  const at = `block/${DISK_NAME}`;
  const names = (): string =>
    elevator.names.map((name) => (name === elevator.current() ? `[${name}]` : name)).join(" ");
  const stat = (): string =>
    diskFields(counts())
      .map((field) => String(field).padStart(8))
      .join(" ");
  return [
    attribute(`${at}/dev`, () => `${MAJOR}:${MINOR}`),
    attribute(`${at}/ro`, () => 0),
    attribute(`${at}/size`, () => parts.sectors),
    attribute(`${at}/stat`, stat),
    attribute(`${at}/queue/logical_block_size`, () => SECTOR_SIZE),
    attribute(`${at}/queue/max_hw_sectors_kb`, () => Math.floor((parts.sectorsMax * SECTOR_SIZE) / 1024)),
    ...tunable(`${at}/queue/nomerges`, parts.nomerges, 0, NEVER_MERGE),
    ...tunable(`${at}/queue/nr_requests`, requests, 0, parts.requestsMax),
    attribute(`${at}/queue/physical_block_size`, () => parts.physicalBlockSize),
    ...tunable(`${at}/queue/read_ahead_kb`, parts.readAheadKb, 0, INT_MAX),
    attribute(`${at}/queue/rotational`, () => (parts.rotational ? 1 : 0)),
    attribute(`${at}/queue/scheduler`, names, choose(elevator)),
    attribute(`${at}/queue/write_cache`, () => (parts.hasVolatileCache ? "write back" : "write through")),
  ];
}

/** Numbers of the superblock and of the mount. */
export interface Ext4SysParts {
  readonly errorsCount?: () => number;
  readonly firstErrorTime?: () => number;
  readonly lastErrorTime?: () => number;
  readonly lifetimeWriteKbytes?: () => number;
  readonly sessionWriteKbytes?: () => number;
  readonly delayedAllocationBlocks?: () => number;
}

export function ext4SysNodes(parts: Ext4SysParts): PseudoNode[] {
  const files: readonly (readonly [name: string, show: (() => number) | undefined])[] = [
    ["delayed_allocation_blocks", parts.delayedAllocationBlocks],
    ["errors_count", parts.errorsCount],
    ["first_error_time", parts.firstErrorTime],
    ["last_error_time", parts.lastErrorTime],
    ["lifetime_write_kbytes", parts.lifetimeWriteKbytes],
    ["session_write_kbytes", parts.sessionWriteKbytes],
  ];
  return files.flatMap(([name, show]) => (show === undefined ? [] : [attribute(`fs/ext4/${DISK_NAME}/${name}`, show)]));
}

export interface MachineSysParts {
  readonly seed: number;
  readonly features: readonly string[];
  readonly world: "lockstep" | "parallel";
}

/** Features one a line: all that the machine was booted with. */
export const machineSysNodes = ({ seed, features, world }: MachineSysParts): PseudoNode[] => [
  { path: "kernel/orrery/features", text: () => features.map((name) => `${name}\n`).join("") },
  attribute("kernel/orrery/seed", () => seed),
  attribute("kernel/orrery/world", () => world),
];
