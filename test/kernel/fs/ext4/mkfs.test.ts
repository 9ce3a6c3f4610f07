import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storeMade } from "../../../../harness/ext4/mkfs_file.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { inodeSectors, inodeSizeBytes } from "../../../../kernel/fs/ext4/inode.ts";
import { COMPAT, INCOMPAT, INO_ROOT } from "../../../../kernel/fs/ext4/layout.ts";
import { imageOf, makeExt4 } from "../../../../kernel/fs/ext4/mkfs.ts";
import type { MadeExt4 } from "../../../../kernel/fs/ext4/mkfs.ts";
import type { MakeOptions } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { features, MIB, TEST_ID, TEST_NOW, TEST_UUID, toolOutput } from "./image_tools.ts";

type Options = Partial<Omit<MakeOptions, "features" | "label" | "uuid" | "hashSeed">>;

/** mke2fs's letters for our options. */
const LETTERS: Readonly<Record<string, string>> = {
  blockSize: "-b",
  clusterSize: "-C",
  inodeSize: "-I",
  inodeRatio: "-i",
  inodes: "-N",
  blocksPerGroup: "-g",
  groupsPerFlex: "-G",
  reservedPercent: "-m",
};

const EXT3 = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";
const CASES: readonly (readonly [size: number, words: string, options: Options])[] = [
  [64, "", {}],
  [32, "", { blockSize: 2048 }],
  [32, "", { blockSize: 4096 }],
  [5, "", {}],
  [2, "", {}],
  [1, "", {}],
  [3, "", { blockSize: 4096 }],
  [40, "^flex_bg", {}],
  [16, "^flex_bg", { blockSize: 4096 }],
  [64, "", { groupsPerFlex: 4 }],
  [150, "", { blockSize: 1024 }],
  [20, "^has_journal", {}],
  [20, "^resize_inode", {}],
  [20, "^64bit", {}],
  [20, "^metadata_csum", {}],
  [20, "^metadata_csum,uninit_bg", {}],
  [20, "^metadata_csum,uninit_bg,^flex_bg", { blockSize: 2048 }],
  [20, "^metadata_csum,^flex_bg", {}],
  [20, "^resize_inode,meta_bg", {}],
  [20, "^resize_inode,meta_bg,^flex_bg", {}],
  [60, "^resize_inode,meta_bg", { blocksPerGroup: 1024 }],
  [20, "^resize_inode,meta_bg,^metadata_csum", { blocksPerGroup: 512 }],
  [40, "sparse_super2", {}],
  [20, "sparse_super2,^resize_inode", {}],
  [20, "^sparse_super,^resize_inode", {}],
  [20, "sparse_super2", { blockSize: 4096 }],
  [32, "bigalloc", {}],
  [64, "bigalloc", { blockSize: 4096 }],
  [32, "bigalloc,^resize_inode", {}],
  [32, "bigalloc", { clusterSize: 8192, blockSize: 1024 }],
  [32, "bigalloc,^flex_bg", { clusterSize: 8192, blockSize: 1024 }],
  [20, "orphan_file", {}],
  [130, "orphan_file", { blockSize: 4096 }],
  [20, "fast_commit", {}],
  [20, "fast_commit,orphan_file,metadata_csum_seed,inline_data", {}],
  [20, "inline_data", {}],
  [20, "inline_data,^has_journal", { blockSize: 4096 }],
  [20, "", { inodeSize: 128 }],
  [20, "", { inodeSize: 512, blockSize: 4096 }],
  [20, "", { inodeRatio: 65536 }],
  [20, "", { inodes: 100 }],
  [20, "", { inodes: 30000 }],
  [32, "", { journalBytes: 8 * MIB }],
  [20, "", { blocksPerGroup: 2048 }],
  [20, "^has_journal", { blocksPerGroup: 256 }],
  [20, "large_dir,stable_inodes", {}],
  [16, "", { blockSize: 65536 }],
  [20, EXT3, {}],
  [20, EXT3, { blockSize: 4096 }],
  [20, "none", { inodeSize: 128 }],
  [20, "^extent,^64bit", {}],
  [20, "^dir_index,^huge_file,^dir_nlink,^extra_isize,^filetype", {}],
  [20, "", { reservedPercent: 20 }],
];

const optionsOf = (size: number, words: string, options: Options): MakeOptions => ({
  ...options,
  sizeBytes: size * MIB,
  features: features(words),
  uuid: TEST_ID,
  hashSeed: TEST_ID,
  now: TEST_NOW,
});

function make(options: MakeOptions): MadeExt4 {
  const result = makeExt4(options);
  if ("reason" in result) throw new Error(result.reason);
  return result;
}

/** dumpe2fs's words, without what must differ: our inode tables are marked as zeroed. */
const described = (path: string): string[] =>
  toolOutput("dumpe2fs", path)
    .split("\n")
    .filter(
      (line) =>
        !/^(Lifetime writes|Directory Hash Seed|Checksum|Filesystem created|Last write time|Last checked):/.test(line),
    )
    .map((line) =>
      line
        .replace(/,? ?ITABLE_ZEROED/, "")
        .replace(/\) csum 0x[0-9a-f]{4}/, ")")
        .replace(/ \[\]$/, ""),
    );

