/**
 * Our policies against recordings of real Linux, task by task, and beside them what anybody could have guessed.
 *
 * The reference gives for each figure the least and the greatest of eight recordings that differ in phase alone; ours is
 * the mean over some runs that differ in seed alone (it decides the phase). Limits ("must") and aim:
 *
 *   share       within .005 (.002) of the recorded range
 *   slice mean  within 20 % (10 %) of the range
 *   wake p50, p99   within 25 % or 0.3 ms (15 % or 0.1 ms), whichever is more
 *
 * Controls that know nothing of the policy: fluid shares by weight, a constant latency, a constant slice. They must fail.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { COSTS, loadWeightOf, parseSpecs } from "../../sched/index.ts";
import type { Costs, Spec } from "../../sched/index.ts";
import { UserError } from "../cli/exit.ts";
import { packageRoot } from "../cli/package.ts";
import type { TaskStats } from "../trace/stats.ts";
import { fair } from "./fair.ts";
import { builtIn } from "./policies.ts";
import type { PolicyName } from "./policies.ts";

const Range = z.object({ mean: z.number(), min: z.number(), max: z.number() });
const Reference = z.record(
  z.string(),
  z.object({
    recordings: z.number(),
    otherShare: z.number(),
    tasks: z.array(
      z.object({
        spec: z.string(),
        share: Range,
        sliceMeanMs: Range,
        wakeP50Ms: Range.nullable(),
        wakeP99Ms: Range.nullable(),
      }),
    ),
  }),
);
export type GoldenReference = z.infer<typeof Reference>;
type TaskReference = GoldenReference[string]["tasks"][number];
type ValueRange = z.infer<typeof Range>;

export function readReference(file?: string): GoldenReference {
  const path = file ?? join(packageRoot, "test/fixtures/sched-golden/reference.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? "error"}`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new UserError(`${file ?? "reference.json"} is not JSON`);
  }
  const parsed = Reference.safeParse(content);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new UserError(`${file ?? "reference.json"}: ${issue.path.join(".")}: ${issue.message}`);
  }
  return parsed.data;
}

/** The figures that are compared; null where the task never woke. */
export interface Figures {
  readonly share: number;
  readonly sliceMeanMs: number | null;
  readonly wakeP50Ms: number | null;
  readonly wakeP99Ms: number | null;
}

export interface GoldenRow extends Figures {
  readonly case: string;
  readonly spec: string;
  /** How far each figure is outside the recorded range; 0 inside. Slices and wakes as a part of the nearer edge. */
  readonly shareOff: number;
  readonly sliceOff: number | null;
  readonly wakeP50OffMs: number | null;
  readonly wakeP99OffMs: number | null;
  readonly must: boolean;
  readonly aim: boolean;
}

interface Tally {
  readonly within: number;
  readonly of: number;
}

export interface GoldenTable {
  readonly rows: readonly GoldenRow[];
  readonly controls: readonly ({ readonly name: string } & Tally)[];
  readonly sensitivity: readonly ({ readonly constant: string; readonly factor: number } & Tally)[];
}

export interface GoldenOptions {
  readonly reference: GoldenReference;
  readonly runs: number;
  readonly seed: number;
  readonly sensitivity: boolean;
  readonly onProgress?: (done: number, total: number) => void;
  readonly stop?: AbortSignal;
}

/** The constants of a cost profile that cost something, each to be halved and doubled. */
type Constant = Exclude<keyof Costs, "background">;
const isConstant = (key: string): key is Constant => key !== "background" && key !== "coldSpan";
const CONSTANTS = Object.keys(COSTS.icount)
  .filter(isConstant)
  .filter((key) => COSTS.icount[key] > 0);
const FACTORS = [0.5, 2];
const SECONDS = 3;

export async function compareGolden(options: GoldenOptions): Promise<GoldenTable> {
  const { reference, runs, seed, sensitivity, onProgress, stop } = options;
  const variants = sensitivity ? CONSTANTS.length * FACTORS.length : 0;
  const total = Object.keys(reference).length * (1 + variants);
  let done = 0;
  const compare = async (costs: Costs): Promise<GoldenRow[]> => {
    const rows: GoldenRow[] = [];
    for (const [name, { tasks }] of Object.entries(reference)) {
      if (stop?.aborted === true) break;
      const ours = await figuresOf(policyOf(name), specsOf(tasks), costs, runs, seed);
      for (const [index, task] of tasks.entries()) rows.push(judge(name, task, ours[index]!));
      onProgress?.(++done, total);
    }
    return rows;
  };
  const rows = await compare(COSTS.icount);
  const variations: GoldenTable["sensitivity"][number][] = [];
  if (sensitivity)
    for (const constant of CONSTANTS)
      for (const factor of FACTORS) {
        const varied = await compare({ ...COSTS.icount, [constant]: COSTS.icount[constant] * factor });
        variations.push({ constant, factor, ...tally(varied) });
      }
  return { rows, controls: controlsOf(reference), sensitivity: variations };
}

const tally = (rows: readonly GoldenRow[]): Tally => ({
  within: rows.filter((row) => row.must).length,
  of: rows.length,
});

function policyOf(name: string): PolicyName {
  if (name.includes("eevdf")) return "eevdf";
  if (name.includes("cfs")) return "cfs";
  throw new UserError(`reference case "${name}" names neither cfs nor eevdf`);
}

function specsOf(tasks: readonly TaskReference[]): readonly Spec[] {
  const specs = parseSpecs(tasks.map(({ spec }) => spec).join(" "));
  if ("error" in specs) throw new UserError(`reference: ${specs.error}`);
  return specs;
}

