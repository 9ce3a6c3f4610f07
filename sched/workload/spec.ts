/**
 * The short form of a workload: `nice:burst_us:sleep_us`, one word a task. A task burns burst_us of its own CPU time,
 * watching its CPU clock, then sleeps sleep_us, for ever; burst 0 never sleeps nor looks at a clock (and sleep_us then
 * means nothing).
 *
 *   "0:0:0 5:0:0"        two hogs, nice 0 and nice 5
 *   "-5:2000:8000"       2 ms of work, 8 ms of sleep
 *
 * - parseSpecs(text)            the specifications, or the first mistake in one line
 * - specWorkload(specs)         their workload, forked one after the other as a shell would
 * - specText(spec)              the text form back
 */
import { TASKS_MAX } from "../../kernel/abi/limits.ts";
import { NS_PER_US } from "../../kernel/abi/units.ts";
import { NICE_MAX, NICE_MIN } from "../weight.ts";
import { Op } from "./program.ts";
import type { TaskSpec, Workload } from "./program.ts";

export interface Spec {
  readonly nice: number;
  readonly burstUs: number;
  readonly sleepUs: number;
}

/** One hour: longer than any experiment, and its nanoseconds are exact. */
export const SPEC_US_MAX = 3_600_000_000;
/** A hog's program is a loop of runs of this length; nothing happens between two of them. */
const HOG_RUN_NS = 1e9;

/** Between two forks; the recordings show 4 to 5 ms. */
const FORK_NS = 4_500_000;

const PARTS = [
  ["nice", NICE_MIN, NICE_MAX],
  ["burst_us", 0, SPEC_US_MAX],
  ["sleep_us", 0, SPEC_US_MAX],
] as const;

export function parseSpecs(text: string): readonly Spec[] | { readonly error: string } {
  const words = text.split(/\s+/).filter((word) => word !== "");
  if (words.length === 0)
    return { error: 'no task specification; write nice:burst_us:sleep_us for each task, such as "0:0:0 5:2000:8000"' };
  if (words.length > TASKS_MAX - 1)
    return { error: `${words.length} task specifications; a machine has at most ${TASKS_MAX - 1} tasks` };
  const specs: Spec[] = [];
  for (const [index, word] of words.entries()) {
    const where = `task ${index + 1} "${word.length > 40 ? `${word.slice(0, 40)}...` : word}"`;
    const parts = word.split(":");
    if (parts.length !== PARTS.length)
      return { error: `${where}: ${parts.length} of 3 parts; a task is nice:burst_us:sleep_us, such as 0:2000:8000` };
    const values: number[] = [];
    for (const [place, [name, min, max]] of PARTS.entries()) {
      const part = parts[place]!;
      const value = /^[+-]?\d{1,15}$/.test(part) ? Number(part) : Number.NaN;
      if (!(value >= min && value <= max))
        return {
          error: `${where}: ${name} is "${part.slice(0, 20)}"; a whole number from ${min} to ${max} was expected`,
        };
      // -0 is a nice value nobody means.
      values.push(value + 0);
    }
    specs.push({ nice: values[0]!, burstUs: values[1]!, sleepUs: values[2]! });
  }
  return specs;
}

export const specText = ({ nice, burstUs, sleepUs }: Spec): string => `${nice}:${burstUs}:${sleepUs}`;

export function specWorkload(specs: readonly Spec[]): Workload {
  return {
    tasks: specs.map((spec, index): TaskSpec => {
      const hog = spec.burstUs === 0;
      const ops = hog ? [Op.Run] : [Op.Poll, Op.Sleep];
      const args = hog ? [HOG_RUN_NS] : [spec.burstUs * NS_PER_US, spec.sleepUs * NS_PER_US];
      return {
        name: specText(spec),
        nice: spec.nice,
        startNs: index * FORK_NS,
        program: { ops: Uint8Array.from(ops), args: Float64Array.from(args), loopTo: 0 },
      };
    }),
  };
}
