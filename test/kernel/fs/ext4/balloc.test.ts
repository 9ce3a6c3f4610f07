/** Allocation under a journal: calls that are aborted, transactions that commit later, promises to delayed allocation. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { ENOSPC } from "../../../../kernel/abi/errno.ts";
import type { BlockImage } from "../../../../kernel/fs/block_image.ts";
import {
  ALLOC_DATA,
  ALLOC_KEPT,
  ALLOC_RESERVED,
  allocBlocks,
  clusterOf,
  freeBlocks,
} from "../../../../kernel/fs/ext4/balloc.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { descAt, gdBlockBitmap, gdFreeBlocks } from "../../../../kernel/fs/ext4/group.ts";
import { GroupEdit } from "../../../../kernel/fs/ext4/group_edit.ts";
import { Space } from "../../../../kernel/fs/ext4/space.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { firstBlockOf } from "../../../../kernel/fs/ext4/super.ts";
import { growingArena, save } from "../../../../kernel/lib/growing_arena.ts";
import { CountingBlocks } from "./counting_blocks.ts";
import { features, made, MIB } from "./image_tools.ts";

const SEED = 20_261_128;

const VARIANTS = [
  { words: "^has_journal,^resize_inode,^flex_bg", blocksPerGroup: 512, size: 2 },
  { words: "^has_journal,^resize_inode", blocksPerGroup: 512, size: 2 },
  { words: "^has_journal,^resize_inode,bigalloc", blocksPerGroup: 4096, size: 8 },
] as const;

const where = fc.integer({ min: 0, max: 9999 });
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("alloc" as const),
      goal: where,
      want: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 700 })),
      reserved: fc.boolean(),
      privileged: fc.boolean(),
      kept: fc.boolean(),
      times: fc.integer({ min: 1, max: 3 }),
      stands: fc.integer({ min: 0, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("free" as const), which: where, part: fc.boolean(), stands: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("reserve" as const), clusters: fc.integer({ min: 1, max: 200 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("commit" as const, "next" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Numbers of all clusters, each with what the model knows of it. */
class Model {
  readonly image: BlockImage;
  readonly sb: Super;
  readonly arena = growingArena();
  readonly space: Space;
  readonly groups: GroupEdit;
  /** Clusters in use, and those freed in a transaction that has not committed -> its number. */
  readonly used = new Set<number>();
  readonly pending = new Map<number, number>();
  /** First cluster and number, of what was allocated. */
  readonly runs: [number, number][] = [];
  reserved = 0;
  tid = 1;
  committed = 0;

  constructor({ words, blocksPerGroup, size }: (typeof VARIANTS)[number]) {
    const { image, sb } = made({
      sizeBytes: size * MIB,
      blockSize: 1024,
      blocksPerGroup,
      inodes: 64,
      features: features(words),
    });
    this.image = image;
    this.sb = sb;
    this.space = new Space(image, sb, { journal: true }, this.arena);
    this.groups = new GroupEdit(image, sb, this.space);
    for (let n = 0; n < this.clusters; n++) if (!this.groups.isClusterFree(this.blockOf(n))) this.used.add(n);
  }

  get clusters(): number {
    return Math.ceil((this.sb.blocksCount - this.sb.firstDataBlock) / 2 ** this.sb.clusterBits);
  }

  blockOf(cluster: number): number {
    return this.sb.firstDataBlock + cluster * 2 ** this.sb.clusterBits;
  }

  edit(privileged: boolean): Edit {
    return { blocks: this.image, sb: this.sb, groups: this.groups, sec: 0, nsec: 0, below: () => 0, privileged };
  }

  /** A call that stands or is aborted; afterwards everything agrees with the model. */
  call(stands: boolean, privileged: boolean, change: (edit: Edit) => void): void {
    const mark = this.image.mark();
    this.groups.begin(this.tid);
    const before = this.#tables();
    change(this.edit(privileged));
    this.groups.finish();
    if (stands) return this.groups.merge();
    this.groups.abort();
    this.image.rollback(mark);
    expect(Buffer.compare(this.#tables(), before)).toBe(0);
  }

  /** All of the space's state but the bounds of runs, which may be less sharp after a call that did not happen. */
  #tables(): Uint8Array {
    const { runMax } = this.space;
    const bounds = runMax.slice();
    runMax.fill(0);
    const tables = save(this.arena);
    runMax.set(bounds);
    return tables;
  }

  run(action: Step): void {
    if (action.do === "alloc") this.#alloc(action);
    else if (action.do === "free") this.#free(action);
    else if (action.do === "reserve") {
      const fits = this.space.mayTake(action.clusters, 0);
      expect(this.space.reserve(action.clusters, false)).toBe(fits ? 0 : ENOSPC);
      if (fits) this.reserved += action.clusters;
    } else if (action.do === "next") {
      // At most two transactions are without a commit.
      this.#commit(this.tid - 1);
      this.tid++;
    } else this.#commit(this.tid - 1);
  }

  #commit(tid: number): void {
    this.committed = Math.max(this.committed, tid);
    this.space.committed(tid);
    for (const [cluster, freed] of this.pending) if (freed <= tid) this.pending.delete(cluster);
  }

