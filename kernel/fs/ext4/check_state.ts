/**
 * What the passes of the checker share: the tables they fill, and the report. Made once for a geometry, cleared for each
 * run, so that thousands of states of one file system are checked without allocation.
 *
 *   owner    cluster -> inode number that uses it, METADATA for the format's own, 0 for nobody
 *   taken    a bit a cluster: set when it has an owner; lies as the block bitmaps do
 *   kind     inode -> 0 unused, 1 used, 2 a directory
 *   used     inodes that are not unused, ascending
 *   links    inode -> entries that name it, "." and ".." among them
 *   parent   directory -> the directory whose entry names it
 *   dotdot   directory -> what its own ".." says
 *   dirs     directories in the order in which they were found
 */
import type { BlockImage } from "../block_image.ts";
import { Verdict } from "../block_image.ts";
import type { Super } from "./super.ts";

/** Kinds of damage, as `ext4 check` names them. */
export const DAMAGE = [
  "superblock",
  "group",
  "bitmap",
  "count",
  "inode",
  "extent",
  "shared",
  "directory",
  "links",
  "unattached",
  "checksum",
  "orphan",
  "journal",
] as const;
export type DamageKind = (typeof DAMAGE)[number];

export interface Damage {
  readonly kind: DamageKind;
  readonly text: string;
}

export const METADATA = -1;
/** Findings that are kept as text; all are counted. */
const TEXTS_MAX = 200;

export const Kind = { Unused: 0, Used: 1, Directory: 2 } as const;

export class CheckState {
  image: BlockImage;
  sb: Super;
  readonly clusters: number;
  readonly owner: Int32Array;
  readonly taken: Uint8Array;
  readonly kind: Uint8Array;
  readonly used: Int32Array;
  usedCount = 0;
  readonly links: Int32Array;
  readonly parent: Int32Array;
  readonly dotdot: Int32Array;
  readonly dirs: Int32Array;
  /** Blocks of attributes -> inodes that name them. */
  readonly xattrBlocks = new Map<number, number>();
  dirCount = 0;
  inodeCount = 0;
  readonly counts = new Map<DamageKind, number>();
  readonly damage: Damage[] = [];

  constructor(image: BlockImage, sb: Super) {
    this.image = image;
    this.sb = sb;
    this.clusters = Math.ceil((sb.blocksCount - sb.firstDataBlock) / 2 ** sb.clusterBits);
    this.owner = new Int32Array(this.clusters);
    this.taken = new Uint8Array(Math.ceil(this.clusters / 8));
    this.kind = new Uint8Array(sb.inodesCount + 1);
    this.used = new Int32Array(sb.inodesCount + 1);
    this.links = new Int32Array(sb.inodesCount + 1);
    this.parent = new Int32Array(sb.inodesCount + 1);
    this.dotdot = new Int32Array(sb.inodesCount + 1);
    this.dirs = new Int32Array(sb.inodesCount + 1);
  }

  /** Whether the tables fit another superblock. */
  fits(sb: Super): boolean {
    const mine = this.sb;
    return (
      mine.inodesCount === sb.inodesCount &&
      mine.blocksCount === sb.blocksCount &&
      mine.firstDataBlock === sb.firstDataBlock &&
      mine.clusterBits === sb.clusterBits
    );
  }

  clear(image: BlockImage, sb: Super): void {
    this.image = image;
    this.sb = sb;
    this.owner.fill(0);
    this.taken.fill(0);
    this.kind.fill(0);
    this.usedCount = 0;
    this.links.fill(0);
    this.parent.fill(0);
    this.dotdot.fill(0);
    this.xattrBlocks.clear();
    this.dirCount = 0;
    this.inodeCount = 0;
    this.counts.clear();
    this.damage.length = 0;
  }

  report(kind: DamageKind, text: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    if (this.damage.length < TEXTS_MAX) this.damage.push({ kind, text });
  }

  clusterOf(block: number): number {
    return Math.floor((block - this.sb.firstDataBlock) / 2 ** this.sb.clusterBits);
  }

  /** Takes blocks for an inode or METADATA. Without bigalloc a block has one use, with it a cluster has one inode. */
  claim(block: number, length: number, ino: number): number {
    const { owner, sb } = this;
    let taken = 0;
    if (sb.clusterBits === 0) {
      const end = block + length - sb.firstDataBlock;
      for (let n = block - sb.firstDataBlock; n < end; n++) {
        if (owner[n] !== 0) this.#shared(n + sb.firstDataBlock, owner[n]!, ino);
        else this.#take(n, ino);
        taken++;
      }
      return taken;
    }
    const last = this.clusterOf(block + length - 1);
    for (let n = this.clusterOf(block); n <= last; n++) {
      if (owner[n] === 0) {
        this.#take(n, ino);
        taken++;
      } else if (owner[n] !== ino) this.#shared(n * 2 ** sb.clusterBits + sb.firstDataBlock, owner[n]!, ino);
    }
    return taken;
  }

  #take(cluster: number, ino: number): void {
    this.owner[cluster] = ino;
    this.taken[cluster >> 3]! |= 1 << (cluster & 7);
  }

  /** Inodes are found in ascending order, but for a few reserved ones; one may become a directory later. */
  use(ino: number, kind: number): void {
    const { used } = this;
    if (this.kind[ino] === Kind.Unused) {
      let at = this.usedCount++;
      for (; at > 0 && used[at - 1]! > ino; at--) used[at] = used[at - 1]!;
      used[at] = ino;
    }
    this.kind[ino] = kind;
  }

  #shared(block: number, one: number, other: number): void {
    this.report("shared", `block ${block} belongs to ${ownerText(one)} and to ${ownerText(other)}`);
  }

  /** Verdict of the slot that block has now, for this seed; Unknown when nobody looked yet. */
  known(block: number, seed: number): Verdict {
    const slot = this.image.where[block]!;
    return this.image.key[slot] === (seed | 0) ? (this.image.verdict[slot]! as Verdict) : Verdict.Unknown;
  }

  remember(block: number, seed: number, good: boolean): boolean {
    const slot = this.image.where[block]!;
    this.image.key[slot] = seed | 0;
    this.image.verdict[slot] = good ? Verdict.Good : Verdict.Bad;
    return good;
  }
}

const ownerText = (ino: number): string => (ino === METADATA ? "the format's own use" : `inode ${ino}`);
