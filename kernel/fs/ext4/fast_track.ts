/**
 * What the running transaction has changed since its last fast commit, as far as records can say it (fast_commit.ts draws
 * them; Linux: the lists of fs/ext4/fast_commit.c). Kept call by call: a call that notes nothing has changed what no record
 * says, and then the transaction is committed in full.
 *
 *   inodes   ino | first .. end - 1: blocks of its map that changed; none when end is 0 |
 *   names    in their order: kind (a tag) | directory | inode | name |
 *
 * - begin(tid) ... merge() or abort()      around each call
 * - inode(ino), range(ino, first, count), name(kind, dir, ino, name)     within it, as its last act
 * - usable(tid)      everything that this transaction changed can be said
 * - clear()          it was said
 *
 * Of an inode and of a range only that they changed is noted: what they are is looked up when it is told. So to have noted
 * too much after a call that was undone does not matter. A name does, and is taken back.
 */
import type { EvictMemory } from "../../abi/evict.ts";

/** More than this is a full commit's. */
const INODES_MAX = 64;
const NAMES_MAX = 64;
const TEXT_MAX = 8192;

const W = { tid: 0, barred: 1, noted: 2, inodes: 3, names: 4, namesKept: 5, text: 6, textKept: 7, words: 8 } as const;

export class FastTrack {
  /** Blocks and names of the tables, for whoever tells them. */
  readonly ino: Float64Array;
  readonly first: Float64Array;
  readonly end: Float64Array;
  readonly kind: Uint8Array;
  readonly dir: Float64Array;
  readonly named: Float64Array;
  readonly #textAt: Int32Array;
  readonly #textLength: Int32Array;
  readonly #text: Uint8Array;
  readonly #words: Float64Array;
  readonly #on: boolean;

  constructor(memory: EvictMemory, on: boolean) {
    this.#on = on;
    this.ino = memory.float64(INODES_MAX);
    this.first = memory.float64(INODES_MAX);
    this.end = memory.float64(INODES_MAX);
    this.kind = memory.uint8(NAMES_MAX);
    this.dir = memory.float64(NAMES_MAX);
    this.named = memory.float64(NAMES_MAX);
    this.#textAt = memory.int32(NAMES_MAX);
    this.#textLength = memory.int32(NAMES_MAX);
    this.#text = memory.uint8(TEXT_MAX);
    this.#words = memory.float64(W.words);
  }

  get inodes(): number {
    return this.#words[W.inodes]!;
  }

  get names(): number {
    return this.#words[W.names]!;
  }

  text(n: number): Uint8Array {
    return this.#text.subarray(this.#textAt[n], this.#textAt[n]! + this.#textLength[n]!);
  }

  begin(tid: number): void {
    const words = this.#words;
    if (words[W.tid] !== tid) {
      words.fill(0);
      words[W.tid] = tid;
      words[W.barred] = this.#on ? 0 : 1;
    }
    words[W.noted] = 0;
  }

  merge(): void {
    const words = this.#words;
    if (words[W.noted] === 0) words[W.barred] = 1;
    words[W.namesKept] = words[W.names]!;
    words[W.textKept] = words[W.text]!;
  }

  abort(): void {
    const words = this.#words;
    words[W.names] = words[W.namesKept]!;
    words[W.text] = words[W.textKept]!;
  }

  usable(tid: number): boolean {
    return this.#on && this.#words[W.tid] === tid && this.#words[W.barred] === 0;
  }

  clear(): void {
    this.#words.fill(0, W.inodes);
  }

  inode(ino: number): void {
    this.range(ino, 0, 0);
  }

  range(ino: number, first: number, count: number): void {
    const words = this.#words;
    words[W.noted] = 1;
    if (words[W.barred] === 1) return;
    let row = 0;
    while (row < this.inodes && this.ino[row] !== ino) row++;
    if (row === INODES_MAX) {
      words[W.barred] = 1;
      return;
    }
    if (row === this.inodes) {
      words[W.inodes]!++;
      this.ino[row] = ino;
      this.end[row] = 0;
    }
    if (count === 0) return;
    this.first[row] = this.end[row] === 0 ? first : Math.min(first, this.first[row]!);
    this.end[row] = Math.max(first + count, this.end[row]!);
  }

  name(kind: number, dir: number, ino: number, name: Uint8Array): void {
    const words = this.#words;
    words[W.noted] = 1;
    if (words[W.barred] === 1) return;
    const row = this.names;
    const at = words[W.text]!;
    if (row === NAMES_MAX || at + name.length > TEXT_MAX) {
      words[W.barred] = 1;
      return;
    }
    this.kind[row] = kind;
    this.dir[row] = dir;
    this.named[row] = ino;
    this.#textAt[row] = at;
    this.#textLength[row] = name.length;
    this.#text.set(name, at);
    words[W.names]!++;
    words[W.text] = at + name.length;
  }
}
