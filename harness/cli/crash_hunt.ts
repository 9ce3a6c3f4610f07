/**
 * `orrery crash hunt`: whatever breaks our ext4, the cheapest places first. `orrery crash mutants`: seeded bugs, each put
 * into a copy of the tree where the hunt has to find it and to shrink it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Found } from "../crash/hunt.ts";
import { formatOption } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { mutantNumbers } from "./mutants.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot } from "./package.ts";
import { progressLine } from "./progress.ts";

const HUNT_MS = 480_000;
/** What a reproducer may have at the most; points of persistence and time that passes apart. */
const OPERATIONS_MAX = 4;

export function registerHunt(crash: Command): void {
  crash
    .command("hunt")
    .description("Look for anything that breaks our ext4, the cheapest places first: 3 when there is something.")
    .addOption(formatOption("json"))
    .action(huntAll);
  crash
    .command("mutants")
    .description(
      "Put seeded bugs into a copy of the tree: the hunt must find each, and shrink it. 1 when one is not found.",
    )
    .option("--only <numbers>", "these alone, such as 3,7", mutantNumbers)
    .addOption(formatOption("json"))
    .action(mutants);
}

async function huntAll({ format }: { readonly format: Format }): Promise<void> {
  const { hunt, HUNTS } = await import("../crash/hunt.ts");
  const line = progressLine("crash hunt");
  const found = hunt((text) => line.update(text));
  line.end();
  emit(format, {
    document: { schema: 1, hunts: HUNTS.length, found: found ?? null },
    rows:
      found === undefined
        ? [{ hunts: HUNTS.length, found: "nothing" }]
        : [
            {
              scenario: found.hunt.scenario,
              data: found.hunt.data,
              class: found.class,
              operations: found.operations,
              calls: found.calls,
              lost: found.lost,
            },
          ],
    notes: found === undefined ? [] : [found.why, `shrunk to: ${found.text}`],
  });
  if (found !== undefined) process.exitCode = EXIT.invariant;
}

async function mutants({
  only,
  format,
}: {
  readonly only?: readonly number[];
  readonly format: Format;
}): Promise<void> {
  if (!existsSync(`${packageRoot}/test`))
    throw new UserError("seeded bugs need the source tree: run this in a checkout", EXIT.tool);
  const { mutants: all } = await import("../mutants/crash.ts");
  const { copyTree, mutate } = await import("../mutants/mutant.ts");
  const unknown = only?.find((number) => number >= all.length);
  if (unknown !== undefined)
    throw new UserError(`there is no mutant ${unknown}; they are numbered 0 to ${all.length - 1}`);
  const copy = copyTree(packageRoot);
  const rows: Record<string, string | number | boolean | null>[] = [];
  try {
    for (const [number, mutant] of all.entries()) {
      if (only !== undefined && !only.includes(number)) continue;
      const startedMs = performance.now();
      const revert = mutate(copy, mutant);
      const result = huntIn(copy);
      revert();
      const found = result === "no end" ? undefined : result;
      const verdict = result === "no end" ? "no end" : result === undefined ? "survived" : "found";
      const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
      rows.push({
        number,
        why: mutant.why,
        verdict,
        class: found?.class ?? "-",
        scenario: found?.hunt.scenario ?? "-",
        operations: found?.operations ?? null,
        calls: found?.calls ?? null,
        lost: found?.lost ?? null,
        byPrefixes: found?.byPrefixes ?? null,
        hunted: found?.hunted ?? null,
        seconds,
        shrunk: found?.text ?? "",
      });
      console.error(
        `${number}: ${found === undefined ? verdict : `found, ${found.operations} operations`} in ${seconds} s: ${mutant.why}`,
      );
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  const survived = rows.filter(({ verdict }) => verdict === "survived").length;
  const endless = rows.filter(({ verdict }) => verdict === "no end").length;
  const long = rows.filter(({ operations }) => typeof operations === "number" && operations > OPERATIONS_MAX).length;
  const missed = rows.filter(({ byPrefixes }) => byPrefixes === false).length;
  emit(format, {
    document: { schema: 1, mutants: rows.length, survived, endless, longerThan4: long, missedByPrefixes: missed, rows },
    rows: rows.map(({ shrunk: _shrunk, ...row }) => row),
    notes: [
      `${rows.length - survived - endless} of ${rows.length} found; ${missed} of them only by reordering`,
      `${endless} had no end in ${HUNT_MS / 1000} s`,
      `${long} have reproducers of more than ${OPERATIONS_MAX} operations`,
      ...rows.flatMap(({ number, shrunk }) => (shrunk === "" ? [] : [`${number}: ${shrunk}`])),
    ],
  });
  if (survived + endless > 0) process.exitCode = EXIT.missed;
}

/** The hunt in a tree, by a process of its own: a seeded bug may hang, and then nothing is found and nothing shrunk. */
function huntIn(copy: string): Found | "no end" | undefined {
  const launcher = join(copy, "harness", "launcher.js");
  const run = spawnSync(process.execPath, [launcher, "crash", "hunt", "--format", "json"], {
    encoding: "utf8",
    timeout: HUNT_MS,
    maxBuffer: 1 << 24,
  });
  if (run.error !== undefined) return "no end";
  if (run.status !== EXIT.invariant && run.status !== 0)
    throw new UserError(`the hunt itself failed in the copy: ${run.stderr.trim().split("\n").at(-1) ?? run.status}`);
  return (JSON.parse(run.stdout) as { readonly found: Found | null }).found ?? undefined;
}
