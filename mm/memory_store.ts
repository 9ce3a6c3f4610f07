/**
 * A store in memory: at its best a plain sized file, at its worst all that a real one may do, by seed. It keeps requests
 * and answers them later in any order, refuses them, fails them, and reads a frame only when it answers, as a disk
 * behind an elevator does. For bare file systems, fuzzers and benchmarks.
 *
 * - settle()        ends one request that is waiting; false: there is none
 * - onWrite         told how each written page ended, before the cache is
 */
import { pagesOf } from "../kernel/abi/backing_store.ts";
import { EAGAIN, EIO, EIOCBQUEUED } from "../kernel/abi/errno.ts";
import type { PageCache } from "../kernel/abi/page_cache.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import type { SizedStore } from "./file_rw.ts";

/** Chances out of 100. */
export interface StoreMoods {
  readonly wait: number;
  readonly refuse: number;
  readonly failRead: number;
  readonly failWrite: number;
  /** Answers 0 to a write and keeps nothing: no store may; for canaries. */
  readonly lie: number;
}

export const STEADY: StoreMoods = { wait: 0, refuse: 0, failRead: 0, failWrite: 0, lie: 0 };

interface Waiting {
  readonly write: boolean;
  readonly index: number;
  readonly frames: readonly Uint8Array[];
  /** What the frames held when the write was asked for. */
  readonly asked: readonly Uint8Array[];
  readonly io: number;
}

/** Page by page. */
const single = (frames: readonly Uint8Array[]): Uint8Array[] =>
  frames.flatMap((frame) =>
    Array.from({ length: frame.length / PAGE_SIZE }, (_, at) => frame.subarray(at * PAGE_SIZE, (at + 1) * PAGE_SIZE)),
  );

export class MemoryStore implements SizedStore {
  moods: StoreMoods;
  /** The journal's rule: what is on its way must not change. */
  readonly stable: boolean;
  cache: PageCache | undefined;
  onWrite: (index: number, result: number) => void = () => {};
  readonly waiting: Waiting[] = [];
  requests = 0;
  private bytes = 0;
  private readonly pages = new Map<number, Uint8Array>();
  private readonly random: Int32Array;

  constructor(seed: number, moods: StoreMoods = STEADY, stable = false) {
    this.random = prng(seed);
    this.moods = moods;
    this.stable = stable;
  }

  size(): number {
    return this.bytes;
  }

  setSize(bytes: number): void {
    // What is kept is zeros beyond the end: a file that grows has nothing to forget.
    if (bytes < this.bytes) this.cut(bytes);
    this.bytes = bytes;
  }

  private cut(bytes: number): void {
    for (const [index, page] of this.pages) {
      if (index * PAGE_SIZE >= bytes) this.pages.delete(index);
      else page.fill(0, Math.min(PAGE_SIZE, bytes - index * PAGE_SIZE));
    }
  }

  /** A page as it is on the disk; holes are zeros. */
  onDisk(index: number): Uint8Array {
    return this.pages.get(index) ?? new Uint8Array(PAGE_SIZE);
  }

  private chance(percent: number): boolean {
    return percent > 0 && nextBelow(this.random, 100) < percent;
  }

  readPages(index: number, frames: readonly Uint8Array[], io: number): number {
    return this.ask({ write: false, index, frames: single(frames), asked: [], io });
  }

  writePages(index: number, frames: readonly Uint8Array[], io: number): number {
    assert((index + pagesOf(frames) - 1) * PAGE_SIZE < this.bytes, "MemoryStore: a page beyond the end was written");
    const pages = single(frames);
    const asked = this.stable ? pages.map((page) => page.slice()) : [];
    return this.ask({ write: true, index, frames: pages, asked, io });
  }

  private ask(request: Waiting): number {
    this.requests++;
    if (this.chance(this.moods.refuse)) return EAGAIN;
    if (!this.chance(this.moods.wait)) return this.answer(request);
    this.waiting.push(request);
    return EIOCBQUEUED;
  }

  settle(): boolean {
    if (this.waiting.length === 0) return false;
    const [request] = this.waiting.splice(nextBelow(this.random, this.waiting.length), 1);
    const result = this.answer(request!);
    this.cache!.complete(request!.io, result);
    return true;
  }

  private answer({ write, index, frames, asked }: Waiting): number {
    const failed = this.chance(write ? this.moods.failWrite : this.moods.failRead);
    // A failed write may have written some of its pages.
    let kept = failed ? nextBelow(this.random, frames.length) : frames.length;
    if (write && this.chance(this.moods.lie)) kept = 0;
    for (const [at, frame] of frames.entries()) {
      if (!write) frame.set(this.onDisk(index + at));
      else if (at < kept) this.keep(index + at, frame, asked[at]);
    }
    if (write) for (const at of frames.keys()) this.onWrite(index + at, failed ? EIO : 0);
    return failed ? EIO : 0;
  }

  private keep(index: number, frame: Uint8Array, asked: Uint8Array | undefined): void {
    if (asked !== undefined)
      assert(
        frame.every((byte, at) => byte === asked[at]),
        "MemoryStore: a held page changed while it was on its way",
      );
    const page = frame.slice();
    page.fill(0, Math.min(PAGE_SIZE, Math.max(0, this.bytes - index * PAGE_SIZE)));
    this.pages.set(index, page);
  }
}
