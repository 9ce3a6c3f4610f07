/** Single frames of memory, as the page cache takes and gives them: the page allocator, or an arena of its own. */
import type { Errno, Pfn } from "./units.ts";

export interface Frames {
  /** A frame whose content is whatever was there; ENOMEM when there is none. */
  alloc(): Pfn | Errno;
  free(frame: Pfn): void;
  /** Its PAGE_SIZE bytes; those of `count` frames in a row, all of them taken. */
  bytes(frame: Pfn, count?: number): Uint8Array;
}
