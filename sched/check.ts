/**
 * The invariants of sched/core.ts as a function: fuzzers and property tests call it after every step. It reads only.
 *
 * - checkSched(sched)            panics at the first thing that is not as it must be
 * - checkSched(sched, execSeen)  also that no task's sumExec went back since the last call; `execSeen` is the caller's
 *                                array of one element a row, zero at first
 *
 *   state       curr of        on a CPU's waiting list                        on a dispatch queue
 *   Queued      no CPU         iff the policy keeps per-CPU queues, and it    at most one
 *                              is not on a queue that CPUs share
 *   Running     exactly one    no                                             no
 *   all others  no CPU         no                                             no
 *
 * It holds between two entries of the core; O(tasks + CPUs).
 */
import { assert, panic } from "../kernel/lib/assert.ts";
import type { Sched } from "./core.ts";
import { cpuAt, TaskState } from "./table.ts";

export function checkSched(sched: Sched, execSeen?: Float64Array): void {
  const { task, cpu: cpus } = sched;
  const runsOn = new Int32Array(task.rows).fill(-1);
  for (let c = 0; c < sched.cpus; c++) {
    const p = cpus.curr[cpuAt(c)]!;
    const idleBit = (cpus.idle[c >> 5]! & (1 << (c & 31))) !== 0;
    if (p === 0) continue;
    if (idleBit) panic("checkSched: a busy CPU counts as idle", c);
    if (runsOn[p] !== -1) panic("checkSched: a task runs on two CPUs", p, runsOn[p]!, c);
    runsOn[p] = c;
  }
  const waits = new Uint8Array(task.rows);
  for (let c = 0; c < sched.cpus; c++) checkWaitingList(sched, c, waits);
  const inQueue = sched.dsqs.check();
  const now = sched.now();
  for (let p = 1; p < task.rows; p++) {
    const state = task.state[p]!;
    if ((state === TaskState.Running) !== (runsOn[p] !== -1)) panic("checkSched: state and CPU disagree", p, state);
    if (state === TaskState.Running && task.cpu[p] !== runsOn[p]) panic("checkSched: it runs on another CPU", p);
    if (state === TaskState.Running && !task.mayUse(p, task.cpu[p]!)) panic("checkSched: it may not use its CPU", p);
    const shared = task.dsq[p]! > sched.cpus;
    const listed = state === TaskState.Queued && sched.policy().perCpuQueues === true && !shared;
    if ((waits[p] === 1) !== listed || task.onRq[p] !== waits[p])
      panic("checkSched: a CPU's waiting list and the task's state disagree", p, state);
    if (state !== TaskState.Queued && task.dsq[p] !== 0) panic("checkSched: on a queue and not waiting", p, state);
    if (task.dsq[p] !== inQueue[p]) panic("checkSched: a task is not on the queue it names", p, task.dsq[p]!);
    if (state === TaskState.Free) continue;
    if (!(task.slice[p]! >= 0)) panic("checkSched: a slice is no time", p, task.slice[p]!);
    if (state === TaskState.Queued && !(task.waitSince[p]! <= now)) panic("checkSched: it waits since the future", p);
    if (execSeen === undefined) continue;
    if (task.sumExec[p]! < execSeen[p]!) panic("checkSched: CPU time went back", p, execSeen[p]!, task.sumExec[p]!);
  }
  if (execSeen !== undefined)
    for (let p = 1; p < task.rows; p++) execSeen[p] = task.state[p] === TaskState.Free ? 0 : task.sumExec[p]!;
}

/** The list of CPU c's waiting tasks holds together both ways; its members are marked in `waits`. */
function checkWaitingList(sched: Sched, c: number, waits: Uint8Array): void {
  const { task, cpu: cpus } = sched;
  const at = cpuAt(c);
  let count = 0;
  let load = 0;
  let before = 0;
  for (let p = cpus.rqHead[at]!; p !== 0; p = task.rqNext[p]!) {
    if (waits[p] === 1) panic("checkSched: a task is on two waiting lists", p, c);
    waits[p] = 1;
    if (task.rqPrev[p] !== before) panic("checkSched: a waiting list's links disagree", p, c);
    if (task.cpu[p] !== c) panic("checkSched: a task waits on another CPU than it says", p, c);
    before = p;
    count++;
    load += task.loadWeight[p]!;
  }
  assert(cpus.rqTail[at] === before, "checkSched: a waiting list's tail is not its last");
  assert(cpus.queuedLoad[at] === load, "checkSched: a CPU's load of waiting tasks is wrong");
  assert(cpus.queued[at] === count, "checkSched: a CPU's count of waiting tasks is wrong");
}
