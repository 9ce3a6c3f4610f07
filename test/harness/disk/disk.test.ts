import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openFileDisk } from "../../../harness/disk/file.ts";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { BlockDevice } from "../../../kernel/abi/block.ts";
import { EINVAL } from "../../../kernel/abi/errno.ts";
import { blockRequest, checkAgainstModel } from "./model.ts";

const folder = mkdtempSync(join(tmpdir(), "orrery-disk-"));
afterAll(() => rmSync(folder, { recursive: true }));
const BYTES = 1 << 20;
const image = join(folder, "disk.img");

const DISKS: Readonly<Record<string, () => BlockDevice>> = {
  sparse: () => new SparseDisk(BYTES),
  file: () => {
    rmSync(image, { force: true });
    return openFileDisk(image, { bytes: BYTES });
  },
};

describe.each(Object.keys(DISKS))("%s", (name) => {
  it("does what a flat array does", async () => {
    const disk = DISKS[name]!();
    const model = await checkAgainstModel(disk, 11, 60);
    if (name === "file") expect(readFileSync(image).equals(model)).toBe(true);
  });

  it.each([
    ["before the start", blockRequest(BlockOp.Read, -1, 1, new Uint8Array(512))],
    ["beyond the end", blockRequest(BlockOp.Write, BYTES / 512 - 1, 2, new Uint8Array(1024))],
    ["no length", blockRequest(BlockOp.Discard, 0, 0)],
    ["a buffer of another length", blockRequest(BlockOp.Read, 0, 2, new Uint8Array(512))],
    ["no buffer", blockRequest(BlockOp.Write, 0, 1)],
  ])("refuses %s", (_what, request) => {
    const disk = DISKS[name]!();
    expect(disk.submit([request])).toBe(1);
    expect(disk.poll()).toEqual([request]);
    expect(request.result).toBe(EINVAL);
    expect(disk.poll()).toEqual([]);
  });
});

const read = (from: SparseDisk, at: number): number => {
  const one = new Uint8Array(1);
  from.readAt(at, one);
  return one[0]!;
};

it("a snapshot and its disk do not see each other's writes", () => {
  const disk = new SparseDisk(BYTES);
  disk.writeAt(70_000, new Uint8Array([1]));
  const before = disk.snapshot();
  disk.writeAt(70_000, new Uint8Array([2]));
  before.writeAt(70_001, new Uint8Array([3]));
  const third = before.snapshot();
  third.zeroAt(0, BYTES);
  expect([read(disk, 70_000), read(disk, 70_001)]).toEqual([2, 0]);
  expect([read(before, 70_000), read(before, 70_001)]).toEqual([1, 3]);
  expect(read(third, 70_001)).toBe(0);
});

it("an image file is stored and loaded with its holes", () => {
  const path = join(folder, "sparse.img");
  const disk = new SparseDisk(64 << 20);
  disk.writeAt(33_333_333, new Uint8Array([1, 2, 3]));
  disk.store(path);
  expect(statSync(path).size).toBe(64 << 20);
  expect(statSync(path).blocks * 512).toBeLessThan(1 << 20);
  const back = new Uint8Array(3);
  SparseDisk.load(path).readAt(33_333_333, back);
  expect([...back]).toEqual([1, 2, 3]);
});

it("a file disk says what is wrong with the file", () => {
  const odd = join(folder, "odd.img");
  writeFileSync(odd, "");
  truncateSync(odd, 1000);
  expect(() => openFileDisk(odd)).toThrow("its size is 1000");
  expect(() => openFileDisk(join(folder, "none.img"))).toThrow("no such file");
  expect(() => openFileDisk(folder)).toThrow(/cannot open disk.*EISDIR/);
});
