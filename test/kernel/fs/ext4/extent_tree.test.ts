/** Trees of three and four levels: files of many single blocks, grown, filled, cut, within their credits at each step. */
import { describe, expect, it } from "vitest";
import { ALLOC_DATA } from "../../../../kernel/fs/ext4/balloc.ts";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { setInodeChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { addName } from "../../../../kernel/fs/ext4/dir_replay.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { walkMap } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { newInode } from "../../../../kernel/fs/ext4/ialloc.ts";
import { INO_ROOT, INODE, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import {
  convertCredits,
  convertRun,
  createCredits,
  mapCreate,
  MAP_UNWRITTEN,
  truncateMap,
  unmapRange,
  UNMAP_CREDITS_MIN,
} from "../../../../kernel/fs/ext4/map_edit.ts";
import { writableInode } from "../../../../kernel/fs/ext4/orphan.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { next32, nextBelow, prng } from "../../../../kernel/lib/prng.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { CountingBlocks } from "./counting_blocks.ts";
import { features, fsck, made, MIB, settled } from "./image_tools.ts";

const SEED = 20_261_128;

class Bench {
  readonly image: BlockImage;
  readonly sb: Super;
  readonly blocks: CountingBlocks;
  readonly edit: Edit;
  readonly ino: number;
  readonly #out = { pblk: 0, length: 0, unwritten: false, isNew: false };

  constructor(size: number, span: number) {
    const words = "^has_journal,^resize_inode";
    const { image, sb } = made({ sizeBytes: size * MIB, blockSize: 1024, inodes: 64, features: features(words) });
    this.image = image;
    this.sb = sb;
    this.blocks = new CountingBlocks(image);
    this.edit = imageEdit(this.blocks, sb);
    // The small holes before the root and behind it go to another file.
    const other = this.#newFile(0x67, 64);
    for (let lblk = 0; lblk < 64; lblk++) expect(mapCreate(this.edit, other, lblk, 1, 0, this.#out)).toBe(0);
    this.ino = this.#newFile(0x66, span);
  }

  #newFile(letter: number, span: number): number {
    const { edit, image, sb } = this;
    const ino = newInode(edit, INO_ROOT, { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    const at = writableInode(image, sb, ino);
    image.view.setUint32(at + INODE.i_size_lo, span * sb.blockSize, true);
    setInodeChecksum(sb, image.bytes, image.view, at, ino);
    addName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), Uint8Array.of(letter), ino, 1);
    edit.groups.finish();
    return ino;
  }

  #call(credits: number, change: () => number): number {
    this.blocks.reset();
    const result = change();
    expect(result).toBeGreaterThanOrEqual(0);
    this.edit.groups.finish();
    expect(this.blocks.changed.size).toBeLessThanOrEqual(credits);
    return result;
  }

  create(lblk: number, how: number, want = 1): number {
    this.#call(createCredits(this.edit, this.ino), () => mapCreate(this.edit, this.ino, lblk, want, how, this.#out));
    return this.#out.length;
  }

  convert(lblk: number, written: boolean): void {
    this.#call(convertCredits(this.edit, this.ino), () => convertRun(this.edit, this.ino, lblk, 1, written, 0));
  }

  unmap(from: number, end: number): void {
    let reached = end;
    while (reached > from) {
      const before = reached;
      reached = this.#call(UNMAP_CREDITS_MIN, () =>
        unmapRange(this.edit, this.ino, from, before, 0, UNMAP_CREDITS_MIN),
      );
    }
  }

  truncate(from: number): number {
    let calls = 1;
    while (
      this.#call(UNMAP_CREDITS_MIN, () => Number(truncateMap(this.edit, this.ino, from, 0, UNMAP_CREDITS_MIN))) === 0
    )
      calls++;
    return calls;
  }

  get depth(): number {
    return this.image.view.getUint16(inodeAt(this.image, this.sb, this.ino) + INODE.i_block + 6, true);
  }

  /** Blocks that are mapped, and extents. */
  check(): { blocks: Map<number, boolean>; extents: number } {
    settled(this.image, this.sb);
    expect(new Checker().run(this.image, this.sb).damage).toEqual([]);
    if (ext4Tools) expect(fsck(this.image)).toBe("");
    const blocks = new Map<number, boolean>();
    let extents = 0;
    walkMap(this.image, this.sb, inodeAt(this.image, this.sb, this.ino), {
      run: (lblk, _pblk, length, unwritten) => {
        extents++;
        for (let n = 0; n < length; n++) blocks.set(lblk + n, !unwritten);
        return true;
      },
      node: () => true,
      mapDamage: (what) => expect.fail(what),
    });
    return { blocks, extents };
  }
}

/** Numbers below `count`, each once, in an order of chance. */
function shuffled(count: number): number[] {
  const state = prng(SEED);
  const order = Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1; n > 0; n--) {
    const other = nextBelow(state, n + 1);
    [order[n], order[other]] = [order[other]!, order[n]!];
  }
  return order;
}

