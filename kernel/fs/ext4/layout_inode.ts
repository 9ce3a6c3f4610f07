/**
 * What hangs on an inode: extent trees, block maps, extended attributes, inline data, and the blocks of the orphan file.
 * Little-endian, kernel.org's names.
 *
 * An extent tree. Its root is i_block, further nodes are blocks; eh_depth 0 is a leaf, and a tail follows eh_max entries:
 *
 *   node | header, 12 bytes | eh_max entries of 12 bytes: extents (depth 0) or indexes (depth > 0) | et_checksum |
 *
 * A block map: i_block holds 12 block numbers, then those of a single, a double and a triple indirect block.
 *
 * Extended attributes. Entries grow up to four zero bytes, values down from the end; e_value_offs counts from the first
 * entry inside an inode, from the start of the block in a block:
 *
 *   inode | 128 bytes | i_extra_isize bytes | h_magic | entry entry ... 0 |   free   | value value |
 *   block | header, 32 bytes                          | entry entry ... 0 |   free   | value value |
 *
 * Inline data: the first 60 bytes in i_block, the rest is the value of the attribute `system.data`.
 *
 * A block of the orphan file: inode numbers, 0 where free; then its tail in the last 8 bytes.
 */
import { record } from "../../lib/record.ts";

export const EXTENT_HEADER = record(12, { eh_magic: 2, eh_entries: 2, eh_max: 2, eh_depth: 2, eh_generation: 4 });
export const EXTENT_INDEX = record(12, { ei_block: 4, ei_leaf_lo: 4, ei_leaf_hi: 2, ei_unused: 2 });
export const EXTENT = record(12, { ee_block: 4, ee_len: 2, ee_start_hi: 2, ee_start_lo: 4 });
export const EXTENT_TAIL = record(4, { et_checksum: 4 });
export const EXTENT_MAGIC = 0xf30a;
/** Five levels of 1 KiB blocks hold 2^32 blocks. */
export const EXTENT_DEPTH_MAX = 5;
/** ee_len up to this many blocks is written; above, the extent is unwritten and this much shorter. */
export const EXTENT_LEN_MAX = 0x8000;

/** Entries of i_block in a block map. */
export const NDIR_BLOCKS = 12;
export const IND_BLOCK = 12;
export const DIND_BLOCK = 13;
export const TIND_BLOCK = 14;

export const XATTR_MAGIC = 0xea020000;
/** In the inode only the magic precedes the entries. */
export const XATTR_IBODY_HEADER = record(4, { h_magic: 4 });
export const XATTR_HEADER = record(32, {
  h_magic: 4,
  h_refcount: 4,
  h_blocks: 4,
  h_hash: 4,
  h_checksum: 4,
  h_reserved: 12,
});
/** The name follows, padded to a multiple of four. */
export const XATTR_ENTRY = record(16, {
  e_name_len: 1,
  e_name_index: 1,
  e_value_offs: 2,
  e_value_inum: 4,
  e_value_size: 4,
  e_hash: 4,
});
/** e_name_index -> what stands before the name. */
export const XATTR_PREFIX: Readonly<Record<number, string>> = {
  0: "",
  1: "user.",
  2: "system.posix_acl_access",
  3: "system.posix_acl_default",
  4: "trusted.",
  6: "security.",
  7: "system.",
  8: "system.richacl",
  9: "c",
};
export const XATTR_INDEX_SYSTEM = 7;
/** The attribute of the system index that holds inline data. */
export const XATTR_INLINE_NAME = "data";

export const ORPHAN_TAIL = record(8, { ob_magic: 4, ob_checksum: 4 });
export const ORPHAN_MAGIC = 0x0b10ca04;
