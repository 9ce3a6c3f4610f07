/** Fast commits of our ext4: which calls they say, that each crash state keeps its promises, and what e2fsck makes of them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { aceSpace } from "../../../../harness/crash/ace.ts";
import type { AceCall } from "../../../../harness/crash/ace.ts";
import type { CrashDisk } from "../../../../harness/crash/crash_disk.ts";
import { judgeWorkload } from "../../../../harness/crash/workload_judge.ts";
import { runWorkload } from "../../../../harness/crash/workload_run.ts";
import type { CrashBase, WorkloadRun } from "../../../../harness/crash/workload_run.ts";
import { SparseDisk } from "../../../../harness/disk/sparse.ts";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { FC_ADD_RANGE, FC_TAG, FC_TAIL, FC_TL } from "../../../../kernel/fs/ext4/fast_commit.ts";
import { journalMap, recover } from "../../../../kernel/fs/ext4/recover.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { le16, setLe32 } from "../../../../kernel/lib/bytes.ts";
import { crc32c } from "../../../../kernel/lib/crc32c.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { features, MIB, TEST_NOW, toolOutput } from "./image_tools.ts";
import { emptyImage } from "./mounted_rig.ts";

const FEATURES = features("fast_commit");

/** Free blocks are full of junk: what is told before its data are there is seen. */
function junkBase(blockSize: number, sizeBytes: number, journalBytes: number): CrashBase {
  const image = emptyImage({ blockSize, sizeBytes, journalBytes, features: FEATURES, junk: true });
  const disk = new SparseDisk(image.length);
  disk.writeAt(0, image);
  return { image, disk };
}

// With blocks of 1 KiB the journal's inode has a block of its own in the inode table: files may have fast commits.
const BASE = junkBase(1024, 8 * MIB, 2 * MIB);
const MOUNT = { data: "ordered", mount: "fast_commit" } as const;
const JUDGE = { ...MOUNT, policy: "kernel", maxSubset: 7, tears: true, seed: 1 } as const;

const one = (op: AceCall["op"], path: string, more: Partial<AceCall> = {}): AceCall => ({
  op,
  path,
  setup: false,
  ...more,
});
const write = (path: string, offset: number, length: number): AceCall => one("write", path, { offset, length });
/** A directory and two files that are in a full commit: fast commits may follow it. */
const BEFORE = [
  one("mkdir", "A"),
  one("creat", "foo"),
  write("foo", 0, 3000),
  one("creat", "bar"),
  one("link", "bar", { to: "A/bar" }),
  one("sync", "/"),
];

/** The first full commit comes before what the workload is about. */
function warmed(calls: readonly AceCall[]): AceCall[] {
  const lead = calls.findIndex(({ setup }) => !setup);
  return [...calls.slice(0, lead), one("creat", "warm"), one("sync", "/"), ...calls.slice(lead)];
}

const SAID: readonly (readonly [what: string, calls: readonly AceCall[], fsync: string])[] = [
  ["data at the end", [write("foo", 3000, 5000)], "foo"],
  ["data in a hole", [write("foo", 20_000, 3000), write("foo", 9000, 500)], "foo"],
  [
    "data in blocks that were allocated ahead",
    [
      one("falloc", "foo", { mode: 0, offset: 3000, length: 20_000 }),
      one("sync", "/"),
      write("foo", 4000, 200),
      write("foo", 19_000, 200),
    ],
    "foo",
  ],
  ["other contents", [write("foo", 100, 200)], "foo"],
  ["a larger size", [one("truncate", "foo", { length: 9000 })], "foo"],
  ["a new file", [one("creat", "new"), write("new", 0, 7000)], "new"],
  ["a second name", [one("link", "foo", { to: "A/foo" })], "foo"],
  ["one name less", [one("unlink", "A/bar")], "bar"],
  ["another name", [one("rename", "foo", { to: "A/foo" })], "A/foo"],
  ["names that are used again", [one("rename", "foo", { to: "baz" }), one("creat", "foo"), write("foo", 0, 10)], "baz"],
  [
    "what an fsync of another file takes along",
    [one("creat", "new"), write("new", 0, 2000), write("bar", 0, 9)],
    "bar",
  ],
];

