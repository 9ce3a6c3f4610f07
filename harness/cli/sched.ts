/**
 * `orrery sched`: experiments on scheduling.
 *
 *   fair SPECS        tasks share CPUs; share, slices and wake latency of each
 *   run --trace FILE  a recording replayed under a policy, on any number of CPUs
 *   compare           the same under several policies, a row each
 *   golden            our policies against recordings of real Linux, beside trivial controls
 *   stress            worker threads that really race: nothing may be lost
 *   policies          what there is to choose from
 *   mutants           seeded bugs: do the tests notice them?
 */
import type { Command } from "commander";
import { COSTS, parseSpecs } from "../../sched/index.ts";
import type { CostsName } from "../../sched/index.ts";
import { choiceOption, formatOption, outOption, realNumber, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { mutantNumbers, mutantsCommand } from "./mutants.ts";
import type { MutantsOptions } from "./mutants.ts";
import { emit } from "./output.ts";
import type { Format, Row } from "./output.ts";

const SCHEMA = 1;
const COSTS_NAMES = Object.keys(COSTS) as readonly CostsName[];
const CPUS = wholeNumber(1, 64);

interface Common {
  readonly policy: string;
  readonly cpus: number;
  readonly seed: number;
  readonly costs: CostsName;
  readonly format: Format;
  readonly out?: string;
}

export function register(program: Command): void {
  const sched = program.command("sched").description("Experiments on scheduling, in the deterministic world.");
  common(
    sched
      .command("fair")
      .description(
        "Let tasks share CPUs, and measure each from 0.3 s to the end. A task is nice:burst_us:sleep_us: it burns\nburst_us of its own CPU time, then sleeps sleep_us, for ever; burst 0 never sleeps.",
      )
      .argument("<specs>", 'the tasks, in one word: "0:0:0 5:2000:8000"')
      .option("--seconds <s>", "virtual time to run", realNumber(0.301, 3600), 3)
      .option("--ftrace <file>", "write the run as ftrace text, too"),
    "cfs",
    1,
  ).action(fairCommand);
  common(
    sched
      .command("run")
      .description(
        "Replay a recording: each task uses the CPU time it used, sleeps as long, and wakes whom it woke, under the\npolicy of your choice.",
      )
      .requiredOption("--trace <file>", "ftrace text (plain or gzip), or a run: its ID, directory or manifest"),
    "cfs",
    0,
  ).action(runCommand);
  sched
    .command("compare")
    .description("Replay a recording under several policies: the same work, a row each.")
    .requiredOption("--trace <file>", "ftrace text (plain or gzip), or a run: its ID, directory or manifest")
    .option("--policies <list>", "names or paths, separated by commas", "fifo,rr,cfs,eevdf")
    .option("--cpus <n>", "CPUs of the machine (default: the recording's)", CPUS)
    .addOption(choiceOption("--costs <profile>", "what the scheduler's own work costs", COSTS_NAMES, "icount"))
    .addOption(seedOption())
    .addOption(formatOption("json", "jsonl", "csv", "md"))
    .action(compareCommand);
  sched
    .command("golden")
    .description(
      "Compare CFS and EEVDF with recordings of Linux 6.1 and 6.12: every case, every task, and the trivial controls\nthat must not pass. Exit code 1 when a task of ours is outside the limits.",
    )
    .option("--reference <file>", "reference.json of the recordings (default: those that come with orrery)")
    .option("--runs <n>", "runs a case, from seeds that follow --seed", wholeNumber(1, 1000), 8)
    .option("--sensitivity", "also with each cost constant halved and doubled")
    .addOption(seedOption())
    .addOption(formatOption("json", "md", "csv"))
    .action(goldenCommand);
  sched
    .command("stress")
    .description(
      "Race: a worker thread a CPU on one shared memory, tasks that wake, sleep, fork, exit and renice as fast as they\ncan, and at the end everything counted. Exit code 3 when a task was lost, run twice at once or starved.",
    )
    .option("--policy <name>", "fifo, rr, cfs, eevdf, or the path of a .ts file of your own", "cfs")
    .option("--cpus <n>", "worker threads", wholeNumber(1, 16), 2)
    .option("--tasks <n>", "tasks, in sixteens", wholeNumber(16, 4096), 32)
    .option("--switches <n>", "context switches to make", wholeNumber(1, 1e9), 1_000_000)
    .option("--seconds <s>", "end after so long all the same", realNumber(0.1, 86_400), 600)
    .addOption(seedOption())
    .addOption(formatOption("json", "md"))
    .action(stressCommand);
  sched
    .command("policies")
    .description("List the policies that come with orrery.")
    .addOption(formatOption("json"))
    .action(policiesCommand);
  sched
    .command("mutants")
    .description(
      "Put each seeded bug of the scheduler into a copy of the source tree, run its tests there, and report which were\nnoticed. Needs a checkout. Exit code 1 when one survives.",
    )
    .option("--only <numbers>", "only these, by number from 0: 3,7,12", mutantNumbers)
    .addOption(formatOption("json", "csv", "md"))
    .action((options: MutantsOptions) =>
      mutantsCommand(async () => (await import("../mutants/sched.ts")).mutants, options),
    );
}

/** The options that every experiment shares; 0 CPUs: as many as the recording had. */
function common(command: Command, policy: string, cpus: number): Command {
  return command
    .option("--policy <name>", "fifo, rr, cfs, eevdf, or the path of a .ts file of your own", policy)
    .option(
      "--cpus <n>",
      cpus === 0 ? "CPUs of the machine (default: the recording's)" : "CPUs of the machine",
      CPUS,
      cpus === 0 ? undefined : cpus,
    )
    .addOption(choiceOption("--costs <profile>", "what the scheduler's own work costs", COSTS_NAMES, "icount"))
    .addOption(seedOption())
    .addOption(formatOption("json", "jsonl", "csv", "md"))
    .addOption(outOption());
}

async function fairCommand(
  text: string,
  options: Common & { seconds: number; ftrace?: string },
  command: Command,
): Promise<void> {
  const specs = parseSpecs(text);
  if ("error" in specs) throw new UserError(specs.error);
  const { loadPolicy } = await import("../experiment/policies.ts");
  const { fair } = await import("../experiment/fair.ts");
  const { RUN_TRACE, saveTrace } = await import("../trace/store.ts");
  const { openRun } = await import("../run/run.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const { policy: policyText, cpus, seconds, seed, costs, format, ftrace } = options;
  const policy = await loadPolicy(policyText);
  const run = openRun(command, options.out);
  if (policy.file !== undefined) run.input(policy.file);
  const progress = progressLine("sched fair");
  const result = await interruptible((stop) =>
    fair({
      specs,
      policy,
      cpus,
      seconds,
      seed,
      costs: COSTS[costs],
      onProgress: (nowNs) => {
        progress.count(Math.floor(nowNs / 1e6), Math.ceil(seconds * 1e3));
        return !stop.aborted;
      },
    }),
  );
  progress.end();
  const { hash, ejected, endNs } = result.run;
  await saveTrace(result.log, "ftrace", run.path(RUN_TRACE));
  if (ftrace !== undefined) {
    await saveTrace(result.log, "ftrace", ftrace);
    run.output(ftrace);
  }
  const facts = { policy: policyText, cpus, seconds: endNs / 1e9, seed, costs };
  const document = {
    schema: SCHEMA,
    ...facts,
    tasks: result.tasks,
    otherShare: result.otherShare,
    ejected: ejected ?? null,
    eventLogHash: hash!,
    run: run.id,
  };
  run.finish({ seed, eventLogHash: hash!, document });
  reportEjection(policyText, ejected);
  emit(format, {
    document,
    rows: result.tasks.map(({ task: _task, name: _name, ...row }): Row => row),
    title: `${policyText} on ${cpus} CPU${cpus === 1 ? "" : "s"}, ${seconds} s from seed ${seed}, costs ${costs}`,
    notes: [`event log ${hash!.slice(0, 16)}; trace and manifest in ${run.dir}`, `again: orrery replay ${run.id}`],
  });
}

/** Figures of a run that cfs finished are not the policy's: said on stderr too, and by the exit code. */
function reportEjection(policy: string, why: string | undefined): void {
  if (why === undefined) return;
  console.error(`orrery: policy ${policy} was ejected, and cfs took over: ${why}`);
  process.exitCode = EXIT.missed;
}

async function runCommand(
  options: Omit<Common, "cpus"> & { trace: string; cpus?: number },
  command: Command,
): Promise<void> {
  const { loadPolicy } = await import("../experiment/policies.ts");
  const { replayUnder } = await import("../experiment/replay.ts");
  const { importTrace } = await import("../trace/import.ts");
  const { RUN_TRACE, openTrace, saveTrace } = await import("../trace/store.ts");
  const { openRun } = await import("../run/run.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const { policy: policyText, seed, costs, format } = options;
  const policy = await loadPolicy(policyText);
  const opened = await openTrace(options.trace);
  const cpus = options.cpus ?? opened.log.cpus;
  const { workload } = importTrace(opened.log);
  const run = openRun(command, options.out);
  run.input(opened.path);
  if (policy.file !== undefined) run.input(policy.file);
  const span = opened.log.spanOf();
  const progress = progressLine("sched run");
  const replay = await interruptible((stop) =>
    replayUnder({
      policy,
      workload,
      cpus,
      costs: COSTS[costs],
      seed,
      hash: true,
      onProgress: (nowNs) => {
        progress.update(`${(nowNs / 1e9).toFixed(1)} s of virtual time`);
        return !stop.aborted;
      },
    }),
  );
  progress.end();
  await saveTrace(replay.log, "ftrace", run.path(RUN_TRACE));
  const { policy: _policy, ...figures } = replay.row;
  const document = {
    schema: SCHEMA,
    trace: opened.path,
    recordedSeconds: (span.toNs - span.fromNs) / 1e9,
    policy: policyText,
    cpus,
    seed,
    costs,
    ...figures,
    ejected: replay.ejected ?? null,
    eventLogHash: replay.hash!,
    run: run.id,
  };
  run.finish({ seed, eventLogHash: replay.hash!, document });
  reportEjection(policyText, replay.ejected);
  emit(format, {
    document,
    rows: [replay.row],
    title: `${opened.path} under ${policyText} on ${cpus} CPU${cpus === 1 ? "" : "s"}, seed ${seed}, costs ${costs}`,
    notes: [
      `event log ${replay.hash!.slice(0, 16)}; trace and manifest in ${run.dir}`,
      `again: orrery replay ${run.id}`,
    ],
  });
}

async function compareCommand(options: {
  trace: string;
  policies: string;
  cpus?: number;
  costs: CostsName;
  seed: number;
  format: Format;
}): Promise<void> {
  const { loadPolicy } = await import("../experiment/policies.ts");
  const { replayUnder } = await import("../experiment/replay.ts");
  const { importTrace } = await import("../trace/import.ts");
  const { openTrace } = await import("../trace/store.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const { costs, seed, format } = options;
  const policies: Awaited<ReturnType<typeof loadPolicy>>[] = [];
  for (const text of options.policies.split(",")) policies.push(await loadPolicy(text.trim()));
  const opened = await openTrace(options.trace);
  const cpus = options.cpus ?? opened.log.cpus;
  const { workload } = importTrace(opened.log);
  const progress = progressLine("sched compare");
  const rows: Row[] = [];
  await interruptible(async (stop) => {
    for (const [done, policy] of policies.entries()) {
      if (stop.aborted) break;
      progress.count(done, policies.length);
      const onProgress = (): boolean => !stop.aborted;
      const { row } = await replayUnder({ policy, workload, cpus, costs: COSTS[costs], seed, onProgress });
      rows.push(row);
    }
  });
  progress.end();
  emit(format, {
    document: { schema: SCHEMA, trace: opened.path, cpus, seed, costs, policies: rows },
    rows,
    title: `${opened.path} on ${cpus} CPU${cpus === 1 ? "" : "s"}, seed ${seed}, costs ${costs}`,
  });
}

async function goldenCommand(options: {
  reference?: string;
  runs: number;
  sensitivity?: true;
  seed: number;
  format: Format;
}): Promise<void> {
  const { compareGolden, readReference } = await import("../experiment/golden.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const reference = readReference(options.reference);
  const progress = progressLine("sched golden");
  const table = await interruptible((stop) =>
    compareGolden({
      reference,
      runs: options.runs,
      seed: options.seed,
      sensitivity: options.sensitivity === true,
      onProgress: (done, total) => progress.count(done, total),
      stop,
    }),
  );
  progress.end();
  const { rows, controls, sensitivity } = table;
  const outside = rows.filter((row) => !row.must).length;
  emit(options.format, {
    document: {
      schema: SCHEMA,
      seed: options.seed,
      runs: options.runs,
      tasks: rows,
      outside,
      controls,
      sensitivity,
    },
    rows: rows.map((row): Row => ({ ...row })),
    title: `ours against real Linux: ${rows.length} tasks, ${options.runs} runs each from seed ${options.seed}`,
    notes: [
      `within the limits: ${rows.length - outside} of ${rows.length}; within the aim: ${rows.filter((row) => row.aim).length}`,
      ...controls.map(({ name, within, of }) => `control "${name}": ${within} of ${of} within the limits`),
      ...sensitivity.map(
        ({ constant, factor, within, of }) => `${constant} x ${factor}: ${within} of ${of} within the limits`,
      ),
    ],
  });
  if (outside > 0) process.exitCode = EXIT.missed;
}

async function policiesCommand({ format }: { format: Format }): Promise<void> {
  const { POLICIES, builtIn } = await import("../experiment/policies.ts");
  const { FEATURES } = await import("../../kernel/worlds.ts");
  const rows = POLICIES.map((name) => {
    const { feature } = builtIn(name);
    return {
      policy: name,
      feature: feature ?? "always there",
      help: feature === undefined ? "" : FEATURES[feature].help,
    };
  });
  emit(format, { document: { schema: SCHEMA, policies: rows }, rows });
}

async function stressCommand(options: {
  policy: string;
  cpus: number;
  tasks: number;
  switches: number;
  seconds: number;
  seed: number;
  format: Format;
}): Promise<void> {
  const { loadPolicy } = await import("../experiment/policies.ts");
  const { parallelStress } = await import("../experiment/stress.ts");
  const { progressLine } = await import("./progress.ts");
  const { interruptible } = await import("./interrupt.ts");
  const { format, switches } = options;
  const policy = await loadPolicy(options.policy);
  const progress = progressLine("sched stress");
  const result = await interruptible((stop) =>
    parallelStress({ ...options, policy, stop, onProgress: (done) => progress.count(done, switches) }),
  );
  progress.end();
  const { problems, ...row } = result;
  emit(format, {
    document: { schema: SCHEMA, ...row, problems },
    rows: [row],
    title: `${row.tasks} tasks on ${row.cpus} worker threads under ${options.policy}`,
    notes: problems.length === 0 ? ["no task lost, run twice at once or starved; no wake lost"] : problems,
  });
  if (problems.length > 0) process.exitCode = EXIT.invariant;
}
