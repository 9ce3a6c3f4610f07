import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findTool } from "../../../harness/qemu/packages.ts";
import { ext4Layout, inodeAt, resolve } from "../../../kernel/index.ts";
import { CRASHED, lookInto, openBytes, plainImage, recovered } from "../ext4/crashed.ts";
import type { Crashed } from "../ext4/crashed.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";
import { ext4Tools } from "../qemu/tools.ts";
import { thorough } from "../../tier.ts";

const named = (name: string): Crashed => CRASHED.find((each) => each.name === name)!;
const ORDERED = named("given-ordered-1");

/** What e2fsck, which only reads, says; 0 is clean. */
const fsck = (image: string): number | null =>
  spawnSync(findTool("e2fsck")!, ["-fn", image], { stdio: "ignore" }).status;

/** Those that the command itself recovers; it is the library's recovery that all of them get. */
const COMMANDED = ["given-bigalloc-1", "given-htree-1", "given-ordered-1"];

const sameAs =
  (wanted: Uint8Array) =>
  (bytes: Uint8Array): boolean =>
    Buffer.compare(bytes, wanted) === 0;

describe("orrery ext4 recover", () => {
  it.each(thorough ? CRASHED : COMMANDED.map(named))(
    "$name: the tree that Linux recovers, and clean, by both policies",
    async (crashed) => {
      const plain = plainImage(crashed);
      const kernel = recovered(plain, "kernel", 1_700_000_000);
      const { tree, report } = lookInto(kernel);
      expect(tree).toEqual(crashed.expected);
      expect(report).toMatchObject({ clean: true, damage: [] });
      expect(recovered(plain, "e2fsck", 1_700_000_000)).toSatisfy(sameAs(kernel), "other bytes by policy e2fsck");
      const cwd = scratch();
      const image = join(cwd, "r.img");
      writeFileSync(image, kernel);
      if (ext4Tools) expect(fsck(image)).toBe(0);
      if (!COMMANDED.includes(crashed.name)) return;
      const words = ["ext4", "recover", crashed.image, "--out", "c.img", "--now", "1700000000"];
      expect(await orrery(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
      expect(readFileSync(join(cwd, "c.img"))).toSatisfy(sameAs(kernel), "other bytes by the command");
    },
  );

  it.each(["e2fsck", "kernel"])("manifest and check of what --policy %s left", async (policy) => {
    const cwd = scratch();
    const words = ["ext4", "recover", ORDERED.image, "--policy", policy, "--out", "r.img"];
    expect(await orrery(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
    const tree = await orrery(["ext4", "manifest", "r.img"], { cwd });
    expect([tree.code, linesOf(tree.stdout)]).toEqual([0, ORDERED.expected]);
    const checked = await orrery(["ext4", "check", "r.img", "--format", "json"], { cwd });
    expect([checked.code, JSON.parse(checked.stdout)]).toEqual([0, expect.objectContaining({ clean: true })]);
  });
});

it("there are thirteen of them, and none is clean before", async () => {
  expect(CRASHED.length).toBe(13);
  const { code, stdout } = await orrery(["ext4", "check", ORDERED.image]);
  expect(code).toBe(3);
  expect(stdout).toContain("the journal has not been replayed");
});

it("recovery in place gives the bytes that --out gives, and a second one changes nothing", async () => {
  const cwd = scratch();
  writeFileSync(join(cwd, "in.img"), plainImage(ORDERED));
  const words = ["ext4", "recover", "in.img", "--format", "json"];
  const first = await orrery([...words, "--out", "out.img"], { cwd });
  expect(JSON.parse(first.stdout)).toMatchObject({ schema: 1, out: "out.img", policy: "e2fsck", damage: [] });
  expect(JSON.parse((await orrery(words, { cwd })).stdout)).toMatchObject({ out: null, damage: [] });
  const once = readFileSync(join(cwd, "in.img"));
  expect(once.equals(readFileSync(join(cwd, "out.img")))).toBe(true);
  expect(JSON.parse((await orrery(words, { cwd })).stdout)).toMatchObject({
    transactions: 0,
    blocks: 0,
    changedBlocks: 0,
  });
  expect(readFileSync(join(cwd, "in.img")).equals(once)).toBe(true);
});

it.skipIf(!ext4Tools)("e2fsck's own replay gives the same tree (needs e2fsprogs)", async () => {
  const cwd = scratch();
  const image = join(cwd, "x.img");
  writeFileSync(image, plainImage(ORDERED));
  spawnSync(findTool("e2fsck")!, ["-fy", image], { stdio: "ignore" });
  expect(linesOf((await orrery(["ext4", "manifest", image])).stdout)).toEqual(ORDERED.expected);
});

describe("what is in an image", () => {
  const files = ORDERED.expected.filter((line) => line.startsWith("f ")).map((line) => line.split(" "));
  const [, mode, size, , path] = files.find(([, , bytes]) => Number(bytes) > 100_000)!;

  it("get, cat, stat and ls agree with the manifest", async () => {
    const cwd = scratch();
    await orrery(["ext4", "recover", ORDERED.image, "--out", "r.img"], { cwd });
    const got = await orrery(["ext4", "get", "r.img", path!, "file"], { cwd });
    expect([got.code, got.stderr]).toEqual([0, ""]);
    const bytes = readFileSync(join(cwd, "file"));
    expect(bytes.length).toBe(Number(size));
    expect((await orrery(["ext4", "cat", "r.img", path!], { cwd })).stdout.length).toBeGreaterThan(0);
    const stat = JSON.parse((await orrery(["ext4", "stat", "r.img", path!, "--format", "json"], { cwd })).stdout);
    expect(stat).toMatchObject({ schema: 1, size: Number(size) });
    const [folder, name] = path!.split("/");
    const listed = JSON.parse((await orrery(["ext4", "ls", "r.img", folder!, "--format", "json"], { cwd })).stdout);
    expect(listed.entries).toContainEqual(expect.objectContaining({ name, mode, size: Number(size), type: "f" }));
    writeFileSync(join(cwd, "file"), "mine");
    const again = await orrery(["ext4", "get", "r.img", path!, "file"], { cwd });
    expect([again.code, linesOf(again.stderr).length]).toEqual([2, 1]);
    expect(readFileSync(join(cwd, "file"), "utf8")).toBe("mine");
  });

  it("log tells the transactions that recovery replays", async () => {
    const log = JSON.parse((await orrery(["ext4", "log", ORDERED.image, "--format", "json"])).stdout);
    const commits = (log.blocks as { kind: string }[]).filter(({ kind }) => kind === "commit").length;
    const cwd = scratch();
    const words = ["ext4", "recover", ORDERED.image, "--out", "r.img", "--format", "json"];
    expect(JSON.parse((await orrery(words, { cwd })).stdout)).toMatchObject({ transactions: commits });
    expect(commits).toBeGreaterThan(0);
  });

  it("info tells the features by name", async () => {
    const { stdout } = await orrery(["ext4", "info", named("given-bigalloc-1").image]);
    expect(stdout).toMatch(/bigalloc/);
    expect(stdout).toMatch(/needs_recovery/);
  });
});

it.each([
  [["recover", "none.img"], 2, /^orrery: cannot read none\.img: no such file$/],
  [["recover", "."], 2, /it is a directory/],
  [["recover", ORDERED.image], 2, /is packed and cannot be recovered in place: name the result with --out$/],
  [["recover", ORDERED.image, "--policy", "e2fsk"], 2, /Did you mean e2fsck\?/],
  [["recover", ORDERED.image, "--now", "-1", "--out", "x"], 2, /'--now <seconds>' argument '-1' is invalid/],
  [["recover"], 2, /missing required argument 'image'/],
  [["check", "zeroes"], 2, /^orrery: cannot use zeroes: no ext4 superblock: its magic is 0x0, 0xef53 was expected$/],
  [["check", "short"], 2, /^orrery: short holds no ext4: it has only 100 bytes$/],
  [["check", "broken.zst"], 2, /^orrery: cannot unpack broken\.zst: /],
  [["chekc", "zeroes"], 2, /Did you mean check\?/],
  [["ls", ORDERED.image, "/none"], 2, /^orrery: \/none in .*: no such file or directory$/],
  [["cat", ORDERED.image, "/"], 2, /is no regular file; orrery ext4 stat says what it is$/],
  [["manifest", "zeroes"], 2, /^orrery: cannot use zeroes: no ext4 superblock/],
])("ext4 %s ends with %i and one line", async (words, code, message) => {
  const cwd = scratch();
  writeFileSync(join(cwd, "zeroes"), new Uint8Array(8192));
  writeFileSync(join(cwd, "short"), new Uint8Array(100));
  writeFileSync(join(cwd, "broken.zst"), readFileSync(ORDERED.image).subarray(0, 5000));
  const ended = await orrery(["ext4", ...words], { cwd });
  expect([ended.code, ended.stdout, linesOf(ended.stderr).length]).toEqual([code, "", 1]);
  expect(ended.stderr.trim()).toMatch(message);
});

/** The first byte of a data block of the log's first transaction is changed: its checksum is wrong now. */
async function damagedJournal(cwd: string): Promise<void> {
  const image = plainImage(ORDERED);
  writeFileSync(join(cwd, "d.img"), image);
  const log = JSON.parse((await orrery(["ext4", "log", "d.img", "--format", "json"], { cwd })).stdout);
  const block = (log.blocks as { kind: string; block: number }[]).find(({ kind }) => kind === "data")!.block;
  const inode = JSON.parse((await orrery(["ext4", "info", "d.img", "--format", "json"], { cwd })).stdout);
  const start = execFileSync(findTool("debugfs")!, ["-R", `bmap <8> ${block}`, join(cwd, "d.img")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const at = Number(start.trim()) * Number(inode.blockSize);
  image[at] = image[at]! ^ 0xff;
  writeFileSync(join(cwd, "d.img"), image);
}

describe("damage", () => {
  it.skipIf(!ext4Tools)("in the journal: the kernel refuses, e2fsck replays the rest; both end with 3", async () => {
    const cwd = scratch();
    await damagedJournal(cwd);
    const before = readFileSync(join(cwd, "d.img"));
    const kernel = await orrery(["ext4", "recover", "d.img", "--policy", "kernel"], { cwd });
    expect([kernel.code, kernel.stdout, linesOf(kernel.stderr).length]).toEqual([3, "", 1]);
    expect(kernel.stderr).toMatch(/d\.img is refused: .*; --policy e2fsck replays what is good/);
    expect(readFileSync(join(cwd, "d.img")).equals(before)).toBe(true);
    const e2fsck = await orrery(["ext4", "recover", "d.img", "--format", "json"], { cwd });
    expect([e2fsck.code, linesOf(e2fsck.stderr).length]).toEqual([3, 1]);
    expect(JSON.parse(e2fsck.stdout).damage[0]).toMatch(/checksum/);
  });

  it("in an inode: check ends with 3 and names it", async () => {
    const cwd = scratch();
    const bytes = recovered(plainImage(ORDERED), "e2fsck", 1_700_000_000);
    const { image, sb } = openBytes(bytes);
    const ino = resolve(image, sb, Buffer.from(ORDERED.expected.at(-1)!.split(" ").at(-1)!), false);
    bytes[inodeAt(image, sb, ino) + ext4Layout.INODE.i_mtime]! ^= 1;
    writeFileSync(join(cwd, "d.img"), bytes);
    const { code, stdout } = await orrery(["ext4", "check", "d.img", "--format", "json"], { cwd });
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ clean: false, counts: { checksum: 1 } });
    expect(JSON.parse(stdout).damage[0].text).toContain(`inode ${ino}`);
  });
});
