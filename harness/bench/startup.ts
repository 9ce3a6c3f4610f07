/**
 * How long a person waits for `orrery --help`, launcher and all, against the same Node doing nothing: interleaved,
 * medians of wall time of whole processes.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../cli/package.ts";
import type { Bench, BenchOptions, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 25;
const ROUNDS_QUICK = 9;
const launcher = join(packageRoot, "harness", "launcher.js");

const ARMS: readonly (readonly [name: string, words: readonly string[]])[] = [
  ["node -e 0", ["-e", "0"]],
  ["orrery --help", [launcher, "--help"]],
  ["orrery version", [launcher, "version"]],
  ["orrery <unknown>", [launcher, "unknown"]],
];

function wallMs(words: readonly string[]): number {
  const startedMs = performance.now();
  spawnSync(process.execPath, words, { stdio: "ignore" });
  return performance.now() - startedMs;
}

function run({ quick, progress }: BenchOptions): BenchTable {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const times = ARMS.map((): number[] => []);
  for (const [, words] of ARMS) wallMs(words);
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const [at, [, words]] of ARMS.entries()) times[at]!.push(wallMs(words));
  }
  const bare = median(times[0]!);
  const rows = ARMS.map(([what], at) => ({
    what,
    medianMs: median(times[at]!),
    worstMs: Math.max(...times[at]!),
    overBareNode: median(times[at]!) / bare,
  }));
  return { schema: 1, name: "startup", rows, notes: [`${rounds} rounds, interleaved; the compile cache is warm`] };
}

export const bench: Bench = {
  name: "startup",
  help: "wall time of orrery --help against a bare Node",
  run: (options) => Promise.resolve(run(options)),
};