const COUNT = 1200;

describe.for([
  { name: "forwards", order: Array.from({ length: COUNT }, (_, n) => n) },
  { name: "backwards", order: Array.from({ length: COUNT }, (_, n) => COUNT - 1 - n) },
  { name: "in no order", order: shuffled(COUNT) },
])("a file of every other block, made $name", ({ order }) => {
  it("grows to three levels, is filled, and shrinks again", () => {
    const bench = new Bench(6, 2 * COUNT);
    for (const n of order) bench.create(2 * n, ALLOC_DATA | MAP_UNWRITTEN);
    const grown = bench.check();
    expect([bench.depth, grown.blocks.size, grown.extents]).toEqual([2, COUNT, COUNT]);
    for (const n of order) if (n % 3 === 0) bench.convert(2 * n, true);
    for (const n of order) bench.create(2 * n + 1, ALLOC_DATA);
    for (const n of order) if (n % 3 !== 0) bench.convert(2 * n, true);
    const filled = bench.check();
    expect(filled.blocks.size).toBe(2 * COUNT);
    expect([...filled.blocks.values()].every(Boolean)).toBe(true);
    const state = prng(SEED);
    for (let n = 0; n < 60; n++) {
      const from = nextBelow(state, 2 * COUNT);
      const end = from + 1 + (next32(state) % 20);
      bench.unmap(from, end);
      for (let lblk = from; lblk < end; lblk++) filled.blocks.delete(lblk);
    }
    expect([...bench.check().blocks.keys()].sort((a, b) => a - b)).toEqual(
      [...filled.blocks.keys()].sort((a, b) => a - b),
    );
    bench.truncate(0);
    const empty = bench.check();
    expect([bench.depth, empty.blocks.size]).toEqual([0, 0]);
  });
});

it.each([
  ["forwards", Array.from({ length: COUNT }, (_, n) => n)],
  ["in no order", shuffled(COUNT)],
])("a file whose blocks are converted %s falls into pieces, and is few at the end", (_name, order) => {
  const bench = new Bench(6, 2 * COUNT);
  for (let lblk = 0; lblk < 2 * COUNT;) lblk += bench.create(lblk, ALLOC_DATA | MAP_UNWRITTEN, 2 * COUNT - lblk);
  const { extents } = bench.check();
  for (const n of order) bench.convert(2 * n, true);
  expect(bench.check().extents).toBe(2 * COUNT);
  expect(bench.depth).toBe(2);
  for (const n of order) bench.convert(2 * n + 1, true);
  const whole = bench.check();
  // Linux joins extents within a leaf only; leaves that are left with one each are not joined.
  expect(whole.extents).toBeLessThan(extents + 2 * Math.ceil((2 * COUNT) / 84) * 2);
  expect([...whole.blocks.values()].every(Boolean)).toBe(true);
});

it("a file of 29,000 extents has four levels, and is cut off in pieces of few credits", () => {
  const bench = new Bench(64, 60_000);
  const free = bench.edit.groups.space!.freeClusters;
  for (let n = 0; n < 29_000; n++) bench.create(2 * n, ALLOC_DATA);
  expect(bench.depth).toBe(3);
  expect(bench.check().extents).toBe(29_000);
  expect(bench.truncate(20_000)).toBeGreaterThan(4);
  expect(bench.check().extents).toBe(10_000);
  bench.truncate(0);
  expect(bench.check().extents).toBe(0);
  expect([bench.depth, bench.edit.groups.space!.freeClusters]).toEqual([0, free]);
});
