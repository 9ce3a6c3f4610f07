/**
 * Extended attributes by name: in the inode as long as there is room, else in the one block that several inodes may share.
 *
 * - getXattr(..., name, into)         length of the value; ENODATA, ERANGE
 * - listXattr(..., into)              names, each ended by NUL; ERANGE
 * - setXattr(edit, ino, name, value, flags)     EEXIST, ENODATA by the flags; ENOSPC when it fits neither here nor there
 * - removeXattr(edit, ino, name)      ENODATA
 *
 * A value that changes goes where it fits, first into the inode, and leaves the other place. Lists are written as a whole:
 * they are a few hundred bytes. A list in a block is sorted by index, length of the name, and name; Linux searches it so.
 */
import { EEXIST, EFSCORRUPTED, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE, isErr } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import type { Blocks } from "../blocks.ts";
import { XATTR_CREATE, XATTR_REPLACE } from "../vfs/file_system.ts";
import type { Edit } from "./edit.ts";
import { inodeAt } from "./group.ts";
import { TOUCH_CTIME, editInode, touch } from "./inode_edit.ts";
import { COMPAT, SB } from "./layout.ts";
import { XATTR_HEADER, XATTR_MAGIC, XATTR_PREFIX } from "./layout_inode.ts";
import { setSuperFeature } from "./super_edit.ts";
import type { Super } from "./super.ts";
import { readBlockItems, writeBlockItems } from "./xattr_block.ts";
import { ibodyMagic, ibodySpace, isItem, listBytes, readItems, setIbodyMagic, writeItems } from "./xattr_list.ts";
import type { XattrItem } from "./xattr_list.ts";

/** Of a whole name (XATTR_NAME_MAX). */
const NAME_MAX = 255;
/** e_name_index of what users see. Access control lists, with a form of their own on disk, are not among them. */
const SHOWN = [1, 4, 6];

interface Name {
  readonly index: number;
  readonly bytes: Uint8Array;
}

function nameOf(name: string): Name | Errno {
  const index = SHOWN.find((one) => name.startsWith(XATTR_PREFIX[one]!));
  if (index === undefined) return EOPNOTSUPP;
  const bytes = new TextEncoder().encode(name.slice(XATTR_PREFIX[index]!.length));
  if (bytes.length === 0) return EINVAL;
  return bytes.length + XATTR_PREFIX[index]!.length > NAME_MAX ? ERANGE : { index, bytes };
}

/** Items of both places; undefined in the inode when it has no room for any. */
interface Lists {
  readonly body: readonly XattrItem[] | undefined;
  readonly block: readonly XattrItem[];
}

function listsOf(blocks: Blocks, sb: Super, inode: number): Lists | Errno {
  const { bytes, view } = blocks;
  const area = ibodySpace(view, sb, inode);
  let body: XattrItem[] | undefined;
  if (area !== undefined) {
    body = ibodyMagic(view, area) === XATTR_MAGIC ? readItems(bytes, view, area) : [];
    if (body === undefined) return EFSCORRUPTED;
  }
  const block = readBlockItems(blocks, sb, inode);
  return typeof block === "number" ? block : { body, block };
}

const indexIn = (items: readonly XattrItem[] | undefined, { index, bytes }: Name): number =>
  items === undefined ? -1 : items.findIndex((item) => isItem(item, index, bytes));

export function getXattr(blocks: Blocks, sb: Super, ino: number, name: string, into: Uint8Array): number | Errno {
  const wanted = nameOf(name);
  if (typeof wanted === "number") return wanted;
  const lists = listsOf(blocks, sb, inodeAt(blocks, sb, ino));
  if (typeof lists === "number") return lists;
  const found = lists.body?.[indexIn(lists.body, wanted)] ?? lists.block[indexIn(lists.block, wanted)];
  if (found === undefined) return ENODATA;
  const { value } = found;
  if (into.length > 0) {
    if (value.length > into.length) return ERANGE;
    into.set(value);
  }
  return value.length;
}

