/**
 * Extended attributes, reading: the area behind an inode's fields, and a block of their own. layout_inode.ts draws both.
 *
 * - ibodyArea(view, sb, inode)         where the attributes in the inode are; undefined without room or without any
 * - walkXattrs(view, area, visit)      each entry; false when the list is damaged: it is read up to there
 * - inlineTail(view, sb, inode)        the value of system.data: the bytes of inline data that are not in i_block
 * - entryHash(...), blockHash(...)     e_hash of an entry, h_hash of a block
 */
import { le16, le32 } from "../../lib/bytes.ts";
import { inodeHas } from "./csum.ts";
import { GOOD_OLD_INODE_SIZE, INODE } from "./layout.ts";
import {
  XATTR_ENTRY,
  XATTR_HEADER,
  XATTR_IBODY_HEADER,
  XATTR_INDEX_SYSTEM,
  XATTR_INLINE_NAME,
  XATTR_MAGIC,
} from "./layout_inode.ts";
import type { Super } from "./super.ts";

/** Addresses: entries from `first`, values counted from `base`, all before `end`. */
export interface XattrArea {
  readonly first: number;
  readonly base: number;
  readonly end: number;
}

/** One attribute: `at` is its entry's address, `value` that of its value. */
export interface Xattr {
  at: number;
  index: number;
  nameLength: number;
  value: number;
  valueLength: number;
}

export const xattrEntryBytes = (nameLength: number): number => (XATTR_ENTRY.bytes + nameLength + 3) & ~3;

export function ibodyArea(view: DataView, sb: Super, inode: number): XattrArea | undefined {
  if (sb.inodeSize === GOOD_OLD_INODE_SIZE || !inodeHas(sb, view, inode, INODE.i_extra_isize, 2)) return undefined;
  const extra = le16(view, inode + INODE.i_extra_isize);
  const header = inode + GOOD_OLD_INODE_SIZE + extra;
  const first = header + XATTR_IBODY_HEADER.bytes;
  const end = inode + sb.inodeSize;
  if (extra % 4 !== 0 || first + 4 > end || le32(view, header) !== XATTR_MAGIC) return undefined;
  return { first, base: first, end };
}

/** The area of a block at an address; the caller has looked at its magic. */
export const blockArea = (sb: Super, at: number): XattrArea => ({
  first: at + XATTR_HEADER.bytes,
  base: at,
  end: at + sb.blockSize,
});

/** `visit` returns false to stop. The object it is given is the same for each entry. */
export function walkXattrs(view: DataView, area: XattrArea, visit: (xattr: Xattr) => boolean): boolean {
  const found: Xattr = { at: 0, index: 0, nameLength: 0, value: 0, valueLength: 0 };
  let at = area.first;
  for (;;) {
    if (at + 4 > area.end) return false;
    if (le32(view, at) === 0) return true;
    if (at + XATTR_ENTRY.bytes > area.end) return false;
    const nameLength = view.getUint8(at + XATTR_ENTRY.e_name_len);
    const next = at + xattrEntryBytes(nameLength);
    if (next + 4 > area.end) return false;
    const valueLength = le32(view, at + XATTR_ENTRY.e_value_size);
    const value = area.base + le16(view, at + XATTR_ENTRY.e_value_offs);
    // Values in inodes of their own (ea_inode) are of a feature that readSuper() refuses.
    if (le32(view, at + XATTR_ENTRY.e_value_inum) !== 0) return false;
    // Values are padded to words, and hash as such.
    if (valueLength > 0 && (value + Math.ceil(valueLength / 4) * 4 > area.end || value < next)) return false;
    found.at = at;
    found.index = view.getUint8(at + XATTR_ENTRY.e_name_index);
    found.nameLength = nameLength;
    found.value = value;
    found.valueLength = valueLength;
    if (!visit(found)) return true;
    at = next;
  }
}

/** The bytes of a name, as text: names are ASCII but for what users choose. */
export function xattrName(bytes: Uint8Array, xattr: Readonly<Xattr>): string {
  const from = xattr.at + XATTR_ENTRY.bytes;
  return new TextDecoder().decode(bytes.slice(from, from + xattr.nameLength));
}

/** Address and length, undefined when the attribute is not there. */
export function inlineTail(
  view: DataView,
  sb: Super,
  inode: number,
): { readonly at: number; readonly length: number } | undefined {
  const area = ibodyArea(view, sb, inode);
  if (area === undefined) return undefined;
  let tail: { readonly at: number; readonly length: number } | undefined;
  walkXattrs(view, area, (xattr) => {
    if (xattr.index !== XATTR_INDEX_SYSTEM || xattr.nameLength !== XATTR_INLINE_NAME.length) return true;
    for (let n = 0; n < xattr.nameLength; n++)
      if (view.getUint8(xattr.at + XATTR_ENTRY.bytes + n) !== XATTR_INLINE_NAME.charCodeAt(n)) return true;
    tail = { at: xattr.value, length: xattr.valueLength };
    return false;
  });
  return tail;
}

const NAME_SHIFT = 5;
const VALUE_SHIFT = 16;
const rotated = (hash: number, by: number): number => (hash << by) ^ (hash >>> (32 - by));

/** e_hash of the entry at an address. Names hash as unsigned bytes; old kernels on some processors used signed ones. */
export function entryHash(view: DataView, xattr: Readonly<Xattr>, signedName: boolean): number {
  let hash = 0;
  for (let n = 0; n < xattr.nameLength; n++) {
    const at = xattr.at + XATTR_ENTRY.bytes + n;
    hash = rotated(hash, NAME_SHIFT) ^ (signedName ? view.getInt8(at) : view.getUint8(at));
  }
  const words = Math.ceil(xattr.valueLength / 4);
  for (let n = 0; n < words; n++) hash = rotated(hash, VALUE_SHIFT) ^ le32(view, xattr.value + 4 * n);
  return hash >>> 0;
}

/** h_hash of a block from its entries' e_hash, in order; 0 as soon as one of them is 0. */
export function blockHash(entryHashes: Iterable<number>): number {
  let hash = 0;
  for (const one of entryHashes) {
    if (one === 0) return 0;
    hash = rotated(hash, VALUE_SHIFT) ^ one;
  }
  return hash >>> 0;
}
