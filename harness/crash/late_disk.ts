/**
 * A disk whose requests end late and in any order, by seed: what a file system must not rely on. Bytes of a write are
 * taken when it is submitted and are there when it ends; a flush ends like any other request.
 *
 * - new LateDisk(disk, seed)    over a disk that ends everything at once
 */
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

/** Polls until a request ends: most soon, one of SLOW_ONE_IN long after what was submitted behind it. */
const SOON_POLLS = 4;
const SLOW_ONE_IN = 6;
export const SLOW_POLLS = 60;

interface Waiting {
  readonly request: BlockRequest;
  /** A copy whose buffer is ours, for the disk below. */
  readonly inner: BlockRequest;
  polls: number;
}

export class LateDisk implements BlockDevice {
  readonly #disk: BlockDevice;
  readonly #random: Int32Array;
  readonly #waiting: Waiting[] = [];

  constructor(disk: BlockDevice, seed: number) {
    this.#disk = disk;
    this.#random = prng(seed);
  }

  get limits(): BlockLimits {
    return this.#disk.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    for (const request of batch) {
      request.result = undefined;
      const inner = { ...request, data: request.data?.slice(), result: undefined };
      const slow = nextBelow(this.#random, SLOW_ONE_IN) === 0;
      this.#waiting.push({ request, inner, polls: nextBelow(this.#random, slow ? SLOW_POLLS : SOON_POLLS) });
    }
    return batch.length;
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
