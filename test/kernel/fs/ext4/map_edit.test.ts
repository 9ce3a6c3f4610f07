/**
 * Files are mapped, converted and cut at random, on file systems of every kind, against a table of what each block should
 * be. Every new block is stamped with its file and place, so a block that went to two places is seen. After each step the
 * checker finds nothing; at the end of a run neither does e2fsck.
 */
import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { EFBIG, ENOSPC } from "../../../../kernel/abi/errno.ts";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { addName } from "../../../../kernel/fs/ext4/dir_replay.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { walkMap } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { newInode } from "../../../../kernel/fs/ext4/ialloc.ts";
import { inodeSectors } from "../../../../kernel/fs/ext4/inode.ts";
import { INO_ROOT, INODE, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { setInodeChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { writableInode } from "../../../../kernel/fs/ext4/orphan.ts";
import {
  convertCredits,
  convertRun,
  createCredits,
  mapCreate,
  MAP_UNWRITTEN,
  unmapRange,
  UNMAP_CREDITS_MIN,
} from "../../../../kernel/fs/ext4/map_edit.ts";
import { ALLOC_DATA } from "../../../../kernel/fs/ext4/balloc.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { CountingBlocks } from "./counting_blocks.ts";
import { features, fsck, made, MIB, settled } from "./image_tools.ts";

const SEED = 20_261_128;
const FILES = 2;
/** Blocks of a file that are used: few, so that they meet, but far enough for a double indirect block. */
const SPAN = 500;

interface Variant {
  readonly name: string;
  readonly size: number;
  readonly words: string;
  readonly blockSize: number;
  readonly blocksPerGroup?: number;
  readonly inodes?: number;
}

const EXT3 = "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file";
const VARIANTS: readonly Variant[] = [
  { name: "4 KiB blocks", size: 8, words: "^has_journal", blockSize: 4096 },
  {
    name: "1 KiB, small groups, one after the other",
    size: 3,
    words: "^has_journal,^flex_bg",
    blockSize: 1024,
    blocksPerGroup: 512,
    inodes: 96,
  },
  { name: "2 KiB, no checksums", size: 6, words: "^has_journal,^metadata_csum,^64bit", blockSize: 2048 },
  {
    name: "gdt_csum",
    size: 3,
    words: "^has_journal,^metadata_csum,uninit_bg",
    blockSize: 1024,
    blocksPerGroup: 1024,
    inodes: 64,
  },
  {
    name: "meta_bg",
    size: 4,
    words: "^has_journal,^resize_inode,meta_bg",
    blockSize: 1024,
    blocksPerGroup: 512,
    inodes: 128,
  },
  { name: "bigalloc", size: 12, words: "^has_journal,^resize_inode,bigalloc", blockSize: 1024 },
  { name: "full", size: 1, words: "^has_journal,^resize_inode", blockSize: 1024, inodes: 32 },
];

const lblk = fc.integer({ min: 0, max: SPAN - 1 });
const length = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 300 }));
const file = fc.integer({ min: 0, max: FILES - 1 });
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("create" as const), file, lblk, length, unwritten: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("convert" as const), file, lblk, length, written: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("unmap" as const), file, lblk, length }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("truncate" as const), file, lblk }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Bench {
  readonly image: BlockImage;
  readonly sb: Super;
  readonly blocks: CountingBlocks;
  readonly edit: Edit;
  readonly files: { readonly ino: number; readonly model: Map<number, boolean> }[] = [];
  readonly #checker = new Checker();

  constructor(variant: Variant) {
    const { image, sb } = made({
      sizeBytes: variant.size * MIB,
      blockSize: variant.blockSize,
      features: features(variant.words),
      ...(variant.blocksPerGroup === undefined ? {} : { blocksPerGroup: variant.blocksPerGroup }),
      ...(variant.inodes === undefined ? {} : { inodes: variant.inodes }),
    });
    this.image = image;
    this.sb = sb;
    this.blocks = new CountingBlocks(image);
    this.edit = imageEdit(this.blocks, sb, { sec: 1_700_000_000 });
    for (let n = 0; n < FILES; n++) this.#newFile(n);
    this.edit.groups.finish();
    this.check();
  }

  #newFile(n: number): void {
    const { image, sb } = this;
    const ino = newInode(this.edit, INO_ROOT, { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    expect(ino).toBeGreaterThan(0);
    const at = writableInode(image, sb, ino);
    image.view.setUint32(at + INODE.i_size_lo, SPAN * sb.blockSize, true);
    setInodeChecksum(sb, image.bytes, image.view, at, ino);
    const name = Uint8Array.of(0x66, 0x30 + n);
    expect(addName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), name, ino, 1)).toBe(0);
    this.files.push({ ino, model: new Map() });
  }

  run(action: Step): void {
    const { ino, model } = this.files[action.file]!;
    const { edit, blocks } = this;
    const hasExtents = this.sb.hasExtents;
    if (action.do === "create") {
      const out = { pblk: 0, length: 0, unwritten: false, isNew: false };
      const end = Math.min(SPAN, action.lblk + action.length);
      const how = ALLOC_DATA | (action.unwritten && hasExtents ? MAP_UNWRITTEN : 0);
      for (let at = action.lblk; at < end; at += out.length) {
        const credits = createCredits(edit, ino);
        blocks.reset();
        const fault = mapCreate(edit, ino, at, end - at, how, out);
        this.#endCall(credits);
        if (fault === ENOSPC) {
          expect(edit.groups.space!.freeClusters).toBeLessThan(8);
          return;
        }
        expect(fault).toBe(0);
        expect(out.length).toBeGreaterThan(0);
        for (let n = 0; n < out.length; n++) {
          expect(model.has(at + n)).toBe(!out.isNew);
          if (!out.isNew) continue;
          model.set(at + n, !out.unwritten);
          this.#stamp(out.pblk + n, ino, at + n);
        }
      }
    } else if (action.do === "convert") {
      for (let at = action.lblk; at < Math.min(SPAN, action.lblk + action.length); at++) {
        if (!model.has(at) || !hasExtents) continue;
        let count = 1;
        while (model.get(at + count) === model.get(at) && at + count < action.lblk + action.length) count++;
        const credits = convertCredits(edit, ino);
        blocks.reset();
        const fault = convertRun(edit, ino, at, count, action.written, 0);
        // A run of the model may be several extents.
        if (count === 1) this.#endCall(credits);
        else edit.groups.finish();
        if (fault === ENOSPC) {
          // Part of the run may be converted: the disk says which.
          this.#walk(ino, (block, _pblk, unwritten) => {
            if (block >= at && block < at + count) model.set(block, !unwritten);
          });
          return;
        }
        expect(fault).toBe(0);
        for (let n = 0; n < count; n++) model.set(at + n, action.written);
        at += count - 1;
      }
    } else {
      const end = action.do === "unmap" ? action.lblk + action.length : 2 ** 32 - 1;
      for (let reached = end; reached > action.lblk;) {
        blocks.reset();
        const next = unmapRange(edit, ino, action.lblk, reached, 0, UNMAP_CREDITS_MIN);
        this.#endCall(UNMAP_CREDITS_MIN);
        if (next === ENOSPC) break;
        expect(next).toBeGreaterThanOrEqual(action.lblk);
        expect(next).toBeLessThan(reached);
        for (const block of model.keys()) if (block >= next && block < reached) model.delete(block);
        reached = next;
      }
    }
  }

  #endCall(credits: number): void {
    this.edit.groups.finish();
    expect(this.blocks.changed.size, "blocks changed, of the credits that were asked for").toBeLessThanOrEqual(credits);
  }

  #stamp(pblk: number, ino: number, block: number): void {
    const at = this.image.writable(pblk);
    this.image.view.setUint32(at, ino, true);
    this.image.view.setUint32(at + 4, block, true);
  }

  #walk(ino: number, visit: (lblk: number, pblk: number, unwritten: boolean) => void): void {
    walkMap(this.image, this.sb, inodeAt(this.image, this.sb, ino), {
      run: (first, pblk, count, unwritten) => {
        for (let n = 0; n < count; n++) visit(first + n, pblk + n, unwritten);
        return true;
      },
      node: () => true,
      mapDamage: (what) => expect.fail(what),
    });
  }

  check(): void {
    const { image, sb } = this;
    settled(image, sb);
    const report = this.#checker.run(image, sb);
    expect(report.damage).toEqual([]);
    for (const { ino, model } of this.files) {
      const found = new Map<number, boolean>();
      this.#walk(ino, (block, pblk, unwritten) => {
        found.set(block, !unwritten);
        const at = image.at(pblk);
        expect([image.view.getUint32(at, true), image.view.getUint32(at + 4, true)]).toEqual([ino, block]);
      });
      // With the last block the last node went.
      if (model.size === 0) expect(inodeSectors(sb, image.view, inodeAt(image, sb, ino))).toBe(0);
      expect([...found].sort(([a], [b]) => a - b)).toEqual([...model].sort(([a], [b]) => a - b));
    }
  }
}

