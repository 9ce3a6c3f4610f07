import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cutAll } from "../../../../harness/ext4/script/cuts.ts";
import { generate } from "../../../../harness/ext4/script/generate.ts";
import { ModelTree } from "../../../../harness/ext4/script/model.ts";
import { parseScript } from "../../../../harness/ext4/script/parse.ts";
import { PromiseBook } from "../../../../harness/ext4/script/promises.ts";
import { DATA_MODES } from "../../../../harness/ext4/script/workload.ts";
import { findTool } from "../../../../harness/qemu/packages.ts";
import { scratch } from "../../orrery.ts";
import { ext4Tools } from "../../qemu/tools.ts";

const SAMPLE_ONE_IN = 40;

it.each(DATA_MODES)("every prefix of what a script wrote keeps its promises (%s); e2fsck agrees on some", (mode) => {
  const file = join(scratch(), "i");
  let sampled = 0;
  const result = cutAll({
    features: "plain",
    mode,
    ops: generate(5, { ops: 50, fileBytesMax: 30_000, burstMax: 15, syncOneIn: 5 }),
    policies: ["kernel", "e2fsck"],
    sample(image, cut) {
      if (!ext4Tools || cut % SAMPLE_ONE_IN !== 0) return;
      const bytes = new Uint8Array(image.count * image.blockSize);
      for (let block = 0; block < image.count; block++) {
        const at = image.at(block);
        bytes.set(image.bytes.subarray(at, at + image.blockSize), block * image.blockSize);
      }
      writeFileSync(file, bytes);
      expect(spawnSync(findTool("e2fsck")!, ["-fn", file]).status).toBe(0);
      sampled++;
    },
  });
  expect(result.wrong).toBe(undefined);
  expect(result.states).toBeGreaterThan(60);
  if (ext4Tools) expect(sampled).toBeGreaterThan(1);
});

it("a disk that forgets one write in nine is found", () => {
  const ops = generate(5, { ops: 50, fileBytesMax: 30_000, syncOneIn: 5 });
  expect(cutAll({ features: "plain", mode: "data=ordered", ops, policies: ["e2fsck"], forgetOneIn: 9 }).wrong).toMatch(
    /was promised|nobody made|checker|recovery/,
  );
});

/** What a tree lacks or has too much of, after a script of which all but the last operation are done. */
function brokenAfter(script: string, tree: readonly string[]): string | undefined {
  const model = new ModelTree();
  const book = new PromiseBook(model);
  const ops = parseScript(script, "s");
  for (const [n, op] of ops.entries()) {
    const result = model.apply(op);
    book.begin(op);
    if (n < ops.length - 1) book.end(op, result);
  }
  return book.broken(new Map(tree.map((line) => [line.split(" ").at(-1)!, line])));
}

const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

it("promises: sync of all, fsync of one, none for what is under way or was moved", () => {
  const f = `f 644 0 ${EMPTY} f`;
  expect(brokenAfter("creat /f\nsync\nmkdir /d", [f])).toBe(undefined);
  expect(brokenAfter("creat /f\nsync\nmkdir /d", [f, "d 755 - - d"])).toBe(undefined);
  expect(brokenAfter("creat /f\nsync\nmkdir /d", [])).toMatch(/was promised, there is "nothing"/);
  expect(brokenAfter("creat /f\nsync\nmkdir /d", [f, "d 755 - - e"])).toMatch(/nobody made it/);
  expect(brokenAfter("creat /f\nsync", [])).toBe(undefined);
  expect(brokenAfter("creat /f\ncreat /g\nfsync /f\nsync", [f])).toBe(undefined);
  expect(brokenAfter("creat /f\ncreat /g\nfsync /g\nsync", [f])).toMatch(/ g" was promised/);
  expect(brokenAfter("creat /f\nsync\nunlink /f", [])).toBe(undefined);
  expect(brokenAfter("creat /f\nsync\nunlink /f\nsync\nmkdir /d", [f])).toMatch(/nobody made it/);
  expect(brokenAfter("creat /a\nrename /a /f\nfsync /f\nmkdir /d", [`f 644 0 ${EMPTY} a`])).toBe(undefined);
  expect(brokenAfter("creat /f\nappend /f x\nfsync /f\nappend /f y", [`f 644 9 ${"0".repeat(64)} f`])).toBe(undefined);
  expect(brokenAfter("creat /f\nappend /f x\nfsync /f\nmkdir /d", [f])).toMatch(/was promised/);
});
