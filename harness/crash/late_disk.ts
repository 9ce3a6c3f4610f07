/**
 * A disk whose requests end late and in any order, by seed: what a file system must not rely on. Bytes of a write are
 * taken when it is submitted and are there when it ends; a flush ends like any other request.
 *
 * - new LateDisk(disk, seed)    over a disk that ends everything at once
 */
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

/** Of a hundred requests in flight, so many end at each poll. */
const ENDS_PERCENT = 40;

interface Waiting {
  readonly request: BlockRequest;
  /** A copy whose buffer is ours, for the disk below. */
  readonly inner: BlockRequest;
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
      this.#waiting.push({ request, inner: { ...request, data: request.data?.slice(), result: undefined } });
    }
    return batch.length;
  }

  poll(): readonly BlockRequest[] {
    const ended: BlockRequest[] = [];
    for (let n = 0; n < this.#waiting.length;) {
      if (nextBelow(this.#random, 100) >= ENDS_PERCENT) {
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
