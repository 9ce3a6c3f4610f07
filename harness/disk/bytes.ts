/**
 * A disk whose every request ends within submit, given the three things it does with bytes. Shared by the disks of this
 * folder; requests that no disk can serve end with EINVAL here, so that each of them may trust offset and length.
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";

/** 32 MiB: what NBD calls a payload any server must take. */
export const REQUEST_SECTORS_MAX = 65_536;

export abstract class BytesDisk implements BlockDevice {
  abstract readonly limits: BlockLimits;
  #ended: BlockRequest[] = [];

  protected abstract read(offset: number, into: Uint8Array): 0 | Errno;
  protected abstract write(offset: number, from: Uint8Array, flags: number): 0 | Errno;
  protected abstract zero(offset: number, bytes: number, flags: number): 0 | Errno;
  protected abstract flush(): 0 | Errno;

  submit(batch: readonly BlockRequest[]): number {
    for (const request of batch) {
      request.result = this.#serve(request);
      this.#ended.push(request);
    }
    return batch.length;
  }

  poll(): readonly BlockRequest[] {
    const ended = this.#ended;
    this.#ended = [];
    return ended;
  }

  #serve(request: BlockRequest): 0 | Errno {
    if (request.op === BlockOp.Flush) return this.flush();
    const align = this.limits.logicalBlockSize / SECTOR_SIZE;
    const { sector, sectors, data } = request;
    if (!(sector >= 0 && sectors > 0 && sector + sectors <= this.limits.sectors)) return EINVAL;
    if (sector % align !== 0 || sectors % align !== 0) return EINVAL;
    const offset = sector * SECTOR_SIZE;
    if (request.op === BlockOp.Discard || request.op === BlockOp.WriteZeroes)
      return this.zero(offset, sectors * SECTOR_SIZE, request.flags);
    if (data === undefined || data.length !== sectors * SECTOR_SIZE || sectors > this.limits.sectorsMax) return EINVAL;
    return request.op === BlockOp.Read ? this.read(offset, data) : this.write(offset, data, request.flags);
  }
}
