/** Canaries: without any one of the rules, cutting off the disk shows it. Each in a copy of the sources, in a process. */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutants } from "../../../../harness/mutants/jbd2.ts";

/** Of each mutant: a seed of the crash test that finds it. Those without one take longer to be found than a test may. */
const FOUND_BY: readonly (number | undefined)[] = [];
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
  for (const folder of ["kernel", "drivers", "mm", "sched", "fuzz"])
    cpSync(folder, join(root, folder), { recursive: true });
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

describe.concurrent("cutting off the disk", () => {
  it("finds nothing in the tree as it is", async () => {
    expect(
      await run(
        "unchanged",
        FOUND_BY.find((seed) => seed !== undefined)!,
        undefined,
      ),
    ).toBe("said: \n");
  });

  for (const [n, mutant] of mutants.mutants.entries()) {
    const seed = FOUND_BY[n];
    if (seed === undefined) continue;
    it(`finds that ${mutant.why}`, async () => {
      expect(await run(String(n), seed, mutant)).toMatch(/said: ./);
    });
  }
});
