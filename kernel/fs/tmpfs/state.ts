/**
 * The tables of a tmpfs: inodes, pages and names, each a fixed number of rows in arrays asked of a memory, so that the
 * file system is saved and restored with it. A table that is full is a full disk (ENOSPC).
 *
 *   inodes   INODE.words numbers each, row = inode number; row 0 is unused, 1 the root. Free ones are chained by NEXT
 *   pages    PAGE_SIZE bytes each; `byPage` finds a page by inode, fork and index. The pages of an inode are a list
 *   names    name, directory, inode; found through hash chains, and listed by directory in the order they were made.
 *            SEQ, a number never used again, is the cookie of readdir: it stays right while others come and go
 *
 * An inode has two forks of pages: its content (a link's target, too), and its extended attributes (xattr.ts).
 */
import { ENOSPC, isErr } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import { NO_MEMORY, type ObjectCache } from "../../abi/object_cache.ts";
import type { Errno, Nanos } from "../../abi/units.ts";
import { NS_PER_SEC, PAGE_SIZE } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { KeyTable } from "../../lib/key_table.ts";
import { layout } from "../../lib/layout.ts";
import { NameHash } from "../name_hash.ts";
import { listAdd, listCount, listDel, listInit } from "../../lib/slot_list.ts";

export const INO_ROOT = 1;
/** Pages of each fork: the content's are 0 .. FORK_PAGES - 1, the attributes' lie behind. */
export const FORK_PAGES = 2 ** 31;
/** Largest file: 8 TiB. */
export const SIZE_MAX = FORK_PAGES * PAGE_SIZE;
/** First cookie of a real entry; "." is 0 and ".." 1. */
export const SEQ_FIRST = 2;
const INODES_MAX = 2 ** 21;

export const INODE = layout(
  "mode",
  "links",
  "uid",
  "gid",
  "rdev",
  "size",
  "atimeSec",
  "atimeNsec",
  "mtimeSec",
  "mtimeNsec",
  "ctimeSec",
  "ctimeNsec",
  "generation",
  "holds",
  /** Pages of both forks. */
  "pages",
  /** Bytes of the attributes' fork. */
  "xattrBytes",
  /** Of a directory: the one that it is in. */
  "parent",
  /** Of a directory: how many names it has. */
  "names",
  /** Of a free row: the next free one; 0 ends. */
  "next",
  /** Its memory, of a slab cache. */
  "object",
);

/** Words of `counts`. */
const COUNT = layout("inodeFree", "inodesUsed", "pageFree", "pagesUsed", "nameFree", "namesUsed", "nextSeq");

export interface TmpfsOptions {
  readonly memory: EvictMemory;
  /** Its size: pages of content, and inodes (as many names, without the root). */
  readonly pages: number;
  readonly inodes: number;
  /** Time since boot, and when that was in seconds since 1970. */
  readonly now: () => Nanos;
  readonly bootSec?: number;
  /** Memory of an inode; missing: none. */
  readonly inodeObjects?: ObjectCache;
}

export class TmpfsState {
  readonly options: TmpfsOptions;
  readonly inode: Float64Array;
  readonly bytes: Uint8Array;
  /** Page -> its index within its inode, both forks. */
  readonly pageIndex: Float64Array;
  /** Lists of pages: node p is page p, node pages + ino the head of an inode's. Free pages are chained by `pageNext`. */
  readonly pageNext: Int32Array;
  readonly pagePrev: Int32Array;
  readonly byPage: KeyTable;
  readonly nameInos: Int32Array;
  readonly nameHash: NameHash;
  readonly nameSeq: Float64Array;
  /** Lists of names: node n is name n, node names + ino the head of a directory's, oldest behind the head. */
  readonly nameNext: Int32Array;
  readonly namePrev: Int32Array;
  readonly names: number;
  private readonly counts: Float64Array;
  private readonly objects: ObjectCache;

  /** Writes nothing: reset() makes it empty. */
  constructor(options: TmpfsOptions) {
    const { memory, pages, inodes } = options;
    assert(
      inodes >= 1 && inodes < INODES_MAX && pages >= 0,
      "Tmpfs: an inode number has 21 bits, and the root needs one",
    );
    this.options = options;
    this.objects = options.inodeObjects ?? NO_MEMORY;
    this.names = inodes;
    this.counts = memory.float64(COUNT.words);
    this.inode = memory.float64((inodes + 1) * INODE.words);
    this.bytes = memory.uint8(pages * PAGE_SIZE);
    this.pageIndex = memory.float64(pages);
    this.pageNext = memory.int32(pages + inodes + 1);
    this.pagePrev = memory.int32(pages + inodes + 1);
    this.byPage = new KeyTable(memory, pages);
    this.nameInos = memory.int32(this.names);
    this.nameHash = new NameHash(memory, this.names);
    this.nameSeq = memory.float64(this.names);
    this.nameNext = memory.int32(this.names + inodes + 1);
    this.namePrev = memory.int32(this.names + inodes + 1);
  }

