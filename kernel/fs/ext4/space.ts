/**
 * What a mounted ext4 knows about its free space beside the bitmaps: totals, promises, and what must not be allocated yet.
 * All state lies in arrays asked of a memory. GroupEdit (group_edit.ts) keeps it up to date and undoes what an aborted
 * call did to it; nobody else writes here but through the functions below.
 *
 *   totals    free clusters and inodes of the whole file system, clusters promised to delayed allocation
 *   runMax    group -> no free run of the group is longer; RUN_UNKNOWN where nobody looked since clusters became free
 *   pending   two bitmaps of clusters by the parity of a transaction's id: freed in it, and it has not committed. At most
 *             two transactions are in that state (one running, one committing), as in jbd2
 *
 * - reserve(clusters, privileged)     0 or ENOSPC, before anything changed; unreserve() gives back what is not needed
 * - mayTake(clusters, how)            Linux's rule of who may have the last blocks
 * - committed(tid)                    what was freed up to that transaction can be allocated again
 *
 * Clusters freed in a transaction that has not committed are free in bitmaps and totals, as in Linux; they only cannot be
 * allocated. So allocation may end with ENOSPC while `pendingClusters` is not 0: after a commit it may succeed.
 */
import { ENOSPC } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { le32 } from "../../lib/bytes.ts";
import { growingArena } from "../../lib/growing_arena.ts";
import type { Blocks } from "../blocks.ts";
import { setBits } from "./bits.ts";
import { descAt, gdFreeBlocks, gdFreeInodes, gdUsedDirs } from "./group.ts";
import { SB } from "./layout.ts";
import type { Super } from "./super.ts";

export const RUN_UNKNOWN = 2 ** 31 - 1;
/** Linux keeps a fiftieth, at most so many clusters, for the growth of maps (ext4_calculate_resv_clusters). */
const KEPT_CLUSTERS_MAX = 4096;
const KEPT_PART = 50;

/** mayTake: who asks. */
export const TAKE_PRIVILEGED = 1;
/** For a map that has to grow so that data can be written that were promised a place. */
export const TAKE_KEPT = 2;

const T = { freeClusters: 0, freeInodes: 1, directories: 2, reserved: 3, root: 4, kept: 5, words: 6 } as const;

export interface SpaceOptions {
  /** With a journal clusters are pending until their transaction has committed, and some are kept for maps. */
  readonly journal: boolean;
}

const viewOf = (map: Uint8Array): DataView => new DataView(map.buffer, map.byteOffset, map.byteLength);

export class Space {
  readonly #sb: Super;
  readonly #totals: Float64Array;
  readonly runMax: Int32Array;
  /** Room for one bitmap: of whoever looks at a group, and of nobody between two looks. */
  readonly scratch: DataView;
  readonly #pending: readonly [Uint8Array, Uint8Array];
  readonly #pendingViews: readonly [DataView, DataView];
  /** [2 * group + parity] -> clusters pending there. */
  readonly #pendingIn: Int32Array;
  /** [parity] -> transaction, and clusters pending in it; both 0 when there are none. */
  readonly #tids: Float64Array;
  /** Bytes of a group's part of `pending`. */
  readonly #stride: number;

  /** Reads all descriptors. */
  constructor(blocks: Blocks, sb: Super, options: SpaceOptions, memory: EvictMemory = growingArena()) {
    this.#sb = sb;
    this.#stride = Math.ceil(sb.clustersPerGroup / 32) * 4;
    this.#totals = memory.float64(T.words);
    this.runMax = memory.int32(sb.groups);
    this.scratch = new DataView(new ArrayBuffer(sb.blockSize));
    const bytes = options.journal ? this.#stride * sb.groups : 0;
    const bitmaps = [memory.uint8(bytes), memory.uint8(bytes)] as const;
    this.#pending = bitmaps;
    this.#pendingViews = [viewOf(bitmaps[0]), viewOf(bitmaps[1])];
    this.#pendingIn = memory.int32(options.journal ? 2 * sb.groups : 0);
    this.#tids = memory.float64(4);
    this.recount(blocks, options);
  }