const UNSAID: readonly (readonly [what: string, calls: readonly AceCall[], fsync: string])[] = [
  ["a shorter file", [one("truncate", "foo", { length: 10 })], "foo"],
  ["a last name", [one("unlink", "foo")], "bar"],
  ["the last name of an open file", [one("hold", "foo"), one("unlink", "foo")], "bar"],
  ["a name over another", [one("rename", "foo", { to: "bar" })], "bar"],
  ["a new directory", [one("mkdir", "B")], "bar"],
  [
    "Linux's bug: a name moved into a new directory",
    [one("mkdir", "A/C"), one("rename", "foo", { to: "A/C/foo" })],
    "bar",
  ],
  ["a directory's new name", [one("rename", "A", { to: "B" })], "foo"],
  ["an attribute", [one("fsetxattr", "foo")], "foo"],
  ["blocks ahead", [one("falloc", "foo", { mode: 1, offset: 0, length: 20_000 })], "foo"],
  ["a directory's fsync", [one("creat", "A/new")], "A"],
];

/** All writes arrived. */
function imageOf(run: WorkloadRun): Uint8Array {
  const bytes = BASE.image.slice();
  for (const { offset, length, data } of run.recorded.writes)
    if (data === undefined) bytes.fill(0, offset, offset + length);
    else bytes.set(data, offset);
  return bytes;
}

function opened(bytes: Uint8Array): { readonly image: BlockImage; readonly sb: Super } {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), 1024, bytes.length);
  if (isRefusal(sb)) throw new Error(sb.reason);
  return { image: new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb };
}

/** What the promises say of an image that somebody has recovered. */
function broken(run: WorkloadRun, { image, sb }: ReturnType<typeof opened>): string | undefined {
  return run.promises.broken({ image } as CrashDisk, sb, run.recorded.markers.length)?.why;
}

/** Recovers an image whose fast commits `change` has had: at, tag by tag; checksums are made right again. */
function recovered(
  run: WorkloadRun,
  change: (image: BlockImage, tag: number, value: number) => void,
): string | undefined {
  const { image, sb } = opened(imageOf(run));
  const map = journalMap(image, sb) as Int32Array;
  let crc = 0;
  const fcFirst = map.findLastIndex((block) => le16(image.view, image.at(block)) === FC_TAG.HEAD);
  for (const block of map.subarray(fcFirst)) {
    const at = image.at(block);
    for (let here = at; here + FC_TL.bytes < at + sb.blockSize && le16(image.view, here) !== 0;) {
      const [tag, length, value] = [le16(image.view, here), le16(image.view, here + 2), here + FC_TL.bytes];
      const covered = tag === FC_TAG.TAIL ? FC_TAIL.fc_crc : length;
      if (tag !== FC_TAG.TAIL) change(image, tag, value);
      crc = crc32c(crc, image.bytes, here, FC_TL.bytes + covered);
      if (tag === FC_TAG.TAIL) {
        setLe32(image.view, value + FC_TAIL.fc_crc, crc);
        crc = 0;
        change(image, tag, value);
      }
      here = value + length;
    }
  }
  const done = recover(image, sb, { policy: "kernel", now: TEST_NOW });
  if (isRefusal(done)) return done.reason;
  return broken(run, { image, sb: done.sb });
}

function dropRange({ view }: BlockImage, tag: number, value: number): void {
  if (tag === FC_TAG.ADD_RANGE) setLe32(view, value + FC_ADD_RANGE.fc_ino, 0);
}

function dropChecksum({ view }: BlockImage, tag: number, value: number): void {
  if (tag === FC_TAG.TAIL) setLe32(view, value + FC_TAIL.fc_crc, 0);
}

