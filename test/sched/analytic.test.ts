/**
 * What every scheduler simulator owes: agreement with the closed forms of queueing theory, costs off. Independent
 * replications from pinned seeds, the first jobs of each left out (warm-up), 99 % confidence intervals by Student's t.
 * Formulas: Harchol-Balter, Performance Modeling and Design of Computer Systems (2013), chapters 13, 23, 30, 32.
 */
import { mean, sampleStandardDeviation } from "simple-statistics";
import { describe, expect, it } from "vitest";
import { policy as las } from "../../examples/las.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import { KICK_PREEMPT, SLICE_INF } from "../../kernel/abi/sched.ts";
import { boot } from "../../kernel/worlds.ts";
import { COSTS, cfs, closedWorkload, cpuAt, eevdf, fifo, meanOf, roundRobin, rr } from "../../sched/index.ts";
import type { Distribution, Workload } from "../../sched/index.ts";
import { queueing } from "./queueing.ts";
import type { QueueingRun } from "./queueing.ts";

const MEAN_NS = 1e6;
const REPLICATIONS = 10;
/** Student's t, 9 degrees of freedom, two-sided 99 %. */
const T_9 = 3.25;

interface Interval {
  readonly low: number;
  readonly high: number;
}
function intervalOf(replications: readonly number[]): Interval {
  const half = (T_9 * sampleStandardDeviation([...replications])) / Math.sqrt(replications.length);
  const middle = mean([...replications]);
  return { low: middle - half, high: middle + half };
}
function expectIn(value: number, { low, high }: Interval): void {
  expect(value).toBeGreaterThan(low);
  expect(value).toBeLessThan(high);
  // An interval as wide as what it holds says nothing.
  expect(high - low).toBeLessThan(0.35 * value);
}

interface Setting {
  readonly load: number;
  readonly serviceNs: Distribution;
  readonly policy: PolicyFactory;
  readonly jobs: number;
}
const replicate = async ({ load, serviceNs, policy, jobs }: Setting): Promise<readonly QueueingRun[]> => {
  const runs: QueueingRun[] = [];
  for (let seed = 1; seed <= REPLICATIONS; seed++)
    runs.push(await queueing({ seed, jobs, load, serviceNs, meanNs: MEAN_NS, policy: () => policy }));
  return runs;
};
const WARM_UP = 0.2;
const steady = (values: readonly number[]): number[] => values.slice(Math.floor(values.length * WARM_UP));
const exponential: Distribution = { kind: "exponential", mean: MEAN_NS };

describe("M/M/1 under fifo: response 1 / (mu - lambda), waiting rho / (mu - lambda)", () => {
  it.each([0.5, 0.8])("load %f", async (load) => {
    const runs = await replicate({ load, serviceNs: exponential, policy: fifo, jobs: 10_000 });
    const response = intervalOf(runs.map((run) => mean(steady(run.responses))));
    const waiting = intervalOf(runs.map((run) => mean(steady(run.waits))));
    expectIn(MEAN_NS / (1 - load), response);
    expectIn((load * MEAN_NS) / (1 - load), waiting);
    expectIn(load, intervalOf(runs.map((run) => run.busyNs / run.endNs)));
    // Canary: constant service (M/D/1) would wait half as long.
    expect((load * MEAN_NS) / (1 - load) / 2).toBeLessThan(waiting.low);
  });
});

const SERVICES: readonly (readonly [string, Distribution])[] = [
  ["exponential", exponential],
  ["bimodal", { kind: "bimodal", low: 0.5e6, high: 5.5e6, highChance: 0.1 }],
  ["bounded Pareto", { kind: "pareto", shape: 1.5, low: 0.347e6, high: 50e6 }],
];

const QUANTUM_NS = 40_000;
/** Over jobs of many quanta: that of a job shorter than one has no bound. 1 / (1 - rho) holds for each size alone. */
function slowdownOf({ responses, services }: QueueingRun): number {
  const long = steady(responses.map((_, job) => job)).filter((job) => services[job]! >= 10 * QUANTUM_NS);
  return mean(long.map((job) => responses[job]! / services[job]!));
}

describe("M/G/1-PS under round robin with a small quantum: slowdown 1 / (1 - rho), whatever the sizes", () => {
  it.each(SERVICES)("%s service", async (_name, serviceNs) => {
    const load = 0.6;
    const runs = await replicate({ load, serviceNs, policy: roundRobin(QUANTUM_NS), jobs: 2_000 });
    const rho = (load * meanOf(serviceNs)) / MEAN_NS;
    const slowdown = intervalOf(runs.map(slowdownOf));
    expectIn(1 / (1 - rho), slowdown);
    // Canary: half the load more would be outside.
    expect(1 / (1 - 1.5 * rho)).toBeGreaterThan(slowdown.high);
  });

  it("and not with a large one: short jobs then pay for long ones; the shorter the quantum, the less", async () => {
    const [, bimodal] = SERVICES[1]!;
    const unfairness: number[] = [];
    for (const quantum of [4e6, 0.4e6, 0.1e6]) {
      const runs = await replicate({ load: 0.6, serviceNs: bimodal, policy: roundRobin(quantum), jobs: 1_000 });
      const bySize = (isShort: boolean): number =>
        mean(
          runs.flatMap(({ responses, services }) =>
            responses.map((time, job) => time / services[job]!).filter((_, job) => services[job]! < 1e6 === isShort),
          ),
        );
      unfairness.push(Math.abs(bySize(true) / bySize(false) - 1));
    }
    expect(unfairness[0]!).toBeGreaterThan(0.5);
    expect(unfairness[1]!).toBeLessThan(unfairness[0]! / 3);
    expect(unfairness[2]!).toBeLessThan(unfairness[1]!);
    expect(unfairness[2]!).toBeLessThan(0.1);
  });
});

