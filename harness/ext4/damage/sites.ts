/**
 * Where the structures of an image lie, so that damage can be done to each of them and its checksum be made right again.
 * Found once for an image that is whole; addresses are offsets in it.
 *
 * - findSites(image, sb)     Sites
 */
import { be32, le16, le32 } from "../../../kernel/lib/bytes.ts";
import {
  FC_TL,
  blockArea,
  descAt,
  ext4DirLayout,
  ext4Inode,
  ext4Layout,
  gdBlockBitmap,
  gdInodeBitmap,
  ibodyArea,
  inodeAt,
  jbd2Layout,
  journalAt,
  openJournal,
  tagFlags,
  tagLengthOk,
  walkMap,
  walkXattrs,
} from "../../../kernel/index.ts";
import type { BlockImage, Journal, Super } from "../../../kernel/index.ts";

/** An inode in use, and a block that belongs to it. */
export interface Owned {
  readonly ino: number;
  readonly inode: number;
  readonly block: number;
  readonly at: number;
}

export interface Tag {
  /** Block of the journal with the descriptor, and the tag's address. */
  readonly descriptor: number;
  readonly at: number;
  readonly data: number;
  readonly sequence: number;
}

export interface Sites {
  readonly inodes: readonly { readonly ino: number; readonly at: number }[];
  readonly directories: readonly number[];
  readonly extentNodes: readonly Owned[];
  readonly indirectBlocks: readonly Owned[];
  readonly dirBlocks: readonly Owned[];
  /** Roots and inner nodes of hash trees. */
  readonly hashNodes: readonly (Owned & { readonly root: boolean })[];
  /** Entries of attributes: in an inode, or in a block (block > 0). */
  readonly xattrs: readonly (Owned & { readonly entry: number })[];
  readonly orphanBlocks: readonly Owned[];
  readonly groups: readonly { readonly at: number; readonly blockBitmap: number; readonly inodeBitmap: number }[];
  readonly journal: Journal | undefined;
  readonly tags: readonly Tag[];
  /** Descriptors, revoke and commit blocks of the log. */
  readonly logBlocks: readonly { readonly n: number; readonly at: number; readonly type: number }[];
  /** Tags of fast commits. */
  readonly fastTags: readonly { readonly at: number; readonly tag: number; readonly length: number }[];
}

const { INODE_FLAG, S_IFDIR } = ext4Layout;
const { DIRENT, DX_NODE_FAKE_BYTES } = ext4DirLayout;

