/**
 * Blocks that are promised: written into the page cache, and counted in space.ts, before they have a place on the disk.
 * The promise is for clusters: one for each cluster of the file that has a delayed block, also when a part of it is
 * allocated already (then it is one too many, and given back with the last delayed block).
 *
 * - isDelayed(fs, row, lblk)
 * - newClusters(fs, row, from, count, ...)  promises that blocks from..from+count need when all of them become delayed
 * - setDelayed(fs, row, from, count)        marks them; the promise is the caller's
 * - clearDelayed(fs, row, from, count)      takes the marks away; returns the promises that are not needed any more
 * - forget(fs, row, first, last)            pages go: marks and promises with them
 *
 * The caller has done everything that can fail before.
 */
import { PAGE_LAST } from "../../abi/page_cache.ts";
import type { Mounted } from "./mounted.ts";
import { MARK_AWAY, MARK_DELAYED, MARK_DELAYED_SHIFT } from "./page_marks.ts";

const pageOf = (fs: Mounted, lblk: number): number => Math.floor(lblk / fs.marks.perPage);
const bitOf = (fs: Mounted, lblk: number): number => 1 << (lblk % fs.marks.perPage);

export function isDelayed(fs: Mounted, row: number, lblk: number): boolean {
  const word = fs.marks.get(row, pageOf(fs, lblk));
  return ((word >> MARK_DELAYED_SHIFT) & bitOf(fs, lblk)) !== 0;
}

/** Whether the cluster of a block of the file has a delayed block outside of from..to. */
function delayedOutside(fs: Mounted, row: number, cluster: number, from: number, to: number): boolean {
  const size = 2 ** fs.sb.clusterBits;
  for (let lblk = cluster * size; lblk < (cluster + 1) * size; lblk++)
    if ((lblk < from || lblk >= to) && isDelayed(fs, row, lblk)) return true;
  return false;
}

export const clusterOf = (fs: Mounted, lblk: number): number => Math.floor(lblk / 2 ** fs.sb.clusterBits);

/** `counted`: a cluster that has its promise from elsewhere. */
export function newClusters(fs: Mounted, row: number, from: number, count: number, counted: number): number {
  if (fs.sb.clusterBits === 0) return count;
  let needed = 0;
  for (let cluster = clusterOf(fs, from); cluster <= clusterOf(fs, from + count - 1); cluster++)
    if (cluster !== counted && !delayedOutside(fs, row, cluster, from, from)) needed++;
  return needed;
}

export function setDelayed(fs: Mounted, row: number, from: number, count: number): void {
  for (let lblk = from; lblk < from + count; lblk++) {
    const bit = bitOf(fs, lblk);
    const index = pageOf(fs, lblk);
    fs.marks.set(row, index, fs.marks.get(row, index) | bit | (bit << MARK_DELAYED_SHIFT));
  }
}

export function clearDelayed(fs: Mounted, row: number, from: number, count: number): number {
  let released = 0;
  let last = -1;
  for (let lblk = from; lblk < from + count; lblk++) {
    if (!isDelayed(fs, row, lblk)) continue;
    const index = pageOf(fs, lblk);
    fs.marks.set(row, index, fs.marks.get(row, index) & ~(bitOf(fs, lblk) << MARK_DELAYED_SHIFT));
    const cluster = clusterOf(fs, lblk);
    if (cluster === last) continue;
    last = cluster;
    if (!delayedOutside(fs, row, cluster, from, from + count)) released++;
  }
  fs.inodes.delayed[row]! -= released;
  return released;
}

/** Blocks from..to of pages that stay: neither dirty nor delayed. */
export function cleanBlocks(fs: Mounted, row: number, from: number, to: number): void {
  const { marks } = fs;
  const first = pageOf(fs, from);
  marks.each(row, first, to > from ? pageOf(fs, to - 1) : first, (index) => {
    const begin = Math.max(from, index * marks.perPage);
    const end = Math.min(to, (index + 1) * marks.perPage);
    fs.space.unreserve(clearDelayed(fs, row, begin, end - begin));
    let word = marks.get(row, index);
    for (let lblk = begin; lblk < end; lblk++) word &= ~bitOf(fs, lblk);
    marks.set(row, index, word);
  });
}

export function forget(fs: Mounted, row: number, first: number, last: number): void {
  const { marks } = fs;
  const pages: number[] = [];
  marks.each(row, first, Math.min(last, PAGE_LAST), (index, word) => {
    if ((word & MARK_DELAYED) !== 0) pages.push(index);
    else marks.set(row, index, word & MARK_AWAY);
  });
  for (const index of pages.sort((a, b) => a - b)) {
    fs.space.unreserve(clearDelayed(fs, row, index * marks.perPage, marks.perPage));
    marks.set(row, index, marks.get(row, index) & MARK_AWAY);
  }
}
