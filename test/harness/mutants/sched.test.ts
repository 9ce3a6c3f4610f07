import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { mutants } from "../../../harness/mutants/sched.ts";

it.each(mutants.mutants)("$file: $why: its text is there once", ({ file, find, replace }) => {
  expect(readFileSync(file, "utf8").split(find).length).toBe(2);
  expect(replace).not.toBe(find);
});
