/** `orrery crash run`: the classic ways to lose data, on our ext4, crashed in every way within the bounds. */
import { join } from "node:path";
import type { Command } from "commander";
import { choiceOption, formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { policyOption, SUBSET_BITS_MAX } from "./crash_options.ts";
import { EXIT, UserError } from "./exit.ts";
import { nearest } from "./nearest.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface RunCliOptions {
  readonly data: "ordered" | "journal" | "writeback" | "all";
  readonly mount: string;
  readonly maxSubset: number;
  readonly tears: boolean;
  readonly late?: number;
  readonly first?: boolean;
  readonly policy: "kernel" | "e2fsck";
  readonly seed: number;
  readonly format: Format;
  readonly out?: string;
}

const MODES = ["ordered", "journal", "writeback"] as const;

export function registerRun(crash: Command): void {
  crash
    .command("run")
    .description(
      "Crash our ext4 in one of the classic scenarios, or in all; without a name, list them. 3 when it breaks.",
    )
    .argument("[scenario]", 'its name, or "all"')
    .addOption(choiceOption("--data <mode>", "mode of the journal", [...MODES, "all"], "all"))
    .option("--mount <options>", "further mount options, such as nobarrier", "")
    .option(
      "--max-subset <n>",
      "all subsets of an epoch with so many writes or fewer",
      wholeNumber(0, SUBSET_BITS_MAX),
      8,
    )
    .option("--no-tears", "no torn writes")
    .option("--late <seed>", "a disk that ends its requests late and in any order", wholeNumber(0, 2 ** 32))
    .option("--first", "stop at the first scenario that breaks")
    .addOption(policyOption())
    .addOption(seedOption())
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(run);
}

async function run(name: string | undefined, options: RunCliOptions, command: Command): Promise<void> {
  const { SCENARIOS } = await import("../crash/scenarios.ts");
  if (name === undefined) {
    const rows = SCENARIOS.map((one) => ({ name: one.name, help: one.help, calls: one.calls.length }));
    return emit(options.format, { document: { schema: 1, scenarios: rows }, rows });
  }
  const picked = SCENARIOS.filter((one) => name === "all" || one.name === name);
  if (picked.length === 0) {
    const near = nearest(
      name,
      SCENARIOS.map((one) => one.name),
    );
    throw new UserError(`there is no scenario ${name}${near === undefined ? "" : `: did you mean ${near}?`}`);
  }
  const { openRun } = await import("../run/run.ts");
  const { judgeWorkload } = await import("../crash/workload_judge.ts");
  const { crashBase } = await import("../crash/workload_run.ts");
  const { shrunkReport } = await import("../crash/shrunk_report.ts");
  const opened = openRun(command, options.out);
  const line = progressLine("crash run");
  const { mount, policy, maxSubset, tears, seed } = options;
  const rows: Record<string, string | number>[] = [];
  const reports = [];
  outer: for (const scenario of picked)
    for (const data of options.data === "all" ? MODES : [options.data]) {
      line.update(`${scenario.name}, data=${data}`);
      const judge = {
        data,
        mount,
        policy,
        maxSubset,
        tears,
        seed,
        ...(options.late === undefined ? {} : { late: options.late }),
        duringRecovery: scenario.duringRecovery === true,
        mayFail: scenario.mayFail === true,
      };
      const {
        run: done,
        summary,
        epochs,
        wholeEpochs,
      } = judgeWorkload(crashBase(scenario.base), scenario.calls, judge);
      rows.push({
        scenario: scenario.name,
        data,
        calls: scenario.calls.length,
        failedCalls: done.failed.length,
        writes: done.recorded.writes.length,
        epochs,
        wholeEpochs,
        states: summary.states,
        distinct: summary.distinct,
        flagged: summary.flagged,
        byPrefixes: summary.flaggedByPrefixes,
      });
      if (summary.flagged === 0) continue;
      const report = shrunkReport(scenario.base, scenario.calls, judge, join(opened.dir, `${scenario.name}.${data}`));
      if (report !== undefined) reports.push({ scenario: scenario.name, data, ...report });
      if (options.first === true) break outer;
    }
  line.end();
  const flagged = rows.reduce((sum, row) => sum + Number(row["flagged"]), 0);
  const document = { schema: 1, mount, policy, maxSubset, tears, seed, flagged, rows, broken: reports };
  opened.finish({ seed, document });
  emit(options.format, { document, rows, notes: reports.flatMap(({ lines }) => lines) });
  if (flagged === 0) return;
  console.error(`orrery: ${flagged} crash states break what ext4 owes; files in ${opened.dir}`);
  process.exitCode = EXIT.invariant;
}
