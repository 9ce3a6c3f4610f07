/**
 * Block requests: made, and checked against a device's limits. Every device of the house answers a bad request alike:
 * EINVAL for one that no device could take, EOPNOTSUPP for an operation it lacks, EIO beyond the end (as Linux's block layer).
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, EIO, EOPNOTSUPP } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";

export function blockRequest(
  op: BlockOp,
  sector: number,
  data: Uint8Array | undefined,
  options: { flags?: number; sectors?: number; task?: number } = {},
): BlockRequest {
  const sectors = options.sectors ?? (data?.length ?? 0) / SECTOR_SIZE;
  return { op, flags: options.flags ?? 0, sector, sectors, data, task: options.task ?? 0, result: undefined };
}

/** 0, or why no device with these limits can carry the request out. */
export function checkRequest(limits: BlockLimits, request: BlockRequest): 0 | Errno {
  const { op, sector, sectors, data } = request;
  if (op === BlockOp.Flush) return 0;
  const unit = limits.logicalBlockSize / SECTOR_SIZE;
  if (!Number.isInteger(sector) || !Number.isInteger(sectors) || sector < 0 || sectors <= 0) return EINVAL;
  if (sector % unit !== 0 || sectors % unit !== 0) return EINVAL;
  if (op === BlockOp.Read || op === BlockOp.Write) {
    if (sectors > limits.sectorsMax || data === undefined || data.length !== sectors * SECTOR_SIZE) return EINVAL;
  } else if (op === BlockOp.Discard) {
    if (!limits.discard) return EOPNOTSUPP;
  } else if (!limits.writeZeroes) return EOPNOTSUPP;
  return sector + sectors > limits.sectors ? EIO : 0;
}
