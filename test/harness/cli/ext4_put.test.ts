import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findTool } from "../../../harness/qemu/packages.ts";
import { CRASHED, plainImage } from "../ext4/crashed.ts";
import { orrery, scratch } from "../orrery.ts";
import { ext4Tools } from "../qemu/tools.ts";

const content = Buffer.from(Array.from({ length: 70_001 }, (_, at) => at % 251));

function image(cwd: string): void {
  execFileSync(findTool("mke2fs")!, ["-q", "-F", "-t", "ext4", join(cwd, "disk.img"), "12M"], { stdio: "ignore" });
  writeFileSync(join(cwd, "here"), content);
}

const fsck = (path: string): number | null => spawnSync(findTool("e2fsck")!, ["-fn", path], { stdio: "ignore" }).status;

describe.skipIf(!ext4Tools)("orrery ext4 put (without e2fsprogs: skipped)", () => {
  it.each(["", "data=journal", "data=writeback,nodelalloc"])(
    "--mount '%s': e2fsck and debugfs find it",
    async (mount) => {
      const cwd = scratch();
      image(cwd);
      const words = [
        "ext4",
        "put",
        "disk.img",
        "here",
        "/there",
        "--mount",
        mount,
        "--mode",
        "640",
        "--format",
        "json",
      ];
      const { code, stdout, stderr } = await orrery(words, { cwd });
      expect([code, stderr]).toEqual([0, ""]);
      expect(JSON.parse(stdout)).toMatchObject({ schema: 1, to: "/there", bytes: content.length });
      expect(fsck(join(cwd, "disk.img"))).toBe(0);
      execFileSync(findTool("debugfs")!, ["-R", `dump -p /there ${join(cwd, "back")}`, join(cwd, "disk.img")], {
        stdio: "ignore",
      });
      expect(readFileSync(join(cwd, "back")).equals(content)).toBe(true);
    },
  );

  it("the same words at the same time make the same bytes", async () => {
    const images = await Promise.all(
      [1, 2].map(async () => {
        const cwd = scratch();
        writeFileSync(join(cwd, "disk.img"), plainImage(CRASHED.find(({ name }) => name === "given-ordered-1")!));
        writeFileSync(join(cwd, "here"), content);
        const words = ["ext4", "put", "disk.img", "here", "there", "--mode", "644", "--now", "1795824000"];
        // A file system that crashed is recovered first.
        expect(await orrery(words, { cwd })).toMatchObject({ code: 0, stderr: "" });
        expect(fsck(join(cwd, "disk.img"))).toBe(0);
        return readFileSync(join(cwd, "disk.img"));
      }),
    );
    expect(images[0]!.equals(images[1]!)).toBe(true);
  });

  it("a file that is there is kept without --force, and one line says what to do", async () => {
    const cwd = scratch();
    image(cwd);
    expect(await orrery(["ext4", "put", "disk.img", "here", "/a"], { cwd })).toMatchObject({ code: 0 });
    const before = readFileSync(join(cwd, "disk.img"));
    const again = await orrery(["ext4", "put", "disk.img", "here", "/a"], { cwd });
    expect([again.code, again.stderr]).toEqual([
      2,
      "orrery: cannot write /a: it exists; choose another name, or add --force\n",
    ]);
    const cat = await orrery(["ext4", "stat", "disk.img", "/a", "--format", "json"], { cwd });
    expect(JSON.parse(cat.stdout)).toMatchObject({ size: content.length });
    expect(before.length).toBe(12 * 2 ** 20);
    expect(await orrery(["ext4", "put", "disk.img", "here", "/a", "--force"], { cwd })).toMatchObject({ code: 0 });
    const bad = await orrery(["ext4", "put", "disk.img", "here", "/b", "--mount", "data=none"], { cwd });
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining('mount option "data=none" is not known')]);
  });

  it("a file that does not fit leaves nothing", async () => {
    const cwd = scratch();
    image(cwd);
    writeFileSync(join(cwd, "large"), Buffer.alloc(14 * 2 ** 20, 1));
    const { code, stderr } = await orrery(["ext4", "put", "disk.img", "large", "/a"], { cwd });
    expect([code, stderr]).toEqual([2, "orrery: cannot write /a: the file system is full\n"]);
    expect((await orrery(["ext4", "cat", "disk.img", "/a"], { cwd })).code).toBe(2);
    expect(fsck(join(cwd, "disk.img"))).toBe(0);
  });
});
