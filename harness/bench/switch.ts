/**
 * Context switches a second in the lockstep world: 64 tasks on 4 CPUs under CFS, statistics on, trace off; the same with
 * a binary trace, with the hash; and the plain C twin of the same loop, which must make the same number of switches.
 * Rounds of all variants take turns; each round has a worker to itself, as a machine in a process of its own, and a part
 * that is not timed while the compiler learns. One variant comes after other machines in its process, as in a sweep.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { boot } from "../../kernel/worlds.ts";
import type { Feature } from "../../kernel/worlds.ts";
import { panic } from "../../kernel/lib/assert.ts";
import { COSTS, closedWorkload } from "../../sched/index.ts";
import type { Workload } from "../../sched/index.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { buildTwin } from "./c_twin.ts";
import { median } from "./median.ts";

const CPUS = 4;
const TASKS = 64;
const STEPS = 512;

interface Variant {
  readonly name: string;
  readonly features: readonly Feature[];
  /** Machines that ran in the process before. */
  readonly before: number;
}

const VARIANTS: readonly Variant[] = [
  { name: "statistics", features: ["SCHED_STATS"], before: 0 },
  { name: "statistics, binary trace", features: ["SCHED_STATS", "EVENT_LOG"], before: 0 },
  { name: "statistics, hash", features: ["SCHED_STATS", "EVENT_HASH"], before: 0 },
  { name: "statistics, fourth machine", features: ["SCHED_STATS"], before: 3 },
];
/** Virtual time at the start of a round that is not timed. */
const WARM_NS = 40e9;

/** Each task runs 1 ms and sleeps 10 ms on average, exponentially, in a loop of 512 rounds: 5.8 CPUs are wanted, 4 are there. */
function workload(): Workload {
  const drawn = closedWorkload({
    seed: 1,
    tasks: TASKS,
    rounds: STEPS,
    burstNs: { kind: "exponential", mean: 1e6 },
    sleepNs: { kind: "exponential", mean: 10e6 },
  });
  return {
    tasks: drawn.tasks.map((task, index) => {
      const ops = task.program.ops.slice(0, 2 * STEPS);
      const args = task.program.args.slice(0, 2 * STEPS).map(Math.round);
      return { ...task, startNs: 0, nice: (index % 5) - 2, program: { ops, args, loopTo: 0 } };
    }),
  };
}

/** The same programs as the twin reads them. */
const twinInput = ({ tasks }: Workload): Buffer =>
  Buffer.from(
    Float64Array.from(tasks.flatMap(({ nice, program }) => [nice, program.ops.length / 2, ...program.args])).buffer,
  );

interface Round {
  readonly switches: number;
  /** Switches in the timed part, and its length. */
  readonly timed: number;
  readonly ns: number;
}

async function machineRound(features: readonly Feature[], untilNs: number): Promise<Round> {
  const { world } = await boot({
    features,
    seed: 1,
    cpus: CPUS,
    workload: workload(),
    costs: COSTS.none,
    tickPhaseNs: 0,
  });
  const switches = (): number => world.metrics!.summary().switches;
  world.run(WARM_NS);
  const warm = switches();
  const start = process.hrtime.bigint();
  world.run(untilNs);
  const ns = Number(process.hrtime.bigint() - start);
  return { switches: switches(), timed: switches() - warm, ns };
}

async function workerRound({ features, before }: Variant, untilNs: number): Promise<Round> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { switchRound: { features, before, untilNs } } });
  const [round] = (await once(worker, "message")) as [Round];
  await worker.terminate();
  return round;
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? 9 : 15;
  const untilNs = WARM_NS + (quick ? 20e9 : 60e9);
  const dir = mkdtempSync(join(tmpdir(), "orrery-bench-"));
  const twin = buildTwin(new URL("./switch_twin.c", import.meta.url), dir);
  const rates = VARIANTS.map((): number[] => []);
  const twinRates: number[] = [];
  const counts = new Set<number>();
  try {
    for (let at = 0; at < rounds; at++) {
      for (const [index, variant] of VARIANTS.entries()) {
        const { switches, timed, ns } = await workerRound(variant, untilNs);
        counts.add(switches);
        rates[index]!.push((timed / ns) * 1e9);
      }
      if ("program" in twin) {
        const { switches, ns } = await twinRound(twin.program, untilNs);
        counts.add(switches);
        twinRates.push((switches / ns) * 1e9);
      }
      progress(`switch: round ${at + 1} of ${rounds}`);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
  if (counts.size > 1) panic("bench switch: variants and C twin differ in the number of switches", ...counts);
  const base = median(rates[0]!);
  const ofC = (rate: number): number | null => (twinRates.length === 0 ? null : round2(rate / median(twinRates)));
  const rowOf = (variant: string, values: readonly number[]): BenchRow => {
    const rate = median(values);
    return {
      variant,
      switchesPerSecond: Math.round(rate),
      best: Math.round(Math.max(...values)),
      ofStatistics: round2(rate / base),
      ofCTwin: ofC(rate),
    };
  };
  const rows = VARIANTS.map(({ name }, index) => rowOf(name, rates[index]!));
  if (twinRates.length > 0) rows.push(rowOf("C twin", twinRates));
  return {
    schema: 1,
    name: "switch",
    rows,
    notes: [
      `${TASKS} tasks on ${CPUS} CPUs under cfs, ${(untilNs - WARM_NS) / 1e9} s of virtual time a round, costs none; median of ${rounds} interleaved rounds`,
      "a switch puts a task on a CPU; switches to idle are not counted",
      "missing" in twin
        ? `no C twin: ${twin.missing}`
        : `all variants and the C twin made the same number of switches: ${[...counts][0]!}`,
    ],
  };
}

async function twinRound(program: string, untilNs: number): Promise<Omit<Round, "timed">> {
  const child = spawn(program, [String(CPUS), String(TASKS), String(untilNs), "1"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(twinInput(workload()));
  let round = { switches: 0, ns: 1 };
  for await (const line of createInterface({ input: child.stdout })) {
    const [switches, ns] = line.split(" ").map(Number);
    round = { switches: switches!, ns: ns! };
  }
  return round;
}

const round2 = (value: number): number => Math.round(value * 100) / 100;

export const bench: Bench = {
  name: "switch",
  help: "context switches a second in the lockstep world, beside a C twin",
  run,
};

/** What a round's worker is given; the worker that benchmarks run in has other data. */
interface RoundData {
  readonly switchRound?: { readonly features: readonly Feature[]; readonly before: number; readonly untilNs: number };
}

const given = isMainThread ? undefined : (workerData as RoundData | null)?.switchRound;
if (given !== undefined) {
  for (let machine = 0; machine < given.before; machine++) await machineRound(given.features, WARM_NS);
  parentPort!.postMessage(await machineRound(given.features, given.untilNs));
}
