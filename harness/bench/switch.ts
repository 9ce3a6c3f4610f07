/**
 * Context switches a second in the lockstep world: 64 tasks on 4 CPUs under CFS, statistics on, trace off; the same with
 * a binary trace, with the hash; and the plain C twin of the same loop, which must make the same number of switches.
 * Rounds of all variants take turns; each variant has a worker to itself, as a machine in a process of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { boot } from "../../kernel/index.ts";
import type { Feature } from "../../kernel/index.ts";
import { panic } from "../../kernel/lib/assert.ts";
import { COSTS, closedWorkload } from "../../sched/index.ts";
import type { Workload } from "../../sched/index.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { buildTwin } from "./c_twin.ts";
import { median } from "./median.ts";

const CPUS = 4;
const TASKS = 64;
const STEPS = 512;

const VARIANTS: readonly { readonly name: string; readonly features: readonly Feature[] }[] = [
  { name: "statistics", features: ["SCHED_STATS"] },
  { name: "statistics, binary trace", features: ["SCHED_STATS", "EVENT_LOG"] },
  { name: "statistics, hash", features: ["SCHED_STATS", "EVENT_HASH"] },
];

/** Each task runs 1 ms and sleeps 15 ms on average, exponentially, in a loop of 512 rounds: load 1 on 4 CPUs. */
function workload(): Workload {
  const drawn = closedWorkload({
    seed: 1,
    tasks: TASKS,
    rounds: STEPS,
    burstNs: { kind: "exponential", mean: 1e6 },
    sleepNs: { kind: "exponential", mean: 15e6 },
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
  readonly ns: number;
}

async function round(features: readonly Feature[], untilNs: number): Promise<Round> {
  const { world } = await boot({
    features,
    seed: 1,
    cpus: CPUS,
    workload: workload(),
    costs: COSTS.none,
    tickPhaseNs: 0,
  });
  const start = process.hrtime.bigint();
  world.run(untilNs);
  const ns = Number(process.hrtime.bigint() - start);
  return { switches: world.metrics!.summary().switches, ns };
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? 9 : 15;
  const untilNs = quick ? 20e9 : 60e9;
  const workers = VARIANTS.map(
    ({ features }) => new Worker(new URL(import.meta.url), { workerData: { features, untilNs } }),
  );
  const dir = mkdtempSync(join(tmpdir(), "orrery-bench-"));
  const twin = buildTwin(new URL("./switch_twin.c", import.meta.url), dir);
  const rates = VARIANTS.map((): number[] => []);
  const twinRates: number[] = [];
  const counts = new Set<number>();
  try {
    for (let at = -2; at < rounds; at++) {
      for (const [index, worker] of workers.entries()) {
        worker.postMessage("round");
        const [{ switches, ns }] = (await once(worker, "message")) as [Round];
        counts.add(switches);
        if (at >= 0) rates[index]!.push((switches / ns) * 1e9);
      }
      if ("program" in twin) {
        const { switches, ns } = await twinRound(twin.program, untilNs);
        counts.add(switches);
        if (at >= 0) twinRates.push((switches / ns) * 1e9);
      }
      progress(`switch: round ${Math.max(at + 1, 0)} of ${rounds}`);
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
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
      `${TASKS} tasks on ${CPUS} CPUs under cfs, ${untilNs / 1e9} s of virtual time a round, costs none; median of ${rounds} interleaved rounds`,
      "a switch puts a task on a CPU; switches to idle are not counted",
      "missing" in twin
        ? `no C twin: ${twin.missing}`
        : `all variants and the C twin made the same number of switches: ${[...counts][0]!}`,
    ],
  };
}

async function twinRound(program: string, untilNs: number): Promise<Round> {
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

if (!isMainThread) {
  const { features, untilNs } = workerData as { features: readonly Feature[]; untilNs: number };
  parentPort!.on("message", () => void round(features, untilNs).then((result) => parentPort!.postMessage(result)));
}
