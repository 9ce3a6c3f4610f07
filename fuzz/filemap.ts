/**
 * The page cache against flat arrays. A case is a few files on stores that wait, refuse and fail, a small cache with a
 * random policy, and tasks that read, write, truncate and fsync; a task that must wait comes back later while others go
 * on. After each step the cache's invariants hold; what is read is what was written; an fsync tells of a failed
 * write-back exactly once; after one that succeeds, and at the end, the disk holds what the model holds, and every frame
 * has been given back.
 *
 * A page whose write-back failed is clean in the cache and old on the disk (as in Linux): until it is written again
 * either may be seen, the disk's only once the page has left the cache.
 */
import type { EvictPolicyType } from "../kernel/abi/evict.ts";
import { EIO, EIOCBQUEUED, ENOMEM } from "../kernel/abi/errno.ts";
import type { Mapping, PageCache } from "../kernel/abi/page_cache.ts";
import { RA_WORDS } from "../kernel/abi/page_cache.ts";
import type { Nanos } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { growingArena } from "../kernel/lib/growing_arena.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import {
  EVICT_POLICIES,
  fileRead,
  fileSync,
  fileTruncate,
  fileWrite,
  MemoryStore,
  pageCache,
  PageFrames,
  type PlainFile,
  raInit,
  STEADY,
  type StoreMoods,
} from "../mm/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const STEPS = 250;
const FILE_PAGES_MAX = 24;
const DRAIN_STEPS_MAX = 20_000;

interface ModelFile extends PlainFile {
  readonly store: MemoryStore;
  /** What a reader sees, FILE_PAGES_MAX pages; zeros beyond the size. */
  readonly seen: Uint8Array;
  size: number;
  /** Pages whose last write-back failed. */
  readonly lost: Set<number>;
  /** A write-back has failed since the last fsync told. */
  untold: boolean;
  version: number;
}

type Job =
  | { readonly kind: "read"; readonly offset: number; readonly length: number }
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number }
  | { readonly kind: "fsync"; readonly ticket: number; readonly version: number };

const pageRange = (bytes: Uint8Array, index: number): Uint8Array =>
  bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at]);

class Case {
  readonly random: Int32Array;
  readonly cache: PageCache;
  readonly frames: PageFrames;
  readonly frameCount: number;
  readonly files: ModelFile[] = [];
  readonly jobs: (readonly [ModelFile, Job] | undefined)[] = [undefined, undefined, undefined];
  now = 0;

  constructor(seed: number, lie: number, policies: readonly EvictPolicyType[]) {
    this.random = prng(seed);
    const memory = growingArena();
    const slots = 3 + this.below(40);
    // Often fewer frames than slots: memory runs out before the cache is full.
    this.frameCount = this.below(3) === 0 ? Math.max(2, slots - this.below(slots)) : slots;
    this.frames = new PageFrames(memory, this.frameCount);
    this.frames.reset();
    this.cache = pageCache({
      slots,
      files: 4,
      policy: policies[this.below(policies.length)]!,
      seed,
      frames: this.frames,
      memory,
      now: () => this.now as Nanos,
      dirtyRatio: 20 + this.below(70),
      expireNs: 50,
    });
    const moods: StoreMoods = {
      wait: this.below(2) * this.below(100),
      refuse: this.below(2) * this.below(20),
      failRead: this.below(3) === 0 ? this.below(20) : 0,
      failWrite: this.below(3) === 0 ? this.below(20) : 0,
      lie,
    };
    for (let at = 1 + this.below(3); at > 0; at--) this.addFile(new MemoryStore(seed * 7 + at, moods));
  }

  below(bound: number): number {
    return nextBelow(this.random, bound);
  }

  addFile(store: MemoryStore): void {
    const ra = new Int32Array(RA_WORDS);
    raInit(ra, 0, this.below(4) * 8);
    const mapping = this.cache.open(store, 0) as Mapping;
    const { cache } = this;
    store.cache = cache;
    const file: ModelFile = {
      cache,
      mapping,
      store,
      ra,
      errorsSince: cache.errorSample(mapping),
      seen: new Uint8Array(FILE_PAGES_MAX * PAGE_SIZE),
      size: 0,
      lost: new Set(),
      untold: false,
      version: 0,
    };
    store.onWrite = (index, result) => {
      if (result === 0) file.lost.delete(index);
      else file.lost.add(index);
      file.untold ||= result !== 0;
    };
    this.files.push(file);
  }

