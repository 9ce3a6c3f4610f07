/**
 * `orrery demo`, what `npm start` runs: plays the scenes it is given and writes the report. The scenes are the wings'.
 *
 * - addDemo(program, scenes)   adds the command
 */
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { formatOption, outOption, realNumber, seedOption } from "./args.ts";
import { interruptible } from "./interrupt.ts";
import { commandLine } from "./invocation.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot, packageVersion } from "./package.ts";
import { play } from "./stage.ts";
import type { Scene } from "./stage.ts";

/** A second `npm start` ends within 15 s: the rest is for starting and for writing the report. */
const SECONDS_DEFAULT = 14;

interface Options {
  readonly seed: number;
  readonly seconds: number;
  readonly format: Format;
  readonly out?: string;
}

export function addDemo(program: Command, scenes: readonly Scene[]): void {
  program
    .command("demo")
    .description("Show what is here in a few seconds: boots, runs, compares, and writes a report.")
    .addOption(seedOption())
    .option(
      "--seconds <s>",
      "time it may take; scenes that do not fit are left out",
      realNumber(1, 3600),
      SECONDS_DEFAULT,
    )
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(async (options: Options, command: Command) => {
      await demo(scenes, options, command);
    });
}

async function demo(scenes: readonly Scene[], options: Options, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const { reportHtml } = await import("../report/html.ts");
  const { gitState } = await import("../run/revision.ts");
  const { seed, format } = options;
  const run = openRun(command, options.out);
  const say = (line: string): void => void (format === "json" ? process.stderr : process.stdout).write(`${line}\n`);
  const budgetMs = options.seconds * 1000;
  const played = await interruptible((stop) => play(scenes, { run, seed, budgetMs, stop, say }));
  const report = run.path("report.html");
  const words = commandLine(process.argv.slice(2), seed);
  const facts: (readonly [string, string])[] = [
    ["command", words],
    ["orrery", packageVersion()],
    ["revision", gitState(packageRoot)?.revision.slice(0, 12) ?? "published package"],
    ["node", process.versions.node],
    ["seed", String(seed)],
  ];
  const lead = "What the demonstration saw: every figure is of the run that wrote this file.";
  writeFileSync(report, reportHtml({ title: "Orrery: a demonstration", lead, facts, sections: played.sections }));
  const document = { schema: 1, seed, scenes: played.scenes, report };
  run.finish({ seed, document });
  if (format === "json") return emit(format, { document, rows: [] });
  say(`\nreport: ${pathToFileURL(report).href}`);
  say(`again:  ${words}`);
}
