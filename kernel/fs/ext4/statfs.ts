/** statfs(2) of an ext4, as Linux counts (ext4_statfs): what the format itself takes is not part of it. */
import { le32 } from "../../lib/bytes.ts";
import type { StatFs } from "../vfs/file_system.ts";
import { inodeAt } from "./group.ts";
import { inodeSizeBytes } from "./inode.ts";
import { SB } from "./layout.ts";
import type { Mounted } from "./mounted.ts";
import { overheadOf } from "./super.ts";
import type { Super } from "./super.ts";

const NAME_MAX = 255;

/** Clusters of superblocks, descriptors, bitmaps, inode tables and the journal: ext4_calculate_overhead(). */
function overheadClusters(fs: Mounted, sb: Super): number {
  const { buffers } = fs;
  const stored = le32(buffers.view, buffers.at(sb.superBlock) + sb.superOffset + SB.s_overhead_blocks);
  if (stored > 0) return stored;
  let blocks = sb.firstDataBlock;
  for (let group = 0; group < sb.groups; group++) {
    const { supers, gdt } = overheadOf(sb, group);
    blocks += supers + gdt + 2 + sb.itableBlocks;
  }
  const journal = sb.journalIno === 0 ? -1 : inodeAt(buffers, sb, sb.journalIno);
  if (journal >= 0) blocks += Math.ceil(inodeSizeBytes(sb, buffers.view, journal) / sb.blockSize);
  return Math.ceil(blocks / 2 ** sb.clusterBits);
}

export function statfsOf(fs: Mounted, out: StatFs): 0 {
  const { sb, space } = fs;
  const size = 2 ** sb.clusterBits;
  out.blockSize = sb.blockSize;
  out.blocks = sb.blocksCount - overheadClusters(fs, sb) * size;
  out.blocksFree = Math.max(0, space.freeClusters - space.reservedClusters) * size;
  out.blocksAvailable = space.takeable(Infinity, 0) * size;
  out.files = sb.inodesCount;
  out.filesFree = space.freeInodes;
  out.nameMax = NAME_MAX;
  return 0;
}
