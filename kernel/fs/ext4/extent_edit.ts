/**
 * Blocks of a file in an extent tree: mapped, converted, given back. The tree itself is extent_tree.ts's.
 *
 * - insertExtents(map, lblk, pblk, length, unwritten)   maps what was a hole; joins neighbours on both sides
 * - goalExtents(map, lblk)                            where a block would best lie, -1 for anywhere
 * - convertExtents(map, lblk, length, written)          what is mapped becomes written, or unwritten
 * - removeExtents(map, from, end, budget)               from the end on; the block reached: [reached, end) is a hole now
 *
 * ENOSPC comes before the step that needs a new node has changed anything; steps before it stand.
 */
import { EFSCORRUPTED } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { le32, setLe16 } from "../../lib/bytes.ts";
import { extentLength, extentStart, extentUnwritten, mapExtent } from "./extent.ts";
import type { Mapped } from "./extent.ts";
import { putExtent, TreePath } from "./extent_tree.ts";
import { EXTENT, EXTENT_LEN_MAX } from "./layout_inode.ts";
import { freeData } from "./map_node.ts";
import type { Budget, FileMap } from "./map_node.ts";
import { firstBlockOf, groupOf } from "./super.ts";

/** Most blocks of one extent. */
const lengthMax = (unwritten: boolean): number => (unwritten ? EXTENT_LEN_MAX - 1 : EXTENT_LEN_MAX);
const lengthWord = (length: number, unwritten: boolean): number => length + (unwritten ? EXTENT_LEN_MAX : 0);

/** Blocks of an insert into a tree of that depth: the path, a new node beside each and a new level, and their groups. */
export const insertNodes = (depth: number): number => 2 * depth + 1;
export const insertGroups = (depth: number): number => depth + 1;

interface Piece {
  lblk: number;
  pblk: number;
  length: number;
  unwritten: boolean;
}

const pieceAt = (view: DataView, entry: number): Piece => ({
  lblk: le32(view, entry + EXTENT.ee_block),
  pblk: extentStart(view, entry),
  length: extentLength(view, entry),
  unwritten: extentUnwritten(view, entry),
});

const joins = (a: Piece, b: Piece): boolean =>
  a.unwritten === b.unwritten &&
  a.lblk + a.length === b.lblk &&
  a.pblk + a.length === b.pblk &&
  a.length + b.length <= lengthMax(a.unwritten);

/**
 * Where a block of a hole would lie if the file were in one piece with what is mapped next to it, before it if anything
 * is; -1 when nothing is mapped in that leaf. A file that is written backwards or with gaps stays together.
 */
export function goalExtents(map: FileMap, lblk: number): number {
  const path = new TreePath(map);
  if (path.find(lblk) !== 0) return -1;
  const near = pieceOf(path) ?? pieceOf(path, 1);
  return near === undefined ? -1 : near.pblk + lblk - near.lblk;
}

/** The entry `beside` the place, undefined when the leaf has none there. */
function pieceOf(path: TreePath, beside = 0): Piece | undefined {
  const entry = path.entry(beside);
  return entry < 0 ? undefined : pieceAt(path.map.edit.blocks.view, entry);
}

/** Writes the entry `beside` the place anew. */
function put(path: TreePath, beside: number, { lblk, pblk, length, unwritten }: Piece): void {
  path.write();
  putExtent(path.map.edit.blocks.view, path.entry(beside), lblk, pblk, lengthWord(length, unwritten));
  path.seal();
  if (path.pos[path.depth]! + beside === 0) path.fixKeys();
}

/** The entry at the place takes in its right neighbour, then its left one takes it in. */
function joinAround(path: TreePath): 0 | Errno {
  for (const beside of [0, -1]) {
    const [left, right] = [pieceOf(path, beside), pieceOf(path, beside + 1)];
    if (left === undefined || right === undefined || !joins(left, right)) continue;
    put(path, beside, { ...left, length: left.length + right.length });
    path.pos[path.depth]! += beside + 1;
    const fault = path.remove();
    if (fault !== 0) return fault;
    path.pos[path.depth]!--;
  }
  return path.pullUp();
}

export function insertExtents(map: FileMap, lblk: number, pblk: number, length: number, unwritten: boolean): 0 | Errno {
  const path = new TreePath(map);
  for (let done = 0; done < length;) {
    const part = Math.min(length - done, lengthMax(unwritten));
    const piece: Piece = { lblk: lblk + done, pblk: pblk + done, length: part, unwritten };
    let fault = path.find(piece.lblk);
    if (fault !== 0) return fault;
    const [left, right] = [pieceOf(path), pieceOf(path, 1)];
    if (left !== undefined && left.lblk + left.length > piece.lblk) return EFSCORRUPTED;
    if (right !== undefined && right.lblk < piece.lblk + part) return EFSCORRUPTED;
    if (left !== undefined && joins(left, piece)) put(path, 0, { ...left, length: left.length + part });
    else if (right !== undefined && joins(piece, right)) {
      put(path, 1, { ...piece, length: part + right.length });
      path.pos[path.depth]!++;
    } else fault = path.insert(piece.lblk, piece.pblk, lengthWord(part, unwritten));
    if (fault === 0) fault = joinAround(path);
    if (fault !== 0) return fault;
    done += part;
  }
  return 0;
}

