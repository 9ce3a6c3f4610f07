/**
 * A block device as the store behind a page cache: buffered I/O and mmap of /dev/NAME reach the device through this.
 * A call that must wait starts the I/O and says false; asked again after poll(), it ends.
 *
 * Pages in flight are copies: what the cache does to a page after writePages took it goes to the disk with the next
 * write. Bound: IN_FLIGHT_MAX runs of pages; beyond it a call says false and starts nothing.
 */
import type { BackingStore } from "../../kernel/abi/backing_store.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { blockRequest } from "./request.ts";

const IN_FLIGHT_MAX = 256;
const SECTORS_PER_PAGE = PAGE_SIZE / SECTOR_SIZE;

interface Run {
  readonly requests: readonly BlockRequest[];
  readonly bytes: Uint8Array;
  /** Requests the device has not taken yet. */
  next: number;
}

export class BlockBacking implements BackingStore {
  readonly #device: BlockDevice;
  /** By "operation:first page:pages". */
  readonly #runs = new Map<string, Run>();

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  size(): number {
    return this.#device.limits.sectors * SECTOR_SIZE;
  }

  readPages(index: number, into: Uint8Array): boolean | Errno {
    return this.#transfer(BlockOp.Read, index, into);
  }

  writePages(index: number, from: Uint8Array): boolean | Errno {
    return this.#transfer(BlockOp.Write, index, from);
  }

  #transfer(op: BlockOp, index: number, pages: Uint8Array): boolean | Errno {
    const key = `${op}:${index}:${pages.length}`;
    let run = this.#runs.get(key);
    if (run === undefined) {
      if (this.#runs.size >= IN_FLIGHT_MAX) return false;
      run = this.#start(op, index, pages);
      this.#runs.set(key, run);
    }
    this.poll();
    if (run.requests.some((request) => request.result === undefined)) return false;
    this.#runs.delete(key);
    const failed = run.requests.find((request) => request.result !== 0);
    if (failed !== undefined) return failed.result as Errno;
    if (op === BlockOp.Read) pages.set(run.bytes.subarray(0, pages.length));
    return true;
  }

  /** The last page of a device may be part: what lies beyond the end is zeroes and is not written. */
  #start(op: BlockOp, index: number, pages: Uint8Array): Run {
    const bytes = op === BlockOp.Write ? pages.slice() : new Uint8Array(pages.length);
    const first = index * SECTORS_PER_PAGE;
    const { sectors, sectorsMax } = this.#device.limits;
    const end = Math.min(first + pages.length / SECTOR_SIZE, sectors);
    const requests: BlockRequest[] = [];
    for (let sector = first; sector < end; sector += sectorsMax) {
      const at = (sector - first) * SECTOR_SIZE;
      const count = Math.min(sectorsMax, end - sector);
      requests.push(blockRequest(op, sector, bytes.subarray(at, at + count * SECTOR_SIZE)));
    }
    return { requests, bytes, next: 0 };
  }

  /** Moves the device along; true when something ended. */
  poll(): boolean {
    for (const run of this.#runs.values())
      if (run.next < run.requests.length) run.next += this.#device.submit(run.requests.slice(run.next));
    return this.#device.poll().length > 0;
  }
}
