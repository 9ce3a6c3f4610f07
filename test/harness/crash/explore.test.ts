/** The two recorded disks: a guest with barriers keeps its promises in every state, one without is caught by reordering. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { chunksOf, openExplorer, runChunk } from "../../../harness/crash/explore.ts";
import type { Explorer, ExploreOptions } from "../../../harness/crash/explore.ts";
import { loadRecorded, storeLog } from "../../../harness/crash/recorded.ts";
import { SCENARIOS } from "../../../harness/crash/scenarios.ts";
import { shrinkState } from "../../../harness/crash/shrink.ts";
import { parseStateId } from "../../../harness/crash/state_set.ts";
import { summarise } from "../../../harness/crash/summary.ts";
import { describeState } from "../../../harness/crash/timeline.ts";
import { crashBase, runWorkload } from "../../../harness/crash/workload_run.ts";
import { orrery } from "../orrery.ts";

const FIXTURES = resolve("test/fixtures/write-logs");
const file = (name: string, kind: "base" | "log"): string => `${FIXTURES}/${name}.${kind}.zst`;
const BOUNDS = {
  policy: "kernel",
  maxSubset: 12,
  random: 100,
  sector: 512,
  tears: true,
  seed: 1,
  dropSpan: 512,
} as const;
const HAS_E2FSCK = existsSync("/sbin/e2fsck") || existsSync("/usr/sbin/e2fsck");

const folder = mkdtempSync(join(tmpdir(), "orrery-crash-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = (name: string, bounds: Partial<ExploreOptions> = {}): Explorer =>
  openExplorer(loadRecorded(file(name, "base"), file(name, "log")), { ...BOUNDS, ...bounds });

describe("a recorded guest with barriers", () => {
  it("all 66,128 subsets of its epochs recover with all that was promised", () => {
    const explorer = open("m_ordered", { maxSubset: 16, tears: false });
    const summary = summarise(chunksOf(explorer, 8192).map((chunk) => runChunk(explorer, chunk)));
    expect(summary.states).toBe(66_128);
    expect(summary.flagged).toBe(0);
    expect(summary.clean).toBe(summary.distinct);
    expect(summary.distinct).toBeGreaterThan(60_000);
  });

  it("torn writes change nothing, but that a torn superblock is refused as Linux refuses it", () => {
    const explorer = open("m_ordered");
    const summary = summarise(chunksOf(explorer, 8192).map((chunk) => runChunk(explorer, chunk)));
    expect(summary.byKind["torn"]).toBeGreaterThan(1000);
    expect(summary.flagged).toBe(0);
    expect(summary.superblockTears).toBeGreaterThan(0);
  });
});

describe("a recorded guest without barriers", () => {
  const explorer = open("m_nobarrier", { tears: false });
  const summary = summarise(chunksOf(explorer, 8192).map((chunk) => runChunk(explorer, chunk)));

  it("is caught by one lost write, and not by prefixes", () => {
    expect(summary.flagged).toBeGreaterThan(100);
    expect(summary.flaggedByKind["dropOne"]).toBeGreaterThan(0);
    expect(summary.flaggedByPrefixes).toBe(0);
    expect(summary.byClass["structure"]).toBeGreaterThan(0);
    expect(summary.byClass["content"]).toBeGreaterThan(0);
  });

  it("a random witness shrinks to a state with one or two lost writes, and the timeline names them", () => {
    const outcome = runChunk(explorer, chunksOf(explorer, 8192)[0]!);
    const random = outcome.flagged.filter(({ kind }) => kind === "random").slice(0, 5);
    expect(random.length).toBe(5);
    for (const { id } of random) {
      const { epoch, set } = parseStateId(id);
      const { segment } = explorer.segments.find((states) => states.segment.epoch === epoch)!;
      const shrunk = shrinkState(explorer, segment, set)!;
      const { verdict, timeline } = describeState(explorer, segment, shrunk.set);
      expect(verdict.class).not.toBe("clean");
      const lost = timeline.filter(({ fate }) => fate === "lost");
      expect(lost.length).toBeLessThanOrEqual(2);
      if (lost.length > 0) expect(lost[0]!.what).toMatch(/journal|bitmap|inode table|descriptors|block/);
    }
  });
});

const exploreFiles = (base: string, log: string, out: string, ...more: string[]) =>
  orrery(["crash", "explore", "--base", base, "--log", log, "--out", join(folder, out), ...more]);
const explore = (name: string, out: string, ...more: string[]) =>
  exploreFiles(file(name, "base"), file(name, "log"), out, ...more);

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const sha256 = (path: string): string => sha(readFileSync(path));

/** A recording of 4 MiB with many epochs. */
function smallRecording(): readonly [base: string, log: string] {
  const { base, calls } = SCENARIOS.find(({ name }) => name === "going-home")!;
  const { recorded } = runWorkload(crashBase(base), calls, { data: "ordered", mount: "" });
  const files = [join(folder, "small.img"), join(folder, "small.log")] as const;
  writeFileSync(files[0], recorded.base);
  storeLog(files[1], recorded);
  return files;
}
const parsed = (text: string) => JSON.parse(text) as Record<string, number | string | object[]>;

