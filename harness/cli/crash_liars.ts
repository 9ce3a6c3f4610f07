/** `orrery crash liars`: the honest disk and disks that lie, in one run: the first is never flagged, each other is caught. */
import type { Command } from "commander";
import { choiceOption, formatOption, seedOption } from "./args.ts";
import { policyOption } from "./crash_options.ts";
import { EXIT } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface LiarsOptions {
  readonly data: "ordered" | "journal" | "writeback";
  readonly policy: "kernel" | "e2fsck";
  readonly seed: number;
  readonly format: Format;
}

export function registerLiars(crash: Command): void {
  crash
    .command("liars")
    .description(
      "Judge our ext4 on an honest disk and on disks that lie: 3 when the first is flagged, 1 when a lie is not.",
    )
    .addOption(choiceOption("--data <mode>", "mode of the journal", ["ordered", "journal", "writeback"], "ordered"))
    .addOption(policyOption())
    .addOption(seedOption())
    .addOption(formatOption("json"))
    .action(liars);
}

/** Some 20,000 different contents: what is not flagged there will not be by chance. */
const HONEST_BOUNDS = { maxSubset: 10, tears: true, random: 400, dropSpan: 24 } as const;

async function liars({ data, policy, seed, format }: LiarsOptions): Promise<void> {
  const { LIED_TO, LIES, tellLie } = await import("../crash/liars.ts");
  const { SCENARIOS } = await import("../crash/scenarios.ts");
  const { judgeWorkload } = await import("../crash/workload_judge.ts");
  const { crashBase } = await import("../crash/workload_run.ts");
  const line = progressLine("crash liars");
  const judge = { data, mount: "", policy, maxSubset: 6, tears: false, seed, random: 30, mayFail: true };
  const runs = LIED_TO.map((name) => {
    const scenario = SCENARIOS.find((one) => one.name === name)!;
    line.update(`honest: ${scenario.name}`);
    const base = crashBase(scenario.base);
    return { scenario, base, judged: judgeWorkload(base, scenario.calls, { ...judge, ...HONEST_BOUNDS }) };
  });
  const distinct = runs.reduce((sum, { judged }) => sum + judged.summary.distinct, 0);
  const flagged = runs.reduce((sum, { judged }) => sum + judged.summary.flagged, 0);
  const rows = LIES.map((lie) => {
    const told = { states: 0, flagged: 0, caughtIn: "-", why: "" };
    for (const { scenario, base, judged } of runs) {
      line.update(`${lie}: ${scenario.name}`);
      const one = tellLie(lie, base, judged.run, judge);
      told.states += one.states;
      told.flagged += one.flagged;
      if (one.flagged === 0) continue;
      told.caughtIn = scenario.name;
      told.why = one.why;
      break;
    }
    return { disk: lie, ...told };
  });
  line.end();
  const uncaught = rows.filter((row) => row.flagged === 0).length;
  emit(format, {
    document: { schema: 1, data, policy, seed, honest: { distinct, flagged }, lies: rows, uncaught },
    rows: [{ disk: "honest", states: distinct, flagged, caughtIn: "-" }, ...rows.map(({ why: _why, ...row }) => row)],
    notes: rows.map(({ disk, why }) => `${disk}: ${why === "" ? "not caught" : why}`),
  });
  if (flagged > 0) process.exitCode = EXIT.invariant;
  else if (uncaught > 0) process.exitCode = EXIT.missed;
}
