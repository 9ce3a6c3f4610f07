/**
 * A list of extended attributes as it lies in an inode or a block, read into items and written as a whole: entries from
 * the front in their order, values from the end. layout_inode.ts draws it.
 *
 * - readItems(bytes, view, area)      the items; undefined when the list is damaged
 * - listBytes(items)                  what they take: entries, the four zero bytes, values
 * - writeItems(..., area, items, hashed)   e_hash is kept in a block only, as Linux does
 * - ibodySpace(view, sb, inode)       where attributes in the inode go, whether there are some or not
 * - isItem(item, index, name)
 */
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { inodeHas } from "./csum.ts";
import { GOOD_OLD_INODE_SIZE, INODE } from "./layout.ts";
import { XATTR_ENTRY, XATTR_IBODY_HEADER } from "./layout_inode.ts";
import type { Super } from "./super.ts";
import { entryHash, walkXattrs, xattrEntryBytes } from "./xattr.ts";
import type { XattrArea } from "./xattr.ts";

export interface XattrItem {
  readonly index: number;
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** Values are padded to words. */
export const valueBytes = (length: number): number => (length + 3) & ~3;
const LIST_END_BYTES = 4;

export function readItems(bytes: Uint8Array, view: DataView, area: XattrArea): XattrItem[] | undefined {
  const items: XattrItem[] = [];
  const whole = walkXattrs(view, area, ({ at, index, nameLength, value, valueLength }) => {
    const from = at + XATTR_ENTRY.bytes;
    items.push({ index, name: bytes.slice(from, from + nameLength), value: bytes.slice(value, value + valueLength) });
    return true;
  });
  return whole ? items : undefined;
}

export function listBytes(items: readonly XattrItem[]): number {
  let sum = LIST_END_BYTES;
  for (const { name, value } of items) sum += xattrEntryBytes(name.length) + valueBytes(value.length);
  return sum;
}

/** The caller has compared listBytes() with the area, which is filled. Returns the e_hash of each, in order. */
export function writeItems(
  bytes: Uint8Array,
  view: DataView,
  area: XattrArea,
  items: readonly XattrItem[],
  hashed: boolean,
): number[] {
  const hashes: number[] = [];
  bytes.fill(0, area.first, area.end);
  let at = area.first;
  let value = area.end;
  for (const item of items) {
    const { index, name } = item;
    if (item.value.length > 0) {
      value -= valueBytes(item.value.length);
      bytes.set(item.value, value);
    }
    view.setUint8(at + XATTR_ENTRY.e_name_len, name.length);
    view.setUint8(at + XATTR_ENTRY.e_name_index, index);
    setLe16(view, at + XATTR_ENTRY.e_value_offs, item.value.length > 0 ? value - area.base : 0);
    setLe32(view, at + XATTR_ENTRY.e_value_size, item.value.length);
    bytes.set(name, at + XATTR_ENTRY.bytes);
    const valueLength = item.value.length;
    const hash = hashed ? entryHash(view, { at, index, nameLength: name.length, value, valueLength }, false) : 0;
    setLe32(view, at + XATTR_ENTRY.e_hash, hash);
    hashes.push(hash);
    at += xattrEntryBytes(name.length);
  }
  return hashes;
}

/** Undefined in an inode that has no room for any: of 128 bytes, or without i_extra_isize. */
export function ibodySpace(view: DataView, sb: Super, inode: number): XattrArea | undefined {
  if (sb.inodeSize === GOOD_OLD_INODE_SIZE || !inodeHas(sb, view, inode, INODE.i_extra_isize, 2)) return undefined;
  const extra = le16(view, inode + INODE.i_extra_isize);
  const first = inode + GOOD_OLD_INODE_SIZE + extra + XATTR_IBODY_HEADER.bytes;
  const end = inode + sb.inodeSize;
  return first + LIST_END_BYTES > end ? undefined : { first, base: first, end };
}

export function isItem(item: XattrItem, index: number, name: Uint8Array): boolean {
  if (item.index !== index || item.name.length !== name.length) return false;
  return name.every((byte, n) => item.name[n] === byte);
}

/** The word before the first entry. */
export const ibodyMagic = (view: DataView, area: XattrArea): number =>
  le32(view, area.first - XATTR_IBODY_HEADER.bytes);
export const setIbodyMagic = (view: DataView, area: XattrArea, magic: number): void =>
  setLe32(view, area.first - XATTR_IBODY_HEADER.bytes, magic);