  newJob(file: ModelFile): Job {
    const whole = FILE_PAGES_MAX * PAGE_SIZE;
    const align = this.below(3) === 0 ? PAGE_SIZE : 1;
    const offset = Math.floor(this.below(whole) / align) * align;
    const length = Math.min(whole - offset, 1 + Math.floor(this.below(5 * PAGE_SIZE) / align) * align);
    switch (this.below(8)) {
      case 0:
        return { kind: "truncate", size: Math.min(offset, Math.max(file.size, PAGE_SIZE)) };
      case 1:
        return { kind: "fsync", ticket: this.cache.ticket(), version: file.version };
      case 2:
      case 3:
      case 4:
        return { kind: "write", offset, bytes: new Uint8Array(length).fill(1 + this.below(255)) };
      default:
        return { kind: "read", offset, length };
    }
  }

  /** Pages that failed and have left the cache: the disk's content is the truth now. */
  forgetLost(file: ModelFile): void {
    for (const index of file.lost) {
      if (this.cache.peek(file.mapping, index) !== undefined) continue;
      pageRange(file.seen, index).set(file.store.onDisk(index));
      file.lost.delete(index);
    }
  }

  /** One try of a job. Undefined: it must wait. Text: what is wrong. Empty: done. */
  attempt(file: ModelFile, job: Job): string | undefined {
    this.forgetLost(file);
    const result = this.call(file, job);
    if (result === EIOCBQUEUED) return undefined;
    if (typeof result === "string") return result;
    // A cache that is smaller than the call, or a page that cannot be read: the call changed nothing.
    if (result === ENOMEM || (result === EIO && job.kind !== "fsync")) return "";
    return result < 0 && result !== EIO ? `${job.kind} returned ${result}` : "";
  }

  call(file: ModelFile, job: Job): number | string {
    switch (job.kind) {
      case "read": {
        const into = new Uint8Array(job.length);
        const count = fileRead(file, job.offset, into);
        return count < 0 ? count : this.compare(file, job.offset, into.subarray(0, count), job.length);
      }
      case "write": {
        const count = fileWrite(file, job.offset, job.bytes);
        if (count <= 0) return count;
        file.size = Math.max(file.size, job.offset + count);
        file.version++;
        file.seen.set(job.bytes.subarray(0, count), job.offset);
        return this.adopt(file);
      }
      case "truncate": {
        const result = fileTruncate(file, job.size);
        if (result !== 0) return result;
        file.size = job.size;
        file.version++;
        file.seen.fill(0, job.size);
        for (const index of file.lost) if (index * PAGE_SIZE >= job.size) file.lost.delete(index);
        return 0;
      }
      default:
        return this.fsync(file, job.ticket, job.version);
    }
  }

  /** Text: a byte that was read is neither what was written nor, for a lost page, what the disk has. */
  compare(file: ModelFile, offset: number, got: Uint8Array, asked: number): number | string {
    const want = Math.max(0, Math.min(asked, file.size - offset));
    // Where all pages are in use a read ends at a page's border.
    const isShort = got.length > 0 && got.length < want && (offset + got.length) % PAGE_SIZE === 0;
    if (got.length !== want && !isShort) return `read ${got.length} bytes at ${offset}, ${want} were there`;
    for (let at = 0; at < got.length; at++) {
      const index = Math.floor((offset + at) / PAGE_SIZE);
      if (got[at] === file.seen[offset + at]) continue;
      const disk = file.store.onDisk(index)[(offset + at) % PAGE_SIZE];
      if (!file.lost.has(index) || got[at] !== disk)
        return `byte ${offset + at} was read as ${got[at]}, ${file.seen[offset + at]} was written`;
    }
    return this.adopt(file);
  }

