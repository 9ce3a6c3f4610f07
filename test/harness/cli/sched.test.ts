import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { linesOf, orrery, scratch } from "../orrery.ts";

const FIXTURES = resolve("test/fixtures");
/** Tests that run side by side cannot each ask for a folder that goes with them. */
const FOLDER = mkdtempSync(join(tmpdir(), "orrery-sched-"));
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));
const EXAMPLES = resolve("examples");

describe("orrery sched fair", () => {
  it("prints one document of the promised shape, the same for the same seed", async () => {
    const words = [
      ..."sched fair".split(" "),
      "0:0:0 5:2000:8000",
      ..."--policy cfs --cpus 1 --seconds 1 --seed 1".split(" "),
    ];
    const { code, stdout, stderr } = await orrery([...words, "--format", "json"]);
    expect([code, stderr]).toEqual([0, ""]);
    const document = JSON.parse(stdout) as Record<string, unknown> & { tasks: Record<string, unknown>[] };
    expect(document).toMatchObject({ schema: 1, policy: "cfs", cpus: 1, seconds: 1, seed: 1, costs: "icount" });
    expect(document["eventLogHash"]).toMatch(/^[0-9a-f]{64}$/);
    expect(document["ejected"]).toBeNull();
    expect(document.tasks.map(({ spec }) => spec)).toEqual(["0:0:0", "5:2000:8000"]);
    const figures =
      "cpuSeconds share slices sliceMeanMs sliceP50Ms sliceP90Ms wakeups wakeMeanMs wakeP50Ms wakeP99Ms wakeMaxMs";
    const [hog, sleeper] = document.tasks;
    for (const figure of figures.split(" ")) {
      expect(sleeper![figure], figure).toBeTypeOf("number");
      if (!figure.startsWith("wakeM") && !figure.startsWith("wakeP")) expect(hog![figure], figure).toBeTypeOf("number");
      else expect(hog![figure], figure).toBeNull();
    }
    // share = CPU time / window, from 0.3 s to the end.
    expect(sleeper!["share"] as number).toBeCloseTo((sleeper!["cpuSeconds"] as number) / 0.7, 6);
    const again = JSON.parse((await orrery([...words, "--format", "json"])).stdout) as typeof document;
    expect({ ...again, run: "" }).toEqual({ ...document, run: "" });
  });

  it.each(["my_fifo", "las", "vtime", "central"])("takes a user's policy by path: examples/%s.ts", async (name) => {
    const cwd = scratch();
    const words = ["sched", "fair", "0:0:0 0:2000:8000", "--cpus", "2", "--seconds", "0.5", "--format", "json"];
    const { code, stdout, stderr } = await orrery([...words, "--policy", join(EXAMPLES, `${name}.ts`)], { cwd });
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ ejected: null });
  });

  it("says so, and ends with 1, when the policy was ejected", async () => {
    const cwd = scratch();
    writeFileSync(
      join(cwd, "bad.ts"),
      `export const policy = (k) => ({ name: "bad", enqueue: (p) => k.dsqInsert(p, 4711, 1, 0) });`,
    );
    const words = ["sched", "fair", "0:0:0", "--policy", "./bad.ts", "--seconds", "0.5", "--format", "json"];
    const { code, stdout, stderr } = await orrery(words, { cwd });
    expect(code).toBe(1);
    expect(linesOf(stderr)).toEqual([
      "orrery: policy ./bad.ts was ejected, and cfs took over: dsqInsert: there is no dispatch queue 4711",
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ ejected: "dsqInsert: there is no dispatch queue 4711" });
  });
});

