/**
 * The disk in /proc: diskstats and partitions, for the one disk there is, vda (Linux: block/genhd.c, iostats.rst).
 *
 * - blockNodes(parts)           the nodes
 * - queueCounts(queue, busyNs)  from a block queue, which does not know how long it was busy
 */
import { SECTOR_SIZE } from "../../abi/block.ts";
import { NS_PER_MS } from "../../abi/units.ts";
import { type BlockQueue, TASK_IO } from "../../../drivers/index.ts";
import type { PseudoNode } from "./pseudo_fs.ts";

/** What virtio-blk's first disk has on most machines. */
export const DISK_NAME = "vda";
export const MAJOR = 252;
export const MINOR = 0;

/** Since boot, but `inFlight`. Times of requests are from their arrival in the queue to their end. */
export interface DiskCounts {
  readonly reads: number;
  readonly readMerges: number;
  readonly readSectors: number;
  readonly readNs: number;
  readonly writes: number;
  readonly writeMerges: number;
  readonly writtenSectors: number;
  readonly writeNs: number;
  readonly inFlight: number;
  /** Time in which any request was in flight. */
  readonly busyNs: number;
  readonly flushes: number;
  readonly flushNs: number;
}

export interface BlockParts {
  /** queueCounts() of the disk's queue, or what else is known. */
  readonly counts: () => DiskCounts;
  /** Capacity in sectors. */
  readonly sectors: number;
}

const ms = (ns: number): number => Math.floor(ns / NS_PER_MS);

export function queueCounts(queue: BlockQueue, busyNs: number): DiskCounts {
  const total = (field: number): number => queue.accounts.total(field);
  const { readMerges, writeMerges, inFlight } = queue;
  const readNs = total(TASK_IO.readNs);
  const writeNs = total(TASK_IO.writeNs);
  return {
    reads: total(TASK_IO.reads) - readMerges,
    readMerges,
    readSectors: total(TASK_IO.readBytes) / SECTOR_SIZE,
    readNs,
    writes: total(TASK_IO.writes) - writeMerges,
    writeMerges,
    writtenSectors: total(TASK_IO.writeBytes) / SECTOR_SIZE,
    writeNs,
    inFlight: inFlight + queue.waiting,
    busyNs,
    flushes: total(TASK_IO.others),
    flushNs: total(TASK_IO.waitNs) + total(TASK_IO.serviceNs) - readNs - writeNs,
  };
}

/** The 17 numbers of diskstats and of /sys/block/vda/stat; there are no discards. */
export function diskFields(counts: DiskCounts): readonly number[] {
  const { reads, readMerges, readSectors, readNs, writes, writeMerges, writtenSectors, writeNs } = counts;
  const weightedNs = readNs + writeNs + counts.flushNs;
  return [
    [reads, readMerges, readSectors, ms(readNs)],
    [writes, writeMerges, writtenSectors, ms(writeNs)],
    [counts.inFlight, ms(counts.busyNs), ms(weightedNs)],
    [0, 0, 0, 0],
    [counts.flushes, ms(counts.flushNs)],
  ].flat();
}

export const diskstats = (counts: DiskCounts): string =>
  `${String(MAJOR).padStart(4)} ${String(MINOR).padStart(7)} ${DISK_NAME} ${diskFields(counts).join(" ")}\n`;

export function partitions(sectors: number): string {
  const blocks = Math.floor((sectors * SECTOR_SIZE) / 1024);
  const line = `${String(MAJOR).padStart(4)}  ${String(MINOR).padStart(7)} ${String(blocks).padStart(10)} ${DISK_NAME}\n`;
  return `major minor  #blocks  name\n\n${line}`;
}

export const blockNodes = ({ counts, sectors }: BlockParts): PseudoNode[] => [
  { path: "diskstats", text: () => diskstats(counts()) },
  { path: "partitions", text: () => partitions(sectors) },
];
