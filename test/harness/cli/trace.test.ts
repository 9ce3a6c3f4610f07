import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { linesOf, orrery, scratch } from "../orrery.ts";

const C1 = resolve("test/fixtures/sched-golden/linux61-cfs-c1.ftrace.gz");
const SERVER = resolve("test/fixtures/sched-traces/linux61-server.ftrace.gz");

it("trace stats prints one JSON document with the figures of each task in fork order", async () => {
  const { code, stdout, stderr } = await orrery(["trace", "stats", C1, "--specs", "0:0:0 5:0:0", "--format", "json"]);
  expect([code, stderr]).toEqual([0, ""]);
  const document = JSON.parse(stdout) as { schema: number; tasks: Record<string, unknown>[]; otherShare: number };
  expect(document.schema).toBe(1);
  expect(document.tasks.map(({ spec }) => spec)).toEqual(["0:0:0", "5:0:0"]);
  const figures =
    "spec cpuSeconds share slices sliceMeanMs sliceP50Ms sliceP90Ms wakeups wakeMeanMs wakeP50Ms wakeP99Ms wakeMaxMs";
  for (const task of document.tasks) expect(Object.keys(task)).toEqual(["task", "name", ...figures.split(" ")]);
  expect(document.tasks[0]!["share"]).toBeCloseTo(0.753, 3);
  expect(document.otherShare).toBeGreaterThan(0);
});

it("trace stats takes a window, and every task on demand", async () => {
  const words = ["trace", "stats", C1, "--from", "15", "--to", "16.5", "--all", "--format", "json"];
  const document = JSON.parse((await orrery(words)).stdout) as {
    window: unknown;
    tasks: { share: number; name: string }[];
    otherShare: number;
  };
  expect(document.window).toEqual({ fromSeconds: 15, toSeconds: 16.5 });
  expect(document.tasks.map(({ name }) => name)).toContain("rcu_preempt");
  expect(document.tasks.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
  expect(document.otherShare).toBe(0);
});

it("trace export writes both forms, by default under the input's name, and reads its own back", async () => {
  const cwd = scratch();
  const perfetto = await orrery(["trace", "export", SERVER], { cwd });
  expect([perfetto.code, perfetto.stderr]).toEqual([0, ""]);
  expect(readdirSync(cwd)).toEqual(["linux61-server.perfetto-trace"]);
  expect(readFileSync(join(cwd, "linux61-server.perfetto-trace"))[0]).toBe(0x0a);
  const ftrace = await orrery(["trace", "export", SERVER, "--to", "ftrace", "-o", "own.gz", "--format", "json"], {
    cwd,
  });
  expect(JSON.parse(ftrace.stdout)).toMatchObject({ schema: 1, to: "ftrace", wrote: "own.gz", events: 18_950 });
  const piped = await orrery(["trace", "export", "own.gz", "--to", "ftrace", "--output", "-"], { cwd });
  expect(piped.stdout).toBe(gunzipSync(readFileSync(join(cwd, "own.gz"))).toString());
  expect(piped.stdout).toMatch(/^# tracer: nop\n/);
});

it("a run is named by its ID, its directory or its manifest", async () => {
  const cwd = scratch();
  await orrery(["fuzz", "ftrace", "--runs", "1", "--out", "orrery-runs/r1"], { cwd });
  const dir = join(cwd, "orrery-runs/r1");
  const without = await orrery(["trace", "stats", "r1"], { cwd });
  expect(without.code).toBe(2);
  expect(without.stderr).toMatch(/kept no trace/);
  copyFileSync(C1, join(dir, "trace.ftrace.gz"));
  for (const name of ["r1", "orrery-runs/r1", "orrery-runs/r1/manifest.json"])
    expect((await orrery(["trace", "stats", name], { cwd })).code, name).toBe(0);
  await orrery(["trace", "export", "r1"], { cwd });
  expect(readdirSync(cwd)).toContain("r1.perfetto-trace");
});

it("each mistake is one line on stderr and exit code 2", async () => {
  const cwd = scratch();
  writeFileSync(join(cwd, "cut.gz"), readFileSync(C1).subarray(0, 4000));
  writeFileSync(join(cwd, "bad"), "# x\nnonsense\n");
  mkdirSync(join(cwd, "folder"));
  copyFileSync(C1, join(cwd, "c1.gz"));
  for (const [words, message] of [
    [["stats", "none"], /none: no such file/],
    [["stats", "cut.gz"], /cut\.gz:\d+: the gzip data ends too early/],
    [["stats", "bad"], /bad:2: not a line of ftrace text: "nonsense"/],
    [["stats", "folder"], /folder holds no manifest\.json/],
    [["stats", "c1.gz", "--from", "NaN"], /--from <s>' argument 'NaN' is invalid/],
    [["stats", "c1.gz", "--to", "-1"], /--to <s>' argument '-1' is invalid/],
    [["stats", "c1.gz", "--from", "16", "--to", "15"], /the window from 16\.000000 s to 15\.000000 s is empty/],
    [["stats", "c1.gz", "--specs", "0:0:0"], /--specs has 1 tasks, the trace 2/],
    [["stats", "c1.gz", "--specs", "0:0:0 6:0:0"], /task 2 has nice 6, in the trace it is 5/],
    [["stats", "c1.gz", "--specs", "0:0:0 5:x:0"], /--specs: task 2 "5:x:0": burst_us is "x"/],
    [["export", "c1.gz", "--to", "perfeto"], /Did you mean perfetto/],
    [["export", "c1.gz", "-o", "no/such/folder/x"], /cannot write no\/such\/folder\/x: ENOENT/],
    [["export", "c1.gz", "--to", "ftrace", "-o", "c1.gz"], /c1\.gz is the trace itself/],
  ] as const) {
    const { code, stdout, stderr } = await orrery(["trace", ...words], { cwd });
    expect([code, stdout, linesOf(stderr).length], words.join(" ")).toEqual([2, "", 1]);
    expect(stderr).toMatch(message);
  }
  expect(existsSync(join(cwd, "no"))).toBe(false);
  expect(readdirSync(cwd).sort()).toEqual(["bad", "c1.gz", "cut.gz", "folder"]);
});