/** Files that the mistakes below name. */
function inputs(cwd: string): void {
  const recording = gunzipSync(readFileSync(join(FIXTURES, "sched-golden/linux61-cfs-c1.ftrace.gz"))).toString();
  const lines = recording.split("\n").slice(0, 40);
  const write = (name: string, content: string | Uint8Array): void => writeFileSync(join(cwd, name), content);
  write("malformed.txt", [...lines.slice(0, 30), "some garbage", ...lines.slice(30)].join("\n"));
  write("truncated.gz", readFileSync(join(FIXTURES, "sched-traces/linux61-server.ftrace.gz")).subarray(0, 20_000));
  write("syntax.ts", "export const policy = (k => {\n");
  write("no_export.ts", "export const polciy = 1;\n");
  write("throws.ts", 'export const policy = () => { throw new Error("no luck\\nat all"); };\n');
  write("top.ts", 'throw new Error("not today");\n');
  write("no_enqueue.ts", 'export const policy = () => ({ name: "x", enqueu() {} });\n');
  write("init_task.ts", 'export const policy = () => ({ name: "x", enqueue() {}, initTask() { nope(); } });\n');
  write("import.ts", 'import "./nowhere.ts";\nexport const policy = 1;\n');
  mkdirSync(join(cwd, "folder.ts"));
  write("file", "");
}

const fair = (...words: string[]): string[] => ["sched", "fair", "0:0:0", ...words];
const policy = (file: string): string[] => fair("--policy", `./${file}.ts`);

describe("a mistake gets one line on stderr, exit code 2 and no stack", () => {
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["a missing file", ["sched", "run", "--trace", "nothing.gz"], /nothing\.gz: no such file/],
    ["a truncated gzip", ["sched", "run", "--trace", "truncated.gz"], /truncated\.gz:\d+: .*too early/],
    ["a malformed line", ["sched", "run", "--trace", "malformed.txt"], /malformed\.txt:31: .*some garbage/],
    ["an unknown policy", fair("--policy", "eevfd"), /no policy is named "eevfd" \(did you mean eevdf\?\)/],
    ["no such policy file", policy("nothing"), /nothing\.ts: there is no such file/],
    ["a folder as policy", policy("folder"), /folder\.ts: there is no such file/],
    ["a policy's syntax error", policy("syntax"), /syntax\.ts cannot be loaded: /],
    ["a policy file without the export", policy("no_export"), /no_export\.ts exports no function "policy"/],
    ["a policy that throws at once", policy("throws"), /throws\.ts: no luck at all/],
    ["a policy file that throws", policy("top"), /top\.ts cannot be loaded: not today/],
    ["a policy without enqueue", policy("no_enqueue"), /no_enqueue\.ts: the policy has no function "enqueue"/],
    ["a policy that throws for a task", policy("init_task"), /init_task\.ts: nope is not defined/],
    ["a policy that imports nothing", policy("import"), /import\.ts cannot be loaded: .*nowhere\.ts/],
    ["NaN as nice", ["sched", "fair", "NaN:0:0"], /task 1 "NaN:0:0": nice is "NaN"/],
    ["a negative burst", ["sched", "fair", "0:0:0 0:-1:0"], /task 2 "0:-1:0": burst_us is "-1"/],
    ["no tasks", ["sched", "fair", " "], /no task specification/],
    ["10,000 tasks on 0 CPUs", ["sched", "fair", "0:0:0 ".repeat(10_000), "--cpus", "0"], /'--cpus <n>' argument '0'/],
    ["NaN CPUs", fair("--cpus", "NaN"), /'NaN' is invalid/],
    ["no time", fair("--seconds", "0"), /'--seconds <s>' argument '0' is invalid/],
    ["unknown costs", fair("--costs", "hardwear"), /Did you mean hardware/],
    ["an unwritable --out", fair("--out", "file/run"), /cannot make the run's directory file\/run: /],
    ["an unwritable --ftrace", fair("--ftrace", "nowhere/x", "--seconds", "0.4"), /cannot write nowhere\/x: ENOENT/],
    ["a reference that is none", ["sched", "golden", "--reference", "malformed.txt"], /malformed\.txt is not JSON/],
  ];
  it.concurrent.each(cases)("%s", async (_title, words, line) => {
    const cwd = join(FOLDER, `case-${cases.findIndex((one) => one[1] === words)}`);
    mkdirSync(cwd);
    inputs(cwd);
    const { code, stdout, stderr } = await orrery(words, { cwd });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(/^orrery: /)]);
    expect(stderr).toMatch(line);
    expect(stderr).not.toMatch(/\n\s+at |node:internal/);
    expect([code, stdout]).toEqual([2, ""]);
    expect(existsSync(join(cwd, "nowhere"))).toBe(false);
  });
});
