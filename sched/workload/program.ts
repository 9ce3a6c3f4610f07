/**
 * What a task does, as data: a list of steps that an executor (either world) carries out in order. A program is two
 * columns, so that it can be shared, saved and replayed; generated workloads (spec, Pareto, periodic) and imported traces all become one.
 *
 *   step    argument            meaning
 *   Run     nanoseconds         use this much of one's own CPU time
 *   Sleep   nanoseconds         block until a timer wakes this long after the block (plus the timer's slack)
 *   Wait    -                   block until someone wakes; a wake that came first is kept (one token each, counted)
 *   Wake    task index          wake that task of the same workload, in task context
 *   Start   task index          fork: that task becomes runnable for the first time
 *   Exit    -                   the end; a program that runs out of steps exits too
 *   Poll    nanoseconds         as Run, while reading its own CPU clock all the time: each reading brings the kernel's
 *                               accounting up to date, so a policy that acts on accounting acts at once, not at a tick
 *   Nice    niceStep(...)       change the nice value of a task of the same workload, wherever it stands
 */
import { NICE_MIN } from "../weight.ts";

export const Op = { Run: 0, Sleep: 1, Wait: 2, Wake: 3, Start: 4, Exit: 5, Poll: 6, Nice: 7 } as const;
export type Op = (typeof Op)[keyof typeof Op];

/** Values a Nice step's argument has for each task. */
export const NICE_SPAN = 40;
/** Argument of a Nice step. */
export const niceStep = (task: number, nice: number): number => task * NICE_SPAN + (nice - NICE_MIN);

export interface Program {
  readonly ops: Uint8Array;
  readonly args: Float64Array;
  /** Step to go on at after the last one; -1: exit. A loop must hold a Run, Poll, Sleep or Wait. */
  readonly loopTo: number;
}

export interface TaskSpec {
  readonly name: string;
  /** -20 .. 19. */
  readonly nice: number;
  /** First runnable at this time, ns since the workload's start; -1: only by another task's Start. */
  readonly startNs: number;
  readonly program: Program;
}

/** Tasks are named by their index here; an executor maps index to task row. */
export interface Workload {
  readonly tasks: readonly TaskSpec[];
  /** CPU times were measured from outside and hold what system calls and switches cost: nothing is added for a block. */
  readonly measured?: boolean;
}