/** The entry at the place ends at `at`; what was behind becomes one of its own. */
function splitAt(path: TreePath, piece: Piece, at: number): 0 | Errno {
  const head = { ...piece, length: at - piece.lblk };
  put(path, 0, head);
  const rest = piece.length - head.length;
  const fault = path.insert(at, piece.pblk + head.length, lengthWord(rest, piece.unwritten));
  if (fault === 0) return 0;
  const lost = path.find(piece.lblk);
  if (lost !== 0) return lost;
  put(path, 0, piece);
  return fault;
}

/**
 * Where the blocks border on a neighbour of the state that they get, the border moves and no entry is added: a file that
 * is written from front to back behind fallocate() keeps two extents. True: done.
 */
function moveBorder(path: TreePath, piece: Piece, from: number, end: number): boolean {
  const count = end - from;
  const moved: Piece = { lblk: from, pblk: piece.pblk + from - piece.lblk, length: count, unwritten: !piece.unwritten };
  if (from === piece.lblk) {
    const left = pieceOf(path, -1);
    if (left === undefined || !joins(left, moved)) return false;
    put(path, 0, { ...piece, lblk: end, pblk: piece.pblk + count, length: piece.length - count });
    put(path, -1, { ...left, length: left.length + count });
    return true;
  }
  const right = pieceOf(path, 1);
  if (end < piece.lblk + piece.length || right === undefined || !joins(moved, right)) return false;
  put(path, 0, { ...piece, length: piece.length - count });
  put(path, 1, { ...moved, length: count + right.length });
  return true;
}

export function convertExtents(map: FileMap, lblk: number, length: number, written: boolean): 0 | Errno {
  const path = new TreePath(map);
  const end = lblk + length;
  for (let at = lblk; at < end;) {
    let fault = path.find(at);
    if (fault !== 0) return fault;
    const piece = pieceOf(path);
    if (piece === undefined || piece.lblk + piece.length <= at) return EFSCORRUPTED;
    const pieceEnd = piece.lblk + piece.length;
    // A written extent may be longer by one block than an unwritten one.
    const stop = Math.min(pieceEnd, end, written ? pieceEnd : at + lengthMax(true));
    if (piece.unwritten === written) {
      const whole = at === piece.lblk && stop === pieceEnd;
      if (!whole && moveBorder(path, piece, at, stop)) {
        at = stop;
        continue;
      }
      if (piece.lblk < at || stop < pieceEnd) fault = splitAt(path, piece, piece.lblk < at ? at : stop);
      else {
        const { blocks } = map.edit;
        path.write();
        setLe16(blocks.view, path.entry() + EXTENT.ee_len, lengthWord(piece.length, !written));
        path.seal();
        fault = joinAround(path);
        at = stop;
      }
      if (fault !== 0) return fault;
    } else at = stop;
  }
  return 0;
}

const isMapped = (map: FileMap, from: number, end: number): number | Errno => {
  const { blocks, sb } = map.edit;
  const found: Mapped = { pblk: 0, length: 0, unwritten: false };
  const fault = mapExtent(blocks, sb, map.inode, from, found);
  if (fault !== 0) return fault;
  return found.pblk > 0 || from + found.length < end ? 1 : 0;
};

/** What taking away a part of the entry at the place changes at most. */
function chargeStep(path: TreePath, pblk: number, splits: boolean, budget: Budget): boolean {
  const { map, depth } = path;
  for (let level = depth; level > 0; level--) {
    budget.block(path.block[level]!);
    if (path.entries(level) === 1) budget.group(map.edit, path.block[level]!);
  }
  budget.group(map.edit, pblk);
  if (splits) budget.unknown(insertNodes(depth) + 2 * insertGroups(depth));
  return budget.take();
}

export function removeExtents(map: FileMap, from: number, end: number, budget: Budget): number | Errno {
  const { sb } = map.edit;
  const path = new TreePath(map);
  for (let reached = end; reached > from;) {
    let fault = path.find(reached - 1);
    if (fault !== 0) return fault;
    const piece = pieceOf(path);
    const pieceEnd = piece === undefined ? 0 : piece.lblk + piece.length;
    if (piece === undefined || pieceEnd <= from) return from;
    const stop = Math.min(pieceEnd, reached);
    // As much as lies in one group: each has a bitmap and a descriptor of its own.
    const groupStart = firstBlockOf(sb, groupOf(sb, piece.pblk + stop - piece.lblk - 1));
    const whole = Math.max(piece.lblk, from, piece.lblk + groupStart - piece.pblk);
    const start = stop - budget.mayFree(map, stop - whole);
    if (start === stop) return reached;
    const splits = stop < pieceEnd && start > piece.lblk;
    if (!chargeStep(path, piece.pblk + start - piece.lblk, splits, budget)) return reached;
    if (splits) {
      fault = splitAt(path, piece, stop);
      if (fault !== 0) return fault;
      continue;
    }
    const cut = start - piece.lblk;
    if (stop < pieceEnd) {
      const gone = stop - piece.lblk;
      put(path, 0, { ...piece, lblk: stop, pblk: piece.pblk + gone, length: piece.length - gone });
    } else if (cut > 0) put(path, 0, { ...piece, length: cut });
    else fault = path.remove();
    if (fault === 0) fault = freeData(map, start, piece.pblk + cut, stop - start, isMapped);
    if (fault !== 0) return fault;
    if (map.journalled) budget.forgets -= stop - start;
    reached = start;
  }
  return from;
}
