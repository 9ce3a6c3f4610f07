/** A disk that is another one from one moment to the next: a guest keeps its disk, and is shown one crash state after the other. */
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import type { SparseDisk } from "../disk/sparse.ts";

export class ChangingDisk implements BlockDevice {
  disk: SparseDisk;

  constructor(disk: SparseDisk) {
    this.disk = disk;
  }

  get limits() {
    return this.disk.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    return this.disk.submit(batch);
  }

  poll(): readonly BlockRequest[] {
    return this.disk.poll();
  }
}
