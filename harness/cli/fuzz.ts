/**
 * `orrery fuzz NAME --seed N --runs N`: one target of fuzz/, case after case, until one fails or all passed. Without a
 * name it lists the targets. A failure ends with 3 and the one command that repeats it; Ctrl-C tells how far it came.
 */
import type { Command } from "commander";
import type { FuzzFailure, FuzzResult, FuzzTarget } from "../../fuzz/target.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { runCampaign } from "./campaign.ts";
import type { Job } from "./campaign.ts";
import { fileOf, loadAll, loadItem } from "./catalog.ts";
import type { Kind } from "./catalog.ts";
import { EXIT } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

const RUNS_DEFAULT = 1_000;
const RUNS_MAX = 1e12;
const TARGETS: Kind<FuzzTarget> = {
  what: "fuzz target",
  beside: modulePath("../../fuzz/target.ts", import.meta.url),
  key: "target",
};

interface Options {
  readonly seed: number;
  readonly runs: number;
  readonly canary?: boolean;
  readonly format: Format;
  readonly out?: string;
}

export function register(program: Command): void {
  program
    .command("fuzz")
    .description("Run a fuzz target from a seed on; without a name, list the targets. A failure ends with exit code 3.")
    .argument("[name]", "the target")
    .addOption(seedOption())
    .option("--runs <n>", "cases; case k uses seed + k", wholeNumber(1, RUNS_MAX), RUNS_DEFAULT)
    .option("--canary", "run the target on something broken on purpose: it must find a failure")
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(async (name: string | undefined, options: Options, command: Command) => {
      if (name === undefined) return list(options.format);
      await loadItem(TARGETS, name);
      await fuzz(name, options, command);
    });
}

async function list(format: Format): Promise<void> {
  const targets = await loadAll(TARGETS);
  const rows = targets.map(([name, target]) => ({ name, checks: target.help }));
  emit(format, { document: { schema: 1, targets: rows }, rows });
}

async function fuzz(name: string, options: Options, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const { seed, runs } = options;
  const run = openRun(command, options.out);
  const startedMs = performance.now();
  const line = progressLine(`fuzz ${name}`);
  const job: Job = { kind: "fuzz", file: fileOf(TARGETS, name).href, seed, runs, canary: options.canary === true };
  let done = 0;
  const onProgress = (_text: string, now: number): void => {
    done = now;
    line.count(done, runs);
  };
  const result = await interruptible(
    async (stop) => (await runCampaign(job, onProgress, stop)) as FuzzResult | undefined,
  );
  line.end();
  const seconds = (performance.now() - startedMs) / 1000;
  const failure = result?.failure;
  if (options.canary) return sayCanary(name, failure);
  const repeat = failure === undefined ? null : `orrery fuzz ${name} --seed ${failure.seed} --runs 1`;
  const summary = {
    target: name,
    seed,
    runs: result?.runs ?? done,
    asked: runs,
    interrupted: result === undefined,
    seconds: Number(seconds.toFixed(3)),
    failingSeed: failure?.seed ?? null,
    failure: failure?.message ?? null,
    repeat,
  };
  const document = { schema: 1, ...summary };
  run.finish({ seed, document });
  const title = `fuzz ${name}, seed ${seed}: ${summary.runs} of ${runs} cases, ${failure === undefined ? "no failure" : "1 failure"}${summary.interrupted ? ", interrupted" : ""}`;
  if (options.format === "table") process.stdout.write(`${title}\n`);
  else emit(options.format, { document, rows: [summary] });
  if (failure === undefined) return;
  console.error(
    `failure at seed ${failure.seed}: ${failure.message.replaceAll(/\s*\n\s*/g, " ")}; repeat with: ${repeat}`,
  );
  process.exitCode = EXIT.invariant;
}

/** A canary that stays silent means that the target could not find anything: that is the failure here. */
function sayCanary(name: string, failure: FuzzFailure | undefined): void {
  if (failure === undefined) {
    console.error(`canary of ${name}: nothing was found in something broken on purpose; the target proves nothing`);
    process.exitCode = EXIT.invariant;
  } else process.stdout.write(`canary of ${name}: found, as it must be: ${failure.message}\n`);
}
