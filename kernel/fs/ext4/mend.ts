/**
 * After a replay of fast commits: bitmaps, counters, link counts and i_blocks made to agree with the tree, since fast
 * commits do not have them. Linux leaves some of it wrong; e2fsck mends it in the full check that follows.
 *
 * - mendCounts(image, sb, fast, now)    what could not be mended, a line each
 *
 * The checker's passes find out what is in use; files that lost their last name go, as unlink would have done.
 */
import { setLe16 } from "../../lib/bytes.ts";
import type { BlockImage } from "../block_image.ts";
import { bitAt } from "./bits.ts";
import { DirPass } from "./check_dir.ts";
import { checkGroups } from "./check_group.ts";
import { checkInodes } from "./check_inode.ts";
import { CheckState, Kind } from "./check_state.ts";
import { bitmapChecksum, setGroupChecksum, setInodeChecksum } from "./csum.ts";
import type { MapVisitor } from "./extent.ts";
import type { FastCommits } from "./fast_commit.ts";
import { walkMap } from "./file.ts";
import {
  descAt,
  descBlockOf,
  gdBlockBitmap,
  gdFlags,
  gdInodeBitmap,
  gdItableUnused,
  inodeAt,
  setGdBlockBitmapCsum,
  setGdFlags,
  setGdFreeBlocks,
  setGdFreeInodes,
  setGdInodeBitmapCsum,
  setGdItableUnused,
  setGdUsedDirs,
} from "./group.ts";
import { hasBlockMap, inodeFileAcl, inodeLinks, inodeSectors } from "./inode.ts";
import { BG_BLOCK_UNINIT, BG_INODE_UNINIT, INODE, INO_ROOT } from "./layout.ts";
import { releaseInode, writableInode } from "./orphan.ts";
import { blocksIn } from "./super.ts";
import type { Super } from "./super.ts";
import { sectorsIn, setSectors } from "./truncate.ts";
import { uninitBlockBitmap } from "./uninit.ts";

/** Past so many links a directory says 1. */
const DIR_LINKS_MAX = 65_000;

/** What is in use; undefined when descriptors put bitmaps or inode tables where nothing is. */
function survey(image: BlockImage, sb: Super): CheckState | undefined {
  const state = new CheckState(image, sb);
  if (!checkGroups(state)) return undefined;
  checkInodes(state);
  new DirPass().run(state);
  return state;
}

export function mendCounts(image: BlockImage, sb: Super, fast: FastCommits, now: number): string[] {
  for (const ino of fast.touched) mendSectors(image, sb, ino);
  const found = survey(image, sb);
  if (found === undefined) return [NOT_MENDED];
  const nameless = [...fast.unlinked].filter((ino) => found.kind[ino] === Kind.Used && found.links[ino] === 0);
  for (const ino of nameless) releaseInode(image, sb, ino, now);
  const state = nameless.length > 0 ? survey(image, sb) : found;
  if (state === undefined) return [NOT_MENDED];
  mendLinks(state);
  for (let group = 0; group < sb.groups; group++) mendGroup(state, group);
  return state.damage
    .filter(({ kind }) => kind === "extent" || kind === "shared" || kind === "directory" || kind === "unattached")
    .map(({ text }) => text);
}

const NOT_MENDED = "group descriptors are damaged, so counts were not mended";

/** Clusters of a file and of its map. */
class Sectors implements MapVisitor {
  readonly #clusters = new Set<number>();
  readonly #bits: number;

  constructor(sb: Super) {
    this.#bits = sb.clusterBits;
  }

  run(_lblk: number, pblk: number, length: number): boolean {
    for (let n = 0; n < length; n++) this.#clusters.add(Math.floor((pblk + n) / 2 ** this.#bits));
    return true;
  }

