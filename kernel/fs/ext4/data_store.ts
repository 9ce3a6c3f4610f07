/**
 * One file as the page cache's store: its pages are blocks wherever the map says, holes and unwritten blocks read as
 * zeroes without asking the disk. Pages that are written may get their place only now (writeback.ts).
 *
 * A block of the map that is not in memory, or a device that takes no more, makes the answer EAGAIN: nothing was asked
 * for, ask again. The page cache may ask within a call of the file system, whose staged blocks then count.
 */
import type { BackingStore } from "../../abi/backing_store.ts";
import { pagesOf } from "../../abi/backing_store.ts";
import { EAGAIN, EFSCORRUPTED, EIOCBQUEUED } from "../../abi/errno.ts";
import { CallEnd } from "../blocks.ts";
import { readCall } from "./call.ts";
import { addIo, closeIo, openIo } from "./data_io.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import type { Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";
import { noteBlocks } from "./waits.ts";
import { writeBack } from "./writeback.ts";

/**
 * Where the blocks of some pages lie, put into `places`: block of the device, 0 for zeroes. Blocks beyond the file's end
 * are zeroes, too.
 */
export function placePages(fs: Mounted, row: number, index: number, pages: number, places: Float64Array): number {
  const { sb, buffers, mapped, marks } = fs;
  const find = (): number => {
    const inode = inodeAt(buffers, sb, fs.inodes.ino[row]!);
    if (inode < 0) return EFSCORRUPTED;
    const first = index * marks.perPage;
    const count = pages * marks.perPage;
    const end = Math.min(count, Math.max(0, Math.ceil(fs.inodes.size[row]! / sb.blockSize) - first));
    places.fill(0, 0, count);
    for (let n = 0; n < end;) {
      const fault = mapBlock(buffers, sb, inode, first + n, mapped);
      if (fault !== 0) return fault;
      const run = Math.min(mapped.length, end - n);
      if (mapped.pblk > 0 && !mapped.unwritten) for (let i = 0; i < run; i++) places[n + i] = mapped.pblk + i;
      n += run;
    }
    return 0;
  };
  if (fs.words[FS.InCall] === 0) return readCall(fs, find);
  try {
    return find();
  } catch (end) {
    if (!(end instanceof CallEnd)) throw end;
    if (end.errno === EIOCBQUEUED) noteBlocks(fs);
    return end.errno;
  }
}

export class FileStore implements BackingStore {
  readonly #fs: Mounted;
  readonly #row: number;

  constructor(fs: Mounted, row: number) {
    this.#fs = fs;
    this.#row = row;
  }

  size(): number {
    return this.#fs.inodes.size[this.#row]!;
  }

  readPages(index: number, frames: readonly Uint8Array[], io: number): number {
    const fs = this.#fs;
    const pages = pagesOf(frames);
    if (fs.io.free < pages * fs.marks.perPage) return EAGAIN;
    const found = placePages(fs, this.#row, index, pages, fs.places);
    if (found !== 0) return found === EIOCBQUEUED ? EAGAIN : found;
    openIo(fs, io, this.#row, index, pages, 0);
    addIo(fs, io, false, frames);
    return closeIo(fs, io, false);
  }

  writePages(index: number, frames: readonly Uint8Array[], io: number): number {
    return writeBack(this.#fs, this.#row, index, frames, io);
  }
}
