/**
 * Seeded bugs: does the test suite notice them? A mutant is one change to one file; it is applied to a copy of the tree,
 * the wing's fast tests run on the copy, and it is killed when they fail.
 *
 * - runMutants(set, options)   one after another; the tests must pass on the unchanged copy first
 *
 * `find` must occur exactly once in the file, or the mutant is stale, which is an error of the set.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { UserError } from "../cli/exit.ts";

export interface Mutant {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The mistake it stands for. */
  readonly why: string;
}

export interface MutantSet {
  readonly name: string;
  /** Test files or folders, as vitest takes them. */
  readonly tests: readonly string[];
  readonly mutants: readonly Mutant[];
}

export interface MutantVerdict {
  readonly file: string;
  readonly why: string;
  readonly verdict: "killed" | "survived";
  /** First failing test, or why the run ended. */
  readonly by: string;
  readonly seconds: number;
}

export interface MutantOptions {
  /** The tree to copy. */
  readonly root: string;
  /** Only mutants whose number is listed, from 0; undefined: all. */
  readonly only?: readonly number[];
  readonly progress: (line: string) => void;
}

const TIMEOUT_MS = 180_000;
const COPIED = ["kernel", "mm", "sched", "drivers", "userspace", "harness", "fuzz", "examples", "test"];
const COPIED_FILES = ["package.json", "tsconfig.json", "vitest.config.ts"];

/** A copy of the sources, with the installed packages beside it. */
export function copyTree(root: string): string {
  const copy = mkdtempSync(join(tmpdir(), "orrery-mutant-"));
  for (const name of [...COPIED, ...COPIED_FILES].filter((one) => existsSync(join(root, one))))
    cpSync(join(root, name), join(copy, name), { recursive: true, force: false, errorOnExist: false });
  symlinkSync(resolve(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}

/** Undefined when all tests pass, else what failed first. */
function failure(copy: string, tests: readonly string[]): string | undefined {
  const vitest = join(copy, "node_modules", "vitest", "vitest.mjs");
  const run = spawnSync(process.execPath, [vitest, "run", "--bail=1", "--reporter=tap-flat", ...tests], {
    cwd: copy,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    env: { ...process.env, CI: "1", NO_COLOR: "1" },
  });
  if (run.error !== undefined) return (run.error as NodeJS.ErrnoException).code === "ETIMEDOUT" ? "timeout" : "no run";
  if (run.status === 0) return undefined;
  // Files that were cut short by the first failure are "not ok" too: the line with a test's name is the one.
  return /^not ok \d+ - (.* > .*?)(?: # time.*)?$/m.exec(run.stdout)?.[1] ?? `exit ${run.status ?? run.signal}`;
}

/** Puts the bug in; the result takes it out again. */
export function mutate(copy: string, mutant: Mutant): () => void {
  const path = join(copy, mutant.file);
  const text = readFileSync(path, "utf8");
  const parts = text.split(mutant.find);
  if (parts.length !== 2)
    throw new UserError(
      `Mutant "${mutant.why}" is stale: its text occurs ${parts.length - 1} times in ${mutant.file}; mend its set`,
    );
  writeFileSync(path, parts.join(mutant.replace));
  return () => writeFileSync(path, text);
}

export function runMutants(set: MutantSet, options: MutantOptions): MutantVerdict[] {
  const copy = copyTree(options.root);
  const verdicts: MutantVerdict[] = [];
  try {
    options.progress(`unchanged: ${set.tests.join(" ")}`);
    const clean = failure(copy, set.tests);
    if (clean !== undefined) throw new UserError(`The tests fail without any mutant: ${clean}; mend them first`);
    for (const [index, mutant] of set.mutants.entries()) {
      if (options.only !== undefined && !options.only.includes(index)) continue;
      const started = performance.now();
      const revert = mutate(copy, mutant);
      const by = failure(copy, set.tests);
      revert();
      const seconds = Math.round((performance.now() - started) / 100) / 10;
      const verdict = by === undefined ? "survived" : "killed";
      verdicts.push({ file: mutant.file, why: mutant.why, verdict, by: by ?? "", seconds });
      options.progress(`${index}: ${verdict} in ${seconds} s: ${mutant.why}${by === undefined ? "" : ` (${by})`}`);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  return verdicts;
}
