/** Small machines for the memory tests. */
import { noLocks } from "../../kernel/lib/lock_ops.ts";
import { PageAlloc, type PageAllocConfig } from "../../mm/page_alloc.ts";

export const MiB = 256;

export function smallMachine(frames: number, more: Partial<PageAllocConfig> = {}): PageAlloc {
  return new PageAlloc({ zones: [{ name: "DMA32", start: 0, end: frames }], cpus: 1, locks: noLocks, ...more });
}
