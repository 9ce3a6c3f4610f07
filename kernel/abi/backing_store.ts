/**
 * Where the page cache gets pages from and writes them to: one file of a file system, or a block device. A call that
 * cannot be served at once starts the I/O and says so; the cache asks again when the store calls back as ready.
 */
import type { Errno } from "./units.ts";

export interface BackingStore {
  /** Size in bytes: no page lies wholly beyond it. */
  size(): number;
  /** Fills `into` (whole pages) from page `index`. True: done. False: in flight, ask again. */
  readPages(index: number, into: Uint8Array): boolean | Errno;
  /** Takes `from` (whole pages) as the content from page `index`. True: done. False: in flight. */
  writePages(index: number, from: Uint8Array): boolean | Errno;
}
