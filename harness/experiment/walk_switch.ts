/**
 * The walk "one switch": what happens from the moment a sleeper's timer fires, through its preempting a hog, to the hog's
 * being back; as the events of a real run, each with the place in the code where it is decided.
 *
 * - walkSwitch()   the lines, from a machine of one CPU with two tasks under CFS
 */
import { Ev, TaskLeft, WakeContext } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { COSTS, Op } from "../../sched/index.ts";
import type { Workload } from "../../sched/index.ts";
import { runLockstep } from "./lockstep.ts";
import { builtIn } from "./policies.ts";

const HOG = 1;
const SLEEPER = 2;
const MS = 1e6;

/** The hog computes for ever; the sleeper computes 1 ms, sleeps 5 ms, and so on. */
const WORKLOAD: Workload = {
  tasks: [
    {
      name: "hog",
      nice: 0,
      startNs: 0,
      program: { ops: Uint8Array.of(Op.Run), args: Float64Array.of(1e9), loopTo: 0 },
    },
    {
      name: "sleeper",
      nice: 0,
      startNs: MS,
      program: { ops: Uint8Array.of(Op.Run, Op.Sleep), args: Float64Array.of(MS, 5 * MS), loopTo: 0 },
    },
  ],
};
/** By then both have found their places. */
const FROM_NS = 20 * MS;

export async function walkSwitch(): Promise<readonly string[]> {
  const { log } = await runLockstep({
    policy: builtIn("cfs"),
    workload: WORKLOAD,
    cpus: 1,
    costs: { ...COSTS.icount, background: [], sleepJitter: 0 },
    seed: 1,
    untilNs: 60 * MS,
    features: ["EVENT_LOG"],
  });
  const start = find(0, (row) => log!.timeAt(row) >= FROM_NS && log!.typeAt(row) === Ev.SchedWaking);
  const end = find(start, (row) => log!.typeAt(row) === Ev.SchedSwitch && log!.aAt(row) === SLEEPER);
  const zero = log!.timeAt(start);
  const lines: string[] = [];
  for (let row = start; row <= end; row++) {
    const at = ((log!.timeAt(row) - zero) / 1e3).toFixed(1).padStart(8);
    for (const [index, line] of describe(log!, row).entries())
      lines.push(index === 0 ? `${at} us  ${line}` : `${" ".repeat(13)}${line}`);
  }
  return lines;
}

function find(from: number, wanted: (row: number) => boolean): number {
  let row = from;
  while (!wanted(row)) row++;
  return row;
}

/** One event in words, and below it what leads to the next. */
function describe(log: EventLog, row: number): readonly string[] {
  const name = (task: number): string => log.nameOf(task);
  const a = log.aAt(row);
  switch (log.typeAt(row)) {
    case Ev.SchedWaking: {
      const by = log.cAt(row) === WakeContext.Timer ? "its timer, in interrupt context" : "another task";
      return [
        `sched_waking  ${name(a)} is woken by ${by}`,
        "  lockstep_loop.ts onTimer: the interrupt; core.ts wakeUp: select_cpu says CPU 0, its run queue is locked",
        "  cfs.ts enqueue: account the hog, place the sleeper at most 3 ms behind min_vruntime, into the heap",
        "  cfs.ts enqueue: the hog leads by more than the wake-up granularity: kick the CPU to preempt",
      ];
    }
    case Ev.SchedWakeup:
      return [
        `sched_wakeup  ${name(a)} is on the run queue of CPU ${log.bAt(row)}`,
        "  the interrupt returns; need_resched is seen on the way out",
        "  core.ts schedule: local queue, global queue, then dispatch(): cfs.ts takes the least vruntime",
        "  core.ts schedule: the hog is put back (enqueue), the sleeper's state becomes Running",
      ];
    case Ev.SchedSwitch: {
      const left = log.cAt(row);
      const how = left === TaskLeft.Sleeping ? "blocks (S)" : left === TaskLeft.Dead ? "ends (X)" : "is preempted (R+)";
      const line = `sched_switch  ${name(a)} ${how}, ${name(log.bAt(row))} runs`;
      return a === HOG
        ? [
            line,
            "  task.ts step: the sleeper's program says Run; it computes until its CPU time reaches the target",
            "  task.ts step: then Sleep: a timer is set, core.ts schedule: stopping, quiescent, and the next is picked",
          ]
        : [line];
    }
    default:
      return [`event ${log.typeAt(row)}`];
  }
}
