/** Canaries: without any one of the rules, cutting off the disk shows it. Each in a copy of the sources, in a process. */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutants } from "../../../../harness/mutants/jbd2.ts";

/**
 * Number of a mutant -> a seed of the crash test that finds it. The others take longer; they are in the set for whoever
 * asks whether the tests notice them.
 */
const FOUND_BY: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [4, 4],
  [5, 6],
  [6, 70],
  [10, 1],
  [15, 1],
]);
const STEPS = 300;

let copies = "";
beforeAll(() => {
  copies = mkdtempSync(join(tmpdir(), "orrery-jbd2-"));
  writeFileSync(join(copies, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(copies, { recursive: true, force: true }));

/** What the crash test says of a copy of the tree, changed in one place. */
async function run(
  name: string,
  seed: number,
  change: { file: string; find: string; replace: string } | undefined,
): Promise<string> {
  const root = join(copies, name);
  for (const folder of ["kernel/abi", "kernel/lib", "kernel/fs", "mm", "drivers", "fuzz"])
    cpSync(folder, join(root, folder), { recursive: true });
  // Of the kernel's face only this.
  writeFileSync(join(root, "kernel/index.ts"), 'export * from "./fs/index.ts";');
  if (change !== undefined) {
    const text = readFileSync(change.file, "utf8");
    writeFileSync(
      join(root, change.file),
      text.replace(change.find, () => change.replace),
    );
  }
  const script = `const { rigOptions, runRig } = await import(${JSON.stringify(join(root, "fuzz/jbd2_rig.ts"))});
    console.log("said: " + runRig(rigOptions(${seed}), ${STEPS}).split("\\n")[0]);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  for await (const part of child.stdout) said += String(part);
  return said;
}

it.each(mutants.mutants)("$file: $why: its text is there once", ({ file, find, replace }) => {
  expect(readFileSync(file, "utf8").split(find).length).toBe(2);
  expect(replace).not.toBe(find);
});

describe("cutting off the disk", () => {
  it("finds nothing in the tree as it is", async () => {
    expect(await run("unchanged", 1, undefined)).toBe("said: \n");
  });

  for (const [n, seed] of FOUND_BY) {
    const mutant = mutants.mutants[n]!;
    it(`finds that ${mutant.why}`, async () => {
      expect(await run(String(n), seed, mutant)).toMatch(/said: ./);
    });
  }
});
