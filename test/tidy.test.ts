import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { untidy } from "./tidy.ts";

it("the tree keeps the house rules", () => {
  expect(untidy(".")).toEqual([]);
});

it("untidy() reports each kind of breach (canary)", () => {
  const root = mkdtempSync(join(tmpdir(), "orrery-tidy-"));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write("mm/page.ts", 'import { x } from "../sched/index.ts";\n');
  write("sched/index.ts", "export const x = Math.random();\n");
  write("sched/BadName.ts", "export {};\n");
  write("kernel/clock.ts", 'import "node:fs";\nexport const t = performance.now();\n');
  write("harness/main.ts", 'import "../kernel/clock.ts";\nimport "../sched/BadName.ts";\n');
  const breaches = untidy(root).join("\n");
  rmSync(root, { recursive: true });
  for (const part of [
    "mm may not import sched",
    '"Math.random(" is banned',
    "snake_case",
    "may not import node:fs",
    '"performance.now(" is banned',
    "imports kernel/clock.ts, use kernel/index.ts",
    "mm/page.ts: nobody imports it",
  ])
    expect(breaches).toContain(part);
});