/** Size, flags and blocks of an inode, as debugfs tells them. */
const placed = (path: string, ino: string): string[] =>
  toolOutput("debugfs", "-R", `stat ${ino}`, path)
    .split("\n")
    .filter((line) => /Type:|Size:|Links:|^\(|EXTENTS|BLOCKS|TOTAL/.test(line));

describe.for(CASES)("%i MiB -O %s %o", ([size, words, options]) => {
  it("makeExt4() makes what the checker finds clean", () => {
    const made = make(optionsOf(size, words, options));
    expect(new Checker().run(imageOf(made), made.sb).damage).toEqual([]);
  });

  it.skipIf(!ext4Tools)("makeExt4() lays it out as mke2fs does, and e2fsck is content", () => {
    const folder = mkdtempSync(join(tmpdir(), "orrery-mkfs-"));
    try {
      const [ours, theirs] = [join(folder, "ours"), join(folder, "theirs")];
      storeMade(ours, make(optionsOf(size, words, options)));
      const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin`, E2FSPROGS_FAKE_TIME: String(TEST_NOW) };
      const checked = spawnSync("e2fsck", ["-fn", ours], { encoding: "utf8", env });
      expect([checked.status, checked.status === 0 ? "" : checked.stdout]).toEqual([0, ""]);
      const args = ["-q", "-F", "-t", "ext4", "-U", TEST_UUID];
      if (words !== "") args.push("-O", words);
      for (const [name, value] of Object.entries(options))
        args.push(...(name === "journalBytes" ? ["-J", `size=${value / MIB}`] : [LETTERS[name]!, String(value)]));
      const { status, stderr } = spawnSync("mkfs.ext4", [...args, theirs, `${size}M`], { encoding: "utf8", env });
      expect(status, stderr).toBe(0);
      expect(described(ours)).toEqual(described(theirs));
      for (const ino of ["<2>", "<11>"]) expect(placed(ours, ino)).toEqual(placed(theirs, ino));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

const refusal = (size: number, words: string, options: Options): string => {
  const result = makeExt4(optionsOf(size, words, options));
  return "reason" in result ? result.reason : "";
};

it.each([
  [20, "uninit_bg", {}, /metadata_csum and uninit_bg exclude/],
  [20, "bigalloc,^extent,^64bit", {}, /bigalloc needs extent/],
  [20, "^extent", {}, /64bit needs extent/],
  [20, "meta_bg", {}, /meta_bg and resize_inode exclude/],
  [20, "^metadata_csum,metadata_csum_seed", {}, /metadata_csum_seed needs/],
  [20, "^sparse_super", {}, /resize_inode needs sparse_super/],
  [20, "^has_journal,fast_commit", {}, /fast_commit needs has_journal/],
  [20, "mmp", {}, /cannot be made/],
  [20, "", { clusterSize: 65536 }, /needs the feature bigalloc/],
  [20, "", { blockSize: 3000 }, /none of 1024/],
  [20, "", { inodeSize: 2048 }, /from 128 to the block size 1024/],
  [20, "", { blockSize: 4096, journalBytes: MIB }, /a journal of 256 blocks/],
  [20, "", { journalBytes: 15 * MIB }, /more than half/],
  [20, "^has_journal", { journalBytes: 4 * MIB }, /has_journal is not/],
  [0.05, "", {}, /too few/],
  [20, "inline_data", { inodeSize: 128 }, /inline_data needs inodes larger/],
] as const)("makeExt4() refuses %i MiB with %s %o in one line", (size, words, options, reason) => {
  expect(refusal(size, words, options)).toMatch(reason);
});

function contents({ blocks }: MadeExt4): (readonly [number, string])[] {
  const found: (readonly [number, string])[] = [];
  blocks.each((block, content) => found.push([block, Buffer.from(content).toString("base64")]));
  return found;
}

it("makeExt4() makes the same bytes for the same options, and takes no room for what is zero", () => {
  const [a, b] = [make(optionsOf(2 ** 16, "", {})), make(optionsOf(2 ** 16, "", {}))];
  expect(contents(a)).toEqual(contents(b));
  expect(contents(a).length * a.sb.blockSize).toBeLessThan(16 * MIB);
});

it("makeExt4() gives the root a block with inline_data, too: Linux refuses a root without", () => {
  const { blocks, sb } = make(optionsOf(20, "inline_data", {}));
  const root = inodeAt(blocks, sb, INO_ROOT);
  expect([inodeSectors(sb, blocks.view, root), inodeSizeBytes(sb, blocks.view, root)]).toEqual([2, 1024]);
});

it("makeExt4() says what it left out: a journal where none fits, resize_inode where groups are tiny", () => {
  const tiny = make(optionsOf(1, "", {}));
  expect([tiny.plan.compat & COMPAT.has_journal, tiny.plan.notes.length]).toEqual([0, 1]);
  const small = make(optionsOf(20, "^has_journal", { blocksPerGroup: 256 }));
  expect([small.sb.incompat & INCOMPAT.meta_bg, small.plan.notes.length]).toEqual([INCOMPAT.meta_bg, 1]);
});
