/**
 * The directory cache: what lookup said last, by file system, directory and name; also that a name is not there. A fixed
 * number of rows, the one unused longest goes first. It is only a memory of answers: dropping any row at any time is
 * right, so whoever changes a name forgets it here (change.ts, rename.ts), and a restored machine may start without.
 *
 * - find(fs, dir, name)        inode number, NOT_THERE, or UNKNOWN
 * - put(fs, dir, name, ino)    `ino` may be NOT_THERE
 * - forget(fs, dir, name), forgetDir(fs, dir), forgetFs(fs), forgetAll()
 *
 * A name in it takes an object of the slab cache; where there is no memory for one, it is not kept.
 *
 * Inode numbers are used again: forgetDir() when a directory is removed, before another one can get its number.
 */
import { isErr } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import type { ObjectCache } from "../../abi/object_cache.ts";
import { assert } from "../../lib/assert.ts";
import { listAdd, listCount, listDel, listInit, listMove } from "../../lib/slot_list.ts";
import { NameHash } from "../name_hash.ts";

export const NOT_THERE = -1;
export const UNKNOWN = -2;
/** A directory's key: file system * 2^40 + inode number. */
const FS_UNIT = 2 ** 40;

export class Dcache {
  readonly rows: number;
  private readonly hash: NameHash;
  private readonly child: Float64Array;
  /** 1: in the hash. */
  private readonly used: Uint8Array;
  /** One list, most recently used behind the head (node `rows`). */
  private readonly next: Int32Array;
  private readonly prev: Int32Array;
  private readonly object: Float64Array;
  private readonly objects: ObjectCache;

  constructor(memory: EvictMemory, rows: number, objects: ObjectCache) {
    assert(rows >= 1, "Dcache: at least one row");
    this.rows = rows;
    this.hash = new NameHash(memory, rows);
    this.child = memory.float64(rows);
    this.used = memory.uint8(rows);
    this.next = memory.int32(rows + 1);
    this.prev = memory.int32(rows + 1);
    this.object = memory.float64(rows);
    this.objects = objects;
  }

  reset(): void {
    this.hash.clear();
    this.used.fill(0);
    listInit(this.next, this.prev, this.rows);
    for (let row = 0; row < this.rows; row++) listAdd(this.next, this.prev, this.rows, row);
  }

  find(fs: number, dir: number, name: Uint8Array): number {
    const row = this.hash.find(fs * FS_UNIT + dir, name);
    if (row < 0) return UNKNOWN;
    listMove(this.next, this.prev, this.rows, row);
    return this.child[row]!;
  }

  put(fs: number, dir: number, name: Uint8Array, ino: number): void {
    const owner = fs * FS_UNIT + dir;
    let row = this.hash.find(owner, name);
    if (row < 0) {
      row = this.prev[this.rows]!;
      this.drop(row);
      const object = this.objects.alloc();
      if (isErr(object)) return;
      this.object[row] = object;
      this.hash.add(row, owner, name);
      this.used[row] = 1;
    }
    this.child[row] = ino;
    listMove(this.next, this.prev, this.rows, row);
  }

  /** Out of the hash, and the next to be used again. */
  private drop(row: number): void {
    if (this.used[row] === 0) return;
    this.hash.remove(row);
    this.objects.free(this.object[row]!);
    this.used[row] = 0;
    // Not listMove(): the last one may be this row itself.
    listDel(this.next, this.prev, row);
    listAdd(this.next, this.prev, this.prev[this.rows]!, row);
  }

  forget(fs: number, dir: number, name: Uint8Array): void {
    const row = this.hash.find(fs * FS_UNIT + dir, name);
    if (row >= 0) this.drop(row);
  }

  forgetDir(fs: number, dir: number): void {
    for (let row = 0; row < this.rows; row++)
      if (this.used[row] === 1 && this.hash.owner(row) === fs * FS_UNIT + dir) this.drop(row);
  }

  forgetFs(fs: number): void {
    for (let row = 0; row < this.rows; row++)
      if (this.used[row] === 1 && Math.floor(this.hash.owner(row) / FS_UNIT) === fs) this.drop(row);
  }

  /** How many that were. */
  forgetAll(): number {
    let names = 0;
    for (let row = 0; row < this.rows; row++) {
      names += this.used[row]!;
      this.drop(row);
    }
    return names;
  }

  /** Panics when its structures disagree; `told` sees each answer that would be given. */
  check(told: (fs: number, dir: number, name: Uint8Array, ino: number) => void): void {
    assert(listCount(this.next, this.prev, this.rows, this.rows) === this.rows, "Dcache: the list lost a row");
    for (let row = 0; row < this.rows; row++) {
      if (this.used[row] === 0) continue;
      const owner = this.hash.owner(row);
      assert(this.hash.find(owner, this.hash.text(row)) === row, "Dcache: a row that is not found");
      told(Math.floor(owner / FS_UNIT), owner % FS_UNIT, this.hash.text(row), this.child[row]!);
    }
  }
}
