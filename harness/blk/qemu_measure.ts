/**
 * Requests a second of our drivers on a QEMU device, in rounds.
 *
 * - BLK_SHAPES          what is measured: operation, block size, depth
 * - measureOnQemu(...)  [round][shape] -> figures
 */
import { BlockOp } from "../../kernel/abi/block.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { QemuDeviceName } from "../qemu/machines.ts";
import { onQemu } from "../qemu/supervisor.ts";

export interface BlkShape {
  readonly name: string;
  readonly op: BlockOp;
  readonly bytes: number;
  /** Requests in flight; 0: as many as the queue takes. */
  readonly depth: number;
}

export const BLK_SHAPES: readonly BlkShape[] = [
  { name: "write 4 KiB, depth 1", op: BlockOp.Write, bytes: 4096, depth: 1 },
  { name: "read 4 KiB, depth 1", op: BlockOp.Read, bytes: 4096, depth: 1 },
  { name: "write 4 KiB, depth 32", op: BlockOp.Write, bytes: 4096, depth: 32 },
  { name: "write 4 KiB, full queue", op: BlockOp.Write, bytes: 4096, depth: 0 },
  { name: "read 4 KiB, full queue", op: BlockOp.Read, bytes: 4096, depth: 0 },
  { name: "write 64 KiB, full queue", op: BlockOp.Write, bytes: 65_536, depth: 0 },
  { name: "read 64 KiB, full queue", op: BlockOp.Read, bytes: 65_536, depth: 0 },
];

export interface BlkFigures {
  readonly iops: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly commandsPerRequest: number;
  /** Blocks that plain writes (or reads) of the RAM file carry, in the same thread right after. */
  readonly copiesPerSecond: number;
}

export interface MeasurePlan {
  readonly rounds: number;
  readonly roundMs: number;
}

export const MEASURE_DISK_BYTES = 64 << 20;

export async function measureOnQemu(device: QemuDeviceName, plan: MeasurePlan): Promise<BlkFigures[][]> {
  const figures = await onQemu({
    device,
    diskBytes: MEASURE_DISK_BYTES,
    job: modulePath("./qemu_measure_job.ts", import.meta.url),
    args: plan,
  });
  return figures as BlkFigures[][];
}