describe("orrery crash", () => {
  it("explore ends with 3 and a command that shows the state; one worker and two say the same", async () => {
    const bounds = ["--random", "50", "--no-tears", "--format", "json"];
    const [one, two] = await Promise.all([
      explore("m_nobarrier", "one", "--workers", "1", ...bounds),
      explore("m_nobarrier", "two", "--workers", "2", ...bounds),
    ]);
    expect(one.code).toBe(3);
    expect(one.stderr).toMatch(/orrery crash show [0-9a-f]{12}-e0-p\d+x\d+ --base/);
    expect(parsed(one.stdout)["digest"]).toBe(parsed(two.stdout)["digest"]);
    expect(parsed(one.stdout)["flagged"]).toBe(parsed(two.stdout)["flagged"]);
    const id = /crash show (\S+)/.exec(one.stderr)![1]!;
    const recording = ["--base", file("m_nobarrier", "base"), "--log", file("m_nobarrier", "log")];
    const shown = await orrery(["crash", "show", id, ...recording]);
    expect(shown.code).toBe(3);
    expect(shown.stdout).toMatch(/lost/);
    const page = readFileSync(join(folder, "one", "report.html"), "utf8");
    expect(page).toContain(`orrery crash show ${id} --base`);
    expect(page).not.toMatch(/(src|href)="?https?:/);
  });

  it("shrink leaves fewer lost writes, and the command that shows them", async () => {
    const id = "58401b148827-e0-p27x18.20";
    const recording = ["--base", file("m_nobarrier", "base"), "--log", file("m_nobarrier", "log")];
    const { code, stdout } = await orrery(["crash", "shrink", id, ...recording, "--format", "json"]);
    const said = JSON.parse(stdout) as { id: string; shrunk: string; lost: object[] };
    expect([code, said.id]).toEqual([0, id]);
    expect(said.lost).toHaveLength(1);
    const again = await orrery(["crash", "show", said.shrunk, ...recording, "--format", "json"]);
    expect([again.code, JSON.parse(again.stdout)]).toEqual([3, expect.objectContaining({ lost: 1 })]);
  });

  it("replay tells log, recovery and tree, and its digests are those of the images", async () => {
    const id = "58401b148827-e0-p27x20";
    const recording = ["--base", file("m_nobarrier", "base"), "--log", file("m_nobarrier", "log")];
    const [crashed, recovered] = ["crashed.img", "recovered.img"].map((name) => join(folder, name)) as [string, string];
    await orrery(["crash", "show", id, ...recording, "--image", crashed]);
    const words = ["crash", "replay", id, ...recording, "--image", recovered, "--format", "json"];
    const { code, stdout } = await orrery(words);
    expect(code).toBe(3);
    const said = JSON.parse(stdout) as Record<string, string | string[]>;
    expect(said["class"]).toBe("lost");
    expect(said["did"]).toEqual(["1 transaction from 2 on, 8 blocks brought home"]);
    expect(said["tree"]).toContainEqual(expect.stringMatching(/^f 644 6 [0-9a-f]{64} A\/foo$/));
    expect([said["crashed"], said["recovered"]]).toEqual([sha256(crashed), sha256(recovered)]);
  });

  it("a campaign that was cut short goes on, and two shards merge to the whole", async () => {
    const [base, small] = smallRecording();
    const bounds = ["--max-subset", "10", "--format", "json"];
    const whole = parsed((await exploreFiles(base, small, "whole", ...bounds)).stdout);
    expect(whole["distinct"]).toBeGreaterThan(1000);
    const parts = await Promise.all(
      ["1/2", "2/2"].map((shard, n) => exploreFiles(base, small, `part${n}`, "--shard", shard, ...bounds)),
    );
    expect(parts.map(({ code }) => code)).toEqual([0, 0]);
    const merged = await orrery(["crash", "merge", join(folder, "part0"), join(folder, "part1"), "--format", "json"]);
    expect(parsed(merged.stdout)["digest"]).toBe(whole["digest"]);
    // As a kill leaves it: no manifest, the last line half written.
    const log = join(folder, "whole", "states.jsonl");
    rmSync(join(folder, "whole", "manifest.json"));
    truncateSync(log, readFileSync(log).length - 100);
    const again = parsed((await exploreFiles(base, small, "whole", ...bounds)).stdout);
    expect(again["digest"]).toBe(whole["digest"]);
    const missing = await orrery(["crash", "merge", join(folder, "part0")]);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toMatch(/pieces are missing/);
  });

  it("export writes what reads back as the same states", async () => {
    const [base, small] = smallRecording();
    const exported = join(folder, "exported.log");
    expect((await orrery(["crash", "export", exported, "--base", base, "--log", small])).code).toBe(0);
    const [ours, theirs] = [loadRecorded(base, small), loadRecorded(base, exported)];
    expect([theirs.epochs, theirs.markers]).toEqual([ours.epochs, ours.markers]);
    const bytesOf = ({ writes }: typeof ours) => writes.map(({ offset, data, fua }) => [offset, fua, sha(data!)]);
    expect(bytesOf(theirs)).toEqual(bytesOf(ours));
  });

  it.skipIf(!HAS_E2FSCK)("e2fsck agrees on a sample of clean states (needs e2fsck)", async () => {
    const few = ["--max-subset", "8", "--no-tears", "--workers", "1", "--format", "json"];
    const { stdout, code } = await explore("m_ordered", "refereed", "--referee", "10", ...few);
    expect(code).toBe(0);
    expect(parsed(stdout)["judgedByE2fsck"]).toBe(10);
    expect(parsed(stdout)["disagreements"]).toEqual([]);
  });

  it("mistakes get one line and 2", async () => {
    const empty = join(folder, "empty");
    writeFileSync(empty, "nothing of the kind");
    const base = file("m_ordered", "base");
    const log = file("m_ordered", "log");
    const cases: [string[], RegExp][] = [
      [["explore", "--base", "nowhere", "--log", log], /cannot read nowhere: no such file/],
      [["explore", "--base", base, "--log", empty], /damaged write log/],
      [["explore", "--base", empty, "--log", log], /beyond the image's/],
      [["explore", "--base", base, "--log", log, "--sector", "1000"], /512 or 4096/],
      [["explore", "--base", base, "--log", log, "--shard", "3/2"], /such as 2\/8/],
      [["show", "p12", "--base", base, "--log", log], /is no name of a crash state/],
      [["show", "000000000000-e0-p1", "--base", base, "--log", log], /a state of another recording/],
      [["merge", folder], /is this the directory of a crash campaign/],
    ];
    const said = await Promise.all(cases.map(([args]) => orrery(["crash", ...args])));
    for (const [at, [args, message]] of cases.entries()) {
      const { code, stderr } = said[at]!;
      expect(stderr, args.join(" ")).toMatch(message);
      expect(stderr.trim().split("\n").length).toBe(1);
      expect(code).toBe(2);
    }
  });
});