/** Shortest remaining processing time, by an oracle that has read the workload. */
const srpt =
  (workload: Workload): PolicyFactory =>
  (k) => {
    const queue = k.createDsq();
    const remaining = (p: number): number => workload.tasks[p - 1]!.program.args[0]! - k.task.sumExec[p]!;
    return {
      name: "srpt",
      enqueue: (p, flags) => {
        k.dsqInsertVtime(p, queue, SLICE_INF, remaining(p), flags);
        k.account(0);
        const runs = k.running(0);
        if (runs !== 0 && remaining(p) < remaining(runs)) k.kickCpu(0, KICK_PREEMPT);
      },
      dispatch: (cpu) => void k.dsqMoveToLocal(queue, cpu),
    };
  };

it("no policy has a lower mean response than SRPT, on any sample path", async () => {
  const [, pareto] = SERVICES[2]!;
  const rivals: readonly PolicyFactory[] = [fifo, rr, roundRobin(1e5), las, cfs, eevdf];
  for (let seed = 1; seed <= 4; seed++) {
    const options = { seed, jobs: 800, load: 0.8, serviceNs: pareto, meanNs: MEAN_NS };
    const best = mean([...(await queueing({ ...options, policy: srpt })).responses]);
    for (const rival of rivals) {
      const { responses } = await queueing({ ...options, policy: () => rival });
      // Each has whole-nanosecond rounding; nothing else may help it.
      expect(mean([...responses])).toBeGreaterThanOrEqual(best - 1);
    }
  }
});

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

it("Little's law and conservation of work hold exactly on a whole run, under every policy", async () => {
  for (const policy of [fifo, rr, roundRobin(1e5), las, cfs, eevdf]) {
    const options = { seed: 7, jobs: 500, load: 0.8, serviceNs: exponential, meanNs: MEAN_NS };
    const run = await queueing({ ...options, policy: () => policy });
    // Integral of N over time = sum of times in system: L T = lambda T W.
    expect(run.areaNs).toBe(total(run.responses));
    expect(run.busyNs).toBe(total(run.services));
    for (const [job, time] of run.responses.entries()) expect(time).toBeGreaterThanOrEqual(run.services[job]!);
  }
});

it("work is never idle in an M/M/1: the busy time is that of fifo under every policy", async () => {
  const options = { seed: 3, jobs: 500, load: 0.7, serviceNs: exponential, meanNs: MEAN_NS };
  const { endNs } = await queueing({ ...options, policy: () => fifo });
  for (const policy of [rr, roundRobin(1e5), las, cfs, eevdf])
    expect((await queueing({ ...options, policy: () => policy })).endNs).toBe(endNs);
});

it.each(["none", "icount", "hardware"] as const)("CPU time = busy time less interrupts, costs %s", async (costs) => {
  for (const policy of [fifo, rr, cfs, eevdf]) {
    const workload = closedWorkload({
      seed: 5,
      tasks: 6,
      rounds: 10,
      burstNs: { kind: "exponential", mean: 3e6 },
      sleepNs: { kind: "exponential", mean: 4e6 },
    });
    const { world, machine } = await boot({
      features: ["SCHED_CUSTOM"],
      seed: 1,
      cpus: 2,
      workload,
      costs: { ...COSTS[costs], background: [] },
      policy,
    });
    const { sched } = world;
    let busy = 0;
    let lastNs = 0;
    const used = new Float64Array(sched.tasksMax);
    while (!world.programs.allExited) {
      const running = [0, 1].filter((cpu) => sched.cpu.curr[cpuAt(cpu)] !== 0).length;
      world.run(1e12, 1);
      busy += running * (machine.now() - lastNs);
      lastNs = machine.now();
      for (let p = 1; p < used.length; p++) used[p] = Math.max(used[p]!, sched.task.sumExec[p]!);
    }
    const interrupts = total([...sched.cpu.irqTime]);
    const exec = total([...used]);
    // Interrupts are a task's time, or nobody's; of those that came to an idle CPU no task knows.
    if (sched.policy().irqTimeAccounting !== true) expect(exec).toBe(busy);
    else {
      expect(exec).toBeLessThanOrEqual(busy);
      expect(exec + interrupts).toBeGreaterThanOrEqual(busy);
    }
  }
});
