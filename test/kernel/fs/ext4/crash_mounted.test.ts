import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SECTOR_SIZE } from "../../../../kernel/abi/block.ts";
import { EIOCBQUEUED, ENOENT, EOPNOTSUPP, isErr } from "../../../../kernel/abi/errno.ts";
import { PAGE_SIZE } from "../../../../kernel/abi/units.ts";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { readFile } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { inodeSizeBytes } from "../../../../kernel/fs/ext4/inode.ts";
import { resolve } from "../../../../kernel/fs/ext4/path.ts";
import { recover } from "../../../../kernel/fs/ext4/recover.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "../../../../kernel/fs/vfs/file_system.ts";
import { nextBelow, prng } from "../../../../kernel/lib/prng.ts";
import { features, MIB, TEST_NOW } from "./image_tools.ts";
import { bytesOf, call, JUNK, mounted, type MountedOptions } from "./mounted_rig.ts";

const FILES = 4;
const MODE = 0o100644;
const FALLOCS = [0, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE] as const;

type Op =
  | { readonly kind: "write"; readonly file: number; readonly at: number; readonly length: number }
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
  | { readonly kind: "sync" }
  /** Steps that nobody waits for; then the power goes, and comes back on a copy of the disk. */
  | { readonly kind: "crash"; readonly steps: number; readonly seed: number };

const file = fc.nat(FILES - 1);
const offset = fc.oneof(fc.nat(20_000), fc.nat(200_000));
const length = fc.oneof(fc.integer({ min: 1, max: 6000 }), fc.integer({ min: 1, max: 50_000 }));
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("write" as const), file, at: offset, length }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("truncate" as const), file, size: offset }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("falloc" as const),
      file,
      mode: fc.constantFrom(...FALLOCS),
      at: offset,
      length,
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("fsync" as const), file, dataOnly: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sync" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("crash" as const), steps: fc.nat(12), seed: fc.nat(2 ** 31) }),
  },
);

interface Known {
  readonly ino: number;
  content: Uint8Array;
  /** What was promised to be there after a crash; undefined: nothing, for it has changed since. */
  promised: Uint8Array | undefined;
}

/** What recovery makes of the disk after a power cut, as a file is found there. */
class Survivor {
  readonly #image: BlockImage;
  readonly #sb;
  readonly damage: string[];

