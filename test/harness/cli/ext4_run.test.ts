import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { findTool } from "../../../harness/qemu/packages.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";
import { ext4Tools } from "../qemu/tools.ts";

const SCRIPT = `mkdir /a
open h /a/f rw,creat 600
write @h "hello, "
write @h 7:10000
-unlink /a/none       # is not there
read @h 0 7 "hello, "
fsync @h
symlink f /a/l
`;

async function image(script = SCRIPT): Promise<string> {
  const cwd = scratch();
  writeFileSync(join(cwd, "s"), script);
  await orrery(["ext4", "mkfs", "i", "--size", "8M", "--now", "1"], { cwd });
  return cwd;
}

it("ext4 run: each operation's result, the tree in the image, e2fsck clean", async () => {
  const cwd = await image();
  const { code, stdout, stderr } = await orrery(["ext4", "run", "i", "s", "--now", "2", "--format", "json"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  const { operations, failed } = JSON.parse(stdout);
  expect(failed).toBe(0);
  expect(operations.map(({ result }: { result: unknown }) => result)).toEqual([0, 0, 7, 10_000, "ENOENT", 7, 0, 0]);
  const tree = await orrery(["ext4", "manifest", "i"], { cwd });
  expect(linesOf(tree.stdout).map((line) => line.replace(/[0-9a-f]{64}/, "HASH"))).toEqual([
    "d 755 - - a",
    "f 600 10007 HASH a/f",
    "l 777 - f a/l",
    "d 700 - - lost+found",
  ]);
  if (ext4Tools) expect(spawnSync(findTool("e2fsck")!, ["-fn", join(cwd, "i")]).status).toBe(0);
});

it("the same image, script and time give the same bytes; --out leaves the image as it is", async () => {
  const cwd = await image();
  const before = readFileSync(join(cwd, "i"));
  for (const out of ["x", "y"])
    expect((await orrery(["ext4", "run", "i", "s", "--out", out, "--now", "9"], { cwd })).code).toBe(0);
  expect(readFileSync(join(cwd, "i")).equals(before)).toBe(true);
  expect(readFileSync(join(cwd, "x")).equals(readFileSync(join(cwd, "y")))).toBe(true);
});

it("--cut leaves a journal to be replayed, and what was synced is in it", async () => {
  const cwd = await image("creat /f\nappend /f synced\nfsync /f\ncreat /later\n");
  expect((await orrery(["ext4", "run", "i", "s", "--cut"], { cwd })).code).toBe(0);
  expect((await orrery(["ext4", "check", "i"], { cwd })).code).toBe(3);
  expect((await orrery(["ext4", "recover", "i"], { cwd })).code).toBe(0);
  expect((await orrery(["ext4", "cat", "i", "/f"], { cwd })).stdout).toBe("synced");
});

it("an operation that fails, and is not marked, is exit code 1; the rest is done", async () => {
  const cwd = await image("unlink /none\nmkdir /a\nread /a 0 1\n");
  const { code, stdout } = await orrery(["ext4", "run", "i", "s", "--format", "json"], { cwd });
  expect([code, JSON.parse(stdout).failed]).toEqual([1, 2]);
  expect((await orrery(["ext4", "manifest", "i"], { cwd })).stdout).toContain("d 755 - - a\n");
});

it.each([
  [["i", "none"], /^orrery: cannot read none: no such file$/],
  [["none", "s"], /^orrery: cannot read none: no such file$/],
  [["i", "bad"], /^orrery: bad:1: "crate" is no operation; did you mean creat\?$/],
  [["i", "s", "--mount", "data=jurnal"], /^orrery: mount option "data=jurnal" is not known/],
  [["i", "s", "--out", "s"], /^orrery: s is there: choose another name$/],
])("ext4 run %s ends with 2 and one line", async (words, message) => {
  const cwd = await image();
  writeFileSync(join(cwd, "bad"), "crate /f\n");
  const { code, stdout, stderr } = await orrery(["ext4", "run", ...words], { cwd });
  expect([code, stdout, linesOf(stderr).length]).toEqual([2, "", 1]);
  expect(stderr.trim()).toMatch(message);
});
