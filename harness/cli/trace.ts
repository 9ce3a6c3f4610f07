/**
 * `orrery trace`: recordings of schedulers, real kernels' and ours.
 *
 *   stats FILE|RUN    figures of each task, and of the whole trace
 *   export FILE|RUN   the same events for other tools
 */
import { basename, dirname, resolve } from "node:path";
import type { Command } from "commander";
import { parseSpecs, specText } from "../../sched/index.ts";
import type { TaskStats } from "../trace/stats.ts";
import type { OpenedTrace, TraceForm } from "../trace/store.ts";
import { choiceOption, formatOption, realNumber } from "./args.ts";
import { UserError } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format, Row } from "./output.ts";

const STATS_SCHEMA = 1;
const EXPORT_SCHEMA = 1;
/** Seconds that an event's time can have: 2^53 ns. */
const SECONDS_MAX = 9_007_199;
const SUFFIX: Readonly<Record<TraceForm, string>> = { ftrace: ".ftrace", perfetto: ".perfetto-trace" };

interface StatsOptions {
  readonly from?: number;
  readonly to?: number;
  readonly specs?: string;
  readonly all?: boolean;
  readonly format: Format;
}

interface ExportOptions {
  readonly to: TraceForm;
  readonly output?: string;
  readonly format: Format;
}

export function register(program: Command): void {
  const trace = program.command("trace").description("Statistics of scheduler traces, and export for other tools.");
  const seconds = realNumber(0, SECONDS_MAX);
  trace
    .command("stats")
    .description(
      "CPU share, run slices and wake-to-run latency of each task of a trace.\nWith the marks `spin start` and `spin end` in it: of the tasks forked beside the one that wrote them, from 0.3 s\nafter the first mark to the second. Without: of every task that ran, over the whole trace.",
    )
    .argument("<file>", "ftrace text (plain or gzip), or a run: its ID, directory or manifest")
    .option("--from <s>", "begin here, seconds of the trace's own time", seconds)
    .option("--to <s>", "end here", seconds)
    .option("--specs <list>", 'what the tasks did, as nice:burst_us:sleep_us each, in order: "0:0:0 5:2000:8000"')
    .option("--all", "every task that ran, whatever the marks say")
    .addOption(formatOption("json", "jsonl", "csv", "md"))
    .action((file: string, options: StatsOptions) => stats(file, options));
  trace
    .command("export")
    .description("Write a trace for Perfetto (ui.perfetto.dev), or as ftrace text for trace-cmd style tools.")
    .argument("<file>", "ftrace text (plain or gzip), or a run: its ID, directory or manifest")
    .addOption(
      choiceOption("--to <form>", "native Perfetto protobuf, or ftrace text", ["perfetto", "ftrace"], "perfetto"),
    )
    .option(
      "-o, --output <file>",
      "where to; .gz packs ftrace text, - is stdout (default: the input's or the run's name, here)",
    )
    .addOption(formatOption("json"))
    .action((file: string, options: ExportOptions) => exportTrace(file, options));
}

async function stats(file: string, options: StatsOptions): Promise<void> {
  const { openTrace } = await import("../trace/store.ts");
  const { tasksThatRan, windowOf, workloadTasks } = await import("../trace/window.ts");
  const { otherShare, taskStats } = await import("../trace/stats.ts");
  const { traceSummary } = await import("../trace/summary.ts");
  const opened = await openTrace(file);
  const { log, path, lines, lost, skipped } = opened;
  const window = windowOf(log, options.from, options.to);
  const tasks = options.all === true ? tasksThatRan(log, window) : workloadTasks(log, window);
  const rows = withSpecs(taskStats(log, window, tasks), options.specs);
  const other = otherShare(log, window, tasks);
  const summary = traceSummary(log, window, tasks);
  emit(options.format, {
    document: {
      schema: STATS_SCHEMA,
      file: path,
      lines,
      events: log.count,
      lostEvents: lost,
      skippedEvents: Object.fromEntries(skipped),
      cpus: log.cpus,
      window: { fromSeconds: window.fromNs / 1e9, toSeconds: window.toNs / 1e9 },
      tasks: rows,
      otherShare: other,
      summary,
    },
    rows: rows.map((row): Row => ({ ...row })),
    title: `${path}: ${log.count} events, ${log.cpus} CPU${log.cpus === 1 ? "" : "s"}; window ${(window.fromNs / 1e9).toFixed(6)} to ${(window.toNs / 1e9).toFixed(6)} s`,
    notes: notesOf(opened, other, { ...summary }),
  });
}

function notesOf({ lost, skipped }: OpenedTrace, other: number, summary: Row): readonly string[] {
  const figures = Object.entries(summary).map(([name, value]) => `${name} ${shortNumber(value)}`);
  const notes = [`all tasks: ${figures.join(", ")}`, `share of other tasks: ${shortNumber(other)}`];
  if (lost > 0) notes.push(`the kernel lost ${lost} events: figures around the gaps are wrong`);
  if (skipped.size > 0) {
    const kinds = [...skipped].map(([name, count]) => `${count} ${name}`);
    notes.push(`not used: ${kinds.join(", ")}`);
  }
  return notes;
}

const shortNumber = (value: Row[string] | undefined): string =>
  typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value ?? "-");

/** What the user says the tasks did, which a trace cannot tell; the nice values must be those in it. */
function withSpecs(rows: readonly TaskStats[], text: string | undefined): readonly TaskStats[] {
  if (text === undefined) return rows;
  const specs = parseSpecs(text);
  if ("error" in specs) throw new UserError(`--specs: ${specs.error}`);
  if (specs.length !== rows.length)
    throw new UserError(
      `--specs has ${specs.length} tasks, the trace ${rows.length}; one for each, in the order of "orrery trace stats"`,
    );
  return rows.map((row, index) => {
    const spec = specs[index]!;
    const [nice] = row.spec.split(":");
    if (nice !== "?" && Number(nice) !== spec.nice)
      throw new UserError(`--specs: task ${index + 1} has nice ${spec.nice}, in the trace it is ${nice}`);
    return { ...row, spec: specText(spec) };
  });
}

async function exportTrace(file: string, { to, output, format }: ExportOptions): Promise<void> {
  const { RUN_TRACE, openTrace, saveTrace } = await import("../trace/store.ts");
  const { log, path } = await openTrace(file);
  const stem = basename(path) === RUN_TRACE ? basename(dirname(resolve(path))) : basename(path);
  const out = output ?? `${stem.replace(/(\.ftrace|\.txt)?(\.gz)?$/, "")}${SUFFIX[to]}`;
  if (out !== "-" && resolve(out) === resolve(path))
    throw new UserError(`${out} is the trace itself; choose another file with --output`);
  await saveTrace(log, to, out);
  if (out === "-") return;
  const facts = { file: path, to, wrote: out, events: log.count, cpus: log.cpus };
  emit(format, { document: { schema: EXPORT_SCHEMA, ...facts }, rows: [facts] });
}
