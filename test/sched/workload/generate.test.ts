import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { prng } from "../../../kernel/lib/prng.ts";
import {
  Op,
  closedWorkload,
  draw,
  meanOf,
  openWorkload,
  periodicWorkload,
  secondMomentOf,
} from "../../../sched/index.ts";
import type { Distribution } from "../../../sched/index.ts";

const DRAWS = 40_000;
const seed = fc.integer({ min: 0, max: 2 ** 31 });

const distribution: fc.Arbitrary<Distribution> = fc.oneof(
  fc.record({ kind: fc.constant("constant" as const), value: fc.integer({ min: 1, max: 1e9 }) }),
  fc.record({ kind: fc.constant("exponential" as const), mean: fc.integer({ min: 1, max: 1e9 }) }),
  fc
    .record({
      shape: fc.constantFrom(0.5, 1, 1.1, 1.5, 2, 3),
      low: fc.integer({ min: 1, max: 1e6 }),
      ratio: fc.integer({ min: 2, max: 1000 }),
    })
    .map(({ shape, low, ratio }) => ({ kind: "pareto" as const, shape, low, high: low * ratio })),
  fc
    .record({
      low: fc.integer({ min: 1, max: 1e6 }),
      ratio: fc.integer({ min: 2, max: 1000 }),
      highChance: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ low, ratio, highChance }) => ({ kind: "bimodal" as const, low, high: low * ratio, highChance })),
);

const boundsOf = (dist: Distribution): readonly [low: number, high: number] => {
  if (dist.kind === "constant") return [dist.value, dist.value];
  return dist.kind === "exponential" ? [0, Number.POSITIVE_INFINITY] : [dist.low, dist.high];
};

test.prop([distribution, seed], { seed: 1, numRuns: 60 })(
  "draw() stays in bounds and has the mean it should",
  (dist, from) => {
    const state = prng(from);
    const [low, high] = boundsOf(dist);
    let sum = 0;
    for (let i = 0; i < DRAWS; i++) {
      const x = draw(dist, state);
      if (!(x >= low && x <= high)) expect.fail(`${x} is outside ${low}..${high}`);
      sum += x;
    }
    const variance = Math.max(0, secondMomentOf(dist) - meanOf(dist) ** 2);
    // Five standard errors: with 60 seeded runs a right generator fails once in 30,000 such tests.
    const tolerance = 5 * Math.sqrt(variance / DRAWS) + 1e-6 * meanOf(dist);
    expect(Math.abs(sum / DRAWS - meanOf(dist))).toBeLessThanOrEqual(tolerance);
  },
);

it("the mean test notices a mean that is off by a tenth (canary)", () => {
  const dist = { kind: "exponential", mean: 1000 } as const;
  const state = prng(1);
  let sum = 0;
  for (let i = 0; i < DRAWS; i++) sum += 1.1 * draw(dist, state);
  expect(Math.abs(sum / DRAWS - 1000)).toBeGreaterThan(5 * (1000 / Math.sqrt(DRAWS)));
});

test.prop([fc.constantFrom(0.5, 1, 1.5, 2, 2.5), fc.integer({ min: 2, max: 100 })], { seed: 1, numRuns: 30 })(
  "moments of the bounded Pareto agree with the sum over its density",
  (shape, high) => {
    const dist = { kind: "pareto", shape, low: 1, high } as const;
    const steps = 200_000;
    const width = Math.log(high) / steps;
    const scale = shape / (1 - high ** -shape);
    let first = 0;
    let second = 0;
    for (let i = 0; i < steps; i++) {
      const x = Math.exp((i + 0.5) * width);
      const mass = scale * x ** -shape * width;
      first += x * mass;
      second += x * x * mass;
    }
    expect(meanOf(dist) / first).toBeCloseTo(1, 6);
    expect(secondMomentOf(dist) / second).toBeCloseTo(1, 6);
  },
);

it("openWorkload() is a Poisson stream of jobs of the load asked for, the same for the same seed", () => {
  const options = {
    seed: 3,
    jobs: 20_000,
    interarrivalNs: { kind: "exponential", mean: 1e6 },
    serviceNs: { kind: "exponential", mean: 0.7e6 },
  } as const;
  const { tasks } = openWorkload(options);
  expect(openWorkload(options)).toEqual({ tasks });
  expect(openWorkload({ ...options, seed: 4 })).not.toEqual({ tasks });
  const work = tasks.reduce((sum, { program }) => sum + program.args[0]!, 0);
  const lastNs = tasks.at(-1)!.startNs;
  expect(work / lastNs).toBeGreaterThan(0.67);
  expect(work / lastNs).toBeLessThan(0.73);
  // Gaps of a Poisson stream vary as much as they are long.
  const gaps = tasks.slice(1).map((task, i) => task.startNs - tasks[i]!.startNs);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  const meanGap = lastNs / tasks.length;
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - meanGap) ** 2, 0) / gaps.length);
  expect(deviation / meanGap).toBeGreaterThan(0.95);
  expect(deviation / meanGap).toBeLessThan(1.05);
  const heavier = openWorkload({ ...options, interarrivalNs: { kind: "exponential", mean: 2e6 } });
  expect(heavier.tasks.map(({ program }) => program)).toEqual(tasks.map(({ program }) => program));
});

it("closedWorkload() alternates runs and sleeps", () => {
  const burstNs = { kind: "bimodal", low: 1000, high: 100_000, highChance: 0.1 } as const;
  const { tasks } = closedWorkload({ seed: 1, tasks: 3, rounds: 50, burstNs, sleepNs: { kind: "constant", value: 0 } });
  for (const { program } of tasks)
    for (const [step, op] of program.ops.entries()) {
      expect(op).toBe(step % 2 === 0 ? Op.Run : Op.Sleep);
      expect(step % 2 === 0 ? [1000, 100_000] : [1]).toContain(program.args[step]);
    }
  expect(tasks[0]!.program).not.toEqual(tasks[1]!.program);
});

it("periodicWorkload() releases at phase + k * period before the end", () => {
  const { tasks } = periodicWorkload(
    [
      { periodNs: 10, workNs: 3 },
      { periodNs: 25, workNs: 5, phaseNs: 4, nice: -2 },
    ],
    40,
  );
  expect(tasks.map(({ name, startNs, nice }) => [name, startNs, nice])).toEqual([
    ["0.0", 0, 0],
    ["0.1", 10, 0],
    ["0.2", 20, 0],
    ["0.3", 30, 0],
    ["1.0", 4, -2],
    ["1.1", 29, -2],
  ]);
  expect(tasks.map(({ program }) => program.args[0])).toEqual([3, 3, 3, 3, 5, 5]);
});

it("draw() panics on a Pareto that is none", () => {
  expect(() => draw({ kind: "pareto", shape: 0, low: 1, high: 2 }, prng(1))).toThrow(/shape > 0/);
});