describe("an fsync with fast commits", () => {
  it.each(SAID)("is one for %s, and every crash state keeps its promises", (_what, calls, path) => {
    const { run, summary } = judgeWorkload(BASE, [...BEFORE, ...calls, one("fsync", path)], JUDGE);
    expect(run.failed).toEqual([]);
    expect(run.fastCommits).toBe(1);
    expect(summary.firstFailures).toEqual([]);
  });

  it.each(UNSAID)("is a full commit for %s", (_what, calls, path) => {
    const run = runWorkload(BASE, [...BEFORE, ...calls, one("fsync", path)], MOUNT);
    expect(run.failed).toEqual([]);
    expect(run.fastCommits).toBe(0);
  });

  it("is a full commit without the mount option, and with data=journal", () => {
    const calls = [...BEFORE, ...SAID[0]![1], one("fsync", "foo")];
    expect(runWorkload(BASE, calls, { data: "ordered", mount: "" }).fastCommits).toBe(0);
    expect(runWorkload(BASE, calls, { data: "journal", mount: "fast_commit" }).fastCommits).toBe(0);
  });

  it("waits for data of other files whose places it tells", () => {
    const calls = [...BEFORE, write("foo", 3000, 9000), write("bar", 0, 9), one("fsync", "bar")];
    const { run, summary } = judgeWorkload(BASE, calls, { ...JUDGE, mount: "fast_commit,nodelalloc" });
    expect(run.fastCommits).toBe(1);
    expect(summary.firstFailures).toEqual([]);
  });

  it("tells once what the one before it told", () => {
    const calls = [one("creat", "new"), one("fsync", "new"), write("new", 0, 2000), one("fsync", "new")];
    const run = runWorkload(BASE, [...BEFORE, ...calls], MOUNT);
    expect(run.fastCommits).toBe(2);
    const tags: number[] = [];
    expect(recovered(run, (_image, tag) => tags.push(tag))).toBeUndefined();
    expect(tags.filter((tag) => tag === FC_TAG.CREAT).length).toBe(1);
    expect(tags.filter((tag) => tag === FC_TAG.INODE).length).toBe(2);
  });

  it("is a full commit for inodes that lie beside the journal's", () => {
    const base = junkBase(4096, 16 * MIB, 4 * MIB);
    const others = Array.from({ length: 6 }, (_, n) => one("creat", `file${n}`));
    const calls = [one("creat", "foo"), ...others, one("sync", "/")];
    const fastOf = (file: string): number =>
      runWorkload(base, [...calls, write(file, 0, 100), one("fsync", file)], MOUNT).fastCommits;
    expect([fastOf("foo"), fastOf("file5")]).toEqual([0, 1]);
  });

  it("keeps its promises one after another, also in a crash during recovery and by e2fsck's policy", () => {
    const calls = [
      ...BEFORE,
      ...SAID.filter((_, n) => n < 2 || (n > 4 && n < 8)).flatMap(([, some, path]) => [...some, one("fsync", path)]),
    ];
    for (const how of [{}, { policy: "e2fsck", tears: false }, { duringRecovery: true, tears: false }] as const) {
      const { run, summary } = judgeWorkload(BASE, calls, { ...JUDGE, ...how, maxSubset: 4 });
      expect(run.fastCommits).toBe(5);
      expect(summary.firstFailures).toEqual([]);
    }
  });
});

describe("ACE's workloads with fast commits", () => {
  it.each([
    [1, 61],
    [2, 30_011],
  ])("some of seq-%i keep their promises", (length, every) => {
    const space = aceSpace(length);
    let fast = 0;
    for (let index = 0; index < space.count; index += every) {
      const { text, calls } = space.at(index);
      const { run, summary } = judgeWorkload(BASE, warmed(calls), { ...JUDGE, maxSubset: 5 });
      expect(run.failed, text).toEqual([]);
      expect(summary.firstFailures, text).toEqual([]);
      fast += run.fastCommits;
    }
    expect(fast).toBeGreaterThan(0);
  });
});

describe("what is wrong in a fast commit", () => {
  const run = runWorkload(BASE, [...BEFORE, ...SAID[5]![1], one("fsync", "new")], MOUNT);

  it("is seen: nothing is, when nothing is changed", () => {
    expect(recovered(run, () => {})).toBeUndefined();
  });

  it("is seen: a range that is not there", () => {
    expect(recovered(run, dropRange)).toMatch(/^new: /);
  });

  it("is seen: a checksum that is not there", () => {
    expect(recovered(run, dropChecksum)).toBeDefined();
  });
});

describe.skipIf(!ext4Tools)("e2fsck and debugfs (need e2fsprogs)", () => {
  const folder = mkdtempSync(join(tmpdir(), "orrery-fast-"));
  const path = join(folder, "image");
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(SAID)("recover %s, and then all is clean", (_what, calls, name) => {
    const run = runWorkload(BASE, [...BEFORE, ...calls, one("fsync", name)], MOUNT);
    writeFileSync(path, imageOf(run));
    expect(toolOutput("debugfs", "-R", "logdump", path)).toContain("tag TAIL");
    toolOutput("e2fsck", "-fy", path);
    expect(broken(run, opened(readFileSync(path)))).toBeUndefined();
    expect(toolOutput("e2fsck", "-fn", path)).not.toMatch(/\? no/);
  });
});
