/**
 * A block device as the store behind a page cache: buffered I/O and mmap of /dev/NAME reach the device through this.
 * What the device ends at once is answered at once; the rest is in flight under its number, and poll() reports it.
 *
 * - new BlockBacking(device, complete)   `complete(io, result)` is PageCache.complete
 * - poll()                               moves the device along; true when something ended
 *
 * Frames in flight are the store's: the device writes from them and reads into them. The last page of a device may be
 * part: what lies beyond the end reads as zeroes and is not written. Bound: IN_FLIGHT_MAX calls; beyond it EAGAIN.
 */
import type { BackingStore } from "../../kernel/abi/backing_store.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EAGAIN, EIOCBQUEUED } from "../../kernel/abi/errno.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { blockRequest } from "./request.ts";

const IN_FLIGHT_MAX = 256;
const SECTORS_PER_PAGE = PAGE_SIZE / SECTOR_SIZE;

/** One call: a request for each of its frames, and more where the device takes no longer ones. */
interface Call {
  readonly io: number;
  readonly requests: readonly BlockRequest[];
  /** Requests the device has not taken yet begin here. */
  next: number;
}

export class BlockBacking implements BackingStore {
  readonly #device: BlockDevice;
  readonly #complete: (io: number, result: number) => void;
  #calls: Call[] = [];

  constructor(device: BlockDevice, complete: (io: number, result: number) => void) {
    this.#device = device;
    this.#complete = complete;
  }

  size(): number {
    return this.#device.limits.sectors * SECTOR_SIZE;
  }

  readPages(index: number, frames: readonly Uint8Array[], io: number): number {
    return this.#transfer(BlockOp.Read, index, frames, io);
  }

  writePages(index: number, frames: readonly Uint8Array[], io: number): number {
    return this.#transfer(BlockOp.Write, index, frames, io);
  }

  poll(): boolean {
    this.#push();
    const ended = this.#calls.filter(isDone);
    if (ended.length === 0) return false;
    this.#calls = this.#calls.filter((call) => !isDone(call));
    for (const call of ended) this.#complete(call.io, resultOf(call));
    return true;
  }

  #transfer(op: BlockOp, index: number, frames: readonly Uint8Array[], io: number): number {
    if (this.#calls.length >= IN_FLIGHT_MAX) return EAGAIN;
    const { sectors, sectorsMax } = this.#device.limits;
    const requests: BlockRequest[] = [];
    let first = index * SECTORS_PER_PAGE;
    for (const frame of frames) {
      const end = Math.min(first + frame.length / SECTOR_SIZE, sectors);
      if (op === BlockOp.Read) frame.fill(0, Math.max(0, end - first) * SECTOR_SIZE);
      for (let sector = first; sector < end; sector += sectorsMax) {
        const count = Math.min(sectorsMax, end - sector);
        const from = (sector - first) * SECTOR_SIZE;
        requests.push(blockRequest(op, sector, frame.subarray(from, from + count * SECTOR_SIZE)));
      }
      first += frame.length / SECTOR_SIZE;
    }
    const call: Call = { io, requests, next: 0 };
    this.#calls.push(call);
    this.#push();
    if (!isDone(call)) return EIOCBQUEUED;
    this.#calls = this.#calls.filter((other) => other !== call);
    return resultOf(call);
  }

  /** Offers what the device has not taken, in order, and lets it end what it can. */
  #push(): void {
    for (const call of this.#calls)
      if (call.next < call.requests.length) call.next += this.#device.submit(call.requests.slice(call.next));
    this.#device.poll();
  }
}

const isDone = ({ requests }: Call): boolean => requests.every(({ result }) => result !== undefined);

/** 0, or the first error. */
const resultOf = ({ requests }: Call): number => requests.find(({ result }) => result !== 0)?.result ?? 0;
