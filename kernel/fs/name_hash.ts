/**
 * Names in rows, found by who they belong to (a directory, as one number below 2^53) and their text: what tmpfs keeps its
 * directories in and the VFS its dcache. The caller says which row is free; here are only the hash chains.
 *
 * - find(owner, text)           the row, or -1
 * - add(row, owner, text)       a name that is not there
 * - remove(row)
 * - owner(row), text(row)       of a row in use; text is a view that lasts until the row is used again
 */
import type { EvictMemory } from "../abi/evict.ts";
import { layout } from "../lib/layout.ts";

const ROW = layout("hash", "chain", "length");
const TEXT_BYTES = 256;

export class NameHash {
  private readonly rows: Int32Array;
  private readonly owners: Float64Array;
  private readonly bytes: Uint8Array;
  /** Hash -> 1 + first row of the chain. */
  private readonly buckets: Int32Array;

  constructor(memory: EvictMemory, rows: number) {
    let places = 4;
    while (places < rows) places *= 2;
    this.rows = memory.int32(rows * ROW.words);
    this.owners = memory.float64(rows);
    this.bytes = memory.uint8(rows * TEXT_BYTES);
    this.buckets = memory.int32(places);
  }

  clear(): void {
    this.buckets.fill(0);
  }

  owner(row: number): number {
    return this.owners[row]!;
  }

  text(row: number): Uint8Array {
    const at = row * TEXT_BYTES;
    return this.bytes.subarray(at, at + this.rows[row * ROW.words + ROW.length]!);
  }

  find(owner: number, text: Uint8Array): number {
    const { rows, buckets, owners } = this;
    const hash = hashName(owner, text);
    for (let row = buckets[hash & (buckets.length - 1)]! - 1; row >= 0; row = rows[row * ROW.words + ROW.chain]! - 1)
      if (rows[row * ROW.words + ROW.hash] === hash && owners[row] === owner && this.isText(row, text)) return row;
    return -1;
  }

  private isText(row: number, text: Uint8Array): boolean {
    if (this.rows[row * ROW.words + ROW.length] !== text.length) return false;
    for (let at = 0; at < text.length; at++) if (this.bytes[row * TEXT_BYTES + at] !== text[at]) return false;
    return true;
  }

  add(row: number, owner: number, text: Uint8Array): void {
    const { rows, buckets } = this;
    const hash = hashName(owner, text);
    const bucket = hash & (buckets.length - 1);
    rows[row * ROW.words + ROW.hash] = hash;
    rows[row * ROW.words + ROW.chain] = buckets[bucket]!;
    rows[row * ROW.words + ROW.length] = text.length;
    this.owners[row] = owner;
    this.bytes.set(text, row * TEXT_BYTES);
    buckets[bucket] = row + 1;
  }

  remove(row: number): void {
    const { rows, buckets } = this;
    const bucket = rows[row * ROW.words + ROW.hash]! & (buckets.length - 1);
    const after = rows[row * ROW.words + ROW.chain]!;
    if (buckets[bucket] === row + 1) {
      buckets[bucket] = after;
      return;
    }
    let before = buckets[bucket]! - 1;
    while (rows[before * ROW.words + ROW.chain] !== row + 1) before = rows[before * ROW.words + ROW.chain]! - 1;
    rows[before * ROW.words + ROW.chain] = after;
  }
}

/** FNV-1a over the owner's number and the name. */
function hashName(owner: number, text: Uint8Array): number {
  let hash = Math.imul(0x811c9dc5 ^ owner ^ Math.floor(owner / 2 ** 32), 0x01000193);
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text[at]!, 0x01000193);
  return (hash ^ (hash >>> 15)) | 0;
}
