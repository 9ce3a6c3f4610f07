import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ENOSPC, EOPNOTSUPP } from "../../../../kernel/abi/errno.ts";
import type { BareFs } from "../../../../kernel/fs/bare_fs.ts";
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  IO_APPEND,
} from "../../../../kernel/fs/vfs/file_system.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { features, MIB } from "./image_tools.ts";
import { bytesOf, call, contentOf, damageOf, mounted, type MountedOptions, pattern, statOf } from "./mounted_rig.ts";

const FILES = 4;
const FILE_MODE = 0o100644;

/** One operation on one of a few files. */
type Op =
  | { readonly kind: "write"; readonly file: number; readonly at: number; readonly length: number }
  | { readonly kind: "append"; readonly file: number; readonly length: number }
  | { readonly kind: "truncate"; readonly file: number; readonly size: number }
  | {
      readonly kind: "falloc";
      readonly file: number;
      readonly mode: number;
      readonly at: number;
      readonly length: number;
    }
  | { readonly kind: "fsync"; readonly file: number; readonly dataOnly: boolean }
  | { readonly kind: "remove"; readonly file: number }
  | { readonly kind: "read"; readonly file: number; readonly at: number; readonly length: number }
  | { readonly kind: "sync" }
  | { readonly kind: "remount" };

/** Offsets around the borders of blocks and pages, and some far out. */
const offset = fc.oneof(
  { weight: 4, arbitrary: fc.nat(20_000) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(40), fc.integer({ min: -1, max: 1 })).map(([n, d]) => Math.max(0, n * 1024 + d)),
  },
  { weight: 1, arbitrary: fc.nat(400_000) },
);
const length = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 6000 }) },
  fc.integer({ min: 1, max: 60_000 }),
);
const file = fc.nat(FILES - 1);
const MODES = [
  0,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE,
  FALLOC_ZERO_RANGE,
  FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE,
] as const;
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("write" as const), file, at: offset, length }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("append" as const), file, length }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("truncate" as const), file, size: offset }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("falloc" as const),
      file,
      mode: fc.constantFrom(...MODES),
      at: offset,
      length,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fsync" as const), file, dataOnly: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), file, at: offset, length }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sync" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remount" as const) }) },
);

class Run {
  #rig;
  readonly #options: MountedOptions;
  readonly #model = new Map<number, Uint8Array>();
  readonly #ino = new Map<number, number>();
  #serial = 0;

  constructor(options: MountedOptions) {
    this.#options = options;
    this.#rig = mounted(options);
  }

  get bare(): BareFs {
    return this.#rig.bare;
  }