describe.for([
  ...VARIANTS,
  { name: "block maps", size: 3, words: `${EXT3},^has_journal`, blockSize: 1024, inodes: 64 },
])("$name", (variant) => {
  test.prop([fc.array(step, { minLength: 1, maxLength: 30, size: "max" })], { seed: SEED, numRuns: 12 })(
    "mapCreate(), convertRun() and unmapRange() do what they say, within their credits (model: a table)",
    (steps) => {
      const bench = new Bench(variant);
      for (const action of steps) {
        bench.run(action);
        bench.check();
      }
    },
  );

  it.skipIf(!ext4Tools)("e2fsck is content with what is left", () => {
    for (const steps of fc.sample(fc.array(step, { minLength: 25, maxLength: 25 }), { seed: SEED, numRuns: 2 })) {
      const bench = new Bench(variant);
      for (const action of steps) bench.run(action);
      bench.check();
      expect(fsck(bench.image)).toBe("");
    }
  });
});

it("mapCreate() ends with EFBIG beyond what can be mapped or counted, and takes nothing", () => {
  const block = { pblk: 0, length: 0, unwritten: false, isNew: false };
  for (const [words, lblk, sectors] of [
    ["^has_journal", 2 ** 32 - 1, 0],
    [`${EXT3},^has_journal`, 12 + 256 + 256 ** 2 + 256 ** 3, 0],
    [`${EXT3},^has_journal`, 5, 2 ** 32 - 8],
  ] as const) {
    const { image, sb } = made({ sizeBytes: 3 * MIB, blockSize: 1024, inodes: 64, features: features(words) });
    const edit = imageEdit(image, sb);
    const ino = newInode(edit, INO_ROOT, { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
    image.view.setUint32(writableInode(image, sb, ino) + INODE.i_blocks_lo, sectors, true);
    const free = edit.groups.space!.freeClusters;
    expect(mapCreate(edit, ino, lblk, 1, 0, block)).toBe(EFBIG);
    expect(edit.groups.space!.freeClusters).toBe(free);
    expect(inodeSectors(sb, image.view, inodeAt(image, sb, ino))).toBe(sectors);
  }
});
