/**
 * The parallel world: switches a second with one worker and with two, the cost of the futex lock it rests on, and how long
 * a CPU that sleeps takes from someone's wake to its task running. Rounds of all variants take turns; medians.
 *
 * Workers race each other and whatever else the host runs: the part of the time that the host took is in the rows, and
 * figures with much of it say nothing.
 */
import { once } from "node:events";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { lock, unlock } from "../../kernel/lib/lock.ts";
import { Op } from "../../sched/index.ts";
import type { Program, Workload } from "../../sched/index.ts";
import { runParallel } from "../experiment/parallel.ts";
import { builtIn } from "../experiment/policies.ts";
import type { PolicyName } from "../experiment/policies.ts";
import { stressWorkload } from "../experiment/stress.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 9;
const ROUNDS_QUICK = 3;
const SWITCH_POLICIES = ["cfs", "fifo"] as const satisfies readonly PolicyName[];

interface Sample {
  readonly value: number;
  /** Part of the time that the host ran something else. */
  readonly stolen: number;
}

/** What it would have been had the host taken nothing; waits for a lock whose holder had no core are still in it. */
const ownRate = ({ value, stolen }: Sample): number => value / (1 - stolen);

async function switching(policy: PolicyName, load: Load, cpus: number, seconds: number): Promise<Sample> {
  const result = await runParallel({
    cpus,
    policy: builtIn(policy),
    workload: LOADS[load],
    seed: 1,
    untilNs: seconds * 1e9,
  });
  const stolen = result.cpus.reduce((sum, cpu) => sum + cpu.stolen, 0) / cpus;
  return { value: result.switchesPerSecond, stolen };
}

const program = (steps: readonly (readonly [number, number])[]): Program => ({
  ops: Uint8Array.from(steps, ([op]) => op),
  args: Float64Array.from(steps, ([, arg]) => arg),
  loopTo: 0,
});

/** Both are more than two CPUs can do: `apart` tasks have nothing to do with each other, `stress` wakes across CPUs. */
const LOADS = {
  apart: {
    tasks: Array.from({ length: 128 }, (_, index) => ({
      name: `apart-${index}`,
      nice: 0,
      startNs: index * 1_000,
      program: program([
        [Op.Run, 5_000],
        [Op.Sleep, 100_000],
      ]),
    })),
  },
  stress: stressWorkload(64, 1),
} as const satisfies Record<string, Workload>;
type Load = keyof typeof LOADS;

/** One task computes and wakes another now and then; that one's CPU sleeps in between. */
function wakeWorkload(): Workload {
  const run = [Op.Run, 300_000] as const;
  return {
    tasks: [
      { name: "waker", nice: 0, startNs: 0, program: program([run, [Op.Wake, 1]]) },
      {
        name: "sleeper",
        nice: 0,
        startNs: 0,
        program: program([
          [Op.Wait, 0],
          [Op.Run, 5_000],
        ]),
      },
    ],
  };
}

async function waking(seconds: number): Promise<Sample & { readonly p99: number }> {
  const result = await runParallel({
    cpus: 2,
    policy: builtIn("cfs"),
    workload: wakeWorkload(),
    seed: 1,
    untilNs: seconds * 1e9,
  });
  return { value: result.wakeP50Ms * 1e3, p99: result.wakeP99Ms * 1e3, stolen: result.cpus[0]!.stolen };
}

/** Nanoseconds a lock and unlock, and a plain increment instead. */
function lockLoop(words: Int32Array, turns: number): { readonly lockNs: number; readonly plainNs: number } {
  const from = process.hrtime.bigint();
  for (let turn = 0; turn < turns; turn++) {
    lock(words, 0);
    words[16]!++;
    unlock(words, 0);
  }
  const between = process.hrtime.bigint();
  for (let turn = 0; turn < turns; turn++) words[32]!++;
  const to = process.hrtime.bigint();
  return { lockNs: Number(between - from) / turns, plainNs: Number(to - between) / turns };
}

