/**
 * Plausible event logs from a seed: a small machine that switches, wakes, forks and exits at random but never breaks the
 * rules (a task is on one CPU at most, only blocked tasks and some about to block are woken, the dead stay dead).
 */
import { Ev, TaskLeft, WakeContext } from "../../../kernel/abi/events.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { EventLog } from "../../../kernel/worlds.ts";

type State = "runnable" | "running" | "blocked" | "dead";
const BLOCKED_LEFT = [TaskLeft.Sleeping, TaskLeft.Uninterruptible, TaskLeft.Idle, TaskLeft.Stopped, TaskLeft.Parked];
const NAMES = ["spin", "a b", "x:y", "<...>", "kworker/0:1H-ev", "[000]", "é", "-7", "prio=1 pid"];

/** A log of `steps` random steps; `unitNs` is the clock's grain. */
export function randomLog(seed: number, steps: number, cpus: number, unitNs = 1000): EventLog {
  const state = prng(seed);
  const pick = (bound: number): number => nextBelow(state, bound);
  const log = new EventLog(cpus);
  const tasks = new Map<number, { state: State; nice: number }>();
  const running = new Int32Array(cpus);
  /** Running tasks that were woken: when they block they may go on at once. */
  const wokenOnCpu = new Set<number>();
  let time = 5e9;
  let nextTask = 1;
  const add = (initial: State): number => {
    const task = nextTask++;
    tasks.set(task, { state: initial, nice: pick(40) - 20 });
    log.names.set(task, NAMES[pick(NAMES.length)]!);
    return task;
  };
  const niceOf = (task: number): number => tasks.get(task)?.nice ?? 0;
  const inState = (wanted: State): number[] => [...tasks.keys()].filter((task) => tasks.get(task)!.state === wanted);
  const switchTo = (cpu: number, next: number, left: number, leaves: State): void => {
    const prev = running[cpu]!;
    log.append(time, Ev.SchedSwitch, cpu, prev, next, left, ((niceOf(prev) & 0xff) << 8) | (niceOf(next) & 0xff));
    const goesOn = leaves === "blocked" && wokenOnCpu.delete(prev) && pick(2) === 0;
    if (prev !== 0) tasks.get(prev)!.state = goesOn ? "runnable" : leaves;
    if (leaves === "runnable") wokenOnCpu.delete(prev);
    if (next !== 0) tasks.get(next)!.state = "running";
    running[cpu] = next;
  };
  for (let i = 0; i < 4; i++) add(i < 2 ? "runnable" : "blocked");
  for (let step = 0; step < steps; step++) {
    time += unitNs * (1 + pick(2000));
    const cpu = pick(cpus);
    const current = running[cpu]!;
    const ready = inState("runnable");
    const next = ready.length > 0 && pick(8) > 0 ? ready[pick(ready.length)]! : 0;
    const blocked = pick(6) > 0 ? inState("blocked") : inState("running");
    const what = pick(10);
    if (what < 3 && (current !== 0 || next !== 0)) {
      const left = pick(2) === 0 ? TaskLeft.Runnable : TaskLeft.Preempted;
      switchTo(cpu, next, current === 0 ? TaskLeft.Runnable : left, "runnable");
    } else if (what < 5 && current !== 0) {
      switchTo(cpu, next, BLOCKED_LEFT[pick(BLOCKED_LEFT.length)]!, "blocked");
    } else if (what < 8 && blocked.length > 0) {
      const task = blocked[pick(blocked.length)]!;
      const context = [WakeContext.Task, WakeContext.Timer, WakeContext.Device][pick(3)]!;
      log.append(time, Ev.SchedWaking, cpu, task, pick(cpus), context, niceOf(task));
      if (pick(2) === 0) log.append(time, Ev.SchedWakeup, cpu, task, pick(cpus), 0, niceOf(task));
      if (tasks.get(task)!.state === "running") wokenOnCpu.add(task);
      else tasks.get(task)!.state = "runnable";
    } else if (what === 8 && current !== 0 && tasks.size < 12) {
      const child = add("runnable");
      log.append(time, Ev.SchedFork, cpu, current, child, 0, 0);
      log.append(time, Ev.SchedWakeupNew, cpu, child, pick(cpus), 0, niceOf(child));
    } else if (what === 9 && current !== 0 && tasks.size > 6 && pick(4) === 0) {
      log.append(time, Ev.SchedExit, cpu, current, 0, 0, niceOf(current));
      switchTo(cpu, next, pick(2) === 0 ? TaskLeft.Dead : TaskLeft.Zombie, "dead");
    } else if (what === 9) {
      const task = 1 + pick(nextTask - 1);
      if (pick(2) === 0) log.append(time, Ev.SchedMigrate, cpu, task, pick(cpus), pick(cpus), niceOf(task));
      else log.append(time, Ev.Mark, cpu, log.markNumber(`mark ${pick(3)}: [000] x=1`), current, 0, 0);
    } else log.append(time, Ev.Tick, cpu, pick(1000), 0, -1, 0);
  }
  return log;
}
