import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { isNewEnough, NODE_MIN } from "../../harness/node.js";
import { LAUNCHER, linesOf, orrery, scratch } from "./orrery.ts";

describe("a newcomer's mistakes: one line, the way out, exit code 2", () => {
  it.each([
    [["vesion"], /unknown command 'vesion' \(Did you mean version\?\)/],
    [["fuzz", "prgn"], /no fuzz target is named "prgn" \(did you mean prng\?\)/],
    [["fuzz", "prng", "--sed", "3"], /unknown option '--sed' \(Did you mean --seed\?\); see "orrery fuzz --help"/],
    [["fuzz", "prng", "--seed", "NaN"], /option '--seed <n>' argument 'NaN' is invalid\. A whole number from 0 to/],
    [["fuzz", "prng", "--runs", "-5"], /option '--runs <n>' argument '-5'/],
    [["fuzz", "prng", "--runs", "1e99"], /option '--runs <n>' argument '1e99'/],
    [["fuzz", "prng", "--runs", "2.5"], /option '--runs <n>' argument '2\.5'/],
    [["fuzz", "prng", "--runs", "0"], /option '--runs <n>' argument '0'/],
    [["version", "--format", "jsn"], /'jsn' is invalid\. Did you mean json\?/],
    [["replay"], /missing required argument 'run'/],
    [["replay", "no-such-run"], /no run, directory or manifest "no-such-run"; runs lie in orrery-runs/],
    [["version", "extra"], /too many arguments/],
    [["bench", "startup", "--out", "/proc/none"], /cannot make the run's directory \/proc\/none/],
  ])("orrery %j", async (words, line) => {
    const ended = await orrery(words);
    expect(ended.stderr).toMatch(line);
    expect(linesOf(ended.stderr)).toHaveLength(1);
    expect(ended).toMatchObject({ code: 2, stdout: "" });
  });

  it("a truncated, a foreign and a wrong manifest are told apart", async () => {
    const cwd = scratch();
    const write = (name: string, text: string): void => writeFileSync(join(cwd, name), text);
    write("cut.json", '{"schema": 1, "id": "x');
    write("foreign.json", '{"name": "left-pad"}');
    write("newer.json", '{"schema": 2}');
    mkdirSync(join(cwd, "unfinished"));
    for (const [file, line] of [
      ["cut.json", /not whole JSON \(22 characters\)/],
      ["foreign.json", /no manifest of schema 1: schema: /],
      ["newer.json", /no manifest of schema 1: schema: /],
      ["unfinished", /holds no manifest\.json/],
    ] as const) {
      const ended = await orrery(["replay", file], { cwd });
      expect(ended.stderr).toMatch(line);
      expect(linesOf(ended.stderr)).toHaveLength(1);
      expect(ended.code).toBe(2);
    }
  });
});

describe("help and version", () => {
  it("lists every command with its line and the exit codes, without colour in a pipe", async () => {
    const { code, stdout, stderr } = await orrery(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const part of ["fuzz  ", "bench  ", "doctor  ", "Exit codes:", "130  interrupted"])
      expect(stdout).toContain(part);
    expect(stdout).not.toContain("\u001b");
    expect(await orrery([])).toMatchObject({ code: 0, stdout });
  });

  it("NO_COLOR wins over a terminal that has colour", async () => {
    const { stdout } = await orrery(["doctor"], { env: { NO_COLOR: "1", TERM: "xterm-256color" } });
    expect(stdout).not.toContain("\u001b");
  });

  it("version --format json is one document with a schema", async () => {
    const { stdout } = await orrery(["version", "--format", "json"]);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 1, node: process.versions.node });
  });

  it("doctor --format json tells the one command that mends, and 4 when a tool is missing", async () => {
    const empty = scratch();
    const { code, stdout } = await orrery(["doctor", "--format", "json"], { env: { PATH: empty } });
    const document = JSON.parse(stdout) as { schema: number; ok: boolean; mend: string | null };
    expect(document.schema).toBe(1);
    expect(code).toBe(document.ok ? 0 : 4);
    if (!document.ok) expect(document.mend).toMatch(/apt-get install -y \S/);
  });

  it("prints how long --help takes (measured, not asserted: the machine may be busy)", async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const startedMs = performance.now();
      await orrery(["--help"]);
      times.push(performance.now() - startedMs);
    }
    console.log(`orrery --help: ${Math.min(...times).toFixed(0)} ms at best of ${times.length}`);
    expect(times).toHaveLength(5);
  });
});

describe("pipes, signals, old Nodes", () => {
  it("a reader that goes away (| head) ends the command in silence", async () => {
    const script = `"${process.execPath}" "${LAUNCHER}" man; echo "code $?" >&2`;
    const child = spawn("bash", ["-c", `set -o pipefail; { ${script}; } | head -c 10`], { stdio: "pipe" });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    await new Promise((done) => child.on("close", done));
    expect(stderr).toBe("code 0\n");
  });

  it("Ctrl-C in a fuzz run keeps what was done and ends with 130", async () => {
    const cwd = scratch();
    const words = ["fuzz", "prng", "--runs", "1000000000", "--format", "json", "--out", "kept"];
    const { code, stdout } = await orrery(words, { cwd, interruptMs: 1500 });
    expect(code).toBe(130);
    const document = JSON.parse(stdout) as { interrupted: boolean; runs: number };
    expect(document.interrupted).toBe(true);
    expect(document.runs).toBeGreaterThan(0);
  });

  it("isNewEnough() compares as versions, not as text", () => {
    for (const version of ["24.12.0", "24.21.0", "25.0.0", "100.0.0"]) expect(isNewEnough(version)).toBe(true);
    for (const version of ["24.11.9", "24.9.0", "20.20.2", "9.99.0"]) expect(isNewEnough(version)).toBe(false);
  });

  it("an old Node without ours beside it: one line, exit code 2; with ours: hands over, code and all", () => {
    const root = scratch();
    mkdirSync(join(root, "harness"));
    mkdirSync(join(root, "node_modules/node/bin"), { recursive: true });
    for (const file of ["launcher.js", "node.js"]) cpSync(join("harness", file), join(root, "harness", file));
    writeFileSync(join(root, "package.json"), '{"type":"module"}');
    writeFileSync(join(root, "harness/main.ts"), "process.exitCode = 7;\n");
    // Only the first process believes to be old: the second has ORRERY_LAUNCHED set.
    const old = `if (!process.env.ORRERY_LAUNCHED) Object.defineProperty(process, "versions", { value: { node: "20.0.0" } })`;
    const start = (): { status: number | null; stderr: string } =>
      spawnSync(
        process.execPath,
        [`--import=data:text/javascript,${encodeURIComponent(old)}`, join(root, "harness/launcher.js")],
        {
          encoding: "utf8",
        },
      );
    expect(start()).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`needs Node ${NODE_MIN} or newer`) as string,
    });
    symlinkSync(resolve(process.execPath), join(root, "node_modules/node/bin/node"));
    expect(start()).toMatchObject({ status: 7, stderr: "" });
  });
});
