/**
 * What must hold of a parallel machine when all its CPUs have stopped: no task lost, none in two places, no wake lost,
 * no work left undone. It is read off the tables; then the machine is drained: every CPU picks until nothing is left,
 * and what comes out must be exactly what was waiting.
 *
 * - checkAtRest(...)   counts, and every breach as a line of text; the machine cannot run on after it
 */
import { TaskLeft } from "./abi/events.ts";
import type { Smp } from "./smp.ts";
import type { TaskPrograms } from "./task.ts";
import { checkSched, Op, TaskState } from "../sched/index.ts";
import type { Program, Sched, Workload } from "../sched/index.ts";

export interface AtRest {
  readonly unborn: number;
  readonly running: number;
  readonly queued: number;
  /** Asleep until a timer. */
  readonly timed: number;
  /** Asleep until someone's wake. */
  readonly waiting: number;
  readonly exited: number;
  /** Wakes carried out or kept, of all that were sent. */
  readonly wakes: number;
  readonly forks: number;
  readonly renices: number;
  /** CPU time that finished steps asked for, and that tasks were given, ns. */
  readonly workNs: number;
  readonly execNs: number;
  readonly problems: readonly string[];
}

/** More lines help nobody. */
const PROBLEMS_MAX = 20;
/** Sums of many whole and broken nanoseconds. */
const SLACK_NS = 1_000;

export function checkAtRest(sched: Sched, programs: TaskPrograms, smp: Smp, workload: Workload): AtRest {
  const problems: string[] = [];
  const say = (problem: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(problem);
  };
  const guarded = (what: () => void): void => {
    try {
      what();
    } catch (thrown) {
      say(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  guarded(() => checkSched(sched));
  const counts = standings(sched, programs, smp, workload, say);
  const work = workDone(sched, programs, workload, say);
  guarded(() => drain(sched, say));
  return { ...counts, ...work, problems };
}

/** Where each task stands, and whether something will ever move it on. */
function standings(
  sched: Sched,
  programs: TaskPrograms,
  smp: Smp,
  { tasks }: Workload,
  say: (problem: string) => void,
): Pick<AtRest, "unborn" | "running" | "queued" | "timed" | "waiting" | "exited"> {
  const counts = { unborn: 0, running: 0, queued: 0, timed: 0, waiting: 0, exited: 0 };
  const timers = new Int32Array(smp.rows);
  for (const { items } of smp.timers) for (let at = 1; at <= items[0]!; at++) timers[items[at]!]!++;
  for (const [index, spec] of tasks.entries()) {
    const p = index + 1;
    const state = sched.task.state[p]!;
    const { began, kept } = programs.standing(p);
    const runsOn = smp.ownerOf(p);
    if ((state === TaskState.Running) !== runsOn >= 0) say(`task ${p}: state ${state}, but CPU ${runsOn} runs it`);
    if (runsOn >= 0 && sched.running(runsOn) !== p) say(`task ${p}: CPU ${runsOn} runs it, and does not know`);
    if (timers[p]! > (state === TaskState.Sleeping ? 1 : 0)) say(`task ${p}: state ${state}, ${timers[p]!} timers`);
    if (state === TaskState.Running) counts.running++;
    else if (state === TaskState.Queued) counts.queued++;
    else if (state === TaskState.Free) counts.exited++;
    else if (state !== TaskState.Sleeping) say(`task ${p}: left in state ${state}`);
    else if (timers[p] === 1) counts.timed++;
    else if (!began && spec.startNs < 0) counts.unborn++;
    else if (began && kept < 0) counts.waiting++;
    else say(`task ${p}: sleeps, and nothing will wake it`);
  }
  return counts;
}

/** What programs have done adds up: every wake was taken, is kept, or woke; finished steps had their CPU time. */
function workDone(
  sched: Sched,
  programs: TaskPrograms,
  { tasks }: Workload,
  say: (problem: string) => void,
): Pick<AtRest, "wakes" | "forks" | "renices" | "workNs" | "execNs"> {
  const sent = new Float64Array(tasks.length);
  const total = { wakes: 0, forks: 0, renices: 0, workNs: 0, execNs: 0 };
  const taken = tasks.map(({ program }, index) => {
    const { at, laps, kept } = programs.standing(index + 1);
    const alive = sched.task.state[index + 1] !== TaskState.Free;
    let waits = 0;
    let workNs = 0;
    for (const [step, op] of program.ops.entries()) {
      const arg = program.args[step]!;
      const times = timesBegun(program, step, at, laps);
      // The last step that a living task began may not be finished.
      const finished = step === at - 1 && alive ? times - 1 : times;
      if (op === Op.Wait) waits += times;
      else if (op === Op.Wake) sent[arg]! += times;
      else if (op === Op.Start) total.forks += times;
      else if (op === Op.Nice) total.renices += times;
      else if (op === Op.Run || op === Op.Poll) workNs += arg * finished;
    }
    const execNs = sched.task.sumExec[index + 1]!;
    if (execNs < workNs - SLACK_NS) say(`task ${index + 1}: did ${workNs} ns of work in ${execNs} ns of CPU time`);
    total.workNs += workNs;
    total.execNs += execNs;
    // A wait that is under way has taken nothing yet: kept is -1.
    return waits + kept;
  });
  for (const [index, wakes] of taken.entries()) {
    total.wakes += wakes;
    if (wakes !== sent[index]) say(`task ${index + 1}: ${sent[index]!} wakes sent, ${wakes} taken or kept`);
  }
  return total;
}

/** How often a step was begun by a program that stands before step `at` and has gone back `laps` times. */
function timesBegun({ loopTo }: Program, step: number, at: number, laps: number): number {
  if (laps === 0) return step < at ? 1 : 0;
  if (step < loopTo) return 1;
  return laps + (step < at ? 1 : 0);
}

/** Takes every runnable task off, one pick after the other; each must come exactly once. */
function drain(sched: Sched, say: (problem: string) => void): void {
  const { state, rows } = sched.task;
  const wanted = new Set<number>();
  for (let p = 1; p < rows; p++) if (state[p] === TaskState.Queued) wanted.add(p);
  let picks = 2 * (rows + sched.cpus);
  for (let idle = 0; idle < sched.cpus && picks > 0; picks--) {
    idle = 0;
    for (let cpu = 0; cpu < sched.cpus; cpu++) {
      const p = sched.schedule(cpu, TaskLeft.Dead);
      if (p === 0) idle++;
      else if (!wanted.delete(p)) say(`task ${p}: came out of the queues and was not waiting`);
    }
  }
  for (const p of wanted) say(`task ${p}: waits to run, and no CPU finds it`);
}