/** Two threads on one lock; the mean of what a pair cost each. */
async function contended(turns: number): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(4096));
  const workers = [0, 1].map(() => new Worker(new URL(import.meta.url), { workerData: { words, turns } }));
  const costs = await Promise.all(
    workers.map(async (worker) => {
      const [ns] = (await once(worker, "message")) as [number];
      await worker.terminate();
      return ns;
    }),
  );
  return (costs[0]! + costs[1]!) / 2;
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const seconds = quick ? 0.2 : 0.5;
  const turns = quick ? 200_000 : 1_000_000;
  const arms = SWITCH_POLICIES.flatMap((policy) =>
    (["apart", "stress"] as const).flatMap((load) =>
      [1, 2].map((cpus) => ({ policy, load, cpus, samples: [] as Sample[] })),
    ),
  );
  const wakes: Awaited<ReturnType<typeof waking>>[] = [];
  const locks: ReturnType<typeof lockLoop>[] = [];
  const fights: number[] = [];
  lockLoop(new Int32Array(new SharedArrayBuffer(4096)), turns);
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const { policy, load, cpus, samples } of arms) samples.push(await switching(policy, load, cpus, seconds));
    wakes.push(await waking(seconds));
    locks.push(lockLoop(new Int32Array(new SharedArrayBuffer(4096)), turns));
    fights.push(await contended(turns));
  }
  const rows: BenchRow[] = arms.map(({ policy, load, cpus, samples }) => {
    const value = median(samples.map((sample) => sample.value));
    const one = arms.find((arm) => arm.policy === policy && arm.load === load && arm.cpus === 1)!;
    return {
      what: `switches a second, ${policy}, ${load}, ${cpus} worker${cpus === 1 ? "" : "s"}`,
      value: Math.round(value),
      // Arms of one round ran one after the other: ratios are taken there.
      overOneWorker: median(samples.map((sample, round) => sample.value / one.samples[round]!.value)),
      overOneUndisturbed: median(samples.map((sample, round) => ownRate(sample) / ownRate(one.samples[round]!))),
      stolenByHost: median(samples.map(({ stolen }) => stolen)),
    };
  });
  const row = (what: string, value: number, stolenByHost: number | null = null): void =>
    void rows.push({ what, value, overOneWorker: null, overOneUndisturbed: null, stolenByHost });
  const stolen = median(wakes.map((sample) => sample.stolen));
  row("wake of a sleeping CPU to its task running, us, p50", median(wakes.map(({ value }) => value)), stolen);
  row("wake of a sleeping CPU to its task running, us, p99", median(wakes.map(({ p99 }) => p99)), stolen);
  row("futex lock and unlock, one thread, ns", median(locks.map(({ lockNs }) => lockNs)));
  row("plain increment instead, ns", median(locks.map(({ plainNs }) => plainNs)));
  row("futex lock and unlock, two threads on one word, ns", median(fights));
  return {
    schema: 1,
    name: "parallel",
    rows,
    notes: [
      `${rounds} rounds of ${seconds} s, interleaved`,
      "apart: 128 tasks that run 5 us and sleep 100 us; stress: 64 tasks, bursts of up to 4 us, most of them waking or waited for on the other CPU",
      "a switch here includes reading the host's clock several times; tasks' own work is part of the time",
      "overOneUndisturbed: the same ratio of switches in the time that the host left; an estimate",
      "figures with more than a few percent stolen by the host have to be measured again on an idle machine",
    ],
  };
}

export const bench: Bench = { name: "parallel", help: "parallel world: scaling, lock, wake of an idle CPU", run };

const own = workerData as { readonly words?: Int32Array; readonly turns?: number } | null;
if (!isMainThread && own?.words !== undefined) parentPort!.postMessage(lockLoop(own.words, own.turns!).lockNs);