export function findSites(image: BlockImage, sb: Super): Sites {
  const { view } = image;
  const inodes: { ino: number; at: number }[] = [];
  const directories: number[] = [];
  const extentNodes: Owned[] = [];
  const indirectBlocks: Owned[] = [];
  const dirBlocks: Owned[] = [];
  const hashNodes: (Owned & { root: boolean })[] = [];
  const xattrs: (Owned & { entry: number })[] = [];
  const orphanBlocks: Owned[] = [];
  for (let ino = 1; ino <= sb.inodesCount; ino++) {
    const at = inodeAt(image, sb, ino);
    if (ext4Inode.inodeMode(view, at) === 0 || ext4Inode.inodeLinks(view, at) === 0) continue;
    inodes.push({ ino, at });
    const isDirectory = ext4Inode.inodeType(view, at) === S_IFDIR;
    if (isDirectory) directories.push(ino);
    const flags = ext4Inode.inodeFlags(view, at);
    const hasExtents = (flags & INODE_FLAG.extents) !== 0;
    const owned = (block: number, where: number): Owned => ({ ino, inode: at, block, at: where });
    if (ext4Inode.hasBlockMap(sb, view, at))
      walkMap(image, sb, at, {
        run(lblk, pblk, length) {
          for (let n = 0; n < length; n++) {
            const block = owned(pblk + n, image.at(pblk + n));
            if (ino === sb.orphanFileIno) orphanBlocks.push(block);
            if (!isDirectory) continue;
            const isTree = (flags & INODE_FLAG.index) !== 0;
            const isNode =
              isTree &&
              lblk + n > 0 &&
              le32(view, block.at + DIRENT.inode) === 0 &&
              le16(view, block.at + DIRENT.rec_len) === sb.blockSize &&
              le16(view, block.at + DX_NODE_FAKE_BYTES) !== 0;
            if (isTree && (lblk + n === 0 || isNode)) hashNodes.push({ ...block, root: lblk + n === 0 });
            else dirBlocks.push(block);
          }
          return true;
        },
        node(block, where) {
          (hasExtents ? extentNodes : indirectBlocks).push(owned(block, where));
          return true;
        },
        mapDamage() {},
      });
    const inside = ibodyArea(view, sb, at);
    if (inside !== undefined)
      walkXattrs(view, inside, (xattr) => xattrs.push({ ...owned(0, at), entry: xattr.at }) > 0);
    const acl = ext4Inode.inodeFileAcl(sb, view, at);
    if (acl > 0)
      walkXattrs(
        view,
        blockArea(sb, image.at(acl)),
        (xattr) => xattrs.push({ ...owned(acl, image.at(acl)), entry: xattr.at }) > 0,
      );
  }
  const groups = Array.from({ length: sb.groups }, (_, group) => {
    const at = descAt(image, sb, group);
    return { at, blockBitmap: gdBlockBitmap(sb, view, at), inodeBitmap: gdInodeBitmap(sb, view, at) };
  });
  const opened = sb.journalIno === 0 ? undefined : openJournal(image, sb);
  const journal = opened === undefined || "reason" in opened ? undefined : opened;
  return {
    inodes,
    directories,
    extentNodes,
    indirectBlocks,
    dirBlocks,
    hashNodes,
    xattrs,
    orphanBlocks,
    groups,
    journal,
    ...logSites(journal),
    fastTags: journal === undefined ? [] : fastTagsOf(sb, journal),
  };
}

const { JHEADER, JTAIL, JUUID_BYTES, JBD2_MAGIC, JBLOCK_DESCRIPTOR, JFLAG_SAME_UUID, JFLAG_LAST_TAG } = jbd2Layout;

function logSites(journal: Journal | undefined): Pick<Sites, "tags" | "logBlocks"> {
  const tags: Tag[] = [];
  const logBlocks: { n: number; at: number; type: number }[] = [];
  if (journal === undefined) return { tags, logBlocks };
  const { view } = journal.image;
  for (let n = journal.first; n < journal.last; n++) {
    const at = journalAt(journal, n);
    if (be32(view, at + JHEADER.h_magic) !== JBD2_MAGIC) continue;
    const type = be32(view, at + JHEADER.h_blocktype);
    logBlocks.push({ n, at, type });
    if (type !== JBLOCK_DESCRIPTOR) continue;
    const end = at + journal.blockSize - (journal.csum >= 2 ? JTAIL.bytes : 0);
    const descriptor = n;
    for (let tag = at + JHEADER.bytes; tag + journal.tagBytes <= end;) {
      const flags = tagFlags(journal, tag);
      tags.push({ descriptor, at: tag, data: ++n, sequence: be32(view, at + JHEADER.h_sequence) });
      tag += journal.tagBytes + ((flags & JFLAG_SAME_UUID) !== 0 ? 0 : JUUID_BYTES);
      if ((flags & JFLAG_LAST_TAG) !== 0) break;
    }
  }
  return { tags, logBlocks };
}

function fastTagsOf(sb: Super, journal: Journal): { at: number; tag: number; length: number }[] {
  const found: { at: number; tag: number; length: number }[] = [];
  const { view } = journal.image;
  for (let n = journal.fcFirst; n < journal.maxlen; n++) {
    const at = journalAt(journal, n);
    for (let here = at; here + FC_TL.bytes <= at + journal.blockSize;) {
      const tag = le16(view, here + FC_TL.fc_tag);
      const length = le16(view, here + FC_TL.fc_len);
      const end = here + FC_TL.bytes + length;
      if (end > at + journal.blockSize || !tagLengthOk(sb, tag, length)) return found;
      found.push({ at: here, tag, length });
      here = end;
    }
  }
  return found;
}
