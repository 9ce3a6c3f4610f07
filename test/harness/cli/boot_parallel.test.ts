import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { orrery, scratch } from "../orrery.ts";

const SMALL = ["boot", "--world", "parallel", "--cpus", "2", "--memory", "64M", "--disk", "new:32M"];

it(
  "orrery boot --world parallel runs, stops in order, and leaves a clean disk and a trace",
  { timeout: 120_000 },
  async () => {
    const cwd = scratch();
    const words = [...SMALL, "--workload", "database", "--seconds", "1", "--trace", "t.ftrace", "--save", "disk.img"];
    const { code, stdout, stderr } = await orrery([...words, "--format", "json"], { cwd });
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as { leaks: unknown; problems: unknown; verdict: { damage: number } };
    expect(document.leaks).toEqual({ frames: 0, objects: 0, descriptors: 0, tasks: 0, lostWakes: 0 });
    expect(document.problems).toEqual([]);
    expect(document.verdict.damage).toBe(0);
    expect(readFileSync(join(cwd, "t.ftrace"), "utf8")).toContain("sched_switch");
    expect(existsSync(join(cwd, "disk.img"))).toBe(true);
    const fsck = spawnSync("e2fsck", ["-fn", join(cwd, "disk.img")], { encoding: "utf8" });
    if (fsck.error === undefined) expect(fsck.status, fsck.stdout).toBe(0);
  },
);

it("orrery boot --world parallel ends with 130 by Ctrl-C, unmounted", { timeout: 120_000 }, async () => {
  const cwd = scratch();
  const words = [...SMALL, "--workload", "mixed", "--seconds", "600", "--save", "disk.img", "--format", "json"];
  const { code, stdout } = await orrery(words, { cwd, interruptMs: 8_000 });
  expect(code).toBe(130);
  expect((JSON.parse(stdout) as { problems: unknown }).problems).toEqual([]);
  const fsck = spawnSync("e2fsck", ["-fn", join(cwd, "disk.img")], { encoding: "utf8" });
  if (fsck.error === undefined) expect(fsck.status, fsck.stdout).toBe(0);
});

it("orrery boot --world parallel cannot be snapshot", async () => {
  const { code, stderr } = await orrery([...SMALL, "--snapshot-at", "1"]);
  expect(code).toBe(2);
  expect(stderr).toContain("--snapshot-at needs --world lockstep");
});
