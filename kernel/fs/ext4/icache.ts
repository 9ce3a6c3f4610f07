/**
 * Inodes in memory (Linux: struct ext4_inode_info, fs/inode.c): a row for each inode that somebody holds, whose pages are
 * cached, or for which something is left to do. What lies in the inode's record on the disk is not repeated here, but for
 * the size, which may be ahead of the disk's while blocks are delayed.
 *
 *   ino, holds       the inode, and how often it is held
 *   size             bytes, as everybody sees it; SIZE_UNKNOWN
 *   delayed          clusters promised to it
 *   nameless         NAMELESS: its last name is gone, the last release evicts it; LINKABLE: it may get one (O_TMPFILE)
 *   mapping          its pages in the page cache, -1: none open
 *   tid, dataTid     last transaction that changed it; that changed what its data need to be found (fdatasync)
 *   work, from, to   a change of several transactions that is not through: see file_work.ts. Blocks of the file
 *   orderedLow, orderedTid, orderedFirst, orderedLast
 *                    transactions that may not commit before dirty, mapped pages of this range are on the disk;
 *                    orderedTid 0: none, and then the row is not in the `ordered` list
 *   fault            errno of a write outside of the page cache's requests, until fsync has told it
 *   object           its memory, of a slab cache
 *   direct           the direct write that is under way: file_direct.ts; word 1 is 0: none
 *
 * Rows are found by inode number, and lie in a list by their last use: a row that is not held, has no marked page and no
 * work left can go (mounted.ts).
 */
import { RA_WORDS } from "../../abi/page_cache.ts";
import { isErr } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import type { ObjectCache } from "../../abi/object_cache.ts";
import { assert } from "../../lib/assert.ts";
import { KeyTable } from "../../lib/key_table.ts";
import { listAdd, listDel, listInit, listMove } from "../../lib/slot_list.ts";
import { RA_PAGES_DEFAULT } from "../../../mm/index.ts";

export const NO_ROW = -1;
export const NO_MAPPING = -1;
/** `size` of an inode that is held and was not looked at. */
export const SIZE_UNKNOWN = -1;
/** Words of a row in `direct`. */
export const DIRECT_WORDS = 7;

export const NAMELESS = 1;
export const LINKABLE = 2;

/** What is left to do. */
export const WORK = { None: 0, Cut: 1, Evict: 2, Punch: 3, Zero: 4 } as const;

export class Icache {
  readonly rows: number;
  readonly ino: Float64Array;
  readonly holds: Int32Array;
  readonly size: Float64Array;
  readonly delayed: Float64Array;
  readonly nameless: Uint8Array;
  readonly mapping: Int32Array;
  readonly tid: Float64Array;
  readonly dataTid: Float64Array;
  readonly work: Int32Array;
  readonly from: Float64Array;
  readonly to: Float64Array;
  readonly orderedLow: Float64Array;
  readonly orderedTid: Float64Array;
  readonly orderedFirst: Float64Array;
  readonly orderedLast: Float64Array;
  readonly fault: Int32Array;
  readonly errorsSince: Int32Array;
  readonly readAhead: Int32Array;
  /** Most pages of a read-ahead window, for files whose pages come into use: setReadAhead() of rows.ts. */
  readAheadPages = RA_PAGES_DEFAULT;
  readonly direct: Float64Array;
  readonly #table: KeyTable;
  /** Node `rows` is the head of each list. */
  readonly #useNext: Int32Array;
  readonly #usePrev: Int32Array;
  readonly #workNext: Int32Array;
  readonly #workPrev: Int32Array;
  readonly #orderedNext: Int32Array;
  readonly #orderedPrev: Int32Array;
  readonly #free: Int32Array;
  readonly #objects: ObjectCache;
  readonly #object: Float64Array;
  /** [0] 1: there is an object for the next row, [1]. */
  readonly #spare: Float64Array;

  constructor(memory: EvictMemory, rows: number, objects: ObjectCache) {
    this.rows = rows;
    this.#objects = objects;
    this.#object = memory.float64(rows);
    this.#spare = memory.float64(2);
    this.ino = memory.float64(rows);
    this.holds = memory.int32(rows);
    this.size = memory.float64(rows);
    this.delayed = memory.float64(rows);
    this.nameless = memory.uint8(rows);
    this.mapping = memory.int32(rows);
    this.tid = memory.float64(rows);
    this.dataTid = memory.float64(rows);
    this.work = memory.int32(rows);
    this.from = memory.float64(rows);
    this.to = memory.float64(rows);
    this.orderedLow = memory.float64(rows);
    this.orderedTid = memory.float64(rows);
    this.orderedFirst = memory.float64(rows);
    this.orderedLast = memory.float64(rows);
    this.fault = memory.int32(rows);
    this.errorsSince = memory.int32(rows);
    this.readAhead = memory.int32(rows * RA_WORDS);
    this.direct = memory.float64(rows * DIRECT_WORDS);
    this.#table = new KeyTable(memory, rows);
    this.#useNext = memory.int32(rows + 1);
    this.#usePrev = memory.int32(rows + 1);
    this.#workNext = memory.int32(rows + 1);
    this.#workPrev = memory.int32(rows + 1);
    this.#orderedNext = memory.int32(rows + 1);
    this.#orderedPrev = memory.int32(rows + 1);
    this.#free = memory.int32(1);
  }

