/**
 * `orrery fuzz NAME --seed N --runs N`: one target of fuzz/, case after case, until one fails or all passed. Without a
 * name it lists the targets. A failure ends with 3 and the one command that repeats it; Ctrl-C tells how far it came.
 */
import type { Command } from "commander";
import type { FuzzFailure, FuzzResult } from "../../fuzz/target.ts";
import { formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { runCampaign } from "./campaign.ts";
import type { Job } from "./campaign.ts";
import { fileOf, loadAll, loadItem, TARGETS } from "./catalog.ts";
import { EXIT } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

const RUNS_DEFAULT = 1_000;
const RUNS_MAX = 1e12;
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
      await (options.canary === true ? canary(name, options.seed) : fuzz(name, options, command));
    });
}

async function list(format: Format): Promise<void> {
  const targets = await loadAll(TARGETS);
  const rows = targets.map(([name, target]) => ({ name, checks: target.help }));
  emit(format, { document: { schema: 1, targets: rows }, rows });
}

async function fuzz(name: string, { seed, runs, format, out }: Options, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const run = openRun(command, out);
  const startedMs = performance.now();
  const line = progressLine(`fuzz ${name}`);
  let done = 0;
  const onProgress = (_text: string, now: number): void => {
    done = now;
    line.count(done, runs);
  };
  const [result, repeat] = await interruptible(async (stop) => {
    const found = (await runCampaign(jobOf(name, seed, runs), onProgress, stop)) as FuzzResult | undefined;
    return [found, found?.failure && (await repeatLine(name, seed, found.runs, found.failure, stop))] as const;
  });
  line.end();
  const seconds = Number(((performance.now() - startedMs) / 1000).toFixed(3));
  const failure = result?.failure;
  const summary = {
    target: name,
    seed,
    runs: result?.runs ?? done,
    asked: runs,
    interrupted: result === undefined,
    seconds,
    failingSeed: failure?.seed ?? null,
    failure: failure?.message ?? null,
    repeat: repeat ?? null,
  };
  const document = { schema: 1, ...summary };
  run.finish({ seed, document });
  if (format !== "table") emit(format, { document, rows: [summary] });
  else {
    const end = failure === undefined ? "no failure" : "1 failure";
    const cut = summary.interrupted ? ", interrupted" : "";
    process.stdout.write(`fuzz ${name}, seed ${seed}: ${summary.runs} of ${runs} cases, ${end}${cut}\n`);
  }
  if (failure === undefined) return;
  const message = failure.message.replaceAll(/\s*\n\s*/g, " ");
  console.error(`failure at seed ${failure.seed}: ${message}; repeat with: ${repeat}`);
  process.exitCode = EXIT.invariant;
}

const jobOf = (name: string, seed: number, runs: number, canary = false): Job => ({
  kind: "fuzz",
  file: fileOf(TARGETS, name).href,
  seed,
  runs,
  canary,
});

/** The failing case alone, when it fails alone: tried here, not promised. Else all that led to it. */
async function repeatLine(
  name: string,
  seed: number,
  runs: number,
  failure: FuzzFailure,
  stop: AbortSignal,
): Promise<string> {
  const again = (await runCampaign(jobOf(name, failure.seed, 1), () => {}, stop)) as FuzzResult | undefined;
  if (again?.failure !== undefined) return `orrery fuzz ${name} --seed ${failure.seed} --runs 1`;
  return `orrery fuzz ${name} --seed ${seed} --runs ${runs}`;
}

/** A canary that stays silent means that the target could not find anything: that is the failure here. */
async function canary(name: string, seed: number): Promise<void> {
  const job = jobOf(name, seed, 1, true);
  const result = (await interruptible((stop) => runCampaign(job, () => {}, stop))) as FuzzResult | undefined;
  if (result === undefined) return;
  if (result.failure === undefined) {
    console.error(`canary of ${name}: nothing was found in something broken on purpose; the target proves nothing`);
    process.exitCode = EXIT.invariant;
  } else process.stdout.write(`canary of ${name}: found, as it must be: ${result.failure.message}\n`);
}
