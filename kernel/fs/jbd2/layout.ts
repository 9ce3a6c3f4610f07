/**
 * The journal on disk. Big-endian, unlike ext4; kernel.org's names. Fast commits behind it are little-endian
 * (../ext4/fast_commit.ts).
 *
 *   block 0 | superblock, 1 KiB |       s_first .. s_maxlen - s_num_fc_blks: the log, a ring       | fast-commit area |
 *
 *   one transaction | descriptor | data ... | descriptor | data ... | revoke ... | commit |
 *   descriptor      | header | tag (uuid) | tag | tag | ... last tag |       | jbd2_journal_block_tail, with csum v2, v3 |
 *   revoke          | header | r_count, bytes with this head | block number ... of 4 or 8 bytes |       | tail, as above |
 *
 * A tag says where the data block belongs. Its form depends on the journal's features:
 *
 *   csum v3           16 bytes | t_blocknr 4 | t_flags 4 | t_blocknr_high 4 | t_checksum 4 |
 *   otherwise, 8 bytes         | t_blocknr 4 | t_checksum 2 | t_flags 2 |
 *     + 4 with 64bit           | t_blocknr_high 4 |
 *     + 2 with csum v2         | two bytes that nobody reads |
 *
 * The first tag of a descriptor is followed by 16 bytes of uuid, others carry SAME_UUID. A data block that would start
 * with the magic has its first four bytes zeroed, and its tag carries ESCAPE.
 */
import { record } from "../../lib/record.ts";

export const JBD2_MAGIC = 0xc03b3998;

export const JHEADER = record(12, { h_magic: 4, h_blocktype: 4, h_sequence: 4 });
/** h_blocktype */
export const JBLOCK_DESCRIPTOR = 1;
export const JBLOCK_COMMIT = 2;
export const JBLOCK_SUPER_V1 = 3;
export const JBLOCK_SUPER_V2 = 4;
export const JBLOCK_REVOKE = 5;

export const JSB = record(1024, {
  h_magic: 4,
  h_blocktype: 4,
  h_sequence: 4,
  s_blocksize: 4,
  s_maxlen: 4,
  s_first: 4,
  s_sequence: 4,
  s_start: 4,
  s_errno: 4,
  s_feature_compat: 4,
  s_feature_incompat: 4,
  s_feature_ro_compat: 4,
  s_uuid: 16,
  s_nr_users: 4,
  s_dynsuper: 4,
  s_max_transaction: 4,
  s_max_trans_data: 4,
  s_checksum_type: 1,
  s_padding2: 3,
  s_num_fc_blks: 4,
  s_head: 4,
  s_padding: 160,
  s_checksum: 4,
  s_users: 768,
});

export const JCOMPAT_CHECKSUM = 1;
export const JINCOMPAT_REVOKE = 1;
export const JINCOMPAT_64BIT = 2;
export const JINCOMPAT_ASYNC_COMMIT = 4;
export const JINCOMPAT_CSUM_V2 = 8;
export const JINCOMPAT_CSUM_V3 = 16;
export const JINCOMPAT_FAST_COMMIT = 32;
/** s_checksum_type, h_chksum_type: crc32 (commit blocks of csum v1), crc32c (v2 and v3). */
export const JCSUM_CRC32 = 1;
export const JCSUM_CRC32C = 4;
/** Fast-commit blocks where s_num_fc_blks is 0. */
export const JFC_BLOCKS_DEFAULT = 256;

export const JCOMMIT = record(60, {
  h_magic: 4,
  h_blocktype: 4,
  h_sequence: 4,
  h_chksum_type: 1,
  h_chksum_size: 1,
  h_padding: 2,
  h_chksum: 32,
  h_commit_sec: 8,
  h_commit_nsec: 4,
});

export const JTAG = record(12, { t_blocknr: 4, t_checksum: 2, t_flags: 2, t_blocknr_high: 4 });
export const JTAG3 = record(16, { t_blocknr: 4, t_flags: 4, t_blocknr_high: 4, t_checksum: 4 });
export const JUUID_BYTES = 16;
export const JTAIL = record(4, { t_checksum: 4 });
/** t_flags */
export const JFLAG_ESCAPE = 1;
export const JFLAG_SAME_UUID = 2;
export const JFLAG_DELETED = 4;
export const JFLAG_LAST_TAG = 8;

export const JREVOKE = record(16, { h_magic: 4, h_blocktype: 4, h_sequence: 4, r_count: 4 });
