/**
 * The content of a tmpfs' files: bytes in pages, holes where there is no page. A fork (state.ts) is named by its first
 * index, 0 or FORK_PAGES.
 *
 * - readFork, writeFork     bytes at an offset; writing stops short where no page is to be had
 * - dropPages               pages from .. to - 1 become holes
 * - zeroRange               bytes become zeroes: whole pages are dropped or kept, the ends are cleared
 * - reserve                 pages where holes are, all or none
 * - nextData, nextHole      for SEEK_DATA and SEEK_HOLE, within `size`
 */
import { ENOSPC, ENXIO, isErr } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { FORK_PAGES, type TmpfsState } from "./state.ts";

const pageOf = (offset: number): number => Math.floor(offset / PAGE_SIZE);

/** Fills `into`; what lies in holes is zero. The caller has cut it to the size. */
export function readFork(fs: TmpfsState, ino: number, fork: number, offset: number, into: Uint8Array): void {
  for (let done = 0; done < into.length;) {
    const at = offset + done;
    const within = at % PAGE_SIZE;
    const length = Math.min(PAGE_SIZE - within, into.length - done);
    const page = fs.page(ino, fork + pageOf(at));
    if (page < 0) into.fill(0, done, done + length);
    else into.set(fs.pageBytes(page).subarray(within, within + length), done);
    done += length;
  }
}

/** Bytes written; fewer than given when pages run out. */
export function writeFork(fs: TmpfsState, ino: number, fork: number, offset: number, from: Uint8Array): number {
  let done = 0;
  while (done < from.length) {
    const at = offset + done;
    const within = at % PAGE_SIZE;
    const length = Math.min(PAGE_SIZE - within, from.length - done);
    const index = fork + pageOf(at);
    let page: number = fs.page(ino, index);
    if (page < 0) page = fs.newPage(ino, index);
    if (isErr(page)) break;
    fs.pageBytes(page).set(from.subarray(done, done + length), within);
    done += length;
  }
  return done;
}

export function dropPages(fs: TmpfsState, ino: number, from: number, to: number): void {
  fs.eachPage(ino, (page, index) => {
    if (index >= from && index < to) fs.freePage(ino, page);
  });
}

/** `drop`: whole pages become holes. */
export function zeroRange(fs: TmpfsState, ino: number, offset: number, end: number, drop: boolean): void {
  fs.eachPage(ino, (page, index) => {
    const start = index * PAGE_SIZE;
    if (index >= FORK_PAGES || start + PAGE_SIZE <= offset || start >= end) return;
    if (drop && start >= offset && start + PAGE_SIZE <= end) fs.freePage(ino, page);
    else fs.pageBytes(page).fill(0, Math.max(0, offset - start), Math.min(PAGE_SIZE, end - start));
  });
}

export function reserve(fs: TmpfsState, ino: number, offset: number, end: number): 0 | Errno {
  const first = pageOf(offset);
  const last = pageOf(end - 1);
  let there = 0;
  fs.eachPage(ino, (_, index) => {
    if (index >= first && index <= last) there++;
  });
  if (last - first + 1 - there > fs.pagesFree) return ENOSPC;
  for (let index = first; index <= last; index++) if (fs.page(ino, index) < 0) fs.newPage(ino, index);
  return 0;
}

export function nextData(fs: TmpfsState, ino: number, offset: number, size: number): number | Errno {
  const first = pageOf(offset);
  let found = Infinity;
  fs.eachPage(ino, (_, index) => {
    if (index >= first && index < found) found = index;
  });
  const at = Math.max(offset, found * PAGE_SIZE);
  return at < size ? at : ENXIO;
}

export function nextHole(fs: TmpfsState, ino: number, offset: number, size: number): number {
  let index = pageOf(offset);
  while (index * PAGE_SIZE < size && fs.page(ino, index) >= 0) index++;
  return Math.min(size, Math.max(offset, index * PAGE_SIZE));
}
