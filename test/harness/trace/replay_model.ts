/**
 * The slowest, plainest executor of a workload: a list of events in virtual time, and a list of ready tasks of which any
 * one may be picked at any time, for any length. No costs. It stands for every policy and number of CPUs.
 */
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { Op } from "../../../sched/index.ts";
import type { Workload } from "../../../sched/index.ts";

export interface Outcome {
  /** Every task went through its whole program. */
  readonly ended: boolean;
  readonly cpuNs: readonly number[];
  readonly sleptNs: readonly number[];
  readonly wakes: readonly number[];
}

export function replay({ tasks }: Workload, cpus: number, seed: number): Outcome {
  const state = prng(seed);
  const step = tasks.map(() => 0);
  const leftNs = tasks.map(() => -1);
  const tokens = tasks.map(() => 0);
  const waiting = tasks.map(() => false);
  const started = tasks.map(() => false);
  const cpuNs = tasks.map(() => 0);
  const sleptNs = tasks.map(() => 0);
  const wakes = tasks.map(() => 0);
  const ready: number[] = [];
  const timers = tasks.flatMap(({ startNs }, task) => (startNs >= 0 ? [{ at: startNs, task }] : []));
  let ended = 0;
  const wake = (task: number): void => {
    wakes[task]!++;
    if (!waiting[task]) tokens[task]!++;
    else {
      waiting[task] = false;
      ready.push(task);
    }
  };
  /** Goes through steps that take no time; true while the task wants a CPU. */
  const goOn = (task: number, now: number): boolean => {
    const { ops, args } = tasks[task]!.program;
    for (; step[task]! < ops.length; step[task]!++) {
      const arg = args[step[task]!]!;
      switch (ops[step[task]!]) {
        case Op.Run:
          if (leftNs[task]! < 0) leftNs[task] = arg;
          if (leftNs[task]! > 0) return true;
          leftNs[task] = -1;
          break;
        case Op.Sleep:
          step[task]!++;
          sleptNs[task]! += arg;
          timers.push({ at: now + arg, task });
          return false;
        case Op.Wait:
          if (tokens[task]! > 0) tokens[task]!--;
          else {
            step[task]!++;
            waiting[task] = true;
            return false;
          }
          break;
        case Op.Wake:
          wake(arg);
          break;
        case Op.Start:
          if (started[arg]) throw new Error(`task ${arg} started twice`);
          started[arg] = true;
          ready.push(arg);
          break;
        default:
          step[task] = ops.length;
      }
    }
    ended++;
    return false;
  };
  for (let now = 0; ;) {
    for (let index = timers.length - 1; index >= 0; index--) {
      if (timers[index]!.at > now) continue;
      ready.push(timers[index]!.task);
      timers.splice(index, 1);
    }
    const picked: number[] = [];
    while (picked.length < cpus && ready.length > 0) {
      const task = ready.splice(nextBelow(state, ready.length), 1)[0]!;
      if (goOn(task, now)) picked.push(task);
    }
    if (picked.length === 0 && ready.length > 0) continue;
    const nextTimer = Math.min(...timers.map(({ at }) => at));
    if (picked.length === 0 && timers.length === 0) return { ended: ended === tasks.length, cpuNs, sleptNs, wakes };
    const runNs = Math.min(...picked.map((task) => leftNs[task]!), nextTimer - now, 1 + nextBelow(state, 20_000_000));
    const spanNs = picked.length === 0 ? nextTimer - now : runNs;
    for (const task of picked) {
      leftNs[task]! -= spanNs;
      cpuNs[task]! += spanNs;
      ready.push(task);
    }
    now += spanNs;
  }
}
