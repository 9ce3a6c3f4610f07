/**
 * A disk whose requests end late and in any order, by seed: what a file system must not rely on. Bytes of a write are
 * taken when it is submitted and are there when it ends; a flush ends like any other request.
 *
 * - new LateDisk(disk, seed, slowSpot)    over a disk that ends everything at once
 *
 * A slow spot is a piece of the disk where writes take very long: what is to go home there keeps the log from being freed
 * while it is filled.
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

/** Polls until a request ends: most soon, one of SLOW_ONE_IN long after what was submitted behind it. */
const SOON_POLLS = 4;
const SLOW_ONE_IN = 6;
export const SLOW_POLLS = 60;
const SPOT_POLLS = 4_000;

/** Bytes from `from` up to `to`. */
export interface SlowSpot {
  readonly from: number;
  readonly to: number;
}

interface Waiting {
  readonly request: BlockRequest;
  /** A copy whose buffer is ours, for the disk below. */
  readonly inner: BlockRequest;
  polls: number;
}

export class LateDisk implements BlockDevice {
  readonly #disk: BlockDevice;
  readonly #random: Int32Array;
  readonly #slowSpot: SlowSpot | undefined;
  readonly #waiting: Waiting[] = [];

  constructor(disk: BlockDevice, seed: number, slowSpot?: SlowSpot) {
    this.#disk = disk;
    this.#random = prng(seed);
    this.#slowSpot = slowSpot;
  }

  get limits(): BlockLimits {
    return this.#disk.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    for (const request of batch) {
      request.result = undefined;
      const inner = { ...request, data: request.data?.slice(), result: undefined };
      const slow = nextBelow(this.#random, SLOW_ONE_IN) === 0;
      const polls = nextBelow(this.#random, slow ? SLOW_POLLS : SOON_POLLS);
      this.#waiting.push({ request, inner, polls: this.#isInSpot(request) ? SPOT_POLLS + polls : polls });
    }
    return batch.length;
  }

  #isInSpot({ op, sector }: BlockRequest): boolean {
    if (this.#slowSpot === undefined || op !== BlockOp.Write) return false;
    const { from, to } = this.#slowSpot;
    return sector * SECTOR_SIZE >= from && sector * SECTOR_SIZE < to;
  }

  poll(): readonly BlockRequest[] {
    const ended: BlockRequest[] = [];
    for (let n = 0; n < this.#waiting.length;) {
      if (this.#waiting[n]!.polls-- > 0) {
        n++;
        continue;
      }
      const [{ request, inner }] = this.#waiting.splice(n, 1) as [Waiting];
      this.#disk.submit([inner]);
      this.#disk.poll();
      if (inner.data !== undefined) request.data!.set(inner.data);
      request.result = inner.result;
      ended.push(request);
    }
    // Whoever ends first is chance, too.
    for (let n = ended.length - 1; n > 0; n--) {
      const other = nextBelow(this.#random, n + 1);
      [ended[n], ended[other]] = [ended[other]!, ended[n]!];
    }
    return ended;
  }
}