  #alloc(action: Extract<Step, { do: "alloc" }>): void {
    const size = 2 ** this.sb.clusterBits;
    const isReserved = action.reserved && this.reserved > 0;
    const want = isReserved ? Math.min(action.want, this.reserved * size) : action.want;
    const how = ALLOC_DATA | (isReserved ? ALLOC_RESERVED : 0) | (action.kept ? ALLOC_KEPT : 0);
    const goal = this.sb.firstDataBlock + (action.goal % this.sb.blocksCount);
    const stands = action.stands > 0;
    const who = (action.privileged ? 1 : 0) | (action.kept ? 2 : 0);
    this.call(stands, action.privileged, (edit) => {
      const taken = new Set<number>();
      for (let n = 0; n < (isReserved ? 1 : action.times); n++) {
        const run = { block: 0, count: 0 };
        const most = isReserved ? Infinity : this.space.takeable(Math.ceil(want / size), who);
        const fault = allocBlocks(edit, goal, want, how, run);
        const free = this.clusters - this.used.size - this.pending.size - (stands ? 0 : taken.size);
        if (fault !== 0) {
          expect(fault).toBe(ENOSPC);
          expect(Math.min(free, most)).toBe(0);
          return;
        }
        expect(run.count).toBeGreaterThan(0);
        expect(run.count).toBeLessThanOrEqual(want);
        expect(run.block % size).toBe(this.sb.firstDataBlock % size);
        const [first, last] = [clusterOf(this.sb, run.block), clusterOf(this.sb, run.block + run.count - 1)];
        expect(last - first + 1).toBeLessThanOrEqual(most);
        for (let at = first; at <= last; at++) {
          expect([this.used.has(at), this.pending.has(at), taken.has(at)]).toEqual([false, false, false]);
          taken.add(at);
        }
        if (!stands) continue;
        for (let at = first; at <= last; at++) this.used.add(at);
        if (isReserved) this.reserved -= last - first + 1;
        this.runs.push([first, last - first + 1]);
      }
    });
  }

  #free({ which, part, stands }: Extract<Step, { do: "free" }>): void {
    if (this.runs.length === 0) return;
    const index = which % this.runs.length;
    const [first, all] = this.runs[index]!;
    const count = part ? Math.ceil(all / 2) : all;
    this.call(stands, false, (edit) => {
      expect(freeBlocks(edit, this.blockOf(first), count * 2 ** this.sb.clusterBits, false)).toBe(0);
    });
    if (!stands) return;
    if (count === all) this.runs.splice(index, 1);
    else this.runs[index] = [first + count, all - count];
    for (let n = first; n < first + count; n++) {
      this.used.delete(n);
      this.pending.set(n, this.tid);
    }
  }

  check(): void {
    const { space, groups, sb, image } = this;
    expect(space.freeClusters).toBe(this.clusters - this.used.size);
    expect(space.pendingClusters).toBe(this.pending.size);
    expect(space.reservedClusters).toBe(this.reserved);
    for (let n = 0; n < this.clusters; n += 41) expect(groups.isClusterFree(this.blockOf(n))).toBe(!this.used.has(n));
    let free = 0;
    for (let group = 0; group < sb.groups; group++) free += gdFreeBlocks(sb, image.view, descAt(image, sb, group));
    expect(free).toBe(space.freeClusters);
  }
}

test.prop([fc.constantFrom(...VARIANTS), fc.array(step, { minLength: 1, maxLength: 50, size: "max" })], {
  seed: SEED,
  numRuns: 40,
})(
  "allocBlocks() and freeBlocks() keep to bitmaps, reserves, promises and commits (model: sets of clusters)",
  (variant, steps) => {
    const model = new Model(variant);
    for (const action of steps) {
      model.run(action);
      model.check();
    }
  },
);

