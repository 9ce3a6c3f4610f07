/**
 * A memory disk of any size that costs what was written to it, and a snapshot that costs one map: pages of 64 KiB are
 * shared between a disk and its snapshots until one of them writes. There is no volatile cache: bytes are there.
 *
 * - new SparseDisk(bytes)        all zeroes
 * - disk.snapshot()              an independent disk with the same content
 * - disk.readAt / writeAt / zeroAt   any offset and length within the disk
 * - SparseDisk.load(path), disk.store(path)   an image file; pages of zeroes stay holes
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockLimits } from "../../kernel/abi/block.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { BytesDisk, REQUEST_SECTORS_MAX } from "./bytes.ts";

const PAGE_BYTES = 65_536;

export class SparseDisk extends BytesDisk {
  readonly limits: BlockLimits;
  readonly #bytes: number;
  readonly #pages: Map<number, Buffer>;
  /** Pages that no snapshot shares. */
  readonly #own = new Set<number>();

  constructor(bytes: number, pages = new Map<number, Buffer>()) {
    super();
    assert(bytes > 0 && bytes % SECTOR_SIZE === 0, "SparseDisk: size is no multiple of the sector");
    this.#bytes = bytes;
    this.#pages = pages;
    this.limits = {
      sectors: bytes / SECTOR_SIZE,
      logicalBlockSize: SECTOR_SIZE,
      queueDepth: 256,
      sectorsMax: REQUEST_SECTORS_MAX,
      writeCache: true,
      discard: true,
      writeZeroes: true,
    };
  }

  get bytes(): number {
    return this.#bytes;
  }

  snapshot(): SparseDisk {
    this.#own.clear();
    return new SparseDisk(this.#bytes, new Map(this.#pages));
  }

  readAt(offset: number, into: Uint8Array): void {
    this.#each(offset, into.length, (page, from, to, at) => {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, at, at + to - from);
      else into.set(bytes.subarray(from, to), at);
    });
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    this.#each(offset, bytes.length, (page, from, to, at) => {
      this.#writable(page).set(bytes.subarray(at, at + to - from), from);
    });
  }

  zeroAt(offset: number, length: number): void {
    this.#each(offset, length, (page, from, to) => {
      if (to - from === PAGE_BYTES) this.#pages.delete(page);
      else if (this.#pages.has(page)) this.#writable(page).fill(0, from, to);
    });
  }

  static load(path: string): SparseDisk {
    const file = openSync(path, "r");
    const disk = new SparseDisk(Math.ceil(fstatSync(file).size / SECTOR_SIZE) * SECTOR_SIZE);
    const zeroes = Buffer.alloc(PAGE_BYTES);
    for (let page = 0; page * PAGE_BYTES < disk.#bytes; page++) {
      const bytes = Buffer.alloc(PAGE_BYTES);
      readSync(file, bytes, 0, PAGE_BYTES, page * PAGE_BYTES);
      if (!bytes.equals(zeroes)) disk.#pages.set(page, bytes);
    }
    closeSync(file);
    return disk;
  }

  store(path: string): void {
    const file = openSync(path, "w");
    ftruncateSync(file, this.#bytes);
    for (const [page, bytes] of this.#pages)
      writeSync(file, bytes, 0, Math.min(PAGE_BYTES, this.#bytes - page * PAGE_BYTES), page * PAGE_BYTES);
    closeSync(file);
  }

  protected read(offset: number, into: Uint8Array): 0 {
    this.readAt(offset, into);
    return 0;
  }

  protected write(offset: number, from: Uint8Array): 0 {
    this.writeAt(offset, from);
    return 0;
  }

  protected zero(offset: number, bytes: number): 0 {
    this.zeroAt(offset, bytes);
    return 0;
  }

  protected flush(): 0 {
    return 0;
  }

  #writable(page: number): Buffer {
    const bytes = this.#pages.get(page);
    if (bytes !== undefined && this.#own.has(page)) return bytes;
    const mine = bytes === undefined ? Buffer.alloc(PAGE_BYTES) : Buffer.from(bytes);
    this.#pages.set(page, mine);
    this.#own.add(page);
    return mine;
  }

  /** Calls `part(page, from, to, at)` for each page that [offset, offset + length) touches; `at` counts from 0. */
  #each(offset: number, length: number, part: (page: number, from: number, to: number, at: number) => void): void {
    assert(offset >= 0 && offset + length <= this.#bytes, "SparseDisk: range outside the disk");
    for (let at = 0; at < length;) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const from = (offset + at) % PAGE_BYTES;
      const to = Math.min(PAGE_BYTES, from + length - at);
      part(page, from, to, at);
      at += to - from;
    }
  }
}
