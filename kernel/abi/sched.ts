/**
 * The face of a scheduling policy, shaped like sched_ext (Linux 6.12, struct sched_ext_ops): same life cycle, same
 * dispatch queues, so that an scx scheduler ports line by line. A policy is a function that is given the kernel's
 * helpers and returns its operations; all may be left out but `enqueue`. `p` is a task's row, `cpu` a CPU's number.
 *
 * Life of a task: initTask, enable; then for each wake-up selectCpu (may insert directly), runnable, enqueue; when a
 * CPU looks for work dispatch; running, tick..., stopping, and on going to sleep quiescent; at the end disable, exitTask.
 *
 * When it takes over from another policy while the machine runs, it is made anew, over zeroed arrays. It gets initTask and
 * enable for each task, then runnable and running for those that run, then runnable and enqueue (ENQ_NEW) for those that
 * wait. When it is left: stopping and quiescent, dequeue, disable and exitTask, exit.
 *
 * Look-up of the next task on a CPU: the previous one while it has slice left; the CPU's local queue; the global queue;
 * dispatch(), repeated while it inserts; keep the previous if it can run; idle.
 *
 * All of a policy's state that differs by task or CPU lives in arrays got from `perTask` and `perCpu`: they are shared
 * memory, so the same policy works with a worker thread per CPU. Operations on CPU c run under c's run-queue lock.
 */
import type { Nanos } from "./units.ts";

/** Dispatch queue ids. LOCAL is the queue of the CPU concerned; LOCAL_ON | cpu that of another. */
export const DSQ_GLOBAL = -1;
export const DSQ_LOCAL = -2;
export const DSQ_LOCAL_ON = 0x4000_0000;

/** Default slice, 20 ms, and one that never ends, ns. */
export const SLICE_DFL = 20_000_000;
export const SLICE_INF = 2 ** 53;

/** Flags of enqueue. */
export const ENQ_WAKEUP = 1;
/** First time runnable (fork). */
export const ENQ_NEW = 2;
/** The task comes from another CPU's queue. */
export const ENQ_MIGRATED = 4;
/** dsqInsert: at the head of a FIFO queue. */
export const ENQ_HEAD = 8;
/** dsqInsert: preempt the CPU's current task when inserted into a local queue. */
export const ENQ_PREEMPT = 16;
/** The task comes back after a dequeue with DEQ_SAVE. */
export const ENQ_RESTORE = 32;
/** Any of the flags with which a task joins a CPU's load; without them it is the stopped task being put back. */
export const ENQ_JOINS = ENQ_WAKEUP | ENQ_NEW | ENQ_MIGRATED | ENQ_RESTORE;

/** Flags of dequeue and quiescent. */
export const DEQ_SLEEP = 1;
export const DEQ_MIGRATE = 2;
export const DEQ_EXIT = 4;
/** The task stays runnable; its weight is about to change. */
export const DEQ_SAVE = 8;

/** Flags of selectCpu. */
export const WAKE_TTWU = 8;
export const WAKE_FORK = 4;
/** The waker is about to sleep. */
export const WAKE_SYNC = 16;

/** Flags of kickCpu. */
export const KICK_IDLE = 1;
export const KICK_PREEMPT = 2;

/** Rows of the task table that policies read and, where it says so, write. Index: task row. */
export interface TaskView {
  /** Remaining slice, ns; written by policies. 0 forces a new pick. */
  readonly slice: Float64Array;
  /** Key in vtime queues; written by policies. */
  readonly dsqVtime: Float64Array;
  /** CPU time used, ns, as of the last accounting (`account(cpu)` brings a running task's up to now). */
  readonly sumExec: Float64Array;
  /** Linux's load weight: 1024 at nice 0. */
  readonly loadWeight: Int32Array;
  /** sched_ext's weight, 1..10000: 100 at nice 0. */
  readonly weight: Int32Array;
  readonly nice: Int32Array;
  /** CPU of the queue it is on, runs on, or ran on last. */
  readonly cpu: Int32Array;
  /** True when its affinity allows the CPU: inserting it into the local queue of another is an error. */
  mayUse(p: number, cpu: number): boolean;
}

