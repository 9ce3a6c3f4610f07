/**
 * The walk "one switch": what happens from the moment a sleeper's timer fires, through its preempting a hog, to the hog's
 * being back; as the events of a booted machine, each with the place in the code where it is decided.
 *
 * - walkSwitch()   the lines, from a machine of one CPU with two tasks under CFS
 */
import { Ev, SysEv, TaskLeft } from "../../kernel/abi/events.ts";
import type { UserProgram } from "../../kernel/abi/program.ts";
import { Nr, syscallName } from "../../kernel/abi/syscall_nr.ts";
import { WAIT_NAMES } from "../../kernel/index.ts";
import type { EventLog } from "../../kernel/index.ts";
import { MACHINE_DEFAULTS, openWith } from "./machine.ts";

const MS = 1e6;
/** By then both have found their places. */
const FROM_NS = 20 * MS;
const TIMESPEC = 64;

const hog: UserProgram = { name: "hog", step: (task) => task.run(1000 * MS) };

/** Computes 1 ms, sleeps 5 ms, and so on. */
const sleeper: UserProgram = {
  name: "sleeper",
  step(task) {
    if (task.words[0]!++ % 2 === 0) return task.run(MS);
    new DataView(task.memory.buffer, task.memory.byteOffset).setBigInt64(TIMESPEC + 8, BigInt(5 * MS), true);
    return task.call(Nr.nanosleep, TIMESPEC, 0);
  },
};

export async function walkSwitch(): Promise<readonly string[]> {
  const options = {
    ...MACHINE_DEFAULTS,
    cpus: 1,
    memoryBytes: 64 * 2 ** 20,
    disk: "new:16M",
    policy: "cfs",
    log: true,
  };
  const machine = await openWith({ ...options, costs: "icount" }, [
    { program: hog },
    { program: sleeper, startNs: MS },
  ]);
  machine.run(machine.booted.machine.time[0]! + 60 * MS);
  return lines(machine.booted.machine.log!);
}

function lines(log: EventLog): readonly string[] {
  const is = (row: number, type: number, a: string): boolean =>
    log.typeAt(row) === type && log.nameOf(log.aAt(row)) === a;
  const begin = find(0, (row) => log.timeAt(row) >= FROM_NS && is(row, Ev.SchedWaking, "sleeper"));
  const end = find(begin, (row) => is(row, Ev.SchedSwitch, "sleeper"));
  const told: string[] = [];
  for (let row = begin; row <= end; row++) {
    const at = ((log.timeAt(row) - log.timeAt(begin)) / 1e3).toFixed(1).padStart(8);
    for (const [index, line] of describe(log, row).entries())
      told.push(index === 0 ? `${at} us  ${line}` : `${" ".repeat(15)}${line}`);
  }
  return told;
}

function find(from: number, wanted: (row: number) => boolean): number {
  let row = from;
  while (!wanted(row)) row++;
  return row;
}

/** One event in words, and below it what leads to the next. */
function describe(log: EventLog, row: number): readonly string[] {
  const name = (task: number): string => log.nameOf(task);
  const [a, b, c] = [log.aAt(row), log.bAt(row), log.cAt(row)];
  switch (log.typeAt(row)) {
    case Ev.SchedWaking:
      return [
        `sched_waking  ${name(a)} is woken by its timer, in interrupt context`,
        "lockstep_loop.ts onTimer: the interrupt; core.ts wakeUp: select_cpu says CPU 0, its run queue is locked",
        "cfs.ts enqueue: account the hog, place the sleeper at most 3 ms behind min_vruntime, into the heap",
        "cfs.ts enqueue: the hog leads by more than the wake-up granularity: kick the CPU to preempt",
      ];
    case Ev.SchedWakeup:
      return [
        `sched_wakeup  ${name(a)} is on the run queue of CPU ${b}`,
        "the interrupt returns; need_resched is seen on the way out",
        "core.ts schedule: local queue, global queue, then dispatch(): cfs.ts takes the least vruntime",
        "core.ts schedule: the hog is put back (enqueue), the sleeper's state becomes Running",
      ];
    case Ev.SchedSwitch: {
      if (c === TaskLeft.Sleeping) return [`sched_switch  ${name(a)} blocks (S), ${name(b)} runs`];
      return [
        `sched_switch  ${name(a)} is preempted (R+), ${name(b)} runs`,
        "execute.ts: the call that slept is made again, and its time has come",
      ];
    }
    case SysEv.Exit:
      return [
        `sys_exit      ${syscallName(b)} = ${c}`,
        "execute.ts: the sleeper's program says run(1 ms); it computes until its CPU time reaches the target",
      ];
    case SysEv.Enter:
      return [`sys_enter     ${syscallName(b)}`, "execute.ts: the way in is paid, then the call runs: it has to wait"];
    case SysEv.Sleep:
      return [
        `sleep         ${name(a)} waits for ${WAIT_NAMES[b]}`,
        "core.ts schedule: stopping, quiescent, and the next is picked",
      ];
    default:
      return [`event ${log.typeAt(row)}`];
  }
}
