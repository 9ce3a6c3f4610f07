/** Frames of a private arena: for a page cache without a machine around it (a bare file system, tests, fuzzers). */
import { ENOMEM } from "../kernel/abi/errno.ts";
import type { EvictMemory } from "../kernel/abi/evict.ts";
import type { Frames } from "../kernel/abi/frames.ts";
import type { Errno, Pfn } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";

export class PageFrames implements Frames {
  private readonly ram: Uint8Array;
  private readonly views: readonly Uint8Array[];
  /** A stack of free frames: [0] how many, then they. */
  private readonly spare: Int32Array;
  private readonly isFree: Uint8Array;

  constructor(memory: EvictMemory, count: number) {
    this.ram = memory.uint8(count * PAGE_SIZE);
    this.views = Array.from({ length: count }, (_, at) => this.ram.subarray(at * PAGE_SIZE, (at + 1) * PAGE_SIZE));
    this.spare = memory.int32(count + 1);
    this.isFree = memory.uint8(count);
  }

  reset(): void {
    const count = this.views.length;
    this.spare[0] = count;
    for (let at = 0; at < count; at++) this.spare[at + 1] = count - 1 - at;
    this.isFree.fill(1);
  }

  /** Frames that are free. */
  get spareFrames(): number {
    return this.spare[0]!;
  }

  alloc(): Pfn | Errno {
    if (this.spare[0] === 0) return ENOMEM;
    const frame = this.spare[this.spare[0]!--]!;
    this.isFree[frame] = 0;
    return frame as Pfn;
  }

  free(frame: Pfn): void {
    assert(this.isFree[frame] === 0, "PageFrames.free: the frame is free");
    this.isFree[frame] = 1;
    this.spare[++this.spare[0]!] = frame;
  }

  bytes(frame: Pfn, count = 1): Uint8Array {
    assert(this.isFree[frame] === 0, "PageFrames.bytes: the frame is free");
    return count === 1 ? this.views[frame]! : this.ram.subarray(frame * PAGE_SIZE, (frame + count) * PAGE_SIZE);
  }
}
