import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MANIFEST_NAME, readManifest, writeManifest } from "../../../harness/run/manifest.ts";
import type { Manifest } from "../../../harness/run/manifest.ts";
import { withoutOut } from "../../../harness/run/run.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";

const HASH = createHash("sha256").update("x").digest("hex");

const whole: Manifest = {
  schema: 1,
  id: "fuzz-prng-1",
  command: "fuzz",
  argv: ["fuzz", "prng", "--runs", "3"],
  cwd: "/nowhere",
  started: "2026-11-21T10:00:00.000Z",
  seconds: 1,
  orrery: "0.1.0",
  node: "24.21.0",
  platform: "linux x64",
  revision: null,
  dirty: null,
  lockHash: null,
  seed: 1,
  configHash: HASH,
  eventLogHash: HASH,
  inputs: [],
  outputs: [],
};

describe("manifest", () => {
  it("reads back what was written", () => {
    const file = join(scratch(), MANIFEST_NAME);
    writeManifest(file, whole);
    expect(readManifest(file)).toEqual(whole);
  });

  it("cut after any byte it is refused in one line, never half read", () => {
    const file = join(scratch(), MANIFEST_NAME);
    writeManifest(file, whole);
    const text = readFileSync(file, "utf8").trimEnd();
    for (let cut = 0; cut < text.length; cut += 7) {
      writeFileSync(file, text.slice(0, cut));
      expect(() => readManifest(file)).toThrow(/is no manifest: it is not whole JSON/);
    }
  });

  it.each([
    ["seed", -1],
    ["seed", "1"],
    ["eventLogHash", "abc"],
    ["started", "yesterday"],
    ["argv", "fuzz prng"],
    ["schema", 2],
    ["surprise", true],
  ])("a wrong %s (%j) is refused and named", (field, value) => {
    const file = join(scratch(), MANIFEST_NAME);
    writeFileSync(file, JSON.stringify({ ...whole, [field]: value }));
    expect(() => readManifest(file)).toThrow(field);
  });
});

it("withoutOut() drops where the files go and nothing else", () => {
  expect(withoutOut(["fuzz", "--out", "x", "prng", "--out=y", "--output"])).toEqual(["fuzz", "prng", "--output"]);
});

describe("a run on disk", () => {
  it("keeps manifest and result below orrery-runs, told by ID, directory or manifest", async () => {
    const cwd = scratch();
    expect(await orrery(["fuzz", "prng", "--runs", "3"], { cwd })).toMatchObject({ code: 0, stderr: "" });
    const slip = await orrery(["replay", "fuzz-prng"], { cwd });
    const id = /did you mean (\S+)\?/.exec(
      (await orrery(["replay", "fuzz-prng-20261121-101010"], { cwd })).stderr,
    )![1]!;
    expect(slip.code).toBe(2);
    const dir = join(cwd, "orrery-runs", id);
    expect(readManifest(join(dir, MANIFEST_NAME))).toMatchObject({
      id,
      seed: 1,
      argv: ["fuzz", "prng", "--runs", "3"],
    });
    expect(JSON.parse(readFileSync(join(dir, "result.json"), "utf8"))).toMatchObject({ schema: 1, runs: 3 });
    for (const name of [id, dir, join(dir, MANIFEST_NAME)])
      expect((await orrery(["replay", name], { cwd })).stderr).toContain("recorded no event-log hash");
  });

  it("--out refuses to write over a finished run", async () => {
    const cwd = scratch();
    const words = ["fuzz", "prng", "--runs", "1", "--out", "here"];
    expect((await orrery(words, { cwd })).code).toBe(0);
    const again = await orrery(words, { cwd });
    expect(again.stderr).toContain("--out here holds a run already");
    expect(again.code).toBe(2);
  });

  it("replay ends with 1 when the hash is another, and with 2 when an input has changed or gone", async () => {
    const cwd = scratch();
    const dir = join(cwd, "run");
    mkdirSync(dir);
    writeManifest(join(dir, MANIFEST_NAME), whole);
    const ended = await orrery(["replay", "run", "--format", "json"], { cwd });
    expect(ended).toMatchObject({ code: 1, stderr: "" });
    expect(JSON.parse(ended.stdout)).toMatchObject({ schema: 1, recorded: HASH, replayed: null, same: false });

    writeManifest(join(dir, MANIFEST_NAME), { ...whole, inputs: [{ path: "in.txt", bytes: 1, sha256: HASH }] });
    const gone = await orrery(["replay", "run"], { cwd });
    expect(gone).toMatchObject({ code: 2 });
    expect(linesOf(gone.stderr)).toEqual([expect.stringMatching(/input .*in\.txt is not there any more/)]);
    writeFileSync(join(cwd, "in.txt"), "y");
    expect((await orrery(["replay", "run"], { cwd })).stderr).toContain("has changed since");

    writeManifest(join(dir, MANIFEST_NAME), { ...whole, argv: ["fuzz", "no_such_target"] });
    const failed = await orrery(["replay", "run"], { cwd });
    expect(failed.stderr).toContain(
      'the recorded command failed (exit code 2): orrery: no fuzz target is named "no_such_target"',
    );
    expect(failed.code).toBe(2);
  });
});
