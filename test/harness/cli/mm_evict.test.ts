import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { EVICT_POLICIES } from "../../../mm/index.ts";
import { scratch } from "../orrery.ts";

const MAIN = resolve("harness/launcher.js");
const EXAMPLE = resolve("examples/evict_mru.ts");

const start = (...words: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [MAIN, "mm", "evict", ...words], { encoding: "utf8" });

interface Document {
  readonly schema: number;
  readonly seed: number;
  readonly trace: { name: string; format: string; requests: number; keys: number };
  readonly policies: { policy: string; hits: number; misses: number; missRatio: number }[];
  readonly belady: { hits: number; misses: number };
}
function json(...words: string[]): Document {
  const text = execFileSync(process.execPath, [MAIN, "mm", "evict", "--format", "json", ...words], {
    encoding: "utf8",
  });
  return JSON.parse(text) as Document;
}

describe("orrery mm evict", () => {
  it("prints one document with every policy and the bound, the same for the same seed", () => {
    const words = ["--trace", "zipf", "--size", "100", "--requests", "20000", "--seed", "7"];
    const first = json(...words);
    expect(first).toMatchObject({ schema: 1, seed: 7, trace: { requests: 20_000, keys: 1000, format: "synthetic" } });
    expect(first.policies.map((row) => row.policy)).toEqual(EVICT_POLICIES.map((type) => type.name));
    for (const row of first.policies) {
      expect(row.hits + row.misses).toBe(20_000);
      expect(row.missRatio).toBe(row.misses / 20_000);
      expect(row.misses).toBeGreaterThanOrEqual(first.belady.misses);
    }
    expect(json(...words)).toEqual(first);
  });

  it("replays a file, plain or gzip, and counts by hand's figures", () => {
    const folder = scratch();
    const plain = join(folder, "trace.txt");
    const packed = join(folder, "trace.gz");
    writeFileSync(plain, "# a b c a b d a b c d\na\nb\nc\n\na\nb\nd\na\nb\nc\nd\n");
    writeFileSync(packed, gzipSync("a\nb\nc\na\nb\nd\na\nb\nc\nd\n"));
    for (const file of [plain, packed]) {
      const document = json("--trace", file, "--size", "3", "--policy", "lru,fifo");
      expect(document.trace).toEqual({ name: file, format: "key", requests: 10, keys: 4 });
      // LRU: a b c miss, a b hit, d drops c, a b hit, c drops d, d drops a. FIFO: from d on all miss.
      expect(document.policies.map((row) => row.misses)).toEqual([6, 8]);
      expect(document.belady.misses).toBe(5);
    }
  });

  it("takes a policy of the user's own by path", () => {
    const document = json("--trace", "loop", "--size", "100", "--requests", "10000", "--policy", `${EXAMPLE},lru`);
    expect(document.policies.map((row) => row.policy)).toEqual(["mru", "lru"]);
    expect(document.policies[0]!.misses).toBeLessThan(document.policies[1]!.misses / 3);
  });

  it.each([
    [["--policy", "arcc", "--trace", "zipf", "--size", "9"], 'there is no eviction policy "arcc" (did you mean arc?)'],
    [["--trace", "no/such.txt", "--size", "9"], "there is no trace file no/such.txt; the built-in traces: zipf, scan"],
    [["--trace", ".", "--size", "9"], ". is a directory, not a trace file"],
    [["--policy", "./no.ts", "--trace", "zipf", "--size", "9"], "there is no policy file ./no.ts"],
    [["--trace", "zipf", "--size", "0"], "A whole number from 1 to 4194304"],
    [["--trace", "zipf"], "--size <pages>' not specified"],
  ])("refuses %j in one line with exit code 2", (words, line) => {
    const ended = start(...words);
    expect(ended.stderr).toContain(line);
    expect([ended.status, ended.stdout, ended.stderr.trim().split("\n").length]).toEqual([2, "", 1]);
  });

  it("names what is wrong with a policy file: syntax, nothing exported, a part missing, an answer that is none", () => {
    const folder = scratch();
    const cases = [
      ["broken.ts", "export const policy = {", 2, "cannot be loaded"],
      ["empty.ts", "export const other = 1;", 2, 'exports no "policy"'],
      ["part.ts", 'export const policy = { name: "x", help: "y" };', 2, "policy.create is not a function"],
      [
        "wrong.ts",
        `const nothing = () => {};
         export const policy = { name: "wrong", help: "says slot 5", create: () => ({ reset: nothing, hit: nothing,
           insert: nothing, remove: nothing, check: nothing, evict: (): number => 5 }) };`,
        3,
        "policy wrong of",
      ],
    ] as const;
    for (const [name, text, status, line] of cases) {
      writeFileSync(join(folder, name), text);
      const ended = start("--policy", join(folder, name), "--trace", "loop", "--size", "3", "--requests", "50");
      expect(ended.stderr).toContain(line);
      expect([ended.status, ended.stderr.trim().split("\n").length]).toEqual([status, 1]);
    }
  });
});
