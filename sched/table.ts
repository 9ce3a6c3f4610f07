/**
 * The scheduler's tables: one row a task (row 0 is the idle task of every CPU), one row a CPU, all in one arena that
 * every CPU's worker maps. Who may write: a task's row by whoever holds the run-queue lock of `cpu[p]`; a CPU's row by
 * whoever holds its run-queue lock; `reschedWords` and `idle` by anybody, through the world's word operations.
 */
import type { Arena } from "../kernel/lib/arena.ts";
import { panic } from "../kernel/lib/assert.ts";

/** Where a task stands. */
export const TaskState = { Free: 0, Queued: 1, Running: 2, Sleeping: 3, Waking: 4, Dead: 5 } as const;
export type TaskState = (typeof TaskState)[keyof typeof TaskState];

/** Legal moves, from -> to. Waking is between two CPUs' locks; only the waker moves it on. */
const MOVES: readonly (readonly TaskState[])[] = [
  /* Free */ [TaskState.Sleeping],
  /* Queued */ [TaskState.Running, TaskState.Dead],
  /* Running */ [TaskState.Queued, TaskState.Sleeping, TaskState.Dead],
  /* Sleeping */ [TaskState.Waking, TaskState.Dead],
  /* Waking */ [TaskState.Queued],
  /* Dead */ [TaskState.Free],
];
/** The same as a table of bits: LEGAL[from] has bit `to`. */
const LEGAL = new Int32Array(MOVES.map((tos) => tos.reduce<number>((bits, to) => bits | (1 << to), 0)));

/** The state after a legal move. */
export function moved(from: number, to: TaskState): TaskState {
  if ((LEGAL[from]! & (1 << to)) === 0) panic("moved: illegal task transition");
  return to;
}

export class TaskTable {
  readonly rows: number;
  readonly state: Int32Array;
  readonly cpu: Int32Array;
  readonly nice: Int32Array;
  readonly loadWeight: Int32Array;
  readonly weight: Int32Array;
  /** CPUs the task may use: bit c of (allowed[2p + (c >> 5)]). */
  readonly allowed: Int32Array;
  /** 1 + index of the dispatch queue it waits on, or a mark of dsq.ts. */
  readonly dsq: Int32Array;
  readonly dsqNext: Int32Array;
  readonly dsqPrev: Int32Array;
  /** Links of the per-CPU list of waiting tasks, oldest first. */
  readonly rqNext: Int32Array;
  readonly rqPrev: Int32Array;
  /** 1 while the task is on that list. */
  readonly onRq: Int32Array;
  readonly slice: Float64Array;
  readonly dsqVtime: Float64Array;
  readonly sumExec: Float64Array;
  /** When it began to wait (queued), ns. */
  readonly waitSince: Float64Array;
  /** When it was woken and has not run since, ns; -1 otherwise. */
  readonly wokenAt: Float64Array;

  readonly mayUse: (p: number, cpu: number) => boolean;

  constructor(arena: Arena, rows: number) {
    this.rows = rows;
    this.state = arena.i32(rows);
    this.cpu = arena.i32(rows);
    this.nice = arena.i32(rows);
    this.loadWeight = arena.i32(rows);
    this.weight = arena.i32(rows);
    this.allowed = arena.i32(rows * 2);
    this.dsq = arena.i32(rows);
    this.dsqNext = arena.i32(rows);
    this.dsqPrev = arena.i32(rows);
    this.rqNext = arena.i32(rows);
    this.rqPrev = arena.i32(rows);
    this.onRq = arena.i32(rows);
    this.slice = arena.f64(rows);
    this.dsqVtime = arena.f64(rows);
    this.sumExec = arena.f64(rows);
    this.waitSince = arena.f64(rows);
    this.wokenAt = arena.f64(rows);
    const { allowed } = this;
    this.mayUse = (p, cpu) => (allowed[2 * p + (cpu >> 5)]! & (1 << (cpu & 31))) !== 0;
  }
}

/** Words that CPUs exchange; each CPU's own lie a cache line apart. */
const CPU_STRIDE = 16;

export class CpuTable {
  readonly cpus: number;
  /** Run-queue lock of CPU c at `lockAt(c)`. */
  readonly locks: Int32Array;
  /** 1: pick anew as soon as you can. A sleeping (idle) CPU waits on this word. */
  readonly reschedWords: Int32Array;
  /** Bit mask of idle CPUs, two words. */
  readonly idle: Int32Array;
  readonly curr: Int32Array;
  readonly queued: Int32Array;
  /** Sum of the load weights of the waiting tasks. */
  readonly queuedLoad: Float64Array;
  /** When the CPU looks for imbalance next, ns, and how often in a row it found nothing small enough to move. */
  readonly balanceAt: Float64Array;
  readonly balanceFailed: Int32Array;
  readonly rqHead: Int32Array;
  readonly rqTail: Int32Array;
  /** Task clock (time less time in interrupts) up to which the running task is accounted. */
  readonly execStart: Float64Array;
  /** 1: a wake-up has asked for the coming pick, which uses its clock and takes no new one (Linux: rq_clock_skip_update). */
  readonly skipClock: Int32Array;
  /** Time in interrupts, or taken by the host, ns, which belongs to no task (Linux: clock_task); the executor's. */
  readonly irqTime: Float64Array;

  constructor(arena: Arena, cpus: number) {
    this.cpus = cpus;
    this.locks = arena.i32(cpus * CPU_STRIDE);
    this.reschedWords = arena.i32(cpus * CPU_STRIDE);
    this.idle = arena.i32(2);
    this.curr = arena.i32(cpus * CPU_STRIDE);
    this.queued = arena.i32(cpus * CPU_STRIDE);
    this.queuedLoad = arena.f64(cpus * CPU_STRIDE);
    this.balanceAt = arena.f64(cpus * CPU_STRIDE);
    this.balanceFailed = arena.i32(cpus * CPU_STRIDE);
    this.rqHead = arena.i32(cpus * CPU_STRIDE);
    this.rqTail = arena.i32(cpus * CPU_STRIDE);
    this.execStart = arena.f64(cpus * CPU_STRIDE);
    this.skipClock = arena.i32(cpus * CPU_STRIDE);
    this.irqTime = arena.f64(cpus * CPU_STRIDE);
  }
}

/** Index of a CPU's word in any of CpuTable's arrays. */
export const cpuAt = (cpu: number): number => cpu * CPU_STRIDE;