  /** A lost page may have left and come back within one call: what the cache has now is the truth. */
  adopt(file: ModelFile): number {
    for (const index of file.lost) {
      const slot = this.cache.peek(file.mapping, index);
      if (slot !== undefined) pageRange(file.seen, index).set(this.cache.bytes(slot));
    }
    return 0;
  }

  fsync(file: ModelFile, ticket: number, version: number): number | string {
    const result = fileSync(file, ticket);
    if (result === EIOCBQUEUED) return result;
    const want = file.untold ? EIO : 0;
    if (result !== want) return `fsync returned ${result}, not ${want}`;
    file.untold = false;
    return version === file.version ? this.compareDisk(file, "after fsync") : 0;
  }

  compareDisk(file: ModelFile, when: string): number | string {
    for (let index = 0; index * PAGE_SIZE < file.size; index++)
      if (!file.lost.has(index) && !same(file.store.onDisk(index), pageRange(file.seen, index)))
        return `${when} page ${index} is not on the disk`;
    return 0;
  }

  step(): string {
    const task = this.below(this.jobs.length + 2);
    this.now++;
    if (task === this.jobs.length) {
      this.cache.flush(this.now as Nanos, 1 + this.below(8));
      return "";
    }
    if (task > this.jobs.length) {
      const file = this.files[this.below(this.files.length)]!;
      const what = this.below(6);
      if (what === 0) this.cache.shrink(this.below(4));
      else if (what === 1) this.cache.invalidate(file.mapping, this.below(8), this.below(FILE_PAGES_MAX));
      else file.store.settle();
      return "";
    }
    let job = this.jobs[task];
    if (job === undefined) {
      const file = this.files[this.below(this.files.length)]!;
      job = [file, this.newJob(file)];
    }
    const result = this.attempt(...job);
    this.jobs[task] = result === undefined ? job : undefined;
    return result ?? "";
  }

  /** Steady stores from here on: every job ends, everything is written, and nothing is left behind. */
  finish(): string {
    for (const file of this.files) file.store.moods = { ...STEADY, lie: file.store.moods.lie };
    for (let step = 0; step < DRAIN_STEPS_MAX; step++) {
      let open = 0;
      for (const file of this.files) while (file.store.settle());
      this.cache.flush((this.now += 100) as Nanos, 64);
      for (const [task, job] of this.jobs.entries()) {
        if (job === undefined) continue;
        const result = this.attempt(...job);
        if (result !== undefined && result !== "") return result;
        if (result === "") this.jobs[task] = undefined;
        else open++;
      }
      if (open === 0) return this.leave();
    }
    return "a job never ended though the store is steady";
  }

  leave(): string {
    for (const file of this.files) {
      this.forgetLost(file);
      const result = this.fsync(file, this.cache.ticket(), file.version);
      if (typeof result === "string") return result;
      if (result === EIOCBQUEUED) return "a sync on a steady store has to wait";
      const left = this.compareDisk(file, "at the end");
      if (typeof left === "string") return left;
      if (this.cache.close(file.mapping) !== 0) return "a file could not be closed";
    }
    this.cache.check();
    const spare = this.frames.spareFrames;
    return spare === this.frameCount ? "" : `${this.frameCount - spare} frames were never given back`;
  }
}

function runCase(seed: number, lie: number, policies: readonly EvictPolicyType[]): string {
  const one = new Case(seed, lie, policies);
  try {
    for (let step = 0; step < STEPS; step++) {
      const wrong = one.step();
      if (wrong !== "") return `step ${step}: ${wrong}`;
      one.cache.check();
    }
    return one.finish();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

function run(seed: number, runs: number, progress: (done: number) => void, lie: number): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = runCase(seed + k, lie, EVICT_POLICIES);
    if (message !== "") return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "filemap",
  help: "the page cache against flat arrays, on stores that wait, refuse and fail",
  run: (seed, runs, progress) => run(seed, runs, progress, 0),
  /** A store that says a write is done and keeps nothing, once in a hundred. */
  canary: (seed) => run(seed, 100, () => {}, 1),
};
