/** Every figure of every recorded task lies in the range of eight recordings of the same case, one of which it is. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { otherShare, taskStats } from "../../../harness/trace/stats.ts";
import type { TaskStats } from "../../../harness/trace/stats.ts";
import { windowOf, workloadTasks } from "../../../harness/trace/window.ts";

interface Range {
  readonly mean: number;
  readonly min: number;
  readonly max: number;
}
interface ReferenceTask {
  readonly spec: string;
  readonly [figure: string]: Range | string | null | undefined;
}
interface Case {
  readonly otherShare: number;
  readonly tasks: readonly ReferenceTask[];
}

const FOLDER = "test/fixtures/sched-golden";
const reference = JSON.parse(readFileSync(`${FOLDER}/reference.json`, "utf8")) as Record<string, Case>;
const KERNELS = { "linux-6.1-cfs": "linux61-cfs", "linux-6.12-eevdf": "linux612-eevdf" } as const;

/** Decimals to which the reference is rounded. */
const DECIMALS: Readonly<Partial<Record<keyof TaskStats, number>>> = {
  share: 5,
  slices: 0,
  sliceMeanMs: 4,
  sliceP50Ms: 3,
  sliceP90Ms: 3,
  wakeups: 0,
  wakeMeanMs: 4,
  wakeP50Ms: 3,
  wakeP99Ms: 3,
};

for (const [kernel, file] of Object.entries(KERNELS))
  for (const name of ["c1", "c2", "c3", "c4", "c5"])
    it(`statistics of ${file}-${name} agree with the reference`, async () => {
      const expected = reference[`${kernel} ${name}`]!;
      const { log } = await readFtrace(`${FOLDER}/${file}-${name}.ftrace.gz`);
      const window = windowOf(log);
      const tasks = workloadTasks(log, window);
      const stats = taskStats(log, window, tasks);
      expect(tasks.length).toBe(expected.tasks.length);
      let compared = 0;
      for (const [index, row] of stats.entries()) {
        const wanted = expected.tasks[index]!;
        const [nice] = wanted.spec.split(":");
        expect(row.spec).toBe(`${nice}:?:?`);
        for (const [figure, decimals] of Object.entries(DECIMALS) as [keyof TaskStats, number][]) {
          const range = (wanted[figure] ?? null) as Range | null;
          const value = row[figure];
          if (range === null) expect(value, figure).toBeNull();
          else {
            const rounded = Number((value as number).toFixed(decimals));
            expect(rounded, `${wanted.spec} ${figure}`).toBeGreaterThanOrEqual(range.min);
            expect(rounded, `${wanted.spec} ${figure}`).toBeLessThanOrEqual(range.max);
          }
          compared++;
        }
      }
      expect(compared).toBe(expected.tasks.length * 9);
      // Of this the reference gives only the mean of the eight, whose spread is about a factor of two.
      const other = otherShare(log, window, tasks);
      expect(other).toBeGreaterThan(expected.otherShare / 4);
      expect(other).toBeLessThan(expected.otherShare * 4);
    });