  reset(): void {
    const { pages, inodes } = this.options;
    this.counts.fill(0);
    this.inode.fill(0);
    this.byPage.clear();
    this.nameHash.clear();
    for (let ino = 1; ino <= inodes; ino++) this.set(ino, INODE.next, ino < inodes ? ino + 1 : 0);
    for (let page = 0; page < pages; page++) this.pageNext[page] = page + 1 < pages ? page + 1 : -1;
    for (let n = 0; n < this.names; n++) this.nameNext[n] = n + 1 < this.names ? n + 1 : -1;
    this.counts[COUNT.inodeFree] = 1;
    this.counts[COUNT.pageFree] = pages > 0 ? 0 : -1;
    this.counts[COUNT.nameFree] = 0;
    this.counts[COUNT.nextSeq] = SEQ_FIRST;
  }

  get(ino: number, field: number): number {
    return this.inode[ino * INODE.words + field]!;
  }

  set(ino: number, field: number, value: number): void {
    this.inode[ino * INODE.words + field] = value;
  }

  get pagesFree(): number {
    return this.options.pages - this.counts[COUNT.pagesUsed]!;
  }

  get inodesFree(): number {
    return this.options.inodes - this.counts[COUNT.inodesUsed]!;
  }

  /** Sets the times named by their first word (INODE.mtimeSec, ...) to now. */
  stamp(ino: number, ...fields: readonly number[]): void {
    const ns = this.options.now();
    const seconds = Math.floor(ns / NS_PER_SEC);
    for (const field of fields) {
      this.set(ino, field, (this.options.bootSec ?? 0) + seconds);
      this.set(ino, field + 1, ns - seconds * NS_PER_SEC);
    }
  }

  /** A row of zeroes but for its generation, times and mode. */
  newInode(mode: number): number | Errno {
    const ino = this.counts[COUNT.inodeFree]!;
    if (ino === 0) return ENOSPC;
    const object = this.objects.alloc();
    if (isErr(object)) return object;
    this.counts[COUNT.inodeFree] = this.get(ino, INODE.next);
    this.counts[COUNT.inodesUsed]!++;
    const generation = this.get(ino, INODE.generation) + 1;
    this.inode.fill(0, ino * INODE.words, (ino + 1) * INODE.words);
    this.set(ino, INODE.generation, generation);
    this.set(ino, INODE.mode, mode);
    this.set(ino, INODE.object, object);
    this.stamp(ino, INODE.atimeSec, INODE.mtimeSec, INODE.ctimeSec);
    listInit(this.pageNext, this.pagePrev, this.options.pages + ino);
    listInit(this.nameNext, this.namePrev, this.names + ino);
    return ino;
  }

  /** With all its pages. */
  freeInode(ino: number): void {
    assert(this.get(ino, INODE.names) === 0, "tmpfs: a directory with names in it is given back");
    const head = this.options.pages + ino;
    while (this.pageNext[head] !== head) this.freePage(ino, this.pageNext[head]!);
    this.objects.free(this.get(ino, INODE.object));
    this.set(ino, INODE.mode, 0);
    this.set(ino, INODE.next, this.counts[COUNT.inodeFree]!);
    this.counts[COUNT.inodeFree] = ino;
    this.counts[COUNT.inodesUsed]!--;
  }

  /** After an unmount: the memory of all inodes. */
  giveBack(): void {
    for (let ino = 1; ino <= this.options.inodes; ino++)
      if (this.get(ino, INODE.mode) !== 0) this.objects.free(this.get(ino, INODE.object));
  }

  /** Its page `index`, or -1: a hole. */
  page(ino: number, index: number): number {
    return this.byPage.get(ino * 2 ** 32 + index);
  }

  /** A page of zeroes where there is none. */
  newPage(ino: number, index: number): number | Errno {
    const page = this.counts[COUNT.pageFree]!;
    if (page < 0) return ENOSPC;
    this.counts[COUNT.pageFree] = this.pageNext[page]!;
    this.counts[COUNT.pagesUsed]!++;
    this.pageIndex[page] = index;
    this.pageBytes(page).fill(0);
    this.byPage.set(ino * 2 ** 32 + index, page);
    listAdd(this.pageNext, this.pagePrev, this.options.pages + ino, page);
    this.set(ino, INODE.pages, this.get(ino, INODE.pages) + 1);
    return page;
  }

  freePage(ino: number, page: number): void {
    this.byPage.delete(ino * 2 ** 32 + this.pageIndex[page]!);
    listDel(this.pageNext, this.pagePrev, page);
    this.pageNext[page] = this.counts[COUNT.pageFree]!;
    this.counts[COUNT.pageFree] = page;
    this.counts[COUNT.pagesUsed]!--;
    this.set(ino, INODE.pages, this.get(ino, INODE.pages) - 1);
  }

