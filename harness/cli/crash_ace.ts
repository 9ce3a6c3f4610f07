/** `orrery crash ace`: ACE's bounded workloads on our ext4, each crashed in every way within the bounds. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { Option } from "commander";
import type { Features } from "../../kernel/index.ts";
import type { AceFound, AceOutcome, AceWork } from "../crash/ace_campaign.ts";
import { byteSize, choiceOption, formatOption, outOption, seedOption, wholeNumber } from "./args.ts";
import { policyOption, shardOption, SUBSET_BITS_MAX } from "./crash_options.ts";
import { REPORT_NAME, writeReport } from "./crash_report.ts";
import { EXIT } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface AceCliOptions {
  readonly seq: 1 | 2 | 3;
  readonly data: "ordered" | "journal" | "writeback" | "all";
  readonly mount: string;
  readonly alignedTruncate?: boolean;
  readonly sample?: number;
  readonly only?: number;
  readonly maxSubset: number;
  readonly tears: boolean;
  readonly features?: string;
  readonly blockSize: number;
  readonly size: number;
  readonly journal: number;
  readonly policy: "kernel" | "e2fsck";
  readonly seed: number;
  readonly workers: number;
  readonly shard: readonly [number, number];
  readonly format: Format;
  readonly out?: string;
}

const BROKEN_SHOWN = 10;
const MODES = ["ordered", "journal", "writeback"] as const;

export function registerAce(crash: Command): void {
  crash
    .command("ace")
    .description("Run ACE's bounded workloads on our ext4 and judge every crash state: 3 when one breaks a promise.")
    .addOption(
      new Option("--seq <n>", "operations in a workload").choices(["1", "2", "3"]).argParser(Number).default(1),
    )
    .addOption(choiceOption("--data <mode>", "mode of the journal", [...MODES, "all"], "ordered"))
    .option("--mount <options>", "further mount options, such as nodelalloc", "")
    .option("--aligned-truncate", "with block-aligned truncate, too: 336 and 254,032 workloads")
    .option("--sample <n>", "so many of them, by seed (default: all)", wholeNumber(1, 1e9))
    .option("--only <n>", "this one alone; shrunk and shown when it breaks", wholeNumber(0, 1e9))
    .option(
      "--max-subset <n>",
      "all subsets of an epoch with so many writes or fewer",
      wholeNumber(0, SUBSET_BITS_MAX),
      8,
    )
    .option("--no-tears", "no torn writes")
    .option("--features <list>", "of the file system, over mkfs's default: fast_commit,^metadata_csum")
    .option("--block-size <bytes>", "of the file system", byteSize(1024, 4096), 4096)
    .option("--size <bytes>", "of the file system", byteSize(2 ** 21, 2 ** 28), 16 * 2 ** 20)
    .option("--journal <bytes>", "of the journal", byteSize(2 ** 20, 2 ** 26), 4 * 2 ** 20)
    .addOption(policyOption())
    .addOption(seedOption())
    .option("--workers <n>", "worker threads", wholeNumber(1, 256), availableParallelism())
    .addOption(shardOption())
    .addOption(formatOption("json"))
    .addOption(outOption())
    .action(ace);
}

async function ace(options: AceCliOptions, command: Command): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const { runAce } = await import("../crash/ace_campaign.ts");
  const run = openRun(command, options.out);
  const line = progressLine("crash ace");
  const { readFeatures } = await import("../ext4/mkfs_options.ts");
  const features = options.features === undefined ? undefined : readFeatures(options.features);
  const modes = options.data === "all" ? MODES : [options.data];
  const found = await interruptible(async (stop) => {
    const results: { readonly data: (typeof MODES)[number]; readonly work: AceWork; readonly found: AceFound }[] = [];
    for (const data of modes) {
      const work = workOf(options, data, features);
      const one = await runAce({
        work,
        sample: options.sample,
        only: options.only,
        workers: options.workers,
        shard: options.shard,
        path: run.path(`workloads.${data}.jsonl`),
        line,
        stop,
      });
      results.push({ data, work, found: one });
      if (!one.whole) break;
    }
    return results;
  });
  line.end();
  const rows = found.map(({ data, found: one }) => ({ data, ...sumsOf(one) }));
  const broken = found.flatMap(({ data, work, found: one }) =>
    one.outcomes.filter(({ flagged }) => flagged > 0).map((outcome) => ({ data, work, outcome })),
  );
  const failed = found.flatMap(({ found: one }) => one.outcomes.filter((outcome) => outcome.failed.length > 0));
  const { aceSpace } = await import("../crash/ace.ts");
  const { shrunkReport } = await import("../crash/shrunk_report.ts");
  const shrunk =
    options.only === undefined
      ? []
      : broken.flatMap(({ data, work, outcome }) => {
          const { calls } = aceSpace(work.length, work.alignedTruncate).at(outcome.index);
          return shrunkReport(work.base, calls, work.judge, join(run.dir, data)) ?? [];
        });
  const whole = found.length === modes.length && found.every(({ found: one }) => one.whole);
  const document = {
    schema: 1,
    seq: options.seq,
    space: found[0]?.found.spaceCount ?? 0,
    sample: options.sample ?? null,
    maxSubset: options.maxSubset,
    tears: options.tears,
    blockSize: options.blockSize,
    policy: options.policy,
    seed: options.seed,
    interrupted: !whole,
    modes: rows,
    violations: broken.length,
    failedCalls: failed.length,
    broken: broken.slice(0, BROKEN_SHOWN).map(({ data, outcome }) => ({
      data,
      index: outcome.index,
      text: outcome.text,
      flagged: outcome.flagged,
      first: outcome.first ?? null,
    })),
    shrunk,
  };
  if (whole) {
    const { aceReport } = await import("../crash/report.ts");
    const facts = [
      ["workloads", `${options.sample ?? "all"} of ${document.space}, seq-${options.seq}`],
      ["seed", String(options.seed)],
    ] as const;
    const brokenRows = broken.map(({ data, outcome }) => ({
      data,
      workload: outcome.index,
      calls: outcome.text,
      flagged: outcome.flagged,
      why: outcome.first === undefined ? "" : `${outcome.first.id}: ${outcome.first.class}: ${outcome.first.why}`,
    }));
    await writeReport(run.path(REPORT_NAME), facts, (all) => aceReport(all, rows, brokenRows));
    run.finish({ seed: options.seed, document });
  }
  emit(options.format, {
    document,
    title: `seq-${options.seq}: ${document.space} workloads in all`,
    rows,
    notes: [
      ...broken.slice(0, BROKEN_SHOWN).map(({ data, outcome }) => brokenText(data, outcome)),
      ...failed
        .slice(0, BROKEN_SHOWN)
        .map(({ index, failed: calls }) => `workload ${index}: a call failed: ${calls[0]!}`),
      ...shrunk.flatMap(({ lines }) => lines),
      "wholeEpochs: of these all subsets were judged; of the others prefixes, single losses and random subsets",
    ],
  });
  if (!whole) console.error(`orrery: stopped; go on with the same command and --out ${run.dir}`);
  else if (broken.length > 0) {
    const { data, outcome } = broken[0]!;
    console.error(
      `orrery: ${broken.length} workloads break what ext4 owes; repeat the first, shrunk, with: orrery crash ace --seq ${options.seq} --data ${data} --only ${outcome.index}${extraWords(options)}`,
    );
    process.exitCode = EXIT.invariant;
  } else if (failed.length > 0) process.exitCode = EXIT.missed;
}

function workOf(options: AceCliOptions, data: (typeof MODES)[number], features: Features | undefined): AceWork {
  return {
    length: options.seq,
    alignedTruncate: options.alignedTruncate === true,
    base: {
      sizeBytes: options.size,
      blockSize: options.blockSize,
      journalBytes: options.journal,
      ...(features === undefined ? {} : { features }),
    },
    judge: {
      data,
      mount: options.mount,
      policy: options.policy,
      maxSubset: options.maxSubset,
      tears: options.tears,
      seed: options.seed,
    },
  };
}

function sumsOf({ outcomes, workers, seconds, digest }: AceFound) {
  const sum = (of: (outcome: AceOutcome) => number): number => outcomes.reduce((total, one) => total + of(one), 0);
  const distinct = sum((one) => one.distinct);
  return {
    workloads: outcomes.length,
    different: new Set(outcomes.map(({ text }) => text)).size,
    writes: sum((one) => one.writes),
    epochs: sum((one) => one.epochs),
    wholeEpochs: sum((one) => one.wholeEpochs),
    states: sum((one) => one.states),
    distinct,
    flagged: sum((one) => one.flagged),
    superblockTears: sum((one) => one.superblockTears),
    fastCommits: sum((one) => one.fastCommits),
    byPrefixes: sum((one) => one.byPrefixes),
    seconds: Number(seconds.toFixed(1)),
    perSecond: seconds === 0 ? null : Math.round(distinct / seconds / workers),
    workers,
    digest: digest.slice(0, 16),
  };
}

const brokenText = (data: string, { index, text, first }: AceOutcome): string =>
  `${data}, workload ${index}: ${text}: ${first === undefined ? "" : `${first.id}: ${first.class}: ${first.why}`}`;

/** Options that change what is found, for the line that repeats it. */
function extraWords({ mount, features, blockSize, maxSubset, alignedTruncate }: AceCliOptions): string {
  const words = [
    ...(mount === "" ? [] : [`--mount ${mount}`]),
    ...(features === undefined ? [] : [`--features ${features}`]),
    ...(blockSize === 4096 ? [] : [`--block-size ${blockSize}`]),
    ...(maxSubset === 8 ? [] : [`--max-subset ${maxSubset}`]),
    ...(alignedTruncate === true ? ["--aligned-truncate"] : []),
  ];
  return words.map((word) => ` ${word}`).join("");
}