/** Also here an empty `into` asks for the length only. */
export function listXattr(blocks: Blocks, sb: Super, ino: number, into: Uint8Array): number | Errno {
  const lists = listsOf(blocks, sb, inodeAt(blocks, sb, ino));
  if (typeof lists === "number") return lists;
  let length = 0;
  for (const { index, name } of [...(lists.body ?? []), ...lists.block]) {
    if (!SHOWN.includes(index)) continue;
    const prefix = new TextEncoder().encode(XATTR_PREFIX[index]);
    const end = length + prefix.length + name.length + 1;
    if (into.length > 0) {
      if (end > into.length) return ERANGE;
      into.set(prefix, length);
      into.set(name, length + prefix.length);
      into[end - 1] = 0;
    }
    length = end;
  }
  return length;
}

export function setXattr(edit: Edit, ino: number, name: string, value: Uint8Array, flags: number): 0 | Errno {
  return change(edit, ino, name, value, flags);
}

export function removeXattr(edit: Edit, ino: number, name: string): 0 | Errno {
  return change(edit, ino, name, undefined, XATTR_REPLACE);
}

function change(edit: Edit, ino: number, name: string, value: Uint8Array | undefined, flags: number): 0 | Errno {
  const { blocks, sb } = edit;
  const wanted = nameOf(name);
  if (typeof wanted === "number") return wanted;
  const lists = listsOf(blocks, sb, editInode(edit, ino));
  if (typeof lists === "number") return lists;
  const [inBody, inBlock] = [indexIn(lists.body, wanted), indexIn(lists.block, wanted)];
  const old = inBody >= 0 ? lists.body![inBody] : lists.block[inBlock];
  if (old === undefined && (flags & XATTR_REPLACE) !== 0) return ENODATA;
  if (old !== undefined && (flags & XATTR_CREATE) !== 0) return EEXIST;
  if (old !== undefined && value !== undefined && isSame(old.value, value)) return 0;
  const result = place(edit, ino, wanted, value, lists, inBody, inBlock);
  if (isErr(result)) return result;
  if (value !== undefined) setSuperFeature(edit, SB.s_feature_compat, COMPAT.ext_attr, true);
  touch(edit, ino, TOUCH_CTIME);
  return 0;
}

const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && one.every((byte, n) => byte === other[n]);

function place(
  edit: Edit,
  ino: number,
  { index, bytes: name }: Name,
  value: Uint8Array | undefined,
  { body, block }: Lists,
  inBody: number,
  inBlock: number,
): 0 | Errno {
  const { sb } = edit;
  if (value === undefined) {
    if (inBody < 0) return writeBlockItems(edit, ino, block.toSpliced(inBlock, 1));
    return writeBody(edit, ino, body!.toSpliced(inBody, 1));
  }
  const item = { index, name, value };
  if (body !== undefined) {
    const items = inBody < 0 ? [...body, item] : body.with(inBody, item);
    if (fitsBody(edit, ino, items)) {
      const result = writeBody(edit, ino, items);
      if (result !== 0) return result;
      return inBlock < 0 ? 0 : writeBlockItems(edit, ino, block.toSpliced(inBlock, 1));
    }
  }
  const items = inBlock < 0 ? [...block, item].sort(blockOrder) : block.with(inBlock, item);
  if (listBytes(items) > sb.blockSize - XATTR_HEADER.bytes) return ENOSPC;
  const result = writeBlockItems(edit, ino, items);
  return result === 0 && inBody >= 0 ? writeBody(edit, ino, body!.toSpliced(inBody, 1)) : result;
}

function fitsBody(edit: Edit, ino: number, items: readonly XattrItem[]): boolean {
  const area = ibodySpace(edit.blocks.view, edit.sb, editInode(edit, ino))!;
  return listBytes(items) <= area.end - area.first;
}

/** EFSCORRUPTED: values that overlapped are more when each has a place of its own. */
function writeBody(edit: Edit, ino: number, items: readonly XattrItem[]): 0 | Errno {
  const { blocks, sb } = edit;
  if (!fitsBody(edit, ino, items)) return EFSCORRUPTED;
  const area = ibodySpace(blocks.view, sb, editInode(edit, ino))!;
  writeItems(blocks.bytes, blocks.view, area, items, false);
  setIbodyMagic(blocks.view, area, items.length > 0 ? XATTR_MAGIC : 0);
  return 0;
}

function blockOrder(one: XattrItem, other: XattrItem): number {
  const first = one.index - other.index || one.name.length - other.name.length;
  if (first !== 0) return first;
  const at = one.name.findIndex((byte, n) => byte !== other.name[n]);
  return at < 0 ? 0 : one.name[at]! - other.name[at]!;
}