function fullDisk(): { edit: Edit; blocks: CountingBlocks; sb: Super } {
  const { image, sb } = made({
    sizeBytes: 4 * MIB,
    blockSize: 1024,
    blocksPerGroup: 512,
    inodes: 64,
    features: features("^has_journal,^resize_inode"),
  });
  const blocks = new CountingBlocks(image);
  const groups = new GroupEdit(blocks, sb, new Space(image, sb, { journal: true }));
  groups.begin(1);
  const edit: Edit = { blocks, sb, groups, sec: 0, nsec: 0, below: () => 0, privileged: true };
  const run = { block: 0, count: 0 };
  while (allocBlocks(edit, 0, 64, ALLOC_KEPT, run) === 0);
  expect(groups.space!.freeClusters).toBe(0);
  groups.finish();
  groups.merge();
  return { edit, blocks, sb };
}

it("allocBlocks() does not search a full file system at every call", () => {
  const { edit, blocks, sb } = fullDisk();
  const bitmaps = new Set<number>();
  for (let group = 0; group < sb.groups; group++)
    bitmaps.add(gdBlockBitmap(sb, blocks.view, descAt(blocks, sb, group)));
  edit.groups.begin(1);
  freeBlocks(edit, firstBlockOf(sb, 5) + 300, 1, false);
  edit.groups.finish();
  edit.groups.merge();
  let looks = 0;
  const at = blocks.at.bind(blocks);
  blocks.at = (block) => {
    if (bitmaps.has(block)) looks++;
    return at(block);
  };
  const run = { block: 0, count: 0 };
  // The one free cluster waits for a commit: it is looked at once, and again after the commit.
  for (let n = 0; n < 50; n++) expect(allocBlocks(edit, 0, 8, ALLOC_KEPT, run)).toBe(ENOSPC);
  expect(looks).toBeLessThanOrEqual(4);
  edit.groups.space!.committed(1);
  expect([allocBlocks(edit, 0, 8, ALLOC_KEPT, run), run.block, run.count]).toEqual([0, firstBlockOf(sb, 5) + 300, 1]);
  expect(allocBlocks(edit, 0, 8, ALLOC_KEPT, run)).toBe(ENOSPC);
});

it("allocBlocks() takes the goal if it is free, else the next run that is long enough, else the longest", () => {
  const { edit, sb } = fullDisk();
  const first = firstBlockOf(sb, 4);
  const holes: readonly (readonly [number, number])[] = [
    [100, 3],
    [120, 2],
    [140, 10],
    [200, 12],
  ];
  edit.groups.begin(1);
  for (const [from, count] of holes) freeBlocks(edit, first + from, count, false);
  edit.groups.finish();
  edit.groups.merge();
  edit.groups.space!.committed(1);
  edit.groups.begin(2);
  const run = { block: 0, count: 0 };
  const alloc = (goal: number, want: number): readonly [number, number] => {
    expect(allocBlocks(edit, first + goal, want, ALLOC_KEPT, run)).toBe(0);
    return [run.block - first, run.count];
  };
  expect(alloc(101, 8)).toEqual([101, 2]);
  expect(alloc(110, 8)).toEqual([140, 8]);
  expect(alloc(110, 2)).toEqual([120, 2]);
  expect(alloc(300, 5)).toEqual([200, 5]);
  expect(alloc(300, 100)).toEqual([205, 7]);
  expect(alloc(0, 100)).toEqual([148, 2]);
  expect(alloc(0, 100)).toEqual([100, 1]);
  expect(allocBlocks(edit, first, 1, ALLOC_KEPT, run)).toBe(ENOSPC);
});

it("without a journal freed blocks are allocated again at once", () => {
  const { edit, sb } = fullDisk();
  const run = { block: 0, count: 0 };
  expect(allocBlocks(edit, 0, 1, ALLOC_KEPT, run)).toBe(ENOSPC);
  edit.groups.begin(0);
  expect(freeBlocks(edit, firstBlockOf(sb, 6) + 20, 2, false)).toBe(0);
  expect([allocBlocks(edit, 0, 9, ALLOC_KEPT, run), run.block, run.count]).toEqual([0, firstBlockOf(sb, 6) + 20, 2]);
});

it("freeBlocks() refuses what is not in use, and frees nothing of it", () => {
  const { edit, sb } = fullDisk();
  edit.groups.begin(1);
  const block = firstBlockOf(sb, 3) + 50;
  expect(freeBlocks(edit, block, 4, true)).toBe(0);
  expect(freeBlocks(edit, block - 2, 8, false)).toBeLessThan(0);
  expect(freeBlocks(edit, sb.blocksCount - 2, 8, false)).toBeLessThan(0);
  expect(edit.groups.space!.freeClusters).toBe(4);
  expect((edit.blocks as CountingBlocks).forgotten).toEqual([block, block + 1, block + 2, block + 3]);
});
