/**
 * A new file system into a file of the host: only blocks that are not zero are written, so the file takes little room.
 *
 * - storeMade(path, made)    a new file, or one that is emptied first
 * - madeFields(made)         what came out, to be printed
 */
import { closeSync, fdatasyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { ext4Layout, featureNames } from "../../kernel/index.ts";
import type { MadeExt4 } from "../../kernel/index.ts";
import { uuidText } from "./mkfs_options.ts";

export function storeMade(path: string, { blocks }: MadeExt4): void {
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, blocks.count * blocks.blockSize);
    blocks.each((block, content) => {
      for (let done = 0; done < content.length;)
        done += writeSync(file, content, done, content.length - done, block * blocks.blockSize + done);
    });
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

export function madeFields({ sb, plan }: MadeExt4): Readonly<Record<string, string | number>> {
  const { COMPAT, INCOMPAT, RO_COMPAT } = ext4Layout;
  return {
    uuid: uuidText(sb.uuid),
    features: [
      ...featureNames(sb.compat, COMPAT),
      ...featureNames(sb.incompat, INCOMPAT),
      ...featureNames(sb.roCompat, RO_COMPAT),
    ].join(" "),
    blockSize: sb.blockSize,
    blocks: sb.blocksCount,
    clusterBlocks: 2 ** sb.clusterBits,
    groups: sb.groups,
    blocksPerGroup: sb.blocksPerGroup,
    inodes: sb.inodesCount,
    inodeSize: sb.inodeSize,
    journalBlocks: plan.journalBlocks + plan.fastCommitBlocks,
    reservedForRoot: plan.rootBlocks,
  };
}