export interface SchedKernel {
  readonly cpus: number;
  readonly tasksMax: number;
  readonly task: TaskView;
  readonly now: () => Nanos;
  /** Period of the tick, ns: 4 ms. */
  readonly tickNs: number;
  /** A zeroed Float64Array with one element a task row (or CPU), shared by all CPUs' instances of the policy. */
  perTask(): Float64Array;
  perCpu(): Float64Array;
  /** A zeroed Int32Array of `words`, likewise shared: links, heaps, masks. */
  words(words: number): Int32Array;
  /**
   * A number that can be set while the machine runs, in /sys/kernel/sched/POLICY/NAME; only while the policy comes up. It
   * stands at index 0, first as `value`, and is a whole number from `least` to `most`. What was set stays when the policy
   * goes and comes again.
   */
  tunable(name: string, value: number, least: number, most: number): Float64Array;
  /** Makes a queue; only in init. */
  createDsq(): number;
  dsqInsert(p: number, dsq: number, sliceNs: number, enqFlags: number): void;
  dsqInsertVtime(p: number, dsq: number, sliceNs: number, vtime: number, enqFlags: number): void;
  /** Moves the first task of a queue to the dispatching CPU's local one; false when there is none it may run. */
  dsqMoveToLocal(dsq: number, cpu: number): boolean;
  dsqNrQueued(dsq: number): number;
  /** Wakes an idle CPU, or (KICK_PREEMPT) makes it pick anew. */
  kickCpu(cpu: number, flags: number): void;
  /** An idle CPU the task may use, `prevCpu` first, or -1 (scx_bpf_select_cpu_dfl, with is_idle in the sign). */
  selectCpuDfl(p: number, prevCpu: number, wakeFlags: number): number;
  /** Task that runs on a CPU, 0 when idle. */
  running(cpu: number): number;
  /** The CPU was asked to pick anew and has not yet. */
  needResched(cpu: number): boolean;
  /** Tasks that wait on the CPU's queues or run on it. */
  nrRunning(cpu: number): number;
  /** Brings the running task's sumExec and slice up to now. */
  account(cpu: number): void;
  /** Ejects the policy with a message (scx_bpf_error). */
  error(message: string): void;
}

export interface SchedPolicy {
  readonly name: string;
  /** Longest a runnable task may wait before the watchdog ejects the policy, ms; 30,000 at most and by default. */
  readonly timeoutMs?: number;
  /** Tasks wait on per-CPU queues of the policy: the core's balancing may move them (dequeue, then enqueue elsewhere). */
  readonly perCpuQueues?: boolean;
  /** Time in interrupts belongs to no task (the modelled kernel has CONFIG_IRQ_TIME_ACCOUNTING); else to whoever runs. */
  readonly irqTimeAccounting?: boolean;
  /** A slice ends as soon as accounting sees it used up, not only at a tick (EEVDF's update_curr). */
  readonly sliceEndsOnAccount?: boolean;
  init?(): void;
  exit?(): void;
  initTask?(p: number): void;
  exitTask?(p: number): void;
  enable?(p: number): void;
  disable?(p: number): void;
  selectCpu?(p: number, prevCpu: number, wakeFlags: number): number;
  runnable?(p: number, enqFlags: number): void;
  enqueue(p: number, enqFlags: number): void;
  /** A waiting task leaves the policy's own queue: it is moved, exits, or changes its weight. */
  dequeue?(p: number, deqFlags: number): void;
  /** `prev` still can run and wants to be compared, or is 0. Insert into DSQ_LOCAL, or leave things as they are. */
  dispatch?(cpu: number, prev: number): void;
  running?(p: number): void;
  tick?(p: number): void;
  stopping?(p: number, runnable: boolean): void;
  quiescent?(p: number, deqFlags: number): void;
  setWeight?(p: number): void;
}

/** What a policy file exports as `policy`. */
export type PolicyFactory = (kernel: SchedKernel) => SchedPolicy;
