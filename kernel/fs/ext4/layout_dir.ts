/**
 * Directory blocks. Little-endian, kernel.org's names.
 *
 *   linear, leaf | entry | entry ... the last one reaches to the end or to the tail | tail, 12 bytes, with metadata_csum |
 *   entry        | inode | rec_len | name_len | file_type | name, up to 255 bytes | padding to rec_len |
 *
 *   htree root   | "." 12 bytes | ".." 12 bytes, rec_len to the end | dx_root_info | limit count block | hash block ... | dx_tail |
 *   htree node   | fake entry of 8 bytes over the whole block                      | limit count block | hash block ... | dx_tail |
 *
 * The first of the index entries has the limit and the count where the others have their hash: it stands for hash 0. A
 * hash's lowest bit in an entry means that the leaf before it ends with names of the same hash.
 *
 * An inline directory has the parent's inode number in the first four bytes of i_block, then entries up to byte 60; the
 * value of `system.data` holds further entries. There are neither "." nor "..".
 */
import { record } from "../../lib/record.ts";

/** The head of an entry; the name follows. */
export const DIRENT = record(8, { inode: 4, rec_len: 2, name_len: 1, file_type: 1 });
export const DIRENT_TAIL = record(12, {
  det_reserved_zero1: 4,
  det_rec_len: 2,
  det_reserved_zero2: 1,
  det_reserved_ft: 1,
  det_checksum: 4,
});
export const DIRENT_TAIL_FT = 0xde;
export const NAME_MAX = 255;
/** The parent's number before the entries of an inline directory. */
export const INLINE_DOTDOT_BYTES = 4;

/** file_type */
export const FT_UNKNOWN = 0;
export const FT_REG = 1;
export const FT_DIR = 2;
export const FT_CHR = 3;
export const FT_BLK = 4;
export const FT_FIFO = 5;
export const FT_SOCK = 6;
export const FT_LNK = 7;

/** Follows the entries "." and "..", at DX_ROOT_INFO_OFFSET. */
export const DX_ROOT_INFO = record(8, {
  reserved_zero: 4,
  hash_version: 1,
  info_length: 1,
  indirect_levels: 1,
  unused_flags: 1,
});
export const DX_ROOT_INFO_OFFSET = 24;
export const DX_NODE_FAKE_BYTES = 8;
export const DX_ENTRY = record(8, { hash: 4, block: 4 });
/** In place of the first entry's hash. */
export const DX_COUNTLIMIT = record(4, { limit: 2, count: 2 });
export const DX_TAIL = record(8, { dt_reserved: 4, dt_checksum: 4 });
/** indirect_levels may be at most this without and with large_dir. */
export const DX_LEVELS_MAX = 1;
export const DX_LEVELS_LARGE_MAX = 2;

/** hash_version; the unsigned ones exist only in memory, s_flags says which way a file system's names hash. */
export const DX_HASH_LEGACY = 0;
export const DX_HASH_HALF_MD4 = 1;
export const DX_HASH_TEA = 2;
export const DX_HASH_SIPHASH = 6;
