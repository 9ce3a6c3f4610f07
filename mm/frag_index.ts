/**
 * How fragmented free memory is, from the counts of free blocks alone; in integers, as Linux computes them
 * (mm/vmstat.c: fill_contig_page_info, unusable_free_index, __fragmentation_index).
 *
 *   F free frames, B free blocks, S(j) blocks of order j that could be cut from what is free
 *   unusable(j)       thousandths of free memory that a request of order j cannot use; 1000 when nothing is free
 *   fragmentation(j)  -1000: the request would succeed; towards 0: it fails for lack of memory; towards 1000: because
 *                     of fragmentation. Below 0 for one block smaller than the request: Linux's formula, kept
 *   unusableText, fragmentationText   one number as debugfs prints it
 */
const ORDERS = 11;

interface Contig {
  readonly free: number;
  readonly blocks: number;
  readonly suitable: number;
}

function contig(counts: ArrayLike<number>, order: number): Contig {
  let free = 0;
  let blocks = 0;
  let suitable = 0;
  for (let size = 0; size < counts.length; size++) {
    const count = counts[size]!;
    blocks += count;
    free += count * 2 ** size;
    if (size >= order) suitable += count * 2 ** (size - order);
  }
  return { free, blocks, suitable };
}

export function unusableIndex(counts: ArrayLike<number>, order: number): number {
  const { free, suitable } = contig(counts, order);
  return free === 0 ? 1000 : Math.floor(((free - suitable * 2 ** order) * 1000) / free);
}

/** The same without rounding, 0..1. */
export function unusableShare(counts: ArrayLike<number>, order: number): number {
  const { free, suitable } = contig(counts, order);
  return free === 0 ? 1 : (free - suitable * 2 ** order) / free;
}

export function fragmentationIndex(counts: ArrayLike<number>, order: number): number {
  const { free, blocks, suitable } = contig(counts, order);
  if (order >= ORDERS || blocks === 0) return 0;
  if (suitable > 0) return -1000;
  return 1000 - Math.floor((1000 + Math.floor((free * 1000) / 2 ** order)) / blocks);
}

const thousandths = (value: number): string =>
  `${Math.trunc(value / 1000)}.${String(Math.abs(value) % 1000).padStart(3, "0")}`;

export const unusableText = (index: number): string => thousandths(index);

/** `%2d.%03d`: Linux loses the sign of values between -1 and 0, and so do we. */
export const fragmentationText = (index: number): string => thousandths(index).padStart(6);
