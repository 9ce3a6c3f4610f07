/**
 * Where the page cache gets pages from and writes them to: one file of a file system, or a block device. (Linux: the
 * reading and writing half of address_space_operations.)
 *
 * A request that cannot be served at once is taken and answered later: the store keeps the small number `io` and calls
 * PageCache.complete(io, result). Nothing else is remembered about it here, so a request in flight is data, and a call
 * that had to wait for it simply starts again. Frames stay the store's from the request to its end.
 *
 *   answer         readPages                     writePages
 *   0              done, frames are filled       done
 *   EIOCBQUEUED    in flight, complete() comes   in flight, complete() comes
 *   EAGAIN         not taken: ask again later    not taken: the pages stay dirty
 *   other errno    failed                        failed: the pages are lost to the disk, fsync tells
 *
 * Bytes of the last page beyond `size()` are read as zeros; what is written there is not kept.
 */
import { PAGE_SIZE } from "./units.ts";

export interface BackingStore {
  /** Size in bytes: no page lies wholly beyond it. */
  size(): number;
  /** Fills `frames` from page `index` on. Each is a whole page, or several whose frames are neighbours in memory. */
  readPages(index: number, frames: readonly Uint8Array[], io: number): number;
  /** Takes `frames` as the content from page `index` on. */
  writePages(index: number, frames: readonly Uint8Array[], io: number): number;
}

/** Pages that the frames of a request are. */
export function pagesOf(frames: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const frame of frames) bytes += frame.length;
  return bytes / PAGE_SIZE;
}
