/**
 * A user program as the machine runs it at this stage: a step function over a typed record. The kernel calls step() when
 * the program may go on; step() looks at what it knows and says one thing that it does next:
 *
 *   task.run(ns)                 computes for so long of its own CPU time
 *   task.call(nr, a0, .. a5)     makes a system call; the next step() finds its answer in `result`
 *   neither                      exits with code 0
 *
 * Everything a program keeps lies in `words` and `memory`, which belong to its task: so a task may be stopped between any
 * two steps, go on in another thread, be copied (clone) and be saved. A step function keeps nothing else and looks at
 * nothing else: the same words, memory and result are the same next step.
 *
 * Addresses in calls are offsets in `memory`. 0 is no address (NULL); what does not lie within it is EFAULT.
 */

/** Numbers that a program keeps. */
export const USER_WORDS = 32;
/** Bytes of its memory that calls can name: 64 KiB, one block of order 4. */
export const USER_BYTES = 65_536;

export interface UserTask {
  /** USER_WORDS numbers: all 0 when the program starts but those that its arguments fill, from 0 on. */
  readonly words: Float64Array;
  /** USER_BYTES bytes. */
  readonly memory: Uint8Array;
  /** What the last call returned: 0 or more, or a negative errno. 0 before the first. */
  readonly result: number;
  /** The task's number, as getpid(2) would say. */
  readonly pid: number;
  /** A whole number from 0 to bound - 1: the task's own chance, from the machine's seed. */
  below(bound: number): number;
  run(ns: number): void;
  call(nr: number, a0?: number, a1?: number, a2?: number, a3?: number, a4?: number, a5?: number): void;
}

export interface UserProgram {
  /** Up to COMM_MAX letters, as in /proc/PID/comm. */
  readonly name: string;
  /** Between two steps that take no time the program makes a call, runs, or exits: there is no third. */
  step(task: UserTask): void;
  /** It keeps where it stands outside of words and memory: lockstep only, restored by replay, and it cannot fork. */
  readonly isGenerator?: boolean;
}

/** A task at the machine's start. */
export interface UserStart {
  readonly program: UserProgram;
  /** Name of the task; the program's own when missing. */
  readonly name?: string;
  /** First values of `words`. */
  readonly args?: readonly number[];
  /** -20 .. 19. */
  readonly nice?: number;
  /** Becomes runnable at this time, ns after the machine's start. */
  readonly startNs?: number;
}

/** What a file of a workload exports as `workload`. */
export interface UserWorkload {
  readonly name: string;
  readonly help: string;
  /** The tasks, for a machine of so many CPUs and bytes of memory. */
  tasks(machine: { readonly cpus: number; readonly memoryBytes: number }): readonly UserStart[];
}