  #open(n: number): number {
    const { bare } = this;
    let ino = this.#ino.get(n);
    if (ino === undefined) {
      const name = bytesOf(`file${n}`);
      ino = bare.run(() => bare.fs.create(2, name, { mode: FILE_MODE, uid: 0, gid: 0 }));
      expect(ino).toBeGreaterThan(10);
      this.#ino.set(n, ino);
      this.#model.set(n, new Uint8Array(0));
    }
    return ino;
  }

  #grow(n: number, size: number): Uint8Array {
    const old = this.#model.get(n)!;
    if (size <= old.length) return old;
    const grown = new Uint8Array(size);
    grown.set(old);
    this.#model.set(n, grown);
    return grown;
  }

  #write(n: number, at: number, data: Uint8Array, how: number): void {
    const { bare } = this;
    const ino = this.#open(n);
    for (let done = 0; done < data.length;) {
      const wrote = bare.run(() => bare.fs.write(ino, at + done, data.subarray(done), how));
      if (wrote === ENOSPC) {
        this.#grow(n, done === 0 ? 0 : at + done).set(data.subarray(0, done), at);
        return;
      }
      expect(wrote).toBeGreaterThan(0);
      done += wrote;
    }
    this.#grow(n, at + data.length).set(data, at);
  }

  do(one: Op): void {
    const { bare } = this;
    if (one.kind === "sync") {
      expect(bare.sync()).toBe(0);
      return;
    }
    if (one.kind === "remount") {
      this.check();
      this.close(false);
      this.#rig = mounted({ ...this.#options, image: this.#rig.disk.image });
      this.check();
      return;
    }
    const ino = this.#open(one.file);
    const model = this.#model.get(one.file)!;
    switch (one.kind) {
      case "write":
        return this.#write(one.file, one.at, pattern(++this.#serial, one.length), 0);
      case "append":
        return this.#write(one.file, model.length, pattern(++this.#serial, one.length), IO_APPEND);
      case "truncate": {
        const words = call();
        expect(bare.run(() => bare.fs.truncate(ino, one.size, words))).toBe(0);
        this.#model.set(one.file, model.slice(0, one.size));
        this.#grow(one.file, one.size);
        return;
      }
      case "falloc": {
        const words = call();
        const done = bare.run(() => bare.fs.fallocate(ino, one.mode, one.at, one.length, words));
        if (done === ENOSPC || done === EOPNOTSUPP) {
          this.#model.set(one.file, this.#seen(ino));
          return;
        }
        expect(done).toBe(0);
        const end = one.at + one.length;
        const grown = (one.mode & FALLOC_KEEP_SIZE) === 0 ? this.#grow(one.file, end) : model;
        if ((one.mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) grown.fill(0, one.at, end);
        return;
      }
      case "fsync": {
        const words = call();
        expect(bare.run(() => bare.fs.fsync(ino, one.dataOnly, words))).toBe(0);
        return;
      }
      case "read": {
        const into = new Uint8Array(one.length);
        const got = bare.run(() => bare.fs.read(ino, one.at, into, 0));
        const want = model.subarray(one.at, one.at + got);
        expect(got).toBe(one.at >= model.length ? 0 : Math.min(got, model.length - one.at));
        expect(Buffer.compare(into.subarray(0, Math.max(0, got)), want)).toBe(0);
        return;
      }
      case "remove": {
        const name = bytesOf(`file${one.file}`);
        expect(bare.run(() => bare.fs.unlink(2, name))).toBe(0);
        this.#ino.delete(one.file);
        this.#model.delete(one.file);
      }
    }
  }

  #seen(ino: number): Uint8Array {
    return contentOf({ fs: this.bare.fs, run: (one) => this.bare.run(one) }, ino, statOf(this.bare, ino).size);
  }

  /** What is read is what the model holds. */
  check(): void {
    for (const [n, want] of this.#model) {
      const ino = this.#ino.get(n)!;
      expect(statOf(this.bare, ino).size).toBe(want.length);
      const seen = this.#seen(ino);
      const at = seen.findIndex((byte, index) => byte !== want[index]);
      expect(at < 0 ? "same" : `file${n} differs at ${at}: ${seen[at]} and not ${want[at]}`).toBe("same");
    }
    this.bare.cache.check();
  }

  close(withFsck: boolean): void {
    expect(this.bare.unmount()).toBe(0);
    expect(damageOf(this.#rig.disk.image, withFsck)).toEqual([]);
  }
}

const KINDS: readonly (readonly [string, MountedOptions])[] = [
  ["1 KiB blocks, four to a page", { blockSize: 1024 }],
  ["4 KiB blocks", { blockSize: 4096, sizeBytes: 16 * MIB }],
  ["2 KiB blocks, writeback", { blockSize: 2048, mount: "data=writeback" }],
  ["nodelalloc", { mount: "nodelalloc" }],
  ["journalled data", { mount: "data=journal" }],
  ["no journal", { features: features("^has_journal") }],
  ["block maps", { features: features("^extent,^64bit") }],
  ["bigalloc", { features: features("bigalloc,^resize_inode"), sizeBytes: 24 * MIB }],
  ["inline data", { features: features("inline_data") }],
  ["few pages, buffers and inodes", { pages: 72, buffers: 400, inodes: 3 }],
  ["a slow disk", { slow: true }],
  ["a slow disk with few pages", { slow: true, pages: 72, buffers: 400, blockSize: 4096, sizeBytes: 16 * MIB }],
  ["a slow disk, unordered places", { slow: true, mount: "nodelalloc" }],
  ["a slow disk, all in the log", { slow: true, mount: "data=journal" }],
];

describe("a mounted ext4 holds what was written", () => {
  it.each(KINDS)("%s", (_name, options) => {
    let runs = 0;
    fc.assert(
      fc.property(fc.array(op, { minLength: 5, maxLength: 60 }), (ops) => {
        const run = new Run(options);
        for (const one of ops) run.do(one);
        run.check();
        // A sample goes to e2fsck, too.
        run.close(ext4Tools && runs++ === 0);
      }),
      { seed: 20_261_128, numRuns: 4 },
    );
  });
});