/** Mean figures of each task over runs from consecutive seeds. */
async function figuresOf(
  policy: PolicyName,
  specs: readonly Spec[],
  costs: Costs,
  runs: number,
  seed: number,
): Promise<readonly Figures[]> {
  const all: (readonly TaskStats[])[] = [];
  for (let run = 0; run < runs; run++) {
    const options = { specs, policy: builtIn(policy), cpus: 1, seconds: SECONDS, seed: seed + run, costs };
    all.push((await fair(options)).tasks);
  }
  return specs.map((_, index): Figures => {
    const over = (figure: keyof Figures): number | null => {
      const values = all.map((tasks) => tasks[index]![figure]).filter((value) => value !== null);
      return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
    };
    return {
      share: over("share")!,
      sliceMeanMs: over("sliceMeanMs"),
      wakeP50Ms: over("wakeP50Ms"),
      wakeP99Ms: over("wakeP99Ms"),
    };
  });
}

/** Signed distance from the range, 0 inside. */
const outside = (value: number, { min, max }: ValueRange): number =>
  value < min ? value - min : value > max ? value - max : 0;

function judge(name: string, task: TaskReference, ours: Figures): GoldenRow {
  const shareOff = outside(ours.share, task.share);
  const sliceOff = part(ours.sliceMeanMs, task.sliceMeanMs);
  const wakeP50OffMs = gap(ours.wakeP50Ms, task.wakeP50Ms);
  const wakeP99OffMs = gap(ours.wakeP99Ms, task.wakeP99Ms);
  const meets = (share: number, slice: number, wakePart: number, wakeMs: number): boolean =>
    Math.abs(shareOff) <= share &&
    Math.abs(sliceOff ?? 0) <= slice &&
    near(wakeP50OffMs, task.wakeP50Ms, wakePart, wakeMs) &&
    near(wakeP99OffMs, task.wakeP99Ms, wakePart, wakeMs);
  return {
    case: name,
    spec: task.spec,
    ...ours,
    shareOff,
    sliceOff,
    wakeP50OffMs,
    wakeP99OffMs,
    must: meets(0.005, 0.2, 0.25, 0.3),
    aim: meets(0.002, 0.1, 0.15, 0.1),
  };
}

function part(value: number | null, range: ValueRange): number | null {
  if (value === null) return null;
  const off = outside(value, range);
  return off / (off < 0 ? range.min : range.max);
}

const gap = (value: number | null, range: ValueRange | null): number | null =>
  range === null ? null : value === null ? Number.MAX_VALUE : outside(value, range);

const near = (offMs: number | null, range: ValueRange | null, wakePart: number, wakeMs: number): boolean =>
  offMs === null || Math.abs(offMs) <= Math.max(wakeMs, wakePart * (offMs < 0 ? range!.min : range!.max));

/** What is within the limits when nothing but the specifications is known. Constants are the references' own means. */
function controlsOf(reference: GoldenReference): GoldenTable["controls"] {
  const cases = Object.entries(reference);
  const slices = cases.flatMap(([, { tasks }]) => tasks.map(({ sliceMeanMs }) => sliceMeanMs.mean));
  const p50s = cases.flatMap(([, { tasks }]) => tasks.flatMap(({ wakeP50Ms }) => wakeP50Ms?.mean ?? []));
  const p99s = cases.flatMap(([, { tasks }]) => tasks.flatMap(({ wakeP99Ms }) => wakeP99Ms?.mean ?? []));
  const knowing = (name: string, guess: (figures: Figures, fluid: number) => Figures) => {
    const rows = cases.flatMap(([of, { tasks }]) => {
      const fluid = fluidShares(specsOf(tasks));
      return tasks.map((task, index) => judge(of, task, guess(meansOf(task), fluid[index]!)));
    });
    return { name, ...tally(rows) };
  };
  return [
    knowing("fluid shares, all else known", (known, share) => ({ ...known, share })),
    knowing("constant wake latency, all else known", (known) => ({
      ...known,
      wakeP50Ms: known.wakeP50Ms === null ? null : median(p50s),
      wakeP99Ms: known.wakeP99Ms === null ? null : median(p99s),
    })),
    knowing("constant slice, all else known", (known) => ({ ...known, sliceMeanMs: median(slices) })),
    knowing("all three", (known, share) => ({
      share,
      sliceMeanMs: median(slices),
      wakeP50Ms: known.wakeP50Ms === null ? null : median(p50s),
      wakeP99Ms: known.wakeP99Ms === null ? null : median(p99s),
    })),
  ];
}

const meansOf = (task: TaskReference): Figures => ({
  share: task.share.mean,
  sliceMeanMs: task.sliceMeanMs.mean,
  wakeP50Ms: task.wakeP50Ms?.mean ?? null,
  wakeP99Ms: task.wakeP99Ms?.mean ?? null,
});

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Ideal processor sharing by weight: who wants less than his part gets it all, the rest is shared by weight. */
function fluidShares(specs: readonly Spec[]): readonly number[] {
  const demand = specs.map(({ burstUs, sleepUs }) => (burstUs === 0 ? 1 : burstUs / (burstUs + sleepUs)));
  const shares = specs.map(() => 0);
  const open = new Set(specs.keys());
  let left = 1;
  for (;;) {
    const weight = [...open].reduce((sum, index) => sum + loadWeightOf(specs[index]!.nice), 0);
    const sated = [...open].filter((index) => demand[index]! <= (left * loadWeightOf(specs[index]!.nice)) / weight);
    if (sated.length === 0) {
      for (const index of open) shares[index] = (left * loadWeightOf(specs[index]!.nice)) / weight;
      return shares;
    }
    for (const index of sated) {
      shares[index] = demand[index]!;
      left -= demand[index]!;
      open.delete(index);
    }
    if (open.size === 0) return shares;
  }
}