  constructor(bytes: Uint8Array) {
    const buffer = imageBuffer(bytes.length);
    buffer.set(bytes);
    const sb = readSuper(new DataView(buffer.buffer), 1024, bytes.length);
    if (isRefusal(sb)) throw new Error(sb.reason);
    this.#image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
    const done = recover(this.#image, sb, { policy: "kernel", now: TEST_NOW });
    if (isRefusal(done)) throw new Error(done.reason);
    const at = this.#image.at(done.sb.superBlock) + done.sb.superOffset;
    const after = readSuper(this.#image.view, at, bytes.length);
    if (isRefusal(after)) throw new Error(after.reason);
    this.#sb = after;
    const found = new Checker().run(this.#image, after).damage.map(({ text }) => text);
    this.damage = [...done.damage, ...found];
  }

  /** Undefined: there is no such file. */
  read(name: string): Uint8Array | undefined {
    const ino = resolve(this.#image, this.#sb, bytesOf(`/${name}`), true);
    if (ino === ENOENT) return undefined;
    expect(isErr(ino)).toBe(false);
    const at = inodeAt(this.#image, this.#sb, ino);
    const into = new Uint8Array(inodeSizeBytes(this.#sb, this.#image.view, at));
    expect(readFile(this.#image, this.#sb, at, 0, into)).toBe(into.length);
    return into;
  }
}

class CrashRun {
  readonly #rig;
  readonly #files = new Map<number, Known>();
  readonly #ordered: boolean;
  #serial = 0;

  constructor(options: MountedOptions, ordered: boolean) {
    // Short requests, unless it is told otherwise: a file's data then end at many instants, before a commit and behind it.
    this.#rig = mounted({ sectorsMax: PAGE_SIZE / SECTOR_SIZE, ...options, slow: true, junk: true });
    this.#ordered = ordered;
    // The root directory is as safe as it was before the first crash.
    expect(this.#rig.bare.sync()).toBe(0);
  }

  #open(n: number): Known {
    const { bare } = this.#rig;
    let known = this.#files.get(n);
    if (known === undefined) {
      const ino = bare.run(() => bare.fs.create(2, bytesOf(`file${n}`), { mode: MODE, uid: 0, gid: 0 }));
      known = { ino, content: new Uint8Array(0), promised: undefined };
      this.#files.set(n, known);
    }
    return known;
  }

  #resize(known: Known, size: number): void {
    const resized = new Uint8Array(size);
    resized.set(known.content.subarray(0, size));
    known.content = resized;
    known.promised = undefined;
  }

  do(one: Op): void {
    const { bare } = this.#rig;
    if (one.kind === "crash") return this.#crash(one.steps, one.seed);
    const words = call();
    if (one.kind === "sync") {
      expect(bare.run(() => bare.fs.sync(words))).toBe(0);
      for (const known of this.#files.values()) known.promised = known.content.slice();
      return;
    }
    const known = this.#open(one.file);
    switch (one.kind) {
      case "write": {
        // Bytes of each file are of a kind of their own, and never 0: whose they are can be told.
        const fill = ++this.#serial;
        const data = Uint8Array.from({ length: one.length }, (_, at) => 1 + one.file + FILES * ((at + fill) % 60));
        if (known.content.length < one.at + one.length) this.#resize(known, one.at + one.length);
        known.promised = undefined;
        for (let done = 0; done < data.length;) {
          const wrote = bare.run(() => bare.fs.write(known.ino, one.at + done, data.subarray(done), 0));
          expect(wrote).toBeGreaterThan(0);
          done += wrote;
        }
        known.content.set(data, one.at);
        return;
      }
      case "truncate":
        this.#resize(known, one.size);
        expect(bare.run(() => bare.fs.truncate(known.ino, one.size, words))).toBe(0);
        return;
      case "falloc": {
        const end = one.at + one.length;
        known.promised = undefined;
        const done = bare.run(() => bare.fs.fallocate(known.ino, one.mode, one.at, one.length, words));
        // Block maps know no unwritten blocks.
        if (done === EOPNOTSUPP) return;
        expect(done).toBe(0);
        if ((one.mode & FALLOC_KEEP_SIZE) === 0 && end > known.content.length) this.#resize(known, end);
        if (one.mode >= FALLOC_PUNCH_HOLE) known.content.fill(0, one.at, end);
        return;
      }
      case "fsync":
        expect(bare.run(() => bare.fs.fsync(known.ino, one.dataOnly, words))).toBe(0);
        known.promised = known.content.slice();
        return;
      case "remove":
        expect(bare.run(() => bare.fs.unlink(2, bytesOf(`file${one.file}`)))).toBe(0);
        this.#files.delete(one.file);
    }
  }

  #crash(steps: number, seed: number): void {
    const { bare, disk, clock } = this.#rig;
    const chance = prng(seed);
    // Several ask for their file at once, and are not there any more when it is done: commits meet data in flight.
    const asking = [...this.#files.values()]
      .filter(() => nextBelow(chance, 2) === 0)
      .map(({ ino }) => ({ ino, words: call() }));
    const ask = ({ ino, words }: { ino: number; words: Float64Array }): void =>
      expect([0, EIOCBQUEUED]).toContain(bare.fs.fsync(ino, false, words));
    for (const one of asking) ask(one);
    for (let step = 0; step < steps; step++) {
      if (!bare.fs.step()) clock.now = Math.max(clock.now + 1, Math.min(disk.nextAtNs, clock.now + 1e8));
      if (asking.length > 0) ask(asking[nextBelow(chance, asking.length)]!);
    }
    const share = nextBelow(chance, 5);
    const survivor = new Survivor(disk.crash(() => nextBelow(chance, 4) < share));
    expect(survivor.damage).toEqual([]);
    for (let n = 0; n < FILES; n++) this.#judge(n, survivor.read(`file${n}`));
  }

  #judge(n: number, found: Uint8Array | undefined): void {
    const promised = this.#files.get(n)?.promised;
    if (promised !== undefined) {
      expect(found === undefined ? "missing" : found.length).toBe(promised.length);
      const at = found!.findIndex((byte, index) => byte !== promised[index]);
      expect(at < 0 ? "as promised" : `file${n} at ${at}: ${found![at]} for ${promised[at]}`).toBe("as promised");
    }
    if (!this.#ordered || found === undefined) return;
    const strange = found.findIndex((byte) => byte === JUNK || (byte !== 0 && (byte - 1) % FILES !== n));
    expect(strange < 0 ? "its own" : `file${n} at ${strange}: ${found[strange]}`).toBe("its own");
  }
}

const FAST_4K = { features: features("fast_commit"), blockSize: 4096, sizeBytes: 16 * MIB };

const KINDS: readonly (readonly [string, boolean, MountedOptions])[] = [
  ["data=ordered", true, {}],
  ["data=ordered, 4 KiB blocks", true, { blockSize: 4096, sizeBytes: 16 * MIB }],
  ["data=ordered,nodelalloc", true, { mount: "nodelalloc" }],
  ["data=journal", true, { mount: "data=journal" }],
  ["data=writeback", false, { mount: "data=writeback" }],
  // With metadata_csum Linux refuses a transaction whose blocks did not all arrive, instead of leaving it out.
  [
    "data=writeback,journal_async_commit",
    false,
    { mount: "data=writeback,journal_async_commit", features: features("^metadata_csum") },
  ],
  ["inline data", true, { features: features("inline_data") }],
  ["block maps", true, { features: features("^extent,^64bit") }],
  ["bigalloc", true, { features: features("bigalloc,^resize_inode"), sizeBytes: 24 * MIB }],
  ["an orphan file, no checksums", true, { features: features("orphan_file,^metadata_csum") }],
  ["fast commits", true, { features: features("fast_commit"), mount: "fast_commit" }],
  ["fast commits,nodelalloc, 4 KiB blocks", true, { ...FAST_4K, mount: "fast_commit,nodelalloc" }],
  ["long requests", true, { sectorsMax: 2048 }],
  ["little memory", true, { pages: 72, buffers: 400, inodes: 8 }],
];

const propertyOf = (options: MountedOptions, ordered: boolean): fc.IProperty<[Op[]]> =>
  fc.property(fc.array(op, { minLength: 10, maxLength: 40 }), (ops) => {
    const run = new CrashRun(options, ordered);
    for (const one of ops) run.do(one);
  });

describe("after a power cut", () => {
  it.each(KINDS)("%s: the file system is whole, and what was promised is there", (_name, ordered, options) => {
    fc.assert(propertyOf(options, ordered), { seed: 20_261_128, numRuns: 2, endOnFailure: true });
  });

  it.each([
    ["nobarrier: without flushes nothing is promised", "nobarrier"],
    ["data=writeback: blocks show what was there before them", "data=writeback"],
  ])("%s, and that is caught", (_name, mount) => {
    const { failed } = fc.check(propertyOf({ mount }, true), { seed: 4, numRuns: 200, endOnFailure: true });
    expect(failed).toBe(true);
  });
});
