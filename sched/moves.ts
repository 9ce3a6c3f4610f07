/**
 * How a waiting task comes onto the policy's queue, off it, and to another CPU.
 *
 * - putOn      onto the CPU's list and to the policy's enqueue
 * - takeOff    off wherever it was seen to wait
 * - moveTo     it was taken from a queue by a CPU, which owns it from here on
 * - migrate    from one CPU's policy queue to another's, both locks held (balance.ts)
 */
import { Ev } from "../kernel/abi/events.ts";
import * as abi from "../kernel/abi/sched.ts";
import { NO_DSQ } from "./dsq.ts";
import type { RunQueues } from "./run_queue.ts";
import type { SchedState } from "./state.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const { SchedMigrate } = Ev;
const { DEQ_MIGRATE, ENQ_MIGRATED } = abi;
const NOWHERE = NO_DSQ;

export interface Moves {
  readonly putOn: (p: number, cpu: number, enqFlags: number) => void;
  /** `dsq` is where p was seen. False: that is a queue that CPUs share, and one of them has just taken it. */
  readonly takeOff: (p: number, dsq: number, deqFlags: number) => boolean;
  readonly moveTo: (p: number, cpu: number) => void;
  readonly migrate: (p: number, from: number, to: number) => void;
}

export function moves(s: SchedState, rq: RunQueues): Moves {
  const { dsqs, metrics } = s;
  const { trace, words } = s.world;
  const { cpu: cpuOf, dsq: dsqOf, nice } = s.task;

  function putOn(p: number, cpu: number, enqFlags: number): void {
    rq.link(p, cpu);
    s.dispatchCpu = cpu;
    s.calls = 0;
    s.policy.enqueue(p, enqFlags);
    s.dispatchCpu = -1;
  }

  function takeOff(p: number, dsq: number, deqFlags: number): boolean {
    if (dsq === NOWHERE) s.policy.dequeue?.(p, deqFlags);
    else if (!dsqs.remove(p, dsq)) return false;
    rq.unlink(p, cpuOf[p]!);
    return true;
  }

  function moveTo(p: number, cpu: number): void {
    const from = cpuOf[p]!;
    if (from === cpu) return;
    cpuOf[p] = cpu;
    words.store(dsqOf, p, NOWHERE);
    trace(SchedMigrate, cpu, p, from, cpu, nice[p]!);
    metrics?.onMigrate(p);
  }

  function migrate(p: number, from: number, to: number): void {
    takeOff(p, dsqOf[p]!, DEQ_MIGRATE);
    cpuOf[p] = to;
    trace(SchedMigrate, to, p, from, to, nice[p]!);
    metrics?.onMigrate(p);
    putOn(p, to, ENQ_MIGRATED);
  }

  return { putOn, takeOff, moveTo, migrate };
}
