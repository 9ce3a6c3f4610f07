/**
 * The block device's face. Every disk (memory, file, NBD, virtio-blk, nvme, a crash model around another disk) has it.
 *
 * - submit(batch)   takes requests; bytes of a write enter the device's volatile set now; never blocks. Returns how many
 *                   were taken, from the front (fewer than given: the queue is full, poll and offer the rest again)
 * - poll()          moves completions along; returns the requests that ended since the last poll, `result` set.
 *                   A write is durable when a later flush (or itself, with FUA) has ended, never before
 *
 * Sectors are 512 bytes whatever the device's logical block size (as in Linux and VirtIO). Buffers stay the device's
 * from submit to completion. A memory disk ends everything within submit: the next poll returns it.
 */
import type { Errno } from "./units.ts";

export const SECTOR_SIZE = 512;

export const BlockOp = { Read: 0, Write: 1, Flush: 2, Discard: 3, WriteZeroes: 4 } as const;
export type BlockOp = (typeof BlockOp)[keyof typeof BlockOp];

/** Write through the volatile cache: durable when it ends. */
export const REQ_FUA = 1;
/** Flush the volatile cache before this write enters it. */
export const REQ_PREFLUSH = 2;

export interface BlockRequest {
  readonly op: BlockOp;
  readonly flags: number;
  /** First sector. */
  readonly sector: number;
  /** Length in sectors; 0 for Flush. For Read and Write `data.length` is `sectors * SECTOR_SIZE`. */
  readonly sectors: number;
  readonly data: Uint8Array | undefined;
  /** Row of the task on whose behalf it is done, for accounting; 0 for the kernel. */
  readonly task: number;
  /** Set by the device: 0, or a negative errno. Undefined while in flight. */
  result: number | Errno | undefined;
}

export interface BlockLimits {
  /** Capacity in sectors. */
  readonly sectors: number;
  /** Smallest unit of addressing, bytes: 512 or 4096. */
  readonly logicalBlockSize: number;
  /** Requests that may be in flight. */
  readonly queueDepth: number;
  /** Most sectors in one Read or Write. */
  readonly sectorsMax: number;
  /** Writes may sit in a volatile cache: Flush and FUA mean something. */
  readonly writeCache: boolean;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
}

export interface BlockDevice {
  readonly limits: BlockLimits;
  submit(batch: readonly BlockRequest[]): number;
  poll(): readonly BlockRequest[];
}