  node(block: number): boolean {
    const cluster = Math.floor(block / 2 ** this.#bits);
    if (this.#clusters.has(cluster)) return false;
    this.#clusters.add(cluster);
    return true;
  }

  mapDamage(): void {}

  get count(): number {
    return this.#clusters.size;
  }
}

function mendSectors(image: BlockImage, sb: Super, ino: number): void {
  const at = inodeAt(image, sb, ino);
  if (at < 0) return;
  const sectors = new Sectors(sb);
  if (hasBlockMap(sb, image.view, at)) walkMap(image, sb, at, sectors);
  const count = (sectors.count + (inodeFileAcl(sb, image.view, at) === 0 ? 0 : 1)) * sectorsIn(sb);
  if (inodeSectors(sb, image.view, at) === count) return;
  const to = writableInode(image, sb, ino);
  setSectors(sb, image.view, to, count);
  setInodeChecksum(sb, image.bytes, image.view, to, ino);
}

function mendLinks({ image, sb, kind, links }: CheckState): void {
  for (let ino = 1; ino <= sb.inodesCount; ino++) {
    if (kind[ino] === Kind.Unused || (ino < sb.firstIno && ino !== INO_ROOT) || links[ino] === 0) continue;
    const counted = kind[ino] === Kind.Directory && links[ino]! > DIR_LINKS_MAX ? 1 : links[ino]!;
    if (inodeLinks(image.view, inodeAt(image, sb, ino)) === counted) continue;
    const to = writableInode(image, sb, ino);
    setLe16(image.view, to + INODE.i_links_count, counted);
    setInodeChecksum(sb, image.bytes, image.view, to, ino);
  }
}

/** Sets one bit of a bitmap, copying its block when it changes. */
function setBit(image: BlockImage, block: number, bit: number, used: boolean): void {
  const at = image.at(block) + (bit >> 3);
  if (((image.bytes[at]! >> (bit & 7)) & 1) === (used ? 1 : 0)) return;
  image.bytes[image.writable(block) + (bit >> 3)]! ^= 1 << (bit & 7);
}

function mendGroup({ image, sb, owner, kind }: CheckState, group: number): void {
  const { view } = image;
  const desc = image.writable(descBlockOf(sb, group)) + (group % sb.descPerBlock) * sb.descSize;
  const [blockBitmap, inodeBitmap] = [gdBlockBitmap(sb, view, desc), gdInodeBitmap(sb, view, desc)];
  // The survey has seen that they are there; but one of them may lie on the descriptors, and be mended before.
  if (blockBitmap >= image.count || inodeBitmap >= image.count) return;
  const hasCsum = sb.metadataCsum || sb.gdtCsum;
  const count = Math.ceil(blocksIn(sb, group) / 2 ** sb.clusterBits);
  const first = group * sb.clustersPerGroup;
  let free = 0;
  let isInit = !hasCsum || (gdFlags(view, desc) & BG_BLOCK_UNINIT) === 0;
  const initial = isInit ? undefined : uninitBlockBitmap(image, sb, group, descAt(image, sb, group));
  for (let bit = 0; bit < count; bit++) {
    if (owner[first + bit] === 0) free++;
    else if (initial !== undefined && bitAt(initial, 0, bit) === 0) isInit = true;
  }
  if (isInit) {
    if (initial !== undefined) {
      const at = image.writable(blockBitmap);
      image.bytes.fill(0xff, at, at + sb.blockSize);
      setGdFlags(view, desc, gdFlags(view, desc) & ~BG_BLOCK_UNINIT);
    }
    for (let bit = 0; bit < count; bit++) setBit(image, blockBitmap, bit, owner[first + bit] !== 0);
  }
  setGdFreeBlocks(sb, view, desc, free);
  let freeInodes = 0;
  let directories = 0;
  let last = 0;
  const isInodeInit = !hasCsum || (gdFlags(view, desc) & BG_INODE_UNINIT) === 0;
  for (let bit = 0; bit < sb.inodesPerGroup; bit++) {
    const what = kind[group * sb.inodesPerGroup + 1 + bit]!;
    if (what === Kind.Unused) freeInodes++;
    else last = bit + 1;
    if (what === Kind.Directory) directories++;
    if (isInodeInit) setBit(image, inodeBitmap, bit, what !== Kind.Unused);
  }
  setGdFreeInodes(sb, view, desc, freeInodes);
  setGdUsedDirs(sb, view, desc, directories);
  if (hasCsum) setGdItableUnused(sb, view, desc, Math.min(gdItableUnused(sb, view, desc), sb.inodesPerGroup - last));
  if (sb.metadataCsum) {
    const { bytes } = image;
    if (isInit)
      setGdBlockBitmapCsum(sb, view, desc, bitmapChecksum(sb, bytes, image.at(blockBitmap), sb.clustersPerGroup));
    if (isInodeInit)
      setGdInodeBitmapCsum(sb, view, desc, bitmapChecksum(sb, bytes, image.at(inodeBitmap), sb.inodesPerGroup));
  }
  setGroupChecksum(sb, image.bytes, view, desc, group);
}