  pageBytes(page: number): Uint8Array {
    return this.bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  }

  /** Tells each page of an inode; the one that is told may be freed. */
  eachPage(ino: number, visit: (page: number, index: number) => void): void {
    const head = this.options.pages + ino;
    for (let page = this.pageNext[head]!; page !== head;) {
      const after = this.pageNext[page]!;
      visit(page, this.pageIndex[page]!);
      page = after;
    }
  }

  nameIno(n: number): number {
    return this.nameInos[n]!;
  }

  setNameIno(n: number, ino: number): void {
    this.nameInos[n] = ino;
  }

  nameText(n: number): Uint8Array {
    return this.nameHash.text(n);
  }

  /** The row of a name, or -1. */
  findName(dir: number, text: Uint8Array): number {
    return this.nameHash.find(dir, text);
  }

  get namesFree(): number {
    return this.names - this.counts[COUNT.namesUsed]!;
  }

  /** Adds a name that is not there; namesFree > 0. */
  addName(dir: number, text: Uint8Array, ino: number): void {
    const n = this.counts[COUNT.nameFree]!;
    assert(n >= 0, "tmpfs: addName without a free row");
    this.counts[COUNT.nameFree] = this.nameNext[n]!;
    this.counts[COUNT.namesUsed]!++;
    this.nameHash.add(n, dir, text);
    this.nameInos[n] = ino;
    this.nameSeq[n] = this.counts[COUNT.nextSeq]!++;
    listAdd(this.nameNext, this.namePrev, this.namePrev[this.names + dir]!, n);
    this.set(dir, INODE.names, this.get(dir, INODE.names) + 1);
  }

  removeName(n: number): void {
    const dir = this.nameHash.owner(n);
    this.nameHash.remove(n);
    listDel(this.nameNext, this.namePrev, n);
    this.nameNext[n] = this.counts[COUNT.nameFree]!;
    this.counts[COUNT.nameFree] = n;
    this.counts[COUNT.namesUsed]!--;
    this.set(dir, INODE.names, this.get(dir, INODE.names) - 1);
  }

  /** First name of a directory whose SEQ is `from` or later, and the one behind a name; -1: none. */
  firstName(dir: number, from: number): number {
    const head = this.names + dir;
    let n = this.nameNext[head]!;
    while (n !== head && this.nameSeq[n]! < from) n = this.nameNext[n]!;
    return n === head ? -1 : n;
  }

  nameBehind(dir: number, n: number): number {
    const next = this.nameNext[n]!;
    return next === this.names + dir ? -1 : next;
  }

  /** Panics when the tables disagree. */
  check(): void {
    const { pages, inodes } = this.options;
    const links = new Int32Array(inodes + 1);
    const used = { inodes: 0, pages: 0, names: 0 };
    for (let ino = 1; ino <= inodes; ino++) {
      const mode = this.get(ino, INODE.mode);
      if (mode === 0) continue;
      used.inodes++;
      const own = listCount(this.pageNext, this.pagePrev, pages + ino, pages);
      assert(own === this.get(ino, INODE.pages), "tmpfs: pages of an inode are not as many as it says");
      used.pages += own;
      this.eachPage(ino, (page, index) => assert(this.page(ino, index) === page, "tmpfs: a page that is not found"));
      const names = listCount(this.nameNext, this.namePrev, this.names + ino, this.names);
      assert(names === this.get(ino, INODE.names), "tmpfs: names of a directory are not as many as it says");
      used.names += names;
      for (let n = this.firstName(ino, 0); n >= 0; n = this.nameBehind(ino, n)) {
        assert(this.findName(ino, this.nameText(n)) === n, "tmpfs: a name that is not found");
        const child = this.nameIno(n);
        links[child]!++;
        if ((this.get(child, INODE.mode) & 0o170000) !== 0o040000) continue;
        assert(this.get(child, INODE.parent) === ino, "tmpfs: a directory with another parent");
        links[child]!++;
        links[ino]!++;
      }
    }
    links[INO_ROOT]! += 2;
    for (let ino = 1; ino <= inodes; ino++) {
      if (this.get(ino, INODE.mode) === 0) continue;
      assert(links[ino] === this.get(ino, INODE.links), "tmpfs: a count of links is wrong");
      assert(links[ino]! > 0 || this.get(ino, INODE.holds) > 0, "tmpfs: an inode that nobody uses is still there");
    }
    assert(used.inodes === this.counts[COUNT.inodesUsed], "tmpfs: the count of inodes is wrong");
    assert(used.pages === this.counts[COUNT.pagesUsed], "tmpfs: the count of pages is wrong");
    assert(used.names === this.counts[COUNT.namesUsed], "tmpfs: the count of names is wrong");
  }
}
