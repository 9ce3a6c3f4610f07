import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { orrery, scratch } from "../orrery.ts";

const MAKE = ["ext4", "mkfs", "a.img", "--size", "8M", "--now", "1700000000"];

it("orrery ext4 mkfs makes a file system that orrery ext4 check finds clean, the same bytes each time", async () => {
  const cwd = scratch();
  const words = ["--features", "orphan_file,^resize_inode", "--label", "disk", "--block-size", "2048"];
  const made = await orrery([...MAKE, ...words, "--seed", "7", "--format", "json"], { cwd });
  expect([made.code, made.stderr]).toEqual([0, ""]);
  expect(JSON.parse(made.stdout)).toMatchObject({ schema: 1, image: "a.img", blockSize: 2048, blocks: 4096 });
  const checked = await orrery(["ext4", "check", "a.img", "--format", "json"], { cwd });
  expect(JSON.parse(checked.stdout)).toMatchObject({ clean: true, directories: 2 });
  const info = await orrery(["ext4", "info", "a.img", "--format", "json"], { cwd });
  expect(JSON.parse(info.stdout)).toMatchObject({ label: "disk", uuid: JSON.parse(made.stdout).uuid });
  const first = readFileSync(join(cwd, "a.img"));
  const again = await orrery([...MAKE, ...words, "--seed", "7", "--force"], { cwd });
  expect([again.code, first.equals(readFileSync(join(cwd, "a.img")))]).toEqual([0, true]);
  expect(statSync(join(cwd, "a.img")).size).toBe(8 * 2 ** 20);
  const other = await orrery([...MAKE, ...words, "--seed", "8", "--force"], { cwd });
  expect([other.code, first.equals(readFileSync(join(cwd, "a.img")))]).toEqual([0, false]);
});

it.each([
  [["--features", "extnt"], /no feature extnt \(did you mean extent\?\)/],
  [["--features", "mmp"], /mmp cannot be made; these can: has_journal/],
  [["--features", "uninit_bg"], /metadata_csum and uninit_bg exclude each other/],
  [["--features", "bigalloc,^64bit,^extent"], /bigalloc needs extent/],
  [["--uuid", "x"], /--uuid x is no UUID/],
  [["--label", "seventeen letters"], /has 17 bytes/],
  [["--inodes", "9", "--inode-ratio", "4096"], /cannot be used with/],
  [["--block-size", "1000"], /--block-size/],
])("orrery ext4 mkfs %s ends with one line and 2, and leaves no file", async (words, line) => {
  const cwd = scratch();
  const { code, stdout, stderr } = await orrery([...MAKE, ...words], { cwd });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(line);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(() => statSync(join(cwd, "a.img"))).toThrow();
});

it("orrery ext4 mkfs overwrites nothing without --force", async () => {
  const cwd = scratch();
  await orrery(MAKE, { cwd });
  const before = readFileSync(join(cwd, "a.img"));
  expect(await orrery([...MAKE, "--seed", "5"], { cwd })).toMatchObject({ code: 2 });
  expect(before.equals(readFileSync(join(cwd, "a.img")))).toBe(true);
});
