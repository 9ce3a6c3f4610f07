/** Random scripts on ext4: judged by the model, our checker, e2fsck, debugfs, dumpe2fs, and a real Linux. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseScript } from "../../../../harness/ext4/script/parse.ts";
import { DATA_MODES, FEATURE_SETS, Workload, scriptFor } from "../../../../harness/ext4/script/workload.ts";
import type { DataMode, FeatureSet } from "../../../../harness/ext4/script/workload.ts";
import { findTool } from "../../../../harness/qemu/packages.ts";
import { scratch } from "../../orrery.ts";
import { ext4Tools, guest } from "../../qemu/tools.ts";
import { BOOT_MS, GuestReader } from "../guest_tree.ts";

const SETS = Object.keys(FEATURE_SETS) as FeatureSet[];
/** Scripts for e2fsck and its kin: ORRERY_WORKLOADS=210 for as many. */
const SCRIPTS = Math.max(SETS.length, Number(process.env["ORRERY_WORKLOADS"] ?? 0));
/** Every set of features, every mode several times. */
const RUNS = Array.from({ length: SCRIPTS }, (_, n): [FeatureSet, DataMode, number] => [
  SETS[n % SETS.length]!,
  DATA_MODES[(n + Math.floor(n / SETS.length)) % DATA_MODES.length]!,
  9000 + n,
]);
const PAIRS = RUNS.slice(0, SETS.length);

/** The disk after a random script, compared with the model. */
function worked(features: FeatureSet, mode: DataMode, seed: number): Workload {
  const workload = new Workload({ features, mode });
  const ops = scriptFor(features, seed, { ops: 120, fileBytesMax: 120_000, burstMax: seed % 2 === 0 ? 150 : 40 });
  for (const op of ops) expect(workload.apply(op)).toBe(undefined);
  expect(workload.compare()).toBe(undefined);
  expect(workload.finishUp()).toBe(undefined);
  return workload;
}

/** What debugfs gets out of some files, compared with the model. */
function dumped(workload: Workload, image: string, folder: string): void {
  const files = workload.model
    .lines()
    .filter((line) => line.startsWith("f ") && !/[" ]/.test(line.split(" ").slice(4).join(" ")))
    .filter((_, n) => n % 7 === 0)
    .slice(0, 6);
  for (const [n, line] of files.entries()) {
    const [, , size, hash, path] = line.split(" ");
    const shown = Buffer.from(path!, "latin1").toString();
    execFileSync(findTool("debugfs")!, ["-R", `dump "/${shown}" ${folder}/${n}`, image], { stdio: "ignore" });
    expect(
      createHash("sha256")
        // Of a file within its inode debugfs dumps all 60 bytes, whatever its size: of mke2fs's own, too.
        .update(readFileSync(join(folder, String(n))).subarray(0, Number(size)))
        .digest("hex"),
    ).toBe(hash);
  }
}

it.each(RUNS)("%s, %s, seed %i: model, checker, e2fsck, dumpe2fs and debugfs agree", (features, mode, seed) => {
  const workload = worked(features, mode, seed);
  if (!ext4Tools) return;
  const folder = scratch();
  const image = join(folder, "i");
  writeFileSync(image, workload.disk.bytes);
  const { status, stdout } = spawnSync(findTool("e2fsck")!, ["-fn", image], { encoding: "utf8" });
  // A tree of extents that could be shorter is no fault.
  const asked = stdout.split("\n").filter((line) => line.endsWith(" no") && !line.endsWith("Optimize? no"));
  expect(status === 0 && asked.length === 0 ? "" : stdout).toBe("");
  expect(
    execFileSync(findTool("dumpe2fs")!, [image], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  ).toMatch(/Filesystem state: +clean/);
  dumped(workload, image, folder);
});

describe.skipIf(!guest)("a real Linux (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  const reader = new GuestReader(64 << 20);
  beforeAll(() => reader.start(), BOOT_MS);
  afterAll(() => reader.stop());

  it.each(PAIRS.filter((_, n) => n % 2 === 0))(
    "mounts what a script left (%s, %s), and sees the model's tree",
    async (features, mode) => {
      const workload = new Workload({ features, mode });
      for (const op of scriptFor(features, 77, { ops: 60, fileBytesMax: 60_000, burstMax: 20 })) workload.apply(op);
      expect(workload.finishUp()).toBe(undefined);
      const { lines, messages } = await reader.read(workload.disk.bytes.slice());
      const shown = lines.filter((line) => !line.endsWith(" lost+found"));
      expect(shown.map((line) => Buffer.from(line).toString("latin1"))).toEqual(workload.model.lines());
      expect(messages).toEqual([]);
    },
  );
});

/** Scripts at which ext4 once failed, each with what it lost. */
it.each([
  [
    "the size of a file whose last block had been written away for a commit",
    "block2k",
    "data=ordered,nodelalloc",
    "creat /n47\nappend /n47 5:35\ncreat /a\ncreat /b\ncreat /c\ncreat /d\ncreat /e\nunlink /a\nwrite /n47 9:281\n",
  ],
  [
    "a promise of space, counted twice when the map gave a block back",
    "plain",
    "data=ordered",
    "creat /f\nwrite /f 1:8327\ndwrite /f 73728 2:4096\npwrite /f 24867 3:3\nfallocate /f 61 34153\ntruncate /f 89\nappend /f 4:25674\n",
  ],
] as const)("%s", (_what, features, mode, script) => {
  const workload = new Workload({ features, mode });
  for (const op of parseScript(script, "script")) expect(workload.apply(op)).toBe(undefined);
  expect(workload.finishUp()).toBe(undefined);
});
