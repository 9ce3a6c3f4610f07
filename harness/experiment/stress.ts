/**
 * A stress of the parallel world: short tasks that wake each other, sleep, fork, exit and renice, as fast as the CPUs
 * can switch, and at the end everything counted: no task lost, run twice at once or starved, no wake lost, all work done.
 *
 * - parallelStress(options)         one run; `problems` is empty when all is well
 * - stressWorkload(tasks, seed)     what it runs
 *
 *   of 16 tasks    4 two pairs that wake each other in turn       Run, Wake, Wait
 *                  4 one that wakes three who wait                 Run, Wake x 3, Sleep; Wait, Run
 *                  3 sleepers
 *                  1 that renices others                           Run, Nice, Sleep
 *                  1 parent: starts its children one by one, then sleeps and works
 *                  3 children: work, wake their parent, exit
 */
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { niceStep, Op } from "../../sched/index.ts";
import type { TaskSpec, Workload } from "../../sched/index.ts";
import { runParallel } from "./parallel.ts";
import type { ChosenPolicy } from "./policies.ts";

export interface StressOptions {
  readonly cpus: number;
  /** Rounded up to sixteens. */
  readonly tasks: number;
  readonly policy: ChosenPolicy;
  readonly switches: number;
  readonly seed: number;
  /** A run that has not switched so often by then ends; 60 s by default. */
  readonly seconds?: number;
  /** No runnable task may wait longer, of the time that the host leaves to the CPU that has least of it; 2 s by default. */
  readonly starvedMs?: number;
  readonly stuckMs?: number;
  readonly withoutLocks?: boolean;
  readonly stop?: AbortSignal;
  readonly onProgress?: (switches: number) => void;
}

export interface StressResult {
  readonly policy: string;
  readonly cpus: number;
  readonly tasks: number;
  readonly seed: number;
  readonly switches: number;
  readonly seconds: number;
  readonly switchesPerSecond: number;
  readonly migrations: number;
  readonly wakes: number;
  readonly forks: number;
  readonly exits: number;
  readonly renices: number;
  /** Times an idle CPU went to sleep, and times one was woken by another. */
  readonly idleSleeps: number;
  readonly kicks: number;
  /** Part of the CPUs' time in which the host ran something else. */
  readonly stolen: number;
  readonly maxWaitMs: number;
  readonly wakeP50Us: number;
  readonly wakeP99Us: number;
  /** CPU time that the programs' finished steps asked for over what their tasks were given. */
  readonly usefulPart: number;
  readonly problems: readonly string[];
}

const GROUP = 16;
const STARVED_MS = 2_000;
const SECONDS = 60;
/** Longest burst and sleep, ns. */
const RUN_NS = 4_000;
const SLEEP_NS = 400_000;
/** Nice values go this far up and down. */
const NICE_REACH = 5;
const CHILDREN = 3;

export async function parallelStress(options: StressOptions): Promise<StressResult> {
  const { cpus, policy, switches, seed, stop, onProgress, stuckMs, withoutLocks } = options;
  const workload = stressWorkload(options.tasks, seed);
  const result = await runParallel({
    cpus,
    policy,
    workload,
    seed,
    switches,
    untilNs: (options.seconds ?? SECONDS) * 1e9,
    check: true,
    ...(stuckMs === undefined ? {} : { stuckMs }),
    ...(withoutLocks === undefined ? {} : { withoutLocks }),
    ...(stop === undefined ? {} : { stop }),
    ...(onProgress === undefined ? {} : { onProgress: (_seconds, done) => onProgress(done) }),
  });
  const atRest = result.atRest!;
  const problems = [...atRest.problems];
  const starvedMs = options.starvedMs ?? STARVED_MS;
  if (result.ejected !== undefined) problems.push(`the policy was thrown out: ${result.ejected}`);
  const left = 1 - Math.max(...result.cpus.map((cpu) => cpu.stolen));
  if (result.maxWaitMs * left > starvedMs) problems.push(`a runnable task waited ${Math.round(result.maxWaitMs)} ms`);
  if (result.stopped === "quiet") problems.push("all CPUs idle, and nothing will ever happen again");
  return {
    policy: policy.name,
    cpus,
    tasks: workload.tasks.length,
    seed,
    switches: result.switches,
    seconds: result.seconds,
    switchesPerSecond: result.switchesPerSecond,
    migrations: result.migrations,
    wakes: atRest.wakes,
    forks: atRest.forks,
    exits: atRest.exited,
    renices: atRest.renices,
    idleSleeps: result.cpus.reduce((sum, cpu) => sum + cpu.waits, 0),
    kicks: result.cpus.reduce((sum, cpu) => sum + cpu.kicks, 0),
    stolen: result.cpus.reduce((sum, cpu) => sum + cpu.stolen, 0) / cpus,
    maxWaitMs: result.maxWaitMs,
    wakeP50Us: result.wakeP50Ms * 1e3,
    wakeP99Us: result.wakeP99Ms * 1e3,
    usefulPart: atRest.workNs / atRest.execNs,
    problems,
  };
}

type Step = readonly [op: number, arg: number];

const wake = (task: number): Step => [Op.Wake, task];
const wait: Step = [Op.Wait, 0];

export function stressWorkload(wanted: number, seed: number): Workload {
  const random = prng(seed);
  const groups = Math.max(1, Math.ceil(wanted / GROUP));
  const all = groups * GROUP;
  const run = (): Step => [Op.Run, 1 + nextBelow(random, RUN_NS)];
  const sleep = (): Step => [Op.Sleep, nextBelow(random, SLEEP_NS)];
  const nice = (): number => nextBelow(random, 2 * NICE_REACH + 1) - NICE_REACH;
  const tasks: TaskSpec[] = [];
  const add = (kind: string, steps: readonly Step[], loopTo: number, begins = true): void => {
    tasks.push({
      name: `${kind}-${tasks.length}`,
      nice: nice(),
      startNs: begins ? nextBelow(random, SLEEP_NS) : -1,
      program: {
        ops: Uint8Array.from(steps, ([op]) => op),
        args: Float64Array.from(steps, ([, arg]) => arg),
        loopTo,
      },
    });
  };
  for (let group = 0; group < groups; group++) {
    const first = group * GROUP;
    for (const pair of [first, first + 2]) {
      add("ping", [run(), wake(pair + 1), wait], 0);
      add("pong", [wait, run(), wake(pair)], 0);
    }
    add("caller", [run(), wake(first + 5), wake(first + 6), run(), wake(first + 7), sleep()], 0);
    for (let callee = 0; callee < 3; callee++) add("callee", [wait, run()], 0);
    for (let sleeper = 0; sleeper < 3; sleeper++) add("sleeper", [run(), sleep(), run(), sleep()], 0);
    const renice = (): Step => [Op.Nice, niceStep(nextBelow(random, all), nice())];
    add("renicer", [run(), renice(), renice(), sleep(), renice(), sleep()], 0);
    const parent = first + 12;
    // The last child of the last group is never born: a machine stops when all tasks that have an end reached it.
    const born = group === groups - 1 ? CHILDREN - 1 : CHILDREN;
    const births = Array.from({ length: born }, (_, child): Step[] => [[Op.Start, parent + 1 + child], run(), wait]);
    add("parent", [...births.flat(), run(), sleep()], 3 * born);
    for (let child = 0; child < CHILDREN; child++) add("child", [run(), sleep(), run(), wake(parent)], -1, false);
  }
  return { tasks };
}
