/**
 * What the parts of a scheduler share: the tables, who rules, and what is known of the entry under way. core.ts makes it.
 *
 * The parts (core.ts, run_queue.ts, helpers.ts, eject.ts, balance.ts, dsq.ts) are functions that close over it and over
 * the tables' arrays. While a process has one machine, the compiler takes such arrays for constants: a load is then one
 * instruction and a check of the bounds, where through fields of an object it is a dozen.
 */
import type { EventSink } from "../kernel/abi/machine.ts";
import type { SchedPolicy } from "../kernel/abi/sched.ts";
import type { Nanos } from "../kernel/abi/units.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import type { WordOps } from "../kernel/lib/word_ops.ts";
import type { DispatchQueues } from "./dsq.ts";
import type { SchedMetrics } from "./metrics.ts";
import type { PolicyMemory } from "./policy_memory.ts";
import type { CpuTable, TaskTable } from "./table.ts";

/** What the core needs from the world it runs in. */
export interface SchedWorld {
  readonly now: () => Nanos;
  readonly trace: EventSink;
  readonly locks: LockOps;
  /** How words are touched that CPUs share without a lock. */
  readonly words: WordOps;
  /** Between waking and queueing: a world with modelled costs moves its clock on by what that takes. */
  readonly wakePath: () => void;
  /** Makes `cpu` call schedule() soon; the core has set its resched word. */
  readonly resched: (cpu: number) => void;
}

/** Number of the policy that takes over when one is ejected. */
export const FALLBACK = 1;

/** Words of `shared`: changes of policy so far, 1 when the one that rules is to be ejected, the last row taken. */
export const EPOCH = 0;
export const EJECT_ASKED = 1;
export const FREE_ROW = 2;
/** Which policy rules, and 1 when any was ejected. */
export const RULES = 3;
export const EJECTED = 4;
/** Futex of the table's free rows, a cache line further. */
export const TABLE_LOCK = 16;
export const SHARED_WORDS = 32;

export interface SchedState {
  readonly cpus: number;
  readonly tasksMax: number;
  readonly tickNs: number;
  readonly world: SchedWorld;
  readonly task: TaskTable;
  readonly cpu: CpuTable;
  readonly dsqs: DispatchQueues;
  readonly metrics: SchedMetrics | undefined;
  readonly shared: Int32Array;
  /** The one that was asked for, the fallback, and whatever else can be switched to. */
  readonly policies: SchedPolicy[];
  /** Which of them rules, as this CPU's instance knows it, after how many changes. */
  policy: SchedPolicy;
  epoch: number;
  /** Why the policy was thrown out, as text; set in the instance that saw it. */
  ejectMessage: string;
  /** Of the policy that comes up just now. */
  memory: PolicyMemory | undefined;
  /** CPU whose operation runs in the policy, or -1. */
  dispatchCpu: number;
  /** Insertions since dispatch was entered. */
  inserted: number;
  /** Calls of looking helpers since the policy was last entered: what a loop without end is known by. */
  calls: number;
  /** Task whose selectCpu runs, or 0, and where that asked to have it inserted: 0 nowhere, the id of a queue. */
  selecting: number;
  directDsq: number;
  directSlice: number;
  directVtime: number;
  directFlags: number;
  /** CPU whose accounting stands still while it picks, or -1. */
  clockHeld: number;
}