  /** Totals anew, from the descriptors; nothing is reserved or pending. */
  recount(blocks: Blocks, options: SpaceOptions): void {
    const totals = this.#totals;
    totals.fill(0);
    for (let group = 0; group < this.#sb.groups; group++) {
      const desc = descAt(blocks, this.#sb, group);
      totals[T.freeClusters]! += gdFreeBlocks(this.#sb, blocks.view, desc);
      totals[T.freeInodes]! += gdFreeInodes(this.#sb, blocks.view, desc);
      totals[T.directories]! += gdUsedDirs(this.#sb, blocks.view, desc);
    }
    const at = blocks.at(this.#sb.superBlock) + this.#sb.superOffset;
    const high = this.#sb.has64bit ? le32(blocks.view, at + SB.s_r_blocks_count_hi) * 2 ** 32 : 0;
    const size = 2 ** this.#sb.clusterBits;
    totals[T.root] = Math.ceil((le32(blocks.view, at + SB.s_r_blocks_count_lo) + high) / size);
    const clusters = Math.floor((this.#sb.blocksCount - this.#sb.firstDataBlock) / size);
    totals[T.kept] = options.journal ? Math.min(KEPT_CLUSTERS_MAX, Math.floor(clusters / KEPT_PART)) : 0;
    this.runMax.fill(RUN_UNKNOWN);
    for (const map of this.#pending) map.fill(0);
    this.#pendingIn.fill(0);
    this.#tids.fill(0);
  }

  get freeClusters(): number {
    return this.#totals[T.freeClusters]!;
  }

  get freeInodes(): number {
    return this.#totals[T.freeInodes]!;
  }

  get directories(): number {
    return this.#totals[T.directories]!;
  }

  /** Promised to delayed allocation. */
  get reservedClusters(): number {
    return this.#totals[T.reserved]!;
  }

  /** What statfs(2) does not offer to everybody. */
  get rootClusters(): number {
    return this.#totals[T.root]!;
  }

  get pendingClusters(): number {
    return this.#tids[1]! + this.#tids[3]!;
  }

  /** ext4_has_free_clusters: `how` of TAKE_ bits. */
  mayTake(clusters: number, how: number): boolean {
    const totals = this.#totals;
    const rest = totals[T.freeClusters]! - totals[T.reserved]! - clusters;
    if ((how & TAKE_KEPT) !== 0) return rest >= 0;
    return rest >= totals[T.kept]! + ((how & TAKE_PRIVILEGED) !== 0 ? 0 : totals[T.root]!);
  }

  /** Clusters that could be taken now, not more than `most`. */
  takeable(most: number, how: number): number {
    const totals = this.#totals;
    let rest = totals[T.freeClusters]! - totals[T.reserved]!;
    if ((how & TAKE_KEPT) === 0) rest -= totals[T.kept]! + ((how & TAKE_PRIVILEGED) !== 0 ? 0 : totals[T.root]!);
    return Math.max(0, Math.min(most, rest));
  }

  /** Outside of a call, or as its last act: a call that is aborted does not undo it. */
  reserve(clusters: number, privileged: boolean): 0 | Errno {
    if (!this.mayTake(clusters, privileged ? TAKE_PRIVILEGED : 0)) return ENOSPC;
    this.#totals[T.reserved]! += clusters;
    return 0;
  }

  unreserve(clusters: number): void {
    this.#totals[T.reserved]! -= clusters;
    assert(this.#totals[T.reserved]! >= 0, "Space: more was given back than was reserved");
  }

  /** The rest is for GroupEdit, which undoes it when a call is aborted. */
  add(clusters: number, inodes: number, directories: number): void {
    this.#totals[T.freeClusters]! += clusters;
    this.#totals[T.freeInodes]! += inodes;
    this.#totals[T.directories]! += directories;
  }

  addReserved(clusters: number): void {
    this.#totals[T.reserved]! += clusters;
    assert(this.#totals[T.reserved]! >= 0, "Space: more was claimed than was reserved");
  }

  /** Clusters freed in transaction `tid`, or (hold false) not so after all. */
  hold(tid: number, group: number, bit: number, count: number, hold: boolean): void {
    const parity = tid & 1;
    const tids = this.#tids;
    assert(tids[2 * parity] === tid || tids[2 * parity + 1] === 0, "Space: three transactions without a commit");
    tids[2 * parity] = tid;
    const changed = setBits(this.#pendingViews[parity]!, group * this.#stride, bit, count, hold);
    assert(changed === count, "Space: a cluster is freed twice in one transaction");
    const delta = hold ? count : -count;
    tids[2 * parity + 1]! += delta;
    if (tids[2 * parity + 1] === 0) tids[2 * parity] = 0;
    this.#pendingIn[2 * group + parity]! += delta;
  }

  committed(tid: number): void {
    for (let parity = 0; parity < 2; parity++) {
      if (this.#tids[2 * parity + 1] === 0 || this.#tids[2 * parity]! > tid) continue;
      for (let group = 0; group < this.#sb.groups; group++) {
        if (this.#pendingIn[2 * group + parity] === 0) continue;
        this.#pendingIn[2 * group + parity] = 0;
        this.#pending[parity]!.fill(0, group * this.#stride, (group + 1) * this.#stride);
        this.runMax[group] = RUN_UNKNOWN;
      }
      this.#tids.fill(0, 2 * parity, 2 * parity + 2);
    }
  }

  /** Word n of a group's pending clusters. */
  pendingWord(group: number, n: number): number {
    const at = group * this.#stride + n * 4;
    return this.#pendingViews[0].getUint32(at, true) | this.#pendingViews[1].getUint32(at, true);
  }

  hasPending(group: number): boolean {
    return this.#pendingIn.length > 0 && this.#pendingIn[2 * group]! + this.#pendingIn[2 * group + 1]! > 0;
  }

  isPending(group: number, bit: number): boolean {
    return this.hasPending(group) && ((this.pendingWord(group, bit >>> 5) >>> (bit & 31)) & 1) !== 0;
  }
}