  reset(): void {
    const { rows } = this;
    this.ino.fill(0);
    this.#table.clear();
    listInit(this.#useNext, this.#usePrev, rows);
    listInit(this.#workNext, this.#workPrev, rows);
    listInit(this.#orderedNext, this.#orderedPrev, rows);
    for (let row = 0; row < rows; row++) this.#useNext[row] = row + 1 === rows ? NO_ROW : row + 1;
    this.#free[0] = 0;
  }

  /** NO_ROW: the inode is not in memory. */
  find(ino: number): number {
    return this.#table.get(ino);
  }

  get full(): boolean {
    return this.#free[0] === NO_ROW;
  }

  get used(): number {
    return this.#table.size;
  }

  /** There is memory for one more row, which nobody else can take. */
  ready(): boolean {
    if (this.#spare[0] === 1) return true;
    const object = this.#objects.alloc();
    if (isErr(object)) return false;
    this.#spare[0] = 1;
    this.#spare[1] = object;
    return true;
  }

  /** There is an object more than there are rows. */
  get hasSpare(): boolean {
    return this.#spare[0] === 1;
  }

  /** The caller has seen that it is not full, and ready. */
  add(ino: number, size: number, tid: number): number {
    const row = this.#free[0]!;
    assert(row !== NO_ROW && this.find(ino) === NO_ROW, "Icache.add: no room, or the inode is here already");
    assert(this.#spare[0] === 1, "Icache.add: no memory for the row");
    this.#spare[0] = 0;
    this.#object[row] = this.#spare[1]!;
    this.#free[0] = this.#useNext[row]!;
    this.ino[row] = ino;
    this.size[row] = size;
    this.tid[row] = tid;
    this.dataTid[row] = tid;
    this.mapping[row] = NO_MAPPING;
    this.holds[row] = 0;
    this.delayed[row] = 0;
    this.nameless[row] = 0;
    this.work[row] = WORK.None;
    this.orderedTid[row] = 0;
    this.fault[row] = 0;
    this.errorsSince[row] = 0;
    this.direct[row * DIRECT_WORDS + 1] = 0;
    this.#table.set(ino, row);
    listAdd(this.#useNext, this.#usePrev, this.rows, row);
    return row;
  }

  remove(row: number): void {
    assert(this.ino[row] !== 0 && this.holds[row] === 0, "Icache.remove: a row that is held or free");
    assert(this.work[row] === WORK.None && this.orderedTid[row] === 0, "Icache.remove: something is left to do");
    assert(this.mapping[row] === NO_MAPPING, "Icache.remove: pages are cached");
    this.#table.delete(this.ino[row]!);
    listDel(this.#useNext, this.#usePrev, row);
    this.#objects.free(this.#object[row]!);
    this.ino[row] = 0;
    this.#useNext[row] = this.#free[0]!;
    this.#free[0] = row;
  }

  /** After an unmount: the memory of all rows. */
  giveBack(): void {
    for (let row = 0; row < this.rows; row++) if (this.ino[row] !== 0) this.#objects.free(this.#object[row]!);
    if (this.#spare[0] === 1) this.#objects.free(this.#spare[1]!);
    this.#spare[0] = 0;
  }

  use(row: number): void {
    if (this.#useNext[this.rows] !== row) listMove(this.#useNext, this.#usePrev, this.rows, row);
  }

  /** The row that was not used for the longest time; NO_ROW: there is none. */
  get oldest(): number {
    const row = this.#usePrev[this.rows]!;
    return row === this.rows ? NO_ROW : row;
  }

  setWork(row: number, work: number, from: number, to: number): void {
    if (this.work[row] === WORK.None && work !== WORK.None) listAdd(this.#workNext, this.#workPrev, this.rows, row);
    if (this.work[row] !== WORK.None && work === WORK.None) listDel(this.#workNext, this.#workPrev, row);
    this.work[row] = work;
    this.from[row] = from;
    this.to[row] = to;
  }

  /** The row whose work waits longest. */
  get nextWork(): number {
    const row = this.#workPrev[this.rows]!;
    return row === this.rows ? NO_ROW : row;
  }

  /** Others get their turn before this one. */
  deferWork(row: number): void {
    listMove(this.#workNext, this.#workPrev, this.rows, row);
  }

  /** Pages first..last have to be on the disk before transaction `tid` commits. */
  order(row: number, tid: number, first: number, last: number): void {
    if (this.orderedTid[row] === 0) {
      listAdd(this.#orderedNext, this.#orderedPrev, this.rows, row);
      this.orderedLow[row] = tid;
      this.orderedFirst[row] = first;
      this.orderedLast[row] = last;
    }
    this.orderedTid[row] = Math.max(tid, this.orderedTid[row]!);
    this.orderedFirst[row] = Math.min(first, this.orderedFirst[row]!);
    this.orderedLast[row] = Math.max(last, this.orderedLast[row]!);
  }

  /** All that transactions up to `tid` asked for is written or on its way. */
  ordered(row: number, tid: number): void {
    if (this.orderedTid[row]! > tid) {
      this.orderedLow[row] = Math.max(this.orderedLow[row]!, tid + 1);
    } else if (this.orderedTid[row]! > 0) {
      this.orderedTid[row] = 0;
      listDel(this.#orderedNext, this.#orderedPrev, row);
    }
  }

  /** Of the `ordered` list, behind `row` (NO_ROW: its first); NO_ROW at the end. */
  nextOrdered(row: number): number {
    const next = this.#orderedNext[row === NO_ROW ? this.rows : row]!;
    return next === this.rows ? NO_ROW : next;
  }
}
