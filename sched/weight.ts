/** Nice values as weights. Source: Linux kernel/sched/core.c, sched_prio_to_weight; a step of nice is about 1.25. */
import { assert } from "../kernel/lib/assert.ts";

// oxfmt-ignore
const PRIO_TO_WEIGHT: readonly number[] = [
  88761, 71755, 56483, 46273, 36291,
  29154, 23254, 18705, 14949, 11916,
   9548,  7620,  6100,  4904,  3906,
   3121,  2501,  1991,  1586,  1277,
   1024,   820,   655,   526,   423,
    335,   272,   215,   172,   137,
    110,    87,    70,    56,    45,
     36,    29,    23,    18,    15,
];
export const NICE_MIN = -20;
export const NICE_MAX = 19;
export const NICE_0_LOAD = 1024;
assert(PRIO_TO_WEIGHT.length === NICE_MAX - NICE_MIN + 1, "one weight for each nice value");

/** Load weight of a nice value, -20..19. */
export function loadWeightOf(nice: number): number {
  const weight = PRIO_TO_WEIGHT[nice - NICE_MIN];
  assert(weight !== undefined, "loadWeightOf: nice is outside -20..19");
  return weight;
}

/** sched_ext's weight: 100 at nice 0, in 1..10000 (sched_weight_to_cgroup). */
export function scxWeightOf(nice: number): number {
  return Math.min(10_000, Math.max(1, Math.round((loadWeightOf(nice) * 100) / NICE_0_LOAD)));
}
