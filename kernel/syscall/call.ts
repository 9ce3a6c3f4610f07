/**
 * What a system call's code sees of the kernel, and what it may answer.
 *
 *   0 or more, or a negative errno     the answer
 *   EIOCBQUEUED                        it waits: sleep() was called with the reason; the same call is made again when the
 *                                      task runs next
 *   GO_ON                              it has done part of its work (progress[p]) and takes the CPU for it; again likewise
 *
 * A group of calls is a list of [number, code]; the table of a machine is the groups that its features bring.
 */
import type { Nanos } from "../abi/units.ts";
import type { Processes } from "../process.ts";

/** ERESTARTSYS of Linux: never seen by a task. */
export const GO_ON = -512;

export interface CallKernel {
  readonly processes: Processes;
  readonly now: () => Nanos;
  /** CPU on which the call is made. */
  readonly cpu: () => number;
  /** CPU time that the call costs beside its row of the table of costs, ns. */
  charge(ns: number): void;
  /** The calling task sleeps on a channel of wait.ts when its code has answered EIOCBQUEUED; at most until `untilNs`. */
  sleep(p: number, channel: number, untilNs?: number): void;
  wakeAll(channel: number): void;
}

/** `p`: row of the task; its arguments are in processes. */
export type CallCode = (p: number) => number;
export type CallGroup = readonly (readonly [nr: number, code: CallCode])[];
