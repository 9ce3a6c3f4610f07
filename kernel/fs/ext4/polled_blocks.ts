/**
 * Blocks of a device read one by one, each when it is first asked for, by polling: what a mount looks at before there is
 * a buffer cache.
 *
 * - new PolledBlocks(device, blockSize, count, room, idle)   `room`: different blocks that will be looked at, at most
 * - at(block)       throws CallEnd: EIO when it cannot be read, ENOMEM when there is no room for it
 */
import type { BlockDevice } from "../../abi/block.ts";
import { EIO, ENOMEM } from "../../abi/errno.ts";
import { readDirect } from "../../../drivers/index.ts";
import { CallEnd } from "../blocks.ts";
import type { Blocks } from "../blocks.ts";

const FAILED = new CallEnd(EIO);
const CROWDED = new CallEnd(ENOMEM);

export class PolledBlocks implements Blocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly count: number;
  readonly #device: BlockDevice;
  readonly #idle: () => void;
  readonly #addresses = new Map<number, number>();
  readonly #room: number;

  constructor(device: BlockDevice, blockSize: number, count: number, room: number, idle: () => void) {
    this.#device = device;
    this.blockSize = blockSize;
    this.count = count;
    this.#room = room;
    this.bytes = new Uint8Array(room * blockSize);
    this.view = new DataView(this.bytes.buffer);
    this.#idle = idle;
  }

  at(block: number): number {
    if (!(block >= 0 && block < this.count)) return -1;
    const known = this.#addresses.get(block);
    if (known !== undefined) return known;
    if (this.#addresses.size >= this.#room) throw CROWDED;
    const at = this.#addresses.size * this.blockSize;
    const into = this.bytes.subarray(at, at + this.blockSize);
    if (readDirect(this.#device, block * this.blockSize, into, this.#idle) !== this.blockSize) throw FAILED;
    this.#addresses.set(block, at);
    return at;
  }
}
